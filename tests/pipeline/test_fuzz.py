"""Whatever is posted: an answer, a fault, or a problem; never a crash."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.api.parse import read_events
from app.api.problems import Problem
from app.errors import InvalidEvent
from app.model import decode_event, encode_event
from app.pipeline import SourcePolicy, plan
from app.wire import Consent, Content, CustomData, Event, UserData
from tests.factories import START
from tests.pipeline.support import planned, policy, real_routes

TAME = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
POLICIES = [
    policy(),
    policy(leak_policy="reject", has_pixel=False),
    policy(leak_policy="report", event_id_template="{source}-{event_name}-{transaction}-{occurrence}"),
]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.text(alphabet=st.characters(categories=("Cs", "Cc", "Nd", "Lo", "So")), max_size=5)
    | st.sampled_from(
        [
            "2026-11-20T11:50:00Z",
            "1795175400",
            "USD",
            "jane@mail.example",
            "+14155552671",
            "NaN",
            "sNaN",
            "1e400",
            "-0",
            "9" * 40,
            "a" * 64,
            "fb.1.1763632800000.1098115397",
            "https://shop.example/?email=a@b.example&fbclid=x",
            "\x00",
            "{event_name}",
            " ",
        ]
    )
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def object_of(model: Any, **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects with some of a model's fields, and anything in them."""
    fields = {name: parts.get(name, JSON) for name in model.model_fields}
    return st.fixed_dictionaries({}, optional=fields) | JSON


NEAR_EVENTS = object_of(
    Event,
    event_name=st.sampled_from(["Purchase", "Lead", "order completed", "Tea"]) | JSON,
    event_time=st.sampled_from(["2026-11-20T11:50:00Z", 1795175400, 1795175400000, "2026-11-20T12:04:00+00:00"]) | JSON,
    action_source=st.sampled_from(["website", "app", "physical_store"]) | JSON,
    user=object_of(UserData),
    consent=object_of(Consent, **dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), st.just(True))),
    custom_data=object_of(CustomData, contents=st.lists(object_of(Content), max_size=3) | JSON),
)


def run(body: bytes, source: SourcePolicy) -> None:
    """Parse and plan a body as the service does; anything but its own ways to refuse comes out."""
    try:
        items = read_events(body, 1000, is_strict=False)
    except Problem as problem:
        assert problem.status_code in {400, 413}
        return
    for item in items:
        assert (item.event is None) == bool(item.faults)
        if item.event is None:
            continue
        try:
            made = plan(item.event, source, source.forms, START)
        except InvalidEvent as invalid:
            assert invalid.faults
            continue
        assert list(made.verdicts) == [route.name for route in source.routes]
        assert decode_event(encode_event(made.event)) == made.event
        orjson.dumps([made.id_request.derived, made.id_request.transaction, [w.detail for w in made.warnings]])


@TAME
@given(JSON, st.sampled_from(POLICIES))
def test_any_document(document: Any, source: SourcePolicy) -> None:
    run(json.dumps(document).encode(), source)


@TAME
@given(st.lists(NEAR_EVENTS, min_size=1, max_size=3), st.sampled_from(POLICIES))
def test_anything_like_an_event(events: list[Any], source: SourcePolicy) -> None:
    run(json.dumps({"events": events}).encode(), source)


@TAME
@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    run(body, POLICIES[0])


def test_the_strategy_reaches_events_that_are_planned() -> None:
    """The searches above look at something: a plain event goes all the way."""
    assert planned(policy(*real_routes())).deliveries
    with pytest.raises(Problem):
        read_events(b"[]", 1000, is_strict=False)
