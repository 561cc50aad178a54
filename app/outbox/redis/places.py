"""Where things lie: the partition, the bucket and the field of an event id or a transaction.

A digest of 96 bits of (source, text) is cut in three: partition, bucket, and the eight bytes kept as field. Buckets
are hashes small enough that Redis packs them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from app.model import from_epoch

BUCKETS = 1024
"""Buckets of one kind in one partition. Part of the schema, as is the digest; `sweep.lua` computes the same."""
_EPOCH = from_epoch(0)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event id or a transaction lies."""

    partition: int
    bucket: int
    field: msgspec.Raw


def blob(data: bytes) -> msgspec.Raw:
    """Bytes within a payload. The msgpack of the servers' Lua has text only, and takes any bytes for it."""
    size = len(data)
    if size < 32:
        return msgspec.Raw(bytes((0xA0 | size,)) + data)
    if size < 2**16:
        return msgspec.Raw(b"\xda" + size.to_bytes(2, "big") + data)
    return msgspec.Raw(b"\xdb" + size.to_bytes(4, "big") + data)


def place_of(source: str, text: str, partitions: int) -> Place:
    """The place of an event id, or of a transaction, of one source."""
    digest = hashlib.sha1(f"{source}\0{text}".encode(), usedforsecurity=False).digest()
    return Place(
        int.from_bytes(digest[0:2], "big") % partitions,
        int.from_bytes(digest[2:4], "big") % BUCKETS,
        blob(digest[4:12]),
    )


def mark_of(*parts: str | None) -> msgspec.Raw:
    """Eight bytes that stand for several texts."""
    joined = "\0".join("\1" if part is None else part for part in parts)
    return blob(hashlib.sha1(joined.encode(), usedforsecurity=False).digest()[:8])


def to_us(instant: datetime) -> int:
    """Microseconds since the Unix epoch."""
    return (instant - _EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """The instant of `us` microseconds since the Unix epoch."""
    return _EPOCH + timedelta(microseconds=us)


def to_seconds(instant: datetime) -> int:
    """Seconds since the Unix epoch, rounded up."""
    return -(-to_us(instant) // 1_000_000)
