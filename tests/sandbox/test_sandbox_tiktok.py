"""TikTok: one valid event, every rule broken once, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio

DAY = 86_400
NOW = 1_795_180_000
DROP = "<drop>"
HASH = "a" * 64


def spoil(lab: Any, changes: dict[str, Any]) -> dict[str, Any]:
    event: dict[str, Any] = lab.event("tiktok", {k: lab.dropped if v == DROP else v for k, v in changes.items()})
    return event


async def test_a_valid_event_is_ok_with_a_request_id(lab: Any) -> None:
    first, second = [await lab.post("tiktok", [lab.event("tiktok")]) for _ in range(2)]
    assert first.status_code == 200
    assert {**first.json(), "request_id": ""} == {"code": 0, "message": "OK", "request_id": "", "data": {}}
    assert first.json()["request_id"] == first.headers["x-tt-logid"] != second.json()["request_id"]


ACCEPTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a custom name on the web": ({"event": "Donate"}, {}),
    "no identifiers at all": ({"user": DROP}, {}),
    "no money": ({"properties": DROP}, {}),
    "no event id": ({"event_id": DROP}, {}),
    "just inside 7 days": ({"event_time": NOW - 7 * DAY}, {}),
    "an offline sale of four weeks ago": (
        {"event_time": NOW - 28 * DAY, "page": DROP},
        {"event_source": "offline", "event_source_id": "700100"},
    ),
    "a lead from a crm": ({"page": DROP, "lead": {"lead_id": "7"}}, {"event_source": "crm"}),
    "an app event": ({"page": DROP, "app": {"app_id": "7"}}, {"event_source": "app"}),
    "a partner name": ({}, {"partner_name": "Convey"}),
}


@pytest.mark.parametrize(("changes", "root"), ACCEPTED.values(), ids=ACCEPTED.keys())
async def test_accepted(lab: Any, changes: dict[str, Any], root: dict[str, Any]) -> None:
    reply = await lab.post("tiktok", [spoil(lab, changes)], **root)
    assert reply.json()["code"] == 0, reply.text


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no name": ({"event": DROP}, {}, "event"),
    "no time": ({"event_time": DROP}, {}, "event_time"),
    "time as text": ({"event_time": str(NOW)}, {}, "event_time"),
    "time in milliseconds": ({"event_time": NOW * 1000}, {}, "event_time"),
    "too old": ({"event_time": NOW - 7 * DAY - 1}, {}, "event_time"),
    "in the future": ({"event_time": NOW + 301}, {}, "event_time"),
    "a numeric event id": ({"event_id": 70015}, {}, "event_id"),
    "no page on the web": ({"page": DROP}, {}, "page.url"),
    "a page without scheme": ({"page.url": "shop.example/thanks"}, {}, "page.url"),
    "a raw email": ({"user.email": ["jane@example.com"]}, {}, "user.email"),
    "a raw phone": ({"user.phone": "+12025550147"}, {}, "user.phone"),
    "a raw external_id": ({"user.external_id": ["cust-1"]}, {}, "user.external_id"),
    "a raw first name": ({"user.first_name": "mira"}, {}, "user.first_name"),
    "a hashed city": ({"user.city": HASH}, {}, "user.city"),
    "a hashed click id": ({"user.ttclid": HASH}, {}, "user.ttclid"),
    "an overlong click id": ({"user.ttclid": "E" * 1001}, {}, "user.ttclid"),
    "a hashed address": ({"user.ip": HASH}, {}, "user.ip"),
    "a list of user agents": ({"user.user_agent": ["Mozilla"]}, {}, "user.user_agent"),
    "an unknown att status": ({"user.att_status": "authorized"}, {}, "user.att_status"),
    "value as text": ({"properties.value": "41.50"}, {}, "properties.value"),
    "a numeric content id": ({"properties.contents": [{"content_id": 9}]}, {}, "properties.contents"),
    "an unknown content type": ({"properties.content_type": "sku"}, {}, "properties.content_type"),
    "a share above one": ({"ad": {"attribution_share": 1.5}}, {}, "ad.attribution_share"),
    "a numeric campaign": ({"ad": {"campaign_id": 7}}, {}, "ad.campaign_id"),
    "limited use as a number": ({"limited_data_use": 1}, {}, "limited_data_use"),
    "a custom name offline": (
        {"event": "Donate", "page": DROP},
        {"event_source": "offline"},
        "event",
    ),
    "an offline sale too old": (
        {"event_time": NOW - 28 * DAY - 1, "page": DROP},
        {"event_source": "offline"},
        "event_time",
    ),
    "a lead without its id": ({"page": DROP}, {"event_source": "crm"}, "lead.lead_id"),
    "an app event without its app": ({"page": DROP}, {"event_source": "app"}, "app.app_id"),
    "a poisoned order": ({"properties.order_id": "POISON-TIKTOK-1"}, {}, "properties.order_id"),
}


@pytest.mark.parametrize(("changes", "root", "where"), REFUSED.values(), ids=REFUSED.keys())
async def test_one_bad_event_refuses_the_whole_batch(
    lab: Any, changes: dict[str, Any], root: dict[str, Any], where: str
) -> None:
    good = spoil(lab, {"page": {"url": "https://a.example/"}, "lead": {"lead_id": "7"}, "app": {"app_id": "7"}})
    reply = await lab.post("tiktok", [good, spoil(lab, changes)], **root)
    assert (reply.status_code, reply.json()["code"], reply.json()["data"]) == (200, 40002, {})
    assert reply.json()["message"].startswith(f"Batch.1.{where}:")
    assert (await lab.get("/_received"))["matched"] == 0


async def test_unknown_keys_pass_and_are_reported_to_the_tester(lab: Any) -> None:
    reply = await lab.post("tiktok", [lab.event("tiktok", {"user.ttclidX": "1", "extra": 1})])
    assert reply.json()["code"] == 0
    seen = (await lab.get("/_received"))["events"][0]["unknown_keys"]
    assert sorted(seen) == ["extra", "user.ttclidX"]


@pytest.mark.parametrize(
    ("root", "code"),
    [
        ({"event_source": "website"}, 40002),
        ({"event_source_id": 7}, 40002),
        ({"event_source_id": ""}, 40002),
        ({"data": {}}, 40002),
        ({"data": []}, 40061),
        ({"test_event_code": 1}, 40002),
    ],
)
async def test_envelope(lab: Any, root: dict[str, Any], code: int) -> None:
    reply = await lab.post("tiktok", [lab.event("tiktok")], **root)
    assert (reply.status_code, reply.json()["code"]) == (200, code)


async def test_a_batch_holds_a_thousand_events_at_most(lab: Any) -> None:
    events = [lab.event("tiktok")] * 1001
    assert (await lab.post("tiktok", events)).json()["code"] == 40061
    assert (await lab.post("tiktok", events[:1000])).json()["code"] == 0


@pytest.mark.parametrize(
    ("headers", "code"),
    [({}, 40104), ({"authorization": "Bearer t"}, 40104), ({"access-token": "DEAD"}, 40105)],
)
async def test_credentials_fail_with_http_401(lab: Any, headers: dict[str, str], code: int) -> None:
    body = lab.root("tiktok", [lab.event("tiktok")])
    reply = await lab.client.post(lab.paths["tiktok"], json=body, headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (401, code)


async def test_a_path_without_its_slash_is_unknown(lab: Any) -> None:
    reply = await lab.post("tiktok", [lab.event("tiktok")], path="/open_api/v1.3/event/track")
    assert (reply.status_code, reply.json()["code"]) == (404, 40400)
    assert (await lab.last_request("tiktok"))["unexpected"] is True


async def test_a_test_event_is_seen_and_not_counted(lab: Any) -> None:
    await lab.post("tiktok", [lab.event("tiktok")], test_event_code="TEST1")
    assert (await lab.get("/_received"))["events"][0]["test"] is True
    assert (await lab.counted("tiktok"))["events"] == 0
