"""API keys: whose they are, what they may do, until when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from app.api.guards import KeyRing, Principal
from tests.api.support import (
    ADMIN,
    EXPIRING,
    KEY,
    MARK,
    NEXT_KEY,
    OTHER,
    POSTER,
    READER,
    Service,
    assert_silent,
    bearer,
    good,
    hash_of,
)
from tests.factories import START, FrozenClock

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {MARK}",
        f"Bearer {KEY} {KEY}",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY}x",
        f"Bearer {KEY.upper()}",
        f"Bearer {hash_of(KEY)}",
        f"Bearer {hash_of(KEY).removeprefix('sha256:')}",
        KEY,
        f"Basic {KEY}",
        f"Token {KEY}",
        f"Bearer:{KEY}",
        "Bearer \u00ff",
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/events"), ("GET", "/v1/events/x"), ("GET", "/v1/ledger")])
async def test_without_a_usable_key_it_is_401(shared: Service, authorization: str, method: str, path: str) -> None:
    headers = {b"authorization": authorization.encode("latin-1")}
    answer = await shared.client.request(method, path, json=good(), headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["type"] == "urn:convey:problem:unauthorized"
    assert_silent(answer, KEY)


async def test_no_header_at_all_is_401(service: Service) -> None:
    del service.client.headers["authorization"]
    assert (await service.post(good())).status_code == 401


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer"])
async def test_the_scheme_is_read_without_case(shared: Service, scheme: str) -> None:
    answer = await shared.post(good(), headers={"authorization": f"{scheme} {KEY}"})
    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("key", "post", "look", "ledger"),
    [
        (KEY, 202, 200, 200),
        (NEXT_KEY, 202, 200, 200),
        (READER, 403, 200, 200),
        (POSTER, 202, 403, 403),
        (ADMIN, 202, 200, 200),
        (OTHER, 202, 404, 200),
    ],
)
async def test_a_key_does_what_its_scopes_say(service: Service, key: str, post: int, look: int, ledger: int) -> None:
    await service.post(good("seen"))
    posted = await service.post(good(), headers=bearer(key))
    looked = await service.client.get("/v1/events/purchase_ORD-seen", headers=bearer(key))
    counted = await service.client.get("/v1/ledger", headers=bearer(key))
    assert (posted.status_code, looked.status_code, counted.status_code) == (post, look, ledger)
    for answer in (posted, looked, counted):
        if answer.status_code == 403:
            assert answer.json()["type"] == "urn:convey:problem:forbidden"


async def test_a_missing_scope_is_told_before_the_body_is_judged(shared: Service) -> None:
    answer = await shared.post(b"{", headers=bearer(READER))
    assert answer.status_code == 403
    assert "`ingest`" in answer.json()["detail"]


async def test_a_key_ends_at_the_instant_it_expires(service: Service) -> None:
    service.clock.advance(timedelta(minutes=59, seconds=59))
    assert (await service.post(good(), headers=bearer(EXPIRING))).status_code == 202
    service.clock.advance(timedelta(seconds=1))
    refused = await service.post(good(), headers=bearer(EXPIRING))
    assert refused.status_code == 401
    assert_silent(refused, EXPIRING)
    assert (await service.post(good(), headers=bearer(KEY))).status_code == 202


async def test_two_keys_of_a_source_post_as_one_source(service: Service) -> None:
    """Keys are rotated by having both for a while: an event posted with either is the same event."""
    first = await service.post(good(), headers=bearer(KEY))
    again = await service.post(good(), headers=bearer(NEXT_KEY))
    assert [answer.json()["results"][0]["status"] for answer in (first, again)] == ["accepted", "duplicate"]


async def test_sources_do_not_see_each_others_events(service: Service) -> None:
    await service.post(good())
    own: dict[str, Any] = {"params": {"source": "shop"}}
    url = "/v1/events/purchase_ORD-1"
    assert (await service.client.get(url, **own)).status_code == 200
    assert (await service.client.get(url, headers=bearer(OTHER))).status_code == 404
    refused = await service.client.get(url, headers=bearer(OTHER), **own)
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:convey:problem:forbidden")
    assert (await service.client.get(url, headers=bearer(KEY), params={"source": "other"})).status_code == 403
    assert (await service.client.get(url, headers=bearer(ADMIN), params={"source": "other"})).status_code == 404
    assert (await service.client.get(url, headers=bearer(ADMIN), **own)).status_code == 200

    await service.post(good(), headers=bearer(OTHER))
    theirs = await service.client.get(
        "/v1/events/other_purchase_ORD-1", headers=bearer(ADMIN), params={"source": "other"}
    )
    assert theirs.json()["source"] == "other"


async def test_a_key_ring_knows_digests_only() -> None:
    clock = FrozenClock()
    ring = KeyRing({hash_of(KEY): Principal("shop", "main", frozenset({"read"}))}, clock.now)
    found = ring.find(KEY)
    assert found is not None
    assert (found.source, found.name) == ("shop", "main")
    assert ring.find(hash_of(KEY)) is None
    assert ring.find("") is None
    assert ring.find("\ud800") is None
    assert KEY not in repr(vars(ring))
    late = KeyRing({hash_of(KEY): Principal("shop", "main", frozenset(), START)}, clock.now)
    assert late.find(KEY) is None
