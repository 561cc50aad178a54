"""Snapchat: one valid event, every rule broken once, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio

DAY = 86_400
NOW = 1_795_180_000
DROP = "<drop>"
HASH = "a" * 64
VALID = {"status": "VALID", "reason": "Events have been processed successfully."}


def spoil(lab: Any, changes: dict[str, Any]) -> dict[str, Any]:
    event: dict[str, Any] = lab.event("snapchat", {k: lab.dropped if v == DROP else v for k, v in changes.items()})
    return event


async def test_a_valid_event_is_valid(lab: Any) -> None:
    first, second = [await lab.post("snapchat", [lab.event("snapchat")]) for _ in range(2)]
    assert (first.status_code, first.json()) == (200, VALID)
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


ACCEPTED: dict[str, dict[str, Any]] = {
    "a digest that is no list": {"user_data.em": HASH},
    "milliseconds": {"event_time": (NOW - 60) * 1000},
    "just inside 7 days": {"event_time": NOW - 7 * DAY},
    "a shop sale of four weeks ago": {
        "action_source": "OFFLINE",
        "event_time": NOW - 28 * DAY,
        "event_source_url": DROP,
    },
    "an alias for offline": {"action_source": "physical_store", "event_source_url": DROP},
    "value as text": {"custom_data.value": "59.90"},
    "no money but on a purchase": {"event_name": "PAGE_VIEW", "custom_data": DROP},
    "the last custom event": {"event_name": "CUSTOM_EVENT_5"},
    "free fields": {"custom_data.custom_fields": {"coupon": "BF26", "n": 1}},
    "limited use": {"data_processing_options": ["LMU"]},
    "address and agent only": {"user_data": {"client_ip_address": "2001:db8::7", "client_user_agent": "Mozilla/5.0"}},
    "an app event known by its device": {
        "action_source": "MOBILE_APP",
        "event_source_url": DROP,
        "app_data": {"app_id": "123"},
        "user_data": {"madid": "38400000-8cf0-11bd-b23e-10b96e40000d"},
    },
}


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED.keys())
async def test_accepted(lab: Any, changes: dict[str, Any]) -> None:
    reply = await lab.post("snapchat", [spoil(lab, changes)])
    assert (reply.status_code, reply.json()) == (200, VALID)


REFUSED: dict[str, dict[str, Any]] = {
    "no name": {"event_name": DROP},
    "a name in lower case": {"event_name": "purchase"},
    "a name of another platform": {"event_name": "ADD_TO_CART"},
    "no custom event 6": {"event_name": "CUSTOM_EVENT_6"},
    "no time": {"event_time": DROP},
    "time as text": {"event_time": str(NOW)},
    "too old": {"event_time": NOW - 7 * DAY - 1},
    "too old in milliseconds": {"event_time": (NOW - 8 * DAY) * 1000},
    "in the future": {"event_time": NOW + 301},
    "a shop sale too old": {"action_source": "OFFLINE", "event_time": NOW - 28 * DAY - 1},
    "no action source": {"action_source": DROP},
    "Meta's word for the web": {"action_source": "website"},
    "no url on the web": {"event_source_url": DROP},
    "no user data": {"user_data": DROP},
    "ids that do not qualify": {"user_data": {"sc_click_id": "x", "sc_cookie1": "y", "external_id": HASH}},
    "a device id on the web": {"user_data": {"madid": "38400000-8cf0-11bd-b23e-10b96e40000d"}},
    "an address without agent": {"user_data": {"client_ip_address": "203.0.113.7"}},
    "a raw email": {"user_data.em": ["jane@example.com"]},
    "an upper-case digest": {"user_data.ph": [HASH.upper()]},
    "a hashed address": {"user_data.client_ip_address": HASH},
    "a hashed click id": {"user_data.sc_click_id": HASH},
    "a numeric event id": {"event_id": 7},
    "a purchase without value": {"custom_data.value": DROP},
    "a purchase without currency": {"custom_data.currency": DROP},
    "a purchase without custom data": {"custom_data": DROP},
    "a value that is no number": {"custom_data.value": "59,90"},
    "content ids joined": {"custom_data.content_ids": "SKU-7,SKU-8"},
    "free fields that are not flat": {"custom_data.custom_fields": {"a": {"b": 1}}},
    "Meta's word for limited use": {"data_processing_options": ["LDU"]},
    "an app event without app id": {"action_source": "MOBILE_APP", "app_data": {}},
    "a device id in upper case": {
        "action_source": "MOBILE_APP",
        "app_data": {"app_id": "123"},
        "user_data.madid": "38400000-8CF0-11BD-B23E-10B96E40000D",
    },
    "extinfo of another system": {
        "action_source": "MOBILE_APP",
        "app_data": {"app_id": "123", "extinfo": ["w2"] + [""] * 15},
    },
    "guests as text": {"custom_data.num_adults": "2"},
    "a poisoned order": {"custom_data.order_id": "POISON-SNAPCHAT-1"},
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED.keys())
async def test_one_bad_event_refuses_the_whole_batch(lab: Any, changes: dict[str, Any]) -> None:
    reply = await lab.post("snapchat", [lab.event("snapchat"), spoil(lab, changes)])
    body = reply.json()
    assert (reply.status_code, body["status"]) == (400, "INVALID"), reply.text
    assert body["reason"] and body["errors"]["codes"] and body["errors"]["error_msgs"]
    assert "event" not in body
    assert (await lab.get("/_received"))["matched"] == 0


@pytest.mark.parametrize("data", [[], {}, None])
async def test_envelope(lab: Any, data: Any) -> None:
    assert (await lab.post("snapchat", [], data=data)).status_code == 400


async def test_a_batch_holds_two_thousand_events_at_most(lab: Any) -> None:
    events = [lab.event("snapchat")] * 2001
    assert (await lab.post("snapchat", events)).status_code == 400
    assert (await lab.post("snapchat", events[:2000])).status_code == 200


@pytest.mark.parametrize(
    ("params", "headers"), [({}, {}), ({}, {"authorization": "Bearer t"}), ({"access_token": "DEAD"}, {})]
)
async def test_credentials(lab: Any, params: dict[str, str], headers: dict[str, str]) -> None:
    body = lab.root("snapchat", [lab.event("snapchat")])
    reply = await lab.client.post(lab.paths["snapchat"], json=body, params=params, headers=headers)
    assert (reply.status_code, reply.json()["status"]) == (401, "INVALID")


async def test_validate_answers_but_counts_nothing(lab: Any) -> None:
    path = lab.paths["snapchat"] + "/validate"
    good = await lab.post("snapchat", [lab.event("snapchat")], path=path)
    assert (good.status_code, good.json()) == (200, VALID)
    assert (await lab.get("/_received"))["events"][0]["test"] is True
    assert (await lab.counted("snapchat"))["events"] == 0


async def test_validate_lists_every_bad_event_from_one(lab: Any) -> None:
    path = lab.paths["snapchat"] + "/validate"
    bad = spoil(lab, {"custom_data.value": DROP})
    reply = await lab.post("snapchat", [bad, lab.event("snapchat"), bad], path=path)
    assert (reply.status_code, reply.json()["status"]) == (400, "INVALID")
    assert [log["event"] for log in reply.json()["event_logs"]] == [1, 3]
