"""Whether TikTok takes an event, decided at ingest, so that the caller learns it in the answer."""

from __future__ import annotations

from datetime import datetime

from app.destinations.base import (
    DEDUP_WINDOW,
    Admission,
    Admit,
    Skip,
    app_text,
    gate_age,
    misfits,
    page_url,
    unassigned,
)
from app.destinations.tiktok.payload import name_of, route, user_of
from app.destinations.tiktok.settings import TikTokSettings
from app.destinations.tiktok.tables import (
    APP_NAMES,
    ATT_STATUSES,
    CONTENT_TYPES,
    CURRENCIES,
    LOOKALIKES,
    NO_EVENT,
    OLD_NAMES,
    STRONG_FIELDS,
    EventSource,
)
from app.errors import Reason
from app.model import Form, HashedEvent, Warn


def can_limit(event: HashedEvent, settings: TikTokSettings) -> bool:
    """Whether TikTok can honour limited data use: for web and app events with the shopper's IP address."""
    found = route(event, settings)
    return found is not None and found[0] in ("web", "app") and bool(event.identity.client_ip_address)


def admit(event: HashedEvent, settings: TikTokSettings, now: datetime) -> Admission:
    """Whether and until when TikTok takes this event."""
    found = route(event, settings)
    if found is None:
        return Skip(
            Reason.EVENT_NOT_SUPPORTED, f"no event source is configured for action_source {event.action_source}"
        )
    source = found[0]
    name = name_of(event, settings, source)
    if not name:
        return Skip(Reason.EVENT_NOT_SUPPORTED, _nameless(event, source))
    window = settings.max_age_offline if source == "offline" else settings.max_age
    until = gate_age(event, window, settings.window_margin, now)
    if isinstance(until, Skip):
        return until
    if source == "web" and not page_url(event):
        return Skip(Reason.REQUIRED_FIELD_MISSING, "TikTok needs event_source_url, a whole http or https address")
    if source == "crm" and not event.identity.lead_id:
        return Skip(Reason.REQUIRED_FIELD_MISSING, "TikTok needs user.lead_id for crm events")
    is_known = source == "crm" or event.identity.digests.get(Form.EMAIL) or event.identity.digests.get(Form.PHONE_E164)
    known = STRONG_FIELDS if is_known else user_of(event, settings, source, is_limited=False).keys()
    if not known - {"locale", "att_status"}:
        return Skip(Reason.IDENTIFIERS_MISSING, "nothing that tells TikTok who the customer is")
    is_weak = not known & STRONG_FIELDS and not {"ip", "user_agent"} <= known
    return Admit(until, DEDUP_WINDOW, DEDUP_WINDOW, _warnings(event, name, source, settings, is_weak=is_weak))


def _nameless(event: HashedEvent, source: EventSource) -> str:
    if event.event_name in NO_EVENT:
        return NO_EVENT[event.event_name]
    if source == "offline":
        return "TikTok takes standard events only into an offline event set"
    return f"TikTok has no name for this {source} event"


def _warnings(
    event: HashedEvent, name: str, source: EventSource, settings: TikTokSettings, *, is_weak: bool
) -> tuple[Warn, ...]:
    data = event.custom_data
    warnings = []
    if is_weak:
        warnings.append(Warn("identifiers_weak", "/user", "TikTok will hardly match an event with so little"))
    if name in ("Purchase", "CompletePayment") and event.money is None:
        warnings.append(Warn("money_missing", "/custom_data", "without value and currency TikTok counts no revenue"))
    if data.currency and data.currency not in CURRENCIES:
        warnings.append(Warn("currency_unlisted", "/custom_data/currency", "not on TikTok's list of currencies"))
    if data.content_type and data.content_type not in CONTENT_TYPES:
        warnings.append(
            Warn(
                "content_type_unknown", "/custom_data/content_type", "not product or product_group: left out at TikTok"
            )
        )
    is_apps_own = source == "app" and name in APP_NAMES
    if event.is_custom and not is_apps_own and LOOKALIKES.fullmatch(name):
        warnings.append(Warn("event_name_reserved", "/event_name", "TikTok turns this name into a standard event"))
    if name in OLD_NAMES:
        warnings.append(Warn("event_name_old", "/event_name", "sent under a name that TikTok has replaced"))
    status = app_text(event, "att_status")
    if source == "app" and status and status.upper() not in ATT_STATUSES:
        warnings.append(Warn("att_status_unknown", "/app/att_status", "no status that TikTok knows: left out"))
    if any(not line.id for line in data.contents):
        warnings.append(Warn("content_dropped", "/custom_data/contents", "lines without an id are left out"))
    if data.properties:
        warnings += misfits(event, settings)
        if unassigned(event, settings):
            warnings.append(
                Warn(
                    "properties_dropped",
                    "/custom_data/properties",
                    "TikTok takes no free data; field_properties can fill a field of its own",
                )
            )
    return tuple(warnings)
