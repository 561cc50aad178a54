"""Which of the ready deliveries a claim takes: shares of sources and bulk, newest first, paused names."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from app.outbox.port import DeadFilter
from app.outbox.shares import Choice
from tests.factories import FrozenClock, plan
from tests.outbox.support import (
    HOUR,
    LEASE,
    SECOND,
    Bounded,
    Engine,
    Reopen,
    accept,
    claim,
    dead,
    kill,
    replay,
    retrying,
    settle,
)

NEWEST = Choice(is_newest_first=True)


async def fill(
    store: Engine, number: int, source: str = "shop", *, is_bulk: bool = False, name: str = "Purchase"
) -> None:
    """Queue so many events."""
    kind = "bulk" if is_bulk else "live"
    plans = [
        plan(f"{source}-{name}-{kind}-{position}", ("meta",), source=source, event_name=name)
        for position in range(number)
    ]
    await store.accept([replace(each, is_bulk=is_bulk) for each in plans])


async def taken(store: Engine, limit: int, choice: Choice | None = None) -> Counter[tuple[str, str]]:
    """How many of each source and kind one claim takes."""
    claimed = await store.claim("meta", limit, LEASE, choice or Choice())
    return Counter(
        (each.event.source, "bulk" if "-bulk-" in (each.event.transaction_id or "") else "live") for each in claimed
    )


def order(claimed: Sequence[object]) -> list[str]:
    """The transactions, in the order of the claim."""
    return [str(each.event.transaction_id) for each in claimed]  # type: ignore[attr-defined]


class Choosing(Bounded):
    """What `claim` promises of its `choice`."""

    async def test_a_small_source_is_not_starved_by_a_large_one(self, store: Engine, clock: FrozenClock) -> None:
        await fill(store, 400, "shop")
        clock.advance(SECOND)
        await fill(store, 30, "app")
        assert await taken(store, 40) == {("shop", "live"): 20, ("app", "live"): 20}
        assert await taken(store, 40) == {("shop", "live"): 30, ("app", "live"): 10}
        assert await taken(store, 40) == {("shop", "live"): 40}

    async def test_names_of_one_source_go_by_age(self, store: Engine, clock: FrozenClock) -> None:
        for position, name in enumerate(("Lead", "Purchase", "SpinTheWheel", "Lead", "PageView")):
            await accept(store, plan(f"ORD-{position}", ("meta",), event_name=name, accepted_at=clock.now()))
            clock.advance(SECOND)
        assert order(await store.claim("meta", 3, LEASE)) == ["ORD-0", "ORD-1", "ORD-2"]
        assert order(await store.claim("meta", 3, LEASE)) == ["ORD-3", "ORD-4"]

    async def test_bulk_has_its_share_and_no_more(self, store: Engine) -> None:
        await fill(store, 300, is_bulk=True)
        await fill(store, 150)
        assert await taken(store, 100) == {("shop", "live"): 90, ("shop", "bulk"): 10}
        assert await taken(store, 100) == {("shop", "live"): 60, ("shop", "bulk"): 40}
        assert await taken(store, 100) == {("shop", "bulk"): 100}

    async def test_bulk_comes_even_one_at_a_time(self, store: Engine) -> None:
        await fill(store, 5, is_bulk=True)
        await fill(store, 40)
        kinds: Counter[tuple[str, str]] = Counter()
        for turn in range(20):
            kinds += await taken(store, 1, Choice(turn=turn))
        assert kinds == {("shop", "live"): 18, ("shop", "bulk"): 2}

    async def test_a_replay_is_bulk(self, store: Engine) -> None:
        await kill(store, plan("shop-bulk-1", ("meta",)))
        await replay(store, DeadFilter(), 10)
        await fill(store, 9)
        assert await taken(store, 9) == {("shop", "live"): 9}
        assert await taken(store, 9) == {("shop", "bulk"): 1}

    async def test_a_replay_that_dies_again_stays_bulk(self, store: Engine, reopen: Reopen) -> None:
        await kill(store, plan("shop-bulk-1", ("meta",)))
        for _ in range(2):
            await replay(store, DeadFilter(), 10)
            await settle(store, dead(await claim(store)))
        await replay(store, DeadFilter(), 10)
        store = await reopen(crash=False)
        await fill(store, 9)
        assert await taken(store, 9) == {("shop", "live"): 9}
        assert await taken(store, 9) == {("shop", "bulk"): 1}

    async def test_what_is_tried_again_stays_where_it_was(self, store: Engine, clock: FrozenClock) -> None:
        await fill(store, 1, is_bulk=True)
        await settle(store, retrying(await claim(store), clock.now()))
        await fill(store, 9)
        assert await taken(store, 9) == {("shop", "live"): 9}
        assert await taken(store, 9) == {("shop", "bulk"): 1}

    async def test_the_newest_first_and_a_share_of_the_oldest(self, store: Engine, clock: FrozenClock) -> None:
        for number in range(20):
            await accept(store, plan(f"ORD-{number}", ("meta",), accepted_at=clock.now()))
            clock.advance(SECOND)
        first = order(await store.claim("meta", 8, LEASE, NEWEST))
        assert sorted(first) == sorted(["ORD-0", "ORD-1", *(f"ORD-{number}" for number in range(14, 20))])
        left = order(await store.claim("meta", 100, LEASE, NEWEST))
        assert sorted(left) == sorted(f"ORD-{number}" for number in range(2, 14))

    async def test_the_newest_are_of_each_source_their_own(self, store: Engine, clock: FrozenClock) -> None:
        for number in range(10):
            for source in ("shop", "app"):
                await accept(store, plan(f"{source}-{number}", ("meta",), source=source, accepted_at=clock.now()))
            clock.advance(SECOND)
        claimed = order(await store.claim("meta", 8, LEASE, NEWEST))
        assert sorted(claimed) == sorted(f"{source}-{number}" for source in ("shop", "app") for number in (0, 7, 8, 9))

    async def test_paused_names_are_left_and_lost_to_nobody(self, store: Engine, clock: FrozenClock) -> None:
        names = {"ORD-0": "PageView", "ORD-1": "Purchase", "ORD-2": "SpinTheWheel", "ORD-3": "Dance", "ORD-4": "Lead"}
        for transaction, name in names.items():
            await accept(store, plan(transaction, ("meta",), event_name=name, accepted_at=clock.now()))
            clock.advance(SECOND)
        paused = Choice(paused=frozenset({"PageView", "custom"}))
        assert order(await store.claim("meta", 10, LEASE, paused)) == ["ORD-1", "ORD-4"]
        assert order(await store.claim("meta", 10, LEASE, paused)) == []
        assert (await store.backlog())["meta"].ready == 3
        await store.wait("meta", timedelta(milliseconds=30), paused.paused)
        await store.wait("meta", HOUR)
        assert order(await store.claim("meta", 10, LEASE)) == ["ORD-0", "ORD-2", "ORD-3"]

    async def test_paused_names_end_no_wait(self, store: Engine) -> None:
        await accept(store, plan("ORD-1", ("meta",), event_name="PageView"))
        waited = timedelta(milliseconds=40)
        before = time.monotonic()
        await store.wait("meta", waited, frozenset({"PageView"}))
        assert time.monotonic() - before >= waited.total_seconds() * 0.9
