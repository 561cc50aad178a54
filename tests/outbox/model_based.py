"""An engine beside a model of it: the same steps to both, the same answers from both, in whatever order.

The model is a dictionary of deliveries. It knows the ports' promises and nothing of any engine. Where a promise leaves
something open (which of two deliveries that became ready at one instant comes first), the engine may choose.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Protocol, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.errors import FINAL_OUTCOMES, Outcome, Reason, Status
from app.model import Accepted, Delivery, Plan, Settlement
from app.outbox.port import LEDGER_STATES, PENDING, QUEUED, Backlog, DeadFilter
from tests.factories import FrozenClock, plan
from tests.outbox.support import LIMIT_S, Engine, dead_letters

T = TypeVar("T")
PLACES = ("meta", "tiktok")
HELD = 10
"""How many claims are remembered to be settled, the latest first."""
HALF = timedelta(milliseconds=500)
"""Leases and retries end between the whole seconds the clock moves by: never at the very instant of a step."""
LEASE = timedelta(seconds=20) + HALF
WORTH = {"ORD-1": ("EUR", "0.10"), "ORD-2": ("JPY", "12000"), "ORD-3": None}
"""What a transaction is worth; a copy that names another sum is a case of the contract."""
FOR_EVER = timedelta(days=3650)
NO_TIME = timedelta(0)
PAUSES = tuple(timedelta(seconds=seconds) for seconds in (1, 7, 21, 61, 3600))


class ModelHarness(Protocol):
    """How the machine opens an engine, ends it and throws its data away."""

    voids_leases_on_open: bool

    async def open(self) -> Engine:
        """An engine on data of its own."""
        ...

    async def reopen(self, *, crash: bool = True) -> Engine:
        """Another engine on the same data."""
        ...

    async def close(self) -> None:
        """End the engine, if one is open."""
        ...

    def discard(self) -> None:
        """Throw the data away."""
        ...


Slot = tuple[str, str]
"""(event_name, event_id): what tells events apart where all have one source."""
Place = tuple[Slot, str]
"""An event and a destination."""


@dataclass
class Waiting:
    """What the model knows of one delivery. `ready_at` is None where it became ready at an unknown instant."""

    accepted_at: datetime
    money: tuple[str, Decimal] | None
    ready_at: datetime | None
    state: str = PENDING
    attempts: int = 0
    unsure_since: datetime | None = None
    claim: Delivery | None = None
    claimed_at: datetime | None = None
    is_purged: bool = False
    has_died: bool = False
    is_bulk: bool = False

    def is_ready(self, now: datetime) -> bool:
        """Whether a claim may take it."""
        return self.state == PENDING and (self.ready_at is None or self.ready_at <= now)

    def is_leased(self, now: datetime) -> bool:
        """Whether somebody holds it."""
        return self.state == PENDING and self.claim is not None and not self.is_ready(now)


@dataclass
class Model:
    """A store, in memory and in the open."""

    deliveries: dict[Place, Waiting] = field(default_factory=dict)
    transactions: dict[Slot, str] = field(default_factory=dict)
    ids: dict[tuple[str, str], str] = field(default_factory=dict)
    first_seen: dict[Slot, datetime] = field(default_factory=dict)

    def accept(self, asked_for: Plan) -> tuple[str, Status, set[str]]:
        """The id, the status, and the destinations newly queued."""
        request = asked_for.id_request
        transaction = request.transaction or ""
        kept = self.ids.get((request.event_name, transaction))
        event_id = request.asked or kept or request.derived
        slot = (request.event_name, event_id)
        if kept not in {None, event_id} or self.transactions.get(slot, transaction) != transaction:
            return event_id, Status.CONFLICT, set()
        is_known = slot in self.transactions
        self.transactions[slot] = transaction
        self.first_seen.setdefault(slot, asked_for.accepted_at)
        self.ids[request.event_name, transaction] = event_id
        fresh = {each.destination for each in asked_for.deliveries if (slot, each.destination) not in self.deliveries}
        for name in fresh:
            self.deliveries[slot, name] = Waiting(asked_for.accepted_at, asked_for.event.money, asked_for.accepted_at)
        return event_id, Status.ACCEPTED if fresh or not is_known else Status.DUPLICATE, fresh

    @property
    def is_pending(self) -> bool:
        """Whether any delivery is to be settled."""
        return any(each.state == PENDING for each in self.deliveries.values())

    @property
    def is_dead(self) -> bool:
        """Whether any delivery is a dead letter that is kept."""
        return any(each.state == Outcome.DEAD.value and not each.is_purged for each in self.deliveries.values())

    def at(self, destination: str) -> dict[Place, Waiting]:
        """The deliveries of one destination."""
        return {place: each for place, each in self.deliveries.items() if place[1] == destination}

    def account(self, destination: str) -> dict[str, int]:
        """The counts of one destination."""
        counts = dict.fromkeys((QUEUED, *LEDGER_STATES), 0)
        for each in self.at(destination).values():
            counts[QUEUED] += 1
            counts[each.state] += 1
        return counts

    def money(self, destination: str) -> dict[str, dict[str, Decimal]]:
        """The sums of one destination per currency, those of zero left out."""
        sums: defaultdict[str, defaultdict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        for each in self.at(destination).values():
            if each.money is not None:
                currency, value = each.money
                sums[currency][QUEUED] += value
                sums[currency][each.state] += value
        return {currency: dict(states) for currency, states in sums.items()}

    def backlogs(self, destination: str, now: datetime) -> set[Backlog]:
        """What waits for one destination, where its age counts from the event or from being newly allowed."""
        pending = {place: each for place, each in self.at(destination).items() if each.state == PENDING}
        ready = sum(each.is_ready(now) for each in pending.values())
        later = len(pending) - ready
        return {
            Backlog(ready, later, min((self.first_seen[slot] for slot, _ in pending), default=None)),
            Backlog(ready, later, min((each.accepted_at for each in pending.values()), default=None)),
        }


def place_of(delivery: Delivery) -> Place:
    """Where the model keeps what was claimed."""
    return (delivery.event.event_name, delivery.event_id), delivery.destination


class StoreMachine(RuleBasedStateMachine):
    """Steps at random. A subclass says how to make the engine."""

    make: ClassVar[Callable[[FrozenClock], Any]]

    def __init__(self) -> None:
        super().__init__()
        self.clock = FrozenClock()
        self.model = Model()
        self.held: list[Delivery] = []
        self.runner = asyncio.Runner()
        self.harness: ModelHarness = type(self).make(self.clock)
        self.store: Engine

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        """The result of one step of the engine."""
        return self.runner.run(asyncio.wait_for(step, LIMIT_S))

    @property
    def now(self) -> datetime:
        """The instant of this step."""
        return self.clock.now()

    @initialize()
    def open(self) -> None:
        """Begin with an empty store."""
        self.store = self.run(self.harness.open())

    # --- steps

    plans: ClassVar[st.SearchStrategy[dict[str, Any]]] = st.builds(
        dict,
        transaction=st.sampled_from(["ORD-1", "ORD-2", "ORD-3"]),
        event_name=st.sampled_from(["Purchase", "Purchase", "Lead"]),
        destinations=st.lists(st.sampled_from(PLACES), unique=True, max_size=3),
        asked=st.sampled_from([None, None, None, None, "evt-1", "purchase_ORD-2"]),
    )

    @rule(wanted=st.lists(plans, min_size=1, max_size=4))
    def accept(self, wanted: list[dict[str, Any]]) -> None:
        """Post events, several in one call."""
        asked_for = [
            plan(accepted_at=self.now, remember_for=FOR_EVER, money=WORTH[each["transaction"]], **each)
            for each in wanted
        ]
        expected = []
        for each in asked_for:
            event_id, status, fresh = self.model.accept(each)
            slot = (each.id_request.event_name, event_id)
            states = {
                name: self.model.deliveries[slot, name].state
                for name in PLACES
                if (slot, name) in self.model.deliveries
            }
            expected.append((event_id, status, fresh, states))
        answers = self.run(self.store.accept(asked_for))
        assert len(answers) == len(asked_for)
        for answer, each, (event_id, status, fresh, states) in zip(answers, asked_for, expected, strict=True):
            assert (answer.event_id, answer.status) == (event_id, status)
            self.check_answer(answer, each, fresh, states)

    def check_answer(self, answer: Accepted, asked_for: Plan, fresh: set[str], states: dict[str, str]) -> None:
        """The outcomes of an answer: what was queued now, and what became of the rest."""
        if answer.status is Status.CONFLICT:
            assert not answer.destinations
            return
        for planned in asked_for.deliveries:
            outcome = answer.destinations[planned.destination].outcome
            if planned.destination in fresh:
                assert outcome is Outcome.QUEUED
            elif states[planned.destination] == PENDING:
                assert outcome in {Outcome.QUEUED, Outcome.RETRYING}
            else:
                assert outcome.value == states[planned.destination]

    @precondition(lambda self: self.model.is_pending)
    @rule(
        destination=st.sampled_from(PLACES), most=st.integers(1, 4), pause=st.sampled_from([NO_TIME, NO_TIME, *PAUSES])
    )
    def claim(self, destination: str, most: int, pause: timedelta) -> None:
        """Take what is ready, perhaps after a while."""
        self.clock.advance(pause)
        claimed = self.run(self.store.claim(destination, most, LEASE))
        ready = {place: each for place, each in self.model.at(destination).items() if each.is_ready(self.now)}
        taken = [place_of(delivery) for delivery in claimed]
        assert len(taken) == min(most, len(ready))
        assert len(set(taken)) == len(taken)
        assert set(taken) <= set(ready)
        chosen = [ready[place] for place in taken]
        left = [each for place, each in ready.items() if place not in taken]
        assert all(each.is_bulk for each in left) or not any(each.is_bulk for each in chosen), "live events first"
        for is_bulk in (False, True):
            first = [each.ready_at for each in chosen if each.is_bulk is is_bulk and each.ready_at is not None]
            later = [each.ready_at for each in left if each.is_bulk is is_bulk and each.ready_at is not None]
            assert not first or not later or max(first) <= min(later), "the oldest ready go first"
        for delivery in claimed:
            self.check_claimed(delivery, ready[place_of(delivery)])
        self.held = [*claimed, *self.held][:HELD]

    def check_claimed(self, delivery: Delivery, known: Waiting) -> None:
        """What a claim tells of earlier tries, and that it is on record from now on."""
        if known.claim is not None:
            known.attempts += 1
            known.unsure_since = known.unsure_since or known.claimed_at
        assert (delivery.attempts, delivery.unsure_since) == (known.attempts, known.unsure_since)
        assert delivery.claimed_until == self.now + LEASE
        known.claim, known.claimed_at, known.ready_at = delivery, self.now, self.now + LEASE

    @precondition(lambda self: self.held)
    @rule(
        pause=st.sampled_from([NO_TIME, NO_TIME, *PAUSES]),
        picks=st.lists(
            st.tuples(
                st.integers(0, HELD - 1),
                st.sampled_from([*FINAL_OUTCOMES[:-1], Outcome.DELIVERED, Outcome.DEAD, Outcome.RETRYING]),
                st.sampled_from([timedelta(0), timedelta(seconds=5) + HALF, timedelta(hours=1) + HALF]),
                st.booleans(),
                st.booleans(),
            ),
            min_size=1,
            max_size=4,
            unique_by=lambda pick: pick[0],
        ),
    )
    def settle(self, pause: timedelta, picks: list[tuple[int, Outcome, timedelta, bool, bool]]) -> None:
        """End claims, late ones too."""
        self.clock.advance(pause)
        settlements: dict[Place, Settlement] = {}
        expected = 0
        for pick, outcome, later, attempted, is_ambiguous in picks:
            delivery = self.held[pick % len(self.held)]
            place = place_of(delivery)
            if place in settlements:
                continue  # of two ends of one delivery in one call, either may be the first
            known = self.model.deliveries[place]
            settlement = self.settlement(delivery, outcome, later, attempted, is_ambiguous)
            if known.claim is delivery and known.is_ready(self.now):
                # The lease ran out and nobody has claimed since: only `delivered` is sure to count.
                settlement = self.settlement(delivery, Outcome.DELIVERED, later, True, False)
            elif known.claim is not delivery and known.has_died:
                continue
            settlements[place] = settlement
            expected += self.end(settlement, known)
        assert self.run(self.store.settle(list(settlements.values()))) == expected

    def settlement(
        self, delivery: Delivery, outcome: Outcome, later: timedelta, attempted: bool, is_ambiguous: bool
    ) -> Settlement:
        """The end of one claim, with a reason the outcome can have."""
        reason = {
            Outcome.RETRYING: Reason.TIMEOUT,
            Outcome.DEAD: Reason.REJECTED_BY_PLATFORM,
            Outcome.EXPIRED: Reason.DEDUP_WINDOW_PASSED,
            Outcome.WITHDRAWN: Reason.CONSENT_WITHDRAWN,
        }.get(outcome)
        is_retry = outcome is Outcome.RETRYING
        return Settlement(
            delivery,
            outcome,
            reason,
            ready_at=self.now + later if is_retry else None,
            attempted=attempted,
            unsure_since=self.now if is_retry and attempted and is_ambiguous else None,
        )

    def end(self, settlement: Settlement, known: Waiting) -> bool:
        """Settle in the model; whether it took effect."""
        is_current = known.claim is settlement.delivery
        if known.state != PENDING or not (is_current or settlement.outcome is Outcome.DELIVERED):
            return False
        known.claim = None
        if settlement.outcome is Outcome.RETRYING:
            known.attempts += settlement.attempted
            known.unsure_since = known.unsure_since or settlement.unsure_since
            known.ready_at = settlement.ready_at
        else:
            known.state = settlement.outcome.value
            known.has_died |= settlement.outcome is Outcome.DEAD
        return True

    @precondition(lambda self: self.held)
    @rule(pick=st.integers(0, HELD - 1), lease=st.sampled_from([LEASE, 10 * LEASE]))
    def extend(self, pick: int, lease: timedelta) -> None:
        """Hold on to a claim, or try to."""
        delivery = self.held[pick % len(self.held)]
        known = self.model.deliveries[place_of(delivery)]
        if known.claim is delivery:
            if not known.is_leased(self.now):
                return
            known.ready_at = self.now + lease
        self.run(self.store.extend([delivery], lease))

    @precondition(lambda self: self.model.is_dead)
    @rule(
        destination=st.sampled_from([None, *PLACES]),
        purge=st.sampled_from([False, False, True]),
        page=st.sampled_from([1, 2, 100]),
    )
    def revive_or_purge(self, destination: str | None, purge: bool, page: int) -> None:
        """Replay dead letters, or delete them, once they were listed in pages."""
        dead = {
            place: each
            for place, each in self.model.deliveries.items()
            if each.state == Outcome.DEAD.value and not each.is_purged and destination in {None, place[1]}
        }
        which = DeadFilter(destination=destination)
        letters = self.run(dead_letters(self.store, which, 1000, page))
        listed = [((letter.event_name, letter.event_id), letter.destination) for letter in letters]
        assert sorted(listed) == sorted(dead), "each once, and nothing else"
        step = self.store.purge if purge else self.store.replay
        assert self.run(step(letters)) == len(dead)
        assert self.run(step(letters)) == 0
        for each in dead.values():
            if purge:
                each.is_purged = True
            else:
                each.state, each.attempts, each.ready_at, each.claim = PENDING, 0, self.now, None
                each.is_bulk = True
        recount = self.run(self.store.recount())
        assert not recount.differences
        assert recount.deliveries == sum(
            each.state in {PENDING, Outcome.DEAD.value} and not each.is_purged
            for each in self.model.deliveries.values()
        )

    @rule(crash=st.booleans())
    def reopen(self, crash: bool) -> None:
        """Start anew on the same data, once what is due is forgotten, which is nothing here."""
        assert self.run(self.store.sweep()) == 0
        self.store = self.run(self.harness.reopen(crash=crash))
        if self.harness.voids_leases_on_open:
            for each in self.model.deliveries.values():
                if each.is_leased(self.now):
                    each.ready_at = None
            self.held.clear()

    # --- what holds after every step

    @invariant()
    def ledger_agrees(self) -> None:
        """The ledger closes and is the model's, in deliveries and in money."""
        ledger = self.run(self.store.ledger())
        for name in PLACES:
            account = ledger[name]
            assert account.is_closed
            assert dict(account.deliveries) == self.model.account(name)
            sums = {
                currency: {state: amount for state, amount in states.items() if amount}
                for currency, states in account.money.items()
            }
            assert {currency: states for currency, states in sums.items() if states} == self.model.money(name)

    @invariant()
    def backlog_agrees(self) -> None:
        """What waits is what the model has waiting."""
        backlog = self.run(self.store.backlog())
        for name in PLACES:
            assert backlog.get(name, Backlog(0, 0, None)) in self.model.backlogs(name, self.now)

    def teardown(self) -> None:
        """Deliver what is left: everything pending comes exactly once, and nothing else."""
        try:
            if hasattr(self, "store") and sys.exc_info()[0] is None:
                self.drain()
        finally:
            self.run(self.harness.close())
            self.runner.close()
            self.harness.discard()

    def drain(self) -> None:
        """Claim and deliver until nothing is pending."""
        self.clock.advance(timedelta(days=2))
        for name in PLACES:
            pending = {place for place, each in self.model.at(name).items() if each.state == PENDING}
            claimed: Sequence[Delivery] = self.run(self.store.claim(name, 1000, LEASE))
            assert sorted(map(place_of, claimed)) == sorted(pending), "nothing lost, nothing twice"
            assert self.run(self.store.settle([Settlement(each, Outcome.DELIVERED) for each in claimed])) == len(
                pending
            )
            for place in pending:
                self.model.deliveries[place].state = Outcome.DELIVERED.value
        self.ledger_agrees()
        self.backlog_agrees()
        assert not self.run(self.store.recount()).differences


def store_machine(make: Callable[[FrozenClock], Any]) -> type[StoreMachine]:
    """The machine for one engine; `make` gives a `ModelHarness` on data of its own."""
    machine: type[StoreMachine] = type("EngineMachine", (StoreMachine,), {"make": staticmethod(make)})
    machine.TestCase.settings = settings(
        max_examples=40,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    return machine
