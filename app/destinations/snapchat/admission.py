"""Whether Snapchat takes an event, decided at ingest, so that the caller learns it in the answer."""

from __future__ import annotations

from datetime import datetime

from app.destinations.base import (
    DEDUP_WINDOW,
    Admission,
    Admit,
    Skip,
    gate_age,
    misfits,
    page_url,
    scalars,
    unassigned,
)
from app.destinations.snapchat.payload import action_source, app_data, asset, madid, name_of, order_id
from app.destinations.snapchat.settings import SnapchatSettings
from app.destinations.snapchat.tables import CONTENT_TYPES, CURRENCIES, ORDER_REPEATS
from app.errors import Reason
from app.model import Form, HashedEvent, Warn


def can_limit(event: HashedEvent, settings: SnapchatSettings) -> bool:
    """Whether limited use can be asked for: of website events only (second-hand)."""
    return event.action_source == "website"


def admit(event: HashedEvent, settings: SnapchatSettings, now: datetime) -> Admission:
    """Whether and until when Snapchat takes this event."""
    name = name_of(event, settings)
    if not name:
        what = "refund" if event.event_name == "Refund" else "name for this event"
        return Skip(Reason.EVENT_NOT_SUPPORTED, f"Snapchat has no {what}; custom_event_names can give one")
    if asset(event, settings) is None:
        return Skip(
            Reason.EVENT_NOT_SUPPORTED, f"neither pixel nor app is configured for action_source {event.action_source}"
        )
    source = action_source(event)
    window = settings.max_age_offline if source == "OFFLINE" else settings.max_age
    until = gate_age(event, window, settings.window_margin, now)
    if isinstance(until, Skip):
        return until
    missing = _missing(event, name)
    if missing:
        return Skip(Reason.REQUIRED_FIELD_MISSING, f"Snapchat needs {', '.join(missing)}")
    identity = event.identity
    has_device = bool(identity.client_ip_address and identity.client_user_agent)
    has_hash = identity.digests.get(Form.EMAIL) or identity.digests.get(Form.PHONE_DIGITS)
    if not (has_hash or has_device or madid(event)):
        return Skip(
            Reason.IDENTIFIERS_MISSING,
            "Snapchat needs an e-mail, a phone number, IP address and user agent, or an app's advertising id",
        )
    repeats = ORDER_REPEATS if name == "PURCHASE" and order_id(event) else DEDUP_WINDOW
    return Admit(until, repeats, repeats, _warnings(event, settings))


def _missing(event: HashedEvent, name: str) -> list[str]:
    """What Using the API and Verify set-up document as required."""
    missing = []
    if event.action_source == "website" and not page_url(event):
        missing.append("event_source_url, a whole http or https address")
    if name == "PURCHASE" and event.money is None:
        missing.append("custom_data.value and custom_data.currency")
    if event.action_source == "app" and not app_data(event):
        missing.append("app (app.app_id at least)")
    return missing


def _warnings(event: HashedEvent, settings: SnapchatSettings) -> tuple[Warn, ...]:
    data = event.custom_data
    warnings = []
    if event.action_source == "app":
        known = app_data(event)
        warnings += [
            Warn("field_missing", f"/app/{key}", f"Snapchat asks for app.{key}")
            for key in ("app_id", "extinfo")
            if key not in known
        ]
    if data.currency and data.currency not in CURRENCIES:
        warnings.append(Warn("currency_unlisted", "/custom_data/currency", "not on Snapchat's list of currencies"))
    if data.content_type and data.content_type not in CONTENT_TYPES:
        warnings.append(
            Warn(
                "content_type_unknown",
                "/custom_data/content_type",
                "not product or product_group: left out at Snapchat",
            )
        )
    if any(not line.id for line in data.contents):
        warnings.append(Warn("content_dropped", "/custom_data/contents", "lines without an id are left out"))
    if data.properties:
        free = unassigned(event, settings)
        warnings += misfits(event, settings)
        if len(scalars(free)) < len(free):
            warnings.append(Warn("properties_dropped", "/custom_data/properties", "only flat values reach Snapchat"))
    return tuple(warnings)
