"""Accepting plans inside a transaction: which id counts, what is new, what was there before.

One call handles the plans of every request that shares the transaction. Look-ups are made once for all of them;
the plans are then decided one after another against what is on disk plus what this call has added itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from app.errors import Outcome, Reason, Status, StoreFull
from app.model import Accepted, Budget, HashedEvent, IdRequest, Plan, Verdict, from_epoch
from app.outbox.persons import marks_of
from app.outbox.port import DeliveryState, verdict_of
from app.outbox.room import Full
from app.outbox.shares import queue_of
from app.outbox.sqlite import proofs
from app.outbox.sqlite.counts import Delta
from app.outbox.sqlite.queues import HELD, Queues
from app.outbox.sqlite.schema import OUTCOMES, STATE_PENDING, erased_id

_EPOCH = from_epoch(0)
_MICROSECOND = timedelta(microseconds=1)


def to_us(instant: datetime) -> int:
    """Microseconds since the Unix epoch."""
    return (instant - _EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """The instant of `us` microseconds since the Unix epoch."""
    return _EPOCH + timedelta(microseconds=us)


@dataclass(slots=True)
class Known:
    """An event that holds an id: from disk, or added earlier in this call."""

    event: int
    source: str
    event_name: str
    event_id: str
    transaction: str | None
    occurrence: str | None
    remember_until: int
    accepted_at: int
    is_erased: bool = False
    """Whether only a digest of its id is on disk."""
    states: dict[int, DeliveryState] = field(default_factory=dict)

    @property
    def is_pending(self) -> bool:
        """Whether a delivery of it is still to be settled."""
        return any(state.outcome in {Outcome.QUEUED, Outcome.RETRYING} for state in self.states.values())


@dataclass(frozen=True, slots=True)
class Warm:
    """An event kept in memory since it was accepted, so that a claim need not read and decode it again."""

    event_id: str
    accepted_at: datetime
    event: HashedEvent
    budgets: Mapping[int, Budget]
    """By lane; of a lane that is not here, the row says it."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan with its body already encoded."""

    plan: Plan
    body: bytes
    proof: bytes | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """The plans of one call of `accept`, and why the file has no room for anything new, if it has none."""

    items: Sequence[Prepared]
    no_room: StoreFull | None


def state_of(
    state: int,
    reason: str | None,
    detail: str | None,
    attempts: int,
    trace: str | None,
    limited: int,
    at: int | None,
    held_until: int | None,
) -> DeliveryState:
    """The delivery state in one row of `deliveries`."""
    outcome = OUTCOMES.get(state) or (Outcome.RETRYING if reason else Outcome.QUEUED)
    return DeliveryState(
        outcome,
        Reason(reason) if reason else None,
        detail,
        attempts,
        trace,
        bool(limited),
        from_us(at) if at is not None else None,
        held_until=from_us(held_until) if held_until is not None else None,
    )


STATE_COLUMNS = f"""
state, reason, detail, attempts, trace_id, limited, settled_at, CASE WHEN state = {STATE_PENDING} THEN
  (SELECT deliveries.ready_at FROM queues WHERE id = deliveries.queue AND bulk = {HELD}) END
"""  # noqa: S608
"""What `state_of` takes."""


