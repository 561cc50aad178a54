"""Whether Meta takes an event, decided at ingest, so that the caller learns it in the answer."""

from __future__ import annotations

from datetime import datetime, timedelta

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
from app.destinations.meta import payload
from app.destinations.meta.settings import MetaSettings
from app.destinations.meta.tables import CONTENT_TYPES, CUSTOM_KEYS, MESSAGING_NEEDS, OFFLINE_REPEATS, TYPED_KEYS
from app.errors import Reason
from app.model import Form, HashedEvent, Warn


def can_limit(event: HashedEvent, settings: MetaSettings) -> bool:
    """Whether Limited Data Use can be asked for.

    Meta must be told a state it has a code for, or an IP address to locate; and what is left without names, address,
    gender and birth date must still be enough to be taken.
    """
    state = payload.limited_options(event)["data_processing_options_state"]
    is_located = state or event.identity.client_ip_address
    return bool(is_located) and not payload.is_too_weak(payload.user_data(event, settings, is_limited=True))


def admit(event: HashedEvent, settings: MetaSettings, now: datetime) -> Admission:
    """Whether and until when Meta takes this event."""
    name = payload.name_of(event, settings)
    if not name:
        return Skip(Reason.EVENT_NOT_SUPPORTED, f"no name for this event with action_source {event.action_source}")
    is_store = event.action_source == "physical_store"
    window = settings.max_age_physical_store if is_store else settings.max_age
    until = gate_age(event, window, settings.window_margin, now)
    if isinstance(until, Skip):
        return until
    missing = _missing(event, name, settings)
    if missing:
        return Skip(Reason.REQUIRED_FIELD_MISSING, f"Meta needs {', '.join(missing)}")
    known = event.identity.digests
    is_known = known.get(Form.EMAIL) or known.get(Form.PHONE_DIGITS) or event.identity.client_ip_address
    if not is_known and payload.is_too_weak(payload.user_data(event, settings, is_limited=False)):
        return Skip(Reason.IDENTIFIERS_MISSING, "Meta takes no event with so little about the customer")
    warnings = _warnings(event, name, settings)
    if is_store:  # no pixel has a twin of it, and only order_id tells two of them apart for certain
        has_key = bool(event.custom_data.order_id) and payload.has_order_key(event)
        return Admit(until, timedelta(0), OFFLINE_REPEATS if has_key else timedelta(0), warnings)
    return Admit(until, DEDUP_WINDOW, DEDUP_WINDOW, warnings)


def _missing(event: HashedEvent, name: str, settings: MetaSettings) -> list[str]:
    """What the pages document as required."""
    missing = []
    source = event.action_source
    if source == "website" and not page_url(event):
        missing.append("event_source_url, a whole http or https address")
    if settings.require_user_agent and lacks_user_agent(event):
        missing.append("user.client_user_agent")
    if source == "business_messaging":
        missing += _missing_of_messaging(event, settings)
    if name == "Purchase" and event.money is None:
        missing.append("custom_data.value and custom_data.currency")
    if source == "app":
        app_data = payload.app_data(event)
        required = ("advertiser_tracking_enabled", "application_tracking_enabled", "extinfo")
        missing += [f"app.{key}" for key in required if key not in app_data]
    return missing


def _missing_of_messaging(event: HashedEvent, settings: MetaSettings) -> list[str]:
    channel = payload.messaging_channel(event, settings)
    if channel is None:
        return ["custom_data.properties.messaging_channel, or the setting"]
    ids = payload.messaging_ids(event, settings)
    ours = {"page_id", "ig_account_id"}
    return [
        f"the setting {key}" if key in ours else f"user.{key}" for key in MESSAGING_NEEDS[channel] if not ids.get(key)
    ]


def lacks_user_agent(event: HashedEvent) -> bool:
    """Whether the one documented requirement is unmet that Meta was seen to waive."""
    return event.action_source == "website" and not event.identity.client_user_agent


def _warnings(event: HashedEvent, name: str, settings: MetaSettings) -> tuple[Warn, ...]:
    identity, data = event.identity, event.custom_data
    warnings = []
    if lacks_user_agent(event):
        warnings.append(
            Warn("field_missing", "/user/client_user_agent", "Meta asks for the user agent of website events")
        )
    warnings += [
        Warn("click_id_malformed", f"/user/{field}", f"{field} is not of Meta's shape and is left out")
        for field, value in (("fbc", identity.fbc), ("fbp", identity.fbp))
        if value and not payload.click_id(value)
    ]
    if identity.lead_id and not payload.lead_id(identity.lead_id):
        warnings.append(Warn("lead_id_malformed", "/user/lead_id", "a lead id of Meta has 15 to 17 digits: left out"))
    if identity.fb_login_id and not payload.login_id(identity.fb_login_id):
        warnings.append(
            Warn("login_id_malformed", "/user/fb_login_id", "an id of Facebook Login is a number: left out")
        )
    if name == "Refund":
        warnings.append(
            Warn("refund_custom", "/event_name", "Meta has no refund: a custom event, nothing is subtracted there")
        )
    if data.content_type and data.content_type not in CONTENT_TYPES:
        warnings.append(
            Warn("content_type_unknown", "/custom_data/content_type", "not product or product_group: left out at Meta")
        )
    if any(not line.id for line in data.contents):
        warnings.append(Warn("content_dropped", "/custom_data/contents", "lines without an id are left out"))
    warnings += _about_properties(event, settings)
    return tuple(warnings)


def _about_properties(event: HashedEvent, settings: MetaSettings) -> list[Warn]:
    if not event.custom_data.properties:
        return []
    warnings = misfits(event, settings)
    free = unassigned(event, settings)
    flat = scalars(free, CUSTOM_KEYS)
    if len(flat) < len(free):
        warnings.append(
            Warn("properties_dropped", "/custom_data/properties", "only flat values under free keys reach Meta")
        )
    warnings += [
        Warn("property_misfit", f"/custom_data/properties/{key}", "does not fit Meta's own key of this name: left out")
        for key in flat.keys() & TYPED_KEYS.keys()
        if TYPED_KEYS[key](flat[key]) is None
    ]
    return warnings
