"""Dead letters over all partitions: found oldest first, replayed, purged."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.errors import Reason
from app.outbox.port import DeadFilter, DeadLetter, DeadPage
from app.outbox.redis.link import Call, Link, encode
from app.outbox.redis.places import from_us, to_us
from app.outbox.redis.plans import queue_text
from app.outbox.redis.records import Body, Lead, Story, story_of
from app.outbox.shares import queue_of

PAGE = 500
"""How many dead letters a server looks at in one call."""


@dataclass(frozen=True, slots=True)
class Found:
    """A dead letter that fits."""

    died_at: int
    partition: int
    destination: str
    story: Story

    @property
    def place(self) -> tuple[int, int, int, str]:
        """The order of dead letters over all partitions."""
        return self.died_at, self.story.seq, self.partition, self.destination

    def letter(self, *, is_brief: bool) -> DeadLetter:
        """As it is told; brief without its event."""
        head, end, body = self.story.head, self.story.ends[self.destination], self.story.body
        assert body is not None
        lead, _, term = body.lead(self.destination)
        return DeadLetter(
            key=self._key(lead, body),
            source=head.source,
            event_id=head.event_id,
            event_name=head.event_name,
            destination=self.destination,
            reason=end.why.reason or Reason.REJECTED_BY_PLATFORM,
            detail=end.why.detail,
            trace_id=end.why.trace_id,
            attempts=end.attempts,
            accepted_at=self.story.accepted_at,
            died_at=from_us(self.died_at),
            event_time=None if is_brief else body.event.event_time,
            money=lead.money,
            budget=term.budget,
            unsure_since=end.unsure_since,
        )

    def _key(self, lead: Lead, body: Body) -> tuple[int, tuple[Any, ...]]:
        """Its partition, and what `revive.lua` is told."""
        head = self.story.head
        queue = queue_text(queue_of(head.source, head.event_name, is_bulk=True))
        counted = (lead.currency, lead.units, lead.millionths, body.size)
        return self.partition, (str(self.story.seq), self.destination, queue, body.nonce, *counted)


def parse_place(after: str) -> tuple[int, int, int, str]:
    """The place that `after` spells.

    Raises: ValueError.
    """
    died_at, seq, partition, destination = after.split("-", 3)
    return int(died_at), int(seq), int(partition), destination


async def page(
    link: Link,
    which: DeadFilter,
    limit: int,
    after: tuple[int, int, int, str] | None,
    destinations: Collection[str],
    *,
    is_brief: bool,
) -> DeadPage:
    """See `Outbox.dead_letters`."""
    found = await find(link, which, sys.maxsize, destinations)
    fit = [
        each
        for each in found
        if (after is None or each.place > after)
        and which.event_name in {None, each.story.head.event_name}
        and (which.died_since is None or each.died_at >= to_us(which.died_since))
    ]
    those = fit[:limit]
    place = "-".join(map(str, those[-1].place)) if len(fit) > limit else None
    return DeadPage([each.letter(is_brief=is_brief) for each in those], place)


@dataclass(slots=True)
class _Search:
    """How far the dead letters of one destination in one partition were looked through."""

    partition: int
    destination: str
    offset: int = 0
    found: list[Found] = field(default_factory=list)
    is_done: bool = False


async def find(link: Link, which: DeadFilter, limit: int, destinations: Collection[str]) -> list[Found]:
    """The oldest `limit` dead letters that fit.

    Raises:
        StoreUnavailable: A server does not answer.
    """
    names = destinations if which.destination is None else [which.destination]
    searches = [_Search(partition, name) for name in names for partition in range(link.partitions)]
    while waiting := [search for search in searches if not search.is_done]:
        calls = [
            Call(
                "dead",
                search.partition,
                encode(
                    (
                        search.destination,
                        search.offset,
                        PAGE,
                        limit - len(search.found),
                        which.reason or False,
                        which.event_id or False,
                        which.source or False,
                        False if which.died_before is None else to_us(which.died_before),
                    )
                ),
            )
            for search in waiting
        ]
        for search, (seen, *rows) in zip(waiting, await link.all(calls), strict=True):
            search.offset += seen
            for seq, died_at, event, body in zip(rows[::4], rows[1::4], rows[2::4], rows[3::4], strict=True):
                story = story_of((seq, event, body, ()))
                search.found.append(Found(int(died_at), search.partition, search.destination, story))
            search.is_done = seen < PAGE or len(search.found) >= limit
    found = [each for search in searches for each in search.found]
    found.sort(key=lambda each: each.place)
    return found[:limit]


async def end(link: Link, letters: Sequence[DeadLetter], *, is_replay: bool) -> int:
    """Replay or purge what is still dead; returns how many.

    Raises:
        StoreUnavailable: A server does not answer.
    """
    per_partition: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for each in letters:
        partition, item = each.key
        per_partition[partition].append(item)
    calls = [
        Call("revive", partition, encode((is_replay, items[start : start + PAGE])))
        for partition, items in per_partition.items()
        for start in range(0, len(items), PAGE)
    ]
    return sum(await link.all(calls, durable=True)) if calls else 0
