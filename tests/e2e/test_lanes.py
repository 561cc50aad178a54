"""Lanes with real processes: what several workers share through one Redis, and that no lane holds up another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.harness import (
    KEY,
    META,
    PINTEREST,
    PLATFORMS,
    SNAPCHAT,
    TIKTOK,
    Gateway,
    Sandbox,
    assert_ledger_closes,
    free_port,
    orders,
    source,
    wait_until,
)
from tests.redis_server import RedisServer

TUNING = {"timeout": "2s", "lease": "8s", "retry": {"first": "200ms", "cap": "1s"}}
OLD, NEW = "old-token-1", "new-token-2"
Start = Callable[..., Gateway]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.close()


def steering() -> dict[str, Any]:
    """A source whose key may do everything."""
    digest = f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"
    return source(keys=[{"hash": digest, "scopes": ["ingest", "read", "admin"]}])


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """The file that holds the token of one platform."""
    file = tmp_path / "meta-token"
    file.write_text(OLD)
    return file


@pytest.fixture
def start(tmp_path: Path, sandbox: Sandbox, redis: RedisServer, token: Path) -> Iterator[Start]:
    """Starts a process of a role on the shared store and waits for it; every one is gone afterwards."""
    with ExitStack() as stack:
        count = iter(range(100))

        def begin(role: str) -> Gateway:
            gateway = Gateway(
                tmp_path / f"{role}-{next(count)}",
                sandbox.url,
                role=role,
                tuning=TUNING,
                store={"url": redis.url},
                server={"metrics_port": free_port()},
                sources=[steering()],
                secrets={META: {"file": str(token)}},
            )
            stack.callback(gateway.close)
            gateway.start()
            return gateway

        yield begin


def states(gateway: Gateway, name: str = META) -> list[str]:
    """The states a lane went through, as its worker logged them."""
    return [line["state"] for line in gateway.logged("lane.state", destination=name)]


def wait_state(gateway: Gateway, *wanted: str) -> None:
    """Return once the lane's last state is one of `wanted`; the empty word stands for none logged yet."""
    wait_until(f"the lane to be {wanted}", lambda: (states(gateway) or [""])[-1] in wanted, timeout_s=60)


def steer(gateway: Gateway, verb: str, **body: Any) -> dict[str, Any]:
    """What a pause or a resume answers."""
    headers = {"authorization": f"Bearer {KEY}"}
    reply = httpx.post(f"{gateway.url}/v1/destinations/{META}/{verb}", json=body, headers=headers)
    assert reply.status_code == 200, reply.text
    lane: dict[str, Any] = reply.json()
    return lane


def lane(gateway: Gateway, name: str = META) -> dict[str, Any]:
    """A lane as the API tells it."""
    told: dict[str, Any] = gateway.get("/v1/destinations").json()["destinations"][name]
    return told


def test_a_dead_token_parks_every_worker_and_a_new_one_resumes_all(start: Start, sandbox: Sandbox, token: Path) -> None:
    sandbox.script(META, {"kind": "dead_token", "match": {"token": OLD}})
    api, one, other = start("api"), start("worker"), start("worker")
    some = orders("T", 60)
    api.accept(*some[:30])
    for worker in (one, other):
        wait_state(worker, "parked")
    asked = len(sandbox.requests(META))
    assert asked <= 8, "each worker had at most its requests under way refused"
    third = start("worker")
    api.accept(*some[30:])
    api.wait_settled(TIKTOK, PINTEREST, SNAPCHAT)
    told = lane(api)
    assert (told["state"], told["ready"] + told["later"]) == ("parked", 60)
    assert told["reason"]
    assert len(sandbox.requests(META)) == asked, "nobody asks again, not even who came later"
    token.write_text(NEW)
    api.wait_settled(timeout_s=60)
    for name in PLATFORMS:
        assert sandbox.counted(name) == {order.event_id: 1 for order in some}
    for worker in (one, other, third):
        wait_state(worker, "", "running")
    assert lane(api)["state"] == "running"
    assert_ledger_closes(api.ledger())


def test_a_pause_holds_every_worker_and_outlives_them(start: Start, sandbox: Sandbox) -> None:
    api, worker = start("api"), start("worker")
    assert steer(api, "pause", reason="incident 7")["state"] == "paused"
    wait_state(worker, "paused")
    some = orders("P", 40)
    api.accept(*some)
    api.wait_settled(TIKTOK, PINTEREST, SNAPCHAT)
    assert worker.stop() == 0
    later = start("worker")
    wait_state(later, "paused")
    assert (lane(api)["ready"], lane(api)["reason"], sandbox.requests(META)) == (40, "incident 7", [])
    assert steer(api, "resume")["state"] == "running"
    api.wait_settled()
    assert sandbox.counted(META) == {order.event_id: 1 for order in some}


def test_a_platform_that_hangs_and_one_that_fails_hold_up_nobody(tmp_path: Path, sandbox: Sandbox) -> None:
    """Counts, not times: what the sick platforms were asked while a healthy one got everything."""
    sandbox.script(META, {"kind": "hang", "times": None, "max_s": 60})
    sandbox.script(TIKTOK, {"kind": "500", "times": None})
    tuning = {"timeout": "30s", "lease": "40s", "max_batch": 20, "max_in_flight": 3}
    gateway = Gateway(tmp_path / "gateway", sandbox.url, tuning=tuning, server={"drain": "0s"})
    try:
        gateway.start()
        some = orders("I", 1000)
        for first in range(0, len(some), 200):
            gateway.accept(*some[first : first + 200])
        gateway.wait_settled(PINTEREST, SNAPCHAT, timeout_s=60)
        ledger = gateway.ledger()
        assert_ledger_closes(ledger)
        for name in (PINTEREST, SNAPCHAT):
            assert sandbox.counted(name) == {order.event_id: 1 for order in some}
            assert ledger[name]["delivered"] == len(some)
        for name in (META, TIKTOK):
            assert (ledger[name]["delivered"], ledger[name]["pending"]) == (0, len(some)), (
                "and nothing of theirs is lost"
            )
        assert len(sandbox.requests(META)) <= 3, "no more than it may have at once"
        assert gateway.stop() == 0
    finally:
        gateway.close()
