"""What the adapters send, judged by the pretend platforms, which were written from the pages and know no adapter.

Every standard event from every action source, whole and sparse, live, limited and as a test; every field that a custom
property can fill; lifecycles. Whatever an adapter admits must be taken, without a key the platform does not know.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from app.destinations.base import Admit
from app.destinations.registry import destinations
from app.event_names import STANDARD_EVENTS
from app.model import Delivered, Delivery, Form, HashedContent, HashedEvent, HttpReply
from app.sandbox import create_sandbox
from app.wire import ACTION_SOURCES
from tests.destinations import support as s

PLATFORMS = ("meta", "tiktok", "pinterest", "snapchat", "google")
OVER: dict[str, dict[str, Any]] = {
    "meta": {
        "messaging_channel": "whatsapp",
        "whatsapp_business_account_id": "7",
        "page_id": "8",
        "ig_account_id": "9",
        "lead_event_source": "HubSpot",
        "upload_tag": "stores",
        "customer_segmentation": "event",
        "partner_agent": "convey-gw",
    },
    "tiktok": {"address_fields": "all", "partner_name": "Convey", "lead_event_source": "HubSpot"},
    "pinterest": {"send_customer_type": True, "partner_name": "ss-convey"},
    "snapchat": {"custom_event_names": {"Schedule": "CUSTOM_EVENT_4", "Refund": "CUSTOM_EVENT_5"}},
    "google": {"merchant_id": "5", "merchant_feed_label": "US", "merchant_feed_language": "en", "send_lead_id": True},
}
KNOWN = s.identity(
    idfa="EA7583CD-A667-48BC-B806-42ECB2B48606",
    gaid="38400000-8cf0-11bd-b23e-10b96e40000d",
    idfv="6D92078A-8246-4BA4-AE5B-76104861E7DC",
    lead_id="123456789012345",
    ctwa_clid="ARAkLk",
    anon_id="XZ-1",
    download_id="d7",
    fb_login_id="10158",
    page_scoped_user_id="24017",
    ig_sid="17841",
)
APP = {
    **s.APP,
    "os_version": "19.0",
    "package_name": "example.shop",
    "app_store": "App Store",
    "install_time": s.HAPPENED_UNIX - 86_400,
    "device_brand": "Apple",
    "device_model": "iPhone17,1",
    "device_type": "phone",
    "device_carrier": "Telco",
    "wifi": True,
    "campaign_ids": "1,2",
    "url_schemes": "shop, shop-eu",
    "install_referrer": "utm_source=x",
    "installer_package": "com.store",
    "windows_attribution_id": "w1",
}
BASKET = s.custom_data(
    delivery_category="curbside",
    subscription_id="sub-1",
    contents=(HashedContent("SKU-1", 1, Decimal("99.90"), "Shoe", "Acme", "Footwear", "in_store"),),
    properties={},
)
FILLED: dict[str, Any] = {  # a value that fits, by the last word of a field
    "content_type": "product_group",
    "customer_segmentation": "customer_in_loyalty_program",
    "event_time": s.HAPPENED_UNIX - 60,
    "opt_out": True,
    "event_source": "crm",
    "form_factor": "tablet",
    "network_type": "cellular_5g",
    "os_family": "ios",
    "attribution_share": "0.5",
    "is_retargeting": True,
    "attributed": 0,
    "customerValueBucket": "HIGH",
}


def whole(name: str, source: str, **over: Any) -> HashedEvent:
    """An event with everything in it."""
    app = APP if source == "app" else None
    fields = {"event_name": name, "action_source": source, "identity": KNOWN, "custom_data": BASKET, "app": app}
    return s.event(**{**fields, **over})


def sparse(name: str, source: str) -> HashedEvent:
    """An event with as little in it as there can be."""
    little = s.custom_data(
        order_id=None,
        num_items=None,
        search_string=None,
        predicted_ltv=None,
        content_name=None,
        content_category=None,
        content_type="hotel",
        contents=(HashedContent(title="Shoe"),),
        properties={},
    )
    identity = s.with_digests(Form.EMAIL, Form.EMAIL_GMAIL_FOLDED, ctwa_clid="ARAkLk", client_user_agent="Mozilla/5.0")
    app = {**s.APP, "campaign_ids": None} if source == "app" else None
    return whole(name, source, custom_data=little, identity=identity, referrer_url=None, app=app)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = create_sandbox()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
        assert (await http.put("/_clock", json={"now": s.NOW.timestamp()})).status_code == 200
        yield http


def taken(name: str, events: Sequence[HashedEvent], *, limited: bool = False, **over: Any) -> list[Delivery]:
    """Deliveries of what the destination admits."""
    settings, kind = s.settings(name, **{**OVER[name], **over}), destinations()[name]
    return [
        s.delivery(event, event_id=f"id_{index}", limited=limited, destination=name)
        for index, event in enumerate(events)
        if isinstance(kind.admit(event, settings, s.NOW), Admit) and (not limited or kind.can_limit(event, settings))
    ]


async def send(http: httpx.AsyncClient, name: str, deliveries: Sequence[Delivery], **over: Any) -> list[Any]:
    """The result of every delivery, in order of the requests, after the sandbox's platform has judged them."""
    settings, kind = s.settings(name, **{**OVER[name], **over}), destinations()[name]
    results: list[Any] = []
    for call in kind.build(deliveries, settings):
        path = httpx.URL(call.url).copy_with(scheme="http", host="127.0.0.1")
        params = {**dict(path.params), **call.secret_params}
        secret_headers = dict(call.secret_headers)
        if call.auth is not None:
            form = {**json.loads(call.auth.credential), "grant_type": "refresh_token"}
            token = (await http.post("/token", data=form)).json()["access_token"]
            secret_headers["authorization"] = f"Bearer {token}"
        reply = await http.request(
            call.method,
            path.copy_with(query=None),
            params=params,
            headers={**call.headers, **secret_headers},
            content=call.body,
        )
        answer = HttpReply(reply.status_code, dict(reply.headers), reply.content)
        verdict = kind.read(answer, call.deliveries)
        assert isinstance(verdict, Sequence), f"{verdict}: {reply.text[:500]}"
        results += verdict
    return results


