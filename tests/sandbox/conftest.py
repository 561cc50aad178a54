"""The sandbox in process, on a frozen clock, and one valid event per platform to spoil."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from app.sandbox import create_sandbox
from app.sandbox.server import SandboxServer

NOW = 1_795_180_000  # 2026-11-20T13:06:40Z
EM = "3c86af9b905f17972be32a4d0f097fa2b2d67983b7370b0da3f57a8c2e4cc264"
PH = "1878fb3455605ca58929453d453a56491a81edcdb262de8bab6d4f3d15d33cb9"
XID = "570eb8528a396e3b7fed5d40ecfb706292bffcb1dc1aa3cef5cf769afa105fbf"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) Firefox/141.0"

EVENTS: dict[str, dict[str, Any]] = {
    "meta": {
        "event_name": "Purchase",
        "event_time": NOW - 60,
        "event_id": "purchase_70015",
        "action_source": "website",
        "event_source_url": "https://shop.example/checkout/done",
        "user_data": {
            "em": [EM],
            "ph": [PH],
            "external_id": [XID],
            "client_ip_address": "203.0.113.7",
            "client_user_agent": AGENT,
            "fbp": "fb.1.1795132700000.1098115397",
            "fbc": "fb.1.1795132650000.IwY2Sample_Click-ID",
        },
        "custom_data": {
            "value": 42.5,
            "currency": "EUR",
            "order_id": "70015",
            "content_type": "product",
            "contents": [{"id": "SKU-1", "quantity": 2, "item_price": 21.25}],
            "coupon": "BF26",
        },
        "data_processing_options": [],
    },
    "tiktok": {
        "event": "Purchase",
        "event_time": NOW - 60,
        "event_id": "purchase_70015",
        "user": {
            "email": [EM],
            "phone": PH,
            "external_id": [XID],
            "ttclid": "E.C.P.exampleclick",
            "ttp": "2aBcDeFgHiJkLmNoPqRsTuVwXyZ",
            "ip": "203.0.113.7",
            "user_agent": AGENT,
            "locale": "en-US",
        },
        "properties": {
            "currency": "USD",
            "value": 41.5,
            "order_id": "70015",
            "content_type": "product",
            "contents": [{"content_id": "sku-9", "content_name": "Mug", "price": 20.75, "quantity": 2}],
        },
        "page": {"url": "https://shop.example/thanks", "referrer": "https://shop.example/cart"},
    },
    "pinterest": {
        "event_name": "checkout",
        "action_source": "web",
        "event_time": NOW - 60,
        "event_id": "purchase_70015",
        "event_source_url": "https://shop.example/thanks",
        "user_data": {
            "em": [EM],
            "external_id": [XID],
            "client_ip_address": "203.0.113.7",
            "client_user_agent": AGENT,
            "click_id": "dj0yExampleEpikValue",
        },
        "custom_data": {
            "currency": "USD",
            "value": "41.50",
            "order_id": "70015",
            "num_items": 2,
            "content_ids": ["sku-9"],
            "contents": [{"id": "sku-9", "item_name": "Mug", "item_price": "20.75", "quantity": 2}],
        },
    },
    "snapchat": {
        "event_name": "PURCHASE",
        "event_time": NOW - 60,
        "action_source": "WEB",
        "event_source_url": "https://shop.example/thanks?o=A-1001",
        "event_id": "purchase_70015",
        "integration": "our-gateway",
        "user_data": {
            "em": [EM],
            "ph": [PH],
            "client_ip_address": "203.0.113.7",
            "client_user_agent": AGENT,
            "sc_click_id": "AbC-12xYz_9",
            "sc_cookie1": "4f0b1c7e-8a0d-4f0e-9c55-0d6a2f9b1e11",
        },
        "custom_data": {
            "currency": "EUR",
            "value": 59.90,
            "order_id": "70015",
            "num_items": 2,
            "content_ids": ["SKU-7"],
            "content_type": "product",
            "contents": [{"id": "SKU-7", "quantity": 2, "item_price": 29.95}],
        },
    },
}
ACCOUNTS = {
    "meta": "1234567890",
    "tiktok": "CEXAMPLEPIXEL0000001",
    "pinterest": "549755885175",
    "snapchat": "a1b2",
}
PATHS = {
    "meta": "/v26.0/1234567890/events",
    "tiktok": "/open_api/v1.3/event/track/",
    "pinterest": "/v5/ad_accounts/549755885175/events",
    "snapchat": "/v3/a1b2/events",
}
HEADERS = {
    "meta": {"authorization": "Bearer good"},
    "tiktok": {"access-token": "good"},
    "pinterest": {"authorization": "Bearer good"},
    "snapchat": {},
}


class Lab:
    """A client of one sandbox, with the requests that a gateway would make."""

    now = NOW
    dropped = object()
    paths = PATHS
    accounts = ACCOUNTS
    headers = HEADERS

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    def event(self, platform: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
        """A valid event with dotted paths replaced, or removed where the value is `dropped`."""
        event = copy.deepcopy(EVENTS[platform])
        for path, value in (changes or {}).items():
            *parents, last = path.split(".")
            part = event
            for name in parents:
                part = part.setdefault(name, {})
            if value is self.dropped:
                part.pop(last, None)
            else:
                part[last] = value
        return event

    def root(self, platform: str, events: list[Any]) -> dict[str, Any]:
        """The body around a batch."""
        extra = {"event_source": "web", "event_source_id": ACCOUNTS["tiktok"]} if platform == "tiktok" else {}
        return {**extra, "data": events}

    async def post(
        self,
        platform: str,
        events: list[Any],
        *,
        path: str = "",
        params: dict[str, str] | None = None,
        **root: Any,
    ) -> httpx.Response:
        """Send a batch with a good token."""
        token = {"access_token": "good"} if platform == "snapchat" else {}
        return await self.client.post(
            path or PATHS[platform],
            params={**token, **(params or {})},
            headers=HEADERS[platform],
            json={**self.root(platform, events), **root},
        )

    async def pixel(self, platform: str, **event: Any) -> bool:
        """Whether a browser event counted as a new conversion."""
        body = {"platform": platform, "account": ACCOUNTS[platform], **event}
        reply = await self.client.post("/_pixel", json=body)
        assert reply.status_code == 200, reply.text
        counted: bool = reply.json()["counted"]
        return counted

    async def clock(self, seconds_later: float) -> None:
        """Freeze the sandbox clock at `now` plus so many seconds."""
        reply = await self.client.put("/_clock", json={"now": NOW + seconds_later})
        assert reply.status_code == 200, reply.text

    async def faults(self, platform: str, *entries: dict[str, Any], **more: Any) -> None:
        """Put a fault script."""
        reply = await self.client.put(f"/_faults/{platform}", json={"faults": list(entries), **more})
        assert reply.status_code == 200, reply.text

    async def get(self, path: str, **params: str) -> Any:
        """The JSON of a control endpoint."""
        reply = await self.client.get(path, params=params)
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def counted(self, platform: str) -> Any:
        """What the platform would have counted."""
        return (await self.get("/_counted", platform=platform))["platforms"][platform]

    async def last_request(self, platform: str) -> Any:
        """The last request that the sandbox noted for a platform."""
        return (await self.get("/_requests", platform=platform))["requests"][-1]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def lab(anyio_backend: str) -> AsyncIterator[Lab]:
    transport = httpx.ASGITransport(app=create_sandbox())
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
        lab = Lab(client)
        await lab.clock(0)
        yield lab


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
async def wire(anyio_backend: str, server: SandboxServer) -> AsyncIterator[Lab]:
    """The same lab over real HTTP."""
    async with httpx.AsyncClient(base_url=server.url, timeout=5) as client:
        lab = Lab(client)
        await lab.clock(0)
        yield lab
