"""Dead letters over all partitions: found oldest first, replayed, purged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from app.errors import Outcome, Reason
from app.model import HashedEvent
from app.outbox.port import DeadFilter, DeadLetter, DeadPage
from app.outbox.redis.link import Call, Link, encode
from app.outbox.redis.places import from_us, to_us
from app.outbox.redis.plans import queue_text
from app.outbox.redis.records import STATES, Body, End, Lead, Story, sealed_in, story_of
from app.outbox.redis.squeeze import unsqueeze
from app.outbox.shares import queue_of
from app.outbox.vault import Vault

LOOK_AT = 500
"""How many dead letters one call reads, whether they fit or not."""
STEP = 500
"""How many one call of a script ends."""

Place = tuple[int, int, int, str]
"""Instant, number, partition, destination: the order of dead letters over all partitions."""


@dataclass(frozen=True, slots=True)
class Found:
    """A dead letter that fits."""

    died_at: int
    partition: int
    destination: str
    story: Story

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.died_at, self.story.seq, self.partition, self.destination

    @property
    def body(self) -> Body:
        """What is kept of its event."""
        assert self.story.body is not None
        return self.story.body

    def letter(self, event: HashedEvent | None) -> DeadLetter:
        """As it is told, with what its event says where that was read."""
        head, end, body = self.story.head, self.story.ends[self.destination], self.body
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
            event_time=None if event is None else event.event_time,
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


def parse_place(after: str) -> Place:
    """The place that `after` spells.

    Raises: ValueError.
    """
    died_at, seq, partition, destination = after.split("-", 3)
    numbers = int(died_at), int(seq), int(partition)
    if not all(0 <= number < 2**53 for number in numbers):
        raise ValueError("no place of a dead letter")
    return *numbers, destination


async def page(
    link: Link,
    which: DeadFilter,
    limit: int,
    after: Place | None,
    destinations: Collection[str],
    vault: Vault,
    *,
    is_brief: bool,
) -> DeadPage:
    """See `Outbox.dead_letters`: reads no more than `LOOK_AT` letters.

    Raises:
        StoreUnavailable: A server does not answer.
    """
    names = sorted(destinations) if which.destination is None else [which.destination]
    places, is_last = await _next(link, which, after, names)
    found = await _read(link, places)
    fit = [each for each in found if _fits(each, which)]
    if is_brief:
        letters = [each.letter(None) for each in fit[:limit]]
    else:
        await vault.get_to_know(sealed_in(each.body.raw for each in fit[:limit]))
        letters = [each.letter(vault.readable(each.body.basket, unsqueeze)) for each in fit[:limit]]
    if len(fit) > limit:
        return DeadPage(letters, _spell(fit[limit - 1].place))
    return DeadPage(letters, None if is_last or not places else _spell(places[-1]))


def _spell(place: Place) -> str:
    return "-".join(map(str, place))


async def _next(
    link: Link, which: DeadFilter, after: Place | None, names: Sequence[str]
) -> tuple[Sequence[Place], bool]:
    """The places of the oldest letters after `after`, up to `LOOK_AT`, and whether there are no more."""
    parts = [(partition, name) for name in names for partition in range(link.partitions)]
    most = max(4, 2 * LOOK_AT // max(1, len(parts)))
    since = "" if which.died_since is None else str(to_us(which.died_since))
    before = "" if which.died_before is None else str(to_us(which.died_before))
    died_at, number = ("", 0) if after is None else (str(after[0]), after[1])
    calls = [
        Call(
            "dead",
            partition,
            # Of two letters with one instant and number the partition and the destination decide which is first.
            encode((name, since, before, died_at, number, after is not None and (partition, name) > after[2:], most)),
        )
        for partition, name in parts
    ]
    places: list[Place] = []
    horizon: Place | None = None
    for (partition, name), (has_more, *rows) in zip(parts, await link.all(calls), strict=True):
        own = [(int(at), int(seq), partition, name) for at, seq in zip(rows[::2], rows[1::2], strict=True)]
        places += own
        if has_more and own and (horizon is None or own[-1] < horizon):
            horizon = own[-1]
    places = sorted(place for place in places if horizon is None or place <= horizon)
    return places[:LOOK_AT], horizon is None and len(places) <= LOOK_AT


async def _read(link: Link, places: Sequence[Place]) -> list[Found]:
    """The letters at these places, in order, without those that have gone meanwhile."""
    per_partition: defaultdict[int, list[str]] = defaultdict(list)
    for _, seq, partition, _ in places:
        per_partition[partition].append(str(seq))
    calls = [Call("letters", partition, encode(seqs)) for partition, seqs in per_partition.items()]
    kept: dict[tuple[int, int], Story] = {}
    for (partition, seqs), told in zip(per_partition.items(), await link.all(calls) if calls else (), strict=True):
        for number, event, body in zip(seqs, told[::2], told[1::2], strict=True):
            if event and body:
                kept[partition, int(number)] = story_of((number.encode(), event, body, (), ()))
    found = [
        Found(died_at, partition, name, kept[partition, seq])
        for died_at, seq, partition, name in places
        if (partition, seq) in kept
    ]
    return [each for each in found if _is_dead(each.story.ends.get(each.destination))]


def _is_dead(end: End | None) -> bool:
    return end is not None and end.state == STATES[Outcome.DEAD]


def _fits(each: Found, which: DeadFilter) -> bool:
    head, why = each.story.head, each.story.ends[each.destination].why
    return (
        which.reason in {None, why.reason}
        and which.event_id in {None, head.event_id}
        and which.source in {None, head.source}
        and which.event_name in {None, head.event_name}
    )


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
        Call("revive", partition, encode((is_replay, items[start : start + STEP])))
        for partition, items in per_partition.items()
        for start in range(0, len(items), STEP)
    ]
    return sum(await link.all(calls, durable=True)) if calls else 0
