"""Roles on one Redis: an API that sends nothing, workers that take nothing, and what each of them says of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.e2e.harness import (
    META,
    PLATFORMS,
    Gateway,
    Sandbox,
    assert_ledger_closes,
    free_port,
    orders,
    wait_until,
)
from tests.redis_server import RedisServer

TUNING = {"timeout": "500ms", "lease": "6s", "retry": {"first": "200ms", "cap": "1s"}}
Start = Callable[[str], Gateway]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.close()


@pytest.fixture
def spawned(tmp_path: Path, sandbox: Sandbox, redis: RedisServer) -> Iterator[Start]:
    """Starts a process of a role and does not wait for it; every one is gone afterwards."""
    with ExitStack() as stack:
        count = iter(range(100))

        def start(role: str) -> Gateway:
            gateway = Gateway(
                tmp_path / f"{role}-{next(count)}",
                sandbox.url,
                role=role,
                tuning=TUNING,
                store={"url": redis.url},
                server={"metrics_port": free_port()},
            )
            stack.callback(gateway.close)
            gateway.spawn()
            return gateway

        yield start


def scrape(gateway: Gateway) -> str:
    """What its metrics port tells."""
    (started,) = gateway.logged("started")
    reply = httpx.get(f"http://127.0.0.1:{started['metrics_port']}/metrics")
    assert reply.status_code == 200
    return reply.text


def test_an_api_takes_and_a_worker_delivers(spawned: Start, sandbox: Sandbox) -> None:
    api = spawned("api")
    api.wait_ready()
    some = orders("R", 20)
    api.accept(*some)
    assert api.pending() == len(some) * len(PLATFORMS)
    text = scrape(api)
    assert 'convey_events_total{source="shop",status="accepted"} 20.0' in text
    assert "convey_ledger_deliveries{" not in text, "gauges of the store are the workers' to set"
    assert "convey_lane_state{" not in text, "it has no lanes"

    worker = spawned("worker")
    worker.wait_ready()
    api.wait_settled()
    for name in PLATFORMS:
        assert sandbox.counted(name) == {order.event_id: 1 for order in some}
    assert_ledger_closes(api.ledger())
    alive = worker.get("/livez").json()
    assert (alive["status"], set(alive["details"]["lanes"])) == ("ok", set(PLATFORMS))
    for path in ("/v1/ledger", "/v1/events/x", "/docs", "/openapi.json", "/metrics"):
        assert worker.get(path).status_code == 404, path
    assert worker.post(some[0]).status_code == 404
    wait_until(
        "the gauges", lambda: 'convey_ledger_deliveries{destination="meta",state="delivered"} 20.0' in scrape(worker)
    )
    assert 'convey_lane_state{destination="meta",state="running"} 1.0' in scrape(worker)
    assert [gateway.stop() for gateway in (api, worker)] == [0, 0]


def test_a_worker_that_ends_leaves_its_work_to_the_others(spawned: Start, sandbox: Sandbox) -> None:
    sandbox.script_all({"kind": "slow", "times": None, "delay_s": 0.2})
    first, second, api = spawned("worker"), spawned("worker"), spawned("api")
    for gateway in (first, second, api):
        gateway.wait_ready()
    some = orders("W", 400)
    for start in range(0, len(some), 100):
        api.accept(*some[start : start + 100])
    assert first.stop() == 0
    second.kill()
    third = spawned("worker")
    third.wait_ready()
    api.wait_settled(timeout_s=60)
    for name in PLATFORMS:
        assert sandbox.counted(name) == {order.event_id: 1 for order in some}
    assert_ledger_closes(api.ledger())


def test_a_worker_that_sleeps_past_its_lease_counts_nothing_twice(spawned: Start, sandbox: Sandbox) -> None:
    sandbox.script(META, {"kind": "slow", "times": 1, "delay_s": 0.4})
    api, sleeper = spawned("api"), spawned("worker")
    for gateway in (api, sleeper):
        gateway.wait_ready()
    some = orders("S", 30)
    api.accept(*some)
    wait_until("a send to be under way", lambda: sandbox.requests(META))
    sleeper.pause()
    try:
        other = spawned("worker")
        other.wait_ready()
        api.wait_settled(timeout_s=60)
        assert sandbox.taken(META).total() >= len(some)
    finally:
        sleeper.resume()
    later = orders("S", 30, start=30)
    api.accept(*later)
    api.wait_settled()
    ledger = api.ledger()
    assert_ledger_closes(ledger)
    for name in PLATFORMS:
        assert sandbox.counted(name) == {order.event_id: 1 for order in [*some, *later]}
        assert ledger[name]["delivered"] == len(some) + len(later)


def test_a_process_ends_whose_store_was_begun_anew_with_other_secrets(spawned: Start, redis: RedisServer) -> None:
    api, worker = spawned("api"), spawned("worker")
    for gateway in (api, worker):
        gateway.wait_ready()
    begin = "redis.call('FLUSHALL') return redis.call('HSET', '{c:meta}', 'secret:persons', 'of another process')"
    assert redis.command("EVAL", begin, "0") == ":1"
    assert all(gateway.wait() != 0 for gateway in (api, worker))
    for gateway in (api, worker):
        assert gateway.logged("store.replaced"), gateway.tail()


def test_processes_wait_for_their_store_and_say_so(spawned: Start, redis: RedisServer) -> None:
    redis.kill()
    api, worker = spawned("api"), spawned("worker")
    for gateway in (api, worker):
        wait_until("a line about the wait", partial(gateway.logged, "store.waiting"))
        assert gateway.get("/livez").status_code == 200
        unready = gateway.get("/readyz")
        assert (unready.status_code, unready.json()["reason"]) == (503, "starting")
    refused = api.post(*orders("E", 1))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    redis.start()
    for gateway in (api, worker):
        gateway.wait_ready()
    api.accept(*orders("E", 1))
    api.wait_settled()


def test_a_store_that_may_lose_events_is_refused_with_the_reason(spawned: Start, redis: RedisServer) -> None:
    redis.command("CONFIG", "SET", "appendonly", "no")
    worker = spawned("worker")
    assert worker.wait() == 1
    assert "convey: the server keeps no append-only file: set appendonly yes" in worker.tail()
