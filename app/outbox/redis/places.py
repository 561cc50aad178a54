"""Where things lie: the partition and the field of an event id or a transaction, and the marks that stand for texts.

A digest of 96 bits of (source, text) is cut in two: the partition, and the eight bytes kept as field, whose first four
say in which of the many small hashes of its index it lies (`common.lua`). All of it is part of the schema; the scripts
compute the same.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import msgspec

from app.model import from_epoch

_EPOCH = from_epoch(0)
_MICROSECOND = timedelta(microseconds=1)
NO_MARK = msgspec.Raw(b"\xa0")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event id or a transaction lies."""

    partition: int
    field: msgspec.Raw


def blob(data: bytes) -> msgspec.Raw:
    """Bytes within a payload. The msgpack of the servers' Lua has text only, and takes any bytes for it."""
    size = len(data)
    if size < 32:
        return msgspec.Raw(bytes((0xA0 | size,)) + data)
    if size < 2**16:
        return msgspec.Raw(b"\xda" + size.to_bytes(2, "big") + data)
    return msgspec.Raw(b"\xdb" + size.to_bytes(4, "big") + data)


def _sha1(text: str) -> bytes:
    return hashlib.sha1(text.encode(), usedforsecurity=False).digest()


def place_of(source: str, text: str, partitions: int) -> Place:
    """The place of an event id, or of a transaction, of one source."""
    digest = _sha1(f"{source}\0{text}")
    return Place(int.from_bytes(digest[0:4], "big") % partitions, blob(digest[4:12]))


@lru_cache(1024)
def name_mark(event_name: str) -> msgspec.Raw:
    """Three bytes that stand for an event's name beside its id."""
    return blob(_sha1(event_name)[:3])


def transaction_mark(transaction: str | None, occurrence: str | None) -> msgspec.Raw:
    """Six bytes that stand for a transaction and its occurrence beside an id; none where there is no transaction."""
    if transaction is None:
        return NO_MARK
    return blob(_sha1(f"{transaction}\0{chr(1) if occurrence is None else occurrence}")[:6])


def to_us(instant: datetime) -> int:
    """Microseconds since the Unix epoch."""
    return (instant - _EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """The instant of `us` microseconds since the Unix epoch."""
    return _EPOCH + timedelta(microseconds=us)


def to_seconds(instant: datetime) -> int:
    """Seconds since the Unix epoch, rounded up."""
    return -(-to_us(instant) // 1_000_000)
