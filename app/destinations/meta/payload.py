"""What one event becomes at Meta. Its keys are a closed list: an unknown one at event level refuses the whole call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from app.destinations.base import (
    app_extinfo,
    app_flag,
    app_text,
    app_texts,
    assigned,
    hashed,
    number,
    page_url,
    platform_name,
    scalars,
    tidy,
    unassigned,
    unix_seconds,
    uuid_text,
)
from app.destinations.meta.settings import MetaSettings
from app.destinations.meta.tables import (
    CONTENT_TYPES,
    CUSTOM_KEYS,
    EVENT_NAMES,
    LDU_STATES,
    MESSAGING_NAMES,
    MESSAGING_OWN_NAMES,
    PERSONAL_KEYS,
    STRONG_KEYS,
    TOO_WEAK,
    TYPED_KEYS,
    MessagingChannel,
)
from app.destinations.pixel import javascript, money
from app.model import Delivery, HashedEvent

_CLICK_ID = re.compile(r"fb\.\d+\.\d{13}\.[\w-]+(\.[\w-]{2,8})?", re.ASCII)
_LEAD_ID = re.compile(r"[1-9][0-9]{14,16}")
_LOGIN_ID = re.compile(r"[1-9][0-9]{0,18}")
_SEGMENT_OF = {"new": "new_customer_to_business", "returning": "existing_customer_to_business"}


def record(delivery: Delivery, settings: MetaSettings) -> dict[str, Any]:
    """The JSON of one event."""
    event = delivery.event
    segment = _SEGMENT_OF.get(event.identity.customer_type or "")
    custom = custom_data(event, settings)
    if settings.customer_segmentation == "custom_data" and segment:
        custom["customer_segmentation"] = segment
    whole: dict[str, Any] = {
        "event_name": name_of(event, settings) or event.event_name,
        "event_time": unix_seconds(event),
        "event_id": delivery.event_id,
        "action_source": event.action_source,
        "event_source_url": page_url(event),
        "referrer_url": event.referrer_url,
        "customer_segmentation": segment if settings.customer_segmentation == "event" else None,
        "messaging_channel": messaging_channel(event, settings),
        "user_data": user_data(event, settings, is_limited=delivery.limited),
        "custom_data": custom,
        "app_data": app_data(event),
    }
    if delivery.limited:
        whole |= limited_options(event)
    return assigned(tidy(whole), event, settings)


def name_of(event: HashedEvent, settings: MetaSettings) -> str | None:
    """What Meta calls this event; None when it takes no such event."""
    if event.action_source == "business_messaging":
        own = event.event_name if event.event_name in MESSAGING_OWN_NAMES else None
        return platform_name(event, settings, MESSAGING_NAMES, own)
    return platform_name(event, settings, EVENT_NAMES, event.event_name)


def pixel_call(event: HashedEvent, event_id: str, settings: MetaSettings) -> str | None:
    """The pixel's call; it spells the id `eventID` (page on duplicate pixel and server events, documented)."""
    name = name_of(event, settings)
    if name is None:
        return None
    # The pixel has a verb of its own for names that are not Meta's.
    verb = "track" if name in EVENT_NAMES.values() else "trackCustom"
    return javascript("fbq", verb, name, money(event), {"eventID": event_id})


def user_data(event: HashedEvent, settings: MetaSettings, *, is_limited: bool) -> dict[str, Any]:
    """Who did it: hashed, but for the ids that must travel as they are."""
    identity = event.identity
    user: dict[str, Any] = {key: hashed(identity, form) for key, form in STRONG_KEYS.items()}
    if not is_limited:
        user |= {key: hashed(identity, form) for key, form in PERSONAL_KEYS.items()}
    user |= {
        "client_ip_address": identity.client_ip_address,
        "client_user_agent": identity.client_user_agent,
        "fbc": click_id(identity.fbc),
        "fbp": click_id(identity.fbp),
        "subscription_id": event.custom_data.subscription_id,
        "lead_id": lead_id(identity.lead_id),
        "fb_login_id": login_id(identity.fb_login_id),
    }
    if event.action_source == "app":
        user |= {"madid": uuid_text(identity.idfa) or uuid_text(identity.gaid), "anon_id": identity.anon_id}
    elif event.action_source == "business_messaging":
        user |= messaging_ids(event, settings)
    return tidy(user)


def messaging_ids(event: HashedEvent, settings: MetaSettings) -> dict[str, str | None]:
    """Who wrote to whom in a messaging event, by its channel."""
    identity = event.identity
    match messaging_channel(event, settings):
        case "whatsapp":
            account = settings.whatsapp_business_account_id
            return {"whatsapp_business_account_id": account, "ctwa_clid": identity.ctwa_clid}
        case "messenger":
            return {"page_id": settings.page_id, "page_scoped_user_id": identity.page_scoped_user_id}
        case "instagram":
            return {"ig_account_id": settings.ig_account_id, "ig_sid": identity.ig_sid}
        case _:
            return {}


