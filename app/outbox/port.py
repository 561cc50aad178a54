"""What a store engine promises: `Outbox` (accept, claim, settle, count, dead letters), `Journal` (status), `LaneBook`.

An engine implements these and `app.dedup.port.IdStore` over one store, so that accepting an event, remembering its
id and queueing its deliveries are one atomic step. `tests/outbox/contract.py` is the suite every engine passes.

The lease model. A delivery (event x destination) is *ready at* an instant. Claiming moves that instant to now +
lease and returns an opaque token, the fence. Settling checks the token and removes the delivery from what is
pending, or moves it to the retry instant. Ready, waiting, leased and crashed-while-leased are thus one mechanism:
a delivery whose worker died is ready again when its lease ends, and nothing else needs to recover it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from app.dedup.port import IdStore, PairStore
from app.errors import FINAL_OUTCOMES, Outcome, Reason
from app.model import Accepted, Budget, Delivery, Plan, Settlement, Verdict
from app.outbox.proofs import ProofStore
from app.outbox.recount import Recount
from app.outbox.room import Waiting
from app.outbox.shares import EVERYTHING, Choice
from app.outbox.tallies import TallyStore

if TYPE_CHECKING:
    from app.outbox.persons import PersonStore

PENDING = "pending"
QUEUED = "queued"
LEDGER_STATES: tuple[str, ...] = (PENDING, *(outcome.value for outcome in FINAL_OUTCOMES))
"""Where a queued delivery can be. The ledger closes when these add up to `queued`."""


@dataclass(frozen=True, slots=True)
class Account:
    """The ledger of one destination: how many deliveries, and how much money, are in each state.

    Both maps have `queued` and every one of `LEDGER_STATES`; `money` is per currency, then per state, and holds
    the currencies seen. Kept in the store in the transaction of each change, never recomputed from what is left.
    """

    deliveries: Mapping[str, int]
    money: Mapping[str, Mapping[str, Decimal]]

    @property
    def is_closed(self) -> bool:
        """Whether what was queued equals the sum of the states, in deliveries and in every currency."""
        terms: list[Mapping[str, int] | Mapping[str, Decimal]] = [self.deliveries, *self.money.values()]
        return all(term[QUEUED] == sum(term[state] for state in LEDGER_STATES) for term in terms)


Ledger = Mapping[str, Account]
"""An account per destination that ever had a delivery queued, and per destination named at opening."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for one destination. `oldest_accepted_at` includes leased, waiting and parked deliveries.

    What is held back (`PlannedDelivery.held_until`) counts in `held` alone: nobody is late with it.
    """

    ready: int
    later: int
    oldest_accepted_at: datetime | None
    held: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that ended without arriving, kept with its event so that it can be replayed.

    `key` belongs to the store engine and is opaque. `event_time` is None in a brief letter, for which the event itself
    was not read.
    """

    key: Any
    source: str
    event_id: str
    event_name: str
    destination: str
    reason: Reason
    detail: str | None
    trace_id: str | None
    attempts: int
    accepted_at: datetime
    died_at: datetime
    event_time: datetime | None
    money: tuple[str, Decimal] | None
    budget: Budget
    unsure_since: datetime | None


@dataclass(frozen=True, slots=True)
class DeadFilter:
    """Which dead letters are meant: those that fit every field that is not None.

    `died_since` is the first instant meant, `died_before` the first one that is not.
    """

    destination: str | None = None
    reason: Reason | None = None
    event_id: str | None = None
    source: str | None = None
    event_name: str | None = None
    died_since: datetime | None = None
    died_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class DeadPage:
    """Some dead letters that fit, and the place after which the search goes on; None when there are no more.

    A page may hold fewer than were asked for, or none, and yet not be the last.
    """

    letters: Sequence[DeadLetter]
    after: str | None


