"""What is decided about an event before the store is touched, as tables."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest

from app import gate, pipeline
from app.consent.jurisdiction import place
from app.consent.needs import ConsentNeeds, ConsentOptions
from app.consent.policy import ConsentDecision
from app.destinations.base import DEDUP_WINDOW, Admission, Admit, Skip
from app.errors import INGEST_OUTCOMES, REASONS, InvalidEvent, Outcome, Reason
from app.model import ConsentFacts, Form, HashedEvent, HashedIdentity, Plan, Warn, encode_event
from app.proof import ConsentProof, ProvenDecision
from app.wire import Event
from app.withdrawal import PERSON_FORMS
from tests.factories import START
from tests.pipeline.support import ALLOWED, WINDOW, admit_all, decisions, planned, policy, real_routes, route, wire

HOUR = timedelta(hours=1)


def codes(made: Plan) -> list[str]:
    """The codes of the warnings, in order."""
    return [warning.code for warning in made.warnings]


def faults(source: Any, **over: Any) -> list[tuple[str, str]]:
    """The faults of an event that cannot be taken."""
    with pytest.raises(InvalidEvent) as raised:
        planned(source, **over)
    return [(fault.pointer, fault.code) for fault in raised.value.faults]


# --- who gets it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("consent", "word", "detail"),
    [
        (ALLOWED, "queued", None),
        ({}, "consent_missing", "NO_SIGNAL"),
        ({**ALLOWED, "ad_user_data": False}, "consent_purpose_missing", "CM_DENIED"),
        ({"ad_storage": True}, "consent_purpose_missing", "CM_UNSET"),
        ({"purposes": {"ads": False}}, "consent_purpose_missing", "MAP_DENIED"),
        ({**ALLOWED, "ad_storage": "yes"}, "signal_malformed", "CM_MALFORMED"),
        ({**ALLOWED, "gpc": True}, "gpc_opt_out", "GPC"),
        ({**ALLOWED, "child": True}, "consent_missing", "CHILD_NO_CONSENT"),
        ({"tcf": "CP..."}, "signal_malformed", "TCF_BAD_ALPHABET"),
    ],
)
@pytest.mark.parametrize("wanted", [None, ["one"], ["two"], []])
@pytest.mark.parametrize("is_test", [False, True])
def test_consent_routing_and_test_mode(
    consent: dict[str, Any], word: str, detail: str | None, wanted: list[str] | None, is_test: bool
) -> None:
    source = policy(route("one"), route("two", has_test_mode=False), route("three", is_routed=False))
    made = planned(source, consent=consent, destinations=wanted, test=is_test)
    expected = {
        "one": word if wanted is None or "one" in wanted else "not_routed",
        "two": "not_routed" if wanted is not None and "two" not in wanted else "test_mode_missing" if is_test else word,
        "three": "not_routed",
    }
    assert decisions(made) == expected
    assert [delivery.destination for delivery in made.deliveries] == [n for n, w in expected.items() if w == "queued"]
    for name, verdict in made.verdicts.items():
        assert verdict.outcome in INGEST_OUTCOMES
        assert verdict.reason is None or verdict.reason in REASONS[verdict.outcome]
        assert verdict.reason_detail == (detail if expected[name] == word else None)


def test_a_destination_a_source_does_not_use_stays_unrouted_when_asked_for() -> None:
    source = policy(route("one"), route("two", is_routed=False))
    assert decisions(planned(source, destinations=["two"])) == {"one": "not_routed", "two": "not_routed"}


def test_a_test_code_of_its_own_is_a_test_mode_where_codes_are_taken() -> None:
    source = policy()
    codes = {"tiktok": "TEST77", "pinterest": "TEST88"}
    made = planned(source, test_event_codes=codes)
    assert made.event.is_test
    assert made.event.test_codes == codes
    assert decisions(made) == {
        "meta": "queued",
        "tiktok": "queued",
        "pinterest": "test_mode_missing",
        "snapchat": "test_mode_missing",
    }
    assert not planned(source, test_event_codes={}).event.is_test


def test_a_test_code_for_nobody_is_a_fault_that_repeats_no_name() -> None:
    with pytest.raises(InvalidEvent) as caught:
        planned(policy(), test_event_codes={"jane@example.com": "TEST1"})
    (fault,) = caught.value.faults
    assert (fault.pointer, fault.code) == ("/test_event_codes", "unknown_destination")


def test_every_destination_has_a_verdict_in_the_configured_order() -> None:
    names = ["c", "a", "b"]
    made = planned(policy(*map(route, names)))
    assert list(made.verdicts) == names
    assert [delivery.destination for delivery in made.deliveries] == names


NO_CONSENT: dict[str, Any] = {"consent": {}}
NOBODY: dict[str, Any] = {"user": {}}
FREE: dict[str, Any] = {"custom_data": {}}
ANCIENT: dict[str, Any] = {"event_time": "2026-01-01T00:00:00Z"}
AHEAD: dict[str, Any] = {"event_time": "2026-11-20T13:00:00Z"}
NAMELESS: dict[str, Any] = {"event_name": "Refund"}


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("meta", [NO_CONSENT, ANCIENT, FREE, NOBODY]),
        ("snapchat", [NO_CONSENT, NAMELESS, ANCIENT, NOBODY]),
        ("snapchat", [NO_CONSENT, ANCIENT, FREE, NOBODY]),
        ("snapchat", [NO_CONSENT, AHEAD, FREE, NOBODY]),
    ],
)
def test_where_several_reasons_apply_the_first_of_the_list_is_told(name: str, reasons: list[dict[str, Any]]) -> None:
    """not_routed, test_mode_missing, consent, event_not_supported, in_future/too_old, required field, identifiers."""
    word_of = {
        id(NO_CONSENT): "consent_missing",
        id(NAMELESS): "event_not_supported",
        id(ANCIENT): "too_old",
        id(AHEAD): "in_future",
        id(FREE): "required_field_missing",
        id(NOBODY): "identifiers_missing",
    }
    source = policy()
    for position, reason in enumerate(reasons):
        every = {key: value for each in reasons[position:] for key, value in each.items()}
        assert decisions(planned(source, **every))[name] == word_of[id(reason)]
        if name != "meta":
            assert decisions(planned(source, **every, test=True))[name] == "test_mode_missing"
        unrouted = planned(source, **every, test=True, destinations=["tiktok"])
        assert decisions(unrouted)[name] == "not_routed"


def test_consent_comes_before_what_the_platform_says() -> None:
    asked = []

    def admit(event: HashedEvent, settings: Any, now: datetime) -> Admission:
        asked.append(event)
        return Skip(Reason.TOO_OLD, "a week at most")

    source = policy(route("one", admit))
    assert decisions(planned(source, consent={}))["one"] == "consent_missing"
    assert asked == []
    made = planned(source)
    assert (made.verdicts["one"].reason, made.verdicts["one"].reason_detail) == (Reason.TOO_OLD, "a week at most")
    assert made.deliveries == ()


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shopper who permits with the platform's opt-out flag only."""
    monkeypatch.setattr(gate, "decide", lambda *judged: ConsentDecision(Outcome.QUEUED, limited=True))


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize(("is_supported", "can_limit"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_limited_permission_needs_a_platform_that_can_limit_this_event(is_supported: bool, can_limit: bool) -> None:
    made = planned(policy(route("one", is_limited_supported=is_supported, can_limit=can_limit)))
    verdict = made.verdicts["one"]
    if is_supported and can_limit:
        assert (verdict.outcome, verdict.limited) == (Outcome.QUEUED, True)
        assert [delivery.limited for delivery in made.deliveries] == [True]
    else:
        assert (verdict.outcome, verdict.reason) == (Outcome.DENIED, Reason.US_OPT_OUT)
        assert verdict.reason_detail == "LIMITED_UNSUPPORTED"
        assert made.deliveries == ()


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("over", [{"is_limited_supported": False}, {"can_limit": False}])
def test_a_limit_that_cannot_be_kept_comes_before_what_the_platform_says(over: dict[str, Any]) -> None:
    source = policy(route("one", lambda event, settings, now: Skip(Reason.TOO_OLD), **over))
    assert decisions(planned(source))["one"] == "us_opt_out"


def test_without_a_limit_nobody_asks_whether_there_could_be_one() -> None:
    made = planned(policy(route("one", is_limited_supported=False, can_limit=False)))
    assert decisions(made) == {"one": "queued"}


# --- how long -----------------------------------------------------------------------------------------------------


def admits(**over: Any) -> Any:
    """An adapter that admits on these terms."""

    def admit(event: HashedEvent, settings: Any, now: datetime) -> Admission:
        return Admit(event.event_time + WINDOW, **over)

    return admit


@pytest.mark.parametrize(
    ("has_pixel", "action_source", "dedup_window", "pair_for", "expected"),
    [
        (True, "website", 48 * HOUR, 48 * HOUR, 48 * HOUR),
        (True, "app", 48 * HOUR, 48 * HOUR, 48 * HOUR),
        (False, "website", 48 * HOUR, 48 * HOUR, None),
        (False, "app", 48 * HOUR, 48 * HOUR, None),
        *((True, other, 48 * HOUR, 48 * HOUR, None) for other in ("email", "phone_call", "physical_store", "other")),
        *((True, other, 48 * HOUR, 48 * HOUR, None) for other in ("chat", "system_generated", "business_messaging")),
        # a source may choose less than the platform's window, not more
        (True, "website", 1 * HOUR, 48 * HOUR, 1 * HOUR),
        (True, "website", 720 * HOUR, 48 * HOUR, 48 * HOUR),
        (True, "website", 1 * HOUR, 2 * HOUR, 1 * HOUR),
        (True, "website", 4 * HOUR, 2 * HOUR, 2 * HOUR),
        # a platform that pairs by another key for longer does so whatever the source's window is
        (True, "website", 48 * HOUR, 720 * HOUR, 720 * HOUR),
        (True, "website", 1 * HOUR, 720 * HOUR, 720 * HOUR),
        (True, "website", 48 * HOUR, 0 * HOUR, 0 * HOUR),
    ],
)
def test_until_when_the_pixels_copy_is_paired(
    has_pixel: bool,
    action_source: str,
    dedup_window: timedelta,
    pair_for: timedelta,
    expected: timedelta | None,
) -> None:
    source = policy(
        route("one", admits(pair_for=pair_for, repeat_for=5 * HOUR)), has_pixel=has_pixel, dedup_window=dedup_window
    )
    made = planned(source, action_source=action_source)
    (delivery,) = made.deliveries
    happened = made.event.event_time
    assert delivery.budget.pair_until == (None if expected is None else happened + expected)
    assert delivery.budget.window_until == happened + WINDOW
    assert delivery.budget.repeat_for == 5 * HOUR
    assert made.id_request.remember_until == START + dedup_window


@pytest.mark.parametrize(
    ("name", "over", "pair", "repeat", "window"),
    [
        ("meta", {}, DEDUP_WINDOW, DEDUP_WINDOW, timedelta(days=7)),
        ("meta", {"action_source": "physical_store"}, None, timedelta(days=7), timedelta(days=62)),
        ("tiktok", {}, DEDUP_WINDOW, DEDUP_WINDOW, timedelta(days=7)),
        ("pinterest", {}, DEDUP_WINDOW, DEDUP_WINDOW, timedelta(days=7)),
        ("pinterest", {"action_source": "phone_call"}, None, timedelta(0), timedelta(days=7)),
        ("snapchat", {}, timedelta(days=30), timedelta(days=30), timedelta(days=7)),
        ("snapchat", {"event_name": "Search"}, DEDUP_WINDOW, DEDUP_WINDOW, timedelta(days=7)),
        ("snapchat", {"occurrence": "R-1"}, DEDUP_WINDOW, DEDUP_WINDOW, timedelta(days=7)),
        ("snapchat", {"action_source": "phone_call"}, None, timedelta(days=30), timedelta(days=28)),
    ],
)
def test_the_platforms_own_windows(
    name: str, over: dict[str, Any], pair: timedelta | None, repeat: timedelta, window: timedelta
) -> None:
    made = planned(policy(), **over)
    budget = {delivery.destination: delivery.budget for delivery in made.deliveries}[name]
    happened = made.event.event_time
    assert budget.pair_until == (None if pair is None else happened + pair)
    assert budget.repeat_for == repeat
    assert timedelta(0) < happened + window - budget.window_until <= HOUR


@pytest.mark.parametrize(
    ("source", "over", "is_by_the_pairing"),
    [
        ({}, {}, True),
        ({"takes_receipts": True}, {}, False),
        ({"has_pixel": False}, {}, False),
        ({}, {"action_source": "physical_store"}, False),
    ],
)
def test_what_is_held_is_held_until_it_could_not_be_sent_any_more(
    source: dict[str, Any], over: dict[str, Any], is_by_the_pairing: bool
) -> None:
    made = planned(policy(**source), hold=True, destinations=["meta"], **over)
    (meta,) = made.deliveries
    assert meta.held_until == (meta.budget.pair_until if is_by_the_pairing else meta.budget.window_until)
    assert made.verdicts["meta"].held_until == meta.held_until
    (at_once,) = planned(policy(**source), destinations=["meta"], **over).deliveries
    assert at_once.held_until is None
    assert at_once.budget == meta.budget


def test_an_event_already_past_its_pairing_is_queued_so_that_the_ledger_shows_it() -> None:
    made = planned(policy(), event_time=(START - 72 * HOUR).isoformat())
    assert decisions(made)["meta"] == "queued"
    (meta,) = [delivery for delivery in made.deliveries if delivery.destination == "meta"]
    assert meta.budget.pair_until is not None
    assert meta.budget.pair_until < START


# --- when and what ------------------------------------------------------------------------------------------------


def test_a_time_slightly_ahead_is_taken_as_now() -> None:
    made = planned(policy(route()), event_time="2026-11-20T12:05:00Z")
    assert made.event.event_time == START
    assert "event_time_ahead" in codes(made)
    beyond = planned(policy(route()), event_time="2026-11-20T12:05:01Z")
    assert beyond.event.event_time == START + timedelta(minutes=5, seconds=1)
    assert decisions(planned(policy(), event_time="2026-11-20T12:05:01Z")) == dict.fromkeys(
        ("meta", "tiktok", "pinterest", "snapchat"), "in_future"
    )


@pytest.mark.parametrize(
    ("sent", "kept", "is_custom", "warned"),
    [
        ("Purchase", "Purchase", False, False),
        ("purchase", "Purchase", False, True),
        ("Order Completed", "Purchase", False, True),
        ("CompletePayment", "Purchase", False, True),
        ("checkout", "InitiateCheckout", False, True),
        ("Tea Tasting", "Tea Tasting", True, False),
    ],
)
def test_names(sent: str, kept: str, is_custom: bool, warned: bool) -> None:
    made = planned(policy(route()), event_name=sent)
    assert (made.event.event_name, made.event.is_custom) == (kept, is_custom)
    assert made.id_request.event_name == kept
    assert ("event_name_alias" in codes(made)) == warned


def test_what_is_kept_of_the_custom_data() -> None:
    sent = {
        "currency": " usd ",
        "value": 129.9,
        "order_id": "ORD-1",
        "num_items": 2,
        "search_string": "shoes",
        "subscription_id": "SUB-1",
        "predicted_ltv": "500",
        "content_name": "Autumn",
        "content_category": "Footwear",
        "content_type": "product",
        "contents": [
            {"id": "SKU-1", "quantity": 1, "item_price": "99.90", "title": "Shoe", "brand": "Acme", "category": "F"},
            {"id": 7},
        ],
        "properties": {"coupon": "BF26", "nested": {"a": [1, 2.5, None, True]}},
    }
    kept = planned(policy(route()), custom_data=sent).event.custom_data
    assert (kept.currency, kept.value, kept.predicted_ltv) == ("USD", Decimal("129.9"), Decimal(500))
    same = ("order_id", "num_items", "search_string", "subscription_id", "content_name", "content_category")
    for name in (*same, "content_type", "properties"):
        assert getattr(kept, name) == sent[name]
    assert [(line.id, line.quantity, line.item_price) for line in kept.contents] == [
        ("SKU-1", 1, Decimal("99.90")),
        ("7", None, None),
    ]
    assert (kept.contents[0].title, kept.contents[0].brand, kept.contents[0].category) == ("Shoe", "Acme", "F")
    bare = planned(policy(route()), custom_data={}).event.custom_data
    assert (bare.properties, bare.contents, bare.currency) == ({}, (), None)


def test_what_is_kept_beside_it() -> None:
    made = planned(
        policy(route()),
        action_source="app",
        occurrence="R-1",
        referrer_url="https://shop.example/cart",
        app={"os": "ios", "app_id": "1234567", "vendor_id": "jane@mail.example", "extinfo": ["i2", None]},
        test=True,
    )
    event = made.event
    assert (event.source, event.action_source, event.occurrence, event.is_test) == ("shop", "app", "R-1", True)
    assert (event.transaction_id, event.referrer_url) == ("ORD-1", "https://shop.example/cart")
    assert event.app == {"os": "ios", "app_id": "1234567", "extinfo": ["i2", None]}
    assert Warn("personal_data", "/app/vendor_id", "holds what looks like personal data; dropped") in made.warnings
    assert made.accepted_at == START
    assert planned(policy(route()), app={}).event.app is None
    assert planned(policy(route())).event.app is None


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"custom_data": {"value": "1"}}, "currency_missing"),
        ({"custom_data": {"currency": "USD", "value": "1"}}, "contents_missing"),
        ({"transaction_id": None, "custom_data": {}}, "transaction_id_missing"),
        ({"consent": {**ALLOWED, "tcf": "CP"}}, "consent_malformed"),
        ({"user": {"gender": "?"}}, None),
    ],
)
def test_advice(over: dict[str, Any], code: str | None) -> None:
    assert "currency_missing" not in codes(planned(policy(route())))
    told = codes(planned(policy(route("one", needs=frozenset(Form))), **over))
    assert code in told if code else told
    assert "contents_missing" not in codes(planned(policy(route()), event_name="Search", custom_data={}))
    has_id = planned(policy(route()), transaction_id=None, custom_data={}, event_id="own-1")
    assert "transaction_id_missing" not in codes(has_id)


