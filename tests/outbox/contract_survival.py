"""Surviving: nothing accepted is lost by a crash, nothing settled comes back, and size changes nothing."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from functools import partial

import anyio
import anyio.lowlevel
import pytest

from app.errors import Status, StoreUnavailable
from tests.factories import DESTINATIONS, FrozenClock, noise, plan
from tests.outbox.support import (
    DAY,
    HOUR,
    LEASE,
    Bounded,
    Engine,
    Reopen,
    accept,
    claim,
    claim_ids,
    counts,
    dead,
    deliver_all,
    delivered,
    limit,
    money,
    retrying,
    settle,
    together,
)


class Surviving(Bounded):
    """What outlives a restart, and a backlog."""

    @pytest.mark.parametrize("crash", [True, False], ids=["crash", "close"])
    async def test_accepted_is_kept(self, store: Engine, reopen: Reopen, crash: bool) -> None:
        plans = [plan(f"ORD-{number}", money=("EUR", "1.10")) for number in range(20)]
        await together(*[partial(accept, store, each) for each in plans])
        store = await reopen(crash=crash)
        assert await counts(store) == {"queued": 20, "pending": 20}
        assert await money(store) == {"EUR": {"queued": Decimal(22), "pending": Decimal(22)}}
        claimed = {delivery.event_id: delivery.event for delivery in await store.claim("meta", 100, LEASE)}
        assert claimed == {each.id_request.derived: each.event for each in plans}
        assert {answer.status for answer in await store.accept(plans)} == {Status.DUPLICATE}

    @pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13])
    async def test_answered_before_a_crash_is_kept(self, store: Engine, reopen: Reopen, turns: int) -> None:
        answered: set[str] = set()

        async def post(number: int) -> None:
            with suppress(StoreUnavailable):  # it began after the crash
                answered.add((await accept(store, plan(f"ORD-{number}"))).event_id)

        async with anyio.create_task_group() as group:
            for number in range(30):
                group.start_soon(post, number)
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            survivor = await reopen()
            group.cancel_scope.cancel()
        kept = set(await claim_ids(survivor))
        assert answered <= kept
        assert await counts(survivor, "meta") == await counts(survivor, "tiktok")
        assert (await counts(survivor)).get("queued", 0) == len(kept)

    @pytest.mark.parametrize("crash", [True, False], ids=["crash", "close"])
    async def test_settled_stays_settled(self, store: Engine, reopen: Reopen, clock: FrozenClock, crash: bool) -> None:
        await store.accept([plan(f"ORD-{number}", ("meta",)) for number in range(4)])
        first, second, third, _ = await store.claim("meta", 4, LEASE)
        await settle(store, delivered(first), dead(second), retrying(third, clock.now() + HOUR))
        store = await reopen(crash=crash)
        assert await counts(store) == {"queued": 4, "delivered": 1, "dead": 1, "pending": 2}
        clock.advance(2 * HOUR)
        assert len(await claim_ids(store)) == 2

    async def test_restarts_upon_restarts(self, store: Engine, reopen: Reopen, clock: FrozenClock) -> None:
        for number in range(5):
            await accept(store, plan(f"ORD-{number}", ("meta",), accepted_at=clock.now()))
            (oldest, *_) = await store.claim("meta", 1, timedelta(seconds=20))
            if number % 2:
                await settle(store, delivered(oldest))
            store = await reopen(crash=bool(number % 3))
            clock.advance(timedelta(minutes=1))
        assert await counts(store) == {"queued": 5, "delivered": 2, "pending": 3}
        assert len(set(await claim_ids(store))) == 3
        assert await claim_ids(store) == []

    async def test_probe_returns_while_all_is_well(self, store: Engine, reopen: Reopen) -> None:
        await store.probe()
        store = await reopen()
        await store.probe()

    async def test_size_is_told(self, store: Engine) -> None:
        before = store.size_bytes()
        assert before >= 0
        await store.accept([plan(f"ORD-{each}", properties={"note": noise(2000, each)}) for each in range(200)])
        assert store.size_bytes() >= before + 200 * 2000

    async def test_secrets_are_made_once(self, store: Engine, reopen: Reopen) -> None:
        made = await store.keep_secret("pseudonyms", lambda: b"\x00first\xff")
        assert made == b"\x00first\xff"
        assert await store.keep_secret("pseudonyms", lambda: b"second") == made
        assert await store.keep_secret("withdrawals", lambda: b"other") == b"other"
        for crash in (True, False):
            store = await reopen(crash=crash)
            assert await store.keep_secret("pseudonyms", lambda: b"third") == made

    async def test_a_race_for_a_secret_has_one_winner(self, store: Engine) -> None:
        secrets = await together(
            *[partial(store.keep_secret, "pseudonyms", partial(bytes, [number])) for number in range(20)]
        )
        assert len(set(secrets)) == 1

    @limit(60)
    async def test_a_backlog_of_ten_thousand(self, store: Engine, clock: FrozenClock) -> None:
        events, batch = 2500, 500
        for start in range(0, events, batch):
            now = clock.now()
            plans = [plan(f"ORD-{number}", DESTINATIONS, accepted_at=now) for number in range(start, start + batch)]
            await store.accept(plans)
            clock.advance(timedelta(seconds=1))
        for destination in DESTINATIONS:
            assert await counts(store, destination) == {"queued": events, "pending": events}
        for destination in DESTINATIONS:
            seen: list[int] = []
            while claimed := await store.claim(destination, batch, HOUR):
                numbers = [int(delivery.event_id.removeprefix("purchase_ORD-")) for delivery in claimed]
                assert {number // batch for number in numbers} == {len(seen) // batch}, "oldest ready first"
                seen += numbers
                assert await settle(store, *map(delivered, claimed)) == len(claimed)
            assert sorted(seen) == list(range(events))
            assert await counts(store, destination) == {"queued": events, "delivered": events}

    async def test_what_is_due_goes_also_from_behind_what_is_not(self, store: Engine, clock: FrozenClock) -> None:
        for start in range(0, 2500, 500):
            await store.accept([plan(f"ORD-{number}", ("tiktok",)) for number in range(start, start + 500)])
        await accept(store, plan("ORD-last", ("meta",)))
        await deliver_all(store, "meta")
        clock.advance(30 * DAY)
        for _ in range(5):
            await store.sweep()
        assert list(await store.event("purchase_ORD-last")) == []
        assert await counts(store, "tiktok") == {"queued": 2500, "pending": 2500}
        assert await counts(store, "meta") == {"queued": 1, "delivered": 1}

    async def test_a_long_list_claims_and_settles_whole(self, store: Engine) -> None:
        await store.accept([plan(f"ORD-{number}", ("meta",)) for number in range(1000)])
        await deliver_all(store, "meta")
        assert await counts(store) == {"queued": 1000, "delivered": 1000}
        with pytest.raises(AssertionError):
            await claim(store)
