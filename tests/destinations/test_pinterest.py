"""Pinterest: names, the closed schema, offline events that are never deduplicated, verdicts per event."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from app.destinations.base import DEDUP_WINDOW, Skip
from app.destinations.pinterest.admission import can_limit
from app.destinations.pinterest.tables import EVENT_NAMES
from app.errors import DestinationError
from app.event_names import STANDARD_EVENTS
from app.model import Delivered, Form, HashedContent, Park, Rejected, Retry, Split
from app.wire import ACTION_SOURCES
from tests.destinations import support as s
from tests.destinations.pages import check_page


def test_page():
    check_page("pinterest")


@pytest.mark.parametrize("source", ACTION_SOURCES)
@pytest.mark.parametrize("name", STANDARD_EVENTS)
def test_every_standard_event_from_every_source(name: str, source: str) -> None:
    of = s.event(event_name=name, action_source=source)
    if name == "Refund":
        assert s.skipped("pinterest", of) == "event_not_supported"
        return
    s.admitted("pinterest", of)
    item = s.sent("pinterest", of)
    assert item["event_name"] == EVENT_NAMES[name]
    assert item["action_source"] == {"website": "web", "app": "app_ios"}.get(source, "offline")


@pytest.mark.parametrize(
    ("app", "known", "expected"),
    [
        ({"os": "Android"}, {}, "app_android"),
        ({"extinfo": ["a2", *s.APP["extinfo"][1:]]}, {}, "app_android"),
        ({}, {"idfa": "EA7583CD"}, "app_ios"),
        (None, {"gaid": "38400000"}, "app_android"),
        ({"os": "tizen"}, {}, None),
        (None, {}, None),
    ],
)
def test_the_operating_system_of_app_events(app: Any, known: dict[str, str], expected: str | None) -> None:
    of = s.event(action_source="app", app=app, identity=s.identity(**known))
    if expected is None:
        assert s.skipped("pinterest", of) == "event_not_supported"
    else:
        assert s.sent("pinterest", of)["action_source"] == expected


def test_custom_events_and_overrides():
    of = s.event(event_name="QuizDone", is_custom=True)
    assert s.sent("pinterest", of)["event_name"] == "custom"
    assert s.sent("pinterest", of, event_names={"QuizDone": "quiz_done"})["event_name"] == "quiz_done"
    assert (
        s.sent("pinterest", s.event(event_name="ViewContent"), event_names={"ViewContent": "page_visit"})["event_name"]
        == "page_visit"
    )
    assert s.skipped("pinterest", of, skip_events=["QuizDone"]) == "event_not_supported"


def test_the_whole_event():
    forms = {
        "em": Form.EMAIL,
        "ph": Form.PHONE_DIGITS,
        "fn": Form.FIRST_NAME_PUNCTUATED,
        "ln": Form.LAST_NAME_PUNCTUATED,
        "ge": Form.GENDER_WITH_NEUTRAL,
        "db": Form.BIRTH_DATE,
        "ct": Form.CITY,
        "st": Form.STATE_TWO_LETTER,
        "zp": Form.ZIP_DIGITS,
        "country": Form.COUNTRY,
        "external_id": Form.EXTERNAL_ID,
        "hashed_maids": Form.AD_ID,
    }
    assert s.sent("pinterest") == {
        "event_name": "checkout",
        "action_source": "web",
        "event_time": s.HAPPENED_UNIX,
        "event_id": "purchase_ORD-12345",
        "event_source_url": "https://shop.example/thanks",
        "user_data": {
            **{key: [s.digest(f"{form} of jane").hex()] for key, form in forms.items()},
            "client_ip_address": "203.0.113.9",
            "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/141.0",
            "click_id": "dj0yExampleEpikValue",
        },
        "custom_data": {
            "currency": "USD",
            "value": "129.90",
            "content_ids": ["SKU-1", "SKU-2"],
            "contents": [
                {
                    "id": "SKU-1",
                    "item_name": "Shoe",
                    "item_category": "Footwear",
                    "item_brand": "Acme",
                    "item_price": "99.90",
                    "quantity": 1,
                },
                {"id": "SKU-2", "item_name": "Sock", "item_price": "30", "quantity": 1},
            ],
            "num_items": 2,
            "order_id": "ORD-12345",
            "search_string": "running shoes",
            "content_name": "Autumn",
            "content_category": "Footwear",
            "predicted_ltv": "1000",
        },
        "language": "en",
    }


def test_amounts_are_plain_text():
    custom = s.sent("pinterest", s.event(custom_data=s.custom_data(value=Decimal("1E+3"), predicted_ltv=Decimal(0))))
    assert custom["custom_data"]["value"] == "1000"
    assert custom["custom_data"]["predicted_ltv"] == "0"


def test_nothing_empty_is_sent():
    of = s.bare(
        identity=s.with_digests(Form.EMAIL, locale="und", epik=""),
        custom_data=s.custom_data(contents=(HashedContent(),), search_string="", order_id=None),
    )
    item = s.sent("pinterest", of)
    assert {"language", "event_source_url"}.isdisjoint(item)
    assert item["user_data"].keys() == {"em"}
    assert {"contents", "content_ids", "search_string", "order_id"}.isdisjoint(item["custom_data"])


@pytest.mark.parametrize(("locale", "language"), [("en", "en"), ("pt-BR", "pt"), ("DE_de", "de"), ("fil-PH", None)])
def test_language(locale: str, language: str | None) -> None:
    assert s.sent("pinterest", s.event(identity=s.identity(locale=locale))).get("language") == language


@pytest.mark.parametrize(
    ("source", "age", "reason"),
    [
        ("website", timedelta(days=6, hours=23), None),
        ("website", timedelta(days=7), "too_old"),
        ("physical_store", timedelta(days=8), "too_old"),
        ("website", timedelta(minutes=-6), "in_future"),
    ],
)
def test_age(source: str, age: timedelta, reason: str | None) -> None:
    of = s.event(action_source=source, event_time=s.NOW - age)
    if reason is None:
        s.admitted("pinterest", of)
    else:
        assert s.skipped("pinterest", of) == reason


@pytest.mark.parametrize(
    ("known", "is_enough"),
    [
        (s.with_digests(Form.EMAIL), True),
        (s.with_digests(Form.AD_ID), True),
        (s.with_digests(client_ip_address="203.0.113.9", client_user_agent="x"), True),
        (s.with_digests(client_ip_address="203.0.113.9"), False),
        (s.with_digests(Form.PHONE_DIGITS, Form.EXTERNAL_ID, epik="dj0"), False),
        (s.with_digests(), False),
    ],
)
def test_the_documented_minimum(known: Any, is_enough: bool) -> None:
    of = s.event(identity=known)
    if is_enough:
        s.admitted("pinterest", of)
    else:
        assert s.skipped("pinterest", of) == "identifiers_missing"


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"event_source_url": None}, "field_missing"),
        ({"custom_data": s.custom_data(currency=None)}, "money_missing"),
        ({}, "properties_dropped"),
    ],
)
def test_weaker_evidence_warns(over: dict[str, Any], code: str) -> None:
    assert code in s.codes(s.admitted("pinterest", s.event(**over)))


def test_offline_events_are_never_recognised_again():
    for source in set(ACTION_SOURCES) - {"website", "app"}:
        admission = s.admitted("pinterest", s.event(action_source=source))
        assert (admission.pair_for, admission.repeat_for) == (timedelta(0), timedelta(0))
    admission = s.admitted("pinterest", s.event())
    assert (admission.pair_for, admission.repeat_for) == (DEDUP_WINDOW, DEDUP_WINDOW)


def test_limited_data_processing():
    item = s.sent("pinterest", limited=True)
    assert item["opt_out"] is True
    assert item["custom_data"]["opt_out_type"] == "LDP"
    assert {"st", "country", "em"} <= item["user_data"].keys()
    assert {"fn", "ln", "ge", "db", "ct", "zp"}.isdisjoint(item["user_data"])
    assert "opt_out" not in s.sent("pinterest")
    settings = s.settings("pinterest")
    assert can_limit(s.event(), settings)
    assert not can_limit(s.event(identity=s.with_digests(Form.EMAIL, Form.COUNTRY)), settings)


def test_the_request():
    (call,) = s.build("pinterest", [s.delivery()], partner_name="ss-acme", send_customer_type=True)
    assert call.url == "https://api.pinterest.com/v5/ad_accounts/549755885175/events"
    assert call.secret_headers == {"authorization": f"Bearer {s.TOKEN}"}
    body = json.loads(call.body)
    assert body.keys() == {"data"}
    assert body["data"][0]["partner_name"] == "ss-acme"
    assert body["data"][0]["user_data"]["customer_type"] == "new"


def test_test_events_travel_apart_and_twenty_at_a_time():
    tests = [s.delivery(s.event(is_test=True), event_id=f"t{n}") for n in range(21)]
    live, first, second = s.build("pinterest", [s.delivery(), *tests])
    assert live.url.endswith("/events")
    assert first.url.endswith("/events?test=true")
    assert (len(first.deliveries), len(second.deliveries)) == (20, 1)
    with pytest.raises(DestinationError):
        s.build("pinterest", tests, test=False)


@pytest.mark.parametrize("over", [{"ad_account_id": "5x"}, {"ad_account_id": "1" * 19}, {"partner_name": "SS Acme"}])
def test_settings_are_checked(over: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        s.settings("pinterest", **over)


PROCESSED = {"status": "processed", "error_message": "", "warning_message": ""}
WARNED = {"status": "processed", "warning_message": "click_id is missing"}
FAILED = {"status": "failed", "error_message": "Invalid event_timestamp parameter", "warning_message": None}


def counted(*events: Any, **more: Any) -> dict[str, Any]:
    processed = sum(isinstance(e, dict) and e.get("status") == "processed" for e in events)
    return {"num_events_received": len(events), "num_events_processed": processed, "events": [*events], **more}


@pytest.mark.parametrize("status", [200, 207, 422])
def test_a_verdict_per_event(status: int) -> None:
    answer = s.reply(status, counted(WARNED, FAILED, PROCESSED, later=1))
    assert s.read("pinterest", answer, 3) == [
        Delivered(warning="click_id is missing"),
        Rejected(detail="Invalid event_timestamp parameter"),
        Delivered(),
    ]


def test_a_verdict_per_event_inside_details():
    answer = s.reply(422, {"code": 953, "message": "not all", "details": counted(FAILED, PROCESSED)})
    assert s.read("pinterest", answer, 2) == [Rejected(detail="Invalid event_timestamp parameter"), Delivered()]


@pytest.mark.parametrize(
    "body",
    [{}, counted(PROCESSED), counted(PROCESSED, PROCESSED, PROCESSED), {"events": "2"}, {"num_events_processed": 2}],
)
def test_a_wrong_count_is_no_verdict(body: dict[str, Any]) -> None:
    for result in s.read("pinterest", s.reply(200, body), 2):
        assert isinstance(result, Retry)
        assert result.is_ambiguous
        assert result.max_attempts == 8


@pytest.mark.parametrize("odd", [{"status": "queued"}, {}, None, "processed"])
def test_an_unknown_status_is_no_verdict(odd: Any) -> None:
    first, second = s.read("pinterest", s.reply(200, counted(PROCESSED, odd)), 2)
    assert isinstance(first, Delivered)
    assert isinstance(second, Retry)
    assert second.is_ambiguous


def test_422_without_verdicts():
    assert isinstance(s.read("pinterest", s.reply(422, {"code": 953, "num_events_processed": 0}), 2), Split)
    (result,) = s.read("pinterest", s.reply(422, {"code": 953, "details": {"num_events_processed": 0}}))
    assert isinstance(result, Rejected)
    one, _ = s.read("pinterest", s.reply(422, {"code": 953, "message": "?"}), 2)
    assert isinstance(one, Retry)
    assert one.is_ambiguous


@pytest.mark.parametrize(
    ("status", "code"), [(401, 2), (401, 3), (403, 29), (404, 50), (200, 2), (400, 2), (401, None)]
)
def test_what_a_person_must_mend_parks(status: int, code: int | None) -> None:
    verdict = s.read("pinterest", s.reply(status, {"code": code, "message": "Authentication failed."}), 2)
    assert isinstance(verdict, Park)


@pytest.mark.parametrize(("status", "code"), [(400, 4196), (400, 1), (400, 777), (413, 1), (200, 4196)])
def test_the_schema_refuses_the_whole_request(status: int, code: int) -> None:
    body = {"code": code, "message": "data/1/custom_data: Additional properties are not allowed"}
    verdict = s.read("pinterest", s.reply(status, body), 3)
    assert isinstance(verdict, Split)
    assert verdict.suspects == (1,)
    (result,) = s.read("pinterest", s.reply(status, body))
    assert isinstance(result, Rejected)


@pytest.mark.parametrize(
    ("status", "code", "headers", "expected"),
    [
        (429, 8, {"x_ratelimit_reset": "12"}, ("rate_limited", timedelta(seconds=12))),
        (429, 8, {"x_ratelimit_reset": "12, 30;w=60"}, ("rate_limited", timedelta(seconds=12))),
        (429, 8, {"x_ratelimit_reset": "soon"}, ("rate_limited", None)),
        (429, 8, {"x_ratelimit_reset": "12", "retry_after": "3"}, ("rate_limited", timedelta(seconds=3))),
        (400, 8, {}, ("rate_limited", None)),
        (429, None, {}, ("rate_limited", None)),
        (503, 4197, {}, ("platform_error", timedelta(minutes=15))),
        (500, 0, {}, ("platform_error", None)),
        (408, None, {}, ("platform_error", None)),
    ],
)
def test_retries(status: int, code: int | None, headers: dict[str, str], expected: tuple[Any, ...]) -> None:
    (result,) = s.read("pinterest", s.reply(status, {"code": code, "message": "x"}, **headers))
    assert (result.reason, result.after) == expected


def test_unknown_refusals():
    assert isinstance(s.read("pinterest", s.reply(409, {"code": 77}), 2), Split)
    (result,) = s.read("pinterest", s.reply(409, {"code": 77}))
    assert result.max_attempts == 8


def test_words_are_scrubbed():
    failed = {"status": "failed", "error_message": "em jane.doe@example.com is not hashed"}
    (result,) = s.read("pinterest", s.reply(200, counted(failed)))
    assert result.detail == "em … is not hashed"
    (result,) = s.read("pinterest", s.reply(200, counted({"status": "failed"})))
    assert result.detail


@pytest.mark.parametrize(
    ("age", "late", "pair_for", "repeat_for", "warned"),
    [
        (timedelta(minutes=10), "send", DEDUP_WINDOW, DEDUP_WINDOW, False),
        (timedelta(minutes=60), "send", DEDUP_WINDOW, DEDUP_WINDOW, True),
        (timedelta(hours=30), "send", DEDUP_WINDOW, DEDUP_WINDOW, True),
        (timedelta(minutes=10), "expire", timedelta(hours=1), timedelta(minutes=50), False),
        (timedelta(hours=2), "expire", timedelta(hours=1), timedelta(0), False),
    ],
)
def test_late_events(age: timedelta, late: str, pair_for: timedelta, repeat_for: timedelta, warned: bool) -> None:
    admission = s.admitted("pinterest", s.event(event_time=s.NOW - age), late=late)
    assert (admission.pair_for, admission.repeat_for) == (pair_for, repeat_for)
    assert ("late_for_pairing" in s.codes(admission)) == warned


def test_when_an_event_is_late_is_a_setting_and_offline_never_is():
    old = s.event(event_time=s.NOW - timedelta(hours=3))
    assert "late_for_pairing" not in s.codes(s.admitted("pinterest", old, late_after="4h"))
    offline = s.event(event_time=s.NOW - timedelta(hours=3), action_source="physical_store")
    assert "late_for_pairing" not in s.codes(s.admitted("pinterest", offline))


APP = {
    **s.APP,
    "os_version": "19.0",
    "package_name": "example.shop",
    "app_store": "App Store",
    "install_time": 1_795_000_000,
    "device_brand": "Apple",
    "device_model": "iPhone17,1",
    "device_type": "phone",
    "device_carrier": "Telco",
    "wifi": False,
}


def test_the_app_and_its_device():
    item = s.sent("pinterest", s.event(action_source="app", app=APP))
    flat = ("device_brand", "device_model", "device_type", "device_carrier", "os_version", "app_name")
    assert {key: item[key] for key in flat} == {key: APP[key] for key in flat}
    assert item["wifi"] is False
    assert item["app_info"] == {
        "app_id": "1234567",
        "app_version": "3.1",
        "app_name": "Example Shop",
        "app_package_name": "example.shop",
        "app_store": "App Store",
        "install_time": 1_795_000_000,
    }
    assert {"app_info", "device_brand", "app_id"}.isdisjoint(s.sent("pinterest", s.event(app=APP)))
    long = s.sent("pinterest", s.event(action_source="app", app={**APP, "app_id": "x" * 201, "app_version": "9" * 101}))
    assert {"app_id", "app_version"}.isdisjoint(long["app_info"])


def test_a_person_who_limits_ad_tracking_has_opted_out():
    refused = s.event(action_source="app", app={**APP, "advertiser_tracking_enabled": 0})
    assert s.sent("pinterest", refused)["opt_out"] is True
    assert "opt_out" not in s.sent("pinterest", s.event(action_source="app", app=APP))
    assert "advertiser_tracking_enabled" not in s.sent("pinterest", refused)
    assert s.sent("pinterest", refused, send_tracking_flag=True)["advertiser_tracking_enabled"] is False


def test_a_free_order_is_sent_and_warned_about():
    of = s.event(custom_data=s.custom_data(value=Decimal(0)))
    assert s.sent("pinterest", of)["custom_data"]["value"] == "0"
    assert "value_zero" in s.codes(s.admitted("pinterest", of))


def test_a_name_of_your_own_is_warned_about():
    own = {"Donate": "donation_made"}
    assert s.sent("pinterest", s.event(event_name="Donate"), event_names=own)["event_name"] == "donation_made"
    assert "event_name_unlisted" in s.codes(s.admitted("pinterest", s.event(event_name="Donate"), event_names=own))


def test_there_is_no_refund_and_who_asks_learns_it():
    admission = s.admit("pinterest", s.event(event_name="Refund"))
    assert isinstance(admission, Skip)
    assert admission.detail == "Pinterest has no refund; event_names can name an event of your own"


def test_the_trace_of_the_request_is_kept_with_each_event():
    body = {"events": [{"status": "processed"}, {"status": "failed", "error_message": "x"}]}
    one, two = s.read("pinterest", s.reply(200, body, x_pinterest_rid="R1"), 2)
    assert (one.trace_id, two.trace_id) == ("R1", "R1")