def test_a_warning_of_several_platforms_is_told_once() -> None:
    weak = Warn("field_missing", "/user", "more would be better")
    admit = admits(warnings=(weak,))
    made = planned(policy(route("one", admit), route("two", admit)))
    assert made.warnings.count(weak) == 1


def test_the_same_event_has_equal_plans() -> None:
    assert planned(policy()) == planned(policy())


# --- what cannot be taken -----------------------------------------------------------------------------------------


def test_every_fault_of_an_event_is_told_at_once() -> None:
    found = faults(
        policy(route(), leak_policy="reject"),
        event_time="never",
        event_id="jane@mail.example",
        occurrence="+14155552671",
        destinations=["one", "nowhere"],
        custom_data={"currency": "QQQ", "order_id": "jane@mail.example", "search_string": "jane@mail.example"},
    )
    assert {pointer for pointer, _ in found} == {
        "/event_time",
        "/event_id",
        "/occurrence",
        "/destinations/1",
        "/custom_data/currency",
        "/custom_data/order_id",
        "/custom_data/search_string",
    }
    assert len(found) == len(set(found))


@pytest.mark.parametrize("field", ["event_name", "event_id", "transaction_id", "occurrence"])
@pytest.mark.parametrize("text", ["jane.doe@mail.example", "order of jane@mail.example", "+14155552671"])
@pytest.mark.parametrize("leak_policy", ["redact", "reject", "report"])
def test_personal_data_is_no_id(field: str, text: str, leak_policy: Any) -> None:
    found = faults(policy(route(), leak_policy=leak_policy), **{field: text})
    assert found == [(f"/{field}", "personal_data")]


