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
from app.outbox.redis.accept import KEPT, NEW, ROUNDS, Reserved, stories_of
from app.outbox.redis.link import Call, Link, encode
from app.outbox.redis.places import blob, name_mark, place_of, to_seconds, transaction_mark
from app.outbox.redis.records import Story

SWEEP_BUCKETS = 64
"""How many small hashes of an index one call looks through."""
SWEEP_CALLS = 60
"""In how many calls of `sweep` at most all of them are looked through."""
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
        asked.append((place.partition, place.field))
    told = await link.scatter("look", asked, stories_of)
    for (each, reserved), stories in zip(stale, told, strict=True):
        if isinstance(stories, StoreUnavailable):
            each.answer, each.is_answered = stories, True
        elif any(_is_of(each.key, reserved, story) for story in stories):
            each.keep = reserved.event_id
        elif each.event_id is None:
            each.is_answered = True
        else:
            each.drop = (reserved.event_id, "s")


def _is_of(key: IdKey, reserved: Reserved, story: Story) -> bool:
    return (
        story.is_of(key.source, key.event_name, reserved.event_id)
        and story.belongs_to(key.transaction, key.occurrence)
        and story.is_live(reserved.now)
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
        whose = transaction_mark(key.transaction, key.occurrence)
        until_s = to_seconds(answer.remember_until)
        asked.append((place.partition, (place.field, until_s, name_mark(key.event_name), whose)))
    told = await link.scatter("note", asked, lambda reply: reply, durable=True)
    for each, done in zip(minted, told, strict=True):
        if isinstance(done, StoreUnavailable):
            each.answer = done


async def entries_of(link: Link, source: str, transaction: str) -> list[str]:
    """The ids the registry names for a transaction of one source.

    Raises:
        StoreUnavailable: It cannot be read.
    """
    (entries,) = await entries_of_all(link, source, [transaction])
    return entries


async def entries_of_all(link: Link, source: str, transactions: Sequence[str]) -> list[list[str]]:
    """The ids the registry names for each of these transactions of one source.

    Raises:
        StoreUnavailable: It cannot be read.
    """
    places = [place_of(source, transaction, link.partitions) for transaction in transactions]
    asked = [(place.partition, place.field) for place in places]
    found = []
    for raw in await link.scatter("trail", asked, lambda reply: reply):
        if isinstance(raw, StoreUnavailable):
            raise raw
        entries = _entries.decode(raw)[1:] if raw is not None else []
        found.append(list(dict.fromkeys(entry[2] for entry in entries if not isinstance(entry, str))))
    return found


class Sweep:
    """Forgetting ids past their time, some at a call; where each partition goes on is kept from call to call."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._next = [(0, 0)] * link.partitions

    async def run(self, retention_s: int) -> int:
        """Look through a part of the indexes; returns how many went.

        Raises:
            StoreUnavailable: A server does not answer.
        """
        gone = 0
        rounds = 1
        while rounds:
            payloads = [(*first, SWEEP_BUCKETS, retention_s) for first in self._next]
            calls = [Call("stale", partition, encode(payload)) for partition, payload in enumerate(payloads)]
            replies = await self._link.all(calls)
            self._next = [(int(reply[1]), int(reply[2])) for reply in replies]
            gone += sum(int(reply[0]) for reply in replies) + await self._forget(replies)
            if rounds == 1:
                most = max(max(int(reply[3]), int(reply[4])) for reply in replies)
                rounds = 1 + most // (SWEEP_BUCKETS * SWEEP_CALLS)
            rounds = rounds - 1 if any(first != (0, 0) for first in self._next) else 0
        return gone

    async def _forget(self, replies: Sequence[Sequence[Any]]) -> int:
        asked: list[tuple[int, Any]] = []
        due: list[tuple[int, tuple[Any, ...]]] = []
        for partition, reply in enumerate(replies):
            for field, raw in zip(reply[5::2], reply[6::2], strict=True):
                source, *entries = _entries.decode(raw)
                assert isinstance(source, str)
                for entry in entries:
                    assert not isinstance(entry, str)
                    place = place_of(source, entry[2], self._link.partitions)
                    asked.append((place.partition, place.field))
                    due.append((partition, (blob(field), *entry[:3])))
        if not due:
            return 0
        told = await self._link.scatter("look", asked, stories_of)
        per_partition: dict[int, list[Any]] = {}
        for (partition, entry), stories in zip(due, told, strict=True):
            if isinstance(stories, StoreUnavailable):
                raise stories
            is_kept = any(story.head.event_name == entry[1] for story in stories)
            per_partition.setdefault(partition, []).append((*entry, is_kept))
        calls = [Call("forget", partition, encode(items)) for partition, items in per_partition.items()]
        return sum(await self._link.all(calls))


async def read(link: Link, key: IdKey) -> MintedId | None:
    """The id of `key`, or None when none is remembered.

    Raises:
        StoreUnavailable: A server does not answer.
    """
    (known,) = await resolve(link, [Minting(key, None, from_epoch(0))], durable=False)
    if isinstance(known, StoreUnavailable):
        raise known
    return known
