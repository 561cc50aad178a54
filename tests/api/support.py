"""A gateway opened for real over SQLite, asked over ASGI or a socket, and events in which every value is a canary."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import itertools
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from app.config import Settings, load
from app.main import create_app
from app.runtime import Runtime
from tests.factories import START, FrozenClock

KEY = "ck_shop"
NEXT_KEY = "ck_shop_rotated"
READER = "ck_reader"
POSTER = "ck_poster"
EXPIRING = "ck_expiring"
OTHER = "ck_other"
ADMIN = "ck_admin"
WEB = "ck_web"
BEACON = "ck_beacon"
EXPIRES = "2026-11-20T13:00:00Z"
"""When `EXPIRING` runs out: one hour after the clock's start."""

DESTINATIONS = ("meta", "tiktok", "pinterest", "snapchat")
ALLOWED = {"ad_storage": True, "ad_user_data": True, "ad_personalization": True}


def hash_of(key: str) -> str:
    """A key as the configuration has it."""
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def unused_url() -> str:
    """An origin on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def settings_for(folder: Path, platforms_url: str, server: Mapping[str, Any] | None = None) -> Settings:
    """A configuration with four destinations, and sources with keys of every kind."""
    token = {"access_token": "tok-not-for-anyone", "base_url": platforms_url}
    tree = {
        "server": {"port": 0, "metrics_port": 0, **(server or {})},
        "store": {"url": f"sqlite:///{folder}/convey.db"},
        "sources": [
            {
                "name": "shop",
                "default_region": "US",
                "keys": [
                    hash_of(KEY),
                    {"hash": hash_of(NEXT_KEY), "name": "shop-rotated"},
                    {"hash": hash_of(READER), "scopes": ["read"]},
                    {"hash": hash_of(POSTER), "scopes": ["ingest"]},
                    {"hash": hash_of(EXPIRING), "expires": EXPIRES},
                    {"hash": hash_of(ADMIN), "scopes": ["admin", "read", "ingest"]},
                ],
            },
            {
                "name": "other",
                "event_id_template": "other_{event_name}_{transaction}",
                "keys": [hash_of(OTHER)],
                "strict": True,
                "leak_policy": "reject",
            },
            {
                "name": "web",
                "event_id_template": "web_{event_name}_{transaction}",
                "keys": [hash_of(WEB), {"hash": hash_of(BEACON), "scopes": ["receipts"]}],
                "receipts": True,
                "receipt_origins": ["https://shop.example"],
                "receipts_per_minute": 300,
            },
        ],
        "destinations": [
            {"name": "meta", "type": "meta", "pixel_id": "1234567890", **token},
            {"name": "tiktok", "type": "tiktok", "pixel_code": "C4ABCDEFGHIJ", **token},
            {"name": "pinterest", "type": "pinterest", "ad_account_id": "549755885175", **token},
            {"name": "snapchat", "type": "snapchat", "pixel_id": "0b1c7e8a-0d4f-4e9c-9550-d6a2f9b1e110", **token},
        ],
    }
    path = folder / "convey.yaml"
    path.write_text(json.dumps(tree))  # JSON is YAML
    return load(path, {})


@dataclass(frozen=True)
class Service:
    """A gateway at work."""

    app: FastAPI
    runtime: Runtime
    clock: FrozenClock
    client: httpx.AsyncClient
    folder: Path

    async def post(self, document: Any, **options: Any) -> httpx.Response:
        """The answer to a posted document: bytes as they are, else as JSON."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        options.setdefault("headers", {"content-type": "application/json"})
        return await self.client.post("/v1/events", content=body, **options)

    async def state(self, event_id: str) -> Any:
        """What the gateway says of an event."""
        answer = await self.client.get(f"/v1/events/{event_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def kept_bytes(self) -> bytes:
        """Everything in the store's files."""
        return b"".join(file.read_bytes() for file in sorted(self.folder.glob("convey.db*")))


def bearer(key: str) -> dict[str, str]:
    """The header with which a backend shows its key."""
    return {"authorization": f"Bearer {key}"}


@contextlib.asynccontextmanager
async def open_service(
    folder: Path, platforms_url: str, clock: FrozenClock, server: Mapping[str, Any] | None = None
) -> AsyncIterator[Service]:
    """A gateway over a store in `folder`, asked without a socket, with the key of the source `shop`."""
    settings = settings_for(folder, platforms_url, server)
    async with Runtime.open(settings, now=clock.now) as runtime:
        app = create_app(runtime)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://convey.test", headers=bearer(KEY)) as client:
            yield Service(app, runtime, clock, client, folder)


# --- events -----------------------------------------------------------------------------------------------------


_numbers = itertools.count(1)


def fresh(**over: Any) -> dict[str, Any]:
    """A purchase that nobody posted before."""
    return good(f"fresh-{next(_numbers)}", **over)


def good(number: int | str = 1, **over: Any) -> dict[str, Any]:
    """A purchase that every destination takes."""
    return {
        "event_name": "Purchase",
        "event_time": START.timestamp() - 600,
        "transaction_id": f"ORD-{number}",
        "event_source_url": "https://shop.example/thanks",
        "user": {
            "email": "someone@shop-customer.example",
            "client_ip_address": "203.0.113.9",
            "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
        },
        "consent": dict(ALLOWED),
        "custom_data": {"currency": "USD", "value": "10.00", "contents": [{"id": "SKU-1", "quantity": 1}]},
        **over,
    }


MARK = "zq7x"
"""In every canary, and in nothing the gateway says of its own accord."""

CANARIES: dict[str, Any] = {
    "event_name": f"{MARK} event name",
    "event_time": "2026-11-20T11:50:37.654321Z",
    "event_id": f"{MARK}-event-id",
    "transaction_id": f"{MARK}-transaction",
    "occurrence": f"{MARK}-occurrence",
    "action_source": "website",
    "event_source_url": f"https://shop.example/{MARK}-page?fbclid={MARK}Click",
    "referrer_url": f"https://shop.example/{MARK}-referrer",
    "user": {
        "email": f"{MARK}.jane@{MARK}-mail.example",
        "phone": "+1 415 555 2671",
        "phone_country": f"{MARK}-phone-country",
        "first_name": f"{MARK}Jane",
        "last_name": f"{MARK}Doe",
        "gender": f"{MARK}-gender",
        "date_of_birth": f"{MARK}-1990-02-03",
        "city": f"{MARK} Town",
        "state": f"{MARK} State",
        "zip": f"{MARK} zip",
        "country": f"{MARK} Country",
        "external_id": f"{MARK}-customer",
        "lead_id": f"{MARK}-lead",
        "customer_type": f"{MARK}-type",
        "client_ip_address": f"{MARK}-ip",
        "client_user_agent": f"{MARK} agent",
        "locale": f"{MARK}-locale",
        "fbp": f"{MARK}-fbp",
        "fbc": f"{MARK}-fbc",
        "ttclid": f"{MARK}-ttclid",
        "ttp": f"{MARK}-ttp",
        "epik": f"{MARK}-epik",
        "sc_click_id": f"{MARK}-sc-click",
        "sc_cookie1": f"{MARK}-sc-cookie",
        "gclid": f"{MARK}-gclid",
        "gbraid": f"{MARK}-gbraid",
        "wbraid": f"{MARK}-wbraid",
        "idfa": f"{MARK}-idfa",
        "gaid": f"{MARK}-gaid",
        "idfv": f"{MARK}-idfv",
    },
    "app": {"app_id": f"{MARK}-app-id"},
    "consent": {
        "jurisdiction": f"{MARK}-jurisdiction",
        "collected_at": f"{MARK}-collected",
        "purposes": {"ads": f"{MARK}-purpose"},
        "ad_storage": True,
        "ad_user_data": True,
        "ad_personalization": True,
        "tcf": f"{MARK}-tcf",
        "ac": f"{MARK}-ac",
        "gpp": f"{MARK}-gpp",
        "us_privacy": f"{MARK}-usp",
        "onetrust_groups": f"{MARK}-onetrust",
        "shopify": f"{MARK}-shopify",
    },
    "custom_data": {
        "currency": "USD",
        "value": "8675309.42",
        "order_id": f"{MARK}-order",
        "num_items": 1,
        "search_string": f"{MARK} search",
        "subscription_id": f"{MARK}-subscription",
        "content_name": f"{MARK} content name",
        "content_category": f"{MARK} content category",
        "content_type": f"{MARK}-content-type",
        "contents": [
            {
                "id": f"{MARK}-sku",
                "quantity": 1,
                "item_price": "8675309.41",
                "title": f"{MARK} title",
                "brand": f"{MARK} brand",
                "category": f"{MARK} category",
            }
        ],
        "properties": {"coupon": f"{MARK}-coupon", "nested": {"deeper": [f"{MARK}-nested"]}},
    },
    "destinations": ["meta"],
}

PERMITTED = {**CANARIES, "consent": dict.fromkeys(("ad_storage", "ad_user_data", "ad_personalization"), True)}
"""The same, of a shopper who consented: what cannot be read in a consent permits nothing."""
"""An event in which every value that can be a text of the caller's own is one."""

Path_ = tuple[str | int, ...]


def text_leaves(document: Any, path: Path_ = ()) -> Iterator[Path_]:
    """The paths of all texts in a document."""
    if isinstance(document, str):
        yield path
    elif isinstance(document, dict):
        for key, inner in document.items():
            yield from text_leaves(inner, (*path, key))
    elif isinstance(document, list):
        for position, inner in enumerate(document):
            yield from text_leaves(inner, (*path, position))


def pointer(path: Path_) -> str:
    """A path as JSON pointer."""
    return "".join(f"/{part}" for part in path)


def at(document: Any, path: Path_) -> Any:
    """The value at a path."""
    for part in path:
        document = document[part]
    return document


def changed(document: Any, path: Path_, change: Callable[[Any], Any]) -> Any:
    """A copy of a document with the value at `path` changed."""
    made = copy.deepcopy(document)
    holder = at(made, path[:-1])
    holder[path[-1]] = change(holder.get(path[-1]) if isinstance(holder, dict) else holder[path[-1]])
    return made


def assert_silent(answer: httpx.Response, *secrets: str, own: Sequence[str] = ()) -> None:
    """Assert that an answer, headers included, repeats neither canaries nor `secrets`; `own` may appear."""
    said = answer.content + b"".join(name + b": " + value + b"\n" for name, value in answer.headers.raw)
    text = said.decode("utf-8", "replace")
    for word in own:
        text = text.replace(word, "")
    for secret in (MARK, MARK.upper(), "8675309", "555 2671", "5552671", "654321", *secrets):
        assert secret not in text, f"the answer repeats {secret!r}: {text}"
