"""Google: conversion actions, the transaction id, the shape of an event, and every documented answer."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from app.destinations.base import Report
from app.destinations.google import LIMITS
from app.destinations.google.answers import DATA, OF_AN_EVENT, PARKING, PASSING, SETUP, SOON
from app.destinations.google.later import LATER
from app.destinations.google.settings import EVENT_SOURCES, SCOPE
from app.destinations.registry import destinations
from app.errors import DestinationError, Reason
from app.event_names import STANDARD_EVENTS
from app.model import ConsentFacts, Delivered, Form, Park, Rejected, Retry, Split
from app.wire import ACTION_SOURCES
from tests.destinations import support as s
from tests.destinations.pages import check_page

SERVICE_ACCOUNT = {
    "type": "service_account",
    "project_id": "shop",
    "client_email": "convey@shop.example",
    "private_key": "-----BEGIN PRIVATE KEY-----\nnot a key\n-----END PRIVATE KEY-----\n",
    "private_key_id": "k1",
}


def test_page():
    check_page("google")


@pytest.mark.parametrize("source", ACTION_SOURCES)
@pytest.mark.parametrize("name", STANDARD_EVENTS)
def test_every_standard_event_from_every_source(name: str, source: str) -> None:
    of = s.event(event_name=name, action_source=source)
    if name == "Refund" and source in ("physical_store", "phone_call"):
        assert s.skipped("google", of) == "event_not_supported"
        return
    s.admitted("google", of)
    item = s.sent("google", of)
    assert item["eventSource"] == EVENT_SOURCES[source]
    action = s.SETTINGS["google"]["conversion_actions"]["Purchase" if name == "Refund" else name]
    assert item["destinationReferences"] == [action]
    without = {key: value for key, value in s.SETTINGS["google"]["conversion_actions"].items() if value != action}
    assert s.skipped("google", of, conversion_actions=without) == "event_not_supported"
    assert s.skipped("google", of, skip_events=[name]) == "event_not_supported"
    with pytest.raises(DestinationError):
        s.build("google", [s.delivery(of)], conversion_actions=without)


def test_every_action_source_has_an_event_source():
    assert set(EVENT_SOURCES) == set(ACTION_SOURCES)
    of = s.event(action_source="email")
    assert s.sent("google", of, event_sources={"email": "MESSAGE"})["eventSource"] == "MESSAGE"


def test_custom_events_need_a_conversion_action():
    of = s.event(event_name="QuizDone", is_custom=True)
    assert s.skipped("google", of) == "event_not_supported"
    assert s.sent("google", of, conversion_actions={"QuizDone": "77"})["destinationReferences"] == ["77"]


def test_several_conversion_actions_share_a_request_ten_at_most():
    events = [s.event(event_name=name, transaction_id=f"T-{name}") for name in STANDARD_EVENTS]
    calls = s.build("google", [s.delivery(of, event_id=of.event_name) for of in events])
    heads = [[one["reference"] for one in json.loads(call.body)["destinations"]] for call in calls]
    assert [len(head) for head in heads] == [10, 8]
    for call, head in zip(calls, heads, strict=True):
        assert call.url == "https://datamanager.googleapis.com/v1/events:ingest"
        items = json.loads(call.body)["events"]
        assert [item["transactionId"] for item in items] == [d.event.transaction_id for d in call.deliveries]
        assert {one for item in items for one in item["destinationReferences"]} == set(head)


def test_accounts_and_headers():
    (call,) = s.build("google", [s.delivery()], login_account="11-2", linked_account="33", quota_project="my-project")
    (head,) = json.loads(call.body)["destinations"]
    kind = {"accountType": "GOOGLE_ADS"}
    assert head["operatingAccount"] == {**kind, "accountId": "1234567890"}
    assert head["loginAccount"] == {**kind, "accountId": "112"}
    assert head["linkedAccount"] == {**kind, "accountId": "33"}
    assert call.headers["x-goog-user-project"] == "my-project"
    assert call.auth is not None
    assert call.auth.scope == SCOPE
    assert json.loads(call.auth.credential)["token_uri"] == "https://oauth2.googleapis.com/token"
    (call,) = s.build("google", [s.delivery()], token_url="http://127.0.0.1:1/token")
    assert call.auth is not None
    assert json.loads(call.auth.credential)["token_uri"] == "http://127.0.0.1:1/token"
    assert "x-goog-user-project" not in call.headers
    (call,) = s.build("google", [s.delivery()], credentials=json.dumps(SERVICE_ACCOUNT))
    assert call.auth is not None
    assert set(json.loads(call.auth.credential)) == {
        *("type", "client_email", "private_key", "private_key_id", "token_uri")
    }
    assert "BEGIN" not in repr(call)


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ({}, "ORD-12345"),
        ({"transaction_id": None}, "ORD-12345"),  # by order_id
        ({"transaction_id": None, "custom_data": s.custom_data(order_id=None)}, "the_event_id"),
        ({"transaction_id": None, "custom_data": s.custom_data(order_id=None, subscription_id="SUB-1")}, "SUB-1"),
        (
            {
                "transaction_id": None,
                "custom_data": s.custom_data(order_id=None),
                "identity": s.identity(lead_id="L-1"),
            },
            "L-1",
        ),
        ({"occurrence": "INV-2"}, "the_event_id"),
        ({"event_name": "Refund", "occurrence": "R-1"}, "ORD-12345"),
        ({"transaction_id": "  00012345.0 "}, "  00012345.0 "),
    ],
)
def test_the_transaction_id(over: dict[str, Any], expected: str) -> None:
    of = s.event(**over)
    (call,) = s.build("google", [s.delivery(of, event_id="the_event_id")])
    assert json.loads(call.body)["events"][0]["transactionId"] == expected
    assert ("transaction_from_event_id" in s.codes(s.admitted("google", of))) == (expected == "the_event_id")


def test_the_whole_event():
    of = s.event(
        identity=s.identity(gclid="Cj0K-Aa", lead_id="L-7"),
        consent=ConsentFacts(True, True),
        custom_data=s.custom_data(properties={"coupon": "BF26", "off": "5.10", "tier": 3, "vip": True, "n": 2}),
    )
    item = s.sent(
        "google",
        of,
        merchant_id="55",
        merchant_feed_label="US",
        merchant_feed_language="en",
        custom_variables={"tier": "membership", "vip": "is_vip", "none": "x"},
        field_properties={
            "cartData.couponCodes": "coupon",
            "cartData.transactionDiscount": "off",
            "conversionCount": "n",
            "userProperties.customerValueBucket": "bucket",
        },
        send_lead_id=True,
    )
    assert item == {
        "destinationReferences": ["9876500"],
        "transactionId": "ORD-12345",
        "eventTimestamp": "2026-11-20T11:50:00Z",
        "eventSource": "WEB",
        "adIdentifiers": {"gclid": "Cj0K-Aa", "leadId": "L-7"},
        "userData": {
            "userIdentifiers": [
                {"emailAddress": s.digest(f"{Form.EMAIL_GMAIL_FOLDED} of jane").hex()},
                {"phoneNumber": s.digest(f"{Form.PHONE_E164} of jane").hex()},
            ]
        },
        "currency": "USD",
        "conversionValue": 129.9,
        "conversionCount": 2,
        "eventDeviceInfo": {
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/141.0",
            "ipAddress": "203.0.113.9",
            "languageCode": "en",
        },
        "cartData": {
            "merchantId": "55",
            "merchantFeedLabel": "US",
            "merchantFeedLanguageCode": "en",
            "transactionDiscount": 5.1,
            "couponCodes": ["BF26"],
            "items": [
                {"merchantProductId": "SKU-1", "quantity": "1", "unitPrice": 99.9},
                {"merchantProductId": "SKU-2", "quantity": "1", "unitPrice": 30},
            ],
        },
        "customVariables": [{"variable": "membership", "value": "3"}, {"variable": "is_vip", "value": "true"}],
        "consent": {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"},
        "userProperties": {"customerType": "NEW"},
    }


def test_amounts_are_both_or_neither():
    item = s.sent("google", s.event(custom_data=s.custom_data(value=Decimal(0), currency="EUR")))
    assert (item["conversionValue"], item["currency"]) == (0, "EUR")
    for data in (s.custom_data(value=None), s.custom_data(currency=None)):
        item = s.sent("google", s.event(custom_data=data))
        assert {"conversionValue", "currency"}.isdisjoint(item)
        assert "money_missing" in s.codes(s.admitted("google", s.event(custom_data=data)))


@pytest.mark.parametrize(
    ("source", "ids", "expected"),
    [
        ("website", {"gclid": "g", "gbraid": "b", "wbraid": "w"}, {"gclid": "g"}),
        ("website", {"gbraid": "b", "wbraid": "w"}, {"wbraid": "w"}),
        ("app", {"gbraid": "b", "wbraid": "w"}, {"gbraid": "b"}),
        ("website", {"gbraid": "b"}, {"gbraid": "b"}),
        (
            "app",
            {"gaid": "38400000-8cf0-11bd-b23e-10b96e40000d"},
            {"mobileDeviceId": "38400000-8cf0-11bd-b23e-10b96e40000d"},
        ),
        ("website", {"gaid": "38400000-8cf0-11bd-b23e-10b96e40000d", "gclid": "g"}, {"gclid": "g"}),
    ],
)
def test_one_click_id_travels(source: str, ids: dict[str, str], expected: dict[str, str]) -> None:
    of = s.event(action_source=source, identity=s.with_digests(**ids))
    assert s.sent("google", of)["adIdentifiers"] == expected
    dropped = sum(name in ids for name in ("gclid", "gbraid", "wbraid")) > 1
    assert ("click_id_dropped" in s.codes(s.admitted("google", of))) == dropped


def test_with_a_braid_neither_basket_nor_variables():
    own: dict[str, Any] = {"merchant_id": "55", "custom_variables": {"coupon": "coupon"}}
    of = s.event(identity=s.with_digests(wbraid="w"))
    item = s.sent("google", of, **own)
    assert {"cartData", "customVariables"}.isdisjoint(item)
    assert {"cart_dropped", "properties_dropped"} <= set(s.codes(s.admitted("google", of, **own)))
    assert {"cartData", "customVariables"} <= set(s.sent("google", s.event(), **own))


def test_ten_identifiers_at_most():
    many = {
        form: tuple(s.digest(f"{form} {number}") for number in range(8))
        for form in (Form.EMAIL_GMAIL_FOLDED, Form.PHONE_E164)
    }
    identifiers = s.sent("google", s.event(identity=s.identity(digests=many)))["userData"]["userIdentifiers"]
    assert len(identifiers) == 10
    assert all(len(one) == 1 for one in identifiers)


def test_without_identifiers_nothing_goes():
    nobody = s.identity(digests={})
    assert s.skipped("google", s.event(identity=nobody)) == "identifiers_missing"
    assert s.skipped("google", s.event(identity=s.identity(digests={}, lead_id="L-1"))) == "identifiers_missing"
    s.admitted("google", s.event(identity=s.identity(digests={}, lead_id="L-1")), send_lead_id=True)
    s.admitted("google", s.event(identity=s.identity(digests={}, gclid="g")))


@pytest.mark.parametrize(
    ("facts", "limited", "expected"),
    [
        (ConsentFacts(True, True), False, ("GRANTED", "GRANTED")),
        (ConsentFacts(True, True), True, ("GRANTED", "DENIED")),
        (ConsentFacts(True, False), False, ("GRANTED", "DENIED")),
        (ConsentFacts(True, None), False, ("GRANTED", None)),
        (ConsentFacts(), True, (None, "DENIED")),
        (ConsentFacts(), False, (None, None)),
    ],
)
def test_consent(facts: ConsentFacts, limited: bool, expected: tuple[str | None, str | None]) -> None:
    item = s.sent("google", s.event(consent=facts), limited=limited)
    names = ("adUserData", "adPersonalization")
    told = {name: f"CONSENT_{word}" for name, word in zip(names, expected, strict=True) if word}
    assert item.get("consent", {}) == told


def test_refused_user_data_never_leaves():
    with pytest.raises(DestinationError):
        s.sent("google", s.event(consent=ConsentFacts(ad_user_data=False)))


@pytest.mark.parametrize(
    ("name", "days", "reason"),
    [
        ("Purchase", 89, None),
        ("Purchase", 91, "too_old"),
        ("Refund", 54, None),
        ("Refund", 56, "too_old"),
    ],
)
def test_age(name: str, days: int, reason: str | None) -> None:
    of = s.event(event_name=name, event_time=s.NOW - timedelta(days=days), identity=s.identity(gclid="g"))
    if reason is not None:
        assert s.skipped("google", of) == reason
        return
    window = timedelta(days=55 if name == "Refund" else 90)
    assert s.admitted("google", of).window_until == of.event_time + window - timedelta(minutes=10)


def test_old_events_without_a_click_id_go_with_a_warning():
    of = s.event(event_time=s.NOW - timedelta(days=64))
    assert "old_without_click_id" in s.codes(s.admitted("google", of))


def test_how_long_a_conversion_is_recognised():
    web = s.admitted("google", s.event())
    assert (web.pair_for, web.repeat_for) == (timedelta(days=55), timedelta(days=55))
    for source in ("physical_store", "phone_call"):
        of = s.event(action_source=source)
        assert s.admitted("google", of).repeat_for == timedelta(0)
        assert s.admitted("google", of, without_deduplication=()).repeat_for == timedelta(days=55)


def test_a_refund_names_its_purchase():
    nameless = s.event(event_name="Refund", transaction_id=None, custom_data=s.custom_data(order_id=None))
    assert s.skipped("google", nameless) == "required_field_missing"


def test_test_events_are_only_validated():
    deliveries = [s.delivery(s.event(is_test=is_test), event_id=str(is_test)) for is_test in (False, True)]
    live, test = (json.loads(call.body) for call in s.build("google", deliveries))
    assert "validateOnly" not in live
    assert test["validateOnly"] is True
    with pytest.raises(DestinationError):
        s.build("google", deliveries, test=False)


CREDENTIALS = s.SETTINGS["google"]["credentials"]
WRONG: list[tuple[str, Any]] = [
    ("operating_account", "12a"),
    ("operating_account", True),
    ("operating_account", 1.5),
    ("conversion_actions", {}),
    ("conversion_actions", {"Refund": "1"}),
    ("conversion_actions", {"Purchase": "abc"}),
    ("credentials", "no json"),
    ("credentials", "[]"),
    ("credentials", '{"type": "external_account"}'),
    ("credentials", json.dumps({**SERVICE_ACCOUNT, "private_key": "abc"})),
    ("credentials", json.dumps({**SERVICE_ACCOUNT, "client_email": ""})),
    ("credentials", json.dumps({**json.loads(CREDENTIALS), "refresh_token": None})),
    ("credentials", json.dumps({**json.loads(CREDENTIALS), "token_uri": "http://token.example"})),
    ("token_url", "http://token.example"),
    ("token_url", "https://[bad"),
    ("token_url", "file:///etc/passwd"),
    ("field_properties", {"gclid": "x"}),
    ("event_names", {"Purchase": "purchase"}),
    ("event_sources", {"website": "NOWHERE"}),
    ("event_sources", {"fax": "OTHER"}),
    ("without_deduplication", ["fax"]),
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_wrong_settings(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        s.settings("google", **{field: value})
    assert s.TOKEN not in str(caught.value)
    assert "BEGIN" not in str(caught.value)


def test_ids_may_be_written_as_people_write_them():
    own = s.settings("google", operating_account=1234567890, conversion_actions={"Purchase": 987654321})
    assert (own.operating_account, own.conversion_actions) == ("1234567890", {"Purchase": "987654321"})


def test_one_budget_per_project():
    def budget(**over: Any) -> str | None:
        return destinations()["google"].budget(s.settings("google", **over))

    assert budget() == "google:id"
    assert budget(quota_project="shop-1") == "google:shop-1"
    assert budget(credentials=json.dumps(SERVICE_ACCOUNT)) == "google:shop"
    assert budget(credentials=json.dumps({**SERVICE_ACCOUNT, "project_id": ""})) == "google:shop.example"
    owned = json.dumps({**json.loads(CREDENTIALS), "client_id": "4711-abc.apps.example"})
    assert budget(credentials=owned, operating_account="42") == "google:4711"
    assert [(rate.amount, rate.per) for rate in LIMITS.rates] == [
        (300, timedelta(minutes=1)),
        (100_000, timedelta(days=1)),
    ]


# --- answers --------------------------------------------------------------------------------------------------


def refused(status: int, code: str, *reasons: str, field: str | None = None, **metadata: str) -> Any:
    details: list[dict[str, Any]] = [{"reason": reason, "metadata": metadata} for reason in reasons]
    if field is not None:
        details.append({"fieldViolations": [{"field": field, "description": "is wrong", "reason": reasons[0]}]})
    details.append({"requestId": "req-9"})
    return s.reply(status, {"error": {"code": status, "status": code, "message": "No.", "details": details}})


def test_accepted():
    taken = s.read("google", s.reply(200, {"requestId": "req-1"}), 2)
    assert taken == [Delivered("req-1"), Delivered("req-1")]
    warned = [
        {"field": "destinations[0]", "reason": "WARNING_REASON_X"},
        {"field": "events[1].a", "reason": "Y"},
        "odd",
    ]
    assert s.read("google", s.reply(200, {"requestId": "r", "fieldWarnings": warned}), 2) == [
        Delivered("r", "WARNING_REASON_X"),
        Delivered("r", "WARNING_REASON_X Y"),
    ]


@pytest.mark.parametrize("body", [{}, {"requestId": ""}, {"requestId": 7}, {"error": {}}, {"error": "no"}])
def test_a_200_without_a_request_id_is_never_delivered(body: dict[str, Any]) -> None:
    verdict = s.read("google", s.reply(200, {"requestId": "r", **body} if "error" in body else body), 1)
    assert not any(isinstance(result, Delivered) for result in verdict)


@pytest.mark.parametrize("code", sorted(PASSING))
def test_what_passes_is_tried_again(code: str) -> None:
    (result,) = s.read("google", refused(503, code))
    assert isinstance(result, Retry)
    assert (result.reason, result.is_ambiguous) == (Reason.PLATFORM_ERROR, code == "DEADLINE_EXCEEDED")


@pytest.mark.parametrize("code", sorted(PARKING))
def test_what_a_person_must_mend_parks(code: str) -> None:
    assert isinstance(s.read("google", refused(400, code), 3), Park)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_credential_parks(status: int) -> None:
    assert isinstance(s.read("google", refused(status, ""), 3), Park)


@pytest.mark.parametrize("reason", sorted(SETUP))
def test_a_reason_of_the_account_parks(reason: str) -> None:
    verdict = s.read("google", refused(400, "FAILED_PRECONDITION", reason, field="events[0].x"), 3)
    assert isinstance(verdict, Park)
    assert reason in (verdict.detail or "")


@pytest.mark.parametrize("reason", sorted(SOON))
def test_a_new_conversion_action_is_waited_for(reason: str) -> None:
    results = s.read("google", refused(400, "FAILED_PRECONDITION", reason), 3)
    assert [result.after for result in results] == [timedelta(hours=1)] * 3


@pytest.mark.parametrize("reason", sorted(DATA))
@pytest.mark.parametrize("code", sorted(OF_AN_EVENT))
def test_a_reason_of_an_event_isolates_it(code: str, reason: str) -> None:
    answer = refused(400, code, reason, field="events.events[2].user_data.user_identifiers[0]")
    verdict = s.read("google", answer, 4)
    assert isinstance(verdict, Split)
    assert verdict.suspects == (2,)
    (alone,) = s.read("google", refused(400, code, reason, field="events.events[0].x"))
    assert isinstance(alone, Rejected)
    assert alone.detail == f"{code} {reason}: is wrong"
    assert alone.trace_id == "req-9"
    assert isinstance(s.read("google", refused(400, code, reason), 4), Split)


def test_many_named_events_are_refused_at_once():
    violations = [
        {"field": f"events.events[{place}].currency", "description": "is none", "reason": "INVALID_CURRENCY_CODE"}
        for place in range(0, 24, 2)
    ]
    details = [{"fieldViolations": violations}, {"requestId": "req-7"}]
    body = {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "No.", "details": details}}
    results = s.read("google", s.reply(400, body), 30)
    assert [isinstance(result, Rejected) for result in results] == [n < 24 and n % 2 == 0 for n in range(30)]
    assert results[0] == Rejected(detail="INVALID_ARGUMENT INVALID_CURRENCY_CODE: is none", trace_id="req-7")
    assert isinstance(results[1], Retry)
    for violation in violations:
        violation["reason"] = "SOMETHING_NEW"
    assert isinstance(s.read("google", s.reply(400, body), 30), Split)  # of what nobody knows nobody dies unheard


def test_an_unknown_reason_is_tried_a_bounded_number_of_times():
    (result,) = s.read("google", refused(400, "INVALID_ARGUMENT", "SOMETHING_NEW"))
    assert isinstance(result, Retry)
    assert result.max_attempts == 8
    assert isinstance(s.read("google", refused(400, "INVALID_ARGUMENT", "SOMETHING_NEW"), 2), Split)
    (result,) = s.read("google", refused(418, "NEW_CODE"))
    assert isinstance(result, Retry)
    assert result.max_attempts == 8


@pytest.mark.parametrize(
    ("limit", "after"),
    [("IngestionMutateRequestsPerDayPerProject", 3600), ("IngestionMutateRequestsPerMinutePerProject", None)],
)
def test_quotas(limit: str, after: int | None) -> None:
    (result,) = s.read("google", refused(429, "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", quota_limit=limit))
    assert isinstance(result, Retry)
    assert result.reason is Reason.RATE_LIMITED
    assert result.after == (None if after is None else timedelta(seconds=after))


def test_no_words_of_google_bring_back_what_was_sent():
    answer = refused(400, "INVALID_ARGUMENT", "INVALID_FORMAT")
    body = json.loads(answer.body)
    body["error"]["details"].append(
        {"fieldViolations": [{"field": "events[0]", "description": "jane@example.com is no hash, nor is " + "a" * 64}]}
    )
    (result,) = s.read("google", s.reply(400, body))
    assert "jane@" not in result.detail
    assert "aaaa" not in result.detail


def test_the_limits():
    assert LIMITS.max_items == 2000
    calls = s.build("google", [s.delivery(event_id=str(number)) for number in range(2001)])
    assert [len(call.deliveries) for call in calls] == [2000, 1]


# --- what became of a request -----------------------------------------------------------------------------------


def status(*rows: dict[str, Any]) -> Any:
    return s.reply(200, {"requestStatusPerDestination": list(rows)})


def row(word: str, *errors: dict[str, Any]) -> dict[str, Any]:
    return {"destination": {}, "requestStatus": word, "errorInfo": {"errorCounts": list(errors)}}


def failure(reason: str, count: Any, *indices: Any) -> dict[str, Any]:
    told = {"reason": f"PROCESSING_ERROR_REASON_{reason}", "recordCount": count}
    return {**told, "recordIndices": list(indices)} if indices else told


def test_the_question_asked_later():
    call = LATER.ask("req/1 &x", s.settings("google", quota_project="my-project"))
    assert call.method == "GET"
    assert call.url == "https://datamanager.googleapis.com/v1/requestStatus:retrieve?requestId=req%2F1%20%26x"
    assert call.headers == {"x-goog-user-project": "my-project"}
    assert call.auth is not None
    assert LATER.first_after(s.settings("google")) == timedelta(minutes=30)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (status(row("SUCCESS")), Report(True)),
        (status(row("PROCESSING")), Report(False)),
        (status(row("REQUEST_STATUS_UNKNOWN")), Report(False)),
        (status(row("SUCCESS"), row("PROCESSING")), Report(False)),
        (
            status(row("PARTIAL_SUCCESS", failure("INVALID_GCLID", "2", "0", "3"), failure("EVENT_TOO_OLD", "1", 1))),
            Report(True, {0: "invalid_gclid", 3: "invalid_gclid", 1: "event_too_old"}),
        ),
        (status(row("FAILED", failure("NO_CONSENT", "4"))), Report(True, dict.fromkeys(range(4), "no_consent"))),
        (status(row("FAILURE", failure("NO_CONSENT", 2))), Report(True, {}, {"no_consent": 2})),
        (status(row("SUCCESS"), row("FAILED", failure("NO_CONSENT", 4))), Report(True, {}, {"no_consent": 4})),
        (status(row("PARTIAL_SUCCESS", failure("DUPLICATE_TRANSACTION_ID", "1", "2"))), Report(True)),
        (status(row("FAILED", failure("INVALID_EVENT", "1", "9"))), Report(True, {}, {"invalid_event": 1})),
        (
            status(row("FAILED", {"reason": "PROCESSING_ERROR_OPERATING_ACCOUNT_MISMATCH_FOR_AD_IDENTIFIER"})),
            Report(True),
        ),
        (status(row("FAILED", failure("X Y", "1", "0"), "odd", {})), Report(True, {0: "other"})),  # type: ignore[arg-type]
        (refused(400, "FAILED_PRECONDITION", "REQUEST_TOO_OLD"), Report(True)),
    ],
)
def test_what_became_of_a_request(answer: Any, expected: Report) -> None:
    assert LATER.read(answer, 4) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (status(), Reason.PLATFORM_ERROR),
        (s.reply(200, {}), Reason.PLATFORM_ERROR),
        (s.reply(200, b"<html>"), Reason.PLATFORM_ERROR),
        (s.reply(200, {"error": "odd"}), Reason.PLATFORM_ERROR),
        (refused(404, "NOT_FOUND"), Reason.PLATFORM_ERROR),
        (refused(503, "UNAVAILABLE"), Reason.PLATFORM_ERROR),
        (refused(429, "RESOURCE_EXHAUSTED"), Reason.RATE_LIMITED),
        (refused(401, "UNAUTHENTICATED"), None),
        (refused(403, "PERMISSION_DENIED"), None),
    ],
)
def test_a_question_without_an_answer(answer: Any, expected: Reason | None) -> None:
    told = LATER.read(answer, 4)
    assert isinstance(told, Park) if expected is None else isinstance(told, Retry) and told.reason is expected


# --- the page's tag -----------------------------------------------------------------------------------------------


def test_the_tag_carries_the_same_transaction_id():
    call = destinations()["google"].pixel_call
    own = s.settings("google", tags={"Purchase": "AW-1/AbC", "Refund": "AW-1/x"})
    told = call(s.event(), "the_event_id", own)
    assert told is not None
    data = '{"send_to":"AW-1/AbC","value":129.90,"currency":"USD","transaction_id":"ORD-12345"}'
    assert told == f'gtag("event", "conversion", {data});'
    renewal = call(s.event(occurrence="INV-2"), "the_event_id", own)
    assert renewal is not None
    assert '"transaction_id":"the_event_id"' in renewal
    assert call(s.event(event_name="Lead"), "x", own) is None
    assert call(s.event(event_name="Refund"), "x", own) is None
    name = destinations()["google"].pixel_name
    assert (name(s.event(), own), name(s.event(event_name="Lead"), own)) == ("conversion", "Lead")
