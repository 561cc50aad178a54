"""What each side reports of an event: the server when it takes one, the page when its pixel has fired. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal

from app.dedup.pairs import CANCELLED, CONFLICT, SERVER, Sighting, encode_sighting
from app.dedup.port import SideReport
from app.errors import Outcome, Status
from app.model import Accepted, Plan

UNSENT = frozenset({Outcome.DENIED, Outcome.SKIPPED})


def server_report(plan: Plan, accepted: Accepted, names: Mapping[str, str]) -> SideReport:
    """The server's own sighting. `names` is what each destination calls the event; only those it goes to are kept.

    A conflict is a side of its own under the id that was asked for: which order it was, told apart by its transaction.
    """
    request = plan.id_request
    is_conflict = accepted.status is Status.CONFLICT
    sent = {name for name, verdict in accepted.destinations.items() if verdict.outcome not in UNSENT}
    money = plan.event.money
    sighting = Sighting(
        at=plan.accepted_at,
        names={} if is_conflict else {name: called for name, called in names.items() if name in sent},
        currency=money[0] if money else None,
        value=money[1] if money else None,
        transaction=request.transaction,
        event_name=request.event_name,
    )
    side = f"{CONFLICT}{request.transaction}" if is_conflict else SERVER
    return SideReport(request.source, accepted.event_id, side, encode_sighting(sighting))


def cancel_report(
    source: str, event_id: str, event_name: str, at: datetime, destinations: Collection[str]
) -> SideReport:
    """What takes the server's sighting back at these destinations, where the event was cancelled before it was sent."""
    sighting = Sighting(at=at, names=dict.fromkeys(destinations, event_name), event_name=event_name)
    return SideReport(source, event_id, CANCELLED, encode_sighting(sighting))


def receipt_report(
    source: str, event_id: str, platform: str, name: str, at: datetime, money: tuple[str | None, Decimal | None]
) -> SideReport:
    """The sighting in a page's receipt: its pixel's own name for the event, and when it fired."""
    currency, value = money
    sighting = Sighting(at=at, names={platform: name}, currency=currency, value=value)
    return SideReport(source, event_id, platform, encode_sighting(sighting))
