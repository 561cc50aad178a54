"""What a result means for a delivery, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.delivery.retry import (
    LONGEST_HINT,
    SHORTEST_WAIT,
    RetryPolicy,
    backoff,
    bounded,
    ceiling,
    decide,
    gate,
    released,
)
from app.errors import REASONS, Outcome, Reason
from app.model import Budget, Delivered, Delivery, Rejected, Result, Retry
from tests.factories import START, hashed_event

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
POLICY = RetryPolicy(first=2 * SECOND, cap=5 * MINUTE, max_attempts=1000)
SEND_TIME = 10 * SECOND


def budget(**over: Any) -> Budget:
    """A week at the platform, two days with the pixel's twin, two days in which a repeat is recognised."""
    fields: dict[str, Any] = {"window_until": START + 7 * DAY, "pair_until": START + 2 * DAY, "repeat_for": 2 * DAY}
    return Budget(**{**fields, **over})


def delivery(attempts: int = 0, unsure_since: datetime | None = None, **over: Any) -> Delivery:
    """A claimed delivery."""
    return Delivery(
        key=1,
        token=b"token",
        destination="meta",
        event_id="purchase_ORD-1",
        event=hashed_event(),
        accepted_at=START,
        budget=budget(**over),
        attempts=attempts,
        unsure_since=unsure_since,
    )


# --- waiting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tries", "longest"),
    [(1, 2), (2, 4), (3, 8), (7, 128), (8, 256), (9, 300), (10, 300), (31, 300), (1000, 300), (10**9, 300)],
)
def test_the_ceiling_doubles_up_to_the_cap(tries: int, longest: int) -> None:
    assert ceiling(tries, POLICY) == longest * SECOND


@pytest.mark.parametrize("uniform", [0.0, 0.25, 0.5, 0.999])
@pytest.mark.parametrize("attempts", [1, 2, 5, 50])
def test_the_wait_is_anywhere_below_the_ceiling(attempts: int, uniform: float) -> None:
    assert backoff(attempts, POLICY, uniform) == max(SHORTEST_WAIT, ceiling(attempts, POLICY) * uniform)


def test_the_first_retry_is_within_five_seconds_by_default() -> None:
    assert backoff(1, RetryPolicy(), 0.999999) < 5 * SECOND


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_a_wait_has_bounds(attempts: int, uniform: float) -> None:
    assert SHORTEST_WAIT <= backoff(attempts, POLICY, uniform) <= POLICY.cap


@pytest.mark.parametrize(
    ("hint", "honoured"),
    [
        (None, timedelta(0)),
        (timedelta(0), timedelta(0)),
        (-HOUR, timedelta(0)),
        (7 * SECOND, 7 * SECOND),
        (LONGEST_HINT, LONGEST_HINT),
        (LONGEST_HINT + SECOND, LONGEST_HINT),
        (400 * DAY, LONGEST_HINT),
    ],
)
def test_a_hint_is_honoured_within_bounds(hint: timedelta | None, honoured: timedelta) -> None:
    assert bounded(hint) == honoured


# --- before a send ------------------------------------------------------------------------------------------------

PAST = START - HOUR


@pytest.mark.parametrize(
    ("left", "over", "unsure_since", "outcome", "reason"),
    [
        ("time enough", {}, None, None, None),
        ("no twin", {"pair_until": None}, None, None, None),
        ("pairing over", {"pair_until": PAST}, None, Outcome.EXPIRED, Reason.DEDUP_WINDOW_PASSED),
        (
            "window over",
            {"pair_until": None, "window_until": PAST},
            None,
            Outcome.EXPIRED,
            Reason.PLATFORM_WINDOW_PASSED,
        ),
        (
            "both over, pairing first",
            {"pair_until": PAST - HOUR, "window_until": PAST},
            None,
            Outcome.EXPIRED,
            Reason.DEDUP_WINDOW_PASSED,
        ),
        (
            "both over, the window first",
            {"pair_until": PAST, "window_until": PAST - HOUR},
            None,
            Outcome.EXPIRED,
            Reason.PLATFORM_WINDOW_PASSED,
        ),
        ("window over, pairing not", {"window_until": PAST}, None, Outcome.EXPIRED, Reason.PLATFORM_WINDOW_PASSED),
        ("unsure, in time", {}, START - DAY, None, None),
        ("unsure, too late", {}, START - 2 * DAY, Outcome.DEAD, Reason.OUTCOME_UNKNOWN),
        ("unsure, never recognised", {"repeat_for": timedelta(0)}, START, Outcome.DEAD, Reason.OUTCOME_UNKNOWN),
        (
            "unsure before all else",
            {"pair_until": PAST, "window_until": PAST},
            START - 3 * DAY,
            Outcome.DEAD,
            Reason.OUTCOME_UNKNOWN,
        ),
        ("sure, never recognised", {"repeat_for": timedelta(0)}, None, None, None),
    ],
)
def test_gate(
    left: str, over: dict[str, Any], unsure_since: datetime | None, outcome: Outcome | None, reason: Reason | None
) -> None:
    one = delivery(3, unsure_since, **over)
    settlement = gate(one, START, SEND_TIME)
    if outcome is None:
        assert settlement is None
        return
    assert settlement is not None
    assert (settlement.delivery, settlement.outcome, settlement.reason) == (one, outcome, reason)
    assert not settlement.attempted
    assert reason in REASONS[outcome]


