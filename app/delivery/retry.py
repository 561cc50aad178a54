"""What a result means for a delivery: settled, or tried again and when. Pure.

The budget of a delivery is time (`app.model.Budget`): the platform's event-age window, the window in which the pixel's
copy is recognised, and, once an attempt's end is unknown, the time in which the platform recognises a repeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.errors import Outcome, Reason
from app.model import LOCKED, UNREADABLE, Budget, Delivered, Delivery, Park, Rejected, Result, Settlement

SHORTEST_WAIT = timedelta(milliseconds=100)
LONGEST_HINT = timedelta(hours=1)
"""A platform's own hint is honoured up to this; beyond, asking again is cheaper than believing it."""
LOCKED_FOR = timedelta(seconds=30)
"""After which a delivery is looked at again whose event this process has no key for."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a lane tries again: the first wait's upper bound, the longest wait's, and a limit on attempts."""

    first: timedelta = timedelta(seconds=2)
    cap: timedelta = timedelta(minutes=5)
    max_attempts: int = 1000


def ceiling(tries: int, policy: RetryPolicy) -> timedelta:
    """The longest wait after `tries` failures (at least 1): doubled with each, up to the cap."""
    return min(policy.cap, policy.first * (1 << min(tries - 1, 30)))


def backoff(attempts: int, policy: RetryPolicy, uniform: float) -> timedelta:
    """The wait after `attempts` tries (at least 1): exponential with full jitter, `uniform` being in [0, 1)."""
    return max(SHORTEST_WAIT, ceiling(attempts, policy) * uniform)


def bounded(hint: timedelta | None) -> timedelta:
    """A platform's hint within bounds; nothing when it gave none."""
    return min(max(hint or timedelta(0), timedelta(0)), LONGEST_HINT)


def gate(delivery: Delivery, now: datetime, send_time: timedelta) -> Settlement | None:
    """The end of a delivery whose budget has run out, or None while it may be sent.

    `send_time` is how long a send may take: what would arrive after the budget's end is not sent. What nobody can open
    any more ends too; what a process with other keys could is left to it. What is claimed although it is held back was
    not released in its time, whatever this clock says.
    """
    if delivery.is_held:
        return Settlement(delivery, Outcome.EXPIRED, _held_too_long(delivery.budget), NEVER_RELEASED, attempted=False)
    if delivery.event is UNREADABLE:
        detail = "the data key of the day it was accepted on is gone, or the stored event is damaged"
        return Settlement(delivery, Outcome.DEAD, Reason.BODY_UNREADABLE, detail, attempted=False)
    if delivery.event is LOCKED:
        detail = "its data key is wrapped under a key that store.encryption.keys of this process does not have"
        return Settlement(
            delivery,
            Outcome.RETRYING,
            detail=detail,
            ready_at=now + LOCKED_FOR,
            attempted=False,
            unknown_answers=delivery.unknown_answers,
        )
    reason = spent(delivery.budget, delivery.unsure_since, now + send_time)
    if reason is Reason.OUTCOME_UNKNOWN:
        detail = "an earlier attempt's answer was lost, and the platform would not recognise a repeat"
        return Settlement(delivery, Outcome.DEAD, reason, detail, attempted=False)
    return None if reason is None else Settlement(delivery, Outcome.EXPIRED, reason, attempted=False)


NEVER_RELEASED = "it was held back and never released"
"""The detail of what expired while it was held."""


def _held_too_long(budget: Budget) -> Reason:
    is_pair_over = budget.pair_until is not None and budget.pair_until <= budget.window_until
    return Reason.DEDUP_WINDOW_PASSED if is_pair_over else Reason.PLATFORM_WINDOW_PASSED


def spent(budget: Budget, unsure_since: datetime | None, at: datetime) -> Reason | None:
    """Why nothing may be sent any more at the instant `at`, or None while it may: whichever end came first."""
    if unsure_since is not None and at >= unsure_since + budget.repeat_for:
        return Reason.OUTCOME_UNKNOWN
    pair_until = budget.pair_until
    if pair_until is not None and at >= pair_until and pair_until <= budget.window_until:
        return Reason.DEDUP_WINDOW_PASSED
    return Reason.PLATFORM_WINDOW_PASSED if at >= budget.window_until else None


def decide(
    delivery: Delivery, result: Result, sent_at: datetime, now: datetime, policy: RetryPolicy, uniform: float
) -> Settlement:
    """What `result` means for `delivery`. `sent_at` is when the attempt began, `uniform` a number in [0, 1)."""
    if isinstance(result, Delivered):
        return Settlement(delivery, Outcome.DELIVERED, detail=result.warning, trace_id=result.trace_id)
    if isinstance(result, Rejected):
        return Settlement(delivery, Outcome.DEAD, result.reason, result.detail, result.trace_id)
    unsure = delivery.unsure_since or (sent_at if result.is_ambiguous else None)
    attempts = delivery.attempts + 1
    is_unknown = result.max_attempts is not None
    unknown = delivery.unknown_answers + is_unknown
    is_exhausted = attempts >= policy.max_attempts or (
        result.max_attempts is not None and unknown >= result.max_attempts
    )
    if unsure is not None and delivery.budget.repeat_for <= timedelta(0):
        detail = "the answer was lost, and the platform would not recognise a repeat"
        return Settlement(delivery, Outcome.DEAD, Reason.OUTCOME_UNKNOWN, detail, unsure_since=unsure)
    if is_exhausted:
        return Settlement(delivery, Outcome.DEAD, Reason.ATTEMPTS_EXHAUSTED, result.detail, unsure_since=unsure)
    ready_at = now + max(backoff(attempts, policy, uniform), bounded(result.after))
    return Settlement(
        delivery,
        Outcome.RETRYING,
        result.reason,
        result.detail,
        ready_at=min(ready_at, max(now, _end(delivery, unsure))),
        unsure_since=unsure,
        unknown_answers=unknown,
    )


def parked(delivery: Delivery, park: Park, now: datetime) -> Settlement:
    """Puts a delivery back that waits for a person: the try is not its own, and not counted."""
    return Settlement(
        delivery,
        Outcome.RETRYING,
        park.reason,
        park.detail,
        ready_at=now,
        attempted=False,
        unknown_answers=delivery.unknown_answers,
    )


def released(delivery: Delivery, now: datetime) -> Settlement:
    """Puts a delivery back untouched: its send never left."""
    return Settlement(
        delivery, Outcome.RETRYING, ready_at=now, attempted=False, unknown_answers=delivery.unknown_answers
    )


def _end(delivery: Delivery, unsure: datetime | None) -> datetime:
    """The instant at which the budget runs out, so that it is settled then and not after the next wait."""
    budget = delivery.budget
    ends = [budget.window_until]
    if budget.pair_until is not None:
        ends.append(budget.pair_until)
    if unsure is not None:
        ends.append(unsure + budget.repeat_for)
    return min(ends)
