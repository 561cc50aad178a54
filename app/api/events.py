"""`POST /v1/events` takes events; `GET /v1/events/{event_id}` says what became of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from app.api.bodies import json_response
from app.api.guards import Principal, authorise
from app.api.parse import read_events
from app.api.problems import Problem, fault_json
from app.dedup.pairs import CANCELLED, CONFLICT, SERVER, decode_sighting
from app.dedup.port import PairStore
from app.errors import Fault, Outcome, Reason, Status
from app.ingest import Ingest, IngestResult
from app.model import Verdict, Warn
from app.outbox.aftermath import refused_book, refused_name
from app.outbox.port import EventState, Journal, Memos
from app.outbox.proofs import ProofStore
from app.proof import proof_json
from app.wire import Event

router = APIRouter(tags=["events"])


class WarningBody(BaseModel):
    """Something to know about an event that was taken all the same."""

    code: str
    pointer: str = Field(description="JSON pointer into the event.")
    detail: str


class VerdictBody(BaseModel):
    """What became of the event at one destination."""

    outcome: Outcome
    reason: Reason | None = None
    reason_detail: str | None = None
    limited: bool | None = None
    held_until: str | None = Field(None, description="Until when it can be released, where it is held back.")


class ResultBody(BaseModel):
    """What became of one event of the request."""

    index: int
    event_id: str | None = Field(description="The id that counts: give it to the browser pixel as well.")
    status: Status
    destinations: dict[str, VerdictBody]
    warnings: list[WarningBody]
    errors: list[WarningBody]


class ResultsBody(BaseModel):
    """One result per event, in the order they were sent."""

    results: list[ResultBody]


class EventBatch(BaseModel):
    """Several events in one request."""

    events: list[Event] = Field(min_length=1, max_length=1000)


class DeliveryBody(BaseModel):
    """What became of the event at one destination, by now."""

    outcome: Outcome
    reason: Reason | None = None
    reason_detail: str | None = None
    attempts: int
    trace_id: str | None = None
    limited: bool = False
    held_until: str | None = Field(None, description="Until when it can be released, where it is held back.")
    rejected_after_acceptance: str | None = Field(
        None, description="Why the platform refused it after it had taken it, if it did."
    )


class ReceiptBody(BaseModel):
    """One pixel's report of the event."""

    platform: str
    event_name: str
    fired_at: str


class ConsentVerdictBody(BaseModel):
    """What consent decided about one destination. `code` is the decision table's word."""

    outcome: Outcome
    limited: bool
    reason: Reason | None
    code: str | None


class ProofBody(BaseModel):
    """What one decision about consent was made by: decoded facts, and strings as keyed digests only."""

    event_id: str
    event_name: str
    source: str
    decided_at: str
    policy: str = Field(description="Names the policy in effect; another name means that it could decide otherwise.")
    regime: str
    place: str | None
    collected_at: str | None
    signals: dict[str, str]
    facts: dict[str, Any]
    digests: dict[str, str]
    destinations: dict[str, ConsentVerdictBody]


class EventBody(BaseModel):
    """What became of one event, by now."""

    event_id: str
    event_name: str
    source: str
    transaction_id: str | None
    accepted_at: str
    destinations: dict[str, DeliveryBody]
    receipts: list[ReceiptBody] = Field(description="What the page's pixels reported under this id.")
    conflicts: int = Field(
        description="Other orders that asked for this id; none of them was sent. 100 stands for 100 or more."
    )
    consent: list[ProofBody] = Field(description="What consent was decided by, newest first.")


class EventsBody(BaseModel):
    """Every event of one transaction, the newest first."""

    events: list[EventBody]


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


EXAMPLE: dict[str, Any] = {
    "event_name": "Purchase",
    "event_time": "2026-11-20T10:15:00Z",
    "transaction_id": "ORD-12345",
    "action_source": "website",
    "event_source_url": "https://shop.example/thanks",
    "user": {"email": "jane.doe@example.com", "phone": "+14155552671", "country": "US"},
    "consent": {"ad_storage": True, "ad_user_data": True, "ad_personalization": True},
    "custom_data": {"currency": "USD", "value": "129.90", "contents": [{"id": "SKU-1", "quantity": 1}]},
}


