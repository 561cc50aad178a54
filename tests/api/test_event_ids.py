"""The id registry over HTTP: one id for page and backend, whoever comes first, and pixel calls that carry it."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest

from tests.api.support import POSTER, READER, Service, assert_silent, bearer, fresh

pytestmark = pytest.mark.anyio


async def minted(service: Service, name: str, transaction: str, query: str = "", **body: Any) -> dict[str, Any]:
    """The answer to a PUT that must work."""
    answer = await service.client.put(f"/v1/event-ids/{name}/{transaction}{query}", json=body or None)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def posted(service: Service, **over: Any) -> dict[str, Any]:
    """What became of one posted event."""
    answer = await service.post(fresh(**over))
    assert answer.status_code == 202, answer.text
    result: dict[str, Any] = answer.json()["results"][0]
    return result


async def test_page_first_then_backend(service: Service) -> None:
    told = await minted(service, "Purchase", "REG-1")
    assert (told["event_id"], told["is_new"], told["event_name"]) == ("purchase_REG-1", True, "Purchase")
    assert told["remember_until"] == "2026-11-22T12:00:00+00:00"
    again = await minted(service, "Purchase", "REG-1")
    assert (again["event_id"], again["is_new"]) == (told["event_id"], False)
    result = await posted(service, transaction_id="REG-1")
    assert (result["event_id"], result["status"]) == (told["event_id"], "accepted")


async def test_backend_first_then_page(service: Service) -> None:
    result = await posted(service, transaction_id="REG-2", event_id="the-shops-own")
    told = await minted(service, "Order Completed", "REG-2")
    assert (told["event_id"], told["is_new"], told["event_name"]) == ("the-shops-own", False, "Purchase")
    assert result["event_id"] == told["event_id"]
    read = await service.client.get("/v1/event-ids/purchase/REG-2")
    assert read.json()["event_id"] == "the-shops-own"


async def test_an_occurrence_has_an_id_of_its_own(service: Service) -> None:
    first = await minted(service, "Subscribe", "SUB-1", "?occurrence=INV-1")
    second = await minted(service, "Subscribe", "SUB-1", "?occurrence=INV-2")
    assert first["event_id"] == "subscribe_SUB-1_INV-1"
    assert second["event_id"] == "subscribe_SUB-1_INV-2"


async def test_a_transaction_may_hold_a_slash(service: Service) -> None:
    told = await minted(service, "Purchase", "2026/11/77")
    assert told["event_id"] == "purchase_2026/11/77"


async def test_one_id_for_all_who_ask_and_post_at_once(service: Service) -> None:
    ids: list[str] = []
    statuses: list[str] = []

    async def ask() -> None:
        ids.append((await minted(service, "Purchase", "REG-RACE"))["event_id"])

    async def post() -> None:
        result = await posted(service, transaction_id="REG-RACE")
        ids.append(result["event_id"])
        statuses.append(result["status"])

    async with anyio.create_task_group() as group:
        for _ in range(25):
            group.start_soon(ask)
            group.start_soon(post)
    assert set(ids) == {"purchase_REG-RACE"}
    assert sorted(statuses) == ["accepted"] + ["duplicate"] * 24


async def test_pixel_calls_carry_id_name_and_worth(service: Service) -> None:
    told = await minted(service, "Purchase", "REG-3", currency="USD", value="129.90")
    assert told["pixel_calls"] == {
        "meta": 'fbq("track", "Purchase", {"value":129.90,"currency":"USD"}, {"eventID":"purchase_REG-3"});',
        "tiktok": 'ttq.track("Purchase", {"value":129.90,"currency":"USD"}, {"event_id":"purchase_REG-3"});',
        "pinterest": 'pintrk("track", "checkout", '
        '{"event_id":"purchase_REG-3","value":129.90,"currency":"USD","order_id":"REG-3"});',
        "snapchat": 'snaptr("track", "PURCHASE", '
        '{"client_dedup_id":"purchase_REG-3","price":129.90,"currency":"USD","transaction_id":"REG-3"});',
    }


async def test_a_pixel_call_names_the_event_as_the_server_copy_does(service: Service) -> None:
    custom = await minted(service, "Quiz Finished", "Q-1")
    assert custom["pixel_calls"]["meta"] == 'fbq("trackCustom", "Quiz Finished", {}, {"eventID":"quiz_finished_Q-1"});'
    assert "snapchat" not in custom["pixel_calls"]  # it takes no names of the shop's own
    cart = await minted(service, "AddToCart", "C-1")
    assert '"addtocart"' in cart["pixel_calls"]["pinterest"]


async def test_a_pixel_call_cannot_end_the_script_it_stands_in(service: Service) -> None:
    told = await minted(service, "Purchase", "</script><b>")
    for call in told["pixel_calls"].values():
        assert "<" not in call
        assert ">" not in call


async def test_several_ids_at_once_and_one_that_cannot_be(service: Service) -> None:
    wanted = [
        {"event_name": "Purchase", "transaction_id": "PAGE-1"},
        {"event_name": "Subscribe", "transaction_id": ""},
        {"event_name": "Lead", "transaction_id": "jane@shop-customer.example"},
        {"event_name": "Subscribe", "transaction_id": "PAGE-1", "currency": "QQQ"},
        {"event_name": "Subscribe", "transaction_id": "PAGE-1", "colour": "red"},
        {"event_name": "Subscribe", "transaction_id": 4711},
    ]
    answer = await service.client.put("/v1/event-ids", json={"ids": wanted})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["index"] for result in results] == [0, 1, 2, 3, 4, 5]
    assert [result.get("event_id") for result in results] == [
        "purchase_PAGE-1",
        None,
        None,
        None,
        None,
        "subscribe_4711",
    ]
    faults = [(error["pointer"], error["code"]) for result in results for error in result["errors"]]
    assert faults == [
        ("/transaction_id", "too_short"),
        ("/transaction_id", "personal_data"),
        ("/currency", "unknown_currency"),
        ("/colour", "unknown_field"),
    ]
    assert_silent(answer, "jane@", "QQQ", "red")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("PUT", "/v1/event-ids", b'{"ids": []}', 400, "unreadable_body"),
        ("PUT", "/v1/event-ids", b"nonsense", 400, "unreadable_body"),
        ("PUT", "/v1/event-ids", b'{"ids": [1]}', 422, "invalid_ids"),
        ("PUT", "/v1/event-ids", b'{"ids": [' + b",".join([b"{}"] * 101) + b"]}", 413, "too_many_ids"),
        ("PUT", "/v1/event-ids/Purchase/%20", b"", 400, "invalid_parameter"),
        ("PUT", "/v1/event-ids/Purchase/X-1", b"[]", 400, "unreadable_body"),
        ("PUT", "/v1/event-ids/Purchase/X-1", b'{"value": "eleventy"}', 400, "invalid_parameter"),
        ("PUT", "/v1/event-ids/Purchase/a%40b-shop.example", b"", 400, "invalid_parameter"),
        ("GET", "/v1/event-ids/Purchase/never-asked-for", b"", 404, "not_found"),
    ],
)
async def test_what_cannot_be_answered_says_why(
    service: Service, method: str, path: str, body: bytes, status: int, kind: str
) -> None:
    answer = await service.client.request(method, path, content=body)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:convey:problem:{kind}")
    assert_silent(answer, "a@b-shop", "eleventy")


async def test_scopes(service: Service) -> None:
    async def ask(method: str, key: str) -> httpx.Response:
        return await service.client.request(method, "/v1/event-ids/Purchase/S-1", headers=bearer(key))

    assert (await ask("PUT", READER)).status_code == 403
    assert (await ask("PUT", POSTER)).status_code == 200
    assert (await ask("GET", POSTER)).status_code == 403
    assert (await ask("GET", READER)).status_code == 200
    assert (await ask("GET", "ck_unknown")).status_code == 401
