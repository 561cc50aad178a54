"""One bad event: its fault has a pointer and no value, its neighbours go through."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.support import (
    CANARIES,
    DESTINATIONS,
    MARK,
    OTHER,
    PERMITTED,
    Path_,
    Service,
    assert_silent,
    at,
    bearer,
    changed,
    fresh,
    good,
    pointer,
    text_leaves,
)

pytestmark = pytest.mark.anyio

LONG = f"{MARK} " * 2000  # 10,000 characters
NESTED_8: Any = [[[[[[[f"{MARK} deep"]]]]]]]


def case(where: str, value: Any, code: str, found_at: str | None = None) -> Any:
    """`value` put at the pointer `where` must give the fault `code` there, or at `found_at`."""
    shown = json.dumps(value)
    return pytest.param(where, value, code, where if found_at is None else found_at, id=f"{where}={shown[:24]}")


CASES = [
    # names and ids
    case("/event_name", {MARK: MARK}, "wrong_type"),
    case("/event_name", [MARK], "wrong_type"),
    case("/event_name", True, "wrong_type"),
    case("/event_name", None, "missing"),
    case("/event_name", "", "too_short"),
    case("/event_name", MARK * 26, "too_long"),
    case("/event_name", f"{MARK}.jane@mail.example", "personal_data"),
    *(
        fault
        for field in ("event_id", "transaction_id", "occurrence")
        for fault in (
            case(f"/{field}", {}, "wrong_type"),
            case(f"/{field}", [MARK], "wrong_type"),
            case(f"/{field}", False, "wrong_type"),
            case(f"/{field}", "", "too_short"),
            case(f"/{field}", MARK * 51, "too_long"),
            case(f"/{field}", f"{MARK}.jane@mail.example", "personal_data"),
            case(f"/{field}", "+14155552671", "personal_data"),
            case(f"/{field}", 10**21 + 8675309, "out_of_range"),
        )
    ),
    # when
    case("/event_time", None, "missing"),
    case("/event_time", {}, "wrong_type"),
    case("/event_time", [MARK], "wrong_type"),
    case("/event_time", True, "wrong_type"),
    case("/event_time", MARK, "malformed"),
    case("/event_time", "", "malformed"),
    case("/event_time", "2026-02-30T10:00:00Z", "impossible"),
    case("/event_time", "2026-11-20T25:00:00Z", "impossible"),
    case("/event_time", "2026-11-20T10:00:00+99:00", "impossible"),
    case("/event_time", "0001-01-01T00:00:00+01:00", "impossible"),
    case("/event_time", "2026-11-20T10:00:00", "offset_missing"),
    case("/event_time", float("nan"), "not_a_number"),
    case("/event_time", float("inf"), "not_a_number"),
    case("/event_time", float("-inf"), "not_a_number"),
    case("/event_time", -8675309, "out_of_range"),
    case("/event_time", 1e300, "out_of_range"),
    case("/event_time", "1999-12-31T23:59:59Z", "out_of_range"),
    case("/event_time", "2100-01-01T00:00:00Z", "out_of_range"),
    case("/event_time", 10**400, "out_of_range"),
    # where and to whom
    case("/action_source", MARK, "not_allowed"),
    case("/action_source", 5, "not_allowed"),
    case("/event_source_url", {}, "wrong_type"),
    case("/event_source_url", LONG, "too_long"),
    case("/referrer_url", [], "wrong_type"),
    case("/destinations", "meta", "wrong_type"),
    case("/destinations", {}, "wrong_type"),
    case("/destinations", [f"{MARK}-nowhere"], "unknown_destination", "/destinations/0"),
    case("/destinations", ["meta", f"{MARK}-nowhere"], "unknown_destination", "/destinations/1"),
    case("/destinations", [{}], "wrong_type", "/destinations/0"),
    case("/destinations", [MARK] * 51, "too_long"),
    case("/hold", MARK, "wrong_type"),
    case("/hold", {}, "wrong_type"),
    case("/test", f"{MARK}?", "wrong_type"),
    # who
    case("/user", [], "wrong_type"),
    case("/user", MARK, "wrong_type"),
    case("/user/email", {}, "wrong_type"),
    case("/user/email", True, "wrong_type"),
    case("/user/email", [{}], "wrong_type", "/user/email/0"),
    case("/user/email", [MARK] * 101, "too_long"),
    case("/user/email", LONG, "too_long"),
    case("/user/client_user_agent", LONG, "too_long"),
    case("/user/client_user_agent", [MARK], "wrong_type"),
    case("/user/phone_country", MARK * 65, "too_long"),
    case("/user/lead_id", {}, "wrong_type"),
    case("/consent", [], "wrong_type"),
    case("/consent", MARK, "wrong_type"),
    case("/consent/jurisdiction", [], "wrong_type"),
    case("/app", [], "wrong_type"),
    case("/app", MARK, "wrong_type"),
    case("/app/os", {}, "wrong_type"),
    case("/app/extinfo", ["i2"] * 17, "too_long"),
    case("/app/advertiser_tracking_enabled", 2, "out_of_range"),
    # what
    case("/custom_data", [], "wrong_type"),
    case("/custom_data/currency", "ZZQ", "unknown_currency"),
    case("/custom_data/currency", "", "unknown_currency"),
    case("/custom_data/currency", {}, "wrong_type"),
    case("/custom_data/value", "-8675309", "out_of_range"),
    case("/custom_data/value", -0.01, "out_of_range"),
    case("/custom_data/value", float("nan"), "not_a_number"),
    case("/custom_data/value", float("inf"), "not_a_number"),
    case("/custom_data/value", "NaN", "not_a_number"),
    case("/custom_data/value", "-Infinity", "not_a_number"),
    case("/custom_data/value", MARK, "malformed"),
    case("/custom_data/value", "8,675,309", "malformed"),
    case("/custom_data/value", {}, "wrong_type"),
    case("/custom_data/value", "1e30", "out_of_range"),
    case("/custom_data/value", "0.86753091", "out_of_range"),
    case("/custom_data/value", 10**40, "out_of_range"),
    case("/custom_data/predicted_ltv", -1, "out_of_range"),
    case("/custom_data/num_items", -1, "out_of_range"),
    case("/custom_data/num_items", 1.5, "malformed"),
    case("/custom_data/num_items", MARK, "malformed"),
    case("/custom_data/num_items", 8675309, "out_of_range"),
    case("/custom_data/num_items", "9" * 5000, "out_of_range"),
    case("/custom_data/order_id", {}, "wrong_type"),
    case("/custom_data/contents", {}, "wrong_type"),
    case("/custom_data/contents", [5], "wrong_type", "/custom_data/contents/0"),
    case("/custom_data/contents", [{}] * 501, "too_long"),
    case("/custom_data/contents", [{}, {"quantity": -1}], "out_of_range", "/custom_data/contents/1/quantity"),
    case("/custom_data/contents", [{"item_price": "x"}], "malformed", "/custom_data/contents/0/item_price"),
    case("/custom_data/properties", [], "wrong_type"),
    case("/custom_data/properties", {f"k{n}": n for n in range(201)}, "too_long"),
    case("/custom_data/properties", {"a": NESTED_8}, "too_deep", "/custom_data/properties/a/0/0/0/0/0"),
    case("/custom_data/properties", {"a": 2**63}, "out_of_range", "/custom_data/properties/a"),
    case("/custom_data/properties", {"a": [2**64 - 1]}, "out_of_range", "/custom_data/properties/a/0"),
    case("/custom_data/properties", {"a": float("nan")}, "not_a_number", "/custom_data/properties/a"),
]


def with_value(where: str, value: Any) -> dict[str, Any]:
    """A good event with `value` at the pointer `where`."""
    event = good("bad", app={})
    holder: Any = event
    *way, last = where.removeprefix("/").split("/")
    for part in way:
        holder = holder[part]
    holder[last] = value
    return event


async def post_between(service: Service, bad: Any) -> Any:
    """The result of a bad event posted between two good ones, which are in the store afterwards."""
    document = {"events": [fresh(), bad, fresh()]}
    answer = await service.post(document)
    assert answer.status_code == 202, answer.text
    before, result, after = answer.json()["results"]
    assert (before["status"], after["status"]) == ("accepted", "accepted")
    assert [each["index"] for each in (before, result, after)] == [0, 1, 2]
    for neighbour in (before, after):
        state = await service.state(neighbour["event_id"])
        assert set(state["destinations"]) == set(DESTINATIONS)
        assert {each["outcome"] for each in state["destinations"].values()} <= {"queued", "retrying"}
    return answer, result


@pytest.mark.parametrize(("where", "value", "code", "found_at"), CASES)
async def test_a_fault_is_told_by_its_place_and_costs_no_neighbour(
    shared: Service, where: str, value: Any, code: str, found_at: str
) -> None:
    bad = with_value(where, value)

    answer, result = await post_between(shared, bad)
    assert (result["status"], result["event_id"], result["destinations"]) == ("invalid", None, {})
    assert (found_at, code) in [(error["pointer"], error["code"]) for error in result["errors"]]
    assert all(error["detail"] for error in result["errors"])
    assert_silent(answer)

    alone = await shared.post(bad)
    assert alone.status_code == 422
    problem = alone.json()
    assert problem["type"] == "urn:convey:problem:invalid_events"
    assert problem["results"][0]["errors"] == result["errors"] == problem["errors"]
    assert_silent(alone)


@pytest.mark.parametrize("event", [f"{MARK} text", 8675309, 1.5, None, True, [MARK], []])
async def test_an_event_that_is_no_object(shared: Service, event: Any) -> None:
    answer, result = await post_between(shared, event)
    assert [(error["pointer"], error["code"]) for error in result["errors"]] == [("", "wrong_type")]
    assert_silent(answer)


LEAVES = sorted(text_leaves(CANARIES), key=str)
FREE = {("consent", name) for name in ("collected_at", "tcf", "ac", "gpp", "us_privacy", "onetrust_groups", "shopify")}
"""Texts of any kind and length: they are judged, never kept."""


async def post_each(service: Service, change: Callable[[Any], Any]) -> list[tuple[Path_, Any]]:
    """For each text of a full event: what became of the event in which only that text was changed."""
    events = []
    for number, path in enumerate(LEAVES):
        event = dict(CANARIES, event_id=f"own-{number}", transaction_id=f"T-{number}", occurrence="1")
        events.append(changed(event, path, change))
    answer = await service.post({"events": [*events, good()]})
    assert answer.status_code == 202, answer.text
    *results, last = answer.json()["results"]
    assert last["status"] == "accepted"
    taken = [result["event_id"] for result in results if result["event_id"]]
    assert_silent(answer, own=taken)
    return list(zip(LEAVES, results, strict=True))


@pytest.mark.parametrize("character", ["\x00", "\ud800", "\udfff"], ids=["NUL", "high surrogate", "low surrogate"])
async def test_a_character_that_no_text_can_hold_is_a_fault_wherever_it_stands(
    service: Service, character: str
) -> None:
    for path, result in await post_each(service, lambda text: text + character):
        assert result["status"] == "invalid", path
        assert [(e["pointer"], e["code"]) for e in result["errors"]] == [(pointer(path), "invalid_characters")]


async def test_ten_thousand_characters_are_refused_in_every_field_that_is_kept(service: Service) -> None:
    for path, result in await post_each(service, lambda text: text + LONG):
        if path[:2] in FREE or "purposes" in path:
            assert result["status"] == "accepted", path
        elif path[:2] == ("custom_data", "properties"):
            assert result["status"] == "accepted", path
            assert any(w["pointer"].startswith("/custom_data/properties/") for w in result["warnings"]), path
        else:
            assert [error["pointer"] for error in result["errors"]] == [pointer(path)], path


async def test_a_list_where_one_text_is_meant_is_a_fault_or_understood(service: Service) -> None:
    for path, result in await post_each(service, lambda text: [[text]]):
        if path[:2] in FREE or "purposes" in path or "properties" in path:
            assert result["status"] == "accepted", path
        else:
            assert result["status"] == "invalid", path
            assert any(error["pointer"].startswith(pointer(path)) for error in result["errors"]), path


async def test_an_identifier_that_is_no_text_never_reaches_the_answer(service: Service) -> None:
    """Values that look wrong cost a warning, and it does not repeat them."""
    for event, told in (
        (PERMITTED, {"/user/gender", "/user/client_ip_address", "/user/country"}),
        ({**CANARIES, "transaction_id": "T-2", "event_id": "own-2"}, {"/consent/tcf", "/consent/gpp", "/consent/ac"}),
    ):
        answer = await service.post({"events": [event]})
        (result,) = answer.json()["results"]
        assert result["status"] == "accepted"
        assert result["event_id"] == event["event_id"]
        assert told <= {warning["pointer"] for warning in result["warnings"]}
        assert_silent(answer, own=[event["event_id"]])


@pytest.mark.parametrize("name", [f"  {MARK} padded  ", f"\t{MARK}"])
async def test_a_padded_custom_name_is_not_repeated(service: Service, name: str) -> None:
    answer = await service.post(good(event_name=name, event_id="own-1"))
    assert answer.status_code == 202
    assert_silent(answer)


@pytest.mark.parametrize("name", [" ", "\t\n"])
async def test_a_name_of_blanks_is_no_name(service: Service, name: str) -> None:
    answer = await service.post(good(event_name=name))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/event_name"


@pytest.mark.parametrize(
    "key", [f"{MARK}@mail.example", "+14155552671", f"{MARK}/{MARK}", f"{MARK}~", MARK * 30, "4155552671"]
)
async def test_a_key_that_may_be_a_value_is_not_shown(shared: Service, key: str) -> None:
    event = good(**{key: 1})
    event["user"][key] = 1
    event["custom_data"]["properties"] = {key: "x", "also": {key: NESTED_8}}
    answer, result = await post_between(shared, event)
    assert result["errors"]
    assert_silent(answer, key)


async def test_unknown_fields_are_dropped_with_a_warning_that_names_them(service: Service) -> None:
    event = good(shiny=f"{MARK} new")
    event["user"]["nick"] = MARK
    event["consent"]["more"] = [MARK]
    event["custom_data"]["extra"] = {"a": MARK}
    event["custom_data"]["contents"][0]["colour"] = MARK
    event["app"] = {"store": MARK}
    answer = await service.post(event)
    (result,) = answer.json()["results"]
    assert result["status"] == "accepted"
    assert [w["pointer"] for w in result["warnings"] if w["code"] == "unknown_field"] == [
        "/shiny",
        "/user/nick",
        "/consent/more",
        "/app/store",
        "/custom_data/extra",
        "/custom_data/contents/0/colour",
    ]
    assert_silent(answer)
    assert MARK.encode() not in service.kept_bytes()


async def test_a_strict_source_refuses_unknown_fields(service: Service) -> None:
    event = good(shiny=f"{MARK} new")
    answer = await service.post(event, headers=bearer(OTHER))
    assert answer.status_code == 422
    assert [(e["pointer"], e["code"]) for e in answer.json()["errors"]] == [("/shiny", "unknown_field")]
    assert_silent(answer)
    assert (await service.post(good(), headers=bearer(OTHER))).status_code == 202


NEIGHBOURS = {
    "NUL": {**good("nul"), "occurrence": "a\x00b"},
    "NaN": {**good("nan"), "event_time": float("nan")},
    "surrogate": {**good("half"), "occurrence": "\ud800"},
}


@pytest.mark.parametrize("neighbour", NEIGHBOURS.values(), ids=NEIGHBOURS.keys())
@pytest.mark.parametrize(
    "odd",
    [
        pytest.param({"shiny": [*NESTED_8, [[NESTED_8]]]}, id="deep unknown field"),
        pytest.param({"shiny": 2**63}, id="unknown 64 bit number"),
        pytest.param({"transaction_id": 2**63}, id="64 bit id"),
    ],
)
async def test_whether_an_event_is_taken_does_not_depend_on_its_neighbour(
    shared: Service, neighbour: Any, odd: Any
) -> None:
    alone = (await shared.post({"events": [fresh(**odd)]})).json()["results"][0]
    beside = (await shared.post({"events": [fresh(**odd), neighbour]})).json()["results"][0]
    assert (beside["status"] == "invalid") == (alone["status"] == "invalid")


async def test_two_long_order_numbers_stay_two_orders(service: Service) -> None:
    """A number beyond 64 bits is refused or kept to its last digit, never rounded into another order."""
    events = [good(transaction_id=123456789012345678901 + number) for number in range(2)]
    answer = await service.post({"events": events})
    results = answer.json()["results"]
    assert all(result["status"] == "invalid" for result in results) or (
        [result["status"] for result in results] == ["accepted", "accepted"]
        and results[0]["event_id"] != results[1]["event_id"]
    )


async def test_duplicate_keys_are_one_event_and_the_last_counts(service: Service) -> None:
    text = json.dumps(good(transaction_id="ORD-twice"))
    body = text.replace('"transaction_id"', f'"transaction_id": "{MARK}", "transaction_id"', 1).encode()
    answer = await service.post(body)
    assert answer.status_code == 202
    assert answer.json()["results"][0]["event_id"] == "purchase_ORD-twice"
    assert_silent(answer)


async def test_422_only_if_every_event_is_invalid(service: Service) -> None:
    bad = good(event_time=MARK)
    answer = await service.post({"events": [bad, bad]})
    assert answer.status_code == 422
    problem = answer.json()
    assert [result["status"] for result in problem["results"]] == ["invalid", "invalid"]
    assert [result["index"] for result in problem["results"]] == [0, 1]
    assert problem["errors"] == []
    assert (await service.post({"events": [bad, good()]})).status_code == 202


def raw_identifiers(event: Any) -> list[bytes]:
    """What of an event's user must not be found in the store in any case."""
    names = ("email", "phone", "first_name", "last_name", "date_of_birth", "city", "zip", "external_id")
    return [str(at(event, ("user", name))).encode() for name in names]


