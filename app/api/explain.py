"""`POST /v1/events/explain`: a dry run that shows the decisions and the very requests, and keeps nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.api.events import EXAMPLE, WarningBody, check_media_type, verdict_json, warning_json
from app.api.guards import Principal, authorise
from app.api.parse import read_events
from app.api.problems import fault_json
from app.dedup.port import IdKey, IdStore
from app.errors import Fault, InvalidEvent, Outcome, Reason, Status
from app.explain import Explanation, Known, Lane, explain, id_of
from app.hashing.coverage import Coverage
from app.ingest import Parsed, complete
from app.model import HashedEvent, Plan, Warn
from app.outbox.port import Journal
from app.pipeline import SourcePolicy, plan

router = APIRouter(tags=["events"])

MOST_EVENTS = 100
"""Events one request may have explained: each answer is many times as long as the event."""


class RequestBody(BaseModel):
    """One request to a platform, secrets masked."""

    method: str
    url: str
    headers: dict[str, str]
    body: Any = Field(description="The JSON that would be sent.")


class MissingKeyBody(BaseModel):
    """A match key that is absent."""

    key: str
    weight: str
    field: str = Field(description="The field of the event that would supply it.")
    cost: str


class MatchKeysBody(BaseModel):
    """What the platform could match by."""

    present: list[str]
    missing: list[MissingKeyBody]
    is_enough: bool
    minimum: str


class LaneBody(BaseModel):
    """What would become of the event at one destination."""

    outcome: Outcome
    reason: Reason | None = None
    reason_detail: str | None = None
    limited: bool | None = None
    send_until: str | None = Field(None, description="Until when it may be sent.")
    requests: list[RequestBody] = []
    match_keys: MatchKeysBody | None = None
    pixel_call: str | None = Field(None, description="The page's own call for the same event.")


class ExplanationBody(BaseModel):
    """What would become of one event."""

    index: int
    status: Status
    event_id: str | None
    event_id_from: str | None = Field(description="caller, registry or derived.")
    event: dict[str, Any] | None = Field(description="The event as it would be kept: hashed, named forms and all.")
    destinations: dict[str, LaneBody]
    warnings: list[WarningBody]
    errors: list[WarningBody]


class ExplanationsBody(BaseModel):
    """One explanation per event, in the order they were sent."""

    results: list[ExplanationBody]


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


@router.post(
    "/v1/events/explain",
    operation_id="explainEvents",
    summary="What would become of events, without keeping or sending anything",
    response_model=ExplanationsBody,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"anyOf": [_ref("Event"), _ref("EventBatch")]}, "example": EXAMPLE}
            },
        }
    },
)
async def explain_events(request: Request) -> Response:
    """The consent decision, the hashed identity, the event_id and the exact request per destination, secrets masked.

    Takes what `POST /v1/events` takes, up to 100 events. An invalid event is explained by its errors, in a 200 too.
    """
    principal = authorise(request, "ingest")
    check_media_type(request)
    state = request.app.state
    items: Sequence[Parsed] = read_events(
        await request.body(), MOST_EVENTS, is_strict=principal.source in state.strict_sources
    )
    request.scope["convey.events"] = len(items)
    items = await complete(state.ids, principal.source, items)
    results = [{"index": index, **await _explained(request, principal, item)} for index, item in enumerate(items)]
    return Response(orjson.dumps({"results": results}), media_type="application/json")


async def _explained(request: Request, principal: Principal, item: Parsed) -> Mapping[str, Any]:
    state = request.app.state
    policy: SourcePolicy = state.policies[principal.source]
    if item.event is None:
        return _refusal(item.warnings, item.faults)
    try:
        planned = plan(item.event, policy, policy.forms, state.now())
    except InvalidEvent as error:
        return _refusal(item.warnings, error.faults)
    (planned,) = await state.withdrawals.deny([planned])
    known = await _known(planned, state.ids, state.journal)
    return _explanation(planned, explain(planned, policy, known), (*item.warnings, *planned.warnings))


async def _known(planned: Plan, ids: IdStore, journal: Journal) -> Known:
    request = planned.id_request
    registered = None
    if request.transaction is not None:
        key = IdKey(request.source, request.event_name, request.transaction, request.occurrence)
        registered = await ids.read(key)
    event_id, _ = id_of(planned, registered)
    return Known(registered, await journal.event(event_id, request.source))


def _refusal(warnings: tuple[Warn, ...], faults: tuple[Fault, ...]) -> dict[str, Any]:
    return {
        "status": Status.INVALID,
        "event_id": None,
        "event_id_from": None,
        "event": None,
        "destinations": {},
        "warnings": [warning_json(warn) for warn in warnings],
        "errors": [fault_json(fault) for fault in faults],
    }


def _explanation(planned: Plan, told: Explanation, warnings: tuple[Warn, ...]) -> dict[str, Any]:
    return {
        "status": told.status,
        "event_id": told.event_id,
        "event_id_from": told.id_origin,
        "event": _kept(planned.event),
        "destinations": {name: _lane(lane) for name, lane in told.lanes.items()},
        "warnings": [warning_json(warn) for warn in warnings],
        "errors": [],
    }


def _kept(event: HashedEvent) -> dict[str, Any]:
    """The event as it would be kept, its digests as hex."""
    digests = {form: [digest.hex() for digest in found] for form, found in event.identity.digests.items()}
    # The keys of the person say nothing to anyone outside the store.
    shown = msgspec.structs.replace(event, persons=())
    kept: dict[str, Any] = msgspec.to_builtins(shown, builtin_types=(bytes,))
    if digests:
        kept["identity"]["digests"] = digests
    return kept


def _lane(lane: Lane) -> dict[str, Any]:
    body = verdict_json(lane.verdict)
    if lane.budget is None:
        return body
    body |= {
        "send_until": min(lane.budget.window_until, lane.budget.pair_until or lane.budget.window_until),
        "requests": [
            {"method": each.method, "url": each.url, "headers": each.headers, "body": orjson.Fragment(each.body)}
            for each in lane.requests
        ],
        "pixel_call": lane.pixel_call,
    }
    if lane.match_keys is not None:
        body["match_keys"] = _match_keys(lane.match_keys)
    return body


def _match_keys(keys: Coverage) -> dict[str, Any]:
    return {
        "present": keys.present,
        "missing": [
            {"key": each.name, "weight": each.weight, "field": each.field, "cost": each.cost} for each in keys.missing
        ],
        "is_enough": keys.is_enough,
        "minimum": keys.minimum,
    }
