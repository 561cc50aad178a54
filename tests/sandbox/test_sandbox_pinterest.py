"""Pinterest: one valid event, breaches of the schema, failures of single events, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio

DAY = 86_400
NOW = 1_795_180_000
DROP = "<drop>"
HASH = "a" * 64


def spoil(lab: Any, changes: dict[str, Any]) -> dict[str, Any]:
    event: dict[str, Any] = lab.event("pinterest", {k: lab.dropped if v == DROP else v for k, v in changes.items()})
    return event


async def test_a_valid_event_is_processed(lab: Any) -> None:
    reply = await lab.post("pinterest", [lab.event("pinterest")])
    assert reply.status_code == 200
    assert reply.json() == {
        "num_events_received": 1,
        "num_events_processed": 1,
        "events": [{"status": "processed", "error_message": "", "warning_message": ""}],
    }
    again = await lab.post("pinterest", [lab.event("pinterest")])
    assert reply.headers["x-pinterest-rid"] != again.headers["x-pinterest-rid"]


PROCESSED: dict[str, tuple[dict[str, Any], str]] = {
    "no click id": ({"user_data.click_id": DROP}, "click_id is missing"),
    "no external id": ({"user_data.external_id": DROP}, "external_id is missing"),
    "an unknown name": ({"event_name": "purchase"}, "event_name is not recognized"),
    "null where it may be": ({"custom_data.value": None, "partner_name": None}, ""),
    "no custom data": ({"custom_data": DROP}, ""),
    "just inside 7 days": ({"event_time": NOW - 7 * DAY}, ""),
    "an unknown user key": ({"user_data.future_key": "1"}, ""),
    "address and agent only": (
        {"user_data": {"client_ip_address": "2001:db8::7", "client_user_agent": "Mozilla/5.0"}},
        "external_id is missing",
    ),
}


@pytest.mark.parametrize(("changes", "warning"), PROCESSED.values(), ids=PROCESSED.keys())
async def test_processed(lab: Any, changes: dict[str, Any], warning: str) -> None:
    reply = await lab.post("pinterest", [spoil(lab, changes)])
    assert reply.status_code == 200, reply.text
    assert reply.json()["events"][0] == {
        "status": "processed",
        "error_message": "",
        "warning_message": warning,
    }


BREACHES: dict[str, dict[str, Any]] = {
    "no event id": {"event_id": DROP},
    "a numeric event id": {"event_id": 7},
    "no name": {"event_name": DROP},
    "no user data": {"user_data": DROP},
    "no time": {"event_time": DROP},
    "time as text": {"event_time": str(NOW)},
    "Meta's word for the web": {"action_source": "website"},
    "an unknown event key": {"category_name": "Shoes"},
    "an unknown custom key": {"custom_data.category_name": "Shoes"},
    "an unknown item key": {"custom_data.contents": [{"id": "1", "name": "Mug"}]},
    "an unknown app key": {"app_info": {"name": "x"}},
    "value as a number": {"custom_data.value": 41.5},
    "an item price as a number": {"custom_data.contents": [{"id": "1", "item_price": 20.75}]},
    "null where it may not be": {"custom_data.num_items": None},
    "null for the opt-out": {"opt_out": None},
    "a scalar email": {"user_data.em": HASH},
    "a click id in a list": {"user_data.click_id": ["dj0"]},
    "ids that do not qualify": {"user_data": {"ph": [HASH], "external_id": [HASH], "click_id": "dj0"}},
    "an address without agent": {"user_data": {"client_ip_address": "203.0.113.7"}},
    "an unknown form factor": {"device_info": {"form_factor": "phone"}},
}


@pytest.mark.parametrize("changes", BREACHES.values(), ids=BREACHES.keys())
async def test_a_breach_of_the_schema_refuses_the_whole_batch(lab: Any, changes: dict[str, Any]) -> None:
    reply = await lab.post("pinterest", [lab.event("pinterest"), spoil(lab, changes)])
    assert (reply.status_code, reply.json()["code"]) == (400, 1), reply.text
    assert "[1]" not in reply.text
    assert (await lab.get("/_received"))["matched"] == 0


FAILURES: dict[str, dict[str, Any]] = {
    "too old": {"event_time": NOW - 7 * DAY - 1},
    "in the future": {"event_time": NOW + 301},
    "in milliseconds": {"event_time": NOW * 1000},
    "a raw email": {"user_data.em": ["jane@example.com"]},
    "an empty digest": {"user_data.external_id": [""]},
    "a hashed address": {"user_data.client_ip_address": HASH},
    "a hashed user agent": {"user_data.client_user_agent": HASH},
    "a hashed click id": {"user_data.click_id": HASH},
    "a value with separators": {"custom_data.value": "1,041.50"},
    "a currency that is none": {"custom_data.currency": "$"},
    "a poisoned order": {"custom_data.order_id": "POISON-PINTEREST-1"},
}


@pytest.mark.parametrize("changes", FAILURES.values(), ids=FAILURES.keys())
async def test_a_failed_event_does_not_fail_its_neighbours(lab: Any, changes: dict[str, Any]) -> None:
    batch = [
        lab.event("pinterest", {"event_id": "a"}),
        spoil(lab, {"event_id": "b", **changes}),
        lab.event("pinterest", {"event_id": "c"}),
    ]
    reply = await lab.post("pinterest", batch)
    assert reply.status_code == 200
    body = reply.json()
    assert (body["num_events_received"], body["num_events_processed"]) == (3, 2)
    assert [event["status"] for event in body["events"]] == ["processed", "failed", "processed"]
    assert body["events"][1]["error_message"]
    assert [event["event_id"] for event in (await lab.get("/_received"))["events"]] == ["a", "c"]
    assert (await lab.counted("pinterest"))["events"] == 2


@pytest.mark.parametrize("root", [{"data": []}, {"data": {}}, {"test_event_code": "T1"}])
async def test_envelope(lab: Any, root: dict[str, Any]) -> None:
    assert (await lab.post("pinterest", [lab.event("pinterest")], **root)).status_code == 400


async def test_a_batch_holds_a_thousand_events_at_most(lab: Any) -> None:
    events = [lab.event("pinterest")] * 1001
    assert (await lab.post("pinterest", events)).status_code == 400
    assert (await lab.post("pinterest", events[:1000])).json()["num_events_processed"] == 1000


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer DEAD"}, {"authorization": "Basic t"}, {"access-token": "t"}]
)
async def test_credentials(lab: Any, headers: dict[str, str]) -> None:
    body = lab.root("pinterest", [lab.event("pinterest")])
    reply = await lab.client.post(lab.paths["pinterest"], json=body, headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (401, 2)


@pytest.mark.parametrize("account", ["abc", "1" * 19])
async def test_an_account_is_a_number_of_18_digits_at_most(lab: Any, account: str) -> None:
    path = f"/v5/ad_accounts/{account}/events"
    reply = await lab.post("pinterest", [lab.event("pinterest")], path=path)
    assert reply.status_code == 404
    assert (await lab.last_request("pinterest"))["unexpected"] is True


async def test_test_events_are_answered_and_not_counted_and_only_twenty_are_seen(lab: Any) -> None:
    events = [lab.event("pinterest", {"event_id": f"e{n}"}) for n in range(25)]
    reply = await lab.post("pinterest", events, params={"test": "true"})
    assert reply.json()["num_events_processed"] == 25
    received = await lab.get("/_received")
    assert received["matched"] == 20
    assert all(event["test"] for event in received["events"])
    assert (await lab.counted("pinterest"))["events"] == 0