@router.post(
    "/v1/events",
    operation_id="postEvents",
    summary="Post one event, or up to 1000",
    status_code=202,
    response_model=ResultsBody,
    openapi_extra={
        "parameters": [
            {
                "name": "bulk",
                "in": "query",
                "required": False,
                "description": "For imports: these events go out in the bulk share, so that live ones go first.",
                "schema": {"type": "boolean", "default": False},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"anyOf": [_ref("Event"), _ref("EventBatch")]}, "example": EXAMPLE}
            },
        },
    },
)
async def post_events(request: Request) -> Response:
    """Answers 202 once every good event is durable, with an event_id and an outcome per destination for each.

    A bad event gets its errors and its neighbours go through; 422 only when every event is invalid.
    """
    principal = authorise(request, "ingest")
    check_media_type(request)
    state = request.app.state
    body = await request.body()
    items = read_events(body, state.max_events, is_strict=principal.source in state.strict_sources)
    request.scope["convey.events"] = len(items)
    ingest: Ingest = state.ingest
    results = await ingest.take(principal.source, items, is_bulk=_is_bulk(request))
    request.scope["convey.told"] = _told(results)
    rendered = [_result(position, result) for position, result in enumerate(results)]
    if all(result.status is Status.INVALID for result in results):
        errors = results[0].faults if len(results) == 1 else ()
        raise Problem("invalid_events", "see results", errors=errors, extra={"results": rendered})
    return Response(orjson.dumps({"results": rendered}), 202, media_type="application/json")


@router.get(
    "/v1/events/{event_id:path}",  # an id may hold a slash, as order numbers do
    operation_id="getEvent",
    summary="What became of an event",
    response_model=EventBody,
)
async def get_event(
    request: Request,
    event_id: str,
    source: Annotated[
        str | None, Query(description="Another source than the key's own; needs the scope admin.")
    ] = None,
    event_name: Annotated[str | None, Query(description="Which event, where several share the id.")] = None,
) -> Response:
    """The outcome per destination: `queued` or `retrying` while it is pending, its final outcome afterwards."""
    principal = _reader(request, source)
    journal: Journal = request.app.state.journal
    states = await journal.event(event_id, source or principal.source)
    found = next((state for state in states if event_name in {None, state.event_name}), None)
    if found is None:
        raise Problem("not_found", "no event of this id is known, or it is older than the journal's retention")
    (told,) = await told_of(request, [found])
    return json_response(told)


@router.get(
    "/v1/events",
    operation_id="findEvents",
    summary="What became of the events of a transaction",
    response_model=EventsBody,
)
async def find_events(
    request: Request,
    transaction_id: Annotated[str, Query(min_length=1, max_length=200, description="The transaction's id.")],
    source: Annotated[str | None, Query(description="Another source than the key's own needs the scope admin.")] = None,
) -> Response:
    """Every event kept of this transaction, whatever its name and id, the newest first; none is an empty list."""
    principal = _reader(request, source)
    journal: Journal = request.app.state.journal
    found = await journal.transaction(transaction_id, source or principal.source)
    return json_response({"events": await told_of(request, found)})


def _reader(request: Request, source: str | None) -> Principal:
    """Who asks about events of `source`.

    Raises: Problem 401 or 403.
    """
    principal = authorise(request, "read")
    if source is not None and source != principal.source and "admin" not in principal.scopes:
        raise Problem("forbidden", "another source's events need a key with the scope `admin`")
    return principal


async def told_of(request: Request, states: Sequence[EventState]) -> list[dict[str, Any]]:
    """What is told of events of one source, with what its pages reported."""
    pairs: PairStore = request.app.state.pairs
    sides = await pairs.sides(states[0].source, [state.event_id for state in states]) if states else {}
    refused = await _refusals(request, states)
    return [
        {**_event(state, of), **_sides(sides.get(state.event_id, {})), "consent": await _consent(request, state)}
        for state, of in zip(states, refused, strict=True)
    ]


async def _refusals(request: Request, states: Sequence[EventState]) -> list[dict[str, str]]:
    """Per event and destination, why a platform refused it after it had taken it."""
    memos: Memos = request.app.state.memos
    names = [refused_name(state.source, state.event_name, state.event_id) for state in states]
    refused: list[dict[str, str]] = [{} for _ in states]
    for destination in request.app.state.asked_later:
        kept = await memos.memos(refused_book(destination), names)
        for found, name in zip(refused, names, strict=True):
            if name in kept:
                found[destination] = kept[name].decode()
    return refused


