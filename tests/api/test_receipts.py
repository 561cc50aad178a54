"""Browser receipts over HTTP, and the audit that compares both copies."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.auditing import Auditor, platforms_of
from app.dedup.pairs import SERVER, Sighting, encode_sighting
from app.dedup.port import SideReport
from tests.api.support import ADMIN, BEACON, KEY, WEB, Service, assert_silent, bearer, good

pytestmark = pytest.mark.anyio

ORIGIN = {"origin": "https://shop.example"}


def receipt(number: str, platform: str = "meta", name: str = "Purchase", **over: Any) -> dict[str, Any]:
    """What a page's pixel reports of one order."""
    return {"event_id": f"web_purchase_ORD-{number}", "event_name": name, "platform": platform, **over}


async def report(service: Service, *receipts: Any, **options: Any) -> httpx.Response:
    """The answer to a page that reports as `navigator.sendBeacon` does: text, and the key in the body."""
    body = json.dumps({"key": options.pop("key", BEACON), "receipts": list(receipts)})
    headers = {"content-type": "text/plain;charset=UTF-8", "authorization": "", **ORIGIN, **options}
    return await service.client.post("/v1/browser-receipts", content=body, headers=headers)


async def post(service: Service, number: str, **over: Any) -> dict[str, Any]:
    """What became of an order posted by the source that takes receipts."""
    answer = await service.client.post("/v1/events", json=good(number, **over), headers=bearer(WEB))
    assert answer.status_code == 202, answer.text
    result: dict[str, Any] = answer.json()["results"][0]
    return result


async def audited(service: Service, after: timedelta = timedelta(hours=1), query: str = "") -> dict[str, Any]:
    """The audit, once everything reported so far is due."""
    service.clock.advance(after)
    runtime = service.runtime
    await Auditor(runtime.store.pairs, platforms_of(runtime.policies), runtime.metrics).turn()
    answer = await service.client.get(f"/v1/audit/dedup{query}", headers=bearer(WEB))
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def verdict(told: dict[str, Any], destination: str) -> dict[str, int]:
    """The verdicts at one destination that are not zero."""
    (row,) = [row for row in told["rows"] if row["destination"] == destination]
    return {name: number for name, number in row["verdicts"].items() if number}


async def test_both_copies_are_paired_whichever_comes_first(service: Service) -> None:
    await post(service, "RCP-1")
    answer = await report(service, receipt("RCP-1"), receipt("RCP-1", "tiktok"), receipt("RCP-2"))
    assert answer.status_code == 202
    assert answer.json() == {"results": [{"index": index, "errors": []} for index in range(3)]}
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    await post(service, "RCP-2")
    told = await audited(service)
    assert verdict(told, "meta") == {"paired": 2}
    assert verdict(told, "tiktok") == {"paired": 1, "server_only": 1}
    assert verdict(told, "pinterest") == {"server_only": 2}
    assert told["rows"][0]["source"] == "web"


async def test_nothing_is_judged_before_its_time(service: Service) -> None:
    await post(service, "RCP-3")
    assert (await audited(service, timedelta(minutes=59)))["rows"] == []


async def test_a_backend_that_posts_late_is_found_out_and_put_right(service: Service) -> None:
    await report(service, receipt("RCP-4"))
    assert verdict(await audited(service), "meta") == {"browser_only": 1}
    await post(service, "RCP-4", event_time=service.clock.now().timestamp())
    told = await audited(service, timedelta(0))
    assert verdict(told, "meta") == {"paired": 1}
    (row,) = [row for row in told["rows"] if row["destination"] == "meta"]
    assert row["delays"] == {"1h": 1}


