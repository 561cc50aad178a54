"""Batches that take long, stores that go away in between, and refusals that are about nobody in particular."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.errors import Outcome, Reason, StoreUnavailable
from app.model import Delivered, Delivery, Settlement
from app.withdrawals import Withdrawals
from tests.delivery.support import LEASE, NAME, SECOND, Answer, Setup, adapter, build_each, ids, until
from tests.delivery.test_lane import Flaky
from tests.factories import START, budget, identity

pytestmark = pytest.mark.anyio


async def test_what_is_too_late_by_its_turn_is_not_sent(setup: Setup) -> None:
    """Deep in a batch that takes long, too: the platform could not pair it with the pixel's copy any more."""
    await setup.put(*range(4), budget_of=budget(pair_until=START + 30 * SECOND))

    def slowly(_: list[str]) -> Answer:
        setup.clock.advance(15 * SECOND)
        return {}

    setup.platform.answer = slowly
    async with setup.running(destination=adapter(build_each), lease=3 * LEASE):
        await setup.settled(delivered=2, expired=2)
    assert (await setup.state("purchase_3")).reason is Reason.DEDUP_WINDOW_PASSED


async def test_what_was_never_sent_is_not_unsure_because_the_store_was_away(setup: Setup) -> None:
    setup.outbox = Flaky(setup.store)
    setup.outbox.failing = {"settle"}
    await setup.put(0, 1, budget_of=budget(repeat_for=timedelta(0)))
    async with setup.running(destination=adapter(build_each)):
        await until(lambda: "settle" in setup.outbox.failed)
        setup.outbox.failing = set()
        await setup.settled(delivered=2)
    assert setup.platform.asked == ids(0, 1)


async def test_a_refusal_of_everything_is_not_taken_apart_to_the_last_event(setup: Setup) -> None:
    await setup.put(*range(1000))
    setup.platform.answer = lambda _: httpx.Response(403, text="<html>")
    async with setup.running() as lane:
        await until(lambda: bool(setup.platform.batches) and not lane._batches)
        number = len(setup.platform.batches)
    assert number < 100


async def test_a_store_that_cannot_be_looked_into_is_waited_for(setup: Setup) -> None:
    class Unreadable:
        failed = 0

        def execute(self, *_: Any) -> Any:
            self.failed += 1
            raise sqlite3.OperationalError("disk I/O error")

    peek, broken = setup.store._peek, Unreadable()
    await setup.put(1)
    setup.store._peek = broken  # type: ignore[assignment]
    try:
        async with setup.running():
            await until(lambda: broken.failed >= 2, within_s=2)
            setup.store._peek = peek
            await setup.settled(delivered=1)
    finally:
        setup.store._peek = peek


async def test_what_somebody_else_claimed_while_the_store_was_away_is_not_sent(setup: Setup) -> None:
    """The last look-up before a send may take longer than the lease."""
    away = Flaky(setup.store)
    away.failing = {"memos"}
    setup.withdrawals = Withdrawals(away, b"a secret of the store")
    await setup.put(0, 1, budget_of=budget(repeat_for=timedelta(0)))
    async with setup.running() as lane:
        await until(lambda: bool(away.failed))
        setup.clock.advance(LEASE + SECOND)
        (theirs,) = await setup.store.claim(NAME, 1, LEASE)
        away.failing = set()
        await until(lambda: bool(setup.platform.batches) and not lane._batches)
    assert theirs.event_id not in setup.platform.asked
    assert len(setup.platform.batches) == 1


async def test_a_lease_whose_answer_came_late_is_no_longer_than_it_is(setup: Setup) -> None:
    await setup.put(0, 1)
    extend, stolen = setup.store.extend, list[Delivery]()
    delays = [LEASE / 2 + SECOND]

    async def slowly_extended(deliveries: Sequence[Delivery], lease: timedelta) -> Sequence[Delivery]:
        held = await extend(deliveries, lease)
        setup.clock.advance(delays.pop() if delays else timedelta(0))
        return held

    async def slowly(_: list[str]) -> Answer:
        setup.clock.advance(10 * SECOND)
        stolen.extend(await setup.store.claim(NAME, 2, LEASE))
        return {}

    setup.store.extend = slowly_extended  # type: ignore[method-assign]
    setup.platform.answer = slowly
    async with setup.running(destination=adapter(build_each)):
        await until(lambda: len(setup.platform.batches) == 2)
    assert (stolen, delays) == ([], [])


