"""How fast a lane may go, step by step."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from app.delivery.limits import (
    GROWTH,
    LEAST_SHARE,
    PARKED_CAP,
    PARKED_FIRST,
    PROBE_AFTER,
    Pace,
    eased,
    failed,
    parked,
    refused,
    start,
    succeeded,
)
from app.delivery.retry import LONGEST_HINT, RetryPolicy
from tests.factories import START

SECOND = timedelta(seconds=1)
POLICY = RetryPolicy(first=2 * SECOND, cap=300 * SECOND)


def after_failures(number: int, pace: Pace | None = None) -> Pace:
    """A lane after some requests that failed as a whole."""
    pace = pace or start(1000, 4)
    for _ in range(number):
        pace = failed(replace(pace, held_until=None), START, None, POLICY, 0.0)
    return pace


def test_a_lane_starts_at_full_size() -> None:
    pace = start(1000, 4)
    assert (pace.state, pace.limit, pace.held_until, pace.detail) == ("running", 1000, None, None)
    assert pace.may_go(START)
    assert succeeded(pace) == pace


@pytest.mark.parametrize(
    ("failures", "state", "limit"), [(1, "running", 1000), (2, "running", 1000), (3, "open", 1), (50, "open", 1)]
)
def test_failures_in_a_row_open_the_breaker(failures: int, state: str, limit: int) -> None:
    pace = after_failures(failures)
    assert (pace.failures, pace.state, pace.limit) == (failures, state, limit)


@pytest.mark.parametrize(("failures", "least"), [(1, 1), (2, 2), (3, 4), (8, 128), (9, 150), (60, 150)])
def test_the_wait_is_between_half_the_ceiling_and_the_ceiling(failures: int, least: int) -> None:
    before = replace(after_failures(failures - 1), held_until=None)
    shortest = failed(before, START, None, POLICY, 0.0).held_until
    longest = failed(before, START, None, POLICY, 1.0).held_until
    assert shortest == START + least * SECOND
    assert longest == START + 2 * least * SECOND


@pytest.mark.parametrize(
    ("hint", "wait"),
    [(None, SECOND), (timedelta(0), SECOND), (60 * SECOND, 60 * SECOND), (timedelta(days=3), LONGEST_HINT)],
)
def test_a_platforms_hint_prolongs_the_wait(hint: timedelta | None, wait: timedelta) -> None:
    assert failed(start(10, 4), START, hint, POLICY, 0.0).held_until == START + wait


def test_a_held_lane_goes_at_the_instant() -> None:
    pace = failed(start(10, 4), START, None, POLICY, 0.0)
    assert not pace.may_go(START)
    assert not pace.may_go(START + SECOND - timedelta(microseconds=1))
    assert pace.may_go(START + SECOND)


def test_after_a_probe_the_batches_grow_again() -> None:
    pace = after_failures(PROBE_AFTER)
    assert pace.limit == 1
    limits = []
    for _ in range(5):
        pace = succeeded(pace)
        assert pace.may_go(START)
        limits.append((pace.limit, pace.width))
    assert limits == [(8, 1), (64, 2), (512, 4), (1000, 4), (1000, 4)]
    assert pace == start(1000, 4)


def test_a_failure_while_growing_keeps_the_size_reached() -> None:
    pace = succeeded(succeeded(after_failures(PROBE_AFTER)))
    assert (pace.limit, pace.width) == (64, 2)
    pace = after_failures(1, pace)
    assert (pace.limit, pace.state) == (64, "running")
    assert succeeded(pace).limit == 512


@pytest.mark.parametrize("max_items", [1, 2, 8])
def test_small_lanes_grow_no_further_than_their_size(max_items: int) -> None:
    pace = succeeded(after_failures(PROBE_AFTER, start(max_items, 4)))
    assert pace.limit == min(max_items, GROWTH)
    assert succeeded(pace).limit == max_items


def test_one_success_forgets_the_failures() -> None:
    assert succeeded(after_failures(PROBE_AFTER - 1)) == start(1000, 4)


def test_a_parked_lane_waits_for_a_person_and_asks_with_one_event() -> None:
    pace = parked(start(1000, 4), START, "code 190")
    assert (pace.state, pace.limit, pace.detail) == ("parked", 1, "code 190")
    waits = []
    now = START
    for _ in range(8):
        assert pace.held_until is not None
        waits.append((pace.held_until - now).total_seconds())
        now = pace.held_until
        pace = parked(pace, now, "code 190")
    assert waits == [30, 60, 120, 240, 300, 300, 300, 300]
    assert timedelta(seconds=waits[0]) == PARKED_FIRST
    assert timedelta(seconds=waits[-1]) == PARKED_CAP


def test_parking_ends_with_the_first_good_answer() -> None:
    pace = succeeded(parked(parked(start(1000, 4), START, "dead"), START, "dead"))
    assert (pace.state, pace.limit, pace.detail) == ("running", GROWTH, None)
    assert pace.may_go(START)


def test_a_parked_lane_that_cannot_connect_is_open() -> None:
    pace = failed(replace(parked(after_failures(5), START, "dead"), held_until=None), START, None, POLICY, 0.0)
    assert not pace.is_parked
    assert pace.state == "running" if pace.failures < PROBE_AFTER else "open"


def test_an_open_lane_that_is_parked_waits_as_for_the_first_time() -> None:
    pace = parked(after_failures(9), START, "dead")
    assert pace.held_until == START + PARKED_FIRST


# --- rate limits


def test_what_was_under_way_already_is_one_failure_not_several() -> None:
    pace = failed(start(1000, 4), START, None, POLICY, 0.0)
    for _ in range(3):
        pace = failed(pace, START, None, POLICY, 0.0)
    assert (pace.failures, pace.state, pace.held_until) == (1, "running", START + SECOND)
    assert failed(pace, START, 9 * SECOND, POLICY, 0.0).held_until == START + 9 * SECOND


def test_too_many_requests_halve_what_goes_at_once_then_what_goes_in_one() -> None:
    pace = start(1000, 4)
    speeds = []
    for _ in range(8):
        pace = refused(replace(pace, held_until=None), START, None, POLICY, 0.0)
        speeds.append((pace.width, pace.limit))
    least = 1000 // LEAST_SHARE
    assert speeds == [(2, 1000), (1, 1000), (1, 500), (1, 250), (1, least), (1, least), (1, least), (1, least)]
    assert pace.state == "running", "a platform that answers is up"


def test_one_episode_halves_once() -> None:
    once = refused(start(1000, 4), START, None, POLICY, 0.0)
    assert refused(once, START, None, POLICY, 0.0) == once


@pytest.mark.parametrize(("refusals", "least"), [(1, 1), (2, 2), (3, 4), (9, 150)])
def test_the_wait_grows_with_every_refusal_in_a_row(refusals: int, least: int) -> None:
    pace = start(1000, 4)
    for _ in range(refusals):
        pace = refused(replace(pace, held_until=None), START, None, POLICY, 0.0)
    assert pace.held_until == START + least * SECOND
    assert refused(start(1000, 4), START, 60 * SECOND, POLICY, 0.0).held_until == START + 60 * SECOND


def test_it_comes_back_step_by_step() -> None:
    pace = start(1000, 4)
    for _ in range(4):
        pace = refused(replace(pace, held_until=None), START, None, POLICY, 0.0)
    assert (pace.width, pace.limit) == (1, 250)
    speeds = []
    while not pace.is_full:
        pace = succeeded(pace)
        speeds.append((pace.width, pace.limit))
    assert speeds[:4] == [(2, 350), (2, 450), (2, 550), (3, 650)]
    assert speeds == sorted(speeds)
    assert speeds[-1] == (4, 1000)
    assert len(speeds) > 7
    assert pace == start(1000, 4)


def test_a_busy_platform_after_an_outage_is_no_outage() -> None:
    pace = refused(replace(after_failures(5), held_until=None), START, None, POLICY, 0.0)
    assert (pace.state, pace.limit, pace.failures) == ("running", GROWTH, 0)


def test_small_lanes_are_eased_to_one_at_the_least() -> None:
    assert eased(start(1, 1), None).limit == 1
    assert eased(start(2, 1), None).limit == 1
