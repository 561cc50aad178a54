"""Pairs: every side's first report, judged when due, counted once whoever judges."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from app.dedup.pairs import CONFLICT, MOST_CONFLICTS, tally_key
from app.dedup.port import DuePair, JudgedPair, SideReport
from tests.factories import FrozenClock
from tests.outbox.support import DAY, HOUR, SECOND, Bounded, Engine, Reopen, together


def seen(side: str, event_id: str = "purchase_1", body: bytes = b"\x93\xff\x00", source: str = "shop") -> SideReport:
    """One side's report; its body is no valid text."""
    return SideReport(source, event_id, side, body)


async def report(store: Engine, clock: FrozenClock, *reports: SideReport, due_in: timedelta = HOUR) -> int:
    """How many of these were new."""
    return await store.pairs.report(reports, clock.now() + due_in, clock.now() + 7 * DAY)


def counts(verdict: str, day: str = "2026-11-20") -> Mapping[str, int]:
    """What a pair is counted as."""
    return {tally_key(day, "shop", "Purchase", "meta", verdict): 1}


async def judge(store: Engine, verdict: str) -> int:
    """Count whatever is due."""
    judged = [JudgedPair(pair, counts(verdict)) for pair in await store.pairs.due_pairs(100)]
    return sum(await store.pairs.count_pairs(judged))


async def tallied(store: Engine) -> dict[str, int]:
    """The counts by verdict."""
    return {key.rpartition("\t")[2]: number for key, number in (await store.pairs.tallies()).items()}


class Pairing(Bounded):
    """What `PairStore` promises."""

    async def test_the_first_report_of_each_side_is_kept(self, store: Engine, clock: FrozenClock) -> None:
        assert await report(store, clock, seen("server"), seen("meta"), seen("meta", body=b"later")) == 2
        assert (
            await report(store, clock, seen("server", body=b"again"), seen("tiktok"), seen("meta", source="other")) == 2
        )
        body = seen("meta").body
        found = await store.pairs.sides("shop", ["purchase_1", "purchase_2"])
        assert found == {"purchase_1": {"server": body, "meta": body, "tiktok": body}}
        assert set((await store.pairs.sides("other", ["purchase_1"]))["purchase_1"]) == {"meta"}

    async def test_a_pair_is_due_at_its_instant_the_longest_due_first(self, store: Engine, clock: FrozenClock) -> None:
        await report(store, clock, seen("server", "b"), due_in=2 * HOUR)
        await report(store, clock, seen("server", "a"), seen("meta", "a"))
        assert await store.pairs.due_pairs(10) == []
        clock.advance(HOUR)
        (pair,) = await store.pairs.due_pairs(10)
        assert pair == DuePair("shop", "a", {"server": seen("").body, "meta": seen("").body}, {}, 2)
        clock.advance(HOUR)
        assert [pair.event_id for pair in await store.pairs.due_pairs(10)] == ["a", "b"]
        assert [pair.event_id for pair in await store.pairs.due_pairs(1)] == ["a"]

    async def test_a_pair_is_counted_once(self, store: Engine, clock: FrozenClock) -> None:
        await report(store, clock, seen("server"), due_in=SECOND)
        clock.advance(SECOND)
        due = await store.pairs.due_pairs(10)
        done = await together(*[lambda: store.pairs.count_pairs([JudgedPair(due[0], counts("paired"))])] * 5)
        assert sorted(map(tuple, done)) == [(False,)] * 4 + [(True,)]
        assert await tallied(store) == {"paired": 1}
        assert await store.pairs.due_pairs(10) == []

    async def test_a_late_side_has_the_pair_judged_again(self, store: Engine, clock: FrozenClock) -> None:
        await report(store, clock, seen("meta"), due_in=SECOND)
        clock.advance(SECOND)
        assert await judge(store, "browser_only") == 1
        clock.advance(3 * HOUR)
        await report(store, clock, seen("server"))
        (pair,) = await store.pairs.due_pairs(10)
        assert (set(pair.sides), pair.counted) == ({"meta", "server"}, counts("browser_only"))
        assert await judge(store, "paired") == 1
        assert await tallied(store) == {"paired": 1}

    async def test_a_repeated_report_changes_nothing(self, store: Engine, clock: FrozenClock) -> None:
        await report(store, clock, seen("meta"), due_in=SECOND)
        clock.advance(SECOND)
        await judge(store, "browser_only")
        assert await report(store, clock, seen("meta")) == 0
        assert await store.pairs.due_pairs(10) == []

    async def test_a_side_that_joins_while_it_is_judged_is_not_overlooked(
        self, store: Engine, clock: FrozenClock
    ) -> None:
        await report(store, clock, seen("meta"), due_in=SECOND)
        clock.advance(SECOND)
        (stale,) = await store.pairs.due_pairs(10)
        await report(store, clock, seen("server"))
        assert await store.pairs.count_pairs([JudgedPair(stale, counts("browser_only"))]) == [False]
        assert await judge(store, "paired") == 1
        assert await tallied(store) == {"paired": 1}

    async def test_so_many_conflicts_of_an_id_are_kept_and_no_more(self, store: Engine, clock: FrozenClock) -> None:
        conflicts = [seen(f"{CONFLICT}ORD-{number}") for number in range(MOST_CONFLICTS + 20)]
        await report(store, clock, seen("server"), due_in=SECOND)
        assert await report(store, clock, *conflicts[:60]) == 60
        assert await report(store, clock, *conflicts[:70], seen(f"{CONFLICT}ORD-1", "other")) == 10 + 1
        assert await report(store, clock, *conflicts) == MOST_CONFLICTS - 70
        clock.advance(SECOND)
        assert await judge(store, "paired") == 1
        more = [seen(f"{CONFLICT}MORE-{number}") for number in range(20)]
        assert await report(store, clock, *conflicts, *more) == 0
        assert await store.pairs.due_pairs(10) == []
        assert await report(store, clock, *more, seen("meta")) == 1
        (pair,) = await store.pairs.due_pairs(10)
        assert set(pair.sides) == {"server", "meta", *(each.side for each in conflicts[:MOST_CONFLICTS])}
        assert await judge(store, "paired") == 1

    async def test_everything_survives_a_crash(self, store: Engine, clock: FrozenClock, reopen: Reopen) -> None:
        await report(store, clock, seen("server", "a"), seen("server", "b"), due_in=SECOND)
        clock.advance(SECOND)
        due = await store.pairs.due_pairs(1)
        await store.pairs.count_pairs([JudgedPair(due[0], counts("paired"))])
        again = await reopen(crash=True)
        assert len(await again.pairs.due_pairs(10)) == 1
        assert await tallied(again) == {"paired": 1}

    async def test_nothing_is_asked_for_nothing(self, store: Engine) -> None:
        assert await store.pairs.count_pairs([]) == []
        assert await store.pairs.sides("shop", []) == {}
        assert await store.pairs.tallies() == {}
