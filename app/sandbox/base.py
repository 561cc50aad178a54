"""The values that pass between the server and a platform's rule file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import orjson

from app.sandbox.counting import Copy

UNREADABLE: Any = object()  # the payload of a body that is not JSON

ErrorKind = Literal["token_missing", "token_dead", "throttled", "failed", "refused", "not_found", "too_large"]


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer: status, JSON body, headers beyond the usual ones."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a platform's real path, with the body already parsed.

    `mode` is the platform's own word for a variant of the path (Snapchat: `/validate`), else empty.
    `now` is the sandbox clock in epoch seconds. `failing` holds the indexes that a fault script makes
    fail (platforms with per-event answers only). `blame` asks for the index of the bad event in an error.
    """

    account: str
    mode: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    payload: Any
    now: float
    trace: str
    failing: frozenset[int] = frozenset()
    blame: bool = False


class Arrival(NamedTuple):
    """One event that the platform took: what counts of it, the whole event, keys the platform ignores."""

    copy: Copy
    event: dict[str, Any]
    event_time_s: float
    unknown: tuple[str, ...]


class Answer(NamedTuple):
    """The reply to a call and the events it took, in the order of the batch."""

    reply: Reply
    arrivals: Sequence[Arrival] = ()


class Label(NamedTuple):
    """What fault scripts may match of an event, read without any check."""

    event_name: object
    event_id: object
    order_id: object


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform as a record of pure functions.

    `path` matches the documented path (optional groups `account` and `mode`), `owns` any path that can
    only be meant for this platform. `per_event` says that one bad event does not fail its neighbours.
    `error(kind, trace, options)` builds the platform's own error; options `status`, `code` and `subcode`
    replace the defaults. `account_of` reads the account out of the payload where the path has none.
    """

    name: str
    path: re.Pattern[str]
    owns: re.Pattern[str]
    token: Callable[[Call], str | None]
    answer: Callable[[Call], Answer]
    error: Callable[[ErrorKind, str, Mapping[str, Any]], Reply]
    label: Callable[[Mapping[str, Any]], Label]
    decode: Callable[[Mapping[str, str], bytes], Any]
    per_event: bool = False
    account_of: Callable[[Any], str] | None = None


def decode_json(headers: Mapping[str, str], body: bytes) -> Any:
    """The parsed JSON body, or UNREADABLE."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return UNREADABLE


def events_of(payload: Any) -> list[Any]:
    """The batch inside a payload, empty when there is none: Google calls it `events`, the others `data`."""
    data = payload.get("data", payload.get("events")) if type(payload) is dict else None
    return data if type(data) is list else []


def label_of(event: Mapping[str, Any], name_key: str, money_key: str) -> Label:
    """Name, id and order id of an event, whatever their types."""
    money = event.get(money_key)
    return Label(event.get(name_key), event.get("event_id"), money.get("order_id") if type(money) is dict else None)


def bearer(headers: Mapping[str, str]) -> str | None:
    """The token of an `Authorization: Bearer` header."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
