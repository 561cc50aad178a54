"""Room: what is refused when as much waits as may, what is skipped, and what is answered all the same."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from app.errors import Outcome, Reason, Status, StoreFull
from app.model import Accepted, Plan, Verdict
from app.outbox.port import DeadFilter
from app.outbox.room import Bound, Limits
from tests.factories import START, plan
from tests.outbox.contract_proofs import proven
from tests.outbox.support import (
    Bounded,
    Engine,
    accept,
    claim,
    counts,
    dead,
    delivered,
    outcomes,
    replay,
    retrying,
    settle,
    together,
)

NONE_WAITS = Verdict(Outcome.SKIPPED, Reason.BACKLOG_FULL)


async def refused(store: Engine, *plans: Plan) -> str:
    """The limit for which these plans are refused."""
    with pytest.raises(StoreFull) as caught:
        await store.accept(plans)
    return caught.value.limit


async def taken_again(store: Engine, wanted: Plan) -> Accepted:
    """What becomes of a plan once there is room for it: an engine may notice a moment later."""
    while True:
        try:
            return await accept(store, wanted)
        except StoreFull:
            await anyio.sleep(0.01)


class Filling(Bounded):
    """What `accept` promises when there is no room."""

    async def test_a_full_destination_refuses_whole_events(self, harness: Any) -> None:
        store = await harness.open(limits=Limits(None, {"meta": Bound(deliveries=2)}))
        await accept(store, plan("ORD-1", ("meta",)))
        await accept(store, plan("ORD-2", ("meta", "tiktok")))
        assert await refused(store, plan("ORD-3", ("meta", "tiktok"))) == "destinations.meta.max_waiting"
        assert await counts(store, "meta") == {"queued": 2, "pending": 2}
        assert await counts(store, "tiktok") == {"queued": 1, "pending": 1}
        assert await store.event("purchase_ORD-3") == []

    async def test_the_others_go_on(self, harness: Any) -> None:
        store = await harness.open(limits=Limits(100, {"meta": Bound(deliveries=1)}))
        await accept(store, plan("ORD-1"))
        answer = await accept(store, plan("ORD-2", ("tiktok",)))
        assert outcomes(answer, "tiktok") == [Outcome.QUEUED]
        denied = await accept(store, plan("ORD-3", (), refused={"meta": Reason.CONSENT_MISSING}))
        assert denied.status is Status.ACCEPTED

    async def test_what_was_queued_before_is_answered(self, harness: Any) -> None:
        store = await harness.open(limits=Limits(1, {"meta": Bound(deliveries=1)}))
        await accept(store, plan("ORD-1"))
        again = await accept(store, plan("ORD-1"))
        assert again.status is Status.DUPLICATE
        assert outcomes(again, "meta", "tiktok") == [Outcome.QUEUED, Outcome.QUEUED]
        conflict = await accept(store, plan("ORD-2", asked="purchase_ORD-1"))
        assert conflict.status is Status.CONFLICT
        both = await store.accept([plan("ORD-1"), plan("ORD-1", ("meta",))])
        assert {answer.status for answer in both} == {Status.DUPLICATE}

    async def test_a_call_is_refused_whole(self, harness: Any) -> None:
        store = await harness.open(limits=Limits(None, {"meta": Bound(deliveries=1)}))
        await accept(store, plan("ORD-1"))
        assert await refused(store, plan("ORD-1"), plan("ORD-2", ("tiktok",)), plan("ORD-3", ("meta",)))
        assert await counts(store, "tiktok") == {"queued": 1, "pending": 1}
        assert await store.event("purchase_ORD-2") == []

    async def test_a_refusal_costs_no_neighbour(self, harness: Any) -> None:
        store = await harness.open(limits=Limits(None, {"meta": Bound(deliveries=1)}))
        await accept(store, plan("ORD-1"))
        results = await together(
            *(partial(accept, store, plan(f"M-{number}", ("meta",))) for number in range(3)),
            *(partial(accept, store, plan(f"T-{number}", ("tiktok",))) for number in range(3)),
        )
        assert [isinstance(result, StoreFull) for result in results] == [True] * 3 + [False] * 3
        assert await counts(store, "tiktok") == {"queued": 4, "pending": 4}

    async def test_a_call_is_taken_whole_while_there_is_room_for_one(self, harness: Any) -> None:
        store = await harness.open(limits=Limits(None, {"meta": Bound(deliveries=3)}))
        await store.accept([plan(f"ORD-{number}", ("meta",)) for number in range(5)])
        assert await counts(store) == {"queued": 5, "pending": 5}
        assert await refused(store, plan("ORD-9", ("meta",))) == "destinations.meta.max_waiting"

    async def test_settling_makes_room_and_putting_back_does_not(self, harness: Any) -> None:
        store = await harness.open(limits=Limits(None, {"meta": Bound(deliveries=1)}))
        await accept(store, plan("ORD-1", ("meta",)))
        delivery = await claim(store)
        assert await refused(store, plan("ORD-2", ("meta",)))
        await settle(store, retrying(delivery, harness.clock.now()))
        assert await refused(store, plan("ORD-2", ("meta",)))
        await settle(store, delivered(await claim(store)))
        assert (await taken_again(store, plan("ORD-2", ("meta",)))).status is Status.ACCEPTED

    async def test_dead_letters_do_not_wait_until_they_are_replayed(self, harness: Any) -> None:
        store = await harness.open(limits=Limits(None, {"meta": Bound(deliveries=1)}))
        await accept(store, plan("ORD-1", ("meta",)))
        await settle(store, dead(await claim(store)))
        await taken_again(store, plan("ORD-2", ("meta",)))
        await settle(store, delivered(await claim(store)))
        assert await replay(store, DeadFilter(), 10) == 1
        assert await refused(store, plan("ORD-3", ("meta",)))

    async def test_a_destination_that_skips(self, harness: Any) -> None:
        limits = Limits(None, {"meta": Bound(deliveries=1)}, frozenset({"meta"}))
        store = await harness.open(limits=limits)
        await accept(store, plan("ORD-1"))
        answer = await accept(store, plan("ORD-2"))
        assert answer.status is Status.ACCEPTED
        assert answer.destinations["meta"] == NONE_WAITS
        assert answer.destinations["tiktok"].outcome is Outcome.QUEUED
        (state,) = await store.event("purchase_ORD-2")
        assert (state.destinations["meta"].outcome, state.destinations["meta"].reason) == (
            Outcome.SKIPPED,
            Reason.BACKLOG_FULL,
        )
        assert await counts(store, "meta") == {"queued": 1, "pending": 1}
        only = await accept(store, plan("ORD-3", ("meta",)))
        assert (only.status, only.destinations["meta"]) == (Status.ACCEPTED, NONE_WAITS)

    async def test_an_event_that_one_destination_skips_keeps_its_proof(self, harness: Any) -> None:
        store = await harness.open(limits=Limits(None, {"meta": Bound(deliveries=1)}, frozenset({"meta"})))
        await accept(store, proven("ORD-1"))
        answer = await accept(store, proven("ORD-2"))
        assert (answer.destinations["meta"], answer.destinations["tiktok"].outcome) == (NONE_WAITS, Outcome.QUEUED)
        (kept,) = await store.proofs.of("purchase_ORD-2", "shop", START)
        assert kept.proof == proven("ORD-2").proof

    async def test_what_was_skipped_is_queued_when_it_comes_again(self, harness: Any) -> None:
        store = await harness.open(limits=Limits(None, {"meta": Bound(deliveries=1)}, frozenset({"meta"})))
        await accept(store, plan("ORD-1", ("meta",)))
        await accept(store, plan("ORD-2"))
        still = await accept(store, plan("ORD-2"))
        assert (still.status, still.destinations["meta"]) == (Status.DUPLICATE, NONE_WAITS)
        assert still.destinations["tiktok"].outcome is Outcome.QUEUED
        await settle(store, delivered(await claim(store)))
        while (again := await accept(store, plan("ORD-2"))).destinations["meta"] == NONE_WAITS:
            await anyio.sleep(0.01)
        assert (again.status, again.destinations["meta"].outcome) == (Status.ACCEPTED, Outcome.QUEUED)
        assert (await claim(store)).event_id == "purchase_ORD-2"

    async def test_a_full_store_refuses_what_skips_as_well(self, harness: Any) -> None:
        store = await harness.open(limits=Limits(3, {"meta": Bound(deliveries=2)}, frozenset({"meta"})))
        await accept(store, plan("ORD-1"))
        await accept(store, plan("ORD-2"))
        assert await refused(store, plan("ORD-3")) == "store.max_waiting"
        assert await refused(store, plan("ORD-4", ("google",))) == "store.max_waiting"

    async def test_bytes_of_events(self, harness: Any) -> None:
        store = await harness.open(limits=Limits(None, {"meta": Bound(bytes=20_000)}))
        await accept(store, plan("ORD-1", ("meta",), properties={"note": "".join(map(str, range(9000)))}))
        assert await refused(store, plan("ORD-2", ("meta",))) == "destinations.meta.max_waiting_bytes"
        assert store.waiting()["meta"].deliveries == 1
        assert store.waiting()["meta"].bytes > 20_000
        await settle(store, delivered(await claim(store)))
        await taken_again(store, plan("ORD-2", ("meta",)))

    async def test_the_count_outlives_a_restart(self, harness: Any) -> None:
        await harness.open()
        store = harness._store
        await accept(store, plan("ORD-1"))
        await accept(store, plan("ORD-2", ("meta",)))
        await store.ledger()  # looks at what waits, on every engine
        before = dict(store.waiting())
        await harness.close()
        store = await harness.open(limits=Limits(None, {"meta": Bound(deliveries=2)}))
        assert await refused(store, plan("ORD-3"))
        assert {name: waiting for name, waiting in store.waiting().items() if waiting.deliveries} == {
            name: waiting for name, waiting in before.items() if waiting.deliveries
        }
        assert [store.waiting()[name].deliveries for name in ("meta", "tiktok")] == [2, 1]
