"""What the workers tell each other of a lane, step by step."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from app.delivery import flow as flows
from app.delivery import limits
from app.delivery.flow import Flow
from app.delivery.limits import Pace, start
from app.delivery.pauses import NOTHING, Cap, Hold, Pauses, held, lifted
from app.delivery.retry import RetryPolicy
from tests.factories import START

SECOND = timedelta(seconds=1)
LEASE = 20 * SECOND
MINE, OTHER = "aaaa", "bbbb"
RUNNING = start(1000, 4)


def opened(wait: timedelta = 4 * SECOND) -> Pace:
    """A worker's lane after three failures."""
    return replace(RUNNING, failures=limits.PROBE_AFTER, held_until=START + wait)


def parked(now: timedelta = timedelta(0)) -> Pace:
    """A worker's lane whose secret was refused."""
    return limits.parked(RUNNING, START + now, "code 190")


OPEN = flows.told(Flow(), opened(), MINE, START)
PARKED = flows.told(Flow(), parked(), MINE, START)


def test_what_one_found_out_is_written_down() -> None:
    assert Flow("open", START, START + 4 * SECOND, 3) == OPEN
    assert Flow("parked", START, START + 30 * SECOND, 1, "code 190", MINE) == PARKED


def test_a_record_of_the_same_state_keeps_its_beginning() -> None:
    later = flows.told(OPEN, replace(opened(60 * SECOND), failures=4), MINE, START + 5 * SECOND)
    assert (later.since, later.held_until, later.failures) == (START, START + 60 * SECOND, 4)


def test_whoever_waits_longer_is_believed() -> None:
    assert flows.told(OPEN, opened(2 * SECOND), MINE, START) == OPEN


def test_an_open_lane_may_be_parked_and_the_other_way_round() -> None:
    assert flows.told(OPEN, parked(), MINE, START).state == "parked"
    assert flows.told(PARKED, opened(), MINE, START).state == "open"


@pytest.mark.parametrize("record", [OPEN, PARKED])
def test_a_good_answer_opens_it_for_all(record: Flow) -> None:
    later = START + 31 * SECOND
    assert flows.told(record, RUNNING, MINE, later) == Flow("running", later)
    assert flows.told(record, RUNNING, OTHER, later) == Flow("running", later)


def test_nothing_new_is_nothing_to_write() -> None:
    assert flows.told(Flow(), RUNNING, MINE, START) == Flow()


@pytest.mark.parametrize("record", [OPEN, PARKED])
def test_the_others_close_too(record: Flow) -> None:
    pace = flows.adopted(RUNNING, Flow(), record, MINE)
    assert (pace.state, pace.held_until, pace.limit) == (record.state, record.held_until, 1)
    assert pace.detail == record.detail


def test_another_secret_is_not_parked() -> None:
    assert flows.adopted(RUNNING, Flow(), PARKED, OTHER) == RUNNING
    assert flows.adopted(RUNNING, Flow(), OPEN, OTHER).state == "open"


@pytest.mark.parametrize("record", [OPEN, PARKED])
def test_the_others_start_slowly(record: Flow) -> None:
    closed = flows.adopted(RUNNING, Flow(), record, MINE)
    back = flows.adopted(closed, record, Flow("running", START), MINE)
    assert (back.state, back.limit, back.width) == ("running", limits.GROWTH, 1)


def test_a_lane_that_runs_is_not_slowed_by_news_that_it_does() -> None:
    assert flows.adopted(RUNNING, Flow(), Flow("running", START), MINE) == RUNNING


def test_a_platform_that_asks_to_slow_down_is_heard_by_all() -> None:
    until = START + 60 * SECOND
    record = flows.asked_to_slow_down(Flow(), until)
    pace = flows.adopted(RUNNING, Flow(), record, MINE)
    assert (pace.width, pace.held_until, pace.state) == (2, until, "running")
    assert flows.adopted(pace, record, record, MINE) == pace, "heard once"
    assert flows.asked_to_slow_down(OPEN, until) == OPEN


# --- one worker asks for all


@pytest.mark.parametrize("record", [OPEN, PARKED])
def test_one_worker_probes_at_a_time(record: Flow) -> None:
    assert record.held_until is not None
    early, due = record.held_until - SECOND, record.held_until
    assert flows.begin_probe(record, "w1", early, LEASE) == record
    first = flows.begin_probe(record, "w1", due, LEASE)
    assert (first.prober, first.probe_until) == ("w1", due + LEASE)
    assert flows.begin_probe(first, "w2", due + SECOND, LEASE) == first
    assert flows.begin_probe(first, "w1", due + SECOND, LEASE) == first
    assert flows.begin_probe(first, "w2", due + LEASE, LEASE).prober == "w2", "whoever probed is gone"


def test_nobody_probes_a_lane_that_runs() -> None:
    assert flows.begin_probe(Flow(), "w1", START, LEASE) == Flow()


def test_what_a_probe_found_out_ends_it() -> None:
    probing = flows.begin_probe(OPEN, "w1", START + 4 * SECOND, LEASE)
    assert flows.told(probing, replace(opened(60 * SECOND), failures=4), MINE, START).prober == ""
    assert flows.told(probing, RUNNING, MINE, START).prober == ""


def test_a_person_may_have_it_tried_now() -> None:
    now = START + SECOND
    tried = flows.try_now(PARKED, now)
    assert (tried.state, tried.held_until, tried.detail) == ("parked", now, "code 190")
    assert flows.begin_probe(tried, "w1", now, LEASE).prober == "w1"
    assert flows.try_now(flows.asked_to_slow_down(Flow(), START + 60 * SECOND), now).held_until is None


@pytest.mark.parametrize("record", [Flow(), OPEN, PARKED, flows.begin_probe(OPEN, "w1", START + LEASE, LEASE)])
def test_a_record_is_kept_as_it_is(record: Flow) -> None:
    assert msgspec.json.decode(msgspec.json.encode(record), type=Flow) == record


def test_waits_grow_over_the_workers_that_probe() -> None:
    policy = RetryPolicy(first=2 * SECOND, cap=300 * SECOND)
    now, record = START + 4 * SECOND, OPEN
    for expected in (4, 5, 6):
        pace = flows.adopted(RUNNING, Flow(), record, MINE)
        pace = limits.failed(pace, now, None, policy, 0.0)
        record = flows.told(record, pace, MINE, now)
        assert record.failures == expected
        assert record.held_until is not None
        now = record.held_until


# --- pauses

HOLD = Hold(START, None, "incident 7")


def test_pauses_add_up_and_are_lifted() -> None:
    pauses = held(held(held(NOTHING, HOLD), HOLD, "PageView"), Cap(START, rate_per_minute=60))
    assert (pauses.whole, pauses.names, pauses.cap) == (HOLD, {"PageView": HOLD}, Cap(START, rate_per_minute=60))
    assert lifted(pauses, "PageView") == Pauses(HOLD, {}, pauses.cap)
    assert lifted(pauses, "Purchase") == pauses
    assert lifted(pauses) == NOTHING


def test_a_pause_is_over_at_its_end() -> None:
    until = START + 60 * SECOND
    short = Hold(START, until)
    pauses = Pauses(short, {"PageView": short, "Lead": HOLD}, Cap(START, until, rate_per_minute=60))
    assert pauses.at(until - SECOND) == pauses
    assert pauses.at(until) == Pauses(None, {"Lead": HOLD}, None)
    assert msgspec.json.decode(msgspec.json.encode(pauses), type=Pauses) == pauses
