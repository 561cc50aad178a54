"""`/v1/destinations`: the state of each lane; holding it back and letting it go again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.api.guards import authorise
from app.api.parse import faults_of
from app.api.problems import Problem
from app.delivery.board import Board
from app.delivery.lanes import LaneView, lane_views, pause, resume
from app.delivery.pauses import Cap, Hold
from app.destinations.base import scrub
from app.errors import Fault
from app.event_names import CUSTOM, STANDARD_EVENTS, canonical_name
from app.outbox.port import Outbox
from app.units import Duration

router = APIRouter(tags=["destinations"])

LONGEST_PAUSE = timedelta(days=90)


class Named(BaseModel):
    """Which part of a lane is meant."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, str_max_length=200)

    event_name: str | None = Field(
        None, description="A standard event name; `custom` for all others together. The whole lane if absent."
    )

    def name(self) -> str | None:
        """The name as the lane's queues have it.

        Raises: Problem 400.
        """
        if self.event_name is None or self.event_name == CUSTOM:
            return self.event_name
        name, _ = canonical_name(self.event_name)
        if name not in STANDARD_EVENTS:
            words = "must be a standard event name, or `custom` for all others together"
            raise Problem("invalid_parameter", "see errors", errors=[Fault("/event_name", "unknown", words)])
        return name


class Pause(Named):
    """What to hold back, and for how long."""

    rate_per_minute: int | None = Field(
        None, ge=1, le=10_000_000, strict=True, description="Do not hold the lane, but cap it: most events a minute."
    )
    reason: str | None = Field(None, description="Why, for those who look later. No personal data.")
    for_: Duration | None = Field(
        None, alias="for", gt=timedelta(0), le=LONGEST_PAUSE, description="Until it ends by itself, e.g. 30m."
    )


class Resume(Named):
    """What to let go again."""


class PausedBody(BaseModel):
    """An event name that is held back."""

    event_name: str
    since: str
    until: str | None
    reason: str | None


class LaneBody(BaseModel):
    """One destination's lane, over all workers."""

    state: str = Field(
        description="running; paused (by a person); parked (credentials refused); open (the platform is down)."
    )
    since: str | None = Field(description="Since when, where it is not running.")
    until: str | None = Field(description="When the pause ends, or when it is tried again.")
    reason: str | None = Field(description="The person's or the platform's own words.")
    ready: int = Field(description="Deliveries that could go now.")
    later: int = Field(description="Deliveries under way, or waiting for a later try.")
    held: int = Field(description="Deliveries held back until they are released; none of the ages counts them.")
    in_flight: int = Field(description="Deliveries under way, as the workers last said.")
    oldest_accepted_at: str | None
    oldest_age_s: float | None
    rate_per_minute: int | None = Field(description="The cap a person set, in events a minute.")
    paused_events: list[PausedBody]


class LanesBody(BaseModel):
    """A lane per configured destination."""

    workers: int = Field(description="Processes that work the lanes.")
    destinations: dict[str, LaneBody]


@router.get(
    "/v1/destinations",
    operation_id="listDestinations",
    summary="The state of each lane",
    response_model=LanesBody,
)
async def list_destinations(request: Request) -> Response:
    """Per destination: whether it runs, and if not why and since when; what waits, and how old the oldest is."""
    authorise(request, "read")
    views, workers = await _views(request)
    now: datetime = request.app.state.now()
    body = {"workers": workers, "destinations": {name: _lane(view, now) for name, view in views.items()}}
    return Response(orjson.dumps(body), media_type="application/json")


def _body(model: str, example: Mapping[str, Any]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"requestBody": {"content": {"application/json": {"schema": schema, "example": example}}}}


@router.post(
    "/v1/destinations/{name}/pause",
    operation_id="pauseDestination",
    summary="Hold a lane back, one event name of it, or its rate",
    response_model=LaneBody,
    openapi_extra=_body("Pause", {"event_name": "PageView", "reason": "incident 7", "for": "2h"}),
)
async def pause_destination(request: Request, name: str) -> Response:
    """Nothing is lost: what is held back waits, within its time. Workers follow within about a second.

    Without a field it holds the whole lane, with `event_name` the events of that name, with `rate_per_minute` what
    goes beyond that rate. What is under way is finished.
    """
    authorise(request, "admin")
    _known(request, name)
    asked = await _read(request, Pause)
    event_name = asked.name()
    if event_name is not None and asked.rate_per_minute is not None:
        words = "caps the whole lane: leave event_name out"
        raise Problem("invalid_parameter", "see errors", errors=[Fault("/rate_per_minute", "conflict", words)])
    now: datetime = request.app.state.now()
    until = None if asked.for_ is None else now + asked.for_
    reason = scrub(asked.reason)
    hold = (
        Hold(now, until, reason)
        if asked.rate_per_minute is None
        else Cap(now, until, reason, rate_per_minute=asked.rate_per_minute)
    )
    await pause(request.app.state.board, name, hold, event_name)
    return await _answer(request, name)


@router.post(
    "/v1/destinations/{name}/resume",
    operation_id="resumeDestination",
    summary="Let a lane go again",
    response_model=LaneBody,
    openapi_extra=_body("Resume", {}),
)
async def resume_destination(request: Request, name: str) -> Response:
    """Lifts every pause and cap of the lane, or with `event_name` that one; a parked or open lane is tried at once."""
    authorise(request, "admin")
    _known(request, name)
    asked = await _read(request, Resume)
    await resume(request.app.state.board, name, request.app.state.now(), asked.name())
    return await _answer(request, name)


M = TypeVar("M", bound=Named)


def _known(request: Request, name: str) -> None:
    if name not in request.app.state.destinations:
        raise Problem("not_found", "no destination of this name is configured")


async def _read(request: Request, model: type[M]) -> M:
    body = await request.body()
    try:
        document = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError:
        raise Problem("unreadable_body", "the body is not valid JSON") from None
    if not isinstance(document, dict):
        raise Problem("unreadable_body", "the body must be an object, or empty")
    try:
        return model.model_validate(document)
    except ValidationError as error:
        words = "must be a duration such as 30m, up to 90d"
        faults = [Fault("/for", "malformed", words) if each.pointer == "/for" else each for each in faults_of(error)]
        raise Problem("invalid_parameter", "see errors", errors=faults) from None


async def _views(request: Request) -> tuple[Mapping[str, LaneView], int]:
    board: Board = request.app.state.board
    outbox: Outbox = request.app.state.outbox
    await board.refresh()
    return await lane_views(board, outbox, request.app.state.destinations, request.app.state.now())


async def _answer(request: Request, name: str) -> Response:
    views, _ = await _views(request)
    return Response(orjson.dumps(_lane(views[name], request.app.state.now())), media_type="application/json")


def _lane(view: LaneView, now: datetime) -> dict[str, Any]:
    oldest = view.backlog.oldest_accepted_at
    return {
        "state": view.state,
        "since": view.since,
        "until": view.until,
        "reason": view.reason,
        "ready": view.backlog.ready,
        "later": view.backlog.later,
        "held": view.backlog.held,
        "in_flight": view.in_flight,
        "oldest_accepted_at": oldest,
        "oldest_age_s": None if oldest is None else round(max(0.0, (now - oldest).total_seconds()), 1),
        "rate_per_minute": view.rate_per_minute,
        "paused_events": [
            {"event_name": name, "since": hold.since, "until": hold.until, "reason": hold.reason}
            for name, hold in sorted(view.paused.items())
        ],
    }


MODELS: tuple[type[BaseModel], ...] = (Pause, Resume)
"""Models the OpenAPI description refers to although no route declares them."""
