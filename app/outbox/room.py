"""How much may wait, what is full by now, and what that means for an event that comes. Pure.

A limit is looked at before requests are taken, not while: a request is taken whole as long as there is room for one
more delivery. So a limit is exceeded by no more than the events of one transaction (SQLite: those of one request, or
500 of several), or of what all processes take within a second (Redis). Nothing that was queued before is ever refused
its answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from app.errors import Outcome, Reason, StoreFull
from app.model import Plan, Verdict

DELIVERY_BYTES = 400
"""What the only delivery of an event takes in an SQLite file beside the event's body, in round numbers."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much waits: deliveries, and bytes of their events' bodies with `DELIVERY_BYTES` for each."""

    deliveries: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Bound:
    """How much may wait for one destination; None: as much as there is."""

    deliveries: int | None = None
    bytes: int | None = None

    def reached(self, waiting: Waiting) -> str | None:
        """The name of the setting that leaves no room for another delivery, or None."""
        if self.deliveries is not None and waiting.deliveries >= self.deliveries:
            return "max_waiting"
        if self.bytes is not None and waiting.bytes >= self.bytes:
            return "max_waiting_bytes"
        return None

    def part(self, share: Fraction) -> Bound:
        """The bound of a share of what may wait."""
        return Bound(
            None if self.deliveries is None else int(self.deliveries * share),
            None if self.bytes is None else int(self.bytes * share),
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may wait: `deliveries` over all destinations, and for each. `skipping` are full without refusing."""

    deliveries: int | None = None
    destinations: Mapping[str, Bound] = field(default_factory=dict)
    skipping: frozenset[str] = frozenset()

    def full(self, waiting: Mapping[str, Waiting]) -> Full:
        """What has no room left."""
        reached = {}
        for name, bound in self.destinations.items():
            limit = bound.reached(waiting.get(name, _NOTHING))
            if limit is not None:
                reached[name] = limit
        store = None
        if self.deliveries is not None and sum(each.deliveries for each in waiting.values()) >= self.deliveries:
            store = StoreFull("as many deliveries wait as the store may hold", limit="store.max_waiting")
        return Full(store, reached)

    def part(self, share: Fraction) -> Limits:
        """The limits of a share of what may wait, for what must leave room to others."""
        deliveries = None if self.deliveries is None else int(self.deliveries * share)
        return Limits(deliveries, {name: bound.part(share) for name, bound in self.destinations.items()}, self.skipping)


_NOTHING = Waiting()
NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Full:
    """What has no room left: the whole store, and why; destinations, each with the setting that says so."""

    store: StoreFull | None = None
    destinations: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything is full."""
        return self.store is not None or bool(self.destinations)

    def fit(self, plan: Plan, fresh: Collection[str], skipping: Collection[str], *, is_new: bool) -> Plan:
        """The plan as far as there is room: without the destinations among `skipping` that are full.

        `fresh` are the destinations it would queue for, `is_new` whether its event is not known yet.

        Raises: StoreFull when the event has to be refused.
        """
        if self.store is not None and (fresh or is_new):
            raise self.store
        full = [name for name in self.destinations if name in fresh]
        for name in full:
            if name not in skipping:
                raise StoreFull(
                    f"as much waits for {name} as may", limit=f"destinations.{name}.{self.destinations[name]}"
                )
        if not full:
            return plan
        skipped = dict.fromkeys(full, Verdict(Outcome.SKIPPED, Reason.BACKLOG_FULL))
        return replace(
            plan,
            deliveries=tuple(planned for planned in plan.deliveries if planned.destination not in skipped),
            verdicts={**plan.verdicts, **skipped},
        )
