"""What a person may ask for beside a withdrawal: that all about them is deleted, or shown. Scans in bounded steps.

An erasure goes through the store twice. The first scan ends what waits and tells which events had arrived where; the
second deletes. Between any two answers the caller comes back with where it goes on, and so says that it has the answer
before: nothing is deleted whose arrival was not told, whatever becomes of a connection. Begun again at any point, it
finds what is left.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import blake2b

from app.errors import Outcome
from app.model import HashedIdentity, from_epoch
from app.outbox import aftermath
from app.outbox.persons import Trace, TracePage, Wanted
from app.outbox.port import Store
from app.withdrawals import Withdrawals

WITHIN = timedelta(seconds=5)
MOST_TOLD = 1000
"""Arrivals after which a call ends sooner."""
MOST_SHOWN = 200
"""Events after which a call ends sooner: each is shown with all that is kept of it."""
STOPPING, DELETING = "stop", "delete"
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure under way: since when, what it does now, how far the scan is, and whether it found anything yet."""

    began_at: datetime
    phase: str = STOPPING
    after: str | None = None
    has_found: bool = False

    def spell(self, whose: str) -> str:
        """As the caller brings it back. `whose` ties it to the person it was begun for."""
        began_us = (self.began_at - from_epoch(0)) // _MICROSECOND
        return "~".join((whose, self.phase, str(began_us), str(int(self.has_found)), self.after or ""))

    @classmethod
    def read(cls, text: str, whose: str) -> Erasure:
        """What `spell` wrote for this person. Raises: ValueError."""
        of, phase, began_us, has_found, after = text.split("~")
        if of != whose or phase not in {STOPPING, DELETING} or not 0 <= int(began_us) < 2**53:
            raise ValueError("not the continuation of an erasure of this person")
        return cls(from_epoch(0) + int(began_us) * _MICROSECOND, phase, after or None, has_found == "1")


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event that a platform has, or may have, as it was told before it is deleted here.

    `is_certain` is false where an attempt was made and the platform did not say that it took the event: its answer may
    be lost, and what it refused it had in its hands.
    """

    destination: str
    event_id: str
    event_name: str
    delivered_at: datetime | None
    trace_id: str | None
    is_certain: bool


@dataclass(slots=True)
class Progress:
    """What one call did. `left` is how many events stay, as something of theirs is under way or has just arrived."""

    began_at: datetime
    phase: str
    going_on: Erasure | None = None
    looked_at: int = 0
    found: int = 0
    ended: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    in_flight: Counter[str] = field(default_factory=Counter)
    arrivals: list[Arrival] = field(default_factory=list)
    deleted: Counter[str] = field(default_factory=Counter)
    left: int = 0


@dataclass(frozen=True, slots=True)
class Shown:
    """Some of a person's events, and where the scan goes on; None when it is through."""

    traces: Sequence[Trace]
    after: str | None
    looked_at: int


def whose(wanted: Wanted) -> str:
    """Tells the persons of one scan from those of another; says nothing of either."""
    words = b"\0".join((wanted.source.encode(), *sorted(wanted.marks)))
    return blake2b(words, digest_size=8).hexdigest()


