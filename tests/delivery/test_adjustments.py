"""Refunds: held back while their purchase is pending, sent with what is left of it, and never without it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.delivery.aftermath import judge
from app.destinations.base import Destination, Precedent
from app.destinations.google.refunds import ADJUSTMENT, apply
from app.errors import Outcome, Reason
from app.model import Delivery, HashedEvent, HttpCall, Settlement
from app.outbox.aftermath import adjust_book, adjust_name
from app.outbox.port import DeliveryState, EventState, Memo
from tests.delivery.support import NAME, Setup, adapter, build, opened, until
from tests.delivery.test_lane import Flaky
from tests.destinations import support as s
from tests.factories import START, FrozenClock, budget, custom_data

pytestmark = pytest.mark.anyio

SETTINGS = s.settings("google")
USD = ("USD", Decimal("129.90"))


def refund(value: str | None = "30", currency: str | None = "USD", **over: Any) -> HashedEvent:
    data = custom_data(None, currency=currency if value else None, value=None if value is None else Decimal(value))
    return s.event(event_name="Refund", custom_data=data, **over)


# --- what is left ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("back", "precedent", "left"),
    [
        ("30", Precedent(USD), "99.90"),
        ("129.90", Precedent(USD), "0.00"),
        ("200", Precedent(USD), "0"),
        (None, Precedent(USD), "0"),
        ("30", Precedent(USD, {"earlier": Decimal(20)}), "79.90"),
        ("30", Precedent(USD, {"refund": Decimal(30)}), "99.90"),  # this very one, whose answer was lost
        ("30", Precedent(USD, {"earlier": None}), "0"),
    ],
)
def test_what_is_left_of_a_purchase(back: str | None, precedent: Precedent, left: str) -> None:
    applied = apply(refund(back), "refund", precedent)
    assert isinstance(applied, HashedEvent)
    assert applied.money == ("USD", Decimal(left))


def test_what_cannot_be_told() -> None:
    assert "another currency" in str(apply(refund("30", "EUR"), "refund", Precedent(USD)))
    assert "without a value" in str(apply(refund("30"), "refund", Precedent()))
    whole = apply(refund(None), "refund", Precedent())
    assert isinstance(whole, HashedEvent)
    assert whole.money is None


# --- the decision ---------------------------------------------------------------------------------------------


def sibling(name: str, outcome: Outcome, event_id: str = "other", minutes: int = -5, at: str = "any") -> EventState:
    accepted_at = s.NOW + timedelta(minutes=minutes)
    return EventState(event_id, name, "shop", accepted_at, "ORD-12345", {at: DeliveryState(outcome)})


@pytest.mark.parametrize(
    ("siblings", "precedent", "expected"),
    [
        ([], None, Reason.PURCHASE_NOT_DELIVERED),
        ([sibling("Purchase", Outcome.DEAD)], None, Reason.PURCHASE_NOT_DELIVERED),
        ([sibling("Purchase", Outcome.QUEUED, at="elsewhere")], None, Reason.PURCHASE_NOT_DELIVERED),
        ([sibling("Purchase", Outcome.QUEUED)], None, "wait"),
        ([sibling("Purchase", Outcome.RETRYING)], Precedent(USD), "wait"),
        ([sibling("Purchase", Outcome.DELIVERED)], Precedent(USD), "go"),
        ([], Precedent(USD), "go"),  # the journal has forgotten it, we have not
        ([sibling("Refund", Outcome.QUEUED)], Precedent(USD), "wait"),
        ([sibling("Refund", Outcome.QUEUED, minutes=5)], Precedent(USD), "go"),
        ([sibling("Refund", Outcome.QUEUED, "purchase_ORD-12345", 0)], Precedent(USD), "go"),  # itself
        ([sibling("Refund", Outcome.DEAD)], Precedent(USD), "go"),
        ([sibling("Lead", Outcome.QUEUED)], Precedent(USD), "go"),
        ([], Precedent(), Reason.PURCHASE_NOT_DELIVERED),
    ],
)
def test_the_decision(siblings: list[EventState], precedent: Precedent | None, expected: Reason | str) -> None:
    judged = judge(s.delivery(refund()), ADJUSTMENT, siblings, precedent, s.NOW)
    if expected == "go":
        assert isinstance(judged, HashedEvent)
        return
    assert isinstance(judged, Settlement)
    assert not judged.attempted
    if expected == "wait":
        assert (judged.outcome, judged.reason) == (Outcome.RETRYING, None)
        assert judged.ready_at is not None
        assert judged.ready_at > s.NOW
    else:
        assert (judged.outcome, judged.reason) == (Outcome.DEAD, expected)


def test_the_longer_it_waits_the_rarer_it_is_looked_at() -> None:
    waiting = [sibling("Purchase", Outcome.QUEUED)]
    waits = []
    for age in (0, 10, 3600):
        delivery = s.delivery(refund(), accepted_at=s.NOW - timedelta(seconds=age))
        judged = judge(delivery, ADJUSTMENT, waiting, None, s.NOW)
        assert isinstance(judged, Settlement)
        assert judged.ready_at is not None
        waits.append((judged.ready_at - s.NOW).total_seconds())
    assert waits == [2, 10, 300]


# --- in the lane ----------------------------------------------------------------------------------------------


class Values:
    """An adapter that knows adjustments, and what it sent: event_id to value."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Decimal | None]] = []
        self.destination: Destination[Any] = dataclasses.replace(adapter(self.build), adjustment=ADJUSTMENT)

    def build(self, deliveries: Sequence[Delivery], settings: Any) -> Sequence[HttpCall]:
        self.sent += [(d.event_id, d.event.custom_data.value) for d in deliveries]
        return build(deliveries, settings)


