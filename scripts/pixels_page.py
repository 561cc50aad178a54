"""The page about pixels: its prose (`pixels_page.md`), the calls made by the code, the scripts of `examples/`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from app.dedup.event_id import DEFAULT_TEMPLATE, derive
from app.destinations.registry import destinations
from app.model import HashedCustomData, HashedEvent

PROSE = Path(__file__).parent / "pixels_page.md"
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

NUMBER = "ORD-12345"
SETTINGS: dict[str, dict[str, Any]] = {
    "meta": {},
    "tiktok": {"pixel_code": "C4ABCDEFGHIJ"},
    "pinterest": {},
    "snapchat": {"pixel_id": "0b1c7e8a-0d4f-4e9c-9550-d6a2f9b1e110"},
    "google": {"tags": {"Purchase": "AW-123456789/AbC-D_efG"}},
}
"""What of a destination's settings its pixel call depends on."""
REQUEST = {
    "currency": "EUR",
    "value": "129.90",
    "context": {
        "user": {
            "client_ip_address": "203.0.113.9",
            "client_user_agent": "Mozilla/5.0 …",
            "fbp": "fb.1.1763632800000.42",
        },
        "event_source_url": "https://shop.example/thanks?fbclid=IwY2Abc",
        "consent": {"ad_storage": True, "ad_user_data": True, "ad_personalization": True},
    },
}
CARRIES = {
    "meta": ("Meta", "`eventID`, in an argument of its own after the data"),
    "tiktok": ("TikTok", "`event_id`, in an argument of its own after the data"),
    "pinterest": ("Pinterest", "`event_id`, in the data; the tag writes the API's names without underscores"),
    "snapchat": ("Snapchat", "`client_dedup_id`, and the order's number as `transaction_id`"),
    "google": ("Google", "`transaction_id`, the order's number, under which the server's copy goes to Google as well"),
}


def pixels_page() -> str:
    """docs/pixels.md: the prose, with what the code and the examples say put in."""
    calls = {name: _call("Purchase", name) for name in SETTINGS}
    answer = {
        "event_id": _id_of("Purchase"),
        "event_name": "Purchase",
        "is_new": True,
        "remember_until": "2026-11-22T12:00:00+00:00",
        "pixel_calls": calls,
    }
    parts = {
        "request": json.dumps(REQUEST, indent=2, ensure_ascii=False),
        "answer": json.dumps(answer, indent=2, ensure_ascii=False),
        "calls": "\n\n".join(_section(name) for name in SETTINGS),
        "script": (EXAMPLES / "convey-pixels.js").read_text("utf-8").rstrip(),
        "page": (EXAMPLES / "checkout_page.py").read_text("utf-8").rstrip(),
    }
    page = PROSE.read_text("utf-8")
    for name, text in parts.items():
        page = page.replace(f"{{{{{name}}}}}", text)
    return page


def _section(name: str) -> str:
    title, carries = CARRIES[name]
    lines = [_call("Purchase", name)]
    if name != "google":  # whose cart and lead are conversion actions with tags of their own
        lines += [_call("AddToCart", name), _call("Lead", name)]
    return "\n".join([f"**{title}** carries {carries}.", "", "```js", *lines, "```"])


def _id_of(event_name: str) -> str:
    return derive(DEFAULT_TEMPLATE, "shop", event_name, NUMBER, None)


def _call(event_name: str, name: str) -> str:
    destination = destinations()[name]
    event = HashedEvent(
        source="shop",
        event_name=event_name,
        event_time=datetime(2026, 11, 20, 12, tzinfo=UTC),
        transaction_id=NUMBER,
        custom_data=HashedCustomData(currency="EUR", value=Decimal("129.90"), order_id=NUMBER),
    )
    settings = destination.settings.model_construct(**SETTINGS[name])  # no tokens are needed for a page
    call = destination.pixel_call(event, _id_of(event_name), settings)
    assert call is not None
    return call
