"""Which id an event asks for: the caller's own, the readable one of its transaction, else one of its content."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.model import Form
from tests.factories import START
from tests.pipeline.support import planned, policy, route, wire

BARE: dict[str, Any] = {"transaction_id": None, "custom_data": {}}
ALL_FORMS = frozenset(Form)


@pytest.mark.parametrize(
    ("over", "transaction", "derived"),
    [
        ({}, "ORD-1", "purchase_ORD-1"),
        ({"event_name": "AddToCart"}, "ORD-1", "add_to_cart_ORD-1"),
        ({"event_name": "order completed"}, "ORD-1", "purchase_ORD-1"),
        ({"event_name": "Tea Tasting"}, "ORD-1", "tea_tasting_ORD-1"),
        ({"occurrence": "INV-7"}, "ORD-1", "purchase_ORD-1_INV-7"),
        ({"transaction_id": "ä/1 b"}, "ä/1 b", "purchase_ä/1 b"),
        ({"transaction_id": 1234}, "1234", "purchase_1234"),
        ({"transaction_id": None, "custom_data": {"order_id": "O-2", "subscription_id": "S-3"}}, "O-2", "purchase_O-2"),
        ({**BARE, "user": {"lead_id": "123456789012345"}}, "123456789012345", "purchase_123456789012345"),
        (
            {"transaction_id": None, "user": {"lead_id": "L-1"}, "custom_data": {"subscription_id": "S-3"}},
            "L-1",
            "purchase_L-1",
        ),
        ({"transaction_id": None, "custom_data": {"subscription_id": "S-3"}}, "S-3", "purchase_S-3"),
        ({"transaction_id": None, "custom_data": {"order_id": "", "subscription_id": "S-3"}}, "S-3", "purchase_S-3"),
    ],
)
def test_the_transaction_key_and_the_readable_id(over: dict[str, Any], transaction: str, derived: str) -> None:
    request = planned(policy(route()), **over).id_request
    assert (request.transaction, request.derived, request.asked) == (transaction, derived, None)
    assert (request.source, request.occurrence) == ("shop", over.get("occurrence"))


@pytest.mark.parametrize("over", [{}, BARE])
def test_the_callers_own_id_is_asked_for(over: dict[str, Any]) -> None:
    request = planned(policy(route()), event_id="own-1", **over).id_request
    assert request.asked == "own-1"
    assert request.derived == ("own-1" if over else "purchase_ORD-1")


@pytest.mark.parametrize(
    ("template", "occurrence", "derived"),
    [
        ("{event_name}_{transaction}", None, "purchase_ORD-1"),
        ("{source}.{event_name}.{transaction}", None, "shop.purchase.ORD-1"),
        ("{source}.{event_name}.{transaction}", "R-2", "shop.purchase.ORD-1_R-2"),
        ("{event_name}-{occurrence}-{transaction}", "R-2", "purchase-R-2-ORD-1"),
        ("{event_name}-{occurrence}-{transaction}", None, "purchase--ORD-1"),
    ],
)
def test_the_template_of_a_source(template: str, occurrence: str | None, derived: str) -> None:
    source = policy(route(), event_id_template=template)
    assert planned(source, occurrence=occurrence).id_request.derived == derived


def test_what_else_the_registry_is_told() -> None:
    source = policy(route(), sends_conflicts=True, dedup_window=timedelta(hours=1))
    request = planned(source).id_request
    assert request.send_conflicts
    assert request.remember_until == START + timedelta(hours=1)
    assert not planned(policy(route())).id_request.send_conflicts


# --- without a key ------------------------------------------------------------------------------------------------

KEYLESS = wire(
    **BARE,
    user={
        "email": ["jane.doe@shop-customer.example", "second@shop-customer.example"],
        "phone": "+14155552671",
        "city": "San Francisco",
        "client_ip_address": "203.0.113.9",
        "fbp": "fb.1.1763632800000.1098115397",
    },
)
KEYLESS["custom_data"] = {"currency": "USD", "value": "129.90", "properties": {"b": {"y": 1, "x": 2}, "a": [1.5]}}


def keyless_id(event: dict[str, Any] | None = None, now: datetime = START, **over: Any) -> str:
    """The id of an event without a key."""
    source = policy(route(needs=ALL_FORMS), name=over.pop("source", "shop"))
    request = planned(source, {**(event or KEYLESS), **over}, now).id_request
    assert request.transaction is None
    return request.derived


def test_the_id_without_a_key_is_readable_and_no_digest_of_a_person() -> None:
    given = keyless_id()
    name, _, digest = given.rpartition("_")
    assert name == "purchase"
    assert len(digest) == 24
    assert int(digest, 16) > 0


def test_the_same_event_posted_again_has_the_same_id() -> None:
    assert keyless_id(now=START + timedelta(days=3)) == keyless_id()
    assert keyless_id(consent={}) == keyless_id()
    assert keyless_id(destinations=["one"]) == keyless_id()


@pytest.mark.parametrize("user", [{}, {"email": "jane.doe@shop-customer.example"}])
@pytest.mark.parametrize("url", [None, "https://shop.example/", "https://shop.example/?fbclid=IwY2Abc_def"])
def test_an_event_slightly_ahead_keeps_its_id_when_it_is_posted_again(user: dict[str, Any], url: str | None) -> None:
    over: dict[str, Any] = {"event_time": "2026-11-20T12:03:00Z", "user": user, "event_source_url": url}
    ids = {keyless_id(now=START + timedelta(minutes=minutes), **over) for minutes in (0, 1, 10)}
    assert len(ids) == 1


def test_the_order_of_keys_does_not_matter() -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(inner) for key, inner in reversed(value.items())}
        return [turned(inner) for inner in value] if isinstance(value, list) else value

    assert keyless_id(turned(KEYLESS)) == keyless_id()


@pytest.mark.parametrize(
    "over",
    [
        {"event_time": "2026-11-20T11:50:00.001Z"},
        {"event_name": "Lead"},
        {"action_source": "email"},
        {"occurrence": "R-1"},
        {"event_source_url": "https://shop.example/other"},
        {"referrer_url": "https://shop.example/cart"},
        {"app": {"os": "ios"}},
        {"test": True},
        {"source": "other"},
        {"user": {**KEYLESS["user"], "email": "third@shop-customer.example"}},
        {"user": {**KEYLESS["user"], "client_ip_address": "203.0.113.10"}},
        {"custom_data": {**KEYLESS["custom_data"], "value": "129.91"}},
        {"custom_data": {**KEYLESS["custom_data"], "currency": "EUR"}},
        {"custom_data": {**KEYLESS["custom_data"], "properties": {"b": {"y": 1, "x": 3}, "a": [1.5]}}},
        {"custom_data": {**KEYLESS["custom_data"], "contents": [{"id": "SKU-1"}]}},
    ],
)
def test_another_event_has_another_id(over: dict[str, Any]) -> None:
    assert keyless_id(**over) != keyless_id()


def test_the_id_is_the_same_in_every_process() -> None:
    script = (
        "import json, sys; sys.path.insert(0, '.')\n"
        "from tests.pipeline.test_ids import keyless_id\n"
        "print(keyless_id(json.load(sys.stdin)))"
    )
    root = Path(__file__).parents[2]
    ids = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            input=json.dumps(KEYLESS),
            capture_output=True,
            text=True,
            check=True,
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed},
            timeout=30,
        )
        ids.add(done.stdout.strip())
    assert ids == {keyless_id()}