async def _consent(request: Request, state: EventState) -> list[dict[str, Any]]:
    """The proof of what consent decided about an event, newest first."""
    proofs: ProofStore = request.app.state.proofs
    kept = await proofs.of(state.event_id, state.source, state.accepted_at - CLOCK_LEEWAY)
    return [proof_json(each) for each in kept if each.event_name == state.event_name]


def _sides(sides: Mapping[str, bytes]) -> dict[str, Any]:
    receipts = {
        platform: decode_sighting(body)
        for platform, body in sides.items()
        if platform not in {SERVER, CANCELLED} and not platform.startswith(CONFLICT)
    }
    return {
        "receipts": [
            {"platform": platform, "event_name": seen.names[platform], "fired_at": seen.at}
            for platform, seen in sorted(receipts.items())
        ],
        "conflicts": sum(side.startswith(CONFLICT) for side in sides),
    }


def _is_bulk(request: Request) -> bool:
    """Whether the request says that its events are bulk."""
    if not request.scope["query_string"]:
        return False
    said = request.query_params.get("bulk", "false")
    if said not in {"true", "false"}:
        raise Problem("invalid_parameter", "see errors", errors=[Fault("/bulk", "wrong_type", "is true or false")])
    return said == "true"


def check_media_type(request: Request) -> None:
    """Let only JSON through, uncompressed.

    Raises: Problem 415.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type and media_type != "application/json" and not media_type.endswith("+json"):
        raise Problem("unsupported_media_type", "send `Content-Type: application/json`")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("unsupported_media_type", "send the body uncompressed")


CLOCK_LEEWAY = timedelta(minutes=5)
"""How far the clocks of the processes of one store may be apart."""
LOGGED_IDS = 10
"""How many event ids the line about a request names: enough to find its deliveries, and never a page of them."""


def _told(results: Sequence[IngestResult]) -> dict[str, Any]:
    """What the line about the request says of its events: counts and ids, never an identifier of a person."""
    told = Counter(result.status.value for result in results)
    told.update(
        verdict.outcome.value
        for result in results
        if result.accepted is not None and result.accepted.status is Status.ACCEPTED
        for verdict in result.accepted.destinations.values()
    )
    named = (result.accepted.event_id for result in results if result.accepted is not None)
    return {**told, "event_ids": list(islice(named, LOGGED_IDS))}


def _result(position: int, result: IngestResult) -> dict[str, Any]:
    accepted = result.accepted
    return {
        "index": position,
        "event_id": accepted.event_id if accepted else None,
        "status": result.status,
        "destinations": {name: verdict_json(verdict) for name, verdict in accepted.destinations.items()}
        if accepted
        else {},
        "warnings": [warning_json(warn) for warn in result.warnings],
        "errors": [fault_json(fault) for fault in result.faults],
    }


def warning_json(warn: Warn) -> dict[str, str]:
    """One warning as the answers spell it."""
    return {"code": warn.code, "pointer": warn.pointer, "detail": warn.detail}


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """One verdict as the answers spell it."""
    if verdict.reason is None:
        told = {"outcome": verdict.outcome, "limited": verdict.limited}
        return told if verdict.held_until is None else {**told, "held_until": verdict.held_until}
    body: dict[str, Any] = {"outcome": verdict.outcome, "reason": verdict.reason}
    if verdict.reason_detail is not None:
        body["reason_detail"] = verdict.reason_detail
    return body


def _event(state: EventState, refused: Mapping[str, str]) -> dict[str, Any]:
    return {
        "event_id": state.event_id,
        "event_name": state.event_name,
        "source": state.source,
        "transaction_id": state.transaction,
        "accepted_at": state.accepted_at,
        "destinations": {
            name: {
                "outcome": delivery.outcome,
                "reason": delivery.reason,
                "reason_detail": delivery.reason_detail,
                "attempts": delivery.attempts,
                "trace_id": delivery.trace_id,
                "limited": delivery.limited,
                "held_until": delivery.held_until,
                "rejected_after_acceptance": refused.get(name),
            }
            for name, delivery in state.destinations.items()
        },
    }


MODELS: Sequence[type[BaseModel]] = (Event, EventBatch)
"""Models the OpenAPI description refers to although no route declares them."""