def test_faults_hold_no_values() -> None:
    with pytest.raises(InvalidEvent) as raised:
        planned(policy(route()), event_id="zq7x@mail.example", event_time="zq7x", destinations=["zq7x"])
    assert "zq7x" not in str(raised.value)
    assert "zq7x" not in repr(raised.value.faults)


# --- what is never kept -------------------------------------------------------------------------------------------

PERSON = {
    "email": ["Jane.Doe@shop-customer.example", "second@shop-customer.example"],
    "phone": "(415) 555-2671",
    "phone_country": "US",
    "first_name": "Janequa",
    "last_name": "Doeverly",
    "gender": "female",
    "date_of_birth": "1990-02-03",
    "city": "Springfieldia",
    "state": "CA",
    "zip": "94107",
    "country": "US",
    "external_id": "cust-99177",
}
RAW = (
    "Jane.Doe",
    "jane.doe",
    "shop-customer.example",
    "second@",
    "555-2671",
    "4155552671",
    "5552671",
    "Janequa",
    "janequa",
    "Doeverly",
    "doeverly",
    "1990-02-03",
    "19900203",
    "Springfieldia",
    "springfieldia",
    "94107",
    "cust-99177",
)


@pytest.mark.parametrize("consent", [ALLOWED, {}])
@pytest.mark.parametrize("transaction_id", ["ORD-1", None])
def test_no_raw_identifier_is_in_a_plan(consent: dict[str, Any], transaction_id: str | None) -> None:
    made = planned(policy(), user=PERSON, consent=consent, transaction_id=transaction_id, custom_data={})
    shown = repr(made)
    kept = encode_event(made.event)
    for raw in RAW:
        assert raw not in shown, raw
        assert raw.encode() not in kept, raw


