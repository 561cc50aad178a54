"""TikTok: event sources, names, the shape of an event, and every code of the error table."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from app.destinations.base import DEDUP_WINDOW, Skip
from app.destinations.tiktok.admission import can_limit
from app.destinations.tiktok.tables import CODES, CURRENCIES
from app.errors import DestinationError
from app.event_names import STANDARD_EVENTS
from app.model import Delivered, Form, Park, Rejected, Retry, Split
from app.wire import ACTION_SOURCES
from tests.destinations import support as s
from tests.destinations.pages import check_page

APP_NAMES = {"Lead": "GenerateLead", "InitiateCheckout": "Checkout", "CompleteRegistration": "Registration"}
ONLY = {"pixel_code": None, "offline_event_set_id": None, "crm_event_set_id": None, "app_id": None}


def test_page():
    check_page("tiktok")


@pytest.mark.parametrize("source", ACTION_SOURCES)
@pytest.mark.parametrize("name", STANDARD_EVENTS)
def test_every_standard_event_from_every_source(name: str, source: str) -> None:
    of = s.event(event_name=name, action_source=source)
    is_offline = source not in ("website", "app")
    if name in ("PageView", "Refund") or (name == "Donate" and is_offline):
        assert s.skipped("tiktok", of) == "event_not_supported"
        return
    s.admitted("tiktok", of)
    (call,) = s.build("tiktok", [s.delivery(of)])
    body = json.loads(call.body)
    sources = {"website": ("web", "CEXAMPLEPIXEL0000001"), "app": ("app", "7003")}
    assert (body["event_source"], body["event_source_id"]) == sources.get(source, ("offline", "7001"))
    assert body["data"][0]["event"] == (APP_NAMES.get(name, name) if source == "app" else name)


@pytest.mark.parametrize(
    ("source", "has_lead", "configured", "expected"),
    [
        ("website", False, {"offline_event_set_id": "1"}, None),
        ("app", False, {"pixel_code": "C1"}, None),
        ("physical_store", False, {"pixel_code": "C1"}, None),
        ("system_generated", True, {"offline_event_set_id": "1", "crm_event_set_id": "2"}, "crm"),
        ("system_generated", False, {"offline_event_set_id": "1", "crm_event_set_id": "2"}, "offline"),
        ("physical_store", True, {"offline_event_set_id": "1", "crm_event_set_id": "2"}, "offline"),
        ("phone_call", True, {"offline_event_set_id": "1"}, "offline"),
        ("phone_call", True, {"crm_event_set_id": "2"}, "crm"),
    ],
)
def test_which_event_source_takes_it(
    source: str, has_lead: bool, configured: dict[str, str], expected: str | None
) -> None:
    of = s.event(action_source=source, identity=s.identity(lead_id="73000123" if has_lead else None))
    over: dict[str, Any] = {**ONLY, **configured}
    if expected is None:
        assert s.skipped("tiktok", of, **over) == "event_not_supported"
        with pytest.raises(DestinationError):
            s.build("tiktok", [s.delivery(of)], **over)
        return
    s.admitted("tiktok", of, **over)
    (call,) = s.build("tiktok", [s.delivery(of)], **over)
    assert json.loads(call.body)["event_source"] == expected


def test_names_can_be_overridden():
    of = s.event(event_name="PageView")
    assert s.sent("tiktok", of, event_names={"PageView": "Pageview"})["event"] == "Pageview"
    assert s.sent("tiktok", event_names={"Purchase": "CompletePayment"})["event"] == "CompletePayment"
    assert s.skipped("tiktok", s.event(), skip_events=["Purchase"]) == "event_not_supported"


def test_custom_events():
    of = s.event(event_name="QuizDone", is_custom=True)
    assert s.sent("tiktok", of)["event"] == "QuizDone"
    offline = s.event(event_name="QuizDone", is_custom=True, action_source="physical_store")
    assert s.skipped("tiktok", offline) == "event_not_supported"
    crm = s.event(
        event_name="Qualified",
        is_custom=True,
        action_source="system_generated",
        identity=s.identity(lead_id="73000123"),
    )
    assert s.sent("tiktok", crm)["event"] == "Qualified"
    lookalike = s.event(event_name="ConsultBooked", is_custom=True)
    assert "event_name_reserved" in s.codes(s.admitted("tiktok", lookalike))


def test_the_whole_web_event():
    assert s.sent("tiktok") == {
        "event": "Purchase",
        "event_time": s.HAPPENED_UNIX,
        "event_id": "purchase_ORD-12345",
        "user": {
            "email": [s.digest(f"{Form.EMAIL} of jane").hex()],
            "phone": [s.digest(f"{Form.PHONE_E164} of jane").hex()],
            "external_id": [s.digest(f"{Form.EXTERNAL_ID} of jane").hex()],
            "ttclid": "E.C.P.exampleclick",
            "ttp": "2aBcDeFgHiJkLmNoPqRsTuVwXyZ",
            "first_name": s.digest(f"{Form.FIRST_NAME_SPACED} of jane").hex(),
            "last_name": s.digest(f"{Form.LAST_NAME_SPACED} of jane").hex(),
            "zip_code": s.digest(f"{Form.ZIP} of jane").hex(),
            "ip": "203.0.113.9",
            "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/141.0",
            "locale": "en-US",
        },
        "properties": {
            "currency": "USD",
            "value": 129.9,
            "contents": [
                {
                    "content_id": "SKU-1",
                    "content_name": "Shoe",
                    "content_category": "Footwear",
                    "brand": "Acme",
                    "price": 99.9,
                    "quantity": 1,
                },
                {"content_id": "SKU-2", "content_name": "Sock", "price": 30, "quantity": 1},
            ],
            "content_ids": ["SKU-1", "SKU-2"],
            "content_type": "product",
            "num_items": 2,
            "order_id": "ORD-12345",
            "search_string": "running shoes",
            "customer_type": "new",
        },
        "page": {"url": "https://shop.example/thanks", "referrer": "https://shop.example/cart"},
    }


def test_address_fields():
    plain = {"state": "ca", "country": "us"}
    hashed = {"first_name", "last_name", "zip_code"}
    assert plain.keys().isdisjoint(s.sent("tiktok")["user"])
    user = s.sent("tiktok", address_fields="all")["user"]
    assert plain.items() <= user.items() and hashed <= user.keys()
    assert hashed.isdisjoint(s.sent("tiktok", address_fields="none")["user"])
    assert (hashed | plain.keys()).isdisjoint(s.sent("tiktok", address_fields="all", limited=True)["user"])


def test_app_events():
    known = s.identity(
        idfa="ea7583cd-a667-48bc-b806-42ecb2b48606", gaid="AAAAAA-2222-1111-8787-809E92233BA0", idfv="6D92-IDFV"
    )
    item = s.sent("tiktok", s.event(action_source="app", identity=known))
    assert item["app"] == {"app_id": "7003", "app_name": "Example Shop", "app_version": "3.1"}
    assert item["user"].keys() == {
        *("email", "phone", "ip", "user_agent", "locale", "idfa", "gaid", "idfv", "att_status"),
    }
    assert item["user"]["idfa"] == "EA7583CD-A667-48BC-B806-42ECB2B48606"
    assert item["user"]["gaid"] == "aaaaaa-2222-1111-8787-809e92233ba0"
    assert "page" not in item
    off = s.identity(idfa="00000000-0000-0000-0000-000000000000", gaid="00000000-0000-0000-0000-000000000000")
    assert {"idfa", "gaid"}.isdisjoint(s.sent("tiktok", s.event(action_source="app", identity=off))["user"])
    digested = s.identity(idfa="ab" * 32)
    assert s.sent("tiktok", s.event(action_source="app", identity=digested))["user"]["idfa"] == "ab" * 32
    odd = s.event(action_source="app", app={**s.APP, "att_status": "maybe", "app_name": 5})
    assert "att_status" not in s.sent("tiktok", odd)["user"]
    assert "app_name" not in s.sent("tiktok", odd)["app"]


def test_offline_and_crm_events():
    offline = s.sent("tiktok", s.event(action_source="physical_store"))
    assert offline["user"].keys() == {"email", "phone", "external_id"}
    assert {"page", "app", "lead"}.isdisjoint(offline)
    assert "customer_type" not in offline["properties"]
    of = s.event(action_source="system_generated", identity=s.identity(lead_id="73000123"))
    crm = s.sent("tiktok", of, lead_event_source="HubSpot")
    assert crm["lead"] == {"lead_id": "73000123", "lead_event_source": "HubSpot"}


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
        s.admitted("tiktok", of)
    else:
        assert s.skipped("tiktok", of) == reason


@pytest.mark.parametrize(
    ("over", "settings", "reason"),
    [
        ({"event_source_url": None}, {}, "required_field_missing"),
        ({"action_source": "chat"}, {"offline_event_set_id": None}, "required_field_missing"),
        ({"identity": s.with_digests()}, {}, "identifiers_missing"),
        ({"identity": s.with_digests(locale="de-DE")}, {}, "identifiers_missing"),
        ({"identity": s.with_digests(ttclid="E.C.P.x"), "action_source": "email"}, {}, "identifiers_missing"),
    ],
)
def test_documented_requirements_skip(over: dict[str, Any], settings: dict[str, Any], reason: str) -> None:
    assert s.skipped("tiktok", s.event(**over), **settings) == reason


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"identity": s.with_digests(client_user_agent="x")}, "identifiers_weak"),
        ({"custom_data": s.custom_data(value=None)}, "money_missing"),
        ({"custom_data": s.custom_data(currency="BGN")}, "currency_unlisted"),
        ({"custom_data": s.custom_data()}, "properties_dropped"),
    ],
)
def test_weaker_evidence_warns(over: dict[str, Any], code: str) -> None:
    assert code in s.codes(s.admitted("tiktok", s.event(**over)))


def test_a_complete_event_has_no_warning():
    of = s.event(custom_data=s.custom_data(properties={}))
    admission = s.admitted("tiktok", of)
    assert admission.warnings == ()
    assert (admission.pair_for, admission.repeat_for) == (DEDUP_WINDOW, DEDUP_WINDOW)


def test_currencies_are_codes():
    assert len(CURRENCIES) == 62
    assert all(len(code) == 3 and code.isupper() for code in CURRENCIES)


def test_limited_data_use():
    assert s.sent("tiktok", limited=True)["limited_data_use"] is True
    assert "limited_data_use" not in s.sent("tiktok")
    settings = s.settings("tiktok")
    assert can_limit(s.event(), settings)
    assert can_limit(s.event(action_source="app"), settings)
    assert not can_limit(s.event(action_source="physical_store"), settings)
    assert not can_limit(s.event(identity=s.identity(client_ip_address=None)), settings)


def test_types():
    of = s.event(custom_data=s.custom_data(value=Decimal("5E+1"), predicted_ltv=None))
    (call,) = s.build("tiktok", [s.delivery(of, event_id="10045")])
    item = json.loads(call.body)["data"][0]
    assert item["event_id"] == "10045"
    assert b'"value":50,' in call.body
    assert type(item["event_time"]) is int


def test_the_request():
    (call,) = s.build("tiktok", [s.delivery()])
    assert call.url == "https://business-api.tiktok.com/open_api/v1.3/event/track/"
    assert call.secret_headers == {"access-token": s.TOKEN}
    assert call.secret_params == {}
    assert json.loads(call.body).keys() == {"event_source", "event_source_id", "data"}


def test_one_event_source_and_one_mode_per_request():
    deliveries = [
        s.delivery(event_id="web1"),
        s.delivery(s.event(action_source="app"), event_id="app"),
        s.delivery(s.event(is_test=True), event_id="test"),
        s.delivery(s.event(action_source="chat"), event_id="offline"),
        s.delivery(event_id="web2"),
    ]
    calls = s.build("tiktok", deliveries)
    assert [[d.event_id for d in call.deliveries] for call in calls] == [
        ["web1", "web2"],
        ["app"],
        ["test"],
        ["offline"],
    ]
    assert [json.loads(call.body).get("test_event_code") for call in calls] == [None, None, "TEST67890", None]
    with pytest.raises(DestinationError):
        s.build("tiktok", deliveries, test_event_code=None)


@pytest.mark.parametrize("over", [ONLY, {"pixel_code": "a b"}, {"access_token": ""}, {"address_fields": "some"}])
def test_settings_are_checked(over: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        s.settings("tiktok", **{**over, **({"pixel_code": None} if over is ONLY else {})})


def body(code: Any, message: str = "words", **more: Any) -> dict[str, Any]:
    return {"code": code, "message": message, "request_id": "2026112012", "data": {}, **more}


def told(code: int) -> str:
    return f"code {code} ({CODES[code].meaning}): words"


def test_success():
    assert s.read("tiktok", s.reply(200, body(0, "OK", novelty=1)), 2) == [Delivered("2026112012")] * 2


@pytest.mark.parametrize("code", [20001, 40050])
def test_done_with_a_remark(code: int) -> None:
    assert s.read("tiktok", s.reply(200, body(code))) == [Delivered("2026112012", told(code))]


@pytest.mark.parametrize(
    "bad", [{}, {"message": "OK"}, {"code": None}, {"code": True}, {"code": "zero"}, {"code": 0.0}]
)
def test_no_code_is_no_success(bad: dict[str, Any]) -> None:
    (result,) = s.read("tiktok", s.reply(200, bad))
    assert isinstance(result, Retry)
    assert result.is_ambiguous


def test_success_under_an_error_status_is_unclear():
    (result,) = s.read("tiktok", s.reply(500, body(0)))
    assert isinstance(result, Retry)
    assert result.is_ambiguous


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("code", [40000, 40002, 40061, 40062, 40063])
def test_an_event_at_fault_is_found_and_then_rejected(code: int, status: int) -> None:
    message = "Batch.2.properties.contents.0.content_id: not a valid string"
    verdict = s.read("tiktok", s.reply(status, body(code, message)), 4)
    assert isinstance(verdict, Split)
    assert verdict.suspects == (2,)
    assert s.read("tiktok", s.reply(status, body(code))) == [Rejected(detail=told(code), trace_id="2026112012")]


@pytest.mark.parametrize("status", [200, 401, 403])
@pytest.mark.parametrize(
    "code",
    [
        *(40001, 40003, 40113, 40117, 40118, 40124, 40125, 40130),
        *(40102, 40104, 40105),
        *(40006, 40051, 41001, 40400),
    ],
)
def test_what_a_person_must_mend_parks(code: int, status: int) -> None:
    verdict = s.read("tiktok", s.reply(status, body(code)), 2)
    assert isinstance(verdict, Park)


@pytest.mark.parametrize(("code", "after"), [(40100, timedelta(minutes=5)), (40132, None), (61000, None)])
@pytest.mark.parametrize("status", [200, 401, 429])
def test_throttled_whatever_the_status(code: int, after: timedelta | None, status: int) -> None:
    (result,) = s.read("tiktok", s.reply(status, body(code)))
    assert (result.reason, result.after) == ("rate_limited", after)
    (result,) = s.read("tiktok", s.reply(status, body(code), retry_after="30"))
    assert result.after == timedelta(seconds=30)


@pytest.mark.parametrize("code", [40202, 50000, 50002, 51003, 52999, 60001])
def test_transient(code: int) -> None:
    (result,) = s.read("tiktok", s.reply(200, body(code)))
    assert (result.reason, result.max_attempts, result.is_ambiguous) == ("platform_error", None, False)


def test_unknown_codes():
    assert isinstance(s.read("tiktok", s.reply(200, body(40999)), 3), Split)
    (result,) = s.read("tiktok", s.reply(200, body(40999)))
    assert (result.reason, result.max_attempts) == ("platform_error", 8)
    one, two = s.read("tiktok", s.reply(200, body(77777)), 2)
    assert one == two
    assert one.max_attempts == 8
    (result,) = s.read("tiktok", s.reply(502, body(40999)))
    assert (result.reason, result.max_attempts) == ("platform_error", None)
    (result,) = s.read("tiktok", s.reply(429, body(40999)))
    assert result.reason == "rate_limited"
    assert isinstance(s.read("tiktok", s.reply(413, body(40999)), 2), Split)


def test_each_test_code_has_a_request_of_its_own():
    own = s.delivery(s.event(is_test=True, test_codes={"any": "TEST1"}), event_id="own")
    calls = s.build("tiktok", [own, s.delivery(s.event(is_test=True), event_id="configured"), s.delivery()])
    codes = [json.loads(call.body).get("test_event_code") for call in calls]
    assert codes == ["TEST1", "TEST67890", None]


def test_a_partner_name_only_where_one_is_configured():
    (call,) = s.build("tiktok", [s.delivery()], partner_name="Convey")
    assert json.loads(call.body)["partner_name"] == "Convey"


@pytest.mark.parametrize("content_type", ["product", "product_group", "sku"])
def test_content_types(content_type: str) -> None:
    of = s.event(custom_data=s.custom_data(content_type=content_type))
    is_known = content_type != "sku"
    assert s.sent("tiktok", of)["properties"].get("content_type") == (content_type if is_known else None)
    assert ("content_type_unknown" in s.codes(s.admitted("tiktok", of))) != is_known


def test_the_answer_to_apples_prompt_is_one_of_five_words():
    asked = s.event(action_source="app", app={**s.APP, "att_status": "authorized"})
    assert s.sent("tiktok", asked)["user"]["att_status"] == "AUTHORIZED"
    odd = s.event(action_source="app", app={**s.APP, "att_status": "yes"})
    assert "att_status" not in s.sent("tiktok", odd)["user"]
    assert "att_status_unknown" in s.codes(s.admitted("tiktok", odd))


def test_names_that_only_apps_have_go_out_as_they_are():
    of = s.event(event_name="Registration", is_custom=True, action_source="app")
    assert s.sent("tiktok", of)["event"] == "Registration"
    assert "event_name_reserved" not in s.codes(s.admitted("tiktok", of))
    web = s.event(event_name="Registration", is_custom=True)
    assert "event_name_reserved" in s.codes(s.admitted("tiktok", web))


def test_an_old_name_is_warned_about():
    old = {"Purchase": "PlaceAnOrder"}
    assert "event_name_old" in s.codes(s.admitted("tiktok", s.event(), event_names=old))
    assert "event_name_old" not in s.codes(s.admitted("tiktok", s.event()))


@pytest.mark.parametrize(
    ("name", "source", "words"),
    [
        ("Refund", "website", "no refund"),
        ("PageView", "website", "page view"),
        ("Donate", "physical_store", "standard events only"),
    ],
)
def test_who_is_skipped_learns_why(name: str, source: str, words: str) -> None:
    admission = s.admit("tiktok", s.event(event_name=name, action_source=source))
    assert isinstance(admission, Skip)
    assert words in (admission.detail or "")


def test_the_trace_is_in_the_body_or_in_the_header():
    assert s.read("tiktok", s.reply(200, {"code": 0}, x_tt_logid="L1")) == [Delivered("L1")]
    assert s.read("tiktok", s.reply(200, {"code": 0, "request_id": ""}, x_tt_logid="L1")) == [Delivered("L1")]
