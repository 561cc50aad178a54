"""Snapchat: names, assets, the shape of an event, and answers that come without a table of codes."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from app.destinations.base import DEDUP_WINDOW, Skip
from app.destinations.snapchat.admission import can_limit
from app.destinations.snapchat.tables import CURRENCIES, EVENT_NAMES, NAMES
from app.errors import DestinationError
from app.event_names import STANDARD_EVENTS
from app.model import Delivered, Form, HashedContent, Park, Rejected, Retry, Split
from app.wire import ACTION_SOURCES
from tests.destinations import support as s
from tests.destinations.pages import check_page

UNNAMED = {"Schedule", "Contact", "CustomizeProduct", "FindLocation", "SubmitApplication", "Donate", "Refund"}
PIXEL = s.SETTINGS["snapchat"]["pixel_id"]
APP = s.SETTINGS["snapchat"]["snap_app_id"]


def test_page():
    check_page("snapchat")


@pytest.mark.parametrize("source", ACTION_SOURCES)
@pytest.mark.parametrize("name", STANDARD_EVENTS)
def test_every_standard_event_from_every_source(name: str, source: str) -> None:
    of = s.event(event_name=name, action_source=source)
    if name in UNNAMED:
        assert s.skipped("snapchat", of) == "event_not_supported"
        s.admitted("snapchat", of, custom_event_names={name: "CUSTOM_EVENT_3"})
        assert s.sent("snapchat", of, custom_event_names={name: "CUSTOM_EVENT_3"})["event_name"] == "CUSTOM_EVENT_3"
        return
    s.admitted("snapchat", of)
    item = s.sent("snapchat", of)
    assert item["event_name"] == EVENT_NAMES[name]
    assert item["action_source"] == {"website": "WEB", "app": "MOBILE_APP"}.get(source, "OFFLINE")


def test_the_tables():
    assert set(EVENT_NAMES) | UNNAMED == set(STANDARD_EVENTS)
    assert NAMES.issuperset(EVENT_NAMES.values())
    assert len(NAMES) == 31
    assert len(CURRENCIES) == 60


def test_custom_events_and_overrides():
    of = s.event(event_name="QuizDone", is_custom=True)
    assert s.skipped("snapchat", of) == "event_not_supported"
    assert s.sent("snapchat", of, custom_event_names={"QuizDone": "CUSTOM_EVENT_1"})["event_name"] == "CUSTOM_EVENT_1"
    lead = s.event(event_name="Lead")
    assert s.sent("snapchat", lead, custom_event_names={"Lead": "CUSTOM_EVENT_2"})["event_name"] == "CUSTOM_EVENT_2"
    assert s.sent("snapchat", lead, event_names={"Lead": "SUBSCRIBE"})["event_name"] == "SUBSCRIBE"
    assert s.skipped("snapchat", lead, skip_events=["Lead"]) == "event_not_supported"
    with pytest.raises(DestinationError):
        s.build("snapchat", [s.delivery(of)])


@pytest.mark.parametrize("source", ACTION_SOURCES)
def test_the_pixel_takes_web_and_offline_and_the_app_its_own(source: str) -> None:
    of = s.event(action_source=source)
    asset, other = (APP, "snap_app_id") if source == "app" else (PIXEL, "pixel_id")
    (call,) = s.build("snapchat", [s.delivery(of)])
    assert call.url == f"https://tr.snapchat.com/v3/{asset}/events"
    without: dict[str, Any] = {other: None}
    assert s.skipped("snapchat", of, **without) == "event_not_supported"
    with pytest.raises(DestinationError):
        s.build("snapchat", [s.delivery(of)], **without)


def test_the_whole_event():
    forms = {
        "em": Form.EMAIL,
        "ph": Form.PHONE_DIGITS,
        "fn": Form.FIRST_NAME_LETTERS,
        "ln": Form.LAST_NAME_LETTERS,
        "ge": Form.GENDER,
        "ct": Form.CITY,
        "st": Form.STATE,
        "zp": Form.ZIP_GB_SECTOR,
        "country": Form.COUNTRY,
        "external_id": Form.EXTERNAL_ID_LOWER,
    }
    of = s.event(identity=s.identity(lead_id="L-7"), custom_data=s.custom_data(subscription_id="SUB-1"))
    assert s.sent("snapchat", of) == {
        "event_name": "PURCHASE",
        "event_time": s.HAPPENED_UNIX,
        "action_source": "WEB",
        "event_source_url": "https://shop.example/thanks",
        "event_id": "purchase_ORD-12345",
        "integration": "convey",
        "user_data": {
            **{key: [s.digest(f"{form} of jane").hex()] for key, form in forms.items()},
            "client_ip_address": "203.0.113.9",
            "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/141.0",
            "sc_click_id": "AbC-12xYz_9",
            "sc_cookie1": "4f0b1c7e-8a0d-4f0e-9c55-0d6a2f9b1e11",
            "subscription_id": "SUB-1",
            "lead_id": "L-7",
        },
        "custom_data": {
            "currency": "USD",
            "value": 129.9,
            "order_id": "ORD-12345",
            "content_ids": ["SKU-1", "SKU-2"],
            "content_type": "product",
            "content_category": "Footwear",
            "content_name": "Autumn",
            "contents": [
                {"id": "SKU-1", "quantity": 1, "item_price": 99.9, "brand": "Acme"},
                {"id": "SKU-2", "quantity": 1, "item_price": 30},
            ],
            "num_items": 2,
            "search_string": "running shoes",
            "predicted_ltv": 1000,
            "custom_fields": {"coupon": "BF26", "points": 12, "gift": False, "value": "7"},
        },
    }


def test_app_events():
    known = s.identity(idfa="AEBE52E703EE455AB3C4E57283966239", idfv="6D92078A-8246-4BA4-AE5B-76104861E7DC")
    item = s.sent("snapchat", s.event(action_source="app", identity=known))
    assert item["user_data"]["madid"] == "aebe52e7-03ee-455a-b3c4-e57283966239"
    assert item["user_data"]["idfv"] == "6d92078a-8246-4ba4-ae5b-76104861e7dc"
    assert item["app_data"] == {
        "app_id": "1234567",
        "advertiser_tracking_enabled": 1,
        "extinfo": s.APP["extinfo"],
    }
    for value in ("00000000-0000-0000-0000-000000000000", "not-a-uuid", "ab" * 32):
        of = s.event(action_source="app", identity=s.identity(idfa=value))
        assert "madid" not in s.sent("snapchat", of)["user_data"]
    assert {"madid", "idfv"}.isdisjoint(s.sent("snapchat", s.event(identity=known))["user_data"])
    partly = s.event(action_source="app", app={"advertiser_tracking_enabled": False})
    assert s.codes(s.admitted("snapchat", partly)).count("field_missing") == 2
    assert s.sent("snapchat", partly)["app_data"] == {"advertiser_tracking_enabled": 0}


@pytest.mark.parametrize(
    ("source", "age", "reason"),
    [
        ("website", timedelta(days=6, hours=23), None),
        ("website", timedelta(days=7), "too_old"),
        ("app", timedelta(days=8), "too_old"),
        ("physical_store", timedelta(days=27), None),
        ("physical_store", timedelta(days=28), "too_old"),
        ("website", timedelta(minutes=-6), "in_future"),
    ],
)
def test_age(source: str, age: timedelta, reason: str | None) -> None:
    of = s.event(action_source=source, event_time=s.NOW - age)
    if reason is None:
        s.admitted("snapchat", of)
    else:
        assert s.skipped("snapchat", of) == reason


@pytest.mark.parametrize(
    ("over", "reason"),
    [
        ({"event_source_url": None}, "required_field_missing"),
        ({"custom_data": s.custom_data(value=None)}, "required_field_missing"),
        ({"custom_data": s.custom_data(currency=None)}, "required_field_missing"),
        ({"action_source": "app", "app": {}}, "required_field_missing"),
        ({"action_source": "app", "app": {"app_id": 5}}, "required_field_missing"),
        ({"identity": s.with_digests(Form.EXTERNAL_ID_LOWER, sc_click_id="x", sc_cookie1="y")}, "identifiers_missing"),
        ({"identity": s.with_digests(client_ip_address="203.0.113.9")}, "identifiers_missing"),
        ({"identity": s.with_digests(idfa="EA7583CD-A667-48BC-B806-42ECB2B48606")}, "identifiers_missing"),
    ],
)
def test_documented_requirements_skip(over: dict[str, Any], reason: str) -> None:
    assert s.skipped("snapchat", s.event(**over)) == reason


@pytest.mark.parametrize(
    ("known", "source"),
    [
        (s.with_digests(Form.EMAIL), "website"),
        (s.with_digests(Form.PHONE_DIGITS), "chat"),
        (s.with_digests(client_ip_address="203.0.113.9", client_user_agent="x"), "website"),
        (s.with_digests(idfa="EA7583CD-A667-48BC-B806-42ECB2B48606"), "app"),
    ],
)
def test_the_documented_minimum(known: Any, source: str) -> None:
    s.admitted("snapchat", s.event(identity=known, action_source=source))


def test_weaker_evidence_warns():
    of = s.event(custom_data=s.custom_data(currency="BDT"))
    assert s.codes(s.admitted("snapchat", of)) == ["currency_unlisted", "properties_dropped"]
    assert s.admitted("snapchat", s.event(custom_data=s.custom_data(properties={"a": "b"}))).warnings == ()


def test_how_long_copies_are_recognised():
    month = timedelta(days=30)
    admission = s.admitted("snapchat", s.event())
    assert (admission.pair_for, admission.repeat_for) == (month, month)
    for of in (
        s.event(event_name="AddToCart"),
        s.event(custom_data=s.custom_data(order_id=None)),
        s.event(occurrence="invoice-2"),
    ):
        admission = s.admitted("snapchat", of)
        assert (admission.pair_for, admission.repeat_for) == (DEDUP_WINDOW, DEDUP_WINDOW)
    assert "order_id" not in s.sent("snapchat", s.event(occurrence="invoice-2"))["custom_data"]


def test_limited_use():
    item = s.sent("snapchat", limited=True)
    assert item["data_processing_options"] == ["LMU"]
    assert {"fn", "ln", "ge", "ct", "st", "zp", "country"}.isdisjoint(item["user_data"])
    assert "data_processing_options" not in s.sent("snapchat")
    assert can_limit(s.event(), s.settings("snapchat"))
    assert not can_limit(s.event(action_source="app"), s.settings("snapchat"))


def test_amounts_are_numbers():
    (call,) = s.build("snapchat", [s.delivery(s.event(custom_data=s.custom_data(value=Decimal("59.90"))))])
    assert b'"value":59.90,' in call.body


def test_the_request():
    (call,) = s.build("snapchat", [s.delivery()], integration=None)
    assert call.secret_params == {"access_token": s.TOKEN}
    assert call.secret_headers == {}
    assert json.loads(call.body).keys() == {"data"}


def test_one_asset_and_one_mode_per_request():
    deliveries = [
        s.delivery(event_id="web1"),
        s.delivery(s.event(action_source="app"), event_id="app"),
        s.delivery(s.event(is_test=True), event_id="test"),
        s.delivery(s.event(action_source="chat"), event_id="chat"),
    ]
    calls = s.build("snapchat", deliveries)
    assert [[d.event_id for d in call.deliveries] for call in calls] == [["web1", "chat"], ["app"], ["test"]]
    assert [call.url.endswith("/events/validate") for call in calls] == [False, False, True]
    with pytest.raises(DestinationError):
        s.build("snapchat", deliveries, test=False)


@pytest.mark.parametrize(
    "over",
    [
        {"pixel_id": None, "snap_app_id": None},
        {"pixel_id": "a/b"},
        {"custom_event_names": {"Lead": "CUSTOM_EVENT_6"}},
        {"event_names": {"Lead": "LEAD"}},
        {"access_token": "a\nb"},
    ],
)
def test_settings_are_checked(over: dict[str, Any]) -> None:
    fields = {**s.SETTINGS["snapchat"], **over}
    with pytest.raises(ValidationError):
        s.settings("snapchat", **fields)


VALID = {"status": "VALID", "reason": "Events have been processed successfully."}
INVALID = {"status": "INVALID", "reason": "value jane@example.com", "errors": {"codes": ["517"], "error_msgs": ["x"]}}


@pytest.mark.parametrize("status", ["VALID", "SUCCESS", "valid"])
def test_success(status: str) -> None:
    assert s.read("snapchat", s.reply(200, {"status": status, "novelty": 1}), 2) == [Delivered(), Delivered()]


@pytest.mark.parametrize("http", [200, 400, 422])
def test_an_invalid_batch_is_taken_apart(http: int) -> None:
    assert isinstance(s.read("snapchat", s.reply(http, INVALID), 5), Split)
    (result,) = s.read("snapchat", s.reply(http, INVALID))
    assert isinstance(result, Rejected)
    assert result.detail is not None
    assert result.detail.startswith(f"HTTP {http}, codes 517: ")


@pytest.mark.parametrize(
    ("more", "suspects"),
    [
        ({"event": 2}, (1, 2)),
        ({"event": 0}, (0,)),
        ({"event": 5}, (4,)),
        ({"event": 9}, ()),
        ({"event": "x"}, ()),
        ({"event_logs": [{"event": 1, "status": "VALID"}, {"event": 3, "status": "INVALID"}, "x"]}, (2, 3)),
    ],
)
def test_suspects_whether_it_counts_from_nought_or_one(more: dict[str, Any], suspects: tuple[int, ...]) -> None:
    verdict = s.read("snapchat", s.reply(400, {**INVALID, **more}), 5)
    assert isinstance(verdict, Split)
    assert verdict.suspects == suspects


@pytest.mark.parametrize(
    "answer",
    [
        s.reply(401, {"status": "INVALID"}),
        s.reply(401, b""),
        s.reply(403, b"Forbidden"),
        s.reply(404, {"status": "INVALID"}),
        s.reply(410, {}),
        s.reply(400, {"status": "INVALID", "reason": "Invalid token"}),
        s.reply(400, {"status": "INVALID", "errors": {"error_msgs": ["The access_token is expired"]}}),
    ],
)
def test_what_a_person_must_mend_parks(answer: Any) -> None:
    assert isinstance(s.read("snapchat", answer, 2), Park)


def test_an_unexpected_token_is_no_credential():
    body = {"status": "INVALID", "reason": "Unexpected token at position 3"}
    assert isinstance(s.read("snapchat", s.reply(400, body), 2), Split)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (s.reply(429, {}, retry_after="9"), ("rate_limited", timedelta(seconds=9), False)),
        (s.reply(408, {}), ("platform_error", None, False)),
        (s.reply(500, VALID), ("platform_error", None, False)),
        (s.reply(503, {"status": "INVALID"}), ("platform_error", None, False)),
        (s.reply(200, {}), ("platform_error", None, True)),
        (s.reply(200, {"status": "PENDING"}), ("platform_error", None, True)),
        (s.reply(200, {"status": 1}), ("platform_error", None, True)),
        (s.reply(403, b"<html>blocked</html>"), ("platform_error", None, False)),
        (s.reply(409, {}), ("platform_error", None, False)),
    ],
)
def test_retries(answer: Any, expected: tuple[Any, ...]) -> None:
    (result,) = s.read("snapchat", answer)
    assert isinstance(result, Retry)
    assert (result.reason, result.after, result.is_ambiguous) == expected


def test_413_splits():
    assert isinstance(s.read("snapchat", s.reply(413, {}), 2), Split)


def test_texts_are_kept_only_where_there_is_no_code_and_then_scrubbed():
    (result,) = s.read("snapchat", s.reply(400, {"status": "INVALID", "reason": "bad jane@example.com"}))
    assert result.detail == "HTTP 400: bad …"


def test_ids_of_an_app_install():
    known = s.identity(anon_id="XZ-1", download_id="d7")
    user = s.sent("snapchat", s.event(action_source="app", identity=known))["user_data"]
    assert (user["anon_id"], user["download_id"]) == ("XZ-1", "d7")
    assert {"anon_id", "download_id"}.isdisjoint(s.sent("snapchat", s.event(identity=known))["user_data"])


def test_how_it_is_handed_over_and_where_links_lead():
    line = HashedContent("SKU-1", 1, Decimal(1), delivery_category="in_store")
    of = s.event(
        action_source="app",
        app={**s.APP, "url_schemes": "shop"},
        custom_data=s.custom_data(delivery_category="home_delivery", contents=(line,)),
    )
    item = s.sent("snapchat", of)
    assert item["custom_data"]["delivery_category"] == "home_delivery"
    assert item["custom_data"]["contents"][0]["delivery_category"] == "in_store"
    assert item["app_data"]["url_schemes"] == ["shop"]


def test_a_content_type_off_the_list_is_left_out():
    of = s.event(custom_data=s.custom_data(content_type="hotel"))
    assert "content_type" not in s.sent("snapchat", of)["custom_data"]
    assert "content_type_unknown" in s.codes(s.admitted("snapchat", of))


def test_there_is_no_refund_unless_a_custom_event_stands_for_it():
    refund = s.event(event_name="Refund", occurrence="REF-1")
    admission = s.admit("snapchat", refund)
    assert isinstance(admission, Skip)
    assert admission.detail == "Snapchat has no refund; custom_event_names can give one"
    named = {"Refund": "CUSTOM_EVENT_5"}
    item = s.sent("snapchat", refund, custom_event_names=named)
    assert (item["event_name"], "order_id" in item["custom_data"]) == ("CUSTOM_EVENT_5", False)


def test_the_words_are_kept_scrubbed_beside_the_codes():
    errors = {"codes": ["517"], "error_msgs": ["bad", "jane@example.com"]}
    body = {"status": "INVALID", "reason": "bad", "errors": errors}
    (result,) = s.read("snapchat", s.reply(400, body, x_request_id="R1"))
    assert (result.detail, result.trace_id) == ("HTTP 400, codes 517: bad; …", "R1")