def test_what_is_kept_is_hashed() -> None:
    made = planned(policy(), user=PERSON)
    digests = made.event.identity.digests
    assert digests[Form.EMAIL][0] == sha256(b"jane.doe@shop-customer.example").digest()
    assert digests[Form.PHONE_E164] == (sha256(b"+14155552671").digest(),)
    assert set(digests) <= {str(form) for form in policy().forms}


def test_only_the_forms_that_some_routed_destination_needs_are_kept() -> None:
    one = route("one", needs=frozenset({Form.EMAIL}))
    two = route("two", needs=frozenset({Form.CITY}))
    unused = route("three", needs=frozenset({Form.ZIP}), is_routed=False)
    source = policy(one, two, unused)
    assert source.forms == {Form.EMAIL, Form.CITY, *PERSON_FORMS}
    assert set(planned(source, user=PERSON).event.identity.digests) == {Form.EMAIL, Form.CITY, *PERSON_FORMS}


def test_denied_everywhere_keeps_no_identity() -> None:
    made = planned(policy(), user=PERSON, consent={})
    assert made.event.identity == HashedIdentity()
    assert made.deliveries == ()
    assert planned(policy(), user=PERSON, destinations=[]).event.identity == HashedIdentity()
    somewhere = planned(policy(), user=PERSON, destinations=["meta"])
    assert somewhere.event.identity != HashedIdentity()


