"""What became of events, read from all the places they may lie in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.errors import StoreUnavailable
from app.outbox.port import EventState
from app.outbox.redis.accept import stories_of
from app.outbox.redis.ids import entries_of
from app.outbox.redis.link import Link
from app.outbox.redis.places import place_of
from app.outbox.redis.records import Story

MOST = 100


async def _under(link: Link, ids: Iterable[tuple[str, str]]) -> list[Story]:
    """Every event kept under these (source, event_id)."""
    wanted = list(ids)
    places = [place_of(source, event_id, link.partitions) for source, event_id in wanted]
    told = await link.scatter("look", [(place.partition, place.field) for place in places], stories_of)
    found = []
    for (source, event_id), stories in zip(wanted, told, strict=True):
        if isinstance(stories, StoreUnavailable):
            raise stories
        found += [each for each in stories if (each.head.source, each.head.event_id) == (source, event_id)]
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
