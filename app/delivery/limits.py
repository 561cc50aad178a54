"""How fast a lane may go: its breaker and its slow start, as a value. Pure.

Whole requests that fail close the lane for a growing while. After a few in a row the next try carries one event
only, and once that is taken the batches grow again step by step, so that a platform coming back is not run over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.delivery.retry import RetryPolicy, bounded, ceiling

PROBE_AFTER = 3
"""Failed requests in a row after which the next one is a probe with a single event."""
GROWTH = 8
PARKED_FIRST = timedelta(seconds=30)
PARKED_CAP = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Pace:
    """The state of one lane's flow. `held_until` None means that it may go now."""

    max_items: int
    items: int
    failures: int = 0
    held_until: datetime | None = None
    is_parked: bool = False
    detail: str | None = None

    @property
    def state(self) -> str:
        """The lane state in the metrics' words."""
        if self.is_parked:
            return "parked"
        return "open" if self.failures >= PROBE_AFTER else "running"

    @property
    def is_probe(self) -> bool:
        """Whether the next request only asks, with a single event, how things are."""
        return self.is_parked or self.failures >= PROBE_AFTER

    @property
    def limit(self) -> int:
        """How many deliveries the next claim may take."""
        return 1 if self.is_probe else self.items

    def may_go(self, now: datetime) -> bool:
        """Whether the lane may send now."""
        return self.held_until is None or now >= self.held_until


def start(max_items: int) -> Pace:
    """A lane that goes at full size."""
    return Pace(max_items, max_items)


def succeeded(pace: Pace) -> Pace:
    """After a request the platform answered in substance."""
    if pace.failures >= PROBE_AFTER or pace.is_parked:
        return Pace(pace.max_items, min(pace.max_items, GROWTH))
    if pace.failures == 0 and pace.items == pace.max_items:
        return pace
    return Pace(pace.max_items, min(pace.max_items, pace.items * GROWTH))


def failed(pace: Pace, now: datetime, hint: timedelta | None, policy: RetryPolicy, uniform: float) -> Pace:
    """After a request that failed as a whole: wait, half the ceiling for sure and the rest by chance."""
    failures = pace.failures + 1
    half = ceiling(failures, policy) / 2
    wait = max(half + half * uniform, bounded(hint))
    return replace(pace, failures=failures, held_until=now + wait, is_parked=False)


def parked(pace: Pace, now: datetime, detail: str | None) -> Pace:
    """After the platform refused the credentials: wait for a person, and ask with one event now and then."""
    failures = pace.failures + 1 if pace.is_parked else 1
    wait = min(PARKED_CAP, PARKED_FIRST * (1 << min(failures - 1, 10)))
    return replace(pace, failures=failures, held_until=now + wait, is_parked=True, detail=detail)
