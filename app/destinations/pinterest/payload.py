"""What one event becomes at Pinterest: closed objects, amounts as text, no null and nothing empty anywhere."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from app.destinations.base import (
    app_flag,
    app_system,
    app_text,
    assigned,
    hashed,
    page_url,
    plain,
    platform_name,
    tidy,
    unix_seconds,
)
from app.destinations.pinterest.settings import PinterestSettings
from app.destinations.pinterest.tables import CUSTOM_NAME, EVENT_NAMES, KEPT_KEYS, PERSONAL_KEYS
from app.destinations.pixel import javascript, money
from app.model import Delivery, HashedEvent

_FLAT_APP = "app_id app_name app_version device_brand device_carrier device_model device_type os_version".split()
_APP_INFO = {"app_id": 200, "app_version": 100}  # OpenAPI description, documented: characters at most


def record(delivery: Delivery, settings: PinterestSettings) -> dict[str, Any]:
    """The JSON of one event."""
    event = delivery.event
    whole: dict[str, Any] = {
        "event_name": name_of(event, settings) or CUSTOM_NAME,
        "action_source": action_source(event) or "offline",
        "event_time": unix_seconds(event),
        "event_id": delivery.event_id,
        "event_source_url": page_url(event),
        "partner_name": settings.partner_name,
        "opt_out": True if delivery.limited or _is_tracking_refused(event) else None,
        "user_data": _user_data(event, settings, is_limited=delivery.limited),
        "custom_data": _custom_data(event, is_limited=delivery.limited),
        "language": _language(event.identity.locale),
    }
    if event.action_source == "app":
        whole |= _app(event, settings)
    return assigned(tidy(whole), event, settings)


def action_source(event: HashedEvent) -> str | None:
    """Where it happened, in Pinterest's four words; None for an app of an unknown system."""
    if event.action_source == "website":
        return "web"
    if event.action_source == "app":
        system = app_system(event)
        return f"app_{system}" if system else None
    return "offline"


def name_of(event: HashedEvent, settings: PinterestSettings) -> str | None:
    """What Pinterest calls this event; None when it takes no such event."""
    return platform_name(event, settings, EVENT_NAMES, CUSTOM_NAME)


def pixel_call(event: HashedEvent, event_id: str, settings: PinterestSettings) -> str | None:
    """The tag's call. The tag writes the API's names without underscores (`add_to_cart` is `addtocart`)."""
    name = name_of(event, settings)
    if name is None:
        return None
    data = tidy({"event_id": event_id, **money(event), "order_id": event.custom_data.order_id})
    return javascript("pintrk", "track", name.replace("_", ""), data)


def _user_data(event: HashedEvent, settings: PinterestSettings, *, is_limited: bool) -> dict[str, Any]:
    identity = event.identity
    user: dict[str, Any] = {key: hashed(identity, form) for key, form in KEPT_KEYS.items()}
    if not is_limited:
        user |= {key: hashed(identity, form) for key, form in PERSONAL_KEYS.items()}
    customer_type = identity.customer_type if settings.send_customer_type else None
    user |= {
        "client_ip_address": identity.client_ip_address,
        "client_user_agent": identity.client_user_agent,
        "click_id": identity.epik,
        "customer_type": customer_type if customer_type in ("new", "returning") else None,
    }
    return tidy(user)


def _custom_data(event: HashedEvent, *, is_limited: bool) -> dict[str, Any]:
    data = event.custom_data
    lines = [
        tidy(
            {
                "id": line.id,
                "item_name": line.title,
                "item_category": line.category,
                "item_brand": line.brand,
                "item_price": _text(line.item_price),
                "quantity": line.quantity,
            }
        )
        for line in data.contents
    ]
    return tidy(
        {
            "currency": data.currency,
            "value": _text(data.value),
            "content_ids": [line.id for line in data.contents if line.id],
            "contents": [line for line in lines if line],
            "num_items": data.num_items,
            "order_id": data.order_id,
            "search_string": data.search_string,
            "content_name": data.content_name,
            "content_category": data.content_category,
            "predicted_ltv": _text(data.predicted_ltv),
            "opt_out_type": "LDP" if is_limited else None,
        }
    )


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


def _app(event: HashedEvent, settings: PinterestSettings) -> dict[str, Any]:
    """The app and its device, in the flat fields and, where they fit, in `app_info`."""
    facts = event.app or {}
    wifi, tracking = facts.get("wifi"), app_flag(event, "advertiser_tracking_enabled")
    info: dict[str, Any] = {
        key: text for key, longest in _APP_INFO.items() if (text := app_text(event, key)) and len(text) <= longest
    }
    info |= {
        "app_name": app_text(event, "app_name"),
        "app_package_name": app_text(event, "package_name"),
        "app_store": app_text(event, "app_store"),
        "install_time": facts.get("install_time"),
    }
    return {
        **{key: app_text(event, key) for key in _FLAT_APP},
        "wifi": wifi if isinstance(wifi, bool) else None,
        "app_info": tidy(info),
        "advertiser_tracking_enabled": bool(tracking) if settings.send_tracking_flag and tracking is not None else None,
    }


def _is_tracking_refused(event: HashedEvent) -> bool:
    """Whether an app's user limits ad tracking, which is what `opt_out` says of app events (documented)."""
    return event.action_source == "app" and app_flag(event, "advertiser_tracking_enabled") == 0


def _language(locale: str | None) -> str | None:
    """The two-letter language of a locale such as en-US."""
    match = re.match(r"([A-Za-z]{2})(?![A-Za-z])", locale or "")
    return match[1].lower() if match else None
