"""Which of the ready deliveries one claim takes: shares for bulk and live, for sources, for the oldest. Pure.

A lane's deliveries wait in queues, one per source, event name and whether they are bulk or held, so that a claim finds
the head of each in an index, whatever waits behind it. The rules, in order:

- an event name that is paused is not taken;
- what is held back (an order not yet paid) is not ready before its time is over, and then goes with the live ones;
- bulk (replays, imports) gets its share of a claim while live events are ready, and all of it when none are;
- sources that have something ready share what is left evenly, and what one cannot use goes to the others;
- within a source the oldest ready instant goes first, or, newest first, the latest, of which a fixed share is still
  the oldest, so that what is old comes too.

A share of a claim too small to hold it (a probe takes one event) is given in turns: every tenth claim of one event may
be bulk where the share is a tenth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from app.event_names import label

BULK_SHARE = Fraction(1, 10)
OLDEST_SHARE = Fraction(1, 4)
"""What of each claim goes to the oldest where the newest go first."""


@dataclass(frozen=True, slots=True, order=True)
class Queue:
    """Where a delivery waits within its lane. `event_name` is a standard name, or `custom` for all others."""

    source: str
    event_name: str
    is_bulk: bool = False
    is_held: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """The queues that share one part of a claim."""

    is_bulk: bool
    source: str


@dataclass(frozen=True, slots=True)
class Choice:
    """How a claim chooses. `paused` are event names as `Queue.event_name` has them; `turn` counts the lane's claims."""

    is_newest_first: bool = False
    bulk_share: Fraction = BULK_SHARE
    paused: frozenset[str] = frozenset()
    turn: int = 0


EVERYTHING = Choice()
"""Oldest first, nothing paused."""


def queue_of(source: str, event_name: str, *, is_bulk: bool, is_held: bool = False) -> Queue:
    """Where a delivery of this event waits. What is held is nothing else: once released it is live."""
    return Queue(source, label(event_name), is_bulk and not is_held, is_held)


def quota(limit: int, share: Fraction, turn: int) -> int:
    """The whole part of `share` of the `turn`-th claim of `limit`, such that over many turns the share is exact."""
    each = limit * share
    return int((turn + 1) * each) - int(turn * each)


def divide(ready: Mapping[Group, int], limit: int, choice: Choice) -> dict[Group, int]:
    """How many deliveries of each group one claim takes; `ready` says how many there are (more than `limit`: `limit`).

    The sum is `limit`, or everything that is ready.
    """
    live = {group: number for group, number in ready.items() if not group.is_bulk}
    bulk = {group: number for group, number in ready.items() if group.is_bulk}
    most_live = sum(live.values())
    of_bulk = min(sum(bulk.values()), max(quota(limit, choice.bulk_share, choice.turn), limit - most_live))
    of_live = min(most_live, limit - of_bulk)
    return _evenly(live, of_live, choice.turn) | _evenly(bulk, of_bulk, choice.turn)


def _evenly(ready: Mapping[Group, int], limit: int, turn: int) -> dict[Group, int]:
    """`limit` shared by the groups, none getting more than it has; what does not divide goes round with the turns."""
    given = dict.fromkeys(ready, 0)
    hungry = sorted(ready)
    start = turn % len(hungry) if hungry else 0
    hungry = hungry[start:] + hungry[:start]
    while limit and hungry:
        each = max(1, limit // len(hungry))
        for group in hungry:
            more = min(each, ready[group] - given[group], limit)
            given[group] += more
            limit -= more
        hungry = [group for group in hungry if given[group] < ready[group]]
    return given


def split_ends(take: int, choice: Choice) -> tuple[int, int]:
    """How many of `take` are the oldest and how many the newest ready ones."""
    if not choice.is_newest_first:
        return take, 0
    oldest = quota(take, OLDEST_SHARE, choice.turn)
    return oldest, take - oldest