async def put(setup: Setup, name: str, value: str | None, occurrence: str | None = None, **over: Any) -> str:
    money = None if value is None else ("USD", value)
    ids = await setup.put("ORD-1", event_name=name, occurrence=occurrence, money=money, **over)
    return ids[0]


async def test_refunds_follow_their_purchase_one_by_one(tmp_path: Any) -> None:
    clock, values = FrozenClock(START), Values()
    async with opened(tmp_path, clock) as setup:
        setup.platform.answer = lambda _: {"all": "limited"}
        first = await put(setup, "Refund", "30", "R-1")
        purchase = await put(setup, "Purchase", "129.90")
        second = await put(setup, "Refund", "20", "R-2")
        async with setup.running(destination=values.destination, settings=SETTINGS):

            async def refused() -> bool:
                return bool(values.sent) and await setup.terms() == {"queued": 3, "pending": 3}

            await until(refused)
            assert {event_id for event_id, _ in values.sent} == {purchase}
            setup.platform.answer = lambda _: {}

            async def done() -> bool:
                clock.advance(timedelta(seconds=5))
                return await setup.terms() == {"queued": 3, "delivered": 3}

            await until(done)
        assert list(dict(values.sent).items()) == [
            (purchase, Decimal("129.90")),
            (first, Decimal("99.90")),
            (second, Decimal("79.90")),
        ]


async def test_a_refund_without_its_purchase_is_never_sent(tmp_path: Any) -> None:
    clock, values = FrozenClock(START), Values()
    async with opened(tmp_path, clock) as setup:
        event_id = await put(setup, "Refund", "30")
        async with setup.running(destination=values.destination, settings=SETTINGS):
            await setup.settled(dead=1)
        state = await setup.state(event_id)
        assert (state.reason, state.attempts) == (Reason.PURCHASE_NOT_DELIVERED, 0)
        assert values.sent == []


