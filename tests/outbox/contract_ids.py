"""Ids: which one an event gets, how long it is remembered, and that every caller gets the same."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from app.dedup.port import IdKey
from app.errors import Status
from tests.factories import DEDUP_WINDOW, FrozenClock, plan
from tests.outbox.support import (
    DAY,
    HOUR,
    SECOND,
    Bounded,
    Engine,
    Reopen,
    accept,
    claim,
    counts,
    dead,
    deliver_all,
    retrying,
    settle,
    together,
)

KEY = IdKey("shop", "Purchase", "ORD-1")


class Identifying(Bounded):
    """What the id registry promises, alone and within `accept`."""

    async def test_the_caller_s_id_wins(self, store: Engine) -> None:
        assert (await accept(store, plan(asked="evt-1"))).event_id == "evt-1"

    async def test_else_the_minted_one(self, store: Engine, clock: FrozenClock) -> None:
        await store.mint(KEY, "evt-minted", clock.now() + DEDUP_WINDOW)
        answer = await accept(store, plan())
        assert (answer.event_id, answer.status) == ("evt-minted", Status.ACCEPTED)
        assert (await claim(store)).event_id == "evt-minted"

    async def test_else_the_derived_one(self, store: Engine) -> None:
        assert (await accept(store, plan())).event_id == "purchase_ORD-1"

    async def test_asking_for_the_minted_id_is_no_conflict(self, store: Engine, clock: FrozenClock) -> None:
        await store.mint(KEY, "evt-minted", clock.now() + DEDUP_WINDOW)
        answer = await accept(store, plan(asked="evt-minted"))
        assert (answer.event_id, answer.status) == ("evt-minted", Status.ACCEPTED)

    async def test_an_id_other_than_the_minted_one_is_a_conflict(self, store: Engine, clock: FrozenClock) -> None:
        await store.mint(KEY, "evt-minted", clock.now() + DEDUP_WINDOW)
        answer = await accept(store, plan(asked="evt-other"))
        assert (answer.event_id, answer.status, dict(answer.destinations)) == ("evt-other", Status.CONFLICT, {})
        assert (await accept(store, plan())).event_id == "evt-minted"

    async def test_the_minted_id_of_another_transaction_is_a_conflict(self, store: Engine, clock: FrozenClock) -> None:
        await store.mint(KEY, "evt-minted", clock.now() + DEDUP_WINDOW)
        answer = await accept(store, plan("ORD-2", asked="evt-minted"))
        assert (answer.event_id, answer.status, dict(answer.destinations)) == ("evt-minted", Status.CONFLICT, {})

    async def test_a_duplicate_without_an_id_finds_the_one_asked_for(self, store: Engine) -> None:
        await accept(store, plan(asked="evt-1"))
        again = await accept(store, plan())
        assert (again.event_id, again.status) == ("evt-1", Status.DUPLICATE)

    async def test_mint_after_accept_gives_the_accepted_id(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan(asked="evt-1"))
        minted = await store.mint(KEY, "evt-page", clock.now() + DEDUP_WINDOW)
        assert (minted.event_id, minted.is_new) == ("evt-1", False)

    async def test_mint_says_whether_it_is_new(self, store: Engine, clock: FrozenClock) -> None:
        until = clock.now() + DEDUP_WINDOW
        first = await store.mint(KEY, "evt-1", until)
        again = await store.mint(KEY, "evt-2", until)
        assert (first.event_id, first.is_new, first.remember_until) == ("evt-1", True, until)
        assert (again.event_id, again.is_new) == ("evt-1", False)

    async def test_a_race_of_mints_has_one_winner(self, store: Engine, clock: FrozenClock) -> None:
        until = clock.now() + DEDUP_WINDOW
        minted = await together(*[partial(store.mint, KEY, f"evt-{number}", until) for number in range(50)])
        assert len({each.event_id for each in minted}) == 1
        assert sum(each.is_new for each in minted) == 1

    async def test_a_race_of_mint_and_accept_has_one_id(self, store: Engine, clock: FrozenClock) -> None:
        until = clock.now() + DEDUP_WINDOW
        minted, accepted = await together(partial(store.mint, KEY, "evt-page", until), partial(accept, store, plan()))
        assert minted.event_id == accepted.event_id
        assert accepted.status is Status.ACCEPTED

    async def test_read_knows_minted_and_accepted_ids(self, store: Engine, clock: FrozenClock) -> None:
        assert await store.read(KEY) is None
        await store.mint(KEY, "evt-1", clock.now() + DEDUP_WINDOW)
        known = await store.read(KEY)
        assert known is not None
        assert (known.event_id, known.is_new) == ("evt-1", False)
        await accept(store, plan("ORD-2"))
        accepted = await store.read(IdKey("shop", "Purchase", "ORD-2"))
        assert accepted is not None
        assert accepted.event_id == "purchase_ORD-2"

    async def test_every_part_of_the_key_counts(self, store: Engine, clock: FrozenClock) -> None:
        until = clock.now() + DEDUP_WINDOW
        keys = [
            KEY,
            IdKey("app", "Purchase", "ORD-1"),
            IdKey("shop", "Lead", "ORD-1"),
            IdKey("shop", "Purchase", "ORD-2"),
            IdKey("shop", "Purchase", "ORD-1", "INV-1"),
            IdKey("shop", "Purchase", "ORD-1", "INV-2"),
            IdKey("shop", "Purchase", "ORD-1INV-1"),
        ]
        for number, key in enumerate(keys):
            assert (await store.mint(key, f"evt-{number}", until)).is_new
        assert [(await store.read(key)).event_id for key in keys] == [  # type: ignore[union-attr]
            f"evt-{number}" for number in range(len(keys))
        ]

    async def test_ids_outlive_a_restart(self, store: Engine, reopen: Reopen, clock: FrozenClock) -> None:
        await store.mint(KEY, "evt-minted", clock.now() + DEDUP_WINDOW)
        await accept(store, plan("ORD-2", asked="evt-2"))
        for crash in (True, False):
            store = await reopen(crash=crash)
            known = await store.read(KEY)
            assert known is not None
            assert known.event_id == "evt-minted"
            assert (await accept(store, plan("ORD-2"))).status is Status.DUPLICATE
        assert await counts(store) == {"queued": 1, "pending": 1}

    # --- forgetting

    async def test_ids_are_remembered_for_their_window(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        await deliver_all(store, "meta", "tiktok")
        clock.advance(DEDUP_WINDOW - SECOND)
        await store.sweep()
        assert (await accept(store, plan(accepted_at=clock.now()))).status is Status.DUPLICATE

    async def test_ids_past_their_window_are_forgotten(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        await deliver_all(store, "meta", "tiktok")
        assert await store.sweep() == 0
        clock.advance(DEDUP_WINDOW + SECOND)
        await store.sweep()
        assert await store.read(KEY) is None
        again = await accept(store, plan(accepted_at=clock.now()))
        assert again.status is Status.ACCEPTED
        assert await counts(store) == {"queued": 2, "delivered": 1, "pending": 1}
        states = await store.event("purchase_ORD-1")
        assert [state.accepted_at for state in states] == [clock.now(), plan().accepted_at]

    async def test_minted_ids_are_forgotten_too(self, store: Engine, clock: FrozenClock) -> None:
        await store.mint(KEY, "evt-1", clock.now() + DEDUP_WINDOW)
        clock.advance(DEDUP_WINDOW - SECOND)
        await store.sweep()
        assert await store.read(KEY) is not None
        clock.advance(2 * SECOND)
        await store.sweep()
        assert await store.read(KEY) is None
        assert (await store.mint(KEY, "evt-2", clock.now() + DEDUP_WINDOW)).is_new

    async def test_ids_are_remembered_while_a_delivery_is_pending(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        await deliver_all(store, "meta")
        retry_at = clock.now() + 10 * DAY
        await settle(store, retrying(await claim(store, "tiktok"), retry_at))
        clock.advance(5 * DAY)
        await store.sweep()
        again = await accept(store, plan(accepted_at=clock.now()))
        assert again.status is Status.DUPLICATE
        clock.set(retry_at)
        await store.sweep()
        assert (await accept(store, plan(accepted_at=clock.now()))).status is Status.DUPLICATE
        await settle(store, dead(await claim(store, "tiktok")))
        await store.sweep()
        assert (await accept(store, plan(accepted_at=clock.now()))).status is Status.ACCEPTED
        assert await counts(store) == {"queued": 2, "delivered": 1, "pending": 1}

    async def test_an_id_outlives_the_journal(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan(remember_for=30 * DAY))
        await deliver_all(store, "meta", "tiktok")
        clock.advance(10 * DAY)
        await store.sweep()
        again = await accept(store, plan(accepted_at=clock.now()))
        assert (again.event_id, again.status) == ("purchase_ORD-1", Status.DUPLICATE)
        assert await counts(store) == {"queued": 1, "delivered": 1}

    async def test_a_forgotten_id_is_free_for_another_transaction(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan(asked="evt-1"))
        await deliver_all(store, "meta", "tiktok")
        clock.advance(DEDUP_WINDOW + timedelta(minutes=1))
        await store.sweep()
        assert (await accept(store, plan("ORD-2", asked="evt-1", accepted_at=clock.now()))).status is Status.ACCEPTED
        assert (await accept(store, plan(asked="evt-2", accepted_at=clock.now()))).status is Status.ACCEPTED

    async def test_forgetting_takes_only_what_is_due(self, store: Engine, clock: FrozenClock) -> None:
        await store.accept([plan("ORD-1", remember_for=HOUR), plan("ORD-2", remember_for=DAY)])
        await deliver_all(store, "meta", "tiktok")
        clock.advance(2 * HOUR)
        await store.sweep()
        now = clock.now()
        answers = await store.accept([plan("ORD-1", accepted_at=now), plan("ORD-2", accepted_at=now)])
        assert [answer.status for answer in answers] == [Status.ACCEPTED, Status.DUPLICATE]
