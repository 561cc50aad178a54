"""The metrics: one list, closed labels, a zero for everything that is known."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from prometheus_client import Counter, Gauge, Histogram, generate_latest

from app.consent.signals import SIGNAL_NAMES
from app.errors import REASONS, Outcome, Status
from app.hashing.detectors import Kind
from app.hashing.leaks import Action
from app.metrics import ATTEMPT_RESULTS, CONSENT_SIGNALS, LANE_STATES, LEAK_ACTIONS, LEAK_KINDS, SPECS, Metrics

SOURCES = ("shop", "other")
DESTINATIONS = ("meta", "tiktok")
LABELS = {
    "route",
    "method",
    "code",
    "source",
    "status",
    "destination",
    "outcome",
    "reason",
    "state",
    "currency",
    "limit",
}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("1.2.3", SOURCES, DESTINATIONS)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One number."""
    return metrics.registry.get_sample_value(name, labels)


def test_every_metric_of_the_list_is_there_and_no_other(metrics: Metrics) -> None:
    exposed = {family.name for family in metrics.registry.collect() if not family.name.startswith("process_")}
    assert exposed == {spec.name.removesuffix("_total") if spec.kind is Counter else spec.name for spec in SPECS}
    assert {spec.attribute for spec in SPECS} == set(Metrics.__annotations__)
    for spec in SPECS:
        assert isinstance(getattr(metrics, spec.attribute), spec.kind)


def test_names_follow_the_conventions() -> None:
    names = [spec.name for spec in SPECS]
    assert len(names) == len(set(names))
    for spec in SPECS:
        assert re.fullmatch(r"convey_[a-z_]+", spec.name)
        assert (spec.kind is Counter) == spec.name.endswith("_total")
        assert spec.help.endswith(".")
        assert set(spec.labels) <= LABELS | {
            *(
                "result",
                "version",
                "revision",
                "kind",
                "action",
                "type",
                "decision",
                "signal",
                "event_name",
                "verdict",
                "key",
            )
        }
        assert (spec.kind is Histogram) == bool(spec.buckets)
        assert list(spec.buckets) == sorted(set(spec.buckets))
        assert spec.kind in {Counter, Gauge, Histogram}


def test_the_consent_signals_are_those_that_are_read() -> None:
    assert CONSENT_SIGNALS == SIGNAL_NAMES


def test_every_known_child_starts_at_zero(metrics: Metrics) -> None:
    for source in SOURCES:
        for status in Status:
            assert value(metrics, "convey_events_total", source=source, status=status) == 0
    for destination in DESTINATIONS:
        for outcome in (Outcome.QUEUED, Outcome.DENIED, Outcome.SKIPPED):
            for reason in REASONS[outcome] or ("",):
                labels = {"destination": destination, "outcome": outcome, "reason": reason}
                assert value(metrics, "convey_ingest_outcomes_total", **labels) == 0
        for outcome in (Outcome.DELIVERED, Outcome.DEAD, Outcome.EXPIRED, Outcome.WITHDRAWN):
            for reason in REASONS[outcome] or ("",):
                labels = {"destination": destination, "outcome": outcome, "reason": reason}
                assert value(metrics, "convey_deliveries_total", **labels) == 0
        for result in ATTEMPT_RESULTS:
            assert value(metrics, "convey_delivery_attempts_total", destination=destination, result=result) == 0
        assert value(metrics, "convey_delivery_latency_seconds_count", destination=destination) == 0
        assert value(metrics, "convey_batch_items_count", destination=destination) == 0
    assert value(metrics, "convey_build_info", version="1.2.3", revision="unknown") == 1
    for code in ("2xx", "4xx", "5xx"):
        labels = {"route": "/v1/events", "method": "POST", "code": code}
        assert value(metrics, "convey_http_requests_total", **labels) == 0
        assert value(metrics, "convey_http_request_duration_seconds_count", **labels) == 0
    for source in SOURCES:
        assert value(metrics, "convey_leaks_total", source=source, kind="email", action="redacted") == 0


def test_the_leak_guards_words_are_the_labels() -> None:
    assert set(LEAK_KINDS) == {kind.value for kind in Kind}
    assert set(LEAK_ACTIONS) == set(get_args(Action))


def test_the_type_of_a_destination_joins_its_name() -> None:
    made = Metrics("1", (), ("meta-eu",), revision="abc", types={"meta-eu": "meta"})
    assert value(made, "convey_config_info", destination="meta-eu", type="meta") == 1
    assert value(made, "convey_build_info", version="1", revision="abc") == 1


def states(metrics: Metrics, destination: str) -> dict[str, float | None]:
    """The gauge of each lane state."""
    return {state: value(metrics, "convey_lane_state", destination=destination, state=state) for state in LANE_STATES}


def test_a_lane_is_in_one_state(metrics: Metrics) -> None:
    assert states(metrics, "meta") == {"running": 1, "paused": 0, "parked": 0, "open": 0}
    metrics.set_lane_state("meta", "parked")
    assert states(metrics, "meta") == {"running": 0, "paused": 0, "parked": 1, "open": 0}
    assert states(metrics, "tiktok") == {"running": 1, "paused": 0, "parked": 0, "open": 0}
    metrics.set_lane_state("meta", "running")
    assert states(metrics, "meta")["running"] == 1


def test_two_processes_worth_of_metrics_do_not_meet(metrics: Metrics) -> None:
    another = Metrics("1.2.3", SOURCES, DESTINATIONS)
    another.events.labels("shop", Status.ACCEPTED).inc()
    assert value(metrics, "convey_events_total", source="shop", status="accepted") == 0


def test_nothing_says_when_it_was_created(metrics: Metrics) -> None:
    assert b"_created" not in generate_latest(metrics.registry)


def test_without_sources_and_destinations() -> None:
    bare = Metrics("0")
    assert value(bare, "convey_build_info", version="0", revision="unknown") == 1
    assert value(bare, "convey_outbox_bytes") == 0
