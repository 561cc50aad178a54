"""Pairs of sightings, each in the partition of its event id, with the counts of what became of them beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import msgspec
import orjson

from app.dedup.pairs import CONFLICT, MOST_CONFLICTS, change
from app.dedup.port import TALLIES_KEPT, DuePair, JudgedPair, SideReport
from app.errors import StoreUnavailable
from app.outbox.redis.link import Call, Link, encode
from app.outbox.redis.places import blob, place_of, to_us

SIDE = b"s:"
_whose = msgspec.msgpack.Decoder(tuple[str, str])


class RedisPairs:
    """See `app.dedup.port.PairStore` for what each method promises."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._forgot_on: date | None = None

    async def report(self, reports: Sequence[SideReport], due_at: datetime, until: datetime) -> int:
        """See `PairStore.report`."""
        groups: defaultdict[int, list[Any]] = defaultdict(list)
        for each in reports:
            place = place_of(each.source, each.event_id, self._link.partitions)
            is_conflict = each.side.startswith(CONFLICT)
            groups[place.partition].append(
                (place.field, each.source, each.event_id, each.side, blob(each.body), is_conflict)
            )
        calls = [
            Call("pair_report", partition, encode((to_us(due_at), to_us(until), items, MOST_CONFLICTS)))
            for partition, items in groups.items()
        ]
        return sum(sum(reply) for reply in await self._link.all(calls, durable=True))

    async def sides(self, source: str, event_ids: Collection[str]) -> Mapping[str, Mapping[str, bytes]]:
        """See `PairStore.sides`."""
        wanted = list(event_ids)
        places = [place_of(source, event_id, self._link.partitions) for event_id in wanted]
        asked = [(place.partition, place.field) for place in places]
        found = {}
        for event_id, kept in zip(wanted, await self._link.scatter("pair_sides", asked, list), strict=True):
            if isinstance(kept, StoreUnavailable):
                raise kept
            if kept:
                found[event_id] = _sides(_fields(kept))
        return found

    async def due_pairs(self, limit: int) -> Sequence[DuePair]:
        """See `PairStore.due_pairs`."""
        rows = [row for reply in await self._link.everywhere("pair_due", [limit]) for row in reply]
        rows.sort(key=lambda row: float(row[0]))
        return [_pair(_fields(kept)) for _, _, kept in rows[:limit]]

    async def count_pairs(self, judged: Sequence[JudgedPair]) -> Sequence[bool]:
        """See `PairStore.count_pairs`."""
        asked = []
        for each in judged:
            pair = each.pair
            place = place_of(pair.source, pair.event_id, self._link.partitions)
            steps = [part for step in change(pair.counted, each.counts).items() for part in step]
            asked.append(
                (place.partition, (place.field, pair.version, orjson.dumps(each.counts).decode(), steps)),
            )
        done = []
        for answer in await self._link.scatter("pair_count", asked, list, durable=True) if asked else ():
            if isinstance(answer, StoreUnavailable):
                raise answer
            done.append(answer == 1)
        return done

    async def tallies(self) -> Mapping[str, int]:
        """See `PairStore.tallies`."""
        oldest = (self._link.wall() - TALLIES_KEPT).date().isoformat()
        sums: defaultdict[str, int] = defaultdict(int)
        for reply in await self._link.everywhere("pair_tallies", [oldest]):
            for key, number in zip(reply[::2], reply[1::2], strict=True):
                sums[bytes(key).decode()] += int(number)
        return {key: number for key, number in sums.items() if number}

    async def forget_tallies(self) -> None:
        """Delete the counts of days long past, once a day.

        Raises: StoreUnavailable.
        """
        today = self._link.wall().date()
        if today != self._forgot_on:
            await self.tallies()
            self._forgot_on = today


def _fields(kept: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(kept[::2], kept[1::2], strict=True))


def _sides(fields: Mapping[bytes, bytes]) -> dict[str, bytes]:
    return {name[len(SIDE) :].decode(): body for name, body in fields.items() if name.startswith(SIDE)}


def _pair(fields: Mapping[bytes, bytes]) -> DuePair:
    source, event_id = _whose.decode(fields[b"whose"])
    sides = _sides(fields)
    return DuePair(source, event_id, sides, orjson.loads(fields.get(b"counted", b"{}")), len(sides))
