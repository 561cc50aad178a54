"""The lanes over HTTP: how each is, held back and let go again; by whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.sandbox.server import SandboxServer
from tests.api.support import (
    ADMIN,
    DESTINATIONS,
    KEY,
    MARK,
    POSTER,
    Service,
    assert_silent,
    bearer,
    good,
    open_service,
)
from tests.delivery.support import until
from tests.factories import START, FrozenClock

pytestmark = pytest.mark.anyio
PATH = "/v1/destinations"
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def working(tmp_path: Path, sandbox: SandboxServer, clock: FrozenClock) -> AsyncIterator[Service]:
    """A gateway whose platforms take everything."""
    async with open_service(tmp_path, sandbox.url, clock) as service:
        yield service


async def lanes(service: Service) -> dict[str, Any]:
    """Each lane as it is told."""
    answer = await service.client.get(PATH)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()["destinations"]
    return told


async def steer(service: Service, verb: str, name: str = "meta", body: Any = None, key: str = ADMIN) -> httpx.Response:
    """The answer to a pause or a resume."""
    return await service.client.post(f"{PATH}/{name}/{verb}", json=body, headers=bearer(key))


async def ledger(service: Service, name: str = "meta") -> dict[str, int]:
    """The terms of one destination that are not zero."""
    account = (await service.client.get("/v1/ledger")).json()["destinations"][name]
    return {term: number for term, number in account.items() if term != "money" and number}


async def reaches(service: Service, name: str = "meta", **terms: int) -> None:
    """Return once the ledger has these terms."""
    terms["queued"] = sum(terms.values())

    async def holds() -> bool:
        return await ledger(service, name) == terms

    await until(holds)


async def test_every_lane_is_told(working: Service) -> None:
    async def is_at_work() -> bool:
        return bool((await working.client.get(PATH)).json()["workers"] == 1)

    await until(is_at_work)
    told = await lanes(working)
    assert list(told) == list(DESTINATIONS)
    assert told["meta"] == {
        "state": "running",
        "since": None,
        "until": None,
        "reason": None,
        "ready": 0,
        "later": 0,
        "held": 0,
        "in_flight": 0,
        "oldest_accepted_at": None,
        "oldest_age_s": None,
        "rate_per_minute": None,
        "paused_events": [],
    }


async def test_a_paused_lane_waits_and_goes_on_when_resumed(working: Service, clock: FrozenClock) -> None:
    answer = await steer(working, "pause", body={"reason": "incident 7 of jane@example.com", "for": "2h"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["state"] == "paused"
    await until(lambda: working.runtime._worker.lanes["meta"].state == "paused")
    await working.post(good("ORD-1"))
    await reaches(working, "tiktok", delivered=1)
    clock.advance(MINUTE)
    told = (await lanes(working))["meta"]
    assert (told["state"], told["ready"], told["oldest_age_s"]) == ("paused", 1, 60.0)
    assert told["since"] == START.isoformat()
    assert told["until"] == (START + timedelta(hours=2)).isoformat()
    assert told["reason"] == "incident 7 of …", "a person's words are kept without what looks like personal data"
    answer = await steer(working, "resume")
    assert (answer.status_code, answer.json()["state"]) == (200, "running")
    await reaches(working, delivered=1)


async def test_one_event_name_is_held_and_the_others_go(working: Service) -> None:
    told = (await steer(working, "pause", body={"event_name": "page_view"})).json()
    assert (told["state"], [each["event_name"] for each in told["paused_events"]]) == ("running", ["PageView"])
    await until(lambda: "PageView" in working.runtime._worker.lanes["meta"]._pauses.names)
    await working.post({"events": [good("ORD-1", event_name="PageView"), good("ORD-2")]})
    await reaches(working, delivered=1, pending=1)
    assert (await steer(working, "resume", body={"event_name": "PageView"})).json()["paused_events"] == []
    await reaches(working, delivered=2)


async def test_a_rate_is_capped(working: Service, clock: FrozenClock) -> None:
    told = (await steer(working, "pause", body={"rate_per_minute": 60})).json()
    assert (told["state"], told["rate_per_minute"]) == ("running", 60)
    await until(lambda: working.runtime._worker.lanes["meta"]._pauses.cap is not None)
    await working.post({"events": [good(f"ORD-{number}") for number in range(10)]})
    await reaches(working, delivered=6, pending=4)
    assert (await steer(working, "resume")).json()["rate_per_minute"] is None
    await reaches(working, delivered=10)


async def test_a_pause_outlives_the_gateway(tmp_path: Path, sandbox: SandboxServer, clock: FrozenClock) -> None:
    async with open_service(tmp_path, sandbox.url, clock) as service:
        await steer(service, "pause")
        await until(lambda: service.runtime._worker.lanes["meta"].state == "paused")
        await service.post(good("ORD-1"))
    async with open_service(tmp_path, sandbox.url, clock) as service:
        await reaches(service, "tiktok", delivered=1)
        assert service.runtime._worker.lanes["meta"].state == "paused"
        assert (await lanes(service))["meta"]["ready"] == 1
        assert await ledger(service) == {"queued": 1, "pending": 1}
        await steer(service, "resume")
        await reaches(service, delivered=1)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"event_name": f"{MARK}-name"}, "/event_name"),
        ({"rate_per_minute": 0}, "/rate_per_minute"),
        ({"rate_per_minute": True}, "/rate_per_minute"),
        ({"rate_per_minute": "5"}, "/rate_per_minute"),
        ({"rate_per_minute": f"{MARK}"}, "/rate_per_minute"),
        ({"for": f"{MARK}"}, "/for"),
        ({"for": "91d"}, "/for"),
        ({"for": "0s"}, "/for"),
        ({f"{MARK}": 1}, f"/{MARK}"),
        ({"event_name": "PageView", "rate_per_minute": 5}, "/rate_per_minute"),
    ],
)
async def test_what_cannot_be_meant_changes_nothing(shared: Service, body: Any, pointer: str) -> None:
    answer = await steer(shared, "pause", body=body)
    assert answer.status_code == 400, answer.text
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]
    if MARK not in pointer:
        assert_silent(answer)
    assert (await lanes(shared))["meta"]["state"] == "running"


@pytest.mark.parametrize("content", [b"[1]", b"{", b"7"])
async def test_a_body_that_is_none(shared: Service, content: bytes) -> None:
    answer = await shared.client.post(f"{PATH}/meta/pause", content=content, headers=bearer(ADMIN))
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:convey:problem:unreadable_body")


async def test_who_may_and_what_is_unknown(shared: Service) -> None:
    for verb in ("pause", "resume"):
        assert (await steer(shared, verb, key=KEY)).status_code == 403
        assert (await steer(shared, verb, "google")).status_code == 404
        assert (await shared.client.post(f"{PATH}/meta/{verb}", headers={"authorization": ""})).status_code == 401
    assert (await shared.client.get(PATH, headers=bearer(POSTER))).status_code == 403
    assert (await shared.client.get(PATH, headers=bearer("nobody"))).status_code == 401