@pytest.mark.parametrize("consent", [True, False])
async def test_the_store_holds_no_raw_identifier(service: Service, consent: bool) -> None:
    event = changed(CANARIES, ("consent", "ad_storage"), lambda _: consent)
    answer = await service.post({"events": [event, good()]})
    assert [result["status"] for result in answer.json()["results"]] == ["accepted", "accepted"]
    kept = service.kept_bytes()
    assert b"purchase_ORD-1" in kept
    for raw in raw_identifiers(CANARIES):
        assert raw not in kept


@pytest.mark.parametrize("raw", [f"{MARK}.jane@mail.example", "+14155552671"])
@pytest.mark.parametrize("consent", [True, False])
async def test_an_email_or_phone_sent_as_lead_id_reaches_neither_store_nor_answer(
    service: Service, raw: str, consent: bool
) -> None:
    event = good(event_name="Lead")
    del event["transaction_id"]
    event["user"]["lead_id"] = raw
    event["consent"]["ad_storage"] = consent
    answer = await service.post(event)
    assert_silent(answer, raw)
    assert raw.encode() not in service.kept_bytes()


@pytest.mark.parametrize("field", ["order_id", "subscription_id"])
async def test_personal_data_as_an_order_or_subscription_id(service: Service, field: str) -> None:
    event = good()
    event["custom_data"][field] = f"{MARK}.jane@mail.example"
    answer, result = await post_between(service, event)
    assert result["status"] == "invalid"
    assert [error["pointer"] for error in result["errors"]] == [f"/custom_data/{field}"]
    assert_silent(answer)


async def test_leak_policy_decides_about_personal_data_elsewhere(service: Service) -> None:
    leaky = f"write to {MARK}.jane@mail.example"
    event = good()
    event["custom_data"]["search_string"] = leaky
    redacted = await service.post(event)
    (result,) = redacted.json()["results"]
    assert result["status"] == "accepted"
    assert "/custom_data/search_string" in [warning["pointer"] for warning in result["warnings"]]
    assert MARK.encode() not in service.kept_bytes()
    refused = await service.post(event, headers=bearer(OTHER))
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/custom_data/search_string"]
    assert_silent(redacted)
    assert_silent(refused)