async def test_an_order_that_was_held_and_cancelled_is_no_copy(service: Service) -> None:
    for number in ("RCP-20", "RCP-21"):
        await post(service, number, hold=True)
    await report(service, receipt("RCP-20"))
    assert verdict(await audited(service), "meta") == {"paired": 1, "server_only": 1}
    for number in ("RCP-20", "RCP-21", "RCP-21"):
        path = f"/v1/events/web_purchase_ORD-{number}/cancel"
        assert (await service.client.post(path, headers=bearer(WEB))).status_code == 200
    assert verdict(await audited(service), "meta") == {"browser_only": 1}
    answer = await service.client.get("/v1/events/web_purchase_ORD-RCP-20", headers=bearer(WEB))
    assert [each["platform"] for each in answer.json()["receipts"]] == ["meta"]


async def test_other_names_and_other_values(service: Service) -> None:
    for number in ("RCP-5", "RCP-6"):
        await post(service, number)
    await report(service, receipt("RCP-5", "tiktok", "CompletePayment"))
    await report(service, receipt("RCP-6", "tiktok", currency="USD", value="99.99"))
    told = await audited(service)
    assert verdict(told, "tiktok") == {"name_mismatch": 1, "value_mismatch": 1}
    (row,) = [row for row in told["rows"] if row["destination"] == "tiktok"]
    assert row["pixel_names"] == {"CompletePayment": 1}
    assert "the pixel says CompletePayment" in row["words"]


async def test_conflicts_are_listed(service: Service) -> None:
    await post(service, "RCP-7")
    assert (await post(service, "RCP-8", event_id="web_purchase_ORD-RCP-7"))["status"] == "conflict"
    assert (await post(service, "RCP-7", event_id="something-else"))["status"] == "conflict"
    told = await audited(service)
    assert told["conflicts"] == [{"source": "web", "event_name": "Purchase", "id_reused": 1, "order_has_another_id": 1}]