class Acceptance:
    """Decides the plans of one transaction and collects the rows to write."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        lanes: Mapping[str, int],
        queues: Queues,
        next_event: Callable[[], int],
        now_us: int,
        full: Full,
        skipping: Collection[str],
        *,
        has_erased: bool = False,
    ) -> None:
        """`full` is what has no room left at the beginning of the transaction.

        `has_erased` says that digests may stand for ids of erased events.
        """
        self._connection = connection
        self._has_erased = has_erased
        self._queues = queues
        self._lanes = lanes
        self._names = {number: name for name, number in lanes.items()}
        self._next_event = next_event
        self._now = now_us
        self._full = full
        self._skipping = skipping
        self._by_id: dict[tuple[str, str, str], Known] = {}
        self._by_exact: dict[tuple[str, str, str, str | None, str | None], Known] = {}
        self._by_key: dict[tuple[str, str, str, str | None], str] = {}
        self._minted: dict[tuple[str, str, str], tuple[str, str | None]] = {}
        self.delta = Delta()
        self.warm: list[tuple[int, Warm]] = []
        self.woken: set[str] = set()
        self._events: list[tuple[Any, ...]] = []
        self._bodies: list[tuple[int, bytes]] = []
        self._deliveries: list[tuple[Any, ...]] = []
        self._proofs: list[proofs.Row] = []
        self._joined: list[tuple[Any, ...]] = []

    def run(self, calls: Sequence[Call]) -> list[list[Accepted] | StoreFull]:
        """One answer per plan, in order, for each call, with every row written into the open transaction.

        A call for which there is no room gets the exception to raise, and leaves nothing behind.
        """
        requests = [item.plan.id_request for call in calls for item in call.items]
        self._look_up_transactions({r.transaction for r in requests if r.transaction is not None})
        self._look_up_ids({self._wanted(r) for r in requests} | {r.asked or r.derived for r in requests})
        if self._has_erased:
            self._look_up_erased(requests)
        answers = [self._take(call) for call in calls]
        self._write()
        return answers

    def _take(self, call: Call) -> list[Accepted] | StoreFull:
        full = self._full if call.no_room is None else Full(call.no_room, self._full.destinations)
        items = call.items
        if full:
            try:
                items = [self._fitted(item, full) for item in items]
            except StoreFull as error:
                return error
        return [self._decide(item) for item in items]

    def _fitted(self, item: Prepared, full: Full) -> Prepared:
        """The item as far as there is room for it.

        Raises: StoreFull.
        """
        _, known, is_conflict = self._resolve(item.plan.id_request)
        if is_conflict:
            return item
        held = known.states if known is not None else {}
        fresh = {each.destination for each in item.plan.deliveries if self._lanes[each.destination] not in held}
        plan = full.fit(item.plan, fresh, self._skipping, is_new=known is None)
        return item if plan is item.plan else replace(item, plan=plan)

    def _look_up_transactions(self, transactions: set[str]) -> None:
        if transactions:
            wanted = orjson.dumps(list(transactions)).decode()
            self._look_up_minted("txn IN (SELECT value FROM json_each(?))", wanted)
            self._remember("txn IN (SELECT value FROM json_each(?))", wanted)

    def _look_up_ids(self, event_ids: set[str]) -> None:
        wanted = orjson.dumps(list(event_ids)).decode()
        self._look_up_minted("event_id IN (SELECT value FROM json_each(?))", wanted)
        self._remember("event_id IN (SELECT value FROM json_each(?))", wanted)

    def _look_up_erased(self, requests: Sequence[IdRequest]) -> None:
        """Find the events of which only a digest of the id is left."""
        real = {erased_id(r.source, r.event_name, self._wanted(r)): self._wanted(r) for r in requests}
        self._remember("event_id IN (SELECT value FROM json_each(?))", orjson.dumps(list(real)).decode(), real)

    def _look_up_minted(self, condition: str, argument: str) -> None:
        for event_id, txn, source, event_name, occurrence in self._connection.execute(
            "SELECT event_id, txn, source, event_name, occurrence FROM minted "  # noqa: S608
            f"WHERE {condition} AND remember_until > ?",
            (argument, self._now),
        ):
            self._by_key[source, event_name, txn, occurrence or None] = event_id
            self._minted[source, event_name, event_id] = (txn, occurrence or None)

    def _remember(self, condition: str, argument: str, erased: Mapping[str, str] | None = None) -> None:
        """Hold the events in these rows; `erased` maps the digests that stand for ids to the ids."""
        found = {
            row[0]: Known(*row)
            for row in self._connection.execute(
                "SELECT id, source, event_name, event_id, txn, occurrence, remember_until, accepted_at "  # noqa: S608
                f"FROM events WHERE {condition} ORDER BY id",
                (argument,),
            )
        }
        if not found:
            return
        for event, lane, *columns in self._connection.execute(
            f"SELECT event, lane, {STATE_COLUMNS} FROM deliveries "  # noqa: S608
            "WHERE event IN (SELECT value FROM json_each(?))",
            (orjson.dumps(list(found)).decode(),),
        ):
            found[event].states[lane] = state_of(*columns)
        for known in found.values():
            if erased is not None:
                known.event_id, known.is_erased = erased[known.event_id], True
            # An id is remembered for its window, and in any case until its last delivery is settled.
            if known.remember_until > self._now or known.is_pending:
                self._hold(known)

    def _hold(self, known: Known) -> None:
        self._by_id.setdefault((known.source, known.event_name, known.event_id), known)
        exact = (known.source, known.event_name, known.event_id, known.transaction, known.occurrence)
        self._by_exact.setdefault(exact, known)
        if known.transaction is not None:
            key = (known.source, known.event_name, known.transaction, known.occurrence)
            self._by_key.setdefault(key, known.event_id)

    def _wanted(self, request: IdRequest) -> str:
        if request.asked is not None:
            return request.asked
        return self._kept(request) or request.derived

    def _kept(self, request: IdRequest) -> str | None:
        if request.transaction is None:
            return None
        return self._by_key.get((request.source, request.event_name, request.transaction, request.occurrence))

    def _resolve(self, request: IdRequest) -> tuple[str, Known | None, bool]:
        """The id that counts, the event that holds it, and whether that is a conflict which nothing may follow."""
        event_id = self._wanted(request)
        known = self._by_id.get((request.source, request.event_name, event_id))
        if not self._is_conflict(request, event_id, known):
            return event_id, known, False
        # Sent all the same, where the operator chose so; but no more than once.
        exact = (request.source, request.event_name, event_id, request.transaction, request.occurrence)
        return event_id, self._by_exact.get(exact), not request.send_conflicts

    def _decide(self, item: Prepared) -> Accepted:
        event_id, known, is_conflict = self._resolve(item.plan.id_request)
        if is_conflict:
            return Accepted(event_id, Status.CONFLICT, {})
        return self._add(item, event_id) if known is None else self._repeat(item, known)

    def _is_conflict(self, request: IdRequest, event_id: str, known: Known | None) -> bool:
        """Whether the id belongs to another transaction, or the transaction has another id."""
        kept = self._kept(request)
        if kept is not None and kept != event_id:
            return True
        if request.transaction is None:
            return False
        asked = (request.transaction, request.occurrence)
        if known is not None and known.transaction is not None:
            return (known.transaction, known.occurrence) != asked
        minted = self._minted.get((request.source, request.event_name, event_id))
        return minted is not None and minted != asked

    def _add(self, item: Prepared, event_id: str) -> Accepted:
        plan = item.plan
        request = plan.id_request
        event = self._next_event()
        known = Known(
            event,
            request.source,
            request.event_name,
            event_id,
            request.transaction,
            request.occurrence,
            to_us(request.remember_until),
            to_us(plan.accepted_at),
        )
        self._hold(known)
        unqueued = {
            name: (verdict.outcome, verdict.reason, verdict.reason_detail)
            for name, verdict in plan.verdicts.items()
            if verdict.outcome is not Outcome.QUEUED
        }
        self._events.append(
            (
                event,
                request.source,
                request.event_name,
                event_id,
                request.transaction,
                request.occurrence,
                known.accepted_at,
                known.remember_until,
                orjson.dumps(unqueued) if unqueued else None,
                b"".join(marks_of(plan.event.persons)),
            )
        )
        self._queue(item, known, {self._lanes[planned.destination] for planned in plan.deliveries})
        self._prove(item, known)
        return Accepted(event_id, Status.ACCEPTED, plan.verdicts)

    def _repeat(self, item: Prepared, known: Known) -> Accepted:
        plan = item.plan
        before = dict(known.states)
        fresh = {self._lanes[planned.destination] for planned in plan.deliveries} - before.keys()
        self._queue(item, known, fresh)
        if fresh:
            self._prove(item, known)
            self._join(item, known)
        verdicts: dict[str, Verdict] = {
            name: verdict_of(before[lane]) if (lane := self._lanes.get(name)) in before else verdict
            for name, verdict in plan.verdicts.items()
        }
        return Accepted(known.event_id, Status.ACCEPTED if fresh else Status.DUPLICATE, verdicts)

    def _join(self, item: Prepared, known: Known) -> None:
        """Note who else an event is about, by a later copy of it; one that was erased comes back by it."""
        request = item.plan.id_request
        if known.is_erased:
            known.is_erased, known.transaction, known.occurrence = False, request.transaction, request.occurrence
        marks = b"".join(marks_of(item.plan.event.persons))
        self._joined.append((known.event_id, known.transaction, known.occurrence, marks, known.event))

    def _prove(self, item: Prepared, known: Known) -> None:
        if item.proof is not None:
            self._proofs.append((known.source, known.event_name, known.event_id, item.proof))

    def _queue(self, item: Prepared, known: Known, lanes: set[int]) -> None:
        if not lanes:
            return
        plan = item.plan
        money = plan.event.money
        ready_at = to_us(plan.accepted_at)
        self._bodies.append((known.event, item.body))
        budgets: dict[int, Budget] = {}
        self.warm.append((known.event, Warm(known.event_id, from_us(known.accepted_at), plan.event, budgets)))
        currency, amount = (money[0], str(money[1])) if money else (None, None)
        queue = queue_of(known.source, known.event_name, is_bulk=plan.is_bulk, is_held=plan.is_held)
        for planned in plan.deliveries:
            lane = self._lanes[planned.destination]
            if lane not in lanes:
                continue
            budget = budgets[lane] = planned.budget
            self._deliveries.append(
                (
                    known.event,
                    lane,
                    self._queues.number(self._connection, lane, queue),
                    STATE_PENDING,
                    ready_at if planned.held_until is None else to_us(planned.held_until),
                    planned.limited,
                    currency,
                    amount,
                    to_us(budget.window_until),
                    None if budget.pair_until is None else to_us(budget.pair_until),
                    budget.repeat_for // _MICROSECOND,
                    len(item.body),
                    0,
                )
            )
            known.states[lane] = DeliveryState(Outcome.QUEUED, limited=planned.limited, held_until=planned.held_until)
            self.delta.queue(lane, money, len(item.body))
            self.woken.add(planned.destination)

    def _write(self) -> None:
        connection = self._connection
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", self._events)
        connection.executemany(
            "UPDATE events SET event_id = ?, txn = ?, occurrence = ?, persons = CAST(persons || ? AS BLOB) "
            "WHERE id = ?",
            self._joined,
        )
        connection.executemany("INSERT OR IGNORE INTO bodies VALUES (?, ?)", self._bodies)
        proofs.keep(connection, self._proofs)
        connection.executemany(
            "INSERT INTO deliveries (event, lane, queue, state, ready_at, limited, currency, amount, window_until, "
            "pair_until, repeat_for, bytes, attempts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            self._deliveries,
        )
