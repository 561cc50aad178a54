"""Contexts over HTTP: a payment webhook's order goes out at full strength because the page left what it knew."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.api.support import ALLOWED, READER, Service, assert_silent, bearer, good

pytestmark = pytest.mark.anyio

CONTEXT = {
    "user": {
        "client_ip_address": "198.51.100.7",
        "client_user_agent": "Mozilla/5.0 (iPhone)",
        "fbp": "fb.1.1763632800000.1098115397",
        "ttp": "2Pw2Fmy0fNSQTAMkYPcKqW9fFDw",
    },
    "event_source_url": "https://shop.example/checkout?fbclid=IwY2Abc",
    "consent": dict(ALLOWED),
}


def webhook(number: str, **over: Any) -> dict[str, Any]:
    """An order as a payment provider's webhook knows it."""
    event = good(number, user={"email": "someone@shop-customer.example"}, **over)
    del event["event_source_url"]
    return event


async def user_data_sent(service: Service, document: dict[str, Any]) -> dict[str, Any]:
    """What Meta would be told of the shopper, or why nothing."""
    answer = await service.client.post("/v1/events/explain", json=document)
    lane = answer.json()["results"][0]["destinations"]["meta"]
    if lane["outcome"] != "queued":
        return {"skipped": lane["reason"]}
    (request,) = lane["requests"]
    told: dict[str, Any] = request["body"]["data"][0]["user_data"]
    return told


async def test_an_order_posted_later_gets_what_the_page_left(service: Service) -> None:
    await service.runtime.drain()  # its lanes would take what is to be looked at
    answer = await service.client.put("/v1/contexts/ORD-CTX-1", json=CONTEXT)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"kept_until": "2026-11-27T12:00:00+00:00"}
    bare = webhook("CTX-1")
    del bare["consent"]
    posted = await service.post(bare)
    verdicts = posted.json()["results"][0]["destinations"]
    assert {verdict["outcome"] for verdict in verdicts.values()} == {"queued"}
    (delivery,) = await service.runtime.store.claim("meta", 1, timedelta(seconds=20))
    identity = delivery.event.identity
    assert identity.client_ip_address == "198.51.100.7"
    assert identity.fbp == CONTEXT["user"]["fbp"]  # type: ignore[index]
    assert identity.fbc is not None
    assert identity.fbc.endswith(".IwY2Abc")
    assert identity.ttp == CONTEXT["user"]["ttp"]  # type: ignore[index]


async def test_without_a_context_it_goes_out_weaker_or_not_at_all(service: Service) -> None:
    pageless = webhook("CTX-2")
    with_page = {**pageless, "event_source_url": "https://shop.example/thanks"}
    assert await user_data_sent(service, pageless) == {"skipped": "required_field_missing"}
    before = await user_data_sent(service, with_page)
    await service.client.put("/v1/contexts/ORD-CTX-2", json=CONTEXT)
    after = await user_data_sent(service, pageless)
    assert set(after) - set(before) == {"client_ip_address", "client_user_agent", "fbp", "fbc"}


async def test_a_context_of_another_source_or_past_its_time_is_none(service: Service) -> None:
    await service.client.put("/v1/contexts/ORD-CTX-3", json=CONTEXT, headers=bearer("ck_other"))
    assert "fbp" not in await user_data_sent(service, webhook("CTX-3"))
    await service.client.put("/v1/contexts/ORD-CTX-3", json=CONTEXT)
    assert "fbp" in await user_data_sent(service, webhook("CTX-3"))
    service.clock.advance(timedelta(days=7))
    later = webhook("CTX-3", event_time=service.clock.now().timestamp())
    assert "fbp" not in await user_data_sent(service, later)


async def test_the_page_leaves_it_with_the_id(service: Service) -> None:
    answer = await service.client.put("/v1/event-ids/Purchase/ORD-CTX-4", json={"context": CONTEXT, "value": "10"})
    assert answer.status_code == 200, answer.text
    assert "fbp" in await user_data_sent(service, webhook("CTX-4"))


async def test_a_later_refusal_on_the_page_is_heeded(service: Service) -> None:
    refused = {**CONTEXT, "consent": dict.fromkeys(ALLOWED, False)}
    await service.client.put("/v1/contexts/ORD-CTX-5", json=refused)
    document = webhook("CTX-5")
    document["consent"] = {**ALLOWED, "collected_at": (service.clock.now() - timedelta(hours=1)).isoformat()}
    posted = await service.post(document)
    verdicts = posted.json()["results"][0]["destinations"]
    assert {verdict["outcome"] for verdict in verdicts.values()} == {"denied"}


@pytest.mark.parametrize(
    ("document", "pointer", "code"),
    [
        ({"user": {"email": "jane.doe@shop-customer.example"}}, "/user/email", "unknown_field"),
        ({"user": {"gclid": "jane.doe@shop-customer.example"}}, "/user/gclid", "personal_data"),
        ({"user": {"fbp": 7}}, "/user/fbp", "wrong_type"),
        ({"consent": {"tcf": "C" * 70_000}}, "", "too_large"),
        ({"colour": "jane"}, "/colour", "unknown_field"),
        ([], "", "wrong_type"),
    ],
)
async def test_what_a_context_takes(service: Service, document: Any, pointer: str, code: str) -> None:
    answer = await service.client.put("/v1/contexts/ORD-CTX-6", content=json.dumps(document))
    assert answer.status_code == 400
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]
    assert_silent(answer, "jane")
    within = await service.client.put("/v1/event-ids/Purchase/ORD-CTX-6", json={"context": document})
    assert within.status_code == 400
    assert [error["pointer"] for error in within.json()["errors"]] == [f"/context{pointer}"]


async def test_a_deep_consent_and_a_strange_order_are_refused(service: Service) -> None:
    deep = b'{"consent": {"purposes": ' + b"[" * 900 + b"]" * 900 + b"}}"
    answer = await service.client.put("/v1/contexts/ORD-CTX-7", content=deep)
    assert answer.status_code in {200, 400}
    for transaction in ("a%40b.example", "x" * 201, "%20"):
        answer = await service.client.put(f"/v1/contexts/{transaction}", json=CONTEXT)
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:convey:problem:invalid_parameter")


async def test_scope(service: Service) -> None:
    answer = await service.client.put("/v1/contexts/ORD-CTX-8", json=CONTEXT, headers=bearer(READER))
    assert answer.status_code == 403
