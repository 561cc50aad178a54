"""Which part of a claim each partition and group gives: what is ready everywhere, looked at once and divided."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import NamedTuple

from app.outbox.redis.link import Call, Link, encode
from app.outbox.shares import Choice, Group, divide, split_ends


class Part(NamedTuple):
    """How many of one group's oldest and newest are claimed in one partition."""

    partition: int
    group: str
    oldest: int
    newest: int

    @property
    def total(self) -> int:
        """How many in all."""
        return self.oldest + self.newest


class Seen(NamedTuple):
    """When what is ready became so, of one group in one partition: from the oldest on, and from the newest on."""

    oldest: list[float]
    newest: list[float]


Found = Mapping[int, Mapping[str, Seen]]
"""What each partition has of each group."""


def only_group(wanted: int, choice: Choice) -> list[Part]:
    """The one part of a claim in the only partition, if there is only one group."""
    return [Part(0, "", *split_ends(wanted, choice))]


async def parts_of(link: Link, destination: str, wanted: int, choice: Choice) -> list[Part]:
    """The parts of a claim of `wanted`; empty when nothing is ready."""
    partitions = range(link.partitions)
    share = min(wanted, -(-wanted // link.partitions) * 2 + 16)
    found = dict(await _look(link, destination, share, choice, partitions))
    parts, short = divided(found, share, wanted, choice)
    if short:
        found |= await _look(link, destination, wanted, choice, short)
        parts, _ = divided(found, wanted, wanted, choice)
    return parts


async def _look(link: Link, destination: str, most: int, choice: Choice, of: Sequence[int]) -> Found:
    payload = encode((destination, most, choice.is_newest_first, sorted(choice.paused)))
    replies = await link.all([Call("ready", partition, payload) for partition in of])
    return {
        partition: {
            group.decode(): Seen([float(each) for each in oldest], [float(each) for each in newest])
            for group, oldest, newest in zip(reply[::3], reply[1::3], reply[2::3], strict=True)
        }
        for partition, reply in zip(of, replies, strict=True)
    }


def divided(found: Found, most: int, wanted: int, choice: Choice) -> tuple[list[Part], list[int]]:
    """The parts of a claim, and the partitions that have to be looked at again: they told `most`, and have more.

    Pure. `found` has up to `most` of each group and partition.
    """
    groups: defaultdict[str, dict[int, Seen]] = defaultdict(dict)
    for partition, each in found.items():
        for group, seen in each.items():
            groups[group][partition] = seen
    counts = {name: sum(len(seen.oldest) for seen in by_partition.values()) for name, by_partition in groups.items()}
    taken = divide({_group(name): min(number, wanted) for name, number in counts.items()}, wanted, choice)
    parts: list[Part] = []
    short: set[int] = set()
    for name, by_partition in groups.items():
        part = taken[_group(name)]
        oldest, newest = (part, 0) if counts[name] <= part else split_ends(part, choice)
        first = _first({partition: seen.oldest for partition, seen in by_partition.items()}, oldest)
        last = _first({partition: [-each for each in seen.newest] for partition, seen in by_partition.items()}, newest)
        for partition, seen in by_partition.items():
            number, latest = first[partition], last[partition]
            # A partition that gave all it was asked for may have more that belongs among those taken.
            is_cut = len(seen.oldest) == most < wanted
            if is_cut and (counts[name] < wanted or most in {number, latest}):
                short.add(partition)
            if number or latest:
                parts.append(Part(partition, name, number, latest))
    return parts, sorted(short)


def _first(scores: Mapping[int, Sequence[float]], most: int) -> Counter[int]:
    """How many of the first `most` lie in each partition."""
    every = merge(*([(score, partition) for score in each] for partition, each in scores.items()))
    return Counter(partition for _, partition in islice(every, most))


def _group(name: str) -> Group:
    kind, _, source = name.partition("\t")
    return Group(kind == "bulk", source)
