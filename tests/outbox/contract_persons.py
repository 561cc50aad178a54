"""What is kept of persons: found by a scan, ended in a ledger that closes, deleted, and nothing else with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from msgspec import structs

from app.dedup.port import IdKey, KeptContext, SideReport
from app.errors import Outcome, Reason, Status
from app.model import Plan
from app.outbox.persons import Trace, Wanted, marks_of
from app.outbox.port import DeadFilter
from tests.factories import FrozenClock, hashed_event, plan
from tests.outbox.contract_proofs import proven
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
    counts,
    dead,
    dead_letters,
    deliver_all,
    delivered,
    money,
    retrying,
    settle,
    waiting,
)

JANE = (b"janemail-key", b"janetele-key")
JOHN = (b"johnmail-key",)
MARKS = marks_of(JANE)


def order(number: str = "ORD-1", persons: Sequence[bytes] = JANE, **over: Any) -> Plan:
    """A purchase of somebody's."""
    planned = plan(number, **over)
    event = hashed_event(transaction_id=number, source=planned.event.source, persons=tuple(persons))
    return replace(planned, event=structs.replace(event, custom_data=planned.event.custom_data))


def wanted(keys: Collection[bytes] = JANE, source: str = "shop") -> Wanted:
    """Whose events are looked for."""
    return Wanted(source, marks_of(keys), lambda event: any(key in event.persons for key in keys))


async def find(store: Engine, whom: Wanted | None = None) -> list[Trace]:
    """All that a whole scan finds, by event id."""
    found: list[Trace] = []
    after = None
    while True:
        page = await store.persons.find(whom or wanted(), after)
        found += page.traces
        after = page.after
        if after is None:
            return sorted(found, key=lambda each: each.state.event_id)


async def ids(store: Engine, whom: Wanted | None = None) -> list[str]:
    return [each.state.event_id for each in await find(store, whom)]


