"""Leases: who gets a delivery, in which order, for how long, and what is known of a try nobody ended."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from app.outbox.port import Backlog, DeadFilter
from tests.factories import FrozenClock, plan
from tests.outbox.support import (
    HOUR,
    LEASE,
    SECOND,
    Bounded,
    Engine,
    Reopen,
    accept,
    assert_closed,
    claim,
    claim_ids,
    claim_in_turn,
    counts,
    dead,
    delivered,
    released,
    replay,
    retrying,
    settle,
    together,
    waiting,
)


class Claiming(Bounded):
    """What `claim`, `extend` and `wait` promise."""

    voids_leases_on_open = True
    """Whether opening the store ends every lease, as for an engine of one process."""

    async def test_oldest_ready_first(self, store: Engine, clock: FrozenClock) -> None:
        for number in range(5):
            await accept(store, plan(f"ORD-{number}", accepted_at=clock.now()))
            clock.advance(SECOND)
        first = (await store.claim("meta", 1, LEASE))[0]
        assert first.event_id == "purchase_ORD-0"
        await settle(store, retrying(first, clock.now() + SECOND))
        clock.advance(2 * SECOND)
        await accept(store, plan("ORD-9", accepted_at=clock.now()))
        names = ["ORD-1", "ORD-2", "ORD-3", "ORD-4", "ORD-0", "ORD-9"]
        assert await claim_in_turn(store) == [f"purchase_{name}" for name in names]

    async def test_one_claim_is_in_that_order_too(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan("ORD-0"))
        await settle(store, retrying(await claim(store), clock.now() + 2 * SECOND))
        await accept(store, plan("ORD-1", accepted_at=clock.advance(SECOND)))
        await accept(store, plan("ORD-2", accepted_at=clock.advance(2 * SECOND)))
        assert await claim_ids(store) == ["purchase_ORD-1", "purchase_ORD-0", "purchase_ORD-2"]

    async def test_no_more_than_the_limit(self, store: Engine, clock: FrozenClock) -> None:
        for number in range(5):
            await accept(store, plan(f"ORD-{number}", accepted_at=clock.now()))
            clock.advance(SECOND)
        batches = [[delivery.event_id for delivery in await store.claim("meta", 2, LEASE)] for _ in range(4)]
        assert batches == [
            ["purchase_ORD-0", "purchase_ORD-1"],
            ["purchase_ORD-2", "purchase_ORD-3"],
            ["purchase_ORD-4"],
            [],
        ]

    async def test_each_destination_has_its_own_queue(self, store: Engine) -> None:
        await accept(store, plan(destinations=("meta", "tiktok")))
        assert len(await claim_ids(store, "meta")) == 1
        assert len(await claim_ids(store, "tiktok")) == 1
        assert await claim_ids(store, "pinterest") == []

    async def test_a_claim_is_exclusive_until_its_lease_ends(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        delivery = await claim(store)
        assert delivery.claimed_until == clock.now() + LEASE
        assert await claim_ids(store) == []
        clock.advance(LEASE - SECOND)
        assert await claim_ids(store) == []
        assert await counts(store) == {"queued": 1, "pending": 1}

    async def test_concurrent_claims_never_overlap(self, store: Engine) -> None:
        await store.accept([plan(f"ORD-{number}") for number in range(100)])
        batches = await together(*[partial(store.claim, "meta", 15, LEASE) for _ in range(8)])
        claimed = [delivery.event_id for batch in batches for delivery in batch]
        assert len(claimed) == len(set(claimed)) == 100

    async def test_a_lost_lease_is_claimed_again_and_unsure(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        claimed_at = clock.now()
        first = await claim(store)
        clock.advance(LEASE + SECOND)
        second = await claim(store)
        assert (second.attempts, second.unsure_since) == (1, claimed_at)
        assert second.token != first.token
        assert (second.event, second.event_id) == (first.event, first.event_id)
        clock.advance(LEASE + SECOND)
        third = await claim(store)
        assert (third.attempts, third.unsure_since) == (2, claimed_at)
        assert await settle(store, delivered(third)) == 1
        assert await counts(store) == {"queued": 1, "delivered": 1}

    async def test_a_lost_lease_is_ready_since_its_end(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan("ORD-1"))
        await claim(store)
        clock.advance(LEASE - SECOND)
        await accept(store, plan("ORD-2", accepted_at=clock.now()))
        clock.advance(10 * SECOND)
        await accept(store, plan("ORD-3", accepted_at=clock.now()))
        assert await claim_in_turn(store) == ["purchase_ORD-2", "purchase_ORD-1", "purchase_ORD-3"]

    async def test_unsure_stays_through_sure_tries(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        claimed_at = clock.now()
        await claim(store)
        clock.advance(LEASE + SECOND)
        await settle(store, retrying(await claim(store), clock.now()))
        third = await claim(store)
        assert (third.attempts, third.unsure_since) == (2, claimed_at)
        await settle(store, retrying(third, clock.now(), unsure_since=clock.now()))
        fourth = await claim(store)
        assert (fourth.attempts, fourth.unsure_since) == (3, claimed_at)

    async def test_an_ambiguous_try_is_remembered(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        sent_at = clock.advance(SECOND)
        await settle(store, retrying(await claim(store), clock.now() + SECOND, unsure_since=sent_at))
        clock.advance(HOUR)
        second = await claim(store)
        assert (second.attempts, second.unsure_since) == (1, sent_at)
        clock.advance(LEASE + SECOND)
        third = await claim(store)
        assert (third.attempts, third.unsure_since) == (2, sent_at)

    async def test_a_clean_release_leaves_no_trace(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        for _ in range(3):
            delivery = await claim(store)
            assert (delivery.attempts, delivery.unsure_since) == (0, None)
            assert await settle(store, released(delivery, clock.now())) == 1
        assert await waiting(store) == Backlog(1, 0, plan().accepted_at)

    async def test_a_clean_release_keeps_what_was_unsure(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        claimed_at = clock.now()
        await claim(store)
        clock.advance(LEASE + SECOND)
        await settle(store, released(await claim(store), clock.now()))
        third = await claim(store)
        assert (third.attempts, third.unsure_since) == (1, claimed_at)

    @pytest.mark.parametrize("crash", [True, False], ids=["crash", "close"])
    async def test_opening_voids_leases(self, store: Engine, reopen: Reopen, clock: FrozenClock, crash: bool) -> None:
        if not self.voids_leases_on_open:
            pytest.skip("other processes may hold leases on this engine")
        await accept(store, plan())
        claimed_at = clock.now()
        await claim(store, lease=HOUR)
        clock.advance(SECOND)
        store = await reopen(crash=crash)
        assert (await waiting(store)).ready == 1
        delivery = await claim(store)
        assert (delivery.attempts, delivery.unsure_since) == (1, claimed_at)
        assert (delivery.event, delivery.event_id) == (plan().event, "purchase_ORD-1")
        assert await settle(store, delivered(delivery)) == 1
        assert await counts(store) == {"queued": 1, "delivered": 1}

    async def test_opening_leaves_what_was_not_leased(self, store: Engine, reopen: Reopen, clock: FrozenClock) -> None:
        await store.accept([plan("ORD-1", ("meta",)), plan("ORD-2", ("tiktok",)), plan("ORD-3", ("google",))])
        await settle(store, released(await claim(store, "tiktok"), clock.now()))
        retry_at = clock.now() + HOUR
        await settle(store, retrying(await claim(store, "google"), retry_at))
        store = await reopen()
        for name in ("meta", "tiktok"):
            delivery = await claim(store, name)
            assert (delivery.attempts, delivery.unsure_since) == (0, None)
        assert await claim_ids(store, "google") == []
        clock.set(retry_at)
        delivery = await claim(store, "google")
        assert (delivery.attempts, delivery.unsure_since) == (1, None)

    async def test_tokens_of_before_a_restart_are_stale(self, store: Engine, reopen: Reopen) -> None:
        if not self.voids_leases_on_open:
            pytest.skip("other processes may hold leases on this engine")
        await accept(store, plan())
        before = await claim(store)
        store = await reopen()
        delivery = await claim(store)
        assert await settle(store, dead(before)) == 0
        assert await counts(store) == {"queued": 1, "pending": 1}
        assert await settle(store, delivered(delivery)) == 1

    @pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8])
    async def test_a_cancelled_claim_loses_nothing(self, store: Engine, clock: FrozenClock, turns: int) -> None:
        await store.accept([plan(f"ORD-{number}") for number in range(10)])
        async with anyio.create_task_group() as group:
            group.start_soon(store.claim, "meta", 5, LEASE)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        await assert_closed(store)
        clock.advance(LEASE + SECOND)
        assert len(set(await claim_ids(store))) == 10

    # --- extend

    async def test_extend_moves_the_end_of_the_lease(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        delivery = await claim(store)
        clock.advance(LEASE - 5 * SECOND)
        await store.extend([delivery], LEASE)
        clock.advance(LEASE - SECOND)
        assert await claim_ids(store) == []
        assert await settle(store, delivered(delivery)) == 1
        assert await counts(store) == {"queued": 1, "delivered": 1}

    async def test_an_extended_lease_ends_too(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        claimed_at = clock.now()
        delivery = await claim(store)
        clock.advance(5 * SECOND)
        await store.extend([delivery], LEASE)
        clock.advance(LEASE + SECOND)
        again = await claim(store)
        assert (again.attempts, again.unsure_since) == (1, claimed_at)

    async def test_a_stale_extend_changes_nothing(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        stale = await claim(store)
        clock.advance(LEASE + SECOND)
        await claim(store)
        await store.extend([stale], HOUR)
        clock.advance(LEASE + SECOND)
        await claim(store)

    async def test_extend_of_a_settled_delivery_changes_nothing(self, store: Engine, clock: FrozenClock) -> None:
        await store.accept([plan("ORD-1", ("meta",)), plan("ORD-2", ("tiktok",))])
        settled, put_back = await claim(store, "meta"), await claim(store, "tiktok")
        await settle(store, delivered(settled), retrying(put_back, clock.now()))
        await store.extend([settled, put_back], HOUR)
        assert await counts(store) == {"queued": 1, "delivered": 1}
        await claim(store, "tiktok")

    # --- hasten

    async def test_what_is_hastened_is_ready_whatever_it_waited_for(self, store: Engine, clock: FrozenClock) -> None:
        await store.accept([plan(f"ORD-{number}", ("meta", "tiktok")) for number in range(4)])
        held, waits = (await store.claim("meta", 2, HOUR))[:2]
        await settle(store, retrying(waits, clock.now() + HOUR))
        assert (await waiting(store)).ready == 2
        assert await store.hasten("meta", 100) == 2
        assert (await waiting(store)).ready == 4
        assert await store.hasten("meta", 100) == 0
        again = await store.claim("meta", 100, LEASE)
        assert len(again) == 4
        assert await settle(store, dead(held)) == 0, "its lease is over"
        assert len(await store.claim("tiktok", 100, LEASE)) == 4

    async def test_hastening_goes_in_steps(self, store: Engine, clock: FrozenClock) -> None:
        await store.accept([plan(f"ORD-{number}", ("meta",)) for number in range(40)])
        await store.claim("meta", 100, HOUR)
        done: list[int] = []
        while done[-1:] != [0]:
            done.append(await store.hasten("meta", 10))
        assert sum(done) == 40
        assert max(done) <= 10
        assert len(await store.claim("meta", 100, LEASE)) == 40

    # --- wait

    async def test_wait_ends_when_something_is_accepted(self, store: Engine) -> None:
        async with anyio.create_task_group() as group:
            for name in ("meta", "tiktok"):
                group.start_soon(store.wait, name, HOUR)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            await accept(store, plan())
        await claim(store)

    async def test_wait_sees_what_came_before_it(self, store: Engine) -> None:
        assert await claim_ids(store) == []
        await accept(store, plan())
        await store.wait("meta", HOUR)
        await claim(store)

    async def test_wait_ends_when_a_dead_letter_is_replayed(self, store: Engine) -> None:
        await accept(store, plan())
        await settle(store, dead(await claim(store)))
        async with anyio.create_task_group() as group:
            group.start_soon(store.wait, "meta", HOUR)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            await replay(store, DeadFilter(), 10)
        await claim(store)

    async def test_wait_ends_in_time(self, store: Engine) -> None:
        await store.wait("meta", timedelta(milliseconds=30))
        await accept(store, plan())
        await claim(store)
        await store.wait("meta", timedelta(milliseconds=30))
        await store.wait("pinterest", timedelta(milliseconds=30))

    async def test_wait_may_be_cancelled(self, store: Engine) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(store.wait, "meta", HOUR)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        await accept(store, plan())
        await claim(store)
