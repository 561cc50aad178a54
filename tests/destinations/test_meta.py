"""Meta: names, windows, the shape of an event, limited data use, and every code of the error table."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from app.destinations.base import DEDUP_WINDOW, Skip
from app.destinations.meta.admission import can_limit
from app.destinations.meta.tables import EVENT_NAMES, LDU_STATES, SUBCODES
from app.errors import DestinationError
from app.event_names import STANDARD_EVENTS
from app.model import Delivered, Form, HashedContent, Park, Rejected, Retry, Split
from app.wire import ACTION_SOURCES
from tests.destinations import support as s
from tests.destinations.pages import check_page

MESSAGING = {"Purchase", "Lead", "InitiateCheckout", "AddToCart", "ViewContent"}


def test_page():
    check_page("meta")


@pytest.mark.parametrize("source", ACTION_SOURCES)
@pytest.mark.parametrize("name", STANDARD_EVENTS)
def test_every_standard_event_from_every_source(name: str, source: str) -> None:
    of = s.event(event_name=name, action_source=source, identity=s.identity(ctwa_clid="ARAkLk"))
    if source == "business_messaging" and name not in MESSAGING:
        assert s.skipped("meta", of) == "event_not_supported"
        return
    channel: dict[str, Any] = {"messaging_channel": "whatsapp"} if source == "business_messaging" else {}
    s.admitted("meta", of, **channel)
    item = s.sent("meta", of, **channel)
    expected = "LeadSubmitted" if (source, name) == ("business_messaging", "Lead") else name
    assert (item["event_name"], item["action_source"]) == (expected, source)


def test_every_standard_event_is_in_the_table():
    assert set(EVENT_NAMES) == set(STANDARD_EVENTS)


def test_custom_events_keep_their_name_and_overrides_win():
    of = s.event(event_name="QuizDone", is_custom=True)
    assert s.sent("meta", of)["event_name"] == "QuizDone"
    assert s.sent("meta", of, event_names={"QuizDone": "Lead"})["event_name"] == "Lead"
    assert s.skipped("meta", of, skip_events=["QuizDone"]) == "event_not_supported"
    messaging = s.event(event_name="OrderShipped", is_custom=True, action_source="business_messaging")
    assert s.sent("meta", messaging)["event_name"] == "OrderShipped"


def test_the_whole_event():
    assert s.sent("meta") == {
        "event_name": "Purchase",
        "event_time": s.HAPPENED_UNIX,
        "event_id": "purchase_ORD-12345",
        "action_source": "website",
        "event_source_url": "https://shop.example/thanks",
        "referrer_url": "https://shop.example/cart",
        "user_data": {
            **{
                key: [s.digest(f"{form} of jane").hex()]
                for key, form in {
                    "em": Form.EMAIL,
                    "ph": Form.PHONE_DIGITS,
                    "fn": Form.FIRST_NAME_LETTERS,
                    "ln": Form.LAST_NAME_LETTERS,
                    "db": Form.BIRTH_DATE,
                    "ge": Form.GENDER,
                    "ct": Form.CITY,
                    "st": Form.STATE,
                    "zp": Form.ZIP,
                    "country": Form.COUNTRY,
                    "external_id": Form.EXTERNAL_ID_LOWER,
                }.items()
            },
            "client_ip_address": "203.0.113.9",
            "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/141.0",
            "fbc": "fb.1.1795132650000.IwY2Sample_Click-ID",
            "fbp": "fb.1.1795132700000.1098115397",
        },
        "custom_data": {
            "coupon": "BF26",
            "points": 12,
            "gift": False,
            "value": 129.9,
            "currency": "USD",
            "order_id": "ORD-12345",
            "num_items": 2,
            "search_string": "running shoes",
            "predicted_ltv": 1000,
            "content_name": "Autumn",
            "content_category": "Footwear",
            "content_type": "product",
            "content_ids": ["SKU-1", "SKU-2"],
            "contents": [
                {"id": "SKU-1", "quantity": 1, "item_price": 99.9},
                {"id": "SKU-2", "quantity": 1, "item_price": 30},
            ],
        },
    }


def test_amounts_are_numbers_with_the_callers_digits():
    (call,) = s.build("meta", [s.delivery(s.event(custom_data=s.custom_data(value=Decimal("1E+3"), contents=())))])
    assert b'"value":1000,' in call.body
    (call,) = s.build("meta", [s.delivery(s.event(custom_data=s.custom_data(value=Decimal("0.10"), contents=())))])
    assert b'"value":0.10,' in call.body


def test_properties_never_displace_standard_keys():
    data = s.custom_data(
        value=None, currency=None, properties={"value": "1", "contents": "x", "nan": float("nan"), "": 1}
    )
    of = s.event(event_name="Lead", custom_data=data)
    custom = s.sent("meta", of)["custom_data"]
    assert {"value", "nan", ""}.isdisjoint(custom)
    assert isinstance(custom["contents"], list)
    assert "properties_dropped" in s.codes(s.admitted("meta", of))


def test_zero_is_a_value():
    of = s.event(custom_data=s.custom_data(value=Decimal(0), num_items=0))
    s.admitted("meta", of)
    assert s.sent("meta", of)["custom_data"]["value"] == 0
    assert s.sent("meta", of)["custom_data"]["num_items"] == 0


@pytest.mark.parametrize(
    ("source", "age", "reason"),
    [
        ("website", timedelta(days=6, hours=23), None),
        ("website", timedelta(days=7), "too_old"),
        ("phone_call", timedelta(days=8), "too_old"),
        ("physical_store", timedelta(days=61), None),
        ("physical_store", timedelta(days=62), "too_old"),
        ("website", timedelta(minutes=-5), None),
        ("website", timedelta(minutes=-5, seconds=-1), "in_future"),
    ],
)
def test_age(source: str, age: timedelta, reason: str | None) -> None:
    of = s.event(action_source=source, event_time=s.NOW - age)
    if reason is None:
        s.admitted("meta", of)
    else:
        assert s.skipped("meta", of) == reason


def test_the_window_is_a_setting_less_a_margin():
    admission = s.admitted("meta", s.event(), max_age="3d", window_margin="1h")
    assert admission.window_until == s.HAPPENED + timedelta(days=3) - timedelta(hours=1)


@pytest.mark.parametrize(
    ("over", "reason"),
    [
        ({"event_source_url": None}, "required_field_missing"),
        ({"custom_data": s.custom_data(value=None)}, "required_field_missing"),
        ({"custom_data": s.custom_data(currency=None)}, "required_field_missing"),
        ({"action_source": "app", "app": None}, "required_field_missing"),
        ({"action_source": "app", "app": {**s.APP, "extinfo": ["i2"]}}, "required_field_missing"),
        ({"action_source": "app", "app": {**s.APP, "advertiser_tracking_enabled": "yes"}}, "required_field_missing"),
        ({"identity": s.with_digests()}, "identifiers_missing"),
        ({"identity": s.with_digests(Form.CITY, Form.STATE, client_user_agent="x")}, "identifiers_missing"),
        ({"identity": s.with_digests(Form.BIRTH_DATE, client_user_agent="x")}, "identifiers_missing"),
        ({"identity": s.with_digests(Form.FIRST_NAME_LETTERS, Form.GENDER)}, "identifiers_missing"),
        ({"identity": s.with_digests(Form.LAST_NAME_LETTERS, Form.GENDER)}, "identifiers_missing"),
        ({"identity": s.with_digests(fbc="fb.1.short")}, "identifiers_missing"),
    ],
)
def test_documented_requirements_skip(over: dict[str, Any], reason: str) -> None:
    assert s.skipped("meta", s.event(**over)) == reason


@pytest.mark.parametrize(
    "known",
    [
        s.with_digests(Form.EMAIL),
        s.with_digests(Form.FIRST_NAME_LETTERS, Form.LAST_NAME_LETTERS),
        s.with_digests(client_ip_address="203.0.113.9"),
        s.with_digests(fbp="fb.1.1795132700000.1098115397"),
        s.with_digests(lead_id="123456789012345"),
    ],
)
def test_enough_about_the_customer(known: Any) -> None:
    s.admitted("meta", s.event(identity=known))


def test_reasons_come_in_the_agreed_order():
    worst = s.bare(event_name="X", is_custom=True, event_time=s.NOW - timedelta(days=99))
    assert s.skipped("meta", worst, skip_events=["X"]) == "event_not_supported"
    assert s.skipped("meta", worst) == "too_old"
    assert s.skipped("meta", s.bare()) == "required_field_missing"


def test_a_missing_user_agent_only_warns_but_travels_apart():
    of = s.event(identity=s.with_digests(Form.EMAIL))
    assert s.codes(s.admitted("meta", of)) == ["field_missing", "properties_dropped"]
    assert s.skipped("meta", of, require_user_agent=True) == "required_field_missing"
    whole, doubtful = s.build("meta", [s.delivery(), s.delivery(of), s.delivery()])
    assert (len(whole.deliveries), len(doubtful.deliveries)) == (2, 1)


@pytest.mark.parametrize(
    "value", ["fb.1.1795132650.abc", "1098115397", "fb.1.1795132650000.", "fb.1.1795132650000.a b"]
)
def test_malformed_click_ids_are_left_out(value: str) -> None:
    of = s.event(identity=s.identity(fbc=value, fbp=value))
    assert {"fbc", "fbp"}.isdisjoint(s.sent("meta", of)["user_data"])
    assert s.codes(s.admitted("meta", of)).count("click_id_malformed") == 2


def test_lead_ids():
    assert s.sent("meta", s.event(identity=s.identity(lead_id="123456789012345")))["user_data"]["lead_id"] == (
        123456789012345
    )
    of = s.event(identity=s.identity(lead_id="crm-7"))
    assert "lead_id" not in s.sent("meta", of)["user_data"]
    assert "lead_id_malformed" in s.codes(s.admitted("meta", of))


def test_lines_without_an_id_are_left_out():
    of = s.event(custom_data=s.custom_data(contents=(HashedContent(title="Shoe"),)))
    assert "contents" not in s.sent("meta", of)["custom_data"]
    assert "content_dropped" in s.codes(s.admitted("meta", of))


def test_app_events():
    known = s.identity(idfa="EA7583CD-A667-48BC-B806-42ECB2B48606", idfv="6D92078A-8246-4BA4-AE5B-76104861E7DC")
    item = s.sent("meta", s.event(action_source="app", identity=known))
    assert item["app_data"] == {
        "advertiser_tracking_enabled": 1,
        "application_tracking_enabled": 1,
        "extinfo": s.APP["extinfo"],
        "vendor_id": "6D92078A-8246-4BA4-AE5B-76104861E7DC",
    }
    assert item["user_data"]["madid"] == "ea7583cd-a667-48bc-b806-42ecb2b48606"
    assert "madid" not in s.sent("meta", s.event(identity=known))["user_data"]
    off = s.event(action_source="app", identity=s.identity(idfa="00000000-0000-0000-0000-000000000000"))
    assert "madid" not in s.sent("meta", off)["user_data"]


def test_messaging_events_name_their_channel_and_travel_apart():
    of = s.event(
        action_source="business_messaging",
        identity=s.identity(ctwa_clid="ARAkLk"),
        custom_data=s.custom_data(properties={"messaging_channel": "whatsapp"}),
    )
    item = s.sent("meta", of)
    assert item["messaging_channel"] == "whatsapp"
    assert "messaging_channel" not in item["custom_data"]
    unnamed = s.event(action_source="business_messaging")
    assert s.skipped("meta", unnamed) == "required_field_missing"
    assert s.sent("meta", unnamed, messaging_channel="instagram")["messaging_channel"] == "instagram"
    assert len(s.build("meta", [s.delivery(of), s.delivery(), s.delivery(of)])) == 2


def test_how_long_copies_are_recognised():
    admission = s.admitted("meta", s.event())
    assert (admission.pair_for, admission.repeat_for) == (DEDUP_WINDOW, DEDUP_WINDOW)
    store = s.admitted("meta", s.event(action_source="physical_store"))
    assert (store.pair_for, store.repeat_for) == (timedelta(0), timedelta(days=7))
    keyless = s.event(action_source="physical_store", custom_data=s.custom_data(order_id=None))
    assert s.admitted("meta", keyless).repeat_for == timedelta(0)
    several = s.event(action_source="physical_store", occurrence="2")
    assert s.admitted("meta", several).repeat_for == timedelta(0)
    assert "order_id" not in s.sent("meta", several)["custom_data"]
    assert s.sent("meta", s.event(occurrence="2"))["custom_data"]["order_id"] == "ORD-12345"


@pytest.mark.parametrize(("state", "code"), LDU_STATES.items())
def test_limited_data_use_names_the_state(state: str, code: int) -> None:
    item = s.sent("meta", s.event(identity=s.identity(state=state)), limited=True)
    assert item["data_processing_options"] == ["LDU"]
    assert (item["data_processing_options_country"], item["data_processing_options_state"]) == (1, code)
    assert item["opt_out"] is True


@pytest.mark.parametrize(("country", "state"), [("us", "wa"), ("us", None), (None, "ca"), ("au", "ca")])
def test_limited_data_use_elsewhere_is_located_by_address(country: str | None, state: str | None) -> None:
    known = s.identity(country=country, state=state)
    item = s.sent("meta", s.event(identity=known), limited=True)
    assert (item["data_processing_options_country"], item["data_processing_options_state"]) == (0, 0)
    assert can_limit(s.event(identity=known), s.settings("meta"))
    assert not can_limit(
        s.event(identity=s.identity(country=country, state=state, client_ip_address=None)), s.settings("meta")
    )


@pytest.mark.parametrize(
    ("place", "state", "code"),
    [("US-CA", None, 1000), ("US-RI", None, 1013), ("US-CA", "ri", 1013), ("US", None, 0), ("CA-QC", None, 0)],
)
def test_limited_data_use_takes_the_state_of_the_place_where_no_address_has_one(
    place: str, state: str | None, code: int
) -> None:
    item = s.sent("meta", s.event(place=place, identity=s.identity(state=state)), limited=True)
    assert item["data_processing_options_state"] == code
    assert item["data_processing_options_country"] == (1 if code else 0)


def test_limited_events_drop_what_is_not_needed():
    user = s.sent("meta", limited=True)["user_data"]
    assert {"fn", "ln", "db", "ge", "ct", "st", "zp", "country"}.isdisjoint(user)
    assert {"em", "ph", "external_id", "client_ip_address", "fbp"} <= user.keys()
    names = s.with_digests(Form.FIRST_NAME_LETTERS, Form.LAST_NAME_LETTERS, country="us", state="ca")
    assert not can_limit(s.event(identity=names), s.settings("meta"))


def test_the_request():
    (call,) = s.build("meta", [s.delivery()], partner_agent="convey-gw")
    assert call.url == "https://graph.facebook.com/v26.0/1234567890/events"
    assert call.secret_headers == {"authorization": f"Bearer {s.TOKEN}"}
    assert json.loads(call.body).keys() == {"data", "partner_agent"}
    (call,) = s.build("meta", [s.delivery()], token_in_query=True, app_secret="shh")
    assert call.secret_headers == {}
    proof = hmac.new(b"shh", s.TOKEN.encode(), hashlib.sha256).hexdigest()
    assert call.secret_params == {"access_token": s.TOKEN, "appsecret_proof": proof}


def test_test_events_carry_the_code_and_travel_apart():
    deliveries = [s.delivery(event_id="a"), s.delivery(s.event(is_test=True), event_id="b"), s.delivery(event_id="c")]
    live, test = s.build("meta", deliveries)
    assert [d.event_id for d in live.deliveries] == ["a", "c"]
    assert "test_event_code" not in json.loads(live.body)
    assert json.loads(test.body)["test_event_code"] == "TEST12345"
    with pytest.raises(DestinationError):
        s.build("meta", deliveries, test_event_code=None)


@pytest.mark.parametrize(
    "over",
    [
        {"pixel_id": "12a"},
        {"pixel_id": "../me"},
        {"api_version": "26"},
        {"access_token": " "},
        {"partner_agent": "x"},
        {"partner_agent": "a" * 23},
        {"base_url": "http://graph.example"},
        {"unknown": "1"},
        {"max_age": "seven"},
    ],
)
def test_settings_are_checked(over: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        s.settings("meta", **over)


def error(code: Any, subcode: int | None = None, **more: Any) -> dict[str, Any]:
    inner = {"message": "(#1) Es ging etwas schief", "type": "OAuthException", "code": code, "fbtrace_id": "Atrace"}
    return {"error": {**inner, **({} if subcode is None else {"error_subcode": subcode}), **more}}


def test_success():
    answer = s.reply(200, {"events_received": 2, "messages": [], "fbtrace_id": "Atrace", "new_field": 1})
    assert s.read("meta", answer, 2) == [Delivered("Atrace"), Delivered("Atrace")]
    warned = s.reply(200, {"events_received": 1, "messages": ["check fbc", 3], "fbtrace_id": 7})
    assert s.read("meta", warned) == [Delivered(None, "check fbc")]
    old = s.reply(200, {"events_received": 1}, x_ad_api_version_warning="v26.0 ends soon")
    assert s.read("meta", old) == [Delivered(None, "v26.0 ends soon")]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"events_received": 1},
        {"events_received": "2"},
        {"events_received": True},
        {"events_received": 3},
        {"success": True},
    ],
)
def test_another_count_is_no_success(body: dict[str, Any]) -> None:
    verdict = s.read("meta", s.reply(200, body), 2)
    assert all(isinstance(r, Retry) and r.is_ambiguous and r.reason == "platform_error" for r in verdict)


def test_a_count_under_an_error_status_is_no_success():
    (result,) = s.read("meta", s.reply(500, {"events_received": 1}))
    assert isinstance(result, Retry)
    assert isinstance(s.read("meta", s.reply(413, {}), 2), Split)
    (result,) = s.read("meta", s.reply(429, {}, retry_after="3"))
    assert (result.reason, result.after) == ("rate_limited", timedelta(seconds=3))


@pytest.mark.parametrize(
    ("code", "subcode"),
    [
        *[(4, None), (4, 1504022), (17, 2446079), (32, None), (341, None), (613, 1487742), (613, None)],
        *[(80000, None), (80003, None), (80004, None), (80014, None)],
    ],
)
def test_throttled(code: int, subcode: int | None) -> None:
    (result,) = s.read("meta", s.reply(400, error(code, subcode, is_transient=True)))
    assert isinstance(result, Retry)
    assert result.reason == "rate_limited"


@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({}, None),
        ({"retry_after": "9"}, timedelta(seconds=9)),
        ({"x_business_use_case_usage": '{"1":[{"estimated_time_to_regain_access":7}]}'}, timedelta(minutes=7)),
        ({"x_business_use_case_usage": '{"1":[{"estimated_time_to_regain_access":0}],"2":3,"4":["x"]}'}, None),
        ({"x_business_use_case_usage": "not json"}, None),
        ({"x_ad_account_usage": '{"acc_id_util_pct":100,"reset_time_duration":120}'}, timedelta(seconds=120)),
        ({"x_ad_account_usage": '{"acc_id_util_pct":12,"reset_time_duration":120}'}, None),
    ],
)
def test_hints_to_wait(headers: dict[str, str], after: timedelta | None) -> None:
    (result,) = s.read("meta", s.reply(400, error(17), **headers))
    assert result.after == after


@pytest.mark.parametrize(
    ("code", "subcode"),
    [
        *[(190, 463), (190, None), (102, None), (104, None), (3, None), (10, None), (200, None), (294, None)],
        *[(803, None), (100, 33), (2635, None), (2655, None)],
    ],
)
@pytest.mark.parametrize("status", [200, 400, 401])
def test_what_a_person_must_mend_parks(code: int, subcode: int | None, status: int) -> None:
    verdict = s.read("meta", s.reply(status, error(code, subcode)), 3)
    assert isinstance(verdict, Park)
    assert verdict.reason == "credentials"


@pytest.mark.parametrize("subcode", [2804001, 2804003, 2804004, 2804008, 2804009, 2804016, 2804019, 2804023, 2804036])
def test_an_event_at_fault_is_found_and_then_rejected(subcode: int) -> None:
    assert isinstance(s.read("meta", s.reply(400, error(100, subcode)), 4), Split)
    (result,) = s.read("meta", s.reply(400, error(100, subcode)))
    told = f"code 100/{subcode} ({SUBCODES[subcode].meaning}): (#1) Es ging etwas schief"
    assert result == Rejected(detail=told, trace_id="Atrace")


@pytest.mark.parametrize(
    ("more", "suspects"),
    [
        ({"message": "bad $['data'][2]['user_data']"}, (2,)),
        ({"message": "Param data[1][event_time] must be"}, (1,)),
        ({"error_data": {"blame_field_specs": [["data", 3, "event_time"]]}}, (3,)),
        ({"error_data": '{"blame_field_specs":[["data",0]]}'}, (0,)),
        ({"error_data": "{oops", "message": "x"}, ()),
        ({"message": "data[9] is out of reach"}, ()),
        ({}, ()),
    ],
)
def test_suspects(more: dict[str, Any], suspects: tuple[int, ...]) -> None:
    verdict = s.read("meta", s.reply(400, error(100, 2804003, **more)), 4)
    assert isinstance(verdict, Split)
    assert verdict.suspects == suspects


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (500, error(1), ("platform_error", None, None)),
        (400, error(2), ("platform_error", None, None)),
        (400, error(999, is_transient=True), ("platform_error", None, None)),
        (400, error(100, 2804003, is_transient=True), ("platform_error", None, None)),
        (503, error(777), ("platform_error", None, None)),
        (400, error(368), ("platform_error", timedelta(hours=1), None)),
        (400, error(5000), ("platform_error", None, 5)),
        (400, error(777), ("platform_error", None, 8)),
        (400, error(None), ("platform_error", None, 8)),
        (400, error("x"), ("platform_error", None, 8)),
        (429, error(777), ("rate_limited", None, None)),
    ],
)
def test_retries(status: int, body: Any, expected: tuple[Any, ...]) -> None:
    (result,) = s.read("meta", s.reply(status, body))
    assert isinstance(result, Retry)
    assert (result.reason, result.after, result.max_attempts) == expected


def test_an_unknown_refusal_of_a_batch_spares_the_innocent():
    assert isinstance(s.read("meta", s.reply(400, error(777)), 3), Split)


def test_words_are_scrubbed():
    (result,) = s.read("meta", s.reply(400, error(100, message="jane.doe@example.com is not " + "ab" * 32)))
    assert result.detail == "code 100 (a parameter is invalid): … is not …"


@pytest.mark.parametrize(
    ("channel", "known", "settings", "missing"),
    [
        ("whatsapp", {"ctwa_clid": "ARAkLk"}, {}, None),
        ("whatsapp", {}, {"whatsapp_business_account_id": "7"}, "user.ctwa_clid"),
        ("messenger", {"page_scoped_user_id": "24017"}, {"page_id": "8"}, None),
        ("messenger", {"page_scoped_user_id": "24017"}, {}, "the setting page_id"),
        ("messenger", {}, {"page_id": "8"}, "user.page_scoped_user_id"),
        ("instagram", {"ig_sid": "17841"}, {"ig_account_id": "9"}, None),
        ("instagram", {"ig_sid": "17841"}, {}, "the setting ig_account_id"),
    ],
)
def test_a_message_says_who_wrote_to_whom(
    channel: str, known: dict[str, str], settings: dict[str, str], missing: str | None
) -> None:
    of = s.event(action_source="business_messaging", identity=s.identity(**known))
    over: dict[str, Any] = {"messaging_channel": channel, **settings}
    if missing is None:
        s.admitted("meta", of, **over)
        user = s.sent("meta", of, **over)["user_data"]
        assert {**known, **settings}.items() <= user.items()
        website = s.sent("meta", s.event(identity=s.identity(**known)), **over)["user_data"]
        assert website.keys().isdisjoint({*known, *settings})
    else:
        admission = s.admit("meta", of, **over)
        assert isinstance(admission, Skip)
        assert (admission.reason, admission.detail) == ("required_field_missing", f"Meta needs {missing}")


def test_leads_of_the_crm_are_conversion_leads():
    of = s.event(
        event_name="Qualified",
        is_custom=True,
        action_source="system_generated",
        identity=s.identity(lead_id="123456789012345"),
    )
    custom = s.sent("meta", of, lead_event_source="HubSpot")["custom_data"]
    assert (custom["event_source"], custom["lead_event_source"]) == ("crm", "HubSpot")
    assert "event_source" not in s.sent("meta", of)["custom_data"]
    assert "event_source" not in s.sent("meta", s.event(), lead_event_source="HubSpot")["custom_data"]


def test_new_and_returning_customers_are_told_where_the_setting_says():
    returning = s.event(identity=s.identity(customer_type="returning"))
    assert "customer_segmentation" not in str(s.sent("meta", returning))
    item = s.sent("meta", returning, customer_segmentation="event")
    assert item["customer_segmentation"] == "existing_customer_to_business"
    assert "customer_segmentation" not in item["custom_data"]
    item = s.sent("meta", s.event(), customer_segmentation="custom_data")
    assert item["custom_data"]["customer_segmentation"] == "new_customer_to_business"
    assert "customer_segmentation" not in s.sent(
        "meta", s.event(identity=s.identity(customer_type=None)), customer_segmentation="event"
    )


def test_what_else_an_app_knows():
    app = {**s.APP, "url_schemes": "shop, shop-eu", "campaign_ids": "1,2"}
    of = s.event(action_source="app", app=app, identity=s.identity(anon_id="XZ-1", fb_login_id="10158"))
    item = s.sent("meta", of)
    assert item["app_data"]["url_schemes"] == ["shop", "shop-eu"]
    assert item["app_data"]["campaign_ids"] == "1,2"
    assert (item["user_data"]["anon_id"], item["user_data"]["fb_login_id"]) == ("XZ-1", 10158)
    assert "anon_id" not in s.sent("meta", s.event(identity=s.identity(anon_id="XZ-1")))["user_data"]
    odd = s.event(identity=s.identity(fb_login_id="me"))
    assert "fb_login_id" not in s.sent("meta", odd)["user_data"]
    assert "login_id_malformed" in s.codes(s.admitted("meta", odd))


def test_how_it_is_handed_over_is_told_of_the_order_and_its_lines():
    line = HashedContent("SKU-1", 1, Decimal(1), delivery_category="in_store")
    of = s.event(custom_data=s.custom_data(delivery_category="curbside", contents=(line,)))
    custom = s.sent("meta", of)["custom_data"]
    assert custom["delivery_category"] == "curbside"
    assert custom["contents"] == [{"id": "SKU-1", "quantity": 1, "item_price": 1, "delivery_category": "in_store"}]


def test_a_content_type_that_shops_do_not_have_is_left_out():
    of = s.event(custom_data=s.custom_data(content_type="hotel"))
    assert "content_type" not in s.sent("meta", of)["custom_data"]
    assert "content_type_unknown" in s.codes(s.admitted("meta", of))


def test_a_refund_is_a_custom_event_and_says_so():
    of = s.event(event_name="Refund", occurrence="REF-1")
    assert s.sent("meta", of)["event_name"] == "Refund"
    assert "refund_custom" in s.codes(s.admitted("meta", of))


@pytest.mark.parametrize("url", ["shop.example/thanks", "ftp://shop.example/", "https://", "/thanks"])
def test_an_address_that_is_not_whole_is_none(url: str) -> None:
    assert s.skipped("meta", s.event(event_source_url=url)) == "required_field_missing"
    assert "event_source_url" not in s.sent("meta", s.event(event_source_url=url, action_source="chat"))


def test_each_test_code_has_a_request_of_its_own():
    def test_of(name: str, **codes: str) -> Any:
        return s.delivery(s.event(is_test=True, test_codes=codes), event_id=name, destination="meta_eu")

    deliveries = [
        test_of("configured"),
        test_of("own", meta_eu="TEST1"),
        s.delivery(event_id="live"),
        test_of("again", meta_eu="TEST1"),
        test_of("others", meta_us="TEST2"),
    ]
    calls = s.build("meta", deliveries)
    sent = {json.loads(call.body).get("test_event_code"): [d.event_id for d in call.deliveries] for call in calls}
    assert sent == {"TEST12345": ["configured", "others"], "TEST1": ["own", "again"], None: ["live"]}
    (call,) = s.build("meta", [test_of("own", meta_eu="TEST1")], test_event_code=None)
    assert json.loads(call.body)["test_event_code"] == "TEST1"
    with pytest.raises(DestinationError):
        s.build("meta", [test_of("others", meta_us="TEST2")], test_event_code=None)