class Erasing(Bounded):
    """What `PersonStore` promises."""

    async def test_a_scan_finds_a_person_by_any_key_and_nobody_else(self, store: Engine) -> None:
        await store.accept(
            [
                order("ORD-1"),
                order("ORD-2", JANE[1:]),
                order("ORD-3", JOHN),
                order("ORD-4", ()),
                order("ORD-5", source="other"),
            ]
        )
        assert await ids(store) == ["purchase_ORD-1", "purchase_ORD-2"]
        assert await ids(store, wanted(JANE[:1])) == ["purchase_ORD-1"]
        assert await ids(store, wanted((*JANE, *JOHN))) == ["purchase_ORD-1", "purchase_ORD-2", "purchase_ORD-3"]
        assert await ids(store, wanted(source="other")) == ["purchase_ORD-5"]
        assert await ids(store, wanted((b"somebody-else",))) == []

    async def test_a_scan_finds_what_was_delivered_denied_or_is_dead(
        self, store: Engine, clock: FrozenClock, reopen: Reopen
    ) -> None:
        await accept(store, order("ORD-1"))
        await deliver_all(store, "meta", "tiktok")
        await accept(store, order("ORD-2", destinations=(), refused={"meta": Reason.CONSENT_MISSING}))
        await accept(store, order("ORD-3", destinations=("meta",)))
        await settle(store, dead(await claim(store)))
        store = await reopen()
        one, two, three = await find(store)
        assert one.state.destinations["meta"].outcome is Outcome.DELIVERED
        assert one.state.destinations["meta"].settled_at == clock.now()
        assert (one.event, one.state.transaction) == (None, "ORD-1")
        assert two.state.destinations["meta"].outcome is Outcome.DENIED
        assert three.state.destinations["meta"].outcome is Outcome.DEAD
        assert three.event is not None and three.event.persons == JANE

    async def test_a_scan_goes_on_where_it_stopped_and_ends(self, store: Engine) -> None:
        await store.accept([order(f"ORD-{number}") for number in range(40)])
        assert len(set(await ids(store))) == len(await ids(store)) == 40

    async def test_what_the_sweep_had_to_leave_behind_is_found(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, order("ORD-1", destinations=("meta",)))
        await settle(store, dead(await claim(store)))
        clock.advance(30 * DAY)
        await accept(store, order("ORD-2", accepted_at=clock.now()))
        await store.sweep()
        assert await ids(store) == ["purchase_ORD-1", "purchase_ORD-2"]

    async def test_a_later_copy_adds_who_it_is_about(self, store: Engine) -> None:
        await accept(store, order("ORD-1", JOHN, destinations=("meta",)))
        await accept(store, order("ORD-1", JANE, destinations=("meta", "tiktok")))
        assert await ids(store) == ["purchase_ORD-1"]
        assert await ids(store, wanted(JOHN)) == ["purchase_ORD-1"]
        deliveries = await store.claim("tiktok", 10, LEASE)
        assert [each.event_id for each in deliveries] == ["purchase_ORD-1"]
        await deliver_all(store, "meta")
        (trace,) = await find(store)
        assert trace.state.destinations["meta"].outcome is Outcome.DELIVERED

    async def test_pending_and_dead_are_ended_with_their_money(
        self, store: Engine, clock: FrozenClock, body_count: BodyCount | None
    ) -> None:
        await accept(store, order("ORD-1", money=("EUR", "10.25")))
        await accept(store, order("ORD-2", money=("EUR", "1.50"), destinations=("meta",)))
        await accept(store, order("ORD-3", JOHN, money=("EUR", "100"), destinations=("meta",)))
        claimed = {each.event_id: each for each in await store.claim("meta", 10, LEASE)}
        await settle(
            store,
            dead(claimed["purchase_ORD-2"]),
            retrying(claimed["purchase_ORD-1"], clock.now() + HOUR),
            retrying(claimed["purchase_ORD-3"], clock.now()),
        )
        ended = await store.persons.end(await find(store), MARKS)
        assert ended == Counter({("meta", Outcome.QUEUED): 1, ("tiktok", Outcome.QUEUED): 1, ("meta", Outcome.DEAD): 1})
        assert await counts(store) == {"queued": 3, "erased": 2, "pending": 1}
        assert await counts(store, "tiktok") == {"queued": 1, "erased": 1}
        held = {state: str(amount) for state, amount in (await money(store))["EUR"].items()}
        assert {state: float(amount) for state, amount in held.items()} == {
            "queued": 111.75,
            "erased": 11.75,
            "pending": 100.0,
        }
        assert (await store.recount()).differences == ()
        assert await dead_letters(store, DeadFilter(), 10) == []
        assert [each.event_id for each in await store.claim("meta", 10, LEASE)] == ["purchase_ORD-3"]
        assert list(await store.claim("tiktok", 10, LEASE)) == []
        if body_count is not None:
            assert await body_count() == 1
        for trace in await find(store):
            assert {each.reason for each in trace.state.destinations.values() if each.outcome is Outcome.ERASED} == {
                Reason.ERASURE_REQUEST
            }
        assert not await store.persons.end(await find(store), MARKS)

    async def test_what_is_in_flight_is_left_to_its_holder(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, order("ORD-1"))
        delivery = await claim(store)
        (trace,) = await find(store)
        assert trace.claimed == {"meta"}
        assert await store.persons.end([trace], MARKS) == Counter({("tiktok", Outcome.QUEUED): 1})
        assert not await store.persons.forget([trace], clock.now())
        assert await settle(store, delivered(delivery, "trace-1")) == 1
        assert await counts(store) == {"queued": 1, "delivered": 1}
        (trace,) = await find(store)
        assert trace.state.destinations["meta"].trace_id == "trace-1"
        assert (trace.claimed, trace.event) == (frozenset(), None)

    async def test_a_lease_that_ran_out_holds_nothing_up(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, order("ORD-1", destinations=("meta",)))
        await claim(store)
        clock.advance(LEASE + SECOND)
        (trace,) = await find(store)
        assert trace.claimed == frozenset()
        assert await store.persons.end([trace], MARKS) == Counter({("meta", Outcome.QUEUED): 1})

    async def test_a_replayed_dead_letter_is_ended(self, store: Engine) -> None:
        await accept(store, order("ORD-1", destinations=("meta",)))
        await settle(store, dead(await claim(store)))
        await store.replay(await dead_letters(store, DeadFilter(), 10))
        assert await store.persons.end(await find(store), MARKS) == Counter({("meta", Outcome.QUEUED): 1})
        assert await counts(store) == {"queued": 1, "erased": 1}
        assert (await store.recount()).differences == ()

    async def test_what_is_held_back_is_ended(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, order("ORD-1", destinations=("meta",), held_until=clock.now() + DAY))
        (trace,) = await find(store)
        assert await store.persons.end([trace], MARKS) == Counter({("meta", Outcome.QUEUED): 1})
        assert await counts(store) == {"queued": 1, "erased": 1}
        assert (await waiting(store)).held == 0
        (state,) = await store.event("purchase_ORD-1")
        assert not any(touched.changed for touched in await store.release([state.key]))
        assert (await store.persons.forget(await find(store), clock.now()))["events"] == 1

    async def test_deleting_leaves_no_trace_but_the_counts(
        self, store: Engine, clock: FrozenClock, reopen: Reopen, body_count: BodyCount | None
    ) -> None:
        await store.mint(IdKey("shop", "Lead", "ORD-1"), "lead-of-order", clock.now() + DAY)
        until = clock.now() + DAY
        await store.keep_contexts([KeptContext("shop", name, b"body", until) for name in ("ORD-1", "ORD-9")])
        await store.pairs.report(
            [SideReport("shop", f"purchase_{name}", "meta", b"body") for name in ("ORD-1", "ORD-9")], until, until
        )
        await accept(store, order("ORD-1"))
        await accept(store, order("ORD-9", JOHN))
        await deliver_all(store, "meta", "tiktok")
        clock.advance(SECOND)
        forgotten = await store.persons.forget(await find(store), clock.now())
        assert +forgotten == Counter(events=1, event_ids=forgotten["event_ids"], contexts=1, pairs=1)
        assert forgotten["event_ids"] >= 1
        for is_anew in (False, True):
            store = await reopen() if is_anew else store
            assert await ids(store) == []
            assert list(await store.event("purchase_ORD-1")) == []
            assert list(await store.transaction("ORD-1")) == []
            assert await store.contexts("shop", ["ORD-1", "ORD-9"]) == {"ORD-9": b"body"}
            assert list(await store.pairs.sides("shop", ["purchase_ORD-1", "purchase_ORD-9"])) == ["purchase_ORD-9"]
            assert await store.read(IdKey("shop", "Lead", "ORD-1")) is None
            assert len(await store.event("purchase_ORD-9")) == 1
            assert await counts(store) == {"queued": 2, "delivered": 2}
            assert (await store.recount()).differences == ()
        assert not +await store.persons.forget(await find(store), clock.now())

    async def test_what_arrived_since_is_not_deleted_untold(self, store: Engine, clock: FrozenClock) -> None:
        began = clock.now()
        await accept(store, order("ORD-1", destinations=("meta",)))
        clock.advance(SECOND)
        await deliver_all(store, "meta")
        assert not +await store.persons.forget(await find(store), began)
        assert await ids(store) == ["purchase_ORD-1"]
        assert (await store.persons.forget(await find(store), clock.now()))["events"] == 1

    async def test_the_store_has_the_last_word_on_what_may_go(self, store: Engine, clock: FrozenClock) -> None:
        began = clock.now()
        await accept(store, order("ORD-1", destinations=("meta",)))
        await deliver_all(store, "meta")
        stale = await find(store)
        await accept(store, order("ORD-1", destinations=("meta", "tiktok")))
        assert not +await store.persons.forget(stale, began)
        clock.advance(SECOND)
        await deliver_all(store, "tiktok")
        assert not +await store.persons.forget(stale, began)
        assert await ids(store) == ["purchase_ORD-1"]

    async def test_a_pending_event_is_not_deleted(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, order("ORD-1"))
        assert not +await store.persons.forget(await find(store), clock.now())
        assert await counts(store) == {"queued": 1, "pending": 1}

    async def test_an_erased_id_is_remembered_for_its_window(
        self, store: Engine, clock: FrozenClock, reopen: Reopen
    ) -> None:
        await accept(store, order("ORD-1"))
        await deliver_all(store, "meta", "tiktok")
        await store.persons.forget(await find(store), clock.now())
        for is_anew in (False, True):
            store = await reopen() if is_anew else store
            again = await accept(store, order("ORD-1", ()))
            assert again.status is Status.DUPLICATE
            assert again.destinations["meta"].outcome is Outcome.DELIVERED
        more = await accept(store, order("ORD-1", JANE, destinations=("meta", "pinterest")))
        assert more.status is Status.ACCEPTED
        assert (await claim(store, "pinterest")).event_id == "purchase_ORD-1"
        assert list(await store.claim("meta", 10, LEASE)) == []
        assert await ids(store) == ["purchase_ORD-1"]
        assert [each.event_id for each in await store.event("purchase_ORD-1")] == ["purchase_ORD-1"]

    async def test_past_its_window_nothing_is_remembered(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, order("ORD-1"))
        await deliver_all(store, "meta", "tiktok")
        await store.persons.forget(await find(store), clock.now())
        clock.advance(30 * DAY)
        await store.sweep()
        assert (await accept(store, order("ORD-1", accepted_at=clock.now()))).status is Status.ACCEPTED

    async def test_proofs_go_by_themselves(self, store: Engine, clock: FrozenClock) -> None:
        mine, other = proven("ORD-1"), proven("ORD-2")
        event = hashed_event(transaction_id="ORD-1", persons=JANE)
        await store.accept([replace(mine, event=event), other])
        traces = await find(store)
        assert await store.persons.forget_proofs(traces) == 1
        assert await store.persons.forget_proofs(traces) == 0
        since = clock.now() - timedelta(minutes=5)
        assert list(await store.proofs.of("purchase_ORD-1", "shop", since)) == []
        assert len(await store.proofs.of("purchase_ORD-2", "shop", since)) == 1
