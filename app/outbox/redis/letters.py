"""Dead letters over all partitions: found oldest first, replayed, purged."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from app.errors import Reason
from app.model import decode_event
from app.outbox.port import DeadFilter, DeadLetter, DeadPage
from app.outbox.redis.link import Call, Link, encode
from app.outbox.redis.places import from_us, to_us
from app.outbox.redis.records import EventRecord, decode_record, text_or_none

PAGE = 500
"""How many dead letters a server looks at in one call."""


@dataclass(frozen=True, slots=True)
class Found:
    """A dead letter that fits."""

    died_at: int
    seq: int
    partition: int
    destination: str
    record: EventRecord
    body: bytes

    @property
    def place(self) -> tuple[int, int, int, str]:
        """The order of dead letters over all partitions."""
        return self.died_at, self.seq, self.partition, self.destination

    def letter(self) -> DeadLetter:
        """As it is told; brief without its body."""
        record = self.record
        state = record.at(self.destination)
        terms = record.terms[state.term - 1]
        return DeadLetter(
            key=(self.partition, self.seq),
            source=record.source,
            event_id=record.event_id,
            event_name=record.event_name,
            destination=self.destination,
            reason=Reason(str(state.reason)),
            detail=text_or_none(state.detail),
            trace_id=text_or_none(state.trace_id),
            attempts=state.attempts,
            accepted_at=from_us(record.accepted_at),
            died_at=from_us(self.died_at),
            event_time=decode_event(self.body).event_time if self.body else None,
            money=terms.money,
            budget=terms.budget,
            unsure_since=from_us(state.unsure_since) if state.unsure_since else None,
        )


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
    found = await find(link, which, sys.maxsize, destinations, with_bodies=not is_brief)
    fit = [
        each
        for each in found
        if (after is None or each.place > after)
        and which.event_name in {None, each.record.event_name}
        and (which.died_since is None or each.died_at >= to_us(which.died_since))
    ]
    those = fit[:limit]
    place = "-".join(map(str, those[-1].place)) if len(fit) > limit else None
    return DeadPage([each.letter() for each in those], place)


@dataclass(slots=True)
class _Search:
    """How far the dead letters of one destination in one partition were looked through."""

    partition: int
    destination: str
    offset: int = 0
    found: list[Found] = field(default_factory=list)
    is_done: bool = False


async def find(
    link: Link, which: DeadFilter, limit: int, destinations: Collection[str], *, with_bodies: bool
) -> list[Found]:
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
                        with_bodies,
                    )
                ),
            )
            for search in waiting
        ]
        for search, (seen, *rows) in zip(waiting, await link.all(calls), strict=True):
            search.offset += seen
            for seq, died_at, record, body in zip(rows[::4], rows[1::4], rows[2::4], rows[3::4], strict=True):
                kept = decode_record(record)
                search.found.append(
                    Found(int(died_at), int(seq), search.partition, search.destination, kept, body or b"")
                )
            search.is_done = seen < PAGE or len(search.found) >= limit
    found = [each for search in searches for each in search.found]
    found.sort(key=lambda each: each.place)
    return found[:limit]


async def end(link: Link, letters: Sequence[DeadLetter], *, is_replay: bool) -> int:
    """Replay or purge what is still dead; returns how many.

    Raises:
        StoreUnavailable: A server does not answer.
    """
    per_partition: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
    for each in letters:
        partition, seq = each.key
        per_partition[partition].append((seq, each.destination))
    calls = [
        Call("revive", partition, encode((is_replay, items[start : start + PAGE])))
        for partition, items in per_partition.items()
        for start in range(0, len(items), PAGE)
    ]
    return sum(await link.all(calls, durable=True)) if calls else 0
