"""Requests to Pinterest, and what its answers mean: a verdict per event, with 200 and with 422."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import orjson

from app.destinations.base import (
    UNKNOWN_ANSWER_ATTEMPTS,
    Consequence,
    applied,
    as_code,
    described,
    each,
    grouped,
    isolate,
    json_object,
    named_positions,
    pack,
    retry_after,
    scrub,
    unknown,
    unreadable,
)
from app.destinations.pinterest.payload import record
from app.destinations.pinterest.settings import PinterestSettings
from app.destinations.pinterest.tables import CODES, LIMITS, STATUSES, TEST_LIMITS, VERDICTS_APART
from app.errors import DestinationError, Reason
from app.model import Delivered, Delivery, HttpCall, HttpReply, Park, Rejected, Result, Retry, Split

PASSING = frozenset({Consequence.THROTTLED, Consequence.TRANSIENT})
"""What will pass by itself counts first, whether the code says so or the HTTP status."""


def build(deliveries: Sequence[Delivery], settings: PinterestSettings) -> list[HttpCall]:
    """The requests that carry these deliveries, test events apart from live ones."""
    calls = []
    for is_test, group in grouped(deliveries, lambda d: d.event.is_test).items():
        if is_test and not settings.test:
            raise DestinationError("a test event has no way to Pinterest without the test setting")
        items = [(delivery, orjson.dumps(record(delivery, settings))) for delivery in group]
        url = f"{settings.base_url}/{settings.api_version}/ad_accounts/{settings.ad_account_id}/events"
        calls += [
            HttpCall(
                url=f"{url}?test=true" if is_test else url,
                body=body,
                deliveries=batch,
                headers={"content-type": "application/json"},
                secret_headers={"authorization": f"Bearer {settings.access_token.get_secret_value()}"},
            )
            for batch, body in pack(items, TEST_LIMITS if is_test else LIMITS, b'{"data":[', b"]}")
        ]
    return calls


def read(reply: HttpReply, deliveries: Sequence[Delivery]) -> Sequence[Result] | Split | Park:
    """What Pinterest's answer means for each of these deliveries, in order."""
    size = len(deliveries)
    body = json_object(reply)
    if body is None:
        return unreadable(reply, size)
    details = body.get("details")
    verdicts = details if "events" not in body and isinstance(details, dict) else body
    is_taken = 200 <= reply.status < 300 and ("events" in verdicts or "code" not in body)
    if reply.status == VERDICTS_APART or is_taken:
        return _read_verdicts(verdicts, body, reply, size)
    return _read_error(body, reply, size)


def _read_verdicts(
    verdicts: Mapping[str, Any], body: Mapping[str, Any], reply: HttpReply, size: int
) -> Sequence[Result] | Split:
    events = verdicts.get("events")
    trace_id = _trace(reply)
    if isinstance(events, list) and len(events) == size:
        return [_verdict(event, trace_id) for event in events]
    if reply.status == VERDICTS_APART and verdicts.get("num_events_processed") == 0:
        return isolate(size, described(body.get("code"), body.get("message")), (), trace_id)
    detail = f"HTTP {reply.status} without one verdict per event"
    unsure = Retry(Reason.PLATFORM_ERROR, None, detail, max_attempts=UNKNOWN_ANSWER_ATTEMPTS, is_ambiguous=True)
    return each(unsure, size)


def _verdict(event: Any, trace_id: str | None) -> Result:
    status = event.get("status") if isinstance(event, dict) else None
    if status == "processed":
        return Delivered(trace_id, scrub(event.get("warning_message")))
    if status == "failed":
        return Rejected(detail=scrub(event.get("error_message")) or "failed, without a word why", trace_id=trace_id)
    return Retry(
        Reason.PLATFORM_ERROR,
        detail="an event's status is neither processed nor failed",
        max_attempts=UNKNOWN_ANSWER_ATTEMPTS,
        is_ambiguous=True,
    )


def _read_error(body: Mapping[str, Any], reply: HttpReply, size: int) -> Sequence[Result] | Split | Park:
    code = as_code(body.get("code"))
    by_code = CODES.get(code) if code is not None else None
    by_status = STATUSES.get(reply.status)
    after = retry_after(reply.headers) or _reset(reply.headers)
    detail = described(code, body.get("message"), by_code.meaning if by_code else None)
    ruling = next((row for row in (by_code, by_status) if row is not None and row.consequence in PASSING), None)
    if ruling is None and reply.status >= 500:
        return each(Retry(Reason.PLATFORM_ERROR, after, detail), size)
    ruling = ruling or by_code or by_status
    if ruling is None:
        return unknown(size, detail, after)
    suspects = named_positions(size, body.get("message"))
    return applied(ruling, size, detail, after=after, suspects=suspects, trace_id=_trace(reply))


def _trace(reply: HttpReply) -> str | None:
    """The request's id, in a header that is not documented."""
    return reply.headers.get("x-pinterest-rid")


def _reset(headers: Mapping[str, str]) -> timedelta | None:
    """Seconds until the limit is reset, as measured: `X-RateLimit-Reset: 12`, perhaps with more after a comma."""
    match = re.match(r"\s*([0-9]{1,6})\b", headers.get("x-ratelimit-reset", ""))
    return timedelta(seconds=int(match[1])) if match else None
