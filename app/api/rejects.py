"""`GET /v1/rejects`: what was refused lately, by where the fault lies."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.bodies import json_response
from app.api.guards import authorise
from app.api.problems import TITLES
from app.api.queries import parameters, read_query, source_meant
from app.outbox.tallies import KEPT_FOR, TallyStore
from app.outbox.tallies import REJECTS as BOOK
from app.rejects import Reject, rejects
from app.tallying import Tallies

router = APIRouter(tags=["audit"])


class Asked(BaseModel):
    """What to list."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    days: int = Field(7, ge=1, le=KEPT_FOR[BOOK].days, description="How many days, today included (UTC).")
    limit: int = Field(100, ge=1, le=1000, description="Most kinds of faults in the answer, the most frequent first.")
    source: str | None = Field(None, description="Another source than the key's own needs the scope admin.")


class RejectBody(BaseModel):
    """One kind of fault in invalid events."""

    source: str
    pointer: str = Field(
        description="Where it lies in the event; `*` stands for a position, or for a key that is no field of an event."
    )
    code: str
    count: int
    today: int
    first_seen: str
    last_seen: str
    event_names: dict[str, int] = Field(
        description="How often by event: a standard name, `custom` for all others, `unknown` where there was none."
    )


class RefusedBody(BaseModel):
    """One kind of problem for which whole requests to `POST /v1/events` were refused."""

    source: str | None = Field(description="Null where no usable key said whose request it was: shown to admins only.")
    problem: str
    title: str
    count: int
    today: int
    first_seen: str
    last_seen: str


class RejectsBody(BaseModel):
    """What was refused."""

    first_day: str
    last_day: str
    rejects: list[RejectBody]
    more: int = Field(description="Kinds of faults beyond `limit`.")
    requests: list[RefusedBody]


@router.get(
    "/v1/rejects",
    operation_id="listRejects",
    summary="What was refused lately: invalid events by pointer and code, and whole requests",
    response_model=RejectsBody,
    openapi_extra=parameters(Asked),
)
async def list_rejects(request: Request) -> Response:
    """Invalid events of the last days by where their fault lies and what it is, never with a value.

    Counted in memory and added up every few seconds by every process: statistics, of which a crash loses seconds. The
    answer to each request has each fault with its exact pointer and words.
    """
    principal = authorise(request, "read")
    asked = read_query(Asked, request)
    source = source_meant(principal, asked.source)
    tallies: Tallies = request.app.state.tallies
    await tallies.flush()
    store: TallyStore = request.app.state.tally_store
    now: datetime = request.app.state.now()
    first = now.date() - timedelta(days=asked.days - 1)
    found = rejects(await store.read(BOOK, first), now.date(), source)
    events = [each for each in found if not each.is_request]
    return json_response(
        {
            "first_day": first.isoformat(),
            "last_day": now.date().isoformat(),
            "rejects": [_event(each) for each in events[: asked.limit]],
            "more": max(0, len(events) - asked.limit),
            "requests": [_request(each) for each in found if each.is_request],
        }
    )


def _event(each: Reject) -> dict[str, Any]:
    return {
        "source": each.source,
        "pointer": each.pointer,
        "code": each.code,
        **_counted(each),
        "event_names": each.event_names,
    }


def _request(each: Reject) -> dict[str, Any]:
    title = TITLES[each.code][1] if each.code in TITLES else each.code
    return {"source": each.source or None, "problem": each.code, "title": title, **_counted(each)}


def _counted(each: Reject) -> dict[str, Any]:
    total = each.total
    return {"count": total.number, "today": each.today, "first_seen": total.first_at, "last_seen": total.last_at}
