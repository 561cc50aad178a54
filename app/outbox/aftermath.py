"""What is remembered beyond a delivery's end, as memos: books, names and values. Pure.

ask:<destination>      requests to ask about, by the platform's trace id: whose events they held, in order
refused:<destination>  events refused after acceptance, by a digest of source, event name and event_id: why
adjust:<destination>   delivered conversions that may be adjusted, by a digest of source and transaction
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import blake2b

import msgspec

from app.destinations.base import Precedent
from app.model import Delivery
from app.outbox.port import Memo

REFUSAL_KEPT = timedelta(days=60)


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """One event of a request to ask about. `transaction` is None where no conversion of it can be adjusted."""

    source: str
    event_name: str
    event_id: str
    transaction: str | None = None


class Inquiry(msgspec.Struct, frozen=True, array_like=True):
    """A request to ask about: since when, how often it was asked about, and its events in the order of the request."""

    since: datetime
    tries: int
    events: tuple[Asked, ...]


_inquiries = msgspec.msgpack.Decoder(Inquiry)


def name_of(*parts: str) -> str:
    """A short name for several texts, which tells nothing of them."""
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def refused_book(destination: str) -> str:
    """Where the events of a destination are that were refused after acceptance."""
    return f"refused:{destination}"


def refused_name(source: str, event_name: str, event_id: str) -> str:
    """What such an event goes by."""
    return name_of(source, event_name, event_id)


def ask_book(destination: str) -> str:
    """Where the requests are that a destination is to be asked about."""
    return f"ask:{destination}"


def adjust_book(destination: str) -> str:
    """Where the conversions are that a destination can adjust."""
    return f"adjust:{destination}"


def adjust_name(source: str, transaction: str) -> str:
    """What the conversion of a transaction goes by."""
    return name_of(source, transaction)


def encode_inquiry(inquiry: Inquiry) -> bytes:
    """The bytes of an inquiry: ids only, packed."""
    return zlib.compress(msgspec.msgpack.encode(inquiry))


def decode_inquiry(value: bytes) -> Inquiry:
    """The inquiry in `value`. Raises: zlib.error or msgspec.DecodeError for what is none."""
    return _inquiries.decode(zlib.decompress(value))


def asked_of(delivery: Delivery, *, is_adjustable: bool) -> Asked:
    """A delivery as an event of a request; `is_adjustable` says that its conversion can be adjusted."""
    event = delivery.event
    return Asked(event.source, event.event_name, delivery.event_id, event.transaction if is_adjustable else None)


def encode_precedent(precedent: Precedent) -> bytes:
    """The bytes of a precedent."""
    return msgspec.json.encode((precedent.money, precedent.taken_off))


def decode_precedent(value: bytes) -> Precedent:
    """The precedent in `value`."""
    money, taken_off = msgspec.json.decode(value, type=tuple[tuple[str, Decimal] | None, dict[str, Decimal | None]])
    return Precedent(money, taken_off)


def refusals(destination: str, events: Sequence[Asked], refused: Mapping[int, str], now: datetime) -> list[Memo]:
    """The memos that these events of a request, by position, were refused after acceptance."""
    return [
        Memo(
            refused_book(destination),
            refused_name(events[position].source, events[position].event_name, events[position].event_id),
            reason.encode(),
            now + REFUSAL_KEPT,
        )
        for position, reason in refused.items()
        if position < len(events)
    ]
