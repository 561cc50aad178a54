"""What one event becomes at TikTok: its event source, its name there, its JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.destinations.base import (
    app_text,
    assigned,
    hashed,
    number,
    page_url,
    platform_name,
    tidy,
    unix_seconds,
)
from app.destinations.pixel import javascript, money
from app.destinations.tiktok.settings import TikTokSettings
from app.destinations.tiktok.tables import (
    APP_EVENT_NAMES,
    ATT_STATUSES,
    CONTENT_TYPES,
    EVENT_NAMES,
    PERSONAL_FIELDS,
    STANDARD_NAMES,
    EventSource,
)
from app.model import Delivery, Form, HashedEvent


def record(delivery: Delivery, settings: TikTokSettings, source: EventSource) -> dict[str, Any]:
    """The JSON of one event."""
    event = delivery.event
    whole: dict[str, Any] = {
        "event": name_of(event, settings, source) or event.event_name,
        "event_time": unix_seconds(event),
        "event_id": delivery.event_id,
        "user": user_of(event, settings, source, is_limited=delivery.limited),
        "properties": properties(event, source),
    }
    if source == "web":
        whole["page"] = tidy({"url": page_url(event), "referrer": event.referrer_url})
    elif source == "app":
        whole["app"] = tidy(
            {
                "app_id": settings.app_id,
                "app_name": app_text(event, "app_name"),
                "app_version": app_text(event, "app_version"),
            }
        )
    elif source == "crm":
        whole["lead"] = tidy({"lead_id": event.identity.lead_id, "lead_event_source": settings.lead_event_source})
    if delivery.limited:
        whole["limited_data_use"] = True
    return assigned(tidy(whole), event, settings)


def route(event: HashedEvent, settings: TikTokSettings) -> tuple[EventSource, str] | None:
    """The event source that takes this event, and its id. A lead of the CRM set goes there, a store's sale does not."""
    if event.action_source == "website":
        return ("web", settings.pixel_code) if settings.pixel_code else None
    if event.action_source == "app":
        return ("app", settings.app_id) if settings.app_id else None
    is_lead = event.identity.lead_id is not None and event.action_source != "physical_store"
    if settings.crm_event_set_id and (is_lead or not settings.offline_event_set_id):
        return "crm", settings.crm_event_set_id
    return ("offline", settings.offline_event_set_id) if settings.offline_event_set_id else None


def name_of(event: HashedEvent, settings: TikTokSettings, source: EventSource) -> str | None:
    """What TikTok calls this event in this event source; None when it takes no such event."""
    table = APP_EVENT_NAMES if source == "app" else EVENT_NAMES
    name = platform_name(event, settings, table, event.event_name)
    if source == "offline" and name not in STANDARD_NAMES:  # endpoint page, documented: offline takes standard only
        return None
    return name


def pixel_call(event: HashedEvent, event_id: str, settings: TikTokSettings) -> str | None:
    """The pixel's call, with the id in a third argument (Event deduplication, documented)."""
    name = name_of(event, settings, "web") if settings.pixel_code else None
    return None if name is None else javascript("ttq.track", name, money(event), {"event_id": event_id})


def user_of(event: HashedEvent, settings: TikTokSettings, source: EventSource, *, is_limited: bool) -> dict[str, Any]:
    """The user object: each event source has fields of its own (endpoint page, documented)."""
    identity = event.identity
    user: dict[str, Any] = {"email": hashed(identity, Form.EMAIL), "phone": hashed(identity, Form.PHONE_E164)}
    if source != "app":  # documented for web and crm; offline seen in peers
        user["external_id"] = hashed(identity, Form.EXTERNAL_ID)
    if source == "web":
        user |= {"ttclid": identity.ttclid, "ttp": identity.ttp}
        if settings.address_fields != "none" and not is_limited:
            user |= {key: _first(hashed(identity, form)) for key, form in PERSONAL_FIELDS.items()}
            if settings.address_fields == "all":
                user |= {"state": identity.state, "country": identity.country}
    if source in ("web", "app"):
        user |= {
            "ip": identity.client_ip_address,
            "user_agent": identity.client_user_agent,
            "locale": identity.locale.replace("_", "-") if identity.locale else None,
        }
    if source == "app":
        att_status = (app_text(event, "att_status") or "").upper()
        user |= {
            "idfa": _idfa(identity.idfa),
            "gaid": identity.gaid.lower() if identity.gaid and identity.gaid.strip("0-") else None,
            "idfv": identity.idfv,
            "att_status": att_status if att_status in ATT_STATUSES else None,
        }
    return tidy(user)


def _idfa(value: str | None) -> str | None:
    """An IDFA in upper case, or its digest in lower case (endpoint page, documented); not the all-zero one."""
    if not value or not value.strip("0-"):
        return None
    return value.lower() if len(value) == 64 else value.upper()


def _first(values: Sequence[str]) -> str | None:
    return values[0] if values else None


def properties(event: HashedEvent, source: EventSource) -> dict[str, Any]:
    """What it was worth and what it was about."""
    data = event.custom_data
    customer_type = event.identity.customer_type if source in ("web", "app") else None
    return tidy(
        {
            "currency": data.currency,
            "value": number(data.value),
            "contents": [
                tidy(
                    {
                        "content_id": line.id,
                        "content_name": line.title,
                        "content_category": line.category,
                        "brand": line.brand,
                        "price": number(line.item_price),
                        "quantity": line.quantity,
                    }
                )
                for line in data.contents
                if line.id
            ],
            "content_ids": [line.id for line in data.contents if line.id],
            "content_type": data.content_type if data.content_type in CONTENT_TYPES else None,
            "num_items": data.num_items,
            "order_id": data.order_id,
            "search_string": data.search_string,
            "customer_type": customer_type if customer_type in ("new", "returning") else None,
        }
    )