@dataclass(frozen=True, slots=True)
class DeliveryState:
    """What became of one event at one destination. `outcome` is QUEUED or RETRYING while it is pending.

    `money` is what the delivery counts with in the ledger; None where it had none, or where nothing was queued.
    `held_until` is until when it may be released, of one that is held back.
    """

    outcome: Outcome
    reason: Reason | None = None
    reason_detail: str | None = None
    attempts: int = 0
    trace_id: str | None = None
    limited: bool = False
    settled_at: datetime | None = None
    money: tuple[str, Decimal] | None = None
    held_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class EventState:
    """What became of one event: the answer to "did order 10045 reach Meta?".

    `key` belongs to the store engine and is opaque: what `Outbox.release` and `Outbox.cancel` take.
    """

    event_id: str
    event_name: str
    source: str
    accepted_at: datetime
    transaction: str | None
    destinations: Mapping[str, DeliveryState] = field(default_factory=dict)
    key: Any = None


@dataclass(frozen=True, slots=True)
class Touched:
    """Which held deliveries of one event were released or cancelled, by destination.

    `in_flight` are those whose time is over and that a worker is ending: they are left to it.
    """

    changed: frozenset[str] = frozenset()
    in_flight: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events that fit, and the place after which the search goes on; None when there are no more.

    A page may hold fewer than were asked for, or none, and yet not be the last.
    """

    events: Sequence[EventState]
    after: str | None


class Outbox(Protocol):
    """The queue. Every method is atomic and may be cancelled: it then happened wholly or not at all."""

    async def accept(self, plans: Sequence[Plan]) -> Sequence[Accepted]:
        """Resolve ids, drop duplicates, queue deliveries: one atomic, durable step for each plan.

        Returns one `Accepted` per plan, in order, only once every one is durable. Within one call and across
        concurrent calls the plans behave as if done one after another. A plan whose (source, event_name,
        event_id) was seen before queues only for destinations that had no delivery queued for it; nothing new
        to queue is `duplicate`, and `destinations` then shows what each delivery is by now (QUEUED, RETRYING
        or its final outcome). The same id for another transaction, or another id for the same transaction and
        occurrence, is `conflict`: nothing is queued and `destinations` is empty, unless the id request says
        `send_conflicts`.

        Where there is no room (`app.outbox.room`), a call with anything new to queue is refused whole; what was queued
        before is still answered. A destination that skips when it is full is SKIPPED with BACKLOG_FULL, not refused.

        Raises: StoreUnavailable (nothing of a plan was kept, or it is not known to be durable); StoreFull (no room).
        """

    async def claim(
        self, destination: str, limit: int, lease: timedelta, choice: Choice = EVERYTHING
    ) -> Sequence[Delivery]:
        """Take up to `limit` ready deliveries; nobody else gets them until now + lease.

        Which, and in which order, is what `app.outbox.shares` says of `choice`: by default the oldest ready instants
        of live events, shared evenly by the sources, and a bounded share of bulk. At a cost that does not grow with
        how many wait.

        A delivery whose previous claim was neither settled nor released comes back with `attempts` one higher and
        `unsure_since` set to the start of the first such claim.
        """

    async def extend(self, deliveries: Sequence[Delivery], lease: timedelta) -> Sequence[Delivery]:
        """Move the end of the leases to now + lease; returns those still held, in order.

        A stale token changes nothing: that delivery is somebody else's by now, or settled.
        """

    async def settle(self, settlements: Sequence[Settlement]) -> int:
        """End claims, in one durable step; returns how many took effect.

        A settlement whose token is stale changes nothing, except that a late `delivered` still counts while the
        delivery is pending. A final outcome moves the delivery's count and money from `pending` to that outcome;
        RETRYING makes it ready at `ready_at`, counts the attempt if `attempted`, and keeps `unsure_since`.
        """

    async def wait(self, destination: str, at_most: timedelta, paused: Collection[str] = ()) -> None:
        """Return when something may have become ready for `destination`, at the latest after `at_most`.

        Waiting deliveries of `paused` event names (as `Choice.paused` has them) end no wait.
        """

    async def hasten(self, destination: str, limit: int) -> int:
        """Make up to `limit` pending deliveries ready now that are leased or wait; returns how many.

        For what nobody is to wait for any more: whoever holds a lease finds it run out. What is held back comes too,
        and as held as it was (`Delivery.is_held`).
        """

    async def release(self, events: Sequence[Any]) -> Sequence[Touched]:
        """Make the held deliveries of these events (`EventState.key`) ready now; one answer per event, in order.

        From then on they are live deliveries like any other. One atomic, durable step for each event; done twice, the
        second changes nothing.

        Raises: StoreUnavailable.
        """

    async def cancel(self, events: Sequence[Any]) -> Sequence[Touched]:
        """End the held deliveries of these events as WITHDRAWN: CANCELLED; one answer per event, in order.

        Their count and money move from `pending`; an event with nothing left to deliver loses its body. One atomic,
        durable step for each event, as in `release`: of the two that are asked at once, one finds nothing held.

        Raises: StoreUnavailable.
        """

    async def ledger(self) -> Ledger:
        """The state counts, as of one instant."""

    async def recount(self) -> Recount:
        """Count again what is pending and dead, and compare it with the ledger.

        Each part of the store as of one instant, in steps that hold nobody else up; it takes its time.
        Cancelled, it ends between two steps.

        Raises: StoreUnavailable.
        """

    async def backlog(self) -> Mapping[str, Backlog]:
        """What waits, per destination."""

    async def dead_letters(
        self, which: DeadFilter, limit: int, after: str | None = None, *, is_brief: bool = False
    ) -> DeadPage:
        """Up to `limit` (at least 1) dead letters that fit, oldest first; those after the place `after` of a page.

        One call looks at a bounded number of letters, whether they fit or not. Letters that die while pages are read
        come after those that died before.

        Raises: ValueError when `after` is no place of this engine; StoreUnavailable.
        """

    async def replay(self, letters: Sequence[DeadLetter]) -> int:
        """Make those that are still dead pending again, ready now, with a fresh count of attempts; returns how many.

        One durable step: callers keep it small. Moves their count and money from `dead` to `pending`. The event_id
        stays what it was, and so does `unsure_since`: a replay of a delivery whose end nobody knows is as ambiguous
        as it was. They are bulk from then on: live events keep their share of the lane.
        """

    async def purge(self, letters: Sequence[DeadLetter]) -> int:
        """Delete the events of those that are still dead; their counts stay in the ledger. Returns how many.

        One durable step: callers keep it small.
        """

    async def sweep(self) -> int:
        """Forget remembered ids past their window and settled events past the journal's; returns how many went.

        Dead letters past their retention are purged as well, and everything else that `app.retention` has goes.

        In short steps, as many as one call may take; cancelled, it ends between two and the rest is left for later.
        """


class Journal(Protocol):
    """What became of events, for a person who asks."""

    async def event(self, event_id: str, source: str | None = None) -> Sequence[EventState]:
        """Every event kept under this id (several event names or sources may share one), newest first."""

    async def transaction(self, transaction: str, source: str | None = None) -> Sequence[EventState]:
        """Every event of this transaction, newest first."""

    async def transactions(self, source: str, transactions: Sequence[str]) -> Sequence[Sequence[EventState]]:
        """The events of each of these transactions of one source, in order: what `transaction` says of each."""

    async def accepted(
        self, source: str, since: datetime, before: datetime, limit: int, after: str | None = None
    ) -> EventPage:
        """Events of one source with a transaction, accepted from `since` on and before `before`, in no set order.

        One call looks at about `limit` events (at least 1) of all sources, whether they fit or not; the next goes on
        at the place `after` of a page. Events accepted while pages are read may be among them or not.

        Raises: ValueError when `after` is no place of this engine; StoreUnavailable.
        """


@dataclass(frozen=True, slots=True)
class Note:
    """One entry of the lane book. `version` is opaque and never comes twice."""

    value: bytes
    version: int


class LaneBook(Protocol):
    """What the processes of one store tell each other about the lanes: pauses, breakers, budgets. Small and few."""

    async def notes(self) -> Mapping[str, Note]:
        """Every note by its name, without those whose time is over.

        Raises: StoreUnavailable.
        """

    async def note(self, name: str, value: bytes | None, version: int, keep_for: timedelta | None = None) -> int | None:
        """Put `value` (None: nothing) under `name`, if what is there has still this version (0: nothing is there).

        Returns the new version (0: nothing is there now), or None when somebody was faster: then nothing changed.
        Atomic under any race. The note goes after `keep_for`; one without an end is durable.

        Raises: StoreUnavailable.
        """


@dataclass(frozen=True, slots=True)
class Memo:
    """A small value to be remembered until `until`. One with a `due_at` asks to be looked at from that instant on."""

    book: str
    name: str
    value: bytes
    until: datetime
    due_at: datetime | None = None


class Memos(Protocol):
    """What delivering has to remember beyond a delivery's end: questions to ask later, conversions to adjust."""

    async def keep_memos(self, memos: Sequence[Memo]) -> None:
        """Keep these durably, each in place of an earlier one of its book and name.

        Raises: StoreUnavailable.
        """

    async def memos(self, book: str, names: Collection[str]) -> Mapping[str, bytes]:
        """The values kept under these names of one book; those that have none, or had their time, are absent.

        Of memos that have no `due_at`: one that has is found by `due_memos` alone.

        Raises: StoreUnavailable.
        """

    async def due_memos(self, book: str, limit: int, lease: timedelta) -> Sequence[Memo]:
        """Up to `limit` memos of a book that are due, the earliest first; nobody else gets them until now + lease.

        Their `due_at` is then the end of the lease: whoever is done with one keeps it anew or drops it.

        Raises: StoreUnavailable.
        """

    async def drop_memos(self, book: str, names: Collection[str]) -> None:
        """Forget these, durably.

        Raises: StoreUnavailable.
        """


