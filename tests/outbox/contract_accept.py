"""Accepting: once per event and destination, ids resolved, conflicts held back, neighbours unharmed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from app.errors import Outcome, Reason, Status, StoreUnavailable
from app.model import Accepted, Plan
from tests.factories import FrozenClock, hashed_event, identity, plan, verdict
from tests.outbox.support import (
    HOUR,
    LEASE,
    Bounded,
    Engine,
    Reopen,
    accept,
    assert_closed,
    claim,
    claim_ids,
    counts,
    dead,
    deliver_all,
    delivered,
    outcomes,
    released,
    retrying,
    settle,
    together,
    waiting,
)

POISON = {
    "object": plan("ORD-poison", properties={"basket": object()}),
    "integer beyond 64 bits": plan("ORD-poison", properties={"points": 2**80}),
    "lone surrogate in the body": plan("ORD-poison", properties={"note": "\ud800"}),
    "lone surrogate in the id": plan("ORD-poison", asked="evt-\ud800"),
}
"""Plans with something in them that no engine can keep."""


class Accepting(Bounded):
    """What `accept` promises."""

    async def test_accepted_is_queued_for_each_destination(self, store: Engine) -> None:
        purchase = plan(limited=("tiktok",), refused={"google": verdict(Reason.CONSENT_MISSING, "MAP_DENIED")})
        accepted = await accept(store, purchase)
        assert accepted == Accepted("purchase_ORD-1", Status.ACCEPTED, purchase.verdicts)
        assert await counts(store, "meta") == {"queued": 1, "pending": 1}
        assert await counts(store, "tiktok") == {"queued": 1, "pending": 1}
        assert await counts(store, "google") == {}

    async def test_no_plans_no_answers(self, store: Engine) -> None:
        assert list(await store.accept([])) == []
        await assert_closed(store)

    async def test_answers_keep_the_order_of_the_plans(self, store: Engine) -> None:
        plans = [plan(f"ORD-{number}") for number in (7, 3, 9, 3, 1)]
        answers = await store.accept(plans)
        assert [answer.event_id for answer in answers] == [each.id_request.derived for each in plans]
        assert [answer.status for answer in answers] == [
            Status.ACCEPTED,
            Status.ACCEPTED,
            Status.ACCEPTED,
            Status.DUPLICATE,
            Status.ACCEPTED,
        ]

    async def test_what_was_accepted_is_what_is_claimed(self, store: Engine) -> None:
        event = hashed_event(
            event_name="Größe gewählt",
            is_custom=True,
            occurrence="INV-7",
            app={"advertiser_tracking_enabled": True, "version": "7.1"},
            identity=identity(locale="de-AT", ttclid="E.C.P.v3fQ2RHacdksKfofPmlyuSt", lead_id="525645896321548"),
        )
        purchase = plan(event=event, event_name=event.event_name, occurrence="INV-7", limited=("meta",))
        await accept(store, purchase)
        delivery = await claim(store, "meta")
        assert delivery.event == event
        assert delivery.event_id == purchase.id_request.derived
        assert delivery.budget == purchase.deliveries[0].budget
        assert delivery.accepted_at == purchase.accepted_at
        assert delivery.limited is True
        assert delivery.attempts == 0
        assert delivery.unsure_since is None
        other = await claim(store, "tiktok")
        assert (other.event, other.limited) == (event, False)

    async def test_duplicate_queues_nothing(self, store: Engine) -> None:
        first = await accept(store, plan())
        again = await accept(store, plan())
        assert (first.status, again.status) == (Status.ACCEPTED, Status.DUPLICATE)
        assert again.event_id == first.event_id
        assert outcomes(again, "meta", "tiktok") == [Outcome.QUEUED, Outcome.QUEUED]
        assert await counts(store) == {"queued": 1, "pending": 1}

    async def test_duplicate_shows_what_each_delivery_is_by_now(self, store: Engine, clock: FrozenClock) -> None:
        names = ("meta", "tiktok", "pinterest")
        await accept(store, plan(destinations=names))
        await settle(store, delivered(await claim(store, "meta")))
        await settle(store, dead(await claim(store, "tiktok"), Reason.REJECTED_BY_PLATFORM))
        later = clock.now() + HOUR
        await settle(store, retrying(await claim(store, "pinterest"), later, Reason.RATE_LIMITED))
        again = await accept(store, plan(destinations=names))
        assert again.status is Status.DUPLICATE
        assert outcomes(again, *names) == [Outcome.DELIVERED, Outcome.DEAD, Outcome.RETRYING]
        assert again.destinations["tiktok"].reason is Reason.REJECTED_BY_PLATFORM
        assert again.destinations["pinterest"].reason is Reason.RATE_LIMITED
        assert again.destinations["google"].outcome is Outcome.SKIPPED
        for name in names:
            assert (await counts(store, name))["queued"] == 1

    async def test_duplicate_keeps_the_event_as_first_sent(self, store: Engine) -> None:
        await accept(store, plan(money=("USD", "10")))
        await accept(store, plan(money=("USD", "99")))
        event = (await claim(store)).event
        assert event.money is not None
        assert event.money[1] == 10

    async def test_denied_everywhere_is_accepted_once(self, store: Engine) -> None:
        denied = {"meta": Reason.CONSENT_MISSING, "tiktok": Reason.CONSENT_MISSING}
        first = await accept(store, plan(destinations=(), refused=denied))
        again = await accept(store, plan(destinations=(), refused=denied))
        assert (first.status, again.status) == (Status.ACCEPTED, Status.DUPLICATE)
        assert outcomes(first, "meta", "tiktok") == [Outcome.DENIED, Outcome.DENIED]
        assert outcomes(again, "meta", "tiktok") == [Outcome.DENIED, Outcome.DENIED]
        await assert_closed(store)

    async def test_duplicate_that_newly_allows_queues_just_that(self, store: Engine) -> None:
        await accept(store, plan(destinations=("meta",), refused={"tiktok": Reason.CONSENT_MISSING}))
        again = await accept(store, plan(destinations=("meta", "tiktok")))
        assert again.status is Status.ACCEPTED
        assert outcomes(again, "meta", "tiktok") == [Outcome.QUEUED, Outcome.QUEUED]
        assert await counts(store, "meta") == {"queued": 1, "pending": 1}
        assert await counts(store, "tiktok") == {"queued": 1, "pending": 1}
        third = await accept(store, plan(destinations=("meta", "tiktok")))
        assert third.status is Status.DUPLICATE

    async def test_newly_allowed_after_all_others_were_settled(self, store: Engine) -> None:
        await accept(store, plan(destinations=("meta",), refused={"tiktok": Reason.CONSENT_MISSING}))
        await deliver_all(store, "meta")
        purchase = plan(destinations=("meta", "tiktok"), limited=("tiktok",))
        again = await accept(store, purchase)
        assert again.status is Status.ACCEPTED
        assert outcomes(again, "meta", "tiktok") == [Outcome.DELIVERED, Outcome.QUEUED]
        assert await claim_ids(store, "meta") == []
        delivery = await claim(store, "tiktok")
        assert (delivery.event, delivery.event_id) == (purchase.event, "purchase_ORD-1")
        assert delivery.limited is True
        await settle(store, delivered(delivery))
        assert await counts(store, "meta") == {"queued": 1, "delivered": 1}
        assert await counts(store, "tiktok") == {"queued": 1, "delivered": 1}

    async def test_newly_allowed_has_one_age(self, store: Engine, reopen: Reopen, clock: FrozenClock) -> None:
        await accept(store, plan(destinations=()))
        clock.advance(HOUR)
        await accept(store, plan(destinations=("meta",), accepted_at=clock.now()))
        told = (await waiting(store)).oldest_accepted_at
        first = await claim(store)
        await settle(store, released(first, clock.now()))
        store = await reopen()
        second = await claim(store)
        assert first.accepted_at == second.accepted_at == told == (await waiting(store)).oldest_accepted_at

    async def test_newly_allowed_after_it_was_denied_everywhere(self, store: Engine) -> None:
        await accept(store, plan(destinations=(), refused={"meta": Reason.CONSENT_MISSING}))
        again = await accept(store, plan(destinations=("meta",)))
        assert again.status is Status.ACCEPTED
        assert (await claim(store)).event == plan().event

    async def test_equal_plans_of_one_call(self, store: Engine) -> None:
        answers = await store.accept([plan(), plan(), plan(destinations=("meta", "tiktok", "google"))])
        assert [answer.status for answer in answers] == [Status.ACCEPTED, Status.DUPLICATE, Status.ACCEPTED]
        assert {answer.event_id for answer in answers} == {"purchase_ORD-1"}
        for name in ("meta", "tiktok", "google"):
            assert await counts(store, name) == {"queued": 1, "pending": 1}

    async def test_equal_plans_of_concurrent_calls(self, store: Engine) -> None:
        answers = await together(*[partial(accept, store, plan()) for _ in range(50)])
        statuses = [answer.status for answer in answers]
        assert sorted(statuses) == [Status.ACCEPTED] + [Status.DUPLICATE] * 49
        assert {answer.event_id for answer in answers} == {"purchase_ORD-1"}
        assert await counts(store) == {"queued": 1, "pending": 1}

    async def test_concurrent_calls_each_get_their_own_answer(self, store: Engine) -> None:
        plans = [[plan(f"ORD-{call}-{number}") for number in range(3)] for call in range(40)]
        answers = await together(*[partial(store.accept, each) for each in plans])
        expected = [[one.id_request.derived for one in each] for each in plans]
        assert [[one.event_id for one in each] for each in answers] == expected
        assert await counts(store) == {"queued": 120, "pending": 120}

    async def test_occurrences_are_events_of_their_own(self, store: Engine) -> None:
        refunds = [plan(event_name="Refund", occurrence=occurrence) for occurrence in (None, "RF-1", "RF-2", "RF-1")]
        answers = await store.accept(refunds)
        assert [answer.event_id for answer in answers] == [
            "refund_ORD-1",
            "refund_ORD-1_RF-1",
            "refund_ORD-1_RF-2",
            "refund_ORD-1_RF-1",
        ]
        assert [answer.status for answer in answers] == [Status.ACCEPTED] * 3 + [Status.DUPLICATE]
        assert await counts(store) == {"queued": 3, "pending": 3}

    async def test_another_name_or_source_is_another_event(self, store: Engine) -> None:
        plans = [
            plan(asked="evt-1"),
            plan(asked="evt-1", event_name="InitiateCheckout"),
            plan(asked="evt-1", source="app"),
            plan(asked="evt-1"),
        ]
        answers = await store.accept(plans)
        assert [answer.status for answer in answers] == [Status.ACCEPTED] * 3 + [Status.DUPLICATE]
        assert {answer.event_id for answer in answers} == {"evt-1"}
        assert await counts(store) == {"queued": 3, "pending": 3}

    async def test_events_without_a_transaction_are_told_apart_by_id(self, store: Engine) -> None:
        views = [plan(None, event_name="PageView", asked=asked) for asked in ("view-1", "view-2", "view-1")]
        answers = await store.accept([*views, plan(None, event_name="PageView", derived="page_view_4f0c")])
        assert [answer.event_id for answer in answers] == ["view-1", "view-2", "view-1", "page_view_4f0c"]
        statuses = [answer.status for answer in answers]
        assert statuses == [Status.ACCEPTED, Status.ACCEPTED, Status.DUPLICATE, Status.ACCEPTED]

    # --- conflicts

    async def test_same_id_for_another_transaction_is_a_conflict(self, store: Engine) -> None:
        await accept(store, plan("ORD-1", asked="evt-1"))
        answer = await accept(store, plan("ORD-2", asked="evt-1"))
        assert answer == Accepted("evt-1", Status.CONFLICT, {})
        assert await counts(store) == {"queued": 1, "pending": 1}

    async def test_another_id_for_the_same_transaction_is_a_conflict(self, store: Engine) -> None:
        await accept(store, plan(asked="evt-1"))
        answer = await accept(store, plan(asked="evt-2"))
        assert answer == Accepted("evt-2", Status.CONFLICT, {})
        assert await counts(store) == {"queued": 1, "pending": 1}

    async def test_a_derived_id_taken_by_another_transaction_is_a_conflict(self, store: Engine) -> None:
        await accept(store, plan("ORD-1", asked="purchase_ORD-2"))
        answer = await accept(store, plan("ORD-2"))
        assert (answer.status, answer.event_id, dict(answer.destinations)) == (Status.CONFLICT, "purchase_ORD-2", {})

    async def test_conflicts_within_one_call(self, store: Engine) -> None:
        answers = await store.accept([plan(asked="evt-1"), plan(asked="evt-2"), plan("ORD-2", asked="evt-1")])
        assert [answer.status for answer in answers] == [Status.ACCEPTED, Status.CONFLICT, Status.CONFLICT]
        assert await counts(store) == {"queued": 1, "pending": 1}

    async def test_a_conflict_leaves_nothing_behind(self, store: Engine) -> None:
        await accept(store, plan(asked="evt-1"))
        await accept(store, plan(asked="evt-2"))
        assert list(await store.event("evt-2")) == []
        assert (await accept(store, plan("ORD-2", asked="evt-2"))).status is Status.ACCEPTED
        assert (await accept(store, plan())).event_id == "evt-1"

    async def test_a_conflict_is_one_also_when_all_is_settled(self, store: Engine) -> None:
        await accept(store, plan(asked="evt-1"))
        await deliver_all(store, "meta", "tiktok")
        assert (await accept(store, plan("ORD-2", asked="evt-1"))).status is Status.CONFLICT
        assert (await accept(store, plan(asked="evt-2"))).status is Status.CONFLICT

    @pytest.mark.parametrize(
        "second",
        [plan("ORD-2", asked="evt-1", send_conflicts=True), plan("ORD-1", asked="evt-2", send_conflicts=True)],
        ids=["same id", "same transaction"],
    )
    async def test_a_conflict_is_sent_on_request(self, store: Engine, second: Plan) -> None:
        await accept(store, plan("ORD-1", asked="evt-1"))
        answer = await accept(store, second)
        assert answer == Accepted(second.id_request.asked or "", Status.ACCEPTED, second.verdicts)
        assert await counts(store) == {"queued": 2, "pending": 2}
        assert sorted(await claim_ids(store)) == sorted(["evt-1", answer.event_id])

    @pytest.mark.parametrize(
        "second",
        [plan("ORD-2", asked="evt-1", send_conflicts=True), plan("ORD-1", asked="evt-2", send_conflicts=True)],
        ids=["same id", "same transaction"],
    )
    async def test_a_sent_conflict_posted_again_is_a_duplicate(self, store: Engine, second: Plan) -> None:
        await accept(store, plan("ORD-1", asked="evt-1"))
        await accept(store, second)
        assert (await accept(store, second)).status is Status.DUPLICATE
        assert await counts(store) == {"queued": 2, "pending": 2}

    async def test_sent_conflicts_posted_again_together_are_duplicates(self, store: Engine) -> None:
        plans = [
            plan("ORD-1", asked="evt-1"),
            plan("ORD-2", asked="evt-1", send_conflicts=True),
            plan("ORD-1", asked="evt-2", send_conflicts=True),
        ]
        assert [answer.status for answer in await store.accept(plans)] == [Status.ACCEPTED] * 3
        assert [answer.status for answer in await store.accept(plans)] == [Status.DUPLICATE] * 3
        assert await counts(store) == {"queued": 3, "pending": 3}

    async def test_send_conflicts_makes_no_duplicate_pass(self, store: Engine) -> None:
        answers = await store.accept([plan(send_conflicts=True), plan(send_conflicts=True)])
        assert [answer.status for answer in answers] == [Status.ACCEPTED, Status.DUPLICATE]
        assert await counts(store) == {"queued": 1, "pending": 1}

    # --- one cannot fail its neighbours

    @pytest.mark.parametrize("poison", POISON.values(), ids=POISON)
    async def test_a_plan_that_cannot_be_kept_fails_alone(self, store: Engine, poison: Plan) -> None:
        calls: list[Callable[[], Any]] = [partial(accept, store, plan(f"ORD-{number}")) for number in range(30)]
        calls.insert(15, partial(accept, store, poison))
        results = await together(*calls)
        assert isinstance(results.pop(15), Exception)
        assert {answer.status for answer in results} == {Status.ACCEPTED}
        assert await counts(store) == {"queued": 30, "pending": 30}
        assert len(await claim_ids(store)) == 30
        assert (await accept(store, plan("ORD-poison", asked="evt-1"))).status is Status.ACCEPTED

    @pytest.mark.parametrize("poison", POISON.values(), ids=POISON)
    async def test_a_plan_that_cannot_be_kept_is_not_asked_for_again(self, store: Engine, poison: Plan) -> None:
        with pytest.raises(Exception) as failure:
            await accept(store, poison)
        assert not isinstance(failure.value, StoreUnavailable), "503 would have the caller come back for ever"

    async def test_a_settlement_that_cannot_be_kept_fails_alone(self, store: Engine, reopen: Reopen) -> None:
        await store.accept([plan(f"ORD-{number}") for number in range(10)])
        batch = await store.claim("meta", 10, LEASE)
        ends = [delivered(delivery, trace_id="AbC9") for delivery in batch]
        ends[5] = delivered(batch[5], trace_id="AbC\ud800")
        others = [partial(accept, store, plan(f"ORD-{number}")) for number in range(10, 15)]
        results = await together(*others, *[partial(settle, store, end) for end in ends])
        accepted, settled = results[:5], results[5:]
        assert {answer.status for answer in accepted} == {Status.ACCEPTED}
        if isinstance(settled[5], Exception):
            settled[5] = await settle(store, delivered(batch[5]))
        assert settled == [1] * 10
        assert await counts(store) == {"queued": 15, "delivered": 10, "pending": 5}
        store = await reopen()
        assert await counts(store) == {"queued": 15, "delivered": 10, "pending": 5}

    @pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13])
    async def test_a_cancelled_accept_happened_wholly_or_not_at_all(self, store: Engine, turns: int) -> None:
        plans = [plan(f"ORD-{number}") for number in range(12)]
        async with anyio.create_task_group() as group:
            for each in plans:
                group.start_soon(store.accept, [each])
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        answers = await store.accept([plan("ORD-after"), *plans])
        assert {answer.status for answer in answers} <= {Status.ACCEPTED, Status.DUPLICATE}
        for name in ("meta", "tiktok"):
            assert await counts(store, name) == {"queued": 13, "pending": 13}
            ids = ["purchase_ORD-after", *(each.id_request.derived for each in plans)]
            assert sorted(await claim_ids(store, name)) == sorted(ids)

    async def test_a_cancelled_accept_leaves_its_neighbours_alone(self, store: Engine) -> None:
        results: list[Accepted] = []

        async def keep(number: int) -> None:
            results.append(await accept(store, plan(f"ORD-{number}")))

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(keep, number)
            async with anyio.create_task_group() as impatient:
                for number in range(20, 40):
                    impatient.start_soon(store.accept, [plan(f"ORD-{number}")])
                await anyio.lowlevel.checkpoint()
                impatient.cancel_scope.cancel()
        assert {answer.status for answer in results} == {Status.ACCEPTED}
        assert len(results) == 20
        await accept(store, plan("ORD-after"))
        assert (await counts(store))["queued"] >= 21

    async def test_accept_goes_on_while_others_claim_and_settle(self, store: Engine, clock: FrozenClock) -> None:
        async def produce(worker: int) -> None:
            for number in range(15):
                await accept(store, plan(f"ORD-{worker}-{number}"))

        seen: list[str] = []

        async def consume() -> None:
            while len(seen) < 90:
                for delivery in await store.claim("meta", 10, LEASE):
                    if len(delivery.event_id) % 2 and delivery.attempts == 0 and delivery.event_id not in given_back:
                        given_back.add(delivery.event_id)
                        await settle(store, released(delivery, clock.now()))
                    else:
                        seen.append(delivery.event_id)
                        await settle(store, delivered(delivery))
                await anyio.lowlevel.checkpoint()

        given_back: set[str] = set()
        async with anyio.create_task_group() as group:
            for worker in range(6):
                group.start_soon(produce, worker)
            for _ in range(3):
                group.start_soon(consume)
        assert len(seen) == len(set(seen)) == 90
        assert await counts(store) == {"queued": 90, "delivered": 90}
        assert await counts(store, "tiktok") == {"queued": 90, "pending": 90}