def test_denied_everywhere_tells_nothing_about_identifiers() -> None:
    assert codes(planned(policy(), user={"email": "nobody"}, consent={})) == []


@pytest.mark.parametrize("raw", ["jane.doe@mail.example", "+14155552671", "l:jane.doe@mail.example"])
@pytest.mark.parametrize("consent", [ALLOWED, {}])
def test_a_lead_id_that_is_personal_data_never_becomes_a_key(raw: str, consent: dict[str, Any]) -> None:
    sent = wire(event_name="Lead", transaction_id=None, custom_data={}, user={"lead_id": raw}, consent=consent)
    try:
        made = planned(policy(), sent)
    except InvalidEvent as refused:
        assert [fault.pointer for fault in refused.faults] == ["/user/lead_id"]
        return
    assert raw not in repr(made)
    assert raw.encode() not in encode_event(made.event)


def test_personal_data_elsewhere_is_left_to_the_leak_policy() -> None:
    leaky: dict[str, Any] = {"custom_data": {"search_string": "write to jane@mail.example"}, "referrer_url": None}
    redacted = planned(policy(route()), **leaky)
    assert "jane@mail.example" not in repr(redacted)
    assert "/custom_data/search_string" in {warning.pointer for warning in redacted.warnings}
    reported = planned(policy(route(), leak_policy="report"), **leaky)
    assert reported.event.custom_data.search_string == "write to jane@mail.example"
    assert [pointer for pointer, _ in faults(policy(route(), leak_policy="reject"), **leaky)] == [
        "/custom_data/search_string"
    ]


