"""Requests to TikTok, and what its answers mean: the code in the body, before the HTTP status."""

from __future__ import annotations

from collections.abc import Sequence
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
    test_code,
    tidy,
    unknown,
    unreadable,
)
from app.destinations.tiktok.payload import record, route
from app.destinations.tiktok.settings import TikTokSettings
from app.destinations.tiktok.tables import CODES, LIMITS
from app.errors import DestinationError, Reason
from app.model import Delivered, Delivery, HttpCall, HttpReply, Park, Result, Retry, Split


def build(deliveries: Sequence[Delivery], settings: TikTokSettings) -> list[HttpCall]:
    """The requests that carry these deliveries: one event source each, test events apart by their code."""
    calls = []
    groups = grouped(
        deliveries,
        lambda d: (route(d.event, settings), d.event.is_test, test_code(d, settings.test_event_code)),
    )
    for (found, is_test, code), group in groups.items():
        if found is None:
            raise DestinationError("no event source of TikTok is configured for a delivery's action_source")
        if is_test and code is None:
            raise DestinationError("a test event has no way to TikTok without test_event_code")
        source, source_id = found
        envelope = tidy(
            {
                "event_source": source,
                "event_source_id": source_id,
                "test_event_code": code,
                "partner_name": settings.partner_name,
            }
        )
        head = orjson.dumps(envelope)[:-1] + b',"data":['
        items = [(delivery, orjson.dumps(record(delivery, settings, source))) for delivery in group]
        calls += [
            HttpCall(
                url=f"{settings.base_url}/open_api/{settings.api_version}/event/track/",
                body=body,
                deliveries=batch,
                headers={"content-type": "application/json"},
                secret_headers={"access-token": settings.access_token.get_secret_value()},
            )
            for batch, body in pack(items, LIMITS, head, b"]}")
        ]
    return calls


def read(reply: HttpReply, deliveries: Sequence[Delivery]) -> Sequence[Result] | Split | Park:
    """What TikTok's answer means for each of these deliveries."""
    size = len(deliveries)
    body = json_object(reply)
    if body is None:
        return unreadable(reply, size)
    code = as_code(body.get("code"))
    trace_id = _trace(body, reply)
    after = retry_after(reply.headers)
    if code is None:
        return each(Retry(Reason.PLATFORM_ERROR, after, "no code in the body", is_ambiguous=reply.status < 300), size)
    ruling = CODES.get(code)
    detail = described(code, body.get("message"), ruling.meaning if ruling else None)
    is_done = code == 0 or (ruling is not None and ruling.consequence is Consequence.DELIVERED)
    if is_done and reply.status >= 400 and code != 40050:  # a repeat may well come as an error
        return each(Retry(Reason.PLATFORM_ERROR, after, f"{detail}, HTTP {reply.status}", is_ambiguous=True), size)
    if code == 0:
        return each(Delivered(trace_id), size)
    if ruling is not None:
        suspects = named_positions(size, body.get("message"))
        return applied(ruling, size, detail, after=after, suspects=suspects, trace_id=trace_id)
    if reply.status == 413:
        return isolate(size, detail, (), trace_id)
    if reply.status == 429:
        return each(Retry(Reason.RATE_LIMITED, after, detail), size)
    if reply.status >= 500:
        return each(Retry(Reason.PLATFORM_ERROR, after, detail), size)
    if code >= 50000:
        return each(Retry(Reason.PLATFORM_ERROR, after, detail, max_attempts=UNKNOWN_ANSWER_ATTEMPTS), size)
    return unknown(size, detail, after)


def _trace(body: dict[str, Any], reply: HttpReply) -> str | None:
    """The request's id, in the body or in the header that repeats it."""
    found = body.get("request_id")
    return found if isinstance(found, str) and found else reply.headers.get("x-tt-logid")
