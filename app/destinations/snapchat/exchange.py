"""Requests to Snapchat, and what its answers mean: 2xx and VALID in the body, or not delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from app.destinations.base import (
    Consequence,
    applied,
    as_code,
    each,
    grouped,
    isolate,
    json_object,
    pack,
    retry_after,
    scrub,
    unknown,
    unreadable,
)
from app.destinations.snapchat.payload import asset, record
from app.destinations.snapchat.settings import SnapchatSettings
from app.destinations.snapchat.tables import LIMITS, STATUSES, TAKEN, TOKEN_REFUSED
from app.errors import DestinationError, Reason
from app.model import Delivered, Delivery, HttpCall, HttpReply, Park, Result, Retry, Split


def build(deliveries: Sequence[Delivery], settings: SnapchatSettings) -> list[HttpCall]:
    """The requests that carry these deliveries: one asset each, test events apart from live ones."""
    calls = []
    groups = grouped(deliveries, lambda d: (asset(d.event, settings), d.event.is_test))
    for (found, is_test), group in groups.items():
        if found is None:
            raise DestinationError("no asset of Snapchat is configured for a delivery's action_source")
        if is_test and not settings.test:
            raise DestinationError("a test event has no way to Snapchat without the test setting")
        items = [(delivery, orjson.dumps(record(delivery, settings))) for delivery in group]
        url = f"{settings.base_url}/{settings.api_version}/{found}/events"
        calls += [
            HttpCall(
                url=f"{url}/validate" if is_test else url,
                body=body,
                deliveries=batch,
                headers={"content-type": "application/json"},
                secret_params={"access_token": settings.access_token.get_secret_value()},
            )
            for batch, body in pack(items, LIMITS, b'{"data":[', b"]}")
        ]
    return calls


def read(reply: HttpReply, deliveries: Sequence[Delivery]) -> Sequence[Result] | Split | Park:
    """What Snapchat's answer means for each of these deliveries."""
    size = len(deliveries)
    after = retry_after(reply.headers)
    body = json_object(reply)
    if body is None:
        if reply.status in (401, 403) and not reply.body.lstrip().startswith(b"<"):
            return Park(Reason.CREDENTIALS, f"HTTP {reply.status}")
        return unreadable(reply, size)
    status = body.get("status")
    verdict = status.upper() if isinstance(status, str) else None
    detail = _detail(body, reply)
    trace_id = reply.headers.get("x-request-id")
    if verdict in TAKEN and 200 <= reply.status < 300:
        return each(Delivered(trace_id), size)
    ruling = STATUSES.get(reply.status)
    will_pass = ruling is not None and ruling.consequence in (Consequence.THROTTLED, Consequence.TRANSIENT)
    if reply.status >= 500:
        return each(Retry(Reason.PLATFORM_ERROR, after, detail), size)
    if not will_pass and TOKEN_REFUSED.search(_words(body)):
        return Park(Reason.CREDENTIALS, detail)
    if ruling is not None:
        return applied(ruling, size, detail, after=after, suspects=_suspects(body, size), trace_id=trace_id)
    if verdict == "INVALID":  # also within a 2xx
        return isolate(size, detail, _suspects(body, size), trace_id)
    if reply.status < 300:
        return each(Retry(Reason.PLATFORM_ERROR, after, detail, is_ambiguous=True), size)
    return unknown(size, detail, after)


def _words(body: Mapping[str, Any]) -> str:
    return "; ".join(dict.fromkeys([*_texts(body.get("reason")), *_messages(body)]))


def _texts(*values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str) and value]


def _messages(body: Mapping[str, Any]) -> list[str]:
    errors = body.get("errors")
    messages = errors.get("error_msgs") if isinstance(errors, dict) else None
    return _texts(*messages) if isinstance(messages, list) else []


def _detail(body: Mapping[str, Any], reply: HttpReply) -> str:
    """The status, the codes where there are any, and the words, scrubbed: they may repeat what was sent."""
    errors = body.get("errors")
    codes = errors.get("codes") if isinstance(errors, dict) else None
    known = [str(code) for code in codes if as_code(code) is not None] if isinstance(codes, list) else []
    head = f"HTTP {reply.status}, codes {', '.join(known[:10])}" if known else f"HTTP {reply.status}"
    return ": ".join(part for part in (head, scrub(_words(body))) if part)


def _suspects(body: Mapping[str, Any], size: int) -> tuple[int, ...]:
    """Positions the answer may mean: whether it counts from 0 or from 1 is not established, so both."""
    logs = body.get("event_logs")
    named = [body.get("event")]
    if isinstance(logs, list):
        named += [log.get("event") for log in logs if isinstance(log, dict) and log.get("status") != "VALID"]
    found = [code for entry in named if (code := as_code(entry)) is not None]
    both = [position for index in found for position in (index - 1, index)]
    return tuple(dict.fromkeys(position for position in both if 0 <= position < size))
