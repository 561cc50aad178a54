"""Explaining an event: the decisions and the very requests, while nothing is kept and nothing is sent."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tests.api.support import ALLOWED, READER, Service, bearer, fresh, good

pytestmark = pytest.mark.anyio


async def explained(service: Service, document: Any) -> list[dict[str, Any]]:
    """The explanations of what is posted."""
    answer = await service.client.post("/v1/events/explain", json=document)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


async def test_it_shows_id_identity_and_the_exact_request(service: Service) -> None:
    (told,) = await explained(service, good("EXPLAIN-1"))
    assert (told["status"], told["event_id"], told["event_id_from"]) == (
        "accepted",
        "purchase_ORD-EXPLAIN-1",
        "derived",
    )
    email = hashlib.sha256(b"someone@shop-customer.example").hexdigest()
    assert told["event"]["identity"]["digests"]["em.1"] == [email]
    meta = told["destinations"]["meta"]
    assert (meta["outcome"], meta["limited"]) == ("queued", False)
    (request,) = meta["requests"]
    assert request["method"] == "POST"
    assert request["url"].endswith("/1234567890/events")
    (event,) = request["body"]["data"]
    assert event["event_id"] == told["event_id"]
    assert event["user_data"]["em"] == [email]
    assert meta["pixel_call"].startswith('fbq("track", "Purchase"')
    assert "em" in meta["match_keys"]["present"]
    assert {missing["key"] for missing in meta["match_keys"]["missing"]} >= {"ph", "fn+ln", "fbc", "fbp"}


async def test_the_request_explained_is_the_request_sent(service: Service) -> None:
    await service.runtime.drain()  # its lanes would take what is to be looked at
    document = fresh()
    (told,) = await explained(service, document)
    await service.post(document)
    for name in ("meta", "tiktok", "pinterest", "snapchat"):
        (delivery,) = await service.runtime.store.claim(name, 10, service.runtime.settings.destinations[0].tuning.lease)
        route = next(route for route in service.runtime.policies["shop"].routes if route.name == name)
        (call,) = route.destination.build([delivery], route.settings)
        (shown,) = told["destinations"][name]["requests"]
        assert shown["body"] == json.loads(call.body), name
        assert shown["url"].split("?")[0] == call.url.split("?")[0]


async def test_no_secret_and_no_raw_identifier_is_shown(service: Service) -> None:
    answer = await service.client.post("/v1/events/explain", json=good("EXPLAIN-2"))
    assert "tok-not-for-anyone" not in answer.text
    assert "********" in answer.text
    assert "someone@" not in answer.text


async def test_nothing_is_kept(service: Service) -> None:
    document = good("EXPLAIN-3")
    await explained(service, document)
    assert (await service.client.get("/v1/events/purchase_ORD-EXPLAIN-3")).status_code == 404
    assert (await service.client.get("/v1/event-ids/Purchase/ORD-EXPLAIN-3")).status_code == 404
    ledger = (await service.client.get("/v1/ledger")).json()["destinations"]
    assert all(account["queued"] == 0 for account in ledger.values())


async def test_what_is_refused_says_why_and_shows_no_request(service: Service) -> None:
    (told,) = await explained(service, good("EXPLAIN-4", consent={**ALLOWED, "ad_user_data": False}))
    for lane in told["destinations"].values():
        assert (lane["outcome"], lane["reason"]) == ("denied", "consent_purpose_missing")
        assert "requests" not in lane


async def test_one_of_several_is_invalid(service: Service) -> None:
    results = await explained(service, {"events": [good("EXPLAIN-5"), {"event_name": "Purchase"}, good("EXPLAIN-6")]})
    assert [result["status"] for result in results] == ["accepted", "invalid", "accepted"]
    assert results[1]["errors"] == [{"pointer": "/event_time", "code": "missing", "detail": "is required"}]


async def test_it_foresees_duplicates_conflicts_and_minted_ids(service: Service) -> None:
    document = good("EXPLAIN-7")
    await service.post(document)
    (copy,) = await explained(service, document)
    assert (copy["status"], copy["event_id_from"]) == ("duplicate", "registry")
    (other_id,) = await explained(service, {**document, "event_id": "another"})
    assert other_id["status"] == "conflict"
    (other_order,) = await explained(service, good("EXPLAIN-8", event_id="purchase_ORD-EXPLAIN-7"))
    assert other_order["status"] == "conflict"
    for foreseen, posted in (
        (copy, document),
        (other_id, {**document, "event_id": "another"}),
        (other_order, good("EXPLAIN-8", event_id="purchase_ORD-EXPLAIN-7")),
    ):
        result = (await service.post(posted)).json()["results"][0]
        assert (result["status"], result["event_id"]) == (foreseen["status"], foreseen["event_id"])


async def test_a_destination_allowed_later_is_new(service: Service) -> None:
    document = good("EXPLAIN-9", destinations=["meta"])
    await service.post(document)
    (told,) = await explained(service, {**document, "destinations": ["meta", "tiktok"]})
    assert told["status"] == "accepted"


async def test_limits_and_scopes(service: Service) -> None:
    many = {"events": [good(f"MANY-{number}") for number in range(101)]}
    assert (await service.client.post("/v1/events/explain", json=many)).status_code == 413
    refused = await service.client.post("/v1/events/explain", json=good(), headers=bearer(READER))
    assert refused.status_code == 403
    compressed = await service.client.post(
        "/v1/events/explain", content=b"{}", headers={"content-encoding": "gzip", "content-type": "application/json"}
    )
    assert compressed.status_code == 415