@pytest.mark.parametrize("field", ["pair_until", "window_until"])
def test_what_would_arrive_too_late_is_not_sent(field: str) -> None:
    for early, ends in ((timedelta(microseconds=1), False), (timedelta(0), True)):
        over: dict[str, Any] = {field: START + SEND_TIME + early}
        settlement = gate(delivery(**over), START, SEND_TIME)
        assert (settlement is not None) == ends


def test_a_repeat_that_would_arrive_too_late_is_not_sent() -> None:
    for early, ends in ((timedelta(microseconds=1), False), (timedelta(0), True)):
        unsure_since = START - 2 * DAY + SEND_TIME + early
        assert (gate(delivery(1, unsure_since), START, SEND_TIME) is not None) == ends


# --- after a send -------------------------------------------------------------------------------------------------

SENT = START
NOW = START + SECOND


def settled(result: Result, one: Delivery | None = None, policy: RetryPolicy = POLICY, uniform: float = 0.5) -> Any:
    """What became of it."""
    settlement = decide(one or delivery(), result, SENT, NOW, policy, uniform)
    assert settlement.reason is None or settlement.reason in REASONS[settlement.outcome]
    assert settlement.attempted
    return settlement


def test_delivered() -> None:
    settlement = settled(Delivered("trace", "a warning"))
    assert (settlement.outcome, settlement.reason) == (Outcome.DELIVERED, None)
    assert (settlement.trace_id, settlement.detail, settlement.ready_at) == ("trace", "a warning", None)


@pytest.mark.parametrize("unsure_since", [None, START - DAY])
def test_rejected(unsure_since: datetime | None) -> None:
    settlement = settled(Rejected(detail="code 100", trace_id="trace"), delivery(2, unsure_since))
    assert (settlement.outcome, settlement.reason) == (Outcome.DEAD, Reason.REJECTED_BY_PLATFORM)
    assert (settlement.trace_id, settlement.detail) == ("trace", "code 100")
    assert settled(Rejected(Reason.PURCHASE_NOT_DELIVERED)).reason is Reason.PURCHASE_NOT_DELIVERED


@pytest.mark.parametrize("reason", REASONS[Outcome.RETRYING])
@pytest.mark.parametrize("attempts", [0, 1, 5, 100])
def test_tried_again_after_the_backoff(reason: Reason, attempts: int) -> None:
    settlement = settled(Retry(reason, detail="words"), delivery(attempts))
    assert (settlement.outcome, settlement.reason, settlement.detail) == (Outcome.RETRYING, reason, "words")
    assert settlement.ready_at == NOW + backoff(attempts + 1, POLICY, 0.5)
    assert settlement.unsure_since is None


@pytest.mark.parametrize(
    ("after", "wait"),
    [(None, SECOND), (timedelta(0), SECOND), (-DAY, SECOND), (30 * SECOND, 30 * SECOND), (DAY, LONGEST_HINT)],
)
def test_the_longer_of_backoff_and_hint(after: timedelta | None, wait: timedelta) -> None:
    assert settled(Retry(Reason.RATE_LIMITED, after)).ready_at == NOW + wait