class Erasing:
    """Erases and shows, over one store. `adjusting` are the destinations that leave memos behind."""

    def __init__(
        self,
        store: Store,
        withdrawals: Withdrawals,
        adjusting: Collection[str],
        now: Callable[[], datetime],
        within: timedelta = WITHIN,
    ) -> None:
        """`within` is how long one call goes on scanning; the last step may take it a little further."""
        self._store = store
        self._withdrawals = withdrawals
        self._adjusting = adjusting
        self._now = now
        self._within = within

    async def erase(
        self,
        source: str,
        identity: HashedIdentity,
        going_on: Erasure | None,
        *,
        keeps_proofs: bool = False,
    ) -> Progress:
        """Begin an erasure, or go on with one, for a bounded time.

        Begun, it first keeps that the person was erased: from then on nothing of theirs is sent or taken, and what a
        lane still comes to ends as erased.

        Raises: ValueError when `going_on` is no place of this store; StoreUnavailable.
        """
        if going_on is None:
            going_on = Erasure(self._now())
            await self._withdrawals.keep(source, identity, (), going_on.began_at, is_erasure=True)
        wanted = self._withdrawals.wanted(source, identity)
        done = Progress(going_on.began_at, going_on.phase)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._within.total_seconds()
        while True:
            page = await self._store.persons.find(wanted, going_on.after)
            done.looked_at += page.looked_at
            if going_on.phase == STOPPING:
                await self._stop(page, wanted, done)
            else:
                await self._delete(page, going_on.began_at, done, keeps_proofs=keeps_proofs)
            going_on = replace(going_on, after=page.after, has_found=going_on.has_found or bool(page.traces))
            if page.after is None or len(done.arrivals) >= MOST_TOLD or loop.time() >= until:
                break
        if page.after is not None:
            done.going_on = going_on
        elif going_on.phase == STOPPING and going_on.has_found:
            done.going_on = Erasure(going_on.began_at, DELETING)
        return done

    async def _stop(self, page: TracePage, wanted: Wanted, done: Progress) -> None:
        """End what waits or is dead, and tell what arrived."""
        done.found += len(page.traces)
        if not page.traces:
            return
        done.ended += await self._store.persons.end(page.traces, wanted.marks)
        for trace in page.traces:
            done.in_flight.update(trace.claimed)
            done.arrivals += arrivals_of(trace)

    async def _delete(self, page: TracePage, began_at: datetime, done: Progress, *, keeps_proofs: bool) -> None:
        """Delete what had come to rest when the erasure began, or was ended by it."""
        if not page.traces:
            return
        done.found += len(page.traces)
        resting = [trace for trace in page.traces if trace.has_come_to_rest(began_at)]
        await self._forget_memos(resting)
        if not keeps_proofs:
            done.deleted["consent_proofs"] += await self._store.persons.forget_proofs(resting)
        forgotten = await self._store.persons.forget(resting, began_at)
        done.deleted += forgotten
        done.left += len(page.traces) - forgotten["events"]
        for trace in page.traces:
            done.in_flight.update(trace.claimed)

    async def _forget_memos(self, traces: Sequence[Trace]) -> None:
        """Forget what delivering remembers of these events: conversions to adjust, refusals after acceptance."""
        states = [trace.state for trace in traces]
        if not states:
            return
        refused = [aftermath.refused_name(each.source, each.event_name, each.event_id) for each in states]
        adjusted = [aftermath.adjust_name(each.source, each.transaction) for each in states if each.transaction]
        for destination in self._adjusting:
            await self._store.drop_memos(aftermath.refused_book(destination), refused)
            if adjusted:
                await self._store.drop_memos(aftermath.adjust_book(destination), adjusted)

    async def show(self, source: str, identity: HashedIdentity, after: str | None) -> Shown:
        """The next of a person's events, scanning for a bounded time.

        Raises: ValueError when `after` is no place of this store; StoreUnavailable.
        """
        wanted = self._withdrawals.wanted(source, identity)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._within.total_seconds()
        traces: list[Trace] = []
        looked_at = 0
        while True:
            page = await self._store.persons.find(wanted, after)
            traces += page.traces
            looked_at += page.looked_at
            after = page.after
            if after is None or len(traces) >= MOST_SHOWN or loop.time() >= until:
                return Shown(traces, after, looked_at)


def arrivals_of(trace: Trace) -> list[Arrival]:
    """Where an event had arrived or may have, by the state of it that was found."""
    state = trace.state
    arrivals = []
    for name, each in state.destinations.items():
        is_certain = each.outcome is Outcome.DELIVERED
        if is_certain or each.attempts > 0:
            at = each.settled_at if is_certain else None
            arrivals.append(Arrival(name, state.event_id, state.event_name, at, each.trace_id, is_certain))
    return arrivals
