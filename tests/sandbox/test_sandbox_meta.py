"""Meta: one valid event, every rule broken once, and what comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.anyio

DAY = 86_400
NOW = 1_795_180_000
DROP = "<drop>"
HASH = "a" * 64


def spoil(lab: Any, changes: dict[str, Any]) -> dict[str, Any]:
    event: dict[str, Any] = lab.event("meta", {k: lab.dropped if v == DROP else v for k, v in changes.items()})
    return event


async def test_a_valid_event_is_received_with_a_trace_id(lab: Any) -> None:
    first = await lab.post("meta", [lab.event("meta")])
    second = await lab.post("meta", [lab.event("meta", {"event_id": "purchase_70016"})])
    assert first.status_code == 200
    assert first.json()["events_received"] == 1
    assert first.json()["messages"] == []
    assert first.json()["fbtrace_id"] != second.json()["fbtrace_id"]


ACCEPTED = {
    "another version": {},
    "a plain string for a list": {"user_data.em": HASH},
    "an unhashed external_id": {"user_data.external_id": "cust-991"},
    "an unknown custom_data key": {"custom_data.my_key": {"a": [1]}},
    "no event id": {"event_id": DROP},
    "a custom event name without money": {"event_name": "Refund", "custom_data": DROP},
    "just inside 7 days": {"event_time": NOW - 7 * DAY},
    "a shop sale of two months ago": {"action_source": "physical_store", "event_time": NOW - 62 * DAY},
    "limited data use, located": {
        "data_processing_options": ["LDU"],
        "data_processing_options_country": 1,
        "data_processing_options_state": 1000,
    },
    "an app event": {
        "action_source": "app",
        "app_data": {
            "advertiser_tracking_enabled": 1,
            "application_tracking_enabled": 1,
            "extinfo": ["a2"] + [""] * 15,
        },
    },
    "a messaging event": {
        "action_source": "business_messaging",
        "messaging_channel": "whatsapp",
        "user_data.ctwa_clid": "ARAkLk",
    },
    "a stage of a lead in the CRM": {
        "event_name": "Qualified",
        "action_source": "system_generated",
        "custom_data": {"event_source": "crm", "lead_event_source": "HubSpot"},
    },
    "a signal tied to its origin": {"original_event_data": {"event_name": "Purchase", "event_time": NOW - 60}},
    "an email identifier without user agent elsewhere": {
        "action_source": "phone_call",
        "user_data": {"em": [HASH]},
        "event_source_url": DROP,
    },
}


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED.keys())
async def test_accepted(lab: Any, changes: dict[str, Any]) -> None:
    reply = await lab.post("meta", [spoil(lab, changes)], path="/v27.0/99/events")
    assert reply.status_code == 200, reply.text


REFUSED: dict[str, tuple[dict[str, Any], int | None]] = {
    "no name": ({"event_name": DROP}, 2804019),
    "no time": ({"event_time": DROP}, 2804019),
    "no user data": ({"user_data": DROP}, 2804019),
    "no action source": ({"action_source": DROP}, 2804019),
    "an unknown event key": ({"eventid": "1"}, None),
    "time as text": ({"event_time": str(NOW)}, None),
    "time as a boolean": ({"event_time": True}, None),
    "time in milliseconds": ({"event_time": NOW * 1000}, 2804004),
    "a second too old": ({"event_time": NOW - 7 * DAY - 1}, 2804003),
    "a shop sale too old": ({"action_source": "physical_store", "event_time": NOW - 62 * DAY - 1}, 2804003),
    "in the future": ({"event_time": NOW + 11}, 2804004),
    "an unknown action source": ({"action_source": "web"}, None),
    "a numeric event id": ({"event_id": 70015}, None),
    "no url on a website": ({"event_source_url": DROP}, 2804019),
    "no user agent on a website": ({"user_data.client_user_agent": DROP}, 2804019),
    "a raw email": ({"user_data.em": ["jane@example.com"]}, None),
    "an upper-case digest": ({"user_data.em": [HASH.upper()]}, None),
    "an empty list of digests": ({"user_data.em": []}, None),
    "a hashed address": ({"user_data.client_ip_address": HASH}, None),
    "a hashed user agent": ({"user_data.client_user_agent": HASH}, None),
    "an address that is none": ({"user_data.client_ip_address": "203.0.113.700"}, None),
    "a numeric external_id": ({"user_data.external_id": 991}, None),
    "a malformed click id": ({"user_data.fbc": "IwY2Sample"}, 2804001),
    "a click id in seconds": ({"user_data.fbc": "fb.1.1795132650.IwY2"}, 2804001),
    "a malformed browser id": ({"user_data.fbp": HASH}, None),
    "a short lead id": ({"user_data.lead_id": 123}, 2804036),
    "no customer data": ({"user_data": {}}, 2804050),
    "too weak: place and gender": (
        {"action_source": "other", "user_data": {"ct": HASH, "country": HASH, "ge": HASH}},
        2804050,
    ),
    "too weak: birthday and agent": (
        {"action_source": "other", "user_data": {"db": HASH, "client_user_agent": "Mozilla/5.0"}},
        2804050,
    ),
    "too weak: last name and gender": (
        {"action_source": "other", "user_data": {"ln": HASH, "ge": HASH}},
        2804050,
    ),
    "a purchase without value": ({"custom_data.value": DROP}, 2804009),
    "a purchase without currency": ({"custom_data.currency": DROP}, 2804008),
    "a purchase without custom data": ({"custom_data": DROP}, 2804009),
    "value as text": ({"custom_data.value": "42.50"}, 2804009),
    "a currency of four letters": ({"custom_data.currency": "EURO"}, 2804008),
    "content ids as text": ({"custom_data.content_ids": "SKU-1"}, 2804016),
    "a quantity as text": ({"custom_data.contents": [{"id": "S", "quantity": "2"}]}, 2804016),
    "limited data use without country": ({"data_processing_options": ["LDU"]}, 2804019),
    "an unknown processing option": ({"data_processing_options": ["LMU"]}, None),
    "limited data use that cannot be located": (
        {
            "data_processing_options": ["LDU"],
            "data_processing_options_country": 1,
            "data_processing_options_state": 0,
            "user_data.client_ip_address": DROP,
        },
        2804019,
    ),
    "an app event without app data": ({"action_source": "app"}, 2804019),
    "an app event with short extinfo": (
        {
            "action_source": "app",
            "app_data": {
                "advertiser_tracking_enabled": 1,
                "application_tracking_enabled": 1,
                "extinfo": ["a2"],
            },
        },
        2804043,
    ),
    "a messaging event of the wrong name": (
        {"action_source": "business_messaging", "messaging_channel": "whatsapp", "event_name": "Search"},
        2804066,
    ),
    "a WhatsApp event without click id": (
        {"action_source": "business_messaging", "messaging_channel": "whatsapp"},
        2804087,
    ),
    "a Messenger event without page": (
        {
            "action_source": "business_messaging",
            "messaging_channel": "messenger",
            "user_data.page_scoped_user_id": "7",
        },
        2804069,
    ),
    "an Instagram event without sender": (
        {"action_source": "business_messaging", "messaging_channel": "instagram", "user_data.ig_account_id": "7"},
        2804079,
    ),
    "an unknown event source": ({"custom_data.event_source": "web"}, 2804016),
    "an origin in text": ({"original_event_data": {"event_time": "1"}}, None),
    "an app event whose schemes are one text": (
        {
            "action_source": "app",
            "app_data": {
                "advertiser_tracking_enabled": 1,
                "application_tracking_enabled": 1,
                "extinfo": ["a2"] + [""] * 15,
                "url_schemes": "shop",
            },
        },
        None,
    ),
    "a poisoned order": ({"custom_data.order_id": "POISON-META-1"}, 2804007),
    "a poisoned order without a number": ({"event_id": "purchase_POISON-META-1"}, 2804007),
}


@pytest.mark.parametrize(("changes", "subcode"), REFUSED.values(), ids=REFUSED.keys())
async def test_one_bad_event_refuses_the_whole_batch(lab: Any, changes: dict[str, Any], subcode: int | None) -> None:
    batch = [lab.event("meta"), spoil(lab, changes), lab.event("meta", {"event_id": "third"})]
    reply = await lab.post("meta", batch)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error.get("error_subcode")) == (400, 100, subcode)
    assert error["fbtrace_id"]
    assert "data'][1]" not in reply.text
    assert (await lab.get("/_received"))["matched"] == 0
    assert (await lab.counted("meta"))["events"] == 0


@pytest.mark.parametrize(
    ("root", "status"),
    [
        ({"data": []}, 400),
        ({"data": {}}, 400),
        ({"test_event_code": 7}, 400),
        ({"partner_agent": "a-name-of-more-than-22-chars"}, 400),
        ({"partner_agent": "convey"}, 200),
        ({"upload_tag": "shop"}, 200),
    ],
)
async def test_envelope(lab: Any, root: dict[str, Any], status: int) -> None:
    reply = await lab.post("meta", [lab.event("meta")], **root)
    assert reply.status_code == status


async def test_a_batch_holds_a_thousand_events_at_most(lab: Any) -> None:
    events = [lab.event("meta", {"event_id": f"e{n}"}) for n in range(1001)]
    assert (await lab.post("meta", events)).status_code == 400
    assert (await lab.post("meta", events[:1000])).json()["events_received"] == 1000


async def test_credentials(lab: Any) -> None:
    body = lab.root("meta", [lab.event("meta")])
    path = lab.paths["meta"]
    none = await lab.client.post(path, json=body)
    assert (none.status_code, none.json()["error"]["code"]) == (400, 104)
    dead = await lab.client.post(path, json=body, headers={"authorization": "Bearer DEAD-1"})
    assert (dead.status_code, dead.json()["error"]["code"]) == (401, 190)
    assert (await lab.client.post(path, json=body, params={"access_token": "t"})).status_code == 200
    assert (await lab.client.post(path, json={**body, "access_token": "t"})).status_code == 200


async def test_a_form_with_data_as_text_is_read(lab: Any) -> None:
    form = {"access_token": "t", "data": json.dumps([lab.event("meta")])}
    reply = await lab.client.post(lab.paths["meta"], data=form)
    assert reply.json()["events_received"] == 1


async def test_a_test_event_counts_but_is_kept_apart(lab: Any) -> None:
    await lab.pixel("meta", event_name="Purchase", event_id="purchase_70015", value=42.5, currency="EUR")
    await lab.post("meta", [lab.event("meta")], test_event_code="TEST1")
    counted = await lab.counted("meta")
    assert counted["events"] == 2
    assert [row["test"] for row in counted["conversions"]] == [False, True]
    assert (await lab.get("/_received"))["events"][0]["test"] is True
