"""Answers: reading what a platform said, and what a refusal means for each event of a batch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import orjson

from app.errors import Reason
from app.model import HttpReply, Rejected, Result, Retry, Split

UNKNOWN_ANSWER_ATTEMPTS = 8
"""How often an answer nobody knows is met with another try before the delivery is given up."""


def json_object(reply: HttpReply) -> dict[str, Any] | None:
    """The JSON object in a reply's body, or None when it is anything else (HTML, empty, cut off, a list)."""
    try:
        value = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """The wait a `Retry-After` header asks for in seconds; None when there is none.

    Dates are not used by these platforms and count as none. The caller bounds the wait.
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,7}", value):
        return timedelta(seconds=int(value))
    return None


_PERSONAL = re.compile(r"[^\s\"'<>]{1,64}@[^\s\"'<>]{1,255}|\b[0-9a-fA-F]{32,}\b|\+?\d[\d\s().-]{6,}\d")


def scrub(text: Any) -> str | None:
    """A platform's words fit for keeping: at most 300 characters, nothing shaped like an identifier.

    Platforms echo the value they refuse; e-mail shapes, long digit runs and digests become an ellipsis.
    """
    if not isinstance(text, str) or not text:
        return None
    return _PERSONAL.sub("…", text[:1000])[:300]


def each(result: Result, size: int) -> list[Result]:
    """The same result for every delivery of a batch."""
    return [result] * size


def isolate(
    size: int, detail: str | None, suspects: tuple[int, ...] = (), trace_id: str | None = None
) -> Split | list[Result]:
    """What to do when a batch was refused as a whole: find the culprit, or name it when it is alone."""
    if size > 1:
        return Split(detail, suspects, trace_id)
    return [Rejected(detail=detail, trace_id=trace_id)] * size


def unknown(size: int, detail: str | None, after: timedelta | None = None) -> Split | list[Result]:
    """What to do with a refusal nobody knows: isolate it, and try a lone event a bounded number of times."""
    if size > 1:
        return Split(detail)
    return each(Retry(Reason.PLATFORM_ERROR, after, detail, max_attempts=UNKNOWN_ANSWER_ATTEMPTS), size)


def unreadable(reply: HttpReply, size: int) -> Split | list[Result]:
    """What an answer without a readable body means: it never delivers, rejects or parks anything by itself.

    Such answers come from proxies and firewalls. A few of their statuses can be due to what one event holds, so
    those isolate it; after a 2xx or a gateway's timeout nobody knows whether the platform took the batch.
    """
    detail = f"HTTP {reply.status} without a readable body"
    after = retry_after(reply.headers)
    if reply.status == 413:
        return isolate(size, detail)
    if reply.status == 429:
        return each(Retry(Reason.RATE_LIMITED, after, detail), size)
    if reply.status in (400, 403, 422):
        return unknown(size, detail, after)
    is_unsure = 200 <= reply.status < 300 or reply.status == 504
    return each(Retry(Reason.PLATFORM_ERROR, after, detail, is_ambiguous=is_unsure), size)


def as_code(value: Any) -> int | None:
    """A numeric code, given as a number or as digits; None when it is neither."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


_POSITION = re.compile(r"(?:data|batch|events?)['\"]?\]?[.\[/]{1,2}['\"]?([0-9]{1,4})\b", re.IGNORECASE)


def named_positions(size: int, *texts: Any) -> tuple[int, ...]:
    """Positions in the batch that an error names, as in `data[3]`, `$['data'][3]`, `Batch.3.properties`.

    Only a hint: whoever is suspected is sent alone, and its own answer decides.
    """
    found = [int(match[1]) for text in texts if isinstance(text, str) for match in _POSITION.finditer(text)]
    return tuple(dict.fromkeys(position for position in found if position < size))


def described(code: object, words: Any, meaning: str | None = None) -> str:
    """A platform's code, what it means where that is known, and the platform's words, scrubbed."""
    told = f"code {code} ({meaning})" if meaning else f"code {code}"
    return ": ".join(part for part in (told, scrub(words)) if part)