async def test_a_refund_long_after_the_journal_forgot_the_purchase(tmp_path: Any) -> None:
    clock, values = FrozenClock(START), Values()
    async with opened(tmp_path, clock) as setup:
        await put(setup, "Purchase", "129.90")
        async with setup.running(destination=values.destination, settings=SETTINGS):
            await setup.settled(delivered=1)
        clock.advance(timedelta(days=30))
        await setup.store.sweep()
        assert await setup.store.transaction("ORD-1") == []
        await put(setup, "Refund", "29.90")
        async with setup.running(destination=values.destination, settings=SETTINGS):
            await setup.settled(delivered=2)
        assert values.sent[-1][1] == Decimal("100.00")
        clock.advance(timedelta(days=56))
        await put(setup, "Refund", "10", "R-9")
        async with setup.running(destination=values.destination, settings=SETTINGS):
            await setup.settled(delivered=2, dead=1)


async def test_renewals_are_no_precedent(tmp_path: Any) -> None:
    clock, values = FrozenClock(START), Values()
    async with opened(tmp_path, clock) as setup:
        await put(setup, "Purchase", "9", "INV-2")
        async with setup.running(destination=values.destination, settings=SETTINGS):
            await setup.settled(delivered=1)
        await put(setup, "Refund", "9", "R-1")
        async with setup.running(destination=values.destination, settings=SETTINGS):
            await setup.settled(delivered=1, dead=1)


async def test_without_refunds_nothing_is_remembered(tmp_path: Any) -> None:
    clock, values = FrozenClock(START), Values()
    own = s.settings("google", skip_events=["Refund"])
    async with opened(tmp_path, clock) as setup:
        await put(setup, "Purchase", "9")
        async with setup.running(destination=values.destination, settings=own):
            await setup.settled(delivered=1)
        (rows,) = setup.store._connection.execute("SELECT count(*) FROM memos").fetchone()
        assert rows == 0


@pytest.mark.parametrize("method", ["transaction", "memos"])
async def test_a_store_that_is_away_while_a_refund_is_looked_at_is_waited_for(tmp_path: Any, method: str) -> None:
    """Nothing was sent: no lease may run out on it, as that counts as an attempt whose end nobody knows."""
    clock, values = FrozenClock(START), Values()
    async with opened(tmp_path, clock) as setup:
        setup.outbox = Flaky(setup.store)
        setup.outbox.failing = {method}
        await setup.put("ORD-2", budget_of=budget(repeat_for=timedelta(0)))
        await put(setup, "Refund", "30")
        async with setup.running(destination=values.destination, settings=SETTINGS):
            await until(lambda: bool(setup.outbox.failed))
            setup.outbox.failing = set()
            await setup.settled(delivered=1, dead=1)


@pytest.mark.parametrize("fault", ["precedent", "apply"])
async def test_a_refund_that_cannot_be_made_takes_nobody_with_it(tmp_path: Any, fault: str) -> None:
    clock, values = FrozenClock(START), Values()

    def broken(*_: Any) -> HashedEvent:
        raise ValueError("zq7x in an event")

    destination = values.destination
    async with opened(tmp_path, clock) as setup:
        await put(setup, "Purchase", "129.90")
        async with setup.running(destination=destination, settings=SETTINGS):
            await setup.settled(delivered=1)
        if fault == "apply":
            destination = dataclasses.replace(destination, adjustment=dataclasses.replace(ADJUSTMENT, apply=broken))
        else:
            name = adjust_name("shop", "ORD-1")
            await setup.store.keep_memos([Memo(adjust_book(NAME), name, b"zq7x", START + timedelta(days=9))])
        refund_id = await put(setup, "Refund", "30")
        (other,) = await setup.put("ORD-2")
        async with setup.running(destination=destination, settings=SETTINGS):
            await setup.settled(delivered=2, pending=1)
        state = await setup.state(refund_id)
        assert (state.outcome, state.reason) == (Outcome.RETRYING, Reason.PLATFORM_ERROR)
        assert "could not be built" in state.reason_detail
        assert "zq7x" not in state.reason_detail
        assert values.sent[-1][0] == other