def is_too_weak(user: Mapping[str, Any]) -> bool:
    """Whether Meta would refuse an event that knows no more of its customer."""
    return any(user.keys() <= weak for weak in TOO_WEAK)


def click_id(value: str | None) -> str | None:
    """An fbc or fbp of Meta's shape; anything else would refuse the batch."""
    return value if value and _CLICK_ID.fullmatch(value) else None


def lead_id(value: str | None) -> int | None:
    """A lead id of Meta's: 15 to 17 digits."""
    return int(value) if value and _LEAD_ID.fullmatch(value) else None


def login_id(value: str | None) -> int | None:
    """An id of Facebook Login: a number."""
    return int(value) if value and _LOGIN_ID.fullmatch(value) else None


def app_data(event: HashedEvent) -> dict[str, Any]:
    """Facts about the app; nothing for events that happened elsewhere."""
    if event.action_source != "app":
        return {}
    texts = "campaign_ids install_referrer installer_package windows_attribution_id".split()
    flags = "advertiser_tracking_enabled application_tracking_enabled".split()
    return tidy(
        {key: app_flag(event, key) for key in flags}
        | {"extinfo": app_extinfo(event), "vendor_id": event.identity.idfv or app_text(event, "vendor_id")}
        | {key: app_text(event, key) for key in texts}
        | {"url_schemes": app_texts(event, "url_schemes")}
    )


def messaging_channel(event: HashedEvent, settings: MetaSettings) -> str | None:
    """The channel of a messaging event; None for every other."""
    if event.action_source != "business_messaging":
        return None
    channel = event.custom_data.properties.get("messaging_channel")
    return channel if channel in get_args(MessagingChannel) else settings.messaging_channel


def has_order_key(event: HashedEvent) -> bool:
    """Whether order_id may go out: in a store it is the dedup key, so one of several must not carry it."""
    return event.action_source != "physical_store" or event.occurrence is None


def free_properties(event: HashedEvent, settings: MetaSettings) -> dict[str, Any]:
    """The custom properties as Meta gets them: documented keys in their types, free ones flat."""
    if not event.custom_data.properties:
        return {}
    reserved = CUSTOM_KEYS
    if event.action_source == "business_messaging":
        reserved |= {"messaging_channel"}
    flat = scalars(unassigned(event, settings), reserved)
    for key in [key for key in flat if key in TYPED_KEYS]:
        typed = TYPED_KEYS[key](flat[key])
        if typed is None:
            del flat[key]
        else:
            flat[key] = typed
    return flat


def custom_data(event: HashedEvent, settings: MetaSettings) -> dict[str, Any]:
    """What it was worth and what it was about."""
    data = event.custom_data
    lines = [
        tidy(
            {
                "id": line.id,
                "quantity": line.quantity,
                "item_price": number(line.item_price),
                "delivery_category": line.delivery_category,
            }
        )
        for line in data.contents
        if line.id
    ]
    properties = free_properties(event, settings)
    if is_crm(event, settings):
        properties = {"event_source": "crm", "lead_event_source": settings.lead_event_source} | properties
    return properties | tidy(
        {
            "value": number(data.value),
            "currency": data.currency,
            "order_id": data.order_id if has_order_key(event) else None,
            "num_items": data.num_items,
            "search_string": data.search_string,
            "predicted_ltv": number(data.predicted_ltv),
            "content_name": data.content_name,
            "content_category": data.content_category,
            "content_type": data.content_type if data.content_type in CONTENT_TYPES else None,
            "delivery_category": data.delivery_category,
            "content_ids": [line["id"] for line in lines],
            "contents": lines,
        }
    )


def is_crm(event: HashedEvent, settings: MetaSettings) -> bool:
    """Whether this is a stage of a lead in the CRM (Conversion leads, documented)."""
    return settings.lead_event_source is not None and event.action_source == "system_generated"


def _us_state(event: HashedEvent) -> str | None:
    """The US state in lower case: of the address, else of the place whose law limits the event."""
    if event.identity.country == "us" and event.identity.state:
        return event.identity.state
    country, _, region = (event.place or "").partition("-")
    return region.lower() if country == "US" else None


def limited_options(event: HashedEvent) -> dict[str, Any]:
    """Limited Data Use: the state where Meta knows a code for it, else 0/0, where Meta locates the IP address."""
    state = LDU_STATES.get(_us_state(event) or "", 0)
    return {
        "opt_out": True,
        "data_processing_options": ["LDU"],
        "data_processing_options_country": 1 if state else 0,
        "data_processing_options_state": state,
    }
