"""What a destination is: a record of pure functions and data, and the small tools its functions share.

A destination never sees an HTTP client, a clock, the environment or the store. `admit` answers at ingest whether
and for how long an event may go; `build` turns claimed deliveries into requests; `read` turns an answer into one
result per delivery, or one word for the whole batch. `app.delivery` does everything else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from math import isfinite
from typing import Annotated, Any, Generic, Literal, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator

from app.errors import DestinationError, Reason
from app.facts import CLOCK_TOLERANCE
from app.model import (
    Delivery,
    Form,
    HashedEvent,
    HashedIdentity,
    HttpCall,
    HttpReply,
    Park,
    Rejected,
    Result,
    Retry,
    Split,
    Warn,
)
from app.units import Duration

DEDUP_WINDOW = timedelta(hours=48)
"""How long Meta, TikTok, Pinterest and Snapchat all pair two copies of one event (documented by each)."""

UNKNOWN_ANSWER_ATTEMPTS = 8
"""How often an answer nobody knows is met with another try before the delivery is given up."""


def _token(secret: SecretStr) -> SecretStr:
    token = secret.get_secret_value().strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("must be a token: printable ASCII without blanks, not empty")
    return SecretStr(token)


Token = Annotated[SecretStr, AfterValidator(_token)]
"""A secret fit for a header: blanks and line ends around it are dropped, an empty one is a mistake."""


class DestinationSettings(BaseModel):
    """What every adapter's settings have; adapters add ids, secrets (`SecretStr`) and choices of their own."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, protected_namespaces=())

    base_url: str = Field(description="Origin of the platform's API; the adapter appends the documented path.")
    window_margin: Duration = Field(
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


class MappedSettings(DestinationSettings):
    """Settings of a destination whose names for events can be overridden."""

    event_names: dict[str, str] = Field(
        {}, description="The platform's name to send for a standard or custom event, such as what an older pixel fires."
    )
    skip_events: tuple[str, ...] = Field((), description="Standard or custom events this destination never gets.")


S = TypeVar("S", bound=DestinationSettings)
K = TypeVar("K", bound=Hashable)


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


def _always(event: HashedEvent, settings: Any) -> bool:
    return True


def _no_pixel(event: HashedEvent, event_id: str, settings: Any) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Destination(Generic[S]):
    """One kind of platform. Its module keeps it as `DESTINATION`; the registry finds it there.

    `name` is the module's name, the docs page's and the config's `type`. `needs` are the named forms of the
    identity to compute at the door. `is_limited_supported` says that a documented limited mode exists, `can_limit`
    whether this event can be sent in it (some platforms must know the shopper's state, or locate the IP address).
    `has_consent_states` says that its requests carry the consent itself (`HashedEvent.consent`), so that an event can
    be sent whose use for personalisation was refused.
    `pixel_call` is the JavaScript with which a page's pixel reports this event under the same name and id; None where
    the platform has no such event.
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
    can_limit: Callable[[HashedEvent, S], bool] = _always
    has_consent_states: bool = False
    linger: timedelta = timedelta(milliseconds=200)
    pixel_call: Callable[[HashedEvent, str, S], str | None] = _no_pixel


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


def platform_name(
    event: HashedEvent, settings: MappedSettings, table: Mapping[str, str], custom: str | None
) -> str | None:
    """What the platform calls this event; None when it takes no such event.

    `skip_events` decides first, then `event_names`, then `table` (canonical name to platform name). `custom` is
    the name for an event that is not standard, None where the platform takes none.
    """
    if event.event_name in settings.skip_events:
        return None
    if event.event_name in settings.event_names:
        return settings.event_names[event.event_name]
    return custom if event.is_custom else table.get(event.event_name)


def tidy(record: Mapping[str, Any]) -> dict[str, Any]:
    """`record` without the keys that hold None, an empty text, list or mapping; zero and False stay."""
    return {key: value for key, value in record.items() if value or value == 0}


_NOTHING_HASHED = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def hashed(identity: HashedIdentity, form: Form) -> list[str]:
    """The digests of one form as lower-case hex, in order.

    Raises: DestinationError when one is no SHA-256, or the SHA-256 of nothing: neither may ever leave.
    """
    values = identity.hex(form)
    for value in values:
        if len(value) != 64 or value == _NOTHING_HASHED:
            raise DestinationError(f"a value of form {form.value} is not the SHA-256 of an identifier")
    return values


def plain(amount: Decimal) -> str:
    """An amount as plain decimal text: no exponent, no separators, the caller's digits."""
    return format(amount, "f")


def number(amount: Decimal | None) -> orjson.Fragment | None:
    """An amount as a JSON number with the caller's digits, never by way of a float."""
    return None if amount is None else orjson.Fragment(format(amount, "f"))


def unix_seconds(event: HashedEvent) -> int:
    """When it happened, in whole Unix seconds."""
    return int(event.event_time.timestamp())


def scalars(
    properties: Mapping[str, Any], reserved: frozenset[str] = frozenset()
) -> dict[str, str | int | float | bool]:
    """The entries of free data that fit a flat JSON map: text, numbers and truth values, under unreserved keys."""
    return {key: value for key, value in properties.items() if key and key not in reserved and _is_scalar(value)}


def _is_scalar(value: Any) -> bool:
    if isinstance(value, bool):
        return True
    if isinstance(value, str):
        return bool(value)
    if isinstance(value, float):
        return isfinite(value)
    return isinstance(value, int) and -(2**63) <= value < 2**63


def app_text(event: HashedEvent, key: str) -> str | None:
    """A text in the event's app data; None when it is absent, empty or no text."""
    value = (event.app or {}).get(key)
    return value if isinstance(value, str) and value else None


def app_flag(event: HashedEvent, key: str) -> int | None:
    """A yes (1) or no (0) in the event's app data, given as truth value or 0/1; None when it is neither."""
    value = (event.app or {}).get(key)
    return int(value) if isinstance(value, int) and value in (0, 1) else None


def app_extinfo(event: HashedEvent) -> list[str] | None:
    """The 16 device slots Meta and Snapchat want, as text; None unless there are 16 and the first is a2 or i2."""
    slots = (event.app or {}).get("extinfo")
    if not isinstance(slots, list) or len(slots) != 16 or slots[0] not in ("a2", "i2"):
        return None
    return ["" if slot is None else str(slot) for slot in slots]


def app_system(event: HashedEvent) -> Literal["ios", "android"] | None:
    """The operating system the app ran on: as stated (`app.os`, `extinfo`), else told by the advertising id."""
    stated = (app_text(event, "os") or "").lower()
    if stated in ("ios", "ipados"):
        return "ios"
    if stated == "android":
        return "android"
    slots = app_extinfo(event)
    if slots is not None:
        return "ios" if slots[0] == "i2" else "android"
    if event.identity.idfa or event.identity.idfv:
        return "ios"
    return "android" if event.identity.gaid else None


_UUID = re.compile(r"([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})", re.IGNORECASE)


def uuid_text(value: str | None) -> str | None:
    """An advertising or vendor id as lower-case UUID; None when it is none, or all zero (tracking is off)."""
    match = _UUID.fullmatch(value) if value and value.strip("0-") else None
    return "-".join(match.groups()).lower() if match else None


def grouped(deliveries: Sequence[Delivery], key: Callable[[Delivery], K]) -> dict[K, list[Delivery]]:
    """The deliveries that may share a request, by `key`, each group and the groups in the given order."""
    groups: dict[K, list[Delivery]] = {}
    for delivery in deliveries:
        groups.setdefault(key(delivery), []).append(delivery)
    return groups


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


def described(code: object, words: Any) -> str:
    """A platform's code and its words, the words scrubbed."""
    return ": ".join(part for part in (f"code {code}", scrub(words)) if part)
