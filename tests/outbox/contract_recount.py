"""The ledger's self-check: right through all that can happen to a delivery, and able to tell when it is not."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from app.outbox.port import DeadFilter
from app.outbox.recount import Difference, Recount
from tests.factories import plan
from tests.outbox.support import (
    HOUR,
    LEASE,
    Bounded,
    Engine,
    Reopen,
    accept,
    claim,
    dead,
    deliver_all,
    delivered,
    expired,
    purge,
    replay,
    retrying,
    settle,
)

ANY = DeadFilter()


async def fill(store: Engine) -> None:
    """Deliveries in every state, with money of two currencies and none."""
    worths = [("EUR", "0.10"), ("EUR", "19.99"), ("JPY", "12000"), None]
    await store.accept([plan(f"ORD-{number}", money=worths[number % 4]) for number in range(12)])
    batch = await store.claim("meta", 8, HOUR)
    await settle(store, *map(delivered, batch[:2]), *map(dead, batch[2:6]), expired(batch[6]))
    await settle(store, retrying(batch[7], batch[7].accepted_at + HOUR))


class Recounting(Bounded):
    """What `recount` promises."""

    async def test_an_empty_store_is_right(self, store: Engine) -> None:
        assert await store.recount() == Recount(0)

    async def test_it_is_right_whatever_happens(self, store: Engine, reopen: Reopen) -> None:
        await fill(store)
        assert await store.recount() == Recount(12 + 5 + 4)
        assert await replay(store, ANY, 1) == 1
        assert await purge(store, ANY, 2) == 2
        assert await store.recount() == Recount(12 + 6 + 1)
        store = await reopen()
        assert await store.recount() == Recount(12 + 6 + 1)
        await deliver_all(store, "tiktok")
        assert await store.recount() == Recount(6 + 1)

    async def test_what_is_purged_and_forgotten_is_no_difference(self, store: Engine, harness: Any) -> None:
        await accept(store, plan("ORD-1", ("meta",)))
        await settle(store, dead(await claim(store)))
        await purge(store, ANY, 1)
        harness.clock.advance(400 * HOUR)
        while await store.sweep():
            pass
        assert await store.recount() == Recount(0)

    @pytest.mark.parametrize("turns", [1, 2, 5, 20])
    async def test_what_is_broken_off_harms_nothing(self, store: Engine, harness: Any, turns: int) -> None:
        await fill(store)
        harness.clock.advance(400 * HOUR)
        under_way = [asyncio.ensure_future(store.recount()), asyncio.ensure_future(store.sweep())]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in under_way:
            task.cancel()
        await asyncio.wait(under_way)
        while await store.sweep():
            pass
        assert await store.recount() == Recount(12 + 5 + 4)
        await accept(store, plan("ORD-new", ("meta",), accepted_at=harness.clock.now()))
        assert await store.recount() == Recount(12 + 5 + 4 + 1)

    async def test_a_newly_allowed_copy_with_other_money(self, store: Engine) -> None:
        await accept(store, plan("ORD-1", ("meta",), money=("EUR", "10")))
        await accept(store, plan("ORD-1", ("meta", "tiktok"), money=("EUR", "12.5")))
        assert await store.recount() == Recount(2)

    @pytest.mark.parametrize("state", ["pending", "dead"])
    async def test_a_count_that_is_wrong_is_told(self, store: Engine, harness: Any, state: str) -> None:
        await fill(store)
        await harness.miscount("meta", state, "EUR", deliveries=1, units=7)
        found = [(each.destination, each.state, each.currency, each.by) for each in (await store.recount()).differences]
        assert found == [("meta", state, None, Decimal(1)), ("meta", state, "EUR", Decimal(7))]

    async def test_a_delivery_that_vanished_is_told(self, store: Engine, harness: Any) -> None:
        await accept(store, plan("ORD-1", ("tiktok",), money=None))
        await harness.lose("tiktok")
        assert await store.recount() == Recount(0, (Difference("tiktok", "pending", None, Decimal(1), Decimal(0)),))

    async def test_a_lease_is_as_pending_as_anything(self, store: Engine) -> None:
        await accept(store, plan("ORD-1", ("meta",)))
        await store.claim("meta", 1, LEASE)
        assert await store.recount() == Recount(1)
