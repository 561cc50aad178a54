"""How fast a lane may go: its breaker, its slow start and what it makes of rate limits, as a value. Pure.

Whole requests that fail close the lane for a growing while. After a few in a row the next try carries one event
only, and once that is taken the lane grows again step by step, so that a platform coming back is not run over.

A platform that says "too many requests" is up: its breaker stays closed. The lane waits, then has half as many
requests at once, and once it is down to one, half as many events in it; with every answer that follows it takes back
a little (additive increase, multiplicative decrease).
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
LEAST_SHARE = 8
"""Rate limits make batches no smaller than this part of the largest: more requests would be needed for the same."""
STEPS = 10
"""In how many steps a batch size that was halved comes back to the largest."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The state of one lane's flow. `held_until` None means that it may go now.

    `failures` and `refusals` are requests in a row that failed, and that were one too many. `in_flight` grows by
    parts of one: its whole part is how many requests may be under way.
    """

    max_items: int
    max_in_flight: int
    items: int
    in_flight: float
    failures: int = 0
    refusals: int = 0
    held_until: datetime | None = None
    is_parked: bool = False
    is_eased: bool = False
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
        return self.state != "running"

    @property
    def limit(self) -> int:
        """How many deliveries the next claim may take."""
        return 1 if self.is_probe else self.items

    @property
    def width(self) -> int:
        """How many batches may be under way."""
        return 1 if self.is_probe else int(self.in_flight)

    @property
    def is_full(self) -> bool:
        """Whether it goes as fast as it ever does."""
        return self.items == self.max_items and self.in_flight == self.max_in_flight

    def may_go(self, now: datetime) -> bool:
        """Whether the lane may send now."""
        return self.held_until is None or now >= self.held_until


def start(max_items: int, max_in_flight: int) -> Pace:
    """A lane that goes at full size."""
    return Pace(max_items, max_in_flight, max_items, max_in_flight)


def recovering(pace: Pace) -> Pace:
    """A lane whose platform is back: a small batch, one at a time."""
    return Pace(pace.max_items, pace.max_in_flight, min(pace.max_items, GROWTH), 1)


def succeeded(pace: Pace) -> Pace:
    """After a request the platform answered in substance."""
    if pace.is_probe:
        return recovering(pace)
    if pace.is_full and not pace.failures and not pace.refusals:
        return pace
    if pace.is_eased:
        items = pace.items + max(1, pace.max_items // STEPS)
        in_flight = pace.in_flight + 1 / pace.in_flight
    else:
        items, in_flight = pace.items * GROWTH, pace.in_flight * 2
    grown = Pace(pace.max_items, pace.max_in_flight, min(pace.max_items, items), min(pace.max_in_flight, in_flight))
    return replace(grown, is_eased=pace.is_eased and not grown.is_full)


def failed(pace: Pace, now: datetime, hint: timedelta | None, policy: RetryPolicy, uniform: float) -> Pace:
    """After a request that failed as a whole: wait, half the ceiling for sure and the rest by chance.

    What was under way when the lane was closed already tells nothing new: it can only prolong the wait.
    """
    if not pace.may_go(now):
        return _prolonged(pace, now, hint)
    failures = pace.failures + 1
    return replace(
        pace, failures=failures, held_until=now + _wait(failures, hint, policy, uniform), is_parked=False, detail=None
    )


def refused(pace: Pace, now: datetime, hint: timedelta | None, policy: RetryPolicy, uniform: float) -> Pace:
    """After a request that was one too many: wait, then go with half of what went before."""
    if not pace.may_go(now):
        return _prolonged(pace, now, hint)
    refusals = pace.refusals + 1
    held = now + _wait(refusals, hint, policy, uniform)
    if pace.is_probe:  # the platform is up, if busy
        pace = recovering(pace)
    return eased(replace(pace, refusals=refusals), held)


def eased(pace: Pace, held_until: datetime | None) -> Pace:
    """The same lane at half its speed, from `held_until` on."""
    if pace.in_flight >= 2:
        return replace(pace, in_flight=pace.in_flight / 2, is_eased=True, held_until=held_until)
    items = max(1, pace.max_items // LEAST_SHARE, pace.items // 2)
    return replace(pace, items=min(items, pace.items), in_flight=1, is_eased=True, held_until=held_until)


def parked(pace: Pace, now: datetime, detail: str | None) -> Pace:
    """After the platform refused the credentials: wait for a person, and ask with one event now and then."""
    if pace.is_parked and not pace.may_go(now):
        return pace
    failures = pace.failures + 1 if pace.is_parked else 1
    wait = min(PARKED_CAP, PARKED_FIRST * (1 << min(failures - 1, 10)))
    return replace(pace, failures=failures, held_until=now + wait, is_parked=True, detail=detail)


def _wait(times: int, hint: timedelta | None, policy: RetryPolicy, uniform: float) -> timedelta:
    half = ceiling(times, policy) / 2
    return max(half + half * uniform, bounded(hint))


def _prolonged(pace: Pace, now: datetime, hint: timedelta | None) -> Pace:
    if pace.held_until is None or pace.held_until >= now + bounded(hint):
        return pace
    return replace(pace, held_until=now + bounded(hint))
