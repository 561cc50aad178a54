"""What holds for every destination, whoever wrote it. The registry is the list; the page supplies the settings."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from app.destinations.base import Admit, Report, Skip
from app.destinations.registry import destinations
from app.errors import REASONS, Outcome, Reason
from app.event_names import STANDARD_EVENTS
from app.hashing.identity import hash_identity
from app.model import Delivered, Delivery, Form, HashedEvent, HttpReply, Park, Rejected, Retry, Split
from app.wire import ACTION_SOURCES, UserData
from tests.destinations import pages
from tests.destinations import support as s

NAMES = list(destinations())
EVENTS = [
    s.event(event_name=name, action_source=source, is_test=is_test)
    for name in STANDARD_EVENTS
    for source in ACTION_SOURCES
    for is_test in (False, True)
]
RAW = {
    "email": ["Margarethe.Zoellner@example.com", "mz-privat@example.org"],
    "phone": "(415) 555-2671",
    "phone_country": "US",
    "first_name": "Margarethe",
    "last_name": "Zöllner-Oyelaran",
    "gender": "f",
    "date_of_birth": "1987-03-29",
    "city": "Wermelskirchen",
    "state": "Kalifornien",
    "zip": "94107",
    "country": "US",
    "external_id": "Kunde-8841",
}
TRACES = ("margarethe", "zoellner", "zöllner", "oyelaran", "mz-privat", "5552671", "1987", "wermelskirchen", "94107")

pytestmark = pytest.mark.parametrize("name", NAMES)


def taken(name: str, events: Sequence[HashedEvent]) -> list[Delivery]:
    """Deliveries of those events that the destination takes, each with an id of its own."""
    destination, settings = destinations()[name], pages.settings_of(name)
    admissions = [destination.admit(event, settings, s.NOW) for event in events]
    return [
        # Google goes by the transaction id where the others go by the event id: one text for both.
        s.delivery(msgspec.structs.replace(event, transaction_id=f"id_{index}"), event_id=f"id_{index}")
        for index, (event, admission) in enumerate(zip(events, admissions, strict=True))
        if isinstance(admission, Admit) and (destination.has_test_mode(settings) or not event.is_test)
    ]


def build(name: str, deliveries: Sequence[Delivery]) -> list[Any]:
    return list(destinations()[name].build(deliveries, pages.settings_of(name)))


def secrets(name: str) -> list[str]:
    fields = pages.settings_of(name).model_dump().values()
    return [field.get_secret_value() for field in fields if hasattr(field, "get_secret_value")]


def test_one_name_for_the_module_the_page_and_the_test(name: str) -> None:
    destination = destinations()[name]
    assert destination.name == name
    assert destination.settings.__module__.split(".")[:3] == ["app", "destinations", name]
    assert (pages.PAGES / f"{name}.md").is_file()
    assert (Path(__file__).parent / f"test_{name}.py").is_file()
    assert destination.settings.model_fields["base_url"].default.startswith("https://")


def test_the_examples_of_the_page_hold(name: str) -> None:
    pages.check_page(name)


def test_every_setting_is_described(name: str) -> None:
    for field, info in destinations()[name].settings.model_fields.items():
        assert info.description, field


def test_every_event_is_taken_or_skipped_for_a_listed_reason(name: str) -> None:
    destination, settings = destinations()[name], pages.settings_of(name)
    for event in [*EVENTS, s.bare(), s.bare(event_name="QuizDone", is_custom=True)]:
        admission = destination.admit(event, settings, s.NOW)
        if isinstance(admission, Skip):
            assert admission.reason in REASONS[Outcome.SKIPPED]
            assert admission.detail
        else:
            assert admission.window_until > s.NOW
            assert admission.repeat_for >= timedelta(0)
            assert admission.pair_for >= timedelta(0)


def test_old_and_future_events_are_skipped(name: str) -> None:
    destination, settings = destinations()[name], pages.settings_of(name)
    for days, reason in ((-120, Reason.TOO_OLD), (1, Reason.IN_FUTURE)):
        event = s.event(event_time=s.NOW + timedelta(days=days))
        admission = destination.admit(event, settings, s.NOW)
        assert isinstance(admission, Skip)
        assert admission.reason == reason


def test_no_raw_identifier_leaves(name: str) -> None:
    identity, _ = hash_identity(UserData(**RAW), event_time=s.HAPPENED, today=s.NOW.date())
    known = s.identity()
    plain = {field: getattr(known, field) for field in ("client_ip_address", "client_user_agent", "epik", "ttp", "fbp")}
    for source in ACTION_SOURCES:
        whole = s.identity(digests=identity.digests, country=identity.country, state=identity.state, **plain)
        event = s.event(action_source=source, identity=whole, custom_data=s.custom_data(properties={}))
        for call in build(name, taken(name, [event])):
            shown = (call.url + call.body.decode() + str(call.headers)).lower()
            assert not [trace for trace in TRACES if trace in shown]


def test_only_wanted_forms_leave(name: str) -> None:
    needs = destinations()[name].needs
    unwanted = {s.digest(f"{form} of jane").hex() for form in set(Form) - needs}
    seen = set()
    for call in build(name, taken(name, EVENTS)):
        body = call.body.decode()
        assert not [value for value in unwanted if value in body]
        seen |= {form for form in needs if s.digest(f"{form} of jane").hex() in body}
    assert seen == needs


def test_secrets_stay_where_they_are_hidden(name: str) -> None:
    assert secrets(name)
    for secret in secrets(name):
        assert secret not in repr(pages.settings_of(name))
        for call in build(name, taken(name, EVENTS)):
            assert secret not in repr(call)
            assert secret not in call.url
            assert secret not in str(dict(call.headers))
            assert secret.encode() not in call.body


def test_build_is_deterministic_ordered_and_complete(name: str) -> None:
    deliveries = taken(name, EVENTS)
    random.Random(7).shuffle(deliveries)
    calls = build(name, deliveries)
    again = build(name, deliveries)
    assert [(c.url, c.body, c.headers, c.secret_headers) for c in calls] == [
        (c.url, c.body, c.headers, c.secret_headers) for c in again
    ]
    place = {delivery.event_id: index for index, delivery in enumerate(deliveries)}
    for call in calls:
        places = [place[delivery.event_id] for delivery in call.deliveries]
        assert places == sorted(places)
        found = [call.body.find(f'"{d.event_id}"'.encode()) for d in call.deliveries]
        assert -1 not in found
        assert found == sorted(found)
    assert sorted(d.event_id for call in calls for d in call.deliveries) == sorted(place)


def test_test_events_never_travel_with_live_ones(name: str) -> None:
    for call in build(name, taken(name, EVENTS)):
        assert len({delivery.event.is_test for delivery in call.deliveries}) == 1


def test_nothing_to_send_is_no_request(name: str) -> None:
    assert build(name, []) == []


def _padded(text: str) -> HashedEvent:
    """An event that is long wherever it may be: not every platform gets the URL."""
    return s.event(event_source_url=f"https://shop.example/?{text}", identity=s.identity(client_user_agent=text))


def test_requests_keep_to_count_and_bytes(name: str) -> None:
    limits = destinations()[name].limits
    many = [s.delivery(event_id=f"id_{index}") for index in range(limits.max_items + 1)]
    assert all(len(call.deliveries) <= limits.max_items for call in build(name, many))
    assert all(len(call.body) <= limits.max_bytes for call in build(name, many))
    long = _padded("x" * 8000)
    calls = build(name, [s.delivery(long, event_id=f"id_{index}") for index in range(limits.max_bytes // 8000 + 1)])
    assert len(calls) > 1
    assert all(len(call.body) <= limits.max_bytes for call in calls)
    whale = _padded("x" * limits.max_bytes)
    whale_calls = build(name, [s.delivery(event_id="a"), s.delivery(whale, event_id="b"), s.delivery(event_id="c")])
    assert [[d.event_id for d in call.deliveries] for call in whale_calls] == [["a"], ["b"], ["c"]]


def test_bodies_are_json_without_empty_values(name: str) -> None:
    sparse = s.bare(
        event_source_url="https://shop.example/",
        identity=s.with_digests(*Form, client_ip_address="203.0.113.9", client_user_agent="x", epik="", locale=""),
        custom_data=s.custom_data(order_id="", search_string="", contents=(), properties={}, num_items=0),
    )

    def check(value: Any) -> None:
        assert value not in (None, "", [], {})
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            check(part)

    for call in build(name, taken(name, [sparse, s.event(action_source="app")])):
        body = json.loads(call.body)
        app_data = json.dumps(body).replace('"", ', "")  # blanks among the 16 device slots have a meaning
        check(json.loads(app_data))


def test_amounts_never_pass_through_a_float(name: str) -> None:
    event = s.event(custom_data=s.custom_data(value=Decimal("123456789012345678.90"), currency="USD"))
    (call,) = build(name, [s.delivery(event)])
    assert b"123456789012345678.90" in call.body


BODIES: dict[str, bytes] = {
    "empty": b"",
    "html": b"<!doctype html><html><body>error</body></html>",
    "truncated": b'{"events_received": 1, "code": 0, "status": "VALID", "events": [{"sta',
    "list": b"[1, 2]",
    "null": b"null",
    "text": b"OK",
    "binary": b"\xff\xfe\x00",
}
STATUSES = (200, 204, 207, 302, 400, 401, 403, 404, 408, 413, 422, 429, 500, 502, 503, 504)


def checked(name: str, reply: HttpReply, size: int) -> Any:
    """The verdict on a reply, when it keeps to the contract."""
    verdict = destinations()[name].read(reply, s.batch(size))
    if isinstance(verdict, Park):
        assert verdict.reason in REASONS[Outcome.RETRYING]
        return verdict
    if isinstance(verdict, Split):
        assert size > 1, "a batch of one is rejected, not split"
        assert all(0 <= position < size for position in verdict.suspects)
        return verdict
    assert len(verdict) == size
    for result in verdict:
        assert isinstance(result, Delivered | Rejected | Retry)
        if isinstance(result, Rejected):
            assert result.reason in REASONS[Outcome.DEAD]
        elif isinstance(result, Retry):
            assert result.reason in REASONS[Outcome.RETRYING]
    return verdict


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("status", STATUSES)
def test_an_unreadable_answer_delivers_nothing(name: str, status: int, body: str, size: int) -> None:
    verdict = checked(name, HttpReply(status, {"retry-after": "30"}, BODIES[body]), size)
    if isinstance(verdict, Park):
        assert status in (401, 403)
        return
    if isinstance(verdict, Split):
        return
    for result in verdict:
        if status == 413:
            assert isinstance(result, Rejected)
        else:
            assert isinstance(result, Retry)
            if 200 <= status < 300:
                assert result.is_ambiguous
            if status == 429:
                assert (result.reason, result.after) == (Reason.RATE_LIMITED, timedelta(seconds=30))


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("status", STATUSES)
def test_a_readable_answer_that_says_nothing_delivers_nothing(name: str, status: int, size: int) -> None:
    for body in (b"{}", b'{"error":{}}', b'{"code":"x","status":null,"events":{}}'):
        verdict = checked(name, HttpReply(status, {}, body), size)
        if isinstance(verdict, Sequence):
            assert not any(isinstance(result, Delivered) for result in verdict)


def test_fields_an_answer_may_gain_change_nothing(name: str) -> None:
    for kind, text in pages.blocks_of(name):
        reply = json.loads(text) if kind == "reply" else None
        if reply is not None and isinstance(reply["body"], dict):
            grown = {**reply, "body": {**reply["body"], "novelty": {"a": [1]}}}
            assert pages.results_of(name, json.dumps(grown)) == pages.results_of(name, text)


def test_dates_in_retry_after_are_ignored(name: str) -> None:
    (result,) = checked(name, HttpReply(429, {"retry-after": "Fri, 20 Nov 2026 12:00:00 GMT"}, b""), 1)
    assert result.after is None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=12)
    | st.sampled_from(["VALID", "processed", "failed"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "error",
                        "code",
                        "error_subcode",
                        "message",
                        "events_received",
                        "status",
                        "reason",
                        "errors",
                        "codes",
                    ),
                    *("event", "event_logs", "error_msgs", "details", "events", "error_data", "blame_field_specs"),
                    *("num_events_processed", "is_transient", "request_id", "fbtrace_id", "requestId", "fieldWarnings"),
                    *("requestStatusPerDestination", "requestStatus", "errorInfo", "errorCounts", "recordIndices"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@hypothesis_settings(max_examples=150, deadline=None)
@given(body=JSON, status=st.sampled_from(STATUSES), size=st.integers(1, 3))
def test_whatever_is_answered_there_is_a_verdict(name: str, body: Any, status: int, size: int) -> None:
    checked(name, HttpReply(status, {}, json.dumps(body).encode()), size)


@hypothesis_settings(max_examples=60, deadline=None)
@given(body=JSON, status=st.sampled_from(STATUSES), size=st.integers(1, 3))
def test_what_is_asked_later_shows_no_secret_and_always_has_an_end(
    name: str, body: Any, status: int, size: int
) -> None:
    later = destinations()[name].later
    if later is None:
        return
    call = later.ask("trace 1", pages.settings_of(name))
    assert call.deliveries == ()
    for secret in secrets(name):
        assert secret not in repr(call)
        assert secret not in call.url
    told = later.read(HttpReply(status, {}, json.dumps(body).encode()), size)
    assert isinstance(told, Report | Retry | Park)
    if isinstance(told, Report):
        assert all(0 <= position < size for position in told.refused)
