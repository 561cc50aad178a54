"""`GET /v1/audit/dedup`: whether the two copies of events meet."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from app.api.bodies import json_response
from app.api.guards import authorise
from app.api.queries import source_meant
from app.dedup.audit import Row, audit, words
from app.dedup.port import PairStore

router = APIRouter(tags=["audit"])


class PairRowBody(BaseModel):
    """One event name at one destination."""

    source: str
    event_name: str = Field(description="A standard name, or `custom` for all others together.")
    destination: str
    events: int
    pair_rate: float = Field(description="The share whose two copies the platform recognises as one, 0 to 1.")
    verdicts: dict[str, int] = Field(
        description="paired, server_only, browser_only, name_mismatch, value_mismatch: events of each."
    )
    delays: dict[str, int] = Field(description="How far apart the copies were: 5m, 1h, 24h, 48h, later.")
    pixel_names: dict[str, int] = Field(description="What mismatched pixels called the event.")
    words: str


class ConflictsBody(BaseModel):
    """Events refused because id and order do not belong together."""

    source: str
    event_name: str
    id_reused: int = Field(description="Another order asked for an id that was taken; at most 100 count of one id.")
    order_has_another_id: int = Field(description="The order came again under another id; at most 100 count of one id.")


class DedupAuditBody(BaseModel):
    """The dedup audit of some days."""

    first_day: str
    last_day: str
    rows: list[PairRowBody]
    conflicts: list[ConflictsBody]


@router.get(
    "/v1/audit/dedup",
    operation_id="auditDedup",
    summary="Whether the page's and the server's copies of events meet",
    response_model=DedupAuditBody,
)
async def audit_dedup(
    request: Request,
    days: Annotated[int, Query(ge=1, le=400, description="How many days, today included (UTC).")] = 7,
    source: Annotated[str | None, Query(description="Another source than the key's own needs the scope admin.")] = None,
) -> Response:
    """Per event name and destination: paired, server-only, browser-only, other name, other value; and id conflicts.

    Needs sources with `receipts: true`, and pages that report. An event is judged once its source's `pair_after` has
    passed, and again when its other copy comes later.
    """
    principal = authorise(request, "read")
    meant = source_meant(principal, source)
    pairs: PairStore = request.app.state.pairs
    now: datetime = request.app.state.now()
    last: date = now.date()
    first = last - timedelta(days=days - 1)
    told = audit(await pairs.tallies(), first.isoformat(), last.isoformat(), meant)
    body: dict[str, Any] = {
        "first_day": first.isoformat(),
        "last_day": last.isoformat(),
        "rows": [_row(row) for row in told.rows],
        "conflicts": [
            {
                "source": each.source,
                "event_name": each.event_name,
                "id_reused": each.id_reused,
                "order_has_another_id": each.order_has_another_id,
            }
            for each in told.conflicts
        ],
    }
    return json_response(body)


def _row(row: Row) -> dict[str, Any]:
    return {
        "source": row.source,
        "event_name": row.event_name,
        "destination": row.destination,
        "events": row.total,
        "pair_rate": row.pair_rate,
        "verdicts": row.verdicts,
        "delays": row.delays,
        "pixel_names": row.pixel_names,
        "words": words(row),
    }
