"""Holding back: what is held waits in nobody's way, until it is released, cancelled or too old."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.errors import Outcome, Reason, Status
from app.model import Plan
from app.outbox.port import Touched
from app.outbox.shares import Choice
from tests.factories import DESTINATIONS, START, FrozenClock, budget, plan
from tests.outbox.contract_persons import MARKS, find, order
from tests.outbox.support import (
    DAY,
    HOUR,
    LEASE,
    SECOND,
    BodyCount,
    Bounded,
    Engine,
    Reopen,
    accept,
    claim,
    claim_ids,
    counts,
    delivered,
    expired,
    key_of,
    money,
    settle,
    together,
    waiting,
)

UNTIL = START + 2 * DAY
MANY = 60
"""So many that some lie in the same partition as a given one."""


def later(destination: str, accepted_at: datetime) -> list[Plan]:
    """Many that came later and that nobody holds back."""
    return [plan(f"LATER-{number}", (destination,), accepted_at=accepted_at) for number in range(MANY)]


class Holding(Bounded):
    """What `PlannedDelivery.held_until` and `release` promise."""

    async def test_what_is_held_is_pending_and_claimed_by_nobody(self, store: Engine, clock: FrozenClock) -> None:
        accepted = await accept(store, plan(held_until=UNTIL))
        assert accepted.status is Status.ACCEPTED
        assert accepted.destinations["meta"].held_until == UNTIL
        for passed in (timedelta(0), HOUR, DAY, 22 * HOUR):
            clock.advance(passed)
            assert await claim_ids(store) == []
        assert await counts(store) == {"queued": 1, "pending": 1}
        assert (await money(store))["USD"].keys() == {"queued", "pending"}
        (told,) = await store.event("purchase_ORD-1")
        assert told.destinations["meta"].outcome is Outcome.QUEUED
        assert told.destinations["meta"].held_until == UNTIL

    async def test_release_makes_it_a_live_one(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan(held_until=UNTIL))
        clock.advance(DAY)
        assert await store.release([await key_of(store)]) == [Touched(frozenset({"meta", "tiktok"}))]
        (told,) = await store.event("purchase_ORD-1")
        assert told.destinations["meta"].held_until is None
        delivery = await claim(store)
        assert not delivery.is_held
        assert (delivery.attempts, delivery.unsure_since, delivery.accepted_at) == (0, None, START)
        assert await settle(store, delivered(delivery)) == 1
        assert await counts(store) == {"queued": 1, "delivered": 1}
        assert await counts(store, "tiktok") == {"queued": 1, "pending": 1}

    async def test_a_second_release_changes_nothing(self, store: Engine) -> None:
        await accept(store, plan(held_until=UNTIL))
        key = await key_of(store)
        await store.release([key])
        delivery = await claim(store)
        assert await store.release([key, key]) == [Touched(), Touched()]
        assert await settle(store, delivered(delivery)) == 1, "its lease is its own"
        assert await claim_ids(store) == []

    async def test_racing_releases_release_once(self, store: Engine) -> None:
        await accept(store, plan(destinations=("meta",), held_until=UNTIL))
        key = await key_of(store)
        told = await together(*(lambda: store.release([key]),) * 8)
        assert sum(len(each.changed) for (each,) in told) == 1
        await claim(store)
        assert await claim_ids(store) == []

    async def test_an_event_that_is_not_held_is_not_hastened_by_a_release(
        self, store: Engine, clock: FrozenClock
    ) -> None:
        await accept(store, plan())
        await claim(store)
        assert await store.release([await key_of(store)]) == [Touched()]
        assert await claim_ids(store) == []
        clock.advance(LEASE + SECOND)
        await claim(store)

    async def test_a_release_wakes_the_lane(self, store: Engine) -> None:
        await accept(store, plan(destinations=("meta",), held_until=UNTIL))
        key = await key_of(store)
        assert await claim_ids(store) == []
        results = await together(lambda: store.wait("meta", HOUR), lambda: store.release([key]))
        assert results[0] is None
        await claim(store)

    async def test_when_its_time_is_over_it_comes_marked_as_held(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan(destinations=("meta",), held_until=UNTIL))
        clock.set(UNTIL)
        delivery = await claim(store)
        assert delivery.is_held
        assert await settle(store, expired(delivery)) == 1
        assert await counts(store) == {"queued": 1, "expired": 1}
        assert await store.release([await key_of(store)]) == [Touched()]

    async def test_what_is_claimed_at_its_end_is_not_released(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan(destinations=("meta",), held_until=UNTIL))
        clock.set(UNTIL)
        delivery = await claim(store)
        assert await store.release([await key_of(store)]) == [Touched(in_flight=frozenset({"meta"}))]
        assert await settle(store, expired(delivery)) == 1

    async def test_each_destination_is_held_for_its_own_time(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan("ORD-1", ("meta",), held_until=UNTIL))
        await accept(store, plan("ORD-2", ("meta",), held_until=START + HOUR))
        clock.advance(HOUR)
        assert await claim_ids(store) == ["purchase_ORD-2"]

    async def test_it_stands_in_no_measure_of_lateness(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan("ORD-1", ("meta",), held_until=UNTIL))
        clock.advance(HOUR)
        held = await waiting(store)
        assert (held.ready, held.later, held.oldest_accepted_at, held.held) == (0, 0, None, 1)
        await accept(store, plan("ORD-2", ("meta",), accepted_at=clock.now()))
        both = await waiting(store)
        assert (both.ready, both.later, both.oldest_accepted_at, both.held) == (1, 0, clock.now(), 1)
        await claim(store)
        both = await waiting(store)
        assert (both.ready, both.later, both.oldest_accepted_at, both.held) == (0, 1, clock.now(), 1)

    async def test_once_released_it_is_as_old_as_it_is(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan("ORD-1", ("meta",), held_until=UNTIL))
        clock.advance(HOUR)
        await store.accept(later("meta", clock.now()))
        assert (await waiting(store)).oldest_accepted_at == clock.now()
        clock.advance(SECOND)
        await store.release([await key_of(store)])
        told = await waiting(store)
        assert (told.ready, told.oldest_accepted_at, told.held) == (MANY + 1, START, 0)

    async def test_it_counts_for_the_room_it_takes(self, store: Engine) -> None:
        await accept(store, plan(destinations=("meta",), held_until=UNTIL))
        await store.ledger()
        assert store.waiting()["meta"].deliveries == 1

    async def test_a_repeat_changes_nothing_held_or_not(self, store: Engine) -> None:
        await accept(store, plan(destinations=("meta",), held_until=UNTIL))
        for repeat in (plan(destinations=("meta",)), plan(destinations=("meta",), held_until=UNTIL + DAY)):
            again = await accept(store, repeat)
            assert again.status is Status.DUPLICATE
            assert again.destinations["meta"].held_until == UNTIL
        assert await claim_ids(store) == []

    async def test_a_repeat_may_queue_it_elsewhere(self, store: Engine) -> None:
        await accept(store, plan(destinations=("meta",), held_until=UNTIL))
        more = await accept(store, plan(destinations=("meta", "tiktok")))
        assert more.status is Status.ACCEPTED
        assert more.destinations["meta"].held_until == UNTIL
        assert more.destinations["tiktok"].held_until is None
        assert await claim_ids(store) == []
        await claim(store, "tiktok")

    async def test_a_destination_added_while_it_is_held_is_held(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan(destinations=("meta",), held_until=UNTIL))
        await accept(store, plan(destinations=("meta", "tiktok"), held_until=UNTIL))
        assert await claim_ids(store, "tiktok") == []
        clock.advance(HOUR)
        await store.accept(later("tiktok", clock.now()))
        assert (await waiting(store, "tiktok")).oldest_accepted_at == clock.now()
        assert len(await claim_ids(store, "tiktok")) == MANY
        assert await store.release([await key_of(store)]) == [Touched(frozenset({"meta", "tiktok"}))]
        await claim(store, "tiktok")

    async def test_hastening_releases_nothing(self, store: Engine) -> None:
        await accept(store, plan(destinations=("meta",), held_until=UNTIL))
        await store.hasten("meta", 100)
        assert (await claim(store)).is_held

    async def test_a_pause_holds_its_name_released_or_not(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan(destinations=("meta",), held_until=UNTIL))
        paused = Choice(paused=frozenset({"Purchase"}))
        clock.set(UNTIL)
        assert not await store.claim("meta", 10, LEASE, paused)
        await store.release([await key_of(store)])
        assert not await store.claim("meta", 10, LEASE, paused)
        await claim(store)

    async def test_what_is_held_survives_a_crash(self, store: Engine, reopen: Reopen, clock: FrozenClock) -> None:
        await store.accept(
            [plan("ORD-1", ("meta",), held_until=UNTIL), plan("ORD-2", ("meta",), held_until=START + HOUR)]
        )
        store = await reopen()
        assert await claim_ids(store) == []
        await store.release([await key_of(store)])
        store = await reopen()
        assert await claim_ids(store) == ["purchase_ORD-1"]
        clock.advance(HOUR)
        overdue = [each for each in await store.claim("meta", 10, LEASE) if each.event_id == "purchase_ORD-2"]
        assert [each.is_held for each in overdue] == [True]

    async def test_custom_names_are_held_and_released_as_well(self, store: Engine) -> None:
        await accept(store, plan(event_name="Deposit", destinations=DESTINATIONS[:1], held_until=UNTIL))
        (touched,) = await store.release([await key_of(store, "deposit_ORD-1")])
        assert touched.changed == set(DESTINATIONS[:1])
        await claim(store, DESTINATIONS[0])

    async def test_cancelled_it_ends(self, store: Engine) -> None:
        await accept(store, plan(held_until=UNTIL))
        key = await key_of(store)
        (touched,) = await store.cancel([key])
        assert touched == Touched(frozenset({"meta", "tiktok"}))
        assert await counts(store) == {"queued": 1, "withdrawn": 1}
        assert await store.release([key]) == [Touched()]
        assert await claim_ids(store) == []
        (told,) = await store.event("purchase_ORD-1")
        assert (told.destinations["meta"].outcome, told.destinations["meta"].reason) == (
            Outcome.WITHDRAWN,
            Reason.CANCELLED,
        )
        assert (await accept(store, plan())).status is Status.DUPLICATE

    async def test_only_what_is_held_is_cancelled(self, store: Engine) -> None:
        await accept(store, plan(destinations=("meta",), held_until=UNTIL))
        await accept(store, plan(destinations=("meta", "tiktok"), budget_of=budget()))
        (touched,) = await store.cancel([await key_of(store)])
        assert touched == Touched(frozenset({"meta"}))
        await claim(store, "tiktok")

    async def test_releasing_and_cancelling_at_once_is_one_of_the_two(self, store: Engine) -> None:
        await accept(store, plan(destinations=("meta",), held_until=UNTIL))
        key = await key_of(store)
        (freed,), (stopped,) = await together(lambda: store.release([key]), lambda: store.cancel([key]))
        assert len(freed.changed) + len(stopped.changed) == 1
        assert len(await claim_ids(store)) == len(freed.changed)
        assert not (await store.recount()).differences

    async def test_a_cancelled_event_loses_its_body(self, store: Engine, body_count: BodyCount | None) -> None:
        await accept(store, plan(held_until=UNTIL))
        await store.cancel([await key_of(store)])
        if body_count is not None:
            assert await body_count() == 0

    async def test_many_are_told_apart(self, store: Engine) -> None:
        await store.accept([plan(f"ORD-{number}", ("meta",), held_until=UNTIL) for number in range(5)])
        keys = [await key_of(store, f"purchase_ORD-{number}") for number in (3, 1)]
        assert list(await store.release(keys)) == [Touched(frozenset({"meta"}))] * 2
        assert sorted(await claim_ids(store)) == ["purchase_ORD-1", "purchase_ORD-3"]
        assert list(await store.release([])) == list(await store.cancel([])) == []

    async def test_what_is_held_of_a_person_is_erased(self, store: Engine) -> None:
        await accept(store, order("ORD-1", held_until=UNTIL))
        (trace,) = await find(store)
        assert trace.claimed == frozenset()
        assert await store.persons.end([trace], MARKS) == {("meta", Outcome.QUEUED): 1, ("tiktok", Outcome.QUEUED): 1}
        assert await counts(store) == {"queued": 1, "erased": 1}
        assert list(await store.release([trace.state.key])) == [Touched()]
        assert await claim_ids(store) == []
