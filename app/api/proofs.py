"""`GET /v1/audit/consent`: the proof of consent decisions as lines of JSON, for whoever has to demonstrate consent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from app.api.guards import authorise
from app.api.problems import Problem
from app.facts import instant
from app.outbox.proofs import ProofPage, ProofStore
from app.proof import proof_json

router = APIRouter(tags=["audit"])

MEDIA_TYPE = "application/x-ndjson"
DEFAULT_SPAN = timedelta(days=1)


@router.get(
    "/v1/audit/consent",
    operation_id="exportConsentProofs",
    summary="Export the proof of consent decisions, as NDJSON",
    response_class=StreamingResponse,
    responses={200: {"content": {MEDIA_TYPE: {}}, "description": "One proof a line, in no certain order."}},
)
async def export_consent(
    request: Request,
    since: Annotated[str | None, Query(description="From this instant on; a day before `until` when absent.")] = None,
    until: Annotated[str | None, Query(description="Before this instant; all up to now when absent.")] = None,
    source: Annotated[
        str | None, Query(description="Another source than the key's own, or `*` for all; needs the scope admin.")
    ] = None,
) -> StreamingResponse:
    """One line for each event accepted in that time: signals seen, policy, and the decision for each destination."""
    principal = authorise(request, "read")
    wanted = source or principal.source
    if wanted != principal.source and "admin" not in principal.scopes:
        raise Problem("forbidden", "another source's proofs need a key with the scope `admin`")
    end = request.app.state.now() + timedelta(seconds=1) if until is None else _instant(until, "until")
    start = end - DEFAULT_SPAN if since is None else _instant(since, "since")
    proofs: ProofStore = request.app.state.proofs
    of = None if wanted == "*" else wanted
    first = await proofs.page(start, end, None, of)  # a store that is away answers 503 before the first line
    return StreamingResponse(_lines(proofs, first, start, end, of), media_type=MEDIA_TYPE)


def _instant(text: str, name: str) -> datetime:
    read = instant(text)
    if read is None:
        raise Problem("invalid_parameter", f"`{name}` must be RFC 3339 with an offset, or Unix seconds")
    return read


async def _lines(
    proofs: ProofStore, page: ProofPage, start: datetime, end: datetime, source: str | None
) -> AsyncIterator[bytes]:
    while True:
        yield b"".join(orjson.dumps(proof_json(kept), option=orjson.OPT_APPEND_NEWLINE) for kept in page.proofs)
        if page.next is None:
            return
        page = await proofs.page(start, end, page.next, source)
