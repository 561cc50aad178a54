"""The journal and the gauges: what became of an event, and what waits."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from app.errors import Outcome, Reason
from app.outbox.port import Backlog, DeadFilter, DeliveryState, EventState
from tests.factories import FrozenClock, plan, verdict
from tests.outbox.support import (
    DAY,
    HOUR,
    LEASE,
    SECOND,
    Bounded,
    Engine,
    Reopen,
    accept,
    claim,
    counts,
    dead,
    deliver_all,
    delivered,
    expired,
    kill,
    purge,
    released,
    replay,
    retrying,
    settle,
    waiting,
)

WORTH = ("USD", Decimal("129.90"))


async def read_accepted(store: Engine, source: str, since: datetime, before: datetime, page: int) -> list[EventState]:
    """The events accepted within these instants, read in pages."""
    found: list[EventState] = []
    after = None
    for _ in range(100):
        read = await store.accepted(source, since, before, page, after)
        found += read.events
        after = read.after
        if after is None:
            return sorted(found, key=lambda state: state.event_id)
    raise AssertionError("the pages have no end")


async def state_of(store: Engine, destination: str, event_id: str = "purchase_ORD-1") -> DeliveryState:
    """What became of the one event of this id at one destination."""
    (state,) = await store.event(event_id)
    return state.destinations[destination]


class Telling(Bounded):
    """What `event`, `transaction`, `backlog` and `unroutable` promise."""

    async def test_an_unknown_event_has_no_state(self, store: Engine) -> None:
        assert list(await store.event("purchase_ORD-1")) == []
        assert list(await store.transaction("ORD-1")) == []

    async def test_every_verdict_is_shown(self, store: Engine) -> None:
        denied = verdict(Reason.CONSENT_PURPOSE_MISSING, "MAP_DENIED")
        purchase = plan(destinations=("meta", "tiktok"), limited=("meta",), refused={"google": denied})
        await accept(store, purchase)
        (state,) = await store.event("purchase_ORD-1")
        assert (state.event_id, state.event_name, state.source) == ("purchase_ORD-1", "Purchase", "shop")
        assert (state.accepted_at, state.transaction) == (purchase.accepted_at, "ORD-1")
        assert dict(state.destinations) == {
            "meta": DeliveryState(Outcome.QUEUED, limited=True, money=WORTH),
            "tiktok": DeliveryState(Outcome.QUEUED, money=WORTH),
            "pinterest": DeliveryState(Outcome.SKIPPED, Reason.NOT_ROUTED),
            "google": DeliveryState(Outcome.DENIED, Reason.CONSENT_PURPOSE_MISSING, "MAP_DENIED"),
        }

    async def test_an_event_denied_everywhere_is_shown(self, store: Engine) -> None:
        await accept(store, plan(destinations=(), refused={"meta": Reason.CONSENT_MISSING}))
        state = await state_of(store, "meta")
        assert (state.outcome, state.reason) == (Outcome.DENIED, Reason.CONSENT_MISSING)

    async def test_a_claimed_one_is_still_queued(self, store: Engine) -> None:
        await accept(store, plan())
        await claim(store)
        assert (await state_of(store, "meta")).outcome is Outcome.QUEUED

    async def test_retrying_shows_why(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        end = retrying(await claim(store), clock.now() + HOUR, Reason.RATE_LIMITED, detail="code 4", trace_id="AbC9")
        await settle(store, end)
        state = await state_of(store, "meta")
        assert (state.outcome, state.reason, state.reason_detail) == (Outcome.RETRYING, Reason.RATE_LIMITED, "code 4")
        assert (state.attempts, state.trace_id, state.settled_at) == (1, "AbC9", None)

    async def test_delivered_shows_its_trace(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        await settle(store, retrying(await claim(store), clock.now(), Reason.TIMEOUT))
        settled_at = clock.advance(SECOND)
        await settle(store, delivered(await claim(store), "AbC9"))
        state = await state_of(store, "meta")
        assert (state.outcome, state.reason, state.reason_detail) == (Outcome.DELIVERED, None, None)
        assert (state.attempts, state.trace_id, state.settled_at) == (2, "AbC9", settled_at)
        assert (await state_of(store, "tiktok")).outcome is Outcome.QUEUED

    async def test_dead_shows_the_platform_s_words(self, store: Engine, clock: FrozenClock) -> None:
        await kill(store, plan(), reason=Reason.REJECTED_BY_PLATFORM, detail="Invalid parameter", trace_id="AbC9")
        state = await state_of(store, "meta")
        assert (state.outcome, state.reason) == (Outcome.DEAD, Reason.REJECTED_BY_PLATFORM)
        assert (state.reason_detail, state.attempts, state.trace_id) == ("Invalid parameter", 1, "AbC9")
        assert state.settled_at == clock.now()

    async def test_expired_unsent_has_no_attempts(self, store: Engine) -> None:
        await accept(store, plan())
        await settle(store, expired(await claim(store)))
        state = await state_of(store, "meta")
        assert (state.outcome, state.reason) == (Outcome.EXPIRED, Reason.DEDUP_WINDOW_PASSED)
        assert state.attempts == 0

    async def test_a_replayed_one_is_pending_again(self, store: Engine) -> None:
        await kill(store, plan())
        await replay(store, DeadFilter(), 10)
        assert (await state_of(store, "meta")).outcome in {Outcome.QUEUED, Outcome.RETRYING}
        assert (await state_of(store, "meta")).settled_at is None

    async def test_a_purged_one_is_still_known(self, store: Engine) -> None:
        await kill(store, plan(destinations=("meta",)))
        await purge(store, DeadFilter(), 10)
        state = await state_of(store, "meta")
        assert (state.outcome, state.reason) == (Outcome.DEAD, Reason.REJECTED_BY_PLATFORM)

    async def test_newly_allowed_is_shown(self, store: Engine) -> None:
        await accept(store, plan(destinations=("meta",), refused={"tiktok": Reason.CONSENT_MISSING}))
        await deliver_all(store, "meta")
        assert (await state_of(store, "tiktok")).outcome is Outcome.DENIED
        await accept(store, plan(destinations=("meta", "tiktok")))
        assert (await state_of(store, "tiktok")) == DeliveryState(Outcome.QUEUED, money=WORTH)
        assert (await state_of(store, "meta")).outcome is Outcome.DELIVERED

    async def test_several_events_of_one_id(self, store: Engine, clock: FrozenClock) -> None:
        for event_name, source in (("Purchase", "shop"), ("Lead", "shop"), ("Purchase", "app")):
            await accept(store, plan(asked="evt-1", event_name=event_name, source=source, accepted_at=clock.now()))
            clock.advance(SECOND)
        everywhere = await store.event("evt-1")
        assert [(state.event_name, state.source) for state in everywhere] == [
            ("Purchase", "app"),
            ("Lead", "shop"),
            ("Purchase", "shop"),
        ]
        assert [state.event_name for state in await store.event("evt-1", "shop")] == ["Lead", "Purchase"]
        assert list(await store.event("evt-1", "elsewhere")) == []

    async def test_every_event_of_a_transaction(self, store: Engine, clock: FrozenClock) -> None:
        for event_name, occurrence, source in (
            ("Purchase", None, "shop"),
            ("Refund", "RF-1", "shop"),
            ("Refund", "RF-2", "shop"),
            ("Purchase", None, "app"),
        ):
            each = plan(event_name=event_name, occurrence=occurrence, source=source, accepted_at=clock.now())
            await accept(store, each)
            clock.advance(SECOND)
        await accept(store, plan("ORD-2"))
        ids = ["refund_ORD-1_RF-2", "refund_ORD-1_RF-1", "purchase_ORD-1"]
        assert [state.event_id for state in await store.transaction("ORD-1", "shop")] == ids
        assert [state.event_id for state in await store.transaction("ORD-1")] == ["purchase_ORD-1", *ids]
        assert list(await store.transaction("ORD-3")) == []

    async def test_many_transactions_are_told_in_the_order_asked(self, store: Engine, clock: FrozenClock) -> None:
        for transaction, event_name, source in (
            ("ORD-1", "Purchase", "shop"),
            ("ORD-2", "Purchase", "shop"),
            ("ORD-1", "Lead", "shop"),
            ("ORD-1", "Purchase", "app"),
        ):
            await accept(store, plan(transaction, event_name=event_name, source=source, accepted_at=clock.now()))
            clock.advance(SECOND)
        asked = ["ORD-2", "ORD-0", "ORD-1", "ORD-2"]
        told = await store.transactions("shop", asked)
        assert [[state.event_id for state in each] for each in told] == [
            ["purchase_ORD-2"],
            [],
            ["lead_ORD-1", "purchase_ORD-1"],
            ["purchase_ORD-2"],
        ]
        assert [list(each) for each in told] == [list(await store.transaction(each, "shop")) for each in asked]
        assert list(await store.transactions("shop", [])) == []

    async def test_the_money_of_a_delivery_is_told_whatever_became_of_it(self, store: Engine) -> None:
        await accept(store, plan("ORD-1", money=("EUR", "12.345678")))
        await accept(store, plan("ORD-2", money=None))
        await kill(store, plan("ORD-3", ("google",), money=("JPY", "1500")), "google")
        await purge(store, DeadFilter(), 10)
        await deliver_all(store, "meta")
        (first,), (second,), (third,) = await store.transactions("shop", ["ORD-1", "ORD-2", "ORD-3"])
        assert {name: first.destinations[name].money for name in ("meta", "tiktok", "google")} == {
            "meta": ("EUR", Decimal("12.345678")),
            "tiktok": ("EUR", Decimal("12.345678")),
            "google": None,
        }
        assert second.destinations["meta"].money is second.destinations["tiktok"].money is None
        assert third.destinations["google"].money == ("JPY", Decimal(1500))

    async def test_later_copies_leave_the_money_of_what_was_queued(self, store: Engine) -> None:
        await accept(store, plan(destinations=("meta",), money=("EUR", "10")))
        await accept(store, plan(destinations=("meta", "tiktok"), money=("EUR", "20")))
        await deliver_all(store, "meta", "tiktok")
        (state,) = await store.event("purchase_ORD-1")
        assert state.destinations["meta"].money == ("EUR", Decimal(10))
        assert state.destinations["tiktok"].money == ("EUR", Decimal(20))

    async def test_events_accepted_within_a_time_are_read_in_pages(self, store: Engine, clock: FrozenClock) -> None:
        start = clock.now()
        for number in range(12):
            await accept(
                store, plan(f"ORD-{number:02}", source="shop" if number % 3 else "app", accepted_at=clock.now())
            )
            clock.advance(HOUR)
        await accept(store, plan(None, derived="lead_x", event_name="Lead", accepted_at=clock.now()))
        await deliver_all(store, "meta", "tiktok")
        for page in (1, 5, 100):
            told = await read_accepted(store, "shop", start + 2 * HOUR, start + 8 * HOUR, page)
            assert [state.transaction for state in told] == ["ORD-02", "ORD-04", "ORD-05", "ORD-07"]
            assert {state.destinations["meta"].outcome for state in told} == {Outcome.DELIVERED}
        assert len(await read_accepted(store, "shop", start, start + DAY, 100)) == 8  # without a transaction: not told
        assert await read_accepted(store, "shop", start + DAY, start + 2 * DAY, 100) == []
        with pytest.raises(ValueError):
            await store.accepted("shop", start, start + DAY, 10, "no place")

    async def test_the_journal_outlives_a_restart(self, store: Engine, reopen: Reopen) -> None:
        await accept(store, plan(refused={"google": Reason.CONSENT_MISSING}))
        await settle(store, delivered(await claim(store), "AbC9"))
        before = await store.event("purchase_ORD-1")
        store = await reopen()
        assert list(await store.event("purchase_ORD-1")) == list(before)
        assert list(await store.transaction("ORD-1")) == list(before)

    async def test_settled_events_are_kept_for_the_journal_s_time(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        await deliver_all(store, "meta", "tiktok")
        clock.advance(7 * DAY - HOUR)
        await store.sweep()
        assert len(await store.event("purchase_ORD-1")) == 1
        clock.advance(2 * HOUR)
        assert await store.sweep() > 0
        assert list(await store.event("purchase_ORD-1")) == []
        assert list(await store.transaction("ORD-1")) == []
        assert await counts(store) == {"queued": 1, "delivered": 1}

    async def test_pending_events_are_never_swept(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        await deliver_all(store, "meta")
        clock.advance(60 * DAY)
        await store.sweep()
        assert (await claim(store, "tiktok")).event == plan().event
        assert await counts(store, "tiktok") == {"queued": 1, "pending": 1}
        assert (await state_of(store, "meta")).outcome is Outcome.DELIVERED

    # --- what waits

    async def test_backlog_tells_ready_from_later(self, store: Engine, clock: FrozenClock) -> None:
        start = clock.now()
        assert await waiting(store) == Backlog(0, 0, None)
        for number in range(4):
            await accept(store, plan(f"ORD-{number}", ("meta",), accepted_at=clock.now()))
            clock.advance(SECOND)
        assert await waiting(store) == Backlog(4, 0, start)
        first, second = await store.claim("meta", 2, LEASE)
        assert await waiting(store) == Backlog(2, 2, start)
        await settle(store, retrying(first, clock.now() + HOUR))
        assert await waiting(store) == Backlog(2, 2, start)
        await settle(store, released(second, clock.now()))
        assert await waiting(store) == Backlog(3, 1, start)
        clock.advance(HOUR)
        assert await waiting(store) == Backlog(4, 0, start)
        await deliver_all(store, "meta")
        assert await waiting(store) == Backlog(0, 0, None)

    async def test_the_oldest_moves_on_when_it_is_settled(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan("ORD-1"))
        second_at = clock.advance(HOUR)
        await accept(store, plan("ORD-2", accepted_at=second_at))
        (first,) = await store.claim("meta", 1, LEASE)
        assert (await waiting(store)).oldest_accepted_at == plan().accepted_at
        await settle(store, dead(first))
        assert (await waiting(store)).oldest_accepted_at == second_at
        assert (await waiting(store, "tiktok")).oldest_accepted_at == plan().accepted_at

    async def test_a_lost_lease_is_ready(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, plan())
        await claim(store)
        assert await waiting(store) == Backlog(0, 1, plan().accepted_at)
        clock.advance(LEASE + SECOND)
        assert await waiting(store) == Backlog(1, 0, plan().accepted_at)

    async def test_unroutable_names_work_nobody_would_do(self, store: Engine) -> None:
        await store.accept([plan("ORD-1"), plan("ORD-2"), plan("ORD-3", ("google",))])
        await deliver_all(store, "google")
        assert dict(await store.unroutable(["meta", "tiktok"])) == {}
        await store.claim("tiktok", 1, LEASE)
        assert dict(await store.unroutable(["meta", "google"])) == {"tiktok": 2}
        assert dict(await store.unroutable([])) == {"meta": 2, "tiktok": 2}

    async def test_a_dead_letter_is_no_pending_work(self, store: Engine) -> None:
        await kill(store, plan(destinations=("meta",)))
        assert dict(await store.unroutable([])) == {}
        await replay(store, DeadFilter(), 10)
        assert dict(await store.unroutable([])) == {"meta": 1}
