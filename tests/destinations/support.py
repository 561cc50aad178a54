"""What the tests of the destinations share: settings, hashed events with every field, deliveries, replies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

from app.destinations.base import Admission, Admit, Skip
from app.destinations.registry import destinations
from app.event_names import STANDARD_EVENTS
from app.model import (
    Budget,
    Delivery,
    Form,
    HashedContent,
    HashedCustomData,
    HashedEvent,
    HashedIdentity,
    HttpCall,
    HttpReply,
)
from app.wire import ActionSource

PAGES = Path(__file__).parents[2] / "docs" / "destinations"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HAPPENED = datetime(2026, 11, 20, 11, 50, tzinfo=UTC)
HAPPENED_UNIX = 1_795_175_400
TOKEN = "EAAG-do-not-show-me"

SETTINGS: dict[str, dict[str, Any]] = {
    "meta": {"pixel_id": "1234567890", "access_token": TOKEN, "test_event_code": "TEST12345"},
    "tiktok": {
        "pixel_code": "CEXAMPLEPIXEL0000001",
        "offline_event_set_id": "7001",
        "crm_event_set_id": "7002",
        "app_id": "7003",
        "access_token": TOKEN,
        "test_event_code": "TEST67890",
    },
    "pinterest": {"ad_account_id": "549755885175", "access_token": TOKEN, "test": True},
    "snapchat": {
        "pixel_id": "a1b2c3d4-0000-4000-8000-000000000001",
        "snap_app_id": "a1b2c3d4-0000-4000-8000-000000000002",
        "access_token": TOKEN,
        "test": True,
    },
    "google": {
        "operating_account": "1234567890",
        "conversion_actions": {
            name: f"98765{place:02}" for place, name in enumerate(STANDARD_EVENTS) if name != "Refund"
        },
        "credentials": json.dumps(
            {"type": "authorized_user", "client_id": "id", "client_secret": TOKEN, "refresh_token": f"1//{TOKEN}"}
        ),
        "test": True,
    },
}

EXTINFO = ["i2", "example.shop", "3.1", "3.1.0", "19.0", "iPhone17,1", "en_US", "PST", "", "393", "852", "3", "6"]
APP: dict[str, Any] = {
    "os": "ios",
    "app_id": "1234567",
    "app_name": "Example Shop",
    "app_version": "3.1",
    "advertiser_tracking_enabled": True,
    "application_tracking_enabled": 1,
    "extinfo": [*EXTINFO, "256", "100", "America/Los_Angeles"],
    "att_status": "AUTHORIZED",
}


def digest(text: str) -> bytes:
    """The SHA-256 of a normal form."""
    return sha256(text.encode()).digest()


def identity(**over: Any) -> HashedIdentity:
    """A shopper of whom everything is known; each form hashes a text of its own."""
    fields: dict[str, Any] = {
        "digests": {form: (digest(f"{form} of jane"),) for form in Form},
        "country": "us",
        "state": "ca",
        "customer_type": "new",
        "client_ip_address": "203.0.113.9",
        "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/141.0",
        "locale": "en_US",
        "fbp": "fb.1.1795132700000.1098115397",
        "fbc": "fb.1.1795132650000.IwY2Sample_Click-ID",
        "ttclid": "E.C.P.exampleclick",
        "ttp": "2aBcDeFgHiJkLmNoPqRsTuVwXyZ",
        "epik": "dj0yExampleEpikValue",
        "sc_click_id": "AbC-12xYz_9",
        "sc_cookie1": "4f0b1c7e-8a0d-4f0e-9c55-0d6a2f9b1e11",
    }
    return HashedIdentity(**{**fields, **over})


def custom_data(**over: Any) -> HashedCustomData:
    """A basket with every field."""
    fields: dict[str, Any] = {
        "currency": "USD",
        "value": Decimal("129.90"),
        "order_id": "ORD-12345",
        "num_items": 2,
        "search_string": "running shoes",
        "predicted_ltv": Decimal(1000),
        "content_name": "Autumn",
        "content_category": "Footwear",
        "content_type": "product",
        "contents": (
            HashedContent("SKU-1", 1, Decimal("99.90"), "Shoe", "Acme", "Footwear"),
            HashedContent("SKU-2", 1, Decimal(30), "Sock"),
        ),
        "properties": {"coupon": "BF26", "points": 12, "gift": False, "tags": ["a"], "none": None, "value": "7"},
    }
    return HashedCustomData(**{**fields, **over})


def event(**over: Any) -> HashedEvent:
    """A purchase with everything a platform may want, ten minutes old at `NOW`."""
    source: ActionSource = over.get("action_source", "website")
    fields: dict[str, Any] = {
        "source": "shop",
        "event_name": "Purchase",
        "event_time": HAPPENED,
        "transaction_id": "ORD-12345",
        "event_source_url": "https://shop.example/thanks",
        "referrer_url": "https://shop.example/cart",
        "identity": identity(),
        "custom_data": custom_data(),
        "app": APP if source == "app" else None,
    }
    return HashedEvent(**{**fields, **over})


def bare(**over: Any) -> HashedEvent:
    """A purchase with nobody and nothing in it."""
    fields: dict[str, Any] = {"source": "shop", "event_name": "Purchase", "event_time": HAPPENED}
    return HashedEvent(**{**fields, **over})


def with_digests(*forms: Form, **plain: Any) -> HashedIdentity:
    """A shopper known by these forms and these plain identifiers alone."""
    return HashedIdentity(digests={form: (digest(f"{form} of jane"),) for form in forms}, **plain)


def delivery(of: HashedEvent | None = None, event_id: str = "purchase_ORD-12345", **over: Any) -> Delivery:
    """A claimed delivery of `of`."""
    fields: dict[str, Any] = {
        "key": event_id,
        "token": b"fence",
        "destination": "any",
        "event_id": event_id,
        "event": of or event(),
        "accepted_at": NOW,
        "budget": Budget(NOW + timedelta(days=6), NOW + timedelta(hours=47), timedelta(hours=48)),
    }
    return Delivery(**{**fields, **over})


def batch(size: int) -> list[Delivery]:
    """`size` deliveries of purchases that differ in their ids."""
    return [delivery(event_id=f"purchase_{index}") for index in range(size)]


def settings(name: str, **over: Any) -> Any:
    """The settings of a destination, valid, with every event source; None takes a field away."""
    fields = {**SETTINGS[name], **over}
    return destinations()[name].settings(**{key: value for key, value in fields.items() if value is not None})


def admit(name: str, of: HashedEvent, now: datetime = NOW, **over: Any) -> Admission:
    """What the destination says to an event at ingest."""
    return destinations()[name].admit(of, settings(name, **over), now)


def admitted(name: str, of: HashedEvent, now: datetime = NOW, **over: Any) -> Admit:
    """The admission of an event that is taken."""
    admission = admit(name, of, now, **over)
    assert isinstance(admission, Admit), admission
    return admission


def skipped(name: str, of: HashedEvent, now: datetime = NOW, **over: Any) -> str:
    """The reason for which an event is not taken."""
    admission = admit(name, of, now, **over)
    assert isinstance(admission, Skip), admission
    return admission.reason.value


def codes(admission: Admit) -> list[str]:
    """The codes of an admission's warnings."""
    return [warning.code for warning in admission.warnings]


def build(name: str, deliveries: Sequence[Delivery], **over: Any) -> list[HttpCall]:
    """The requests for these deliveries."""
    return list(destinations()[name].build(deliveries, settings(name, **over)))


def sent(name: str, of: HashedEvent | None = None, *, limited: bool = False, **over: Any) -> dict[str, Any]:
    """The JSON of one event as the destination sends it."""
    (call,) = build(name, [delivery(of, limited=limited)], **over)
    body = json.loads(call.body)
    (item,) = body["events"] if name == "google" else body["data"]
    assert isinstance(item, dict)
    return item


def reply(status: int, body: Any = None, **headers: str) -> HttpReply:
    """An answer; `body` is JSON unless it is bytes. Underscores in header names stand for hyphens."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return HttpReply(status, {key.replace("_", "-"): value for key, value in headers.items()}, raw)


def read(name: str, answer: HttpReply, size: int = 1) -> Any:
    """What an answer to `size` events means."""
    verdict = destinations()[name].read(answer, batch(size))
    return list(verdict) if isinstance(verdict, Sequence) else verdict
