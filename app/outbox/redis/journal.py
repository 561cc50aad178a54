"""What became of events, read from all the places they may lie in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from app.errors import StoreUnavailable
from app.outbox.port import EventPage, EventState
from app.outbox.redis.accept import stories_of
from app.outbox.redis.ids import entries_of, entries_of_all
from app.outbox.redis.link import Call, Link, encode
from app.outbox.redis.places import place_of, to_us
from app.outbox.redis.records import Story, story_of

MOST = 100


async def _under(link: Link, ids: Iterable[tuple[str, str]]) -> list[Story]:
    """Every event kept under these (source, event_id)."""
    return [story for stories in await _under_each(link, list(ids)) for story in stories]


async def _under_each(link: Link, wanted: Sequence[tuple[str, str]]) -> list[list[Story]]:
    """The events kept under each of these (source, event_id), in order."""
    places = [place_of(source, event_id, link.partitions) for source, event_id in wanted]
    told = await link.scatter("look", [(place.partition, place.field) for place in places], stories_of)
    found = []
    for (source, event_id), stories in zip(wanted, told, strict=True):
        if isinstance(stories, StoreUnavailable):
            raise stories
        found.append([each for each in stories if (each.head.source, each.head.event_id) == (source, event_id)])
    return found


def _told(found: list[Story]) -> Sequence[EventState]:
    found.sort(key=lambda each: (each.accepted_at, each.seq), reverse=True)
    return [story.event_state() for story in found[:MOST]]


async def by_id(link: Link, event_id: str, sources: Iterable[str]) -> Sequence[EventState]:
    """Every event under this id, newest first.

    Raises:
        StoreUnavailable: A server does not answer.
    """
    return _told(await _under(link, [(source, event_id) for source in sources]))


async def by_transaction(link: Link, transaction: str, sources: Iterable[str]) -> Sequence[EventState]:
    """Every event of this transaction, newest first.

    Raises:
        StoreUnavailable: A server does not answer.
    """
    ids = [(source, event_id) for source in sources for event_id in await entries_of(link, source, transaction)]
    return _told([each for each in await _under(link, ids) if each.head.transaction == transaction])


async def by_transactions(link: Link, source: str, transactions: Sequence[str]) -> Sequence[Sequence[EventState]]:
    """The events of each of these transactions of one source, each newest first.

    Raises:
        StoreUnavailable: A server does not answer.
    """
    named = await entries_of_all(link, source, transactions)
    ids = [(place, event_id) for place, entries in enumerate(named) for event_id in entries]
    told = await _under_each(link, [(source, event_id) for _, event_id in ids])
    found: list[list[Story]] = [[] for _ in transactions]
    for (place, _), stories in zip(ids, told, strict=True):
        found[place] += [each for each in stories if each.head.transaction == transactions[place]]
    return [_told(each) for each in found]


async def accepted(
    link: Link, source: str, since: datetime, before: datetime, limit: int, after: str | None
) -> EventPage:
    """Events of one source accepted within these instants, partition by partition; a place is `partition-number`.

    Raises:
        ValueError: `after` is no place.
        StoreUnavailable: A server does not answer.
    """
    partition, number = (0, 0) if after is None else _place(after, link.partitions)
    asked = encode((number, limit, to_us(since), to_us(before), source))
    ((last, *rows),) = await link.all([Call("walk", partition, asked)])
    events = [story_of(row).event_state() for row in rows]
    if last:
        return EventPage(events, f"{partition}-{int(last)}")
    return EventPage(events, f"{partition + 1}-0" if partition + 1 < link.partitions else None)


def _place(text: str, partitions: int) -> tuple[int, int]:
    partition, _, number = text.partition("-")
    if not 0 <= int(partition) < partitions or int(number) < 0:
        raise ValueError("no place of this store")
    return int(partition), int(number)