async def test_a_pair_that_cannot_be_read_stops_no_other(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    await post(service, "RCP-30")
    runtime = service.runtime
    now = service.clock.now()
    spoilt = [
        SideReport("web", f"spoilt-{number}", SERVER, body) for number, body in enumerate((b"\xc1", b"\xa1\xff", b""))
    ]
    nameless = SideReport("web", "nameless", "meta", encode_sighting(Sighting(at=now, names={})))
    await runtime.store.pairs.report([*spoilt, nameless], now, now + timedelta(days=2))
    assert verdict(await audited(service), "meta") == {"server_only": 1}
    assert verdict(await audited(service), "meta") == {"server_only": 1}
    told = [record for record in caplog.records if record.getMessage() == "pair.unreadable"]
    assert len(told) == 4


async def test_a_denied_copy_leaves_the_pixel_alone(service: Service) -> None:
    await post(service, "RCP-9", consent={})
    await report(service, receipt("RCP-9"))
    assert verdict(await audited(service), "meta") == {"browser_only": 1}


async def test_a_source_s_audit_is_its_own(service: Service) -> None:
    await post(service, "RCP-10")
    await audited(service)
    assert (await service.client.get("/v1/audit/dedup")).json()["rows"] == []
    assert (await service.client.get("/v1/audit/dedup?source=web")).status_code == 403
    admin = await service.client.get("/v1/audit/dedup?source=web", headers=bearer(ADMIN))
    assert [row["source"] for row in admin.json()["rows"]] == ["web"] * 4
    assert (await service.client.get("/v1/audit/dedup?days=0")).status_code == 400


@pytest.mark.parametrize(
    ("item", "pointer", "code"),
    [
        ({"event_id": "jane.doe@shop-customer.example"}, "/event_id", "personal_data"),
        ({"event_name": "jane.doe@shop-customer.example"}, "/event_name", "personal_data"),
        ({"platform": "bing"}, "/platform", "unknown_platform"),
        ({"currency": "QQQ"}, "/currency", "unknown_currency"),
        ({"fired_at": "yesterday"}, "/fired_at", "out_of_range"),
        ({"fired_at": 1}, "/fired_at", "out_of_range"),
        ({"value": -1}, "/value", "out_of_range"),
        ({"email": "jane.doe@shop-customer.example"}, "/email", "unknown_field"),
        ({"event_id": ""}, "/event_id", "too_short"),
    ],
)
async def test_what_is_wrong_with_one_costs_no_other(
    service: Service, item: dict[str, Any], pointer: str, code: str
) -> None:
    answer = await report(service, receipt("RCP-11"), {**receipt("RCP-12"), **item}, 7)
    assert answer.status_code == 202
    good_one, bad_one, no_object = answer.json()["results"]
    assert good_one["errors"] == []
    assert [(error["pointer"], error["code"]) for error in bad_one["errors"]] == [(pointer, code)]
    assert no_object["errors"][0]["code"] == "wrong_type"
    assert_silent(answer, "jane", "QQQ", "yesterday")


async def test_the_key_and_the_origin(service: Service) -> None:
    assert (await report(service, receipt("RCP-13"), key="ck_unknown")).status_code == 401
    assert (await report(service, receipt("RCP-13"), key=None)).status_code == 401
    assert (await report(service, receipt("RCP-13"), key=WEB)).status_code == 403  # no scope
    assert (await report(service, receipt("RCP-13"), origin="https://evil.example")).status_code == 403
    header = {"authorization": f"Bearer {BEACON}"}
    assert (await report(service, receipt("RCP-13"), key=None, **header)).status_code == 202
    refused = await service.client.get("/v1/ledger", headers=bearer(BEACON))
    assert refused.status_code == 403
    assert (await service.client.post("/v1/events", json=good(), headers=bearer(BEACON))).status_code == 403
    elsewhere = await service.client.post(
        "/v1/browser-receipts", json={"receipts": [receipt("RCP-13")]}, headers=bearer(KEY)
    )
    assert elsewhere.status_code == 403


async def test_a_page_may_ask_before(service: Service) -> None:
    allowed = await service.client.options("/v1/browser-receipts", headers=ORIGIN)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (204, "https://shop.example")
    assert allowed.headers["access-control-allow-credentials"] == "true"
    refused = await service.client.options("/v1/browser-receipts", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in refused.headers


async def test_a_flood_is_held_back(service: Service) -> None:
    many = [receipt(f"FLOOD-{number}") for number in range(50)]
    statuses = [(await report(service, *many)).status_code for _ in range(8)]
    assert statuses[:6] == [202] * 6
    assert statuses[6:] == [429] * 2


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"nonsense", 400), (b"[]", 400), (b'{"receipts": []}', 400), (b'{"receipts": [' + b"1," * 40_000, 413)],
)
async def test_what_cannot_be_read(service: Service, body: bytes, status: int) -> None:
    answer = await service.client.post("/v1/browser-receipts", content=body, headers=bearer(BEACON))
    assert answer.status_code == status


async def test_the_event_s_status_has_receipts_and_conflicts(service: Service) -> None:
    await post(service, "RCP-20")
    await report(service, receipt("RCP-20"), receipt("RCP-20", "tiktok", "CompletePayment"))
    await post(service, "RCP-21", event_id="web_purchase_ORD-RCP-20")
    answer = await service.client.get("/v1/events/web_purchase_ORD-RCP-20", headers=bearer(WEB))
    assert answer.json()["receipts"] == [
        {"platform": "meta", "event_name": "Purchase", "fired_at": "2026-11-20T12:00:00+00:00"},
        {"platform": "tiktok", "event_name": "CompletePayment", "fired_at": "2026-11-20T12:00:00+00:00"},
    ]
    assert answer.json()["conflicts"] == 1


async def test_events_are_found_by_their_transaction(service: Service) -> None:
    await post(service, "RCP-22")
    await post(service, "RCP-22", event_name="Subscribe")
    answer = await service.client.get("/v1/events?transaction_id=ORD-RCP-22", headers=bearer(WEB))
    assert [event["event_id"] for event in answer.json()["events"]] == [
        "web_subscribe_ORD-RCP-22",
        "web_purchase_ORD-RCP-22",
    ]
    assert (await service.client.get("/v1/events?transaction_id=ORD-RCP-22")).json() == {"events": []}
    assert (await service.client.get("/v1/events")).status_code == 400
    assert (await service.client.get("/v1/events?transaction_id=x&source=web")).status_code == 403