async def test_what_is_let_go_on_while_its_batch_is_under_way_waits_its_turn_as_well(setup: Setup) -> None:
    """No pixel reported it: its window, which is over, says nothing about when to try again."""
    await setup.put(0, 1, budget_of=budget(pair_until=START + 30 * SECOND))

    def answer(batch: list[str]) -> Answer:
        if batch == ids(1):
            return {"all": "later"}
        setup.clock.advance(35 * SECOND)
        return {}

    setup.platform.answer = answer
    config: dict[str, Any] = {"destination": adapter(build_each), "lease": 3 * LEASE, "watched": frozenset({"shop"})}
    async with setup.running(**config) as lane:
        await until(lambda: len(setup.platform.batches) >= 2 and not lane._batches)
    assert setup.platform.asked == ids(0, 1)
    assert await setup.reclaimed() == {}
    assert set(await setup.reclaimed(after=SECOND)) == {"purchase_1"}


@pytest.mark.parametrize("off", [-1, 1])
async def test_an_adapter_that_miscounts_leaves_the_outcome_unknown(
    setup: Setup, caplog: pytest.LogCaptureFixture, off: int
) -> None:
    await setup.put(0, 1, budget_of=budget(repeat_for=timedelta(0)))
    miscounting = dataclasses.replace(adapter(), read=lambda _, deliveries: [Delivered("x")] * (len(deliveries) + off))
    async with setup.running(destination=miscounting):
        await setup.settled(dead=2)
    assert (await setup.state("purchase_0")).reason is Reason.OUTCOME_UNKNOWN
    assert "delivery.read_failed" in caplog.text


def counted(setup: Setup) -> dict[Outcome, float]:
    """How many deliveries were counted as settled, by outcome."""
    (family,) = (each for each in setup.metrics.registry.collect() if each.name == "convey_deliveries")
    found = [(Outcome(each.labels["outcome"]), each.value) for each in family.samples if each.name.endswith("_total")]
    return {outcome: sum(n for o, n in found if o is outcome) for outcome, value in found if value}


async def test_a_settlement_of_what_somebody_else_has_by_now_is_not_counted(setup: Setup) -> None:
    await setup.put(0, 1)

    async def slowly(_: list[str]) -> Answer:
        setup.clock.advance(LEASE + SECOND)
        await setup.store.claim(NAME, 1, LEASE)
        return {"all": "refused"}

    setup.platform.answer = slowly
    async with setup.running() as lane:
        await until(lambda: bool(setup.platform.batches) and not lane._batches)
        assert counted(setup) == {Outcome.DEAD: 1}


async def test_what_is_too_late_and_withdrawn_is_counted_once(setup: Setup) -> None:
    await setup.put(0, 1, budget_of=budget(pair_until=START + 30 * SECOND))

    async def slowly(_: list[str]) -> Answer:
        setup.clock.advance(35 * SECOND)
        await setup.withdrawals.keep("shop", identity(), (), setup.clock.now())
        return {}

    setup.platform.answer = slowly
    async with setup.running(destination=adapter(build_each), lease=3 * LEASE):
        await setup.settled(delivered=1, expired=1)
    assert counted(setup) == {Outcome.DELIVERED: 1, Outcome.EXPIRED: 1}


async def test_a_settlement_whose_answer_was_lost_is_counted(setup: Setup) -> None:
    settle, lost = setup.store.settle, list[int]()

    async def losing(settlements: Sequence[Settlement]) -> int:
        effective = await settle(settlements)
        if not lost:
            lost.append(effective)
            raise StoreUnavailable("the answer is lost")
        return effective

    setup.store.settle = losing  # type: ignore[method-assign]
    await setup.put(0)
    async with setup.running() as lane:
        await until(lambda: bool(lost) and not lane._batches)
    assert (lost, counted(setup)) == ([1], {Outcome.DELIVERED: 1})