class DeliveryStore(Outbox, Journal, Memos, Protocol):
    """What delivering works with."""

    @property
    def pairs(self) -> PairStore:
        """Which sides reported an event."""


class Store(DeliveryStore, IdStore, LaneBook, Protocol):
    """One engine, opened: all of these over one store. `app.stores` opens it, everything else is handed it."""

    @property
    def proofs(self) -> ProofStore:
        """What each event's consent was decided by."""

    @property
    def persons(self) -> PersonStore:
        """What is kept of persons."""

    @property
    def tallies(self) -> TallyStore:
        """What audits count by day."""

    @property
    def keys_given_up(self) -> int:
        """How many data keys opening it deleted, as the encryption key that wrapped them is given up."""

    async def close(self) -> None:
        """Finish what was begun, release the store. Nothing may be called afterwards."""

    async def probe(self) -> None:
        """Return when the store can keep something durably right now.

        Raises: StoreUnavailable; StoreReplaced when this process cannot go on with it.
        """

    async def unroutable(self, destinations: Collection[str]) -> Mapping[str, int]:
        """Destinations that have pending deliveries but are not among `destinations`, with how many."""

    async def keep_secret(self, name: str, make: Callable[[], bytes]) -> bytes:
        """The secret kept under `name`; made, kept durably and returned at the first call."""

    def waiting(self) -> Mapping[str, Waiting]:
        """How much waits for each destination, as far as this process knows, without asking anyone."""

    def size_bytes(self) -> int:
        """How much the store occupies now."""


def verdict_of(state: DeliveryState) -> Verdict:
    """The answer to a duplicate for one destination: what its delivery is by now."""
    return Verdict(state.outcome, state.reason, state.reason_detail, state.limited, state.held_until)
