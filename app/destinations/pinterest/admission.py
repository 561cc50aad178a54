"""Whether Pinterest takes an event, decided at ingest, so that the caller learns it in the answer."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.destinations.base import DEDUP_WINDOW, Admission, Admit, Skip, gate_age, misfits, page_url, unassigned
from app.destinations.pinterest.payload import action_source, name_of
from app.destinations.pinterest.settings import PinterestSettings
from app.destinations.pinterest.tables import KNOWN_NAMES
from app.errors import Reason
from app.model import Form, HashedEvent, Warn

_LATE = Warn(
    "late_for_pairing",
    "/event_time",
    "older than Pinterest pairs with its pixel's copy, as other senders say: it may count as offline, and twice",
)


def can_limit(event: HashedEvent, settings: PinterestSettings) -> bool:
    """Whether limited data processing can be asked for: Pinterest must be told the state and the country."""
    digests = event.identity.digests
    return bool(digests.get(Form.STATE_TWO_LETTER) and digests.get(Form.COUNTRY))


def admit(event: HashedEvent, settings: PinterestSettings, now: datetime) -> Admission:
    """Whether and until when Pinterest takes this event."""
    name, source = name_of(event, settings), action_source(event)
    if not name:
        is_refund = event.event_name == "Refund"
        why = "has no refund; event_names can name an event of your own" if is_refund else "has no name for this event"
        return Skip(Reason.EVENT_NOT_SUPPORTED, f"Pinterest {why}")
    if source is None:
        return Skip(Reason.EVENT_NOT_SUPPORTED, "neither app.os nor an advertising id tells iOS from Android")
    until = gate_age(event, settings.max_age, settings.window_margin, now)
    if isinstance(until, Skip):
        return until
    identity = event.identity
    has_device = bool(identity.client_ip_address and identity.client_user_agent)
    if not (identity.digests.get(Form.EMAIL) or identity.digests.get(Form.AD_ID) or has_device):
        return Skip(
            Reason.IDENTIFIERS_MISSING, "Pinterest needs an e-mail, an advertising id, or IP address and user agent"
        )
    warnings = _warnings(event, name, settings)
    if source == "offline":  # OpenAPI description, documented: offline events are never deduplicated
        return Admit(until, timedelta(0), timedelta(0), warnings)
    in_time = event.event_time + settings.late_after - now
    if settings.late == "expire":
        return Admit(until, settings.late_after, max(in_time, timedelta(0)), warnings)
    if in_time <= timedelta(0):
        warnings = (*warnings, _LATE)
    return Admit(until, DEDUP_WINDOW, DEDUP_WINDOW, warnings)


def _warnings(event: HashedEvent, name: str, settings: PinterestSettings) -> tuple[Warn, ...]:
    data = event.custom_data
    warnings = []
    if event.action_source == "website" and not page_url(event):
        warnings.append(Warn("field_missing", "/event_source_url", "Pinterest advises the URL for website events"))
    if name not in KNOWN_NAMES:
        warnings.append(
            Warn("event_name_unlisted", "/event_name", "a name of your own: Pinterest counts it only once it is mapped")
        )
    if name == "checkout" and event.money is None:
        warnings.append(Warn("money_missing", "/custom_data", "without value and currency Pinterest counts no revenue"))
    elif name == "checkout" and not data.value:
        warnings.append(Warn("value_zero", "/custom_data/value", "Pinterest advises against sending a value of 0"))
    if data.properties:
        warnings += misfits(event, settings)
        if unassigned(event, settings):
            warnings.append(
                Warn(
                    "properties_dropped",
                    "/custom_data/properties",
                    "Pinterest takes no free data; field_properties can fill a field of its own",
                )
            )
    return tuple(warnings)