async def assert_taken(http: httpx.AsyncClient, name: str, deliveries: Sequence[Delivery], **over: Any) -> None:
    results = await send(http, name, deliveries, **over)
    assert len(results) == len(deliveries)
    assert not [result for result in results if not isinstance(result, Delivered)]
    seen = (await http.get("/_received", params={"platform": name, "limit": "1000"})).json()
    assert not [event["unknown_keys"] for event in seen["events"] if event["unknown_keys"]]


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["live", "limited", "test"])
@pytest.mark.parametrize("make", [whole, sparse])
@pytest.mark.parametrize("name", PLATFORMS)
async def test_every_event_from_every_source_is_taken(
    client: httpx.AsyncClient, name: str, make: Any, mode: str
) -> None:
    events = [make(event, source) for event in STANDARD_EVENTS for source in ACTION_SOURCES]
    if mode == "test":
        events = [s.event(**{f: getattr(e, f) for f in e.__struct_fields__} | {"is_test": True}) for e in events]
    deliveries = taken(name, events, limited=mode == "limited")
    assert deliveries or (mode, make) == ("limited", sparse)
    await assert_taken(client, name, deliveries)


@pytest.mark.anyio
@pytest.mark.parametrize("channel", ["whatsapp", "messenger", "instagram"])
async def test_messages_of_every_channel(client: httpx.AsyncClient, channel: str) -> None:
    events = [whole(event, "business_messaging") for event in ("Purchase", "Lead", "ViewContent")]
    deliveries = taken("meta", events, messaging_channel=channel)
    assert len(deliveries) == 3
    await assert_taken(client, "meta", deliveries, messaging_channel=channel)


@pytest.mark.anyio
@pytest.mark.parametrize("name", PLATFORMS)
async def test_every_field_that_a_property_can_fill(client: httpx.AsyncClient, name: str) -> None:
    table = destinations()[name].settings.assignable
    for path, convert in table.items():
        options = (FILLED.get(path.rpartition(".")[2]), "2026-12-24", "12", "x")
        value = next(option for option in options if option is not None and convert(option) is not None)
        filled: dict[str, Any] = {"field_properties": {path: "mine"}}
        of = whole("Purchase", "website", custom_data=s.custom_data(properties={"mine": value}))
        await assert_taken(client, name, taken(name, [of], **filled), **filled)


@pytest.mark.anyio
@pytest.mark.parametrize("name", PLATFORMS)
async def test_the_life_of_an_order(client: httpx.AsyncClient, name: str) -> None:
    """Late sales in a store, renewals, free orders and several currencies; and what has no counterpart is skipped."""
    windows = {"meta": 61, "tiktok": 27, "pinterest": 6, "snapchat": 27, "google": 89}
    late = whole("Purchase", "physical_store", event_time=s.NOW - timedelta(days=windows[name]))
    renewals = [
        whole("Subscribe", "system_generated" if name != "tiktok" else "website", occurrence=f"INV-{n}") for n in (1, 2)
    ]
    free = whole("Purchase", "website", custom_data=s.custom_data(value=Decimal(0), properties={}))
    money = [
        whole("Purchase", "website", custom_data=s.custom_data(currency=code, properties={}))
        for code in ("USD", "JPY", "KWD", "EUR")
    ]
    some = [late, *renewals, free, *money]
    deliveries = taken(name, some)
    assert len(deliveries) == len(some)
    await assert_taken(client, name, deliveries)
    too_late = whole("Purchase", "physical_store", event_time=s.NOW - timedelta(days=windows[name] + 1))
    assert s.skipped(name, too_late, **OVER[name]) == "too_old"
    refund = taken(name, [whole("Refund", "website", occurrence="REF-1")])
    assert len(refund) == (1 if name in ("meta", "snapchat", "google") else 0)
    await assert_taken(client, name, refund)
