"""What would become of an event, and the very requests that would carry it. Pure; nothing is kept or sent.

An explanation takes the way of a posted event: the same plan, the same adapters. What it shows is hashed as it would be
sent, and every secret is masked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from app.dedup.port import MintedId
from app.errors import Outcome, Status
from app.hashing.coverage import RULES, Coverage, coverage
from app.model import Budget, Delivery, HttpCall, Plan, Verdict
from app.outbox.port import EventState
from app.pipeline import Route, SourcePolicy

MASK = "********"

IdOrigin = Literal["caller", "registry", "derived"]


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows about the ids of a plan: the registry's id of its key, the events under its id."""

    registered: MintedId | None = None
    events: Sequence[EventState] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it would be sent; secrets are masked. `body` is the JSON text."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Lane:
    """What would become of the event at one destination. `requests`, `budget`: only where it would be queued.

    `match_keys` is None for a platform whose match keys nobody wrote down.
    """

    verdict: Verdict
    budget: Budget | None = None
    requests: Sequence[Request] = ()
    match_keys: Coverage | None = None
    pixel_call: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would become of an event: as a whole, and at every configured destination, in their order."""

    status: Status
    event_id: str
    id_origin: IdOrigin
    lanes: Mapping[str, Lane]


def id_of(plan: Plan, registered: MintedId | None) -> tuple[str, IdOrigin]:
    """The id an event would have, and where it is from: the caller's wins, then the registry's."""
    request = plan.id_request
    if request.asked is not None:
        return request.asked, "caller"
    if registered is not None:
        return registered.event_id, "registry"
    return request.derived, "derived"


def explain(plan: Plan, policy: SourcePolicy, known: Known) -> Explanation:
    """What would become of `plan`, given what the store knows about its ids."""
    event_id, origin = id_of(plan, known.registered)
    planned = {delivery.destination: delivery for delivery in plan.deliveries}
    lanes = {}
    for route in policy.routes:
        verdict = plan.verdicts[route.name]
        if route.name not in planned:
            lanes[route.name] = Lane(verdict)
            continue
        delivery = Delivery(
            key=None,
            token=b"",
            destination=route.name,
            event_id=event_id,
            event=plan.event,
            accepted_at=plan.accepted_at,
            budget=planned[route.name].budget,
            limited=planned[route.name].limited,
        )
        lanes[route.name] = _lane(delivery, route, verdict, has_pixel=policy.has_pixel)
    return Explanation(_status(plan, known), event_id, origin, lanes)


def _lane(delivery: Delivery, route: Route, verdict: Verdict, *, has_pixel: bool) -> Lane:
    kind, event = route.destination, delivery.event
    is_known = kind.name in RULES
    return Lane(
        verdict,
        delivery.budget,
        [_masked(call) for call in kind.build([delivery], route.settings)],
        coverage(event.identity, kind.name, event.action_source) if is_known else None,
        kind.pixel_call(event, delivery.event_id, route.settings) if has_pixel else None,
    )


def _masked(call: HttpCall) -> Request:
    secret = dict.fromkeys(call.secret_headers, MASK)
    if call.auth is not None:
        secret["authorization"] = MASK
    query = "&".join(f"{name}={MASK}" for name in call.secret_params)
    url = f"{call.url}{'&' if '?' in call.url else '?'}{query}" if query else call.url
    return Request(call.method, url, {"content-type": "application/json", **call.headers, **secret}, call.body)


def _status(plan: Plan, known: Known) -> Status:
    """Whether it would be new, a copy of what was posted before, or at odds with it."""
    request = plan.id_request
    same = [state for state in known.events if state.event_name == request.event_name]
    is_other_id = (
        request.asked is not None and known.registered is not None and known.registered.event_id != request.asked
    )
    is_other_order = any(
        request.transaction is not None and state.transaction not in {None, request.transaction} for state in same
    )
    if (is_other_id or is_other_order) and not request.send_conflicts:
        return Status.CONFLICT
    queued = {
        name
        for state in same
        for name, delivery in state.destinations.items()
        if delivery.outcome not in {Outcome.DENIED, Outcome.SKIPPED}
    }
    is_covered = all(delivery.destination in queued for delivery in plan.deliveries)
    return Status.DUPLICATE if same and is_covered else Status.ACCEPTED
