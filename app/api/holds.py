"""`POST /v1/events/{event_id}/release` and `…/cancel` end the holding back of an event posted with `hold: true`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from app.api.bodies import json_response
from app.api.events import VerdictBody, verdict_json
from app.api.guards import authorise
from app.api.parameters import refuse_unknown_parameters
from app.api.problems import Problem
from app.dedup.port import PAIR_RETENTION, PairStore
from app.dedup.sightings import cancel_report
from app.delivery.retry import NEVER_RELEASED
from app.errors import Outcome, Reason
from app.outbox.port import EventState, Outbox, Touched, verdict_of
from app.pipeline import SourcePolicy

router = APIRouter(tags=["events"])

Ended = Literal["released", "cancelled", "expired", "not_held"]

_CANCELLED = (Outcome.WITHDRAWN, Reason.CANCELLED, None)
_IN_VAIN = {
    "cancelled": "it was cancelled: it is not sent any more",
    "expired": "it was not released in time: it is not sent any more",
    "not_held": "it is not held back: it was released, or posted without hold, and cannot be cancelled any more",
}


class HoldBody(BaseModel):
    """What became of one event that was, or was not, held back."""

    event_id: str
    event_name: str
    source: str
    status: Ended
    destinations: dict[str, VerdictBody]


class HoldsBody(BaseModel):
    """One result for every event of this id, the newest first."""

    results: list[HoldBody]


Source = Annotated[str | None, Query(description="Another source than the key's own; needs the scope admin.")]
EventName = Annotated[
    str | None, Query(description="Which event, where several share the id; without it, all of them.", max_length=200)
]


@router.post(
    "/v1/events/{event_id:path}/release",
    operation_id="releaseEvent",
    summary="Let go an event that was held back",
    response_model=HoldsBody,
)
async def release_event(
    request: Request, event_id: str, source: Source = None, event_name: EventName = None
) -> Response:
    """Makes it ready at once at every destination where it is held. Doing it again is safe and changes nothing.

    404 where no event of this id is known; 409 where it was cancelled or its time was over. An event that was never
    held is answered as `not_held`, with what became of it.
    """
    outbox: Outbox = request.app.state.outbox
    results = await _end_hold(request, event_id, source, event_name, outbox.release, "released")
    return _answer(results, refused={"cancelled", "expired"})


@router.post(
    "/v1/events/{event_id:path}/cancel",
    operation_id="cancelEvent",
    summary="End an event that was held back, unsent",
    response_model=HoldsBody,
)
async def cancel_event(
    request: Request, event_id: str, source: Source = None, event_name: EventName = None
) -> Response:
    """Ends it as `withdrawn`, with the reason `cancelled`, wherever it is held. Doing it again changes nothing.

    404 where no event of this id is known; 409 where it was released or never held: it is sent, or was. One whose time
    was over is answered as `expired`: nothing was sent.
    """
    outbox: Outbox = request.app.state.outbox
    results = await _end_hold(request, event_id, source, event_name, outbox.cancel, "cancelled")
    await _take_back(request, results)
    return _answer(results, refused={"not_held"})


async def _end_hold(
    request: Request,
    event_id: str,
    source: str | None,
    event_name: str | None,
    change: Callable[[Sequence[Any]], Awaitable[Sequence[Touched]]],
    done: Ended,
) -> list[dict[str, Any]]:
    """What became of every event that is meant, once it was changed.

    Raises: Problem 401, 403 or 404.
    """
    principal = authorise(request, "ingest")
    refuse_unknown_parameters(request)  # a slip of the pen in `event_name` would be taken for all of them
    if source is not None and source != principal.source and "admin" not in principal.scopes:
        raise Problem("forbidden", "another source's events need a key with the scope `admin`")
    source = source or principal.source

    async def find() -> list[EventState]:
        states = await request.app.state.journal.event(event_id, source)
        return [state for state in states if event_name in {None, state.event_name}]

    found = await find()
    if not found:
        raise Problem("not_found", "no event of this id is known, or it is older than the journal's retention")
    touched = dict(zip([state.key for state in found], await change([state.key for state in found]), strict=True))
    return [
        {
            "event_id": state.event_id,
            "event_name": state.event_name,
            "source": state.source,
            "status": done if touched[state.key].changed else ended(state, touched[state.key]),
            "destinations": {name: verdict_json(verdict_of(each)) for name, each in state.destinations.items()},
        }
        for state in await find()
        if state.key in touched
    ]


async def _take_back(request: Request, results: Sequence[Mapping[str, Any]]) -> None:
    """Have the audit of pairs know that the server sends no copy of what is cancelled; done again, it changes nothing.

    Raises: StoreUnavailable.
    """
    policies: Mapping[str, SourcePolicy] = request.app.state.policies
    pairs: PairStore = request.app.state.pairs
    now: datetime = request.app.state.now()
    for result in results:
        policy = policies.get(result["source"])
        unsent = [
            name
            for name, told in result["destinations"].items()
            if (told["outcome"], told.get("reason"), told.get("reason_detail")) == _CANCELLED
        ]
        if unsent and policy is not None and policy.takes_receipts and policy.has_pixel:
            report = cancel_report(result["source"], result["event_id"], result["event_name"], now, unsent)
            await pairs.report([report], now + policy.pair_after, now + PAIR_RETENTION)


def ended(state: EventState, touched: Touched) -> Ended:
    """How the holding back of an event had ended before it was asked for. Pure."""
    deliveries = state.destinations.values()
    # A retired destination ends what waited for it with the same reason, and a detail.
    if any((each.outcome, each.reason, each.reason_detail) == _CANCELLED for each in deliveries):
        return "cancelled"
    if touched.in_flight or any(each.reason_detail == NEVER_RELEASED for each in deliveries):
        return "expired"
    return "not_held"


def _answer(results: list[dict[str, Any]], *, refused: set[str]) -> Response:
    if all(result["status"] in refused for result in results):
        raise Problem("not_held", _IN_VAIN[results[0]["status"]], extra={"results": results})
    return json_response({"results": results})