@pytest.mark.parametrize(
    ("over", "unsure", "end"),
    [
        ({"pair_until": NOW + MINUTE}, False, NOW + MINUTE),
        ({"pair_until": None, "window_until": NOW + MINUTE}, False, NOW + MINUTE),
        ({"pair_until": NOW + 2 * MINUTE, "window_until": NOW + MINUTE}, False, NOW + MINUTE),
        ({"repeat_for": MINUTE}, True, SENT + MINUTE),
        ({"repeat_for": MINUTE}, False, NOW + HOUR),
        ({"pair_until": PAST}, False, NOW),
    ],
)
def test_nobody_waits_beyond_the_end_of_the_budget(over: dict[str, Any], unsure: bool, end: datetime) -> None:
    """So that it is settled when its time is over, and not after the next wait."""
    retry = Retry(Reason.RATE_LIMITED, HOUR, is_ambiguous=unsure)
    assert settled(retry, delivery(**over)).ready_at == end


@pytest.mark.parametrize(
    ("before", "is_ambiguous", "unsure_since"),
    [
        (None, False, None),
        (None, True, SENT),
        (START - HOUR, False, START - HOUR),
        (START - HOUR, True, START - HOUR),
    ],
)
def test_the_first_unsure_attempt_is_remembered(
    before: datetime | None, is_ambiguous: bool, unsure_since: datetime | None
) -> None:
    settlement = settled(Retry(Reason.TIMEOUT, is_ambiguous=is_ambiguous), delivery(1, before))
    assert settlement.outcome is Outcome.RETRYING
    assert settlement.unsure_since == unsure_since


@pytest.mark.parametrize(
    ("before", "is_ambiguous", "outcome"),
    [
        (None, False, Outcome.RETRYING),
        (None, True, Outcome.DEAD),
        (START - HOUR, False, Outcome.DEAD),
        (START - HOUR, True, Outcome.DEAD),
    ],
)
def test_unsure_where_no_repeat_is_recognised_is_the_end(
    before: datetime | None, is_ambiguous: bool, outcome: Outcome
) -> None:
    one = delivery(1, before, repeat_for=timedelta(0))
    settlement = settled(Retry(Reason.TIMEOUT, is_ambiguous=is_ambiguous), one)
    assert settlement.outcome is outcome
    if outcome is Outcome.DEAD:
        assert settlement.reason is Reason.OUTCOME_UNKNOWN
        assert settlement.unsure_since == (before or SENT)


@pytest.mark.parametrize(
    ("attempts", "unknown", "own", "of_policy", "ends"),
    [
        (0, 0, None, 1000, False),
        (998, 0, None, 1000, False),
        (999, 0, None, 1000, True),
        (2000, 0, None, 1000, True),
        (0, 0, None, 1, True),
        (0, 0, 1, 1000, True),
        (6, 6, 8, 1000, False),
        (7, 7, 8, 1000, True),
        (2, 2, 8, 3, True),
        (500, 0, 8, 1000, False),
        (500, 7, None, 1000, False),
    ],
)
def test_attempts_are_bounded(attempts: int, unknown: int, own: int | None, of_policy: int, ends: bool) -> None:
    """Only answers that nobody knows count against their own bound: an outage before does not use it up."""
    policy = RetryPolicy(max_attempts=of_policy)
    tried = replace(delivery(attempts), unknown_answers=unknown)
    settlement = settled(Retry(Reason.PLATFORM_ERROR, detail="words", max_attempts=own), tried, policy)
    assert (settlement.outcome is Outcome.DEAD) == ends
    if ends:
        assert (settlement.reason, settlement.detail) == (Reason.ATTEMPTS_EXHAUSTED, "words")
    else:
        assert settlement.unknown_answers == unknown + (own is not None)


def test_an_event_that_nobody_delivered_is_gated_or_retried_but_never_both() -> None:
    """Whatever is put back within its budget may be sent when it is ready, or is ended then."""
    one = delivery(pair_until=NOW + 30 * SECOND)
    settlement = settled(Retry(Reason.RATE_LIMITED, HOUR), one)
    assert settlement.ready_at is not None
    ended = gate(one, settlement.ready_at, SEND_TIME)
    assert ended is not None
    assert ended.reason is Reason.DEDUP_WINDOW_PASSED


def test_put_back_untouched() -> None:
    settlement = released(delivery(3), NOW)
    assert (settlement.outcome, settlement.reason, settlement.ready_at) == (Outcome.RETRYING, None, NOW)
    assert not settlement.attempted
    assert settlement.unsure_since is None
