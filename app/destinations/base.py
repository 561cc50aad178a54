"""What a destination is: a record of pure functions and data, and the small tools its functions share.

A destination never sees an HTTP client, a clock, the environment or the store. `admit` answers at ingest whether
and for how long an event may go; `build` turns claimed deliveries into requests; `read` turns an answer into one
result per delivery, or one word for the whole batch. `app.delivery` does everything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.errors import Reason
from app.model import Delivery, Form, HashedEvent, HttpCall, HttpReply, Park, Result, Split, Warn

DEDUP_WINDOW = timedelta(hours=48)
"""How long Meta, TikTok, Pinterest and Snapchat all pair two copies of one event (documented by each)."""

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far ahead of now an event_time may be; within it the event is clamped to now."""


class DestinationSettings(BaseModel):
    """What every adapter's settings have; adapters add ids, secrets (`SecretStr`) and choices of their own."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, protected_namespaces=())

    base_url: str = Field(description="Origin of the platform's API; the adapter appends the documented path.")
    window_margin: timedelta = Field(
        timedelta(minutes=10),
        ge=timedelta(0),
        le=timedelta(days=1),
        description="Safety margin taken off the platform's event-age window.",
    )

    @field_validator("base_url")
    @classmethod
    def _is_origin(cls, url: str) -> str:
        match = re.fullmatch(r"(https?)://([^/?#@\s]+)/?", url)
        if match is None:
            raise ValueError("must be an origin such as https://host, without a path")
        host = match[2].rsplit(":", 1)[0]
        if match[1] == "http" and host not in {"127.0.0.1", "localhost", "[::1]"}:
            raise ValueError("plain http is allowed to loopback only")
        return url.rstrip("/")


S = TypeVar("S", bound=DestinationSettings)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may hold and how many may be under way at once."""

    max_items: int
    max_bytes: int
    max_in_flight: int = 4


@dataclass(frozen=True, slots=True)
class Skip:
    """The destination does not take this event. `detail` says in words what is missing, never a value."""

    reason: Reason
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Admit:
    """The destination takes this event.

    `window_until`: the platform takes events of this age until then. `pair_for`: how long after event_time the
    platform pairs the pixel's copy with this one (zero when it never does). `repeat_for`: how long after a first
    receipt it recognises a repeat of this very copy. `warnings`: what was left out or looks weak.
    """

    window_until: datetime
    pair_for: timedelta = DEDUP_WINDOW
    repeat_for: timedelta = DEDUP_WINDOW
    warnings: tuple[Warn, ...] = ()


Admission = Skip | Admit


@dataclass(frozen=True, slots=True)
class Destination(Generic[S]):
    """One kind of platform. Its module keeps it as `DESTINATION`; the registry finds it there.

    `name` is the module's name, the docs page's and the config's `type`. `needs` are the named forms of the
    identity to compute at the door. `is_limited_supported` says that a documented limited mode exists.
    """

    name: str
    settings: type[S]
    limits: Limits
    needs: frozenset[Form]
    is_limited_supported: bool
    has_test_mode: Callable[[S], bool]
    admit: Callable[[HashedEvent, S, datetime], Admission]
    build: Callable[[Sequence[Delivery], S], Sequence[HttpCall]]
    read: Callable[[HttpReply, Sequence[Delivery]], Sequence[Result] | Split | Park]


def gate_age(event: HashedEvent, window: timedelta, margin: timedelta, now: datetime) -> datetime | Skip:
    """The instant until which the platform takes the event, or the reason why it does not now.

    `window` is the platform's documented or chosen maximum age; `margin` is taken off it.
    """
    if event.event_time > now + CLOCK_TOLERANCE:
        return Skip(Reason.IN_FUTURE, "event_time is more than 5 minutes ahead of now")
    until = event.event_time + window - margin
    if until <= now:
        return Skip(Reason.TOO_OLD, f"event_time is older than the {window.days} days this platform takes")
    return until


def pack(
    items: Sequence[tuple[Delivery, bytes]], limits: Limits, head: bytes, tail: bytes
) -> list[tuple[tuple[Delivery, ...], bytes]]:
    """Bodies `head + item,item,… + tail` with the deliveries each holds, in order, within count and byte limits.

    Every item lands in exactly one body. An item that alone passes `max_bytes` gets a body of its own: the
    platform's verdict on it costs no neighbour.
    """
    packed: list[tuple[tuple[Delivery, ...], bytes]] = []
    room = limits.max_bytes - len(head) - len(tail)
    batch: list[Delivery] = []
    parts: list[bytes] = []
    size = 0
    for delivery, part in items:
        if parts and (len(parts) >= limits.max_items or size + len(part) + 1 > room):
            packed.append((tuple(batch), head + b",".join(parts) + tail))
            batch, parts, size = [], [], 0
        batch.append(delivery)
        parts.append(part)
        size += len(part) + 1
    if parts:
        packed.append((tuple(batch), head + b",".join(parts) + tail))
    return packed


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
