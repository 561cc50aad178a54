"""What one event becomes at Snapchat: its asset, its name there, its JSON."""

from __future__ import annotations

from typing import Any

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
from app.destinations.pixel import javascript, money
from app.destinations.snapchat.settings import SnapchatSettings
from app.destinations.snapchat.tables import CONTENT_TYPES, EVENT_NAMES, PERSONAL_KEYS, STRONG_KEYS
from app.errors import DestinationError
from app.model import Delivery, HashedEvent


def record(delivery: Delivery, settings: SnapchatSettings) -> dict[str, Any]:
    """The JSON of one event.

    Raises: DestinationError when the name that was found at ingest is not configured any more.
    """
    event = delivery.event
    name = name_of(event, settings)
    if name is None:
        raise DestinationError("Snapchat has no name for a delivery's event any more")
    whole = {
        "event_name": name,
        "event_time": unix_seconds(event),
        "action_source": action_source(event),
        "event_source_url": page_url(event),
        "event_id": delivery.event_id,
        "integration": settings.integration,
        "user_data": _user_data(event, is_limited=delivery.limited),
        "custom_data": _custom_data(event, settings),
        "app_data": app_data(event),
        "data_processing_options": ["LMU"] if delivery.limited else None,
    }
    return assigned(tidy(whole), event, settings)


def name_of(event: HashedEvent, settings: SnapchatSettings) -> str | None:
    """What Snapchat calls this event; None when it takes no such event."""
    own = settings.custom_event_names.get(event.event_name)
    table = EVENT_NAMES if own is None else EVENT_NAMES | {event.event_name: own}
    return platform_name(event, settings, table, own)


def pixel_call(event: HashedEvent, event_id: str, settings: SnapchatSettings) -> str | None:
    """The pixel's call: `client_dedup_id`, and for an order `transaction_id` (Deduplication, documented)."""
    name = name_of(event, settings) if settings.pixel_id else None
    if name is None:
        return None
    data = {"client_dedup_id": event_id, **money(event, "price"), "transaction_id": event.custom_data.order_id}
    return javascript("snaptr", "track", name, tidy(data))


def action_source(event: HashedEvent) -> str:
    """Where it happened, in Snapchat's three words (Parameters, documented)."""
    return {"website": "WEB", "app": "MOBILE_APP"}.get(event.action_source, "OFFLINE")


def asset(event: HashedEvent, settings: SnapchatSettings) -> str | None:
    """The pixel takes web and offline events, the app takes its own (Migration guide, documented)."""
    return settings.snap_app_id if event.action_source == "app" else settings.pixel_id


def _user_data(event: HashedEvent, *, is_limited: bool) -> dict[str, Any]:
    identity = event.identity
    user: dict[str, Any] = {key: hashed(identity, form) for key, form in STRONG_KEYS.items()}
    if not is_limited:
        user |= {key: hashed(identity, form) for key, form in PERSONAL_KEYS.items()}
    user |= {
        "client_ip_address": identity.client_ip_address,
        "client_user_agent": identity.client_user_agent,
        "sc_click_id": identity.sc_click_id,
        "sc_cookie1": identity.sc_cookie1,
        "subscription_id": event.custom_data.subscription_id,
        "lead_id": identity.lead_id,
    }
    if event.action_source == "app":
        user |= {
            "madid": madid(event),
            "idfv": uuid_text(identity.idfv),
            "anon_id": identity.anon_id,
            "download_id": identity.download_id,
        }
    return tidy(user)


def madid(event: HashedEvent) -> str | None:
    """The advertising id of an app event, as lower-case UUID; never the all-zero one."""
    identity = event.identity
    return (uuid_text(identity.idfa) or uuid_text(identity.gaid)) if event.action_source == "app" else None


def order_id(event: HashedEvent) -> str | None:
    """The order id, unless the event is one of several of that order: Snap would take the second for a repeat."""
    return event.custom_data.order_id if event.occurrence is None else None


def _custom_data(event: HashedEvent, settings: SnapchatSettings) -> dict[str, Any]:
    data = event.custom_data
    lines = [
        tidy(
            {
                "id": line.id,
                "quantity": line.quantity,
                "item_price": number(line.item_price),
                "brand": line.brand,
                "delivery_category": line.delivery_category,
            }
        )
        for line in data.contents
        if line.id
    ]
    return tidy(
        {
            "currency": data.currency,
            "value": number(data.value),
            "order_id": order_id(event),
            "content_ids": [line.id for line in data.contents if line.id],
            "content_type": data.content_type if data.content_type in CONTENT_TYPES else None,
            "content_category": data.content_category,
            "content_name": data.content_name,
            "contents": lines,
            "delivery_category": data.delivery_category,
            "num_items": data.num_items,
            "search_string": data.search_string,
            "predicted_ltv": number(data.predicted_ltv),
            "custom_fields": scalars(unassigned(event, settings)),
        }
    )


def app_data(event: HashedEvent) -> dict[str, Any]:
    """Facts about the app; nothing for events that happened elsewhere."""
    if event.action_source != "app":
        return {}
    texts = "app_id campaign_ids install_referrer installer_package windows_attribution_id".split()
    return tidy(
        {key: app_text(event, key) for key in texts}
        | {
            "advertiser_tracking_enabled": app_flag(event, "advertiser_tracking_enabled"),
            "extinfo": app_extinfo(event),
            "url_schemes": app_texts(event, "url_schemes"),
        }
    )
