"""The id registry by itself: minting, reading, and forgetting what is past its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from app.dedup.port import IdKey, MintedId
from app.errors import StoreUnavailable
from app.model import from_epoch
from app.outbox.redis.accept import KEPT, NEW, ROUNDS, Reserved, records_of
from app.outbox.redis.link import Call, Link, encode
from app.outbox.redis.places import BUCKETS, blob, mark_of, place_of, to_seconds, to_us
from app.outbox.redis.records import EventRecord

SWEEP_BUCKETS = 128
"""How many buckets of a partition one sweep looks through."""
Entry = tuple[str, str | bool, str, int, int, int]
_reserved = msgspec.msgpack.Decoder(list[Reserved])
_entries = msgspec.msgpack.Decoder(list[str | Entry])


@dataclass(slots=True)
class Minting:
    """One call of `mint`, or with `event_id` None of `read`."""

    key: IdKey
    event_id: str | None
    remember_until: datetime
    drop: tuple[str, str] | None = None
    keep: str | None = None
    answer: MintedId | StoreUnavailable | None = None
    is_answered: bool = False

    def reservation(self, partitions: int) -> tuple[int, Any]:
        """What `reserve.lua` is asked."""
        key = self.key
        place = place_of(key.source, key.transaction, partitions)
        return place.partition, (
            place.bucket,
            place.field,
            key.source,
            key.event_name,
            key.occurrence or False,
            self.event_id or False,
            False,
            to_seconds(self.remember_until),
            True,
            False,
            self.drop or False,
            self.keep or False,
        )


async def resolve(
    link: Link, mintings: Sequence[Minting], *, durable: bool
) -> list[MintedId | StoreUnavailable | None]:
    """The id of each key, minted where there is none and one was given."""
    waiting = list(mintings)
    for _ in range(ROUNDS):
        asked = [each.reservation(link.partitions) for each in waiting]
        told = await link.scatter("reserve", asked, _reserved.decode, durable=durable)
        stale: list[tuple[Minting, Reserved]] = []
        for each, reserved in zip(waiting, told, strict=True):
            if isinstance(reserved, StoreUnavailable):
                each.answer, each.is_answered = reserved, True
            elif reserved.code in {NEW, KEPT}:
                until = each.remember_until if reserved.code == NEW else from_epoch(reserved.until)
                each.answer = MintedId(reserved.event_id, reserved.code == NEW, until)
                each.is_answered = True
            elif reserved.code == 0:
                each.is_answered = True
            else:
                stale.append((each, reserved))
        await _look_into(link, stale)
        waiting = [each for each in waiting if not each.is_answered]
        if not waiting:
            break
    minted = [each for each in mintings if isinstance(each.answer, MintedId) and each.event_id is not None]
    await _note(link, minted)
    contended = StoreUnavailable("an id is contended by too many at once")
    return [each.answer if each.is_answered else contended for each in mintings]


async def _look_into(link: Link, stale: Sequence[tuple[Minting, Reserved]]) -> None:
    """Past its window an id counts while a delivery of its event is pending."""
    if not stale:
        return
    asked = []
    for each, reserved in stale:
        place = place_of(each.key.source, reserved.event_id, link.partitions)
        asked.append((place.partition, (place.bucket, place.field)))
    told = await link.scatter("look", asked, records_of)
    for (each, reserved), records in zip(stale, told, strict=True):
        if isinstance(records, StoreUnavailable):
            each.answer, each.is_answered = records, True
        elif any(_is_of(each.key, reserved, record) for _, record in records):
            each.keep = reserved.event_id
        elif each.event_id is None:
            each.is_answered = True
        else:
            each.drop = (reserved.event_id, "s")


def _is_of(key: IdKey, reserved: Reserved, record: EventRecord) -> bool:
    names = (record.source, record.event_name, record.event_id)
    return (
        names == (key.source, key.event_name, reserved.event_id)
        and record.belongs_to(key.transaction, key.occurrence)
        and record.is_live(reserved.now * 1_000_000)
    )


async def _note(link: Link, minted: Sequence[Minting]) -> None:
    """Tell the partition of each id whose it is, so that another transaction's event cannot take it."""
    if not minted:
        return
    asked = []
    for each in minted:
        assert isinstance(each.answer, MintedId)
        key, answer = each.key, each.answer
        place = place_of(key.source, answer.event_id, link.partitions)
        mark = mark_of(key.source, key.event_name, answer.event_id)
        whose = mark_of(key.transaction, key.occurrence)
        asked.append((place.partition, (place.bucket, mark, to_us(answer.remember_until), whose)))
    told = await link.scatter("note", asked, lambda reply: reply, durable=True)
    for each, done in zip(minted, told, strict=True):
        if isinstance(done, StoreUnavailable):
            each.answer = done


async def entries_of(link: Link, source: str, transaction: str) -> list[str]:
    """The ids the registry names for a transaction of one source.

    Raises:
        StoreUnavailable: It cannot be read.
    """
    place = place_of(source, transaction, link.partitions)
    ((raw,),) = await link.all([Call("trail", place.partition, encode([(place.bucket, place.field)]))])
    if raw is None:
        return []
    return list(dict.fromkeys(entry[2] for entry in _entries.decode(raw)[1:] if not isinstance(entry, str)))


async def sweep_registry(link: Link, first: int, retention_s: int) -> tuple[int, int]:
    """Forget ids past their time in some buckets from `first` on: how many went, and where to go on.

    Raises:
        StoreUnavailable: A server does not answer.
    """
    most = min(SWEEP_BUCKETS, BUCKETS - first)
    replies = await link.everywhere("stale", (first, most, retention_s))
    gone = sum(int(reply[0]) for reply in replies)
    due: list[tuple[int, tuple[Any, ...], str]] = []
    for partition, reply in enumerate(replies):
        for bucket, field, raw in zip(reply[1::3], reply[2::3], reply[3::3], strict=True):
            source, *entries = _entries.decode(raw)
            assert isinstance(source, str)
            for entry in entries:
                assert not isinstance(entry, str)
                due.append((partition, (int(bucket), blob(field), *entry[:3]), source))
    if due:
        gone += await _forget(link, due)
    return gone, (first + most) % BUCKETS


async def _forget(link: Link, due: Sequence[tuple[int, tuple[Any, ...], str]]) -> int:
    asked = []
    for _, (_, _, _, _, event_id), source in due:
        place = place_of(source, event_id, link.partitions)
        asked.append((place.partition, (place.bucket, place.field)))
    told = await link.scatter("look", asked, records_of)
    per_partition: dict[int, list[Any]] = {}
    for (partition, entry, _), records in zip(due, told, strict=True):
        if isinstance(records, StoreUnavailable):
            raise records
        is_kept = any(record.event_name == entry[2] for _, record in records)
        per_partition.setdefault(partition, []).append((*entry, is_kept))
    calls = [Call("forget", partition, encode(items)) for partition, items in per_partition.items()]
    return sum(await link.all(calls))