def test_urls_are_cleaned() -> None:
    url = "https://shop.example/thanks?email=jane@mail.example&step=3"
    made = planned(policy(route()), event_source_url=url, referrer_url=url)
    assert "jane" not in repr(made)
    assert made.event.event_source_url is not None
    assert "step=3" in made.event.event_source_url


def test_a_click_id_is_read_from_the_url_before_it_is_cleaned() -> None:
    made = planned(policy(), event_source_url="https://shop.example/?fbclid=IwY2Abc_def&ttclid=E.C.P.abcdef")
    assert made.event.identity.fbc is not None
    assert made.event.identity.fbc.endswith(".IwY2Abc_def")
    assert made.event.identity.ttclid == "E.C.P.abcdef"


def test_planning_changes_neither_event_nor_policy() -> None:
    source = policy()
    event = Event.model_validate(wire(user=PERSON, custom_data={"properties": {"a": {"b": "jane@mail.example"}}}))
    before = (event.model_dump_json(), source)
    pipeline.plan(event, source, source.forms, START)
    assert (event.model_dump_json(), source) == before
    assert json.loads(before[0])["custom_data"]["properties"] == {"a": {"b": "jane@mail.example"}}


def test_real_routes_have_the_names_of_their_platforms() -> None:
    assert [each.name for each in real_routes()] == ["meta", "tiktok", "pinterest", "snapchat"]
    assert admit_all(planned(policy(route())).event, None, START) == Admit(START - timedelta(minutes=10) + WINDOW)


