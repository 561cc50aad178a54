"""`GET /v1/audit/match-keys`: which identifiers events carry, and what the missing ones cost."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.bodies import json_response
from app.api.guards import authorise
from app.api.queries import parameters, read_query, source_meant
from app.match_keys.audit import KeyCoverage, Row, Share, audit, custom_names, words
from app.outbox.tallies import KEPT_FOR, MATCH_KEYS, TallyStore
from app.tallying import Tallies

router = APIRouter(tags=["audit"])


class Asked(BaseModel):
    """What to audit."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    days: int = Field(9, ge=1, le=KEPT_FOR[MATCH_KEYS].days, description="Days listed, today included (UTC).")
    event_name: str | None = Field(None, description="A standard name, or `custom` for all others together.")
    destination: str | None = None
    source: str | None = Field(None, description="Another source than the key's own needs the scope admin.")


class DayBody(BaseModel):
    """One day of one key."""

    day: str
    events: int = Field(description="Events queued that could have the key.")
    present: int
    from_contexts: int = Field(description="Those of `present` that have it from the context of their order alone.")
    coverage: float | None = Field(description="`present` as a share of `events`, 0 to 1; null without events.")


class KeyBody(BaseModel):
    """One match key."""

    key: str
    weight: str = Field(description="strong or helpful, by what the platform says of it.")
    field: str = Field(description="What supplies it.")
    cost: str = Field(description="What its absence costs.")
    today: float | None
    yesterday: float | None
    week_ago: float | None = Field(description="The same day a week ago.")
    week_mean: float | None = Field(description="The seven days before today, together.")
    from_contexts: float | None = Field(description="By how much contexts raised the coverage of today.")
    last_seen: str | None = Field(description="When an event last carried it, within the days listed.")
    days: list[DayBody]


class MatchKeyRowBody(BaseModel):
    """One event name at one destination; keys in the platform's own order of strength."""

    source: str
    event_name: str
    destination: str
    events: int = Field(description="Events queued today.")
    costliest: list[str] = Field(description="The missing keys that cost most, the costliest first.")
    dropped: list[str] = Field(description="The keys whose coverage fell since yesterday, or since a week ago.")
    keys: list[KeyBody]
    words: str


class CustomNameBody(BaseModel):
    """A custom event name that looks like a standard one: platforms do not optimise for custom events."""

    source: str
    event_name: str
    use: str = Field(description="The standard name to send instead.")
    events: int = Field(description="Events queued under it in the days listed.")
    last_seen: str


class MatchKeyAuditBody(BaseModel):
    """The match-key audit."""

    day: str = Field(description="Today, in UTC.")
    rows: list[MatchKeyRowBody]
    custom_names: list[CustomNameBody] = Field(description="The most frequent first.")


@router.get(
    "/v1/audit/match-keys",
    operation_id="auditMatchKeys",
    summary="Which identifiers events carry, by destination, and what the missing ones cost",
    response_model=MatchKeyAuditBody,
    openapi_extra=parameters(Asked),
)
async def audit_match_keys(request: Request) -> Response:
    """Coverage of each match key of the platform, of events that were queued: today, against yesterday and last week.

    Counted in memory and added up every few seconds by every process: statistics, of which a crash loses seconds.
    """
    principal = authorise(request, "read")
    asked = read_query(Asked, request)
    source = source_meant(principal, asked.source)
    now: datetime = request.app.state.now()
    tallies: Tallies = request.app.state.tallies
    await tallies.flush()
    store: TallyStore = request.app.state.tally_store
    day = now.date()
    # What is compared is read whatever is listed.
    days = max(asked.days, 9)
    kept = await store.read(MATCH_KEYS, day - timedelta(days=days - 1))
    rows = [
        row
        for row in audit(kept, day, days, request.app.state.platforms, source)
        if asked.event_name in {None, row.event_name} and asked.destination in {None, row.destination}
    ]
    first = day - timedelta(days=asked.days - 1)
    names = custom_names({each: counts for each, counts in kept.items() if each >= first}, source)
    return json_response(
        {
            "day": day.isoformat(),
            "rows": [_row(row, asked.days) for row in rows],
            "custom_names": [
                {
                    "source": each.source,
                    "event_name": each.event_name,
                    "use": each.use,
                    "events": each.total.number,
                    "last_seen": each.total.last_at,
                }
                for each in names
            ],
        }
    )


def _row(row: Row, days: int) -> dict[str, Any]:
    return {
        "source": row.source,
        "event_name": row.event_name,
        "destination": row.destination,
        "events": row.events.get(row.day, 0),
        "costliest": [each.key.name for each in row.costliest()],
        "dropped": [each.key.name for each in row.drops()],
        "keys": [_key(each, row, days) for each in row.keys],
        "words": words(row),
    }


def _key(each: KeyCoverage, row: Row, days: int) -> dict[str, Any]:
    today = each.on(row.day)
    return {
        "key": each.key.name,
        "weight": each.key.weight,
        "field": each.key.field,
        "cost": each.key.cost,
        "today": today.coverage,
        "yesterday": each.on(row.day - timedelta(days=1)).coverage,
        "week_ago": each.on(row.day - timedelta(days=7)).coverage,
        "week_mean": each.week_before(row.day).coverage,
        "from_contexts": today.lift,
        "last_seen": each.last_seen,
        "days": [_day(day.isoformat(), share) for day, share in list(each.days.items())[:days]],
    }


def _day(day: str, share: Share) -> dict[str, Any]:
    return {
        "day": day,
        "events": share.events,
        "present": share.present,
        "from_contexts": share.given,
        "coverage": share.coverage,
    }
