"""What the scripts keep and return, as typed values; the scripts name the same places in `common.lua`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import orjson

from app.errors import Outcome, Reason
from app.model import Budget, Plan
from app.outbox.port import LEDGER_STATES, PENDING, QUEUED, Account, DeliveryState, EventState, Ledger
from app.outbox.redis.places import from_us, to_us

STATE_PENDING = 0
STATES: dict[Outcome, int] = {
    Outcome.RETRYING: STATE_PENDING,
    Outcome.DELIVERED: 1,
    Outcome.DEAD: 2,
    Outcome.EXPIRED: 3,
    Outcome.WITHDRAWN: 4,
    Outcome.ERASED: 5,
}
STATE_PURGED = 6
OUTCOMES: dict[int, Outcome] = {number: outcome for outcome, number in STATES.items() if number} | {
    STATE_PURGED: Outcome.DEAD
}
_MICROSECOND = timedelta(microseconds=1)
MILLION = 1_000_000
MAX_UNITS = 10**15
"""Amounts of this many units or more are refused: sums of less are exact up to 9,000 of the greatest per state."""


class DeliveryRecord(msgspec.Struct, array_like=True):
    """One event at one destination, as kept."""

    destination: str
    state: int
    term: int
    limited: int
    attempts: int
    token: int
    claimed_at: int
    unsure_since: int
    reason: str | bool
    detail: str | bool
    trace_id: str | bool
    settled_at: int
    unknown_answers: int


class Terms(msgspec.Struct, array_like=True):
    """The money a delivery is counted with, and its time budget; deliveries of one copy share them."""

    currency: str | bool
    units: int
    millionths: int
    window_until: int
    pair_until: int | bool
    repeat_for: int

    @property
    def money(self) -> tuple[str, Decimal] | None:
        """Currency and amount."""
        if not isinstance(self.currency, str):
            return None
        return self.currency, Decimal(self.units) + Decimal(self.millionths) / MILLION

    @property
    def budget(self) -> Budget:
        """How long the delivery may go on."""
        return Budget(
            from_us(self.window_until),
            None if self.pair_until is False else from_us(self.pair_until),
            timedelta(microseconds=self.repeat_for),
        )


class EventRecord(msgspec.Struct, array_like=True):
    """One event, as kept."""

    source: str
    event_name: str
    event_id: str
    transaction: str | bool
    occurrence: str | bool
    accepted_at: int
    remember_until: int
    verdicts: str
    deliveries: list[DeliveryRecord]
    terms: list[Terms]

    def at(self, destination: str) -> DeliveryRecord:
        """Its delivery to `destination`."""
        return next(each for each in self.deliveries if each.destination == destination)

    def is_live(self, now_us: int) -> bool:
        """Whether its id is remembered: for its window, and in any case until its last delivery is settled."""
        return self.remember_until > now_us or any(each.state == STATE_PENDING for each in self.deliveries)

    def belongs_to(self, transaction: str | None, occurrence: str | None) -> bool:
        """Whether it is the event of this transaction."""
        return (self.transaction or None, self.occurrence or None) == (transaction, occurrence)


_decoder = msgspec.msgpack.Decoder(EventRecord)


def decode_record(raw: bytes) -> EventRecord:
    """The event in `raw`."""
    return _decoder.decode(raw)


def text_or_none(value: str | bool) -> str | None:
    """Lua has no None within a list; false stands for it."""
    return value if isinstance(value, str) else None


def reason_or_none(value: str | bool) -> Reason | None:
    """The reason that is kept, if there is one."""
    return Reason(value) if isinstance(value, str) else None


def delivery_state(state: int, reason: str | bool, detail: str | bool, limited: int) -> DeliveryState:
    """What became of a delivery, as far as a duplicate is told."""
    outcome = OUTCOMES.get(state) or (Outcome.RETRYING if reason else Outcome.QUEUED)
    return DeliveryState(outcome, reason_or_none(reason), text_or_none(detail), limited=bool(limited))


def _full_state(record: DeliveryRecord) -> DeliveryState:
    told = delivery_state(record.state, record.reason, record.detail, record.limited)
    return DeliveryState(
        told.outcome,
        told.reason,
        told.reason_detail,
        record.attempts,
        text_or_none(record.trace_id),
        told.limited,
        from_us(record.settled_at) if record.settled_at else None,
    )


def event_state(record: EventRecord) -> EventState:
    """What became of an event."""
    destinations = {
        name: DeliveryState(Outcome(outcome), Reason(reason) if reason else None, detail)
        for name, (outcome, reason, detail) in (orjson.loads(record.verdicts) if record.verdicts else {}).items()
    }
    destinations |= {each.destination: _full_state(each) for each in record.deliveries}
    return EventState(
        record.event_id,
        record.event_name,
        record.source,
        from_us(record.accepted_at),
        text_or_none(record.transaction),
        destinations,
    )


def unqueued(plan: Plan) -> str:
    """The verdicts of a plan that are not kept as deliveries, as text."""
    verdicts = {
        name: (verdict.outcome, verdict.reason, verdict.reason_detail)
        for name, verdict in plan.verdicts.items()
        if verdict.outcome is not Outcome.QUEUED
    }
    return orjson.dumps(verdicts).decode() if verdicts else ""


def _terms_of(money: tuple[str, Decimal] | None, budget: Budget) -> tuple[Any, ...]:
    pair_until = False if budget.pair_until is None else to_us(budget.pair_until)
    times = (to_us(budget.window_until), pair_until, budget.repeat_for // _MICROSECOND)
    if money is None:
        return (False, 0, 0, *times)
    currency, amount = money
    units = int(amount)
    millionths = (amount - units) * MILLION
    if abs(units) >= MAX_UNITS or millionths != int(millionths):
        raise ValueError("an amount of money has too many digits to be counted exactly")
    return (currency, units, int(millionths), *times)


def queued(plan: Plan) -> tuple[list[tuple[str, int, int]], list[tuple[Any, ...]]]:
    """The deliveries of a plan and the terms they share.

    Raises:
        ValueError: The money cannot be counted exactly.
    """
    money = plan.event.money
    terms: dict[tuple[Any, ...], int] = {}
    deliveries = []
    for planned in plan.deliveries:
        number = terms.setdefault(_terms_of(money, planned.budget), len(terms) + 1)
        deliveries.append((planned.destination, int(planned.limited), number))
    return deliveries, list(terms)


def ledger_of(names: Iterable[str], partitions: Sequence[Sequence[bytes]]) -> Ledger:
    """The sum of the state counts of all partitions; each of them closes in itself."""
    sums: dict[tuple[str, str, str, str], int] = {}
    for fields in partitions:
        for name, number in zip(fields[::2], fields[1::2], strict=True):
            destination, state, currency, what = name.decode().rsplit("\t", 3)
            key = (destination, state, currency, what)
            sums[key] = sums.get(key, 0) + int(number)
    states = {"q": QUEUED, str(STATE_PENDING): PENDING} | {str(number): OUTCOMES[number].value for number in OUTCOMES}
    every = {key[0] for key in sums}.union(names)
    deliveries = {name: dict.fromkeys((QUEUED, *LEDGER_STATES), 0) for name in every}
    money: dict[str, dict[str, dict[str, Decimal]]] = {name: {} for name in every}
    for (destination, state, currency, what), total in sums.items():
        if what == "n":
            deliveries[destination][states[state]] += total
        if currency:
            zero = dict.fromkeys((QUEUED, *LEDGER_STATES), Decimal(0))
            account = money[destination].setdefault(currency, zero)
            if what != "n":
                account[states[state]] += Decimal(total) if what == "u" else Decimal(total) / MILLION
    return {name: Account(deliveries[name], money[name]) for name in every}