# --- what a platform is told of the consent ------------------------------------------------------------------------


def facts_of(allowed: bool | None, personal: bool | None) -> ConsentDecision:
    """A decision that lets an event go, saying so of the two states."""
    return ConsentDecision(Outcome.QUEUED, facts=ConsentFacts(allowed, personal))


@pytest.mark.parametrize(
    ("one", "two", "told"),
    [
        ((True, True), (True, True), (True, True)),
        ((True, True), (True, False), (True, False)),
        ((True, None), (True, True), (True, None)),
        ((None, None), (False, True), (False, None)),
    ],
)
def test_the_strictest_consent_of_the_platforms_that_ask_for_it_travels_with_the_event(
    one: tuple[bool | None, bool | None],
    two: tuple[bool | None, bool | None],
    told: tuple[bool | None, bool | None],
) -> None:
    source = policy(route("one", has_consent_states=True), route("two", has_consent_states=True), route("three"))
    gates = {"one": facts_of(*one), "two": facts_of(*two), "three": facts_of(False, False)}
    assert pipeline._consent_facts(source, gates, None, START) == ConsentFacts(*told)
    gates["two"] = ConsentDecision(Outcome.DENIED, Reason.CONSENT_MISSING, facts=ConsentFacts(False, False))
    assert pipeline._consent_facts(source, gates, None, START) == ConsentFacts(*one)


def test_only_a_platform_that_asks_is_told_and_an_id_does_not_depend_on_it() -> None:
    asking = planned(policy(route("one", has_consent_states=True)), transaction_id=None, custom_data={})
    silent = planned(policy(route("one")), transaction_id=None, custom_data={})
    assert asking.event.consent == ConsentFacts(True, True)
    assert silent.event.consent == ConsentFacts()
    assert asking.id_request.derived == silent.id_request.derived


# --- where the shopper is, and when the choice was made ------------------------------------------------------------


@pytest.mark.parametrize(
    ("jurisdiction", "user", "default", "word"),
    [
        (None, {}, None, "consent_missing"),
        (None, {}, "US", "queued"),
        ("US-CA", {}, None, "queued"),
        ("us_ca", {}, "DE", "queued"),
        ("California", {}, "US", "consent_missing"),  # a place nobody knows is treated as the strictest
        (None, {"country": "USA"}, None, "queued"),
        (None, {"country": ["US", "DE"]}, None, "consent_missing"),
        (None, {"country": "Atlantis"}, "US", "consent_missing"),
        ("US", {"country": "Atlantis"}, None, "queued"),
        ("US", {"country": "DE"}, None, "consent_missing"),  # of two answers the strictest
        (None, {"country": "CA", "state": "ON"}, None, "consent_missing"),
        (None, {"country": "CA", "state": ["ON", "QC"]}, None, "consent_missing"),
        ("", {"country": [None, "US"]}, None, "queued"),
    ],
)
def test_the_place_decides_what_the_regional_policy_asks_for(
    jurisdiction: str | None, user: dict[str, Any], default: str | None, word: str
) -> None:
    options = ConsentOptions(policy="regional", default_place=place(default))
    made = planned(policy(route("one"), consent=options), consent={"jurisdiction": jurisdiction}, user=user)
    assert decisions(made) == {"one": word}
    assert made.verdicts["one"].limited is (word == "queued")


