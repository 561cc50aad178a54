from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.api.support import BEACON, OTHER, POSTER, WEB, Service, bearer

pytestmark = pytest.mark.anyio
ALLOWED = {"ad_storage": True, "ad_user_data": True, "ad_personalization": True}


def purchase(number: str, value: str = "129.90", **more: object) -> dict[str, object]:
    return {
        "event_name": "Purchase",
        "event_time": "2026-11-20T11:59:00Z",
        "transaction_id": number,
        "action_source": "website",
        "event_source_url": "https://shop.example/thanks",
        "user": {"email": "jane@example.com", "client_ip_address": "203.0.113.9", "client_user_agent": "Mozilla/5.0"},
        "consent": ALLOWED,
        "custom_data": {"currency": "EUR", "value": value},
        **more,
    }


async def look_up(service: Service, *numbers: str, **options: Any) -> Any:
    reply = await service.client.post("/v1/events/lookup", json={"transaction_ids": list(numbers)}, **options)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_each_order_is_told_in_order_with_its_money(service: Service) -> None:
    denied = purchase("ORD-2", consent={**ALLOWED, "ad_user_data": False})
    assert (await service.post({"events": [purchase("ORD-1"), denied]})).status_code == 202
    told = await look_up(service, "ORD-2", "ORD-0", "ORD-1")
    assert [each["index"] for each in told["results"]] == [0, 1, 2]
    assert told["destinations"] == ["meta", "tiktok", "pinterest", "snapchat"]
    two, none, one = (each["events"] for each in told["results"])
    assert none == []
    assert two[0]["destinations"]["meta"] == {
        "outcome": "denied",
        "reason": "consent_purpose_missing",
        "reason_detail": two[0]["destinations"]["meta"]["reason_detail"],
        "held_until": None,
        "money": None,
        "browser": None,
        "rejected_after_acceptance": None,
    }
    assert one[0]["event_name"] == "Purchase"
    money = one[0]["destinations"]["tiktok"]["money"]
    assert (money["currency"], Decimal(money["value"])) == ("EUR", Decimal("129.90"))
    assert told["journal_since"] < told["now"]


async def test_a_held_order_is_told_as_held(service: Service) -> None:
    await service.post({"events": [purchase("ORD-1", hold=True), purchase("ORD-2")]})
    told = await look_up(service, "ORD-1", "ORD-2")
    held, going = (each["events"][0]["destinations"]["meta"] for each in told["results"])
    assert held["held_until"] is not None and going["held_until"] is None
    page = await service.client.get("/v1/transactions", params={"since": "1790000000", "before": "1800000000"})
    listed = page.json()["events"]
    told_of = {each["transaction_id"]: each["destinations"]["meta"]["held_until"] for each in listed}
    assert told_of == {"ORD-1": held["held_until"], "ORD-2": None}


async def test_no_answer_repeats_an_id_that_was_asked_for(service: Service) -> None:
    await service.post(purchase("ORD-77001"))
    reply = await service.client.post("/v1/events/lookup", json={"transaction_ids": ["ORD-77001", "ORD-77002"]})
    assert b"7700" not in reply.content


async def test_a_key_sees_its_own_source_only(service: Service) -> None:
    await service.post(purchase("ORD-1"))
    told = await look_up(service, "ORD-1", headers=bearer(OTHER))
    assert told["results"] == [{"index": 0, "events": []}]
    listed = await service.client.get("/v1/transactions?since=2026-11-01T00:00:00Z", headers=bearer(OTHER))
    assert listed.json() == {"events": [], "next": None}


async def test_the_pixel_s_reports_are_told_where_the_source_takes_them(service: Service) -> None:
    await service.post(purchase("ORD-1"), headers={**bearer(WEB), "content-type": "application/json"})
    receipt = {"event_id": "web_purchase_ORD-1", "event_name": "Purchase", "platform": "meta"}
    reported = await service.client.post(
        "/v1/browser-receipts",
        json={"receipts": [receipt]},
        headers={**bearer(BEACON), "origin": "https://shop.example"},
    )
    assert reported.status_code == 202, reported.text
    told = await look_up(service, "ORD-1", headers=bearer(WEB))
    (event,) = told["results"][0]["events"]
    assert {name: each["browser"] for name, each in event["destinations"].items()} == {
        "meta": True,
        "tiktok": False,
        "pinterest": False,
        "snapchat": False,
    }


async def test_what_was_accepted_in_a_time_is_listed(service: Service) -> None:
    start = service.clock.now()
    await service.post({"events": [purchase(f"ORD-{number}") for number in range(3)]})
    service.clock.advance(timedelta(hours=1))
    await service.post(purchase("ORD-9"))
    params = {"since": start.isoformat(), "before": (start + timedelta(minutes=30)).isoformat()}
    told = (await service.client.get("/v1/transactions", params=params)).json()
    assert sorted(each["transaction_id"] for each in told["events"]) == ["ORD-0", "ORD-1", "ORD-2"]
    assert told["next"] is None
    told = (await service.client.get("/v1/transactions", params={"since": start.isoformat()})).json()
    assert len(told["events"]) == 3  # now itself is not meant


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'{"transaction_ids": []}', 400),
        (json.dumps({"transaction_ids": ["x"] * 1001}).encode(), 400),
        (b'{"transaction_ids": ["ORD-1", 7]}', 400),
        (b'{"transaction_ids": [""]}', 400),
    ],
)
async def test_what_cannot_be_asked(shared: Service, body: bytes, status: int) -> None:
    reply = await shared.client.post("/v1/events/lookup", content=body)
    assert reply.status_code == status
    assert b"ORD-1" not in reply.content


async def test_reading_needs_its_scope_and_instants(shared: Service) -> None:
    body = {"transaction_ids": ["ORD-1"]}
    assert (await shared.client.post("/v1/events/lookup", json=body, headers=bearer(POSTER))).status_code == 403
    assert (await shared.client.get("/v1/transactions?since=1", headers=bearer(POSTER))).status_code == 403
    for query in ("since=soon", "since=1&before=never", "since=1790000000&cursor=nowhere", ""):
        reply = await shared.client.get(f"/v1/transactions?{query}")
        assert reply.status_code in {400, 422}, query
        assert b"nowhere" not in reply.content and b"soon" not in reply.content