@pytest.mark.parametrize(
    ("collected_at", "detail"),
    [
        ("2026-11-20T11:00:00Z", None),
        (1_763_632_800, None),
        ("2025-10-01T00:00:00Z", "SIGNAL_STALE"),
        ("2026-11-22T11:00:00Z", "COLLECTED_AT_MALFORMED"),
        ("yesterday", "COLLECTED_AT_MALFORMED"),
        ([], "COLLECTED_AT_MALFORMED"),
    ],
)
def test_a_consent_counts_for_as_long_as_its_collection_is_near(collected_at: Any, detail: str | None) -> None:
    made = planned(policy(route("one")), consent={**ALLOWED, "collected_at": collected_at})
    assert made.verdicts["one"].reason_detail == detail
    assert [warning.pointer for warning in made.warnings if warning.code == "consent_malformed"] == (
        ["/consent/collected_at"] if detail == "COLLECTED_AT_MALFORMED" else []
    )


def test_destinations_of_different_needs_are_decided_apart() -> None:
    strict, other = ConsentNeeds(policy="strict"), ConsentNeeds(purposes=("measurement",))
    routes = [replace(route(name), needs=needs) for name, needs in (("one", strict), ("two", other), ("three", other))]
    made = planned(policy(*routes), consent={"purposes": {"measurement": True}})
    assert decisions(made) == {"one": "consent_purpose_missing", "two": "queued", "three": "queued"}


# --- proof ------------------------------------------------------------------------------------------------------------


def test_the_proof_holds_what_was_decided_wherever_consent_was_the_question() -> None:
    def too_old(event: HashedEvent, settings: Any, now: datetime) -> Admission:
        return Skip(Reason.TOO_OLD, "a week at most")

    routes = (
        route("one"),
        route("old", too_old),
        route("unlimited", is_limited_supported=False),
        route("elsewhere", can_limit=False),
        route("unrouted", is_routed=False),
    )
    source = policy(*routes, consent=ConsentOptions(policy="regional"), proof_key=b"key")
    tcf = "CQsIOsAQsIOsAEsAHBENAsFgAPLAAELAAAYgF5wAQF5gXnABAXmAAAAA.IF5wAQF5gAAA"
    made = planned(source, consent={"jurisdiction": "us-ca", "us_privacy": "1YYN", "collected_at": START.isoformat()})
    assert made.proof == ConsentProof(
        decided_at=START,
        policy=source.consent_version,
        regime="opt_out",
        place="US-CA",
        collected_at=START,
        signals={"us_privacy": "valid"},
        facts={"us_privacy": "1YYN"},
        decisions={
            "one": ProvenDecision(Outcome.QUEUED, None, "US_OPTED_OUT", True),
            "old": ProvenDecision(Outcome.QUEUED, None, "US_OPTED_OUT", True),
            "unlimited": ProvenDecision(Outcome.DENIED, Reason.US_OPT_OUT, "LIMITED_UNSUPPORTED", False),
            "elsewhere": ProvenDecision(Outcome.DENIED, Reason.US_OPT_OUT, "LIMITED_UNSUPPORTED", False),
        },
    )
    proof = planned(source, consent={"tcf": tcf}).proof
    assert proof is not None
    assert (proof.regime, proof.place, list(proof.digests)) == ("unknown", None, ["tcf"])
    assert proof.decisions["one"] == ProvenDecision(
        Outcome.DENIED, Reason.CONSENT_VENDOR_MISSING, "TCF_NO_VENDOR_BASIS", False
    )
    assert tcf not in repr(proof)
    assert b"key" not in repr(source).encode()


@pytest.mark.parametrize(
    ("consent", "place_of_event"),
    [
        ({"jurisdiction": "US-CA"}, "US-CA"),
        ({"jurisdiction": "US-CA", "us_privacy": "1YNN"}, None),
        ({"jurisdiction": "DE", **ALLOWED}, None),
    ],
)
def test_the_place_travels_with_an_event_that_its_law_limits(
    consent: dict[str, Any], place_of_event: str | None
) -> None:
    source = policy(route("one"), consent=ConsentOptions(policy="regional"))
    made = planned(source, consent=consent, transaction_id=None, custom_data={})
    assert made.event.place == place_of_event
    elsewhere = planned(policy(route("one")), consent=ALLOWED, transaction_id=None, custom_data={})
    assert made.id_request.derived == elsewhere.id_request.derived
