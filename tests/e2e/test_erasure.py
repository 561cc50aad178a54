"""A person is erased over two gateways on one Redis, one of which is killed in the midst: nothing more goes out."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import (
    KEY,
    PLATFORMS,
    Gateway,
    Order,
    Sandbox,
    assert_ledger_closes,
    free_port,
    orders,
    source,
    wait_until,
)
from tests.redis_server import RedisServer

OWNER = {"hash": f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()}", "scopes": ["ingest", "read", "admin"]}
TUNING = {"timeout": "500ms", "lease": "6s", "retry": {"first": "200ms", "cap": "1s"}}
JANE = "cust-jane"


def janes(order: Order) -> dict[str, Any]:
    """The order as one of Jane's."""
    return {**order.event, "user": {**order.event["user"], "external_id": JANE}}


def ask(gateway: Gateway, call: str, **more: Any) -> Any:
    """The answer to a privacy call about Jane."""
    answer = gateway._http.post(f"/v1/privacy/{call}", json={"user": {"external_id": JANE}, **more})
    assert answer.status_code == 200, answer.text
    assert JANE not in answer.text
    return answer.json()


@pytest.fixture
def redis() -> Any:
    server = RedisServer()
    server.start()
    yield server
    server.close()


def test_an_erasure_outlives_the_gateway_it_was_begun_at(tmp_path: Path, sandbox: Sandbox, redis: RedisServer) -> None:
    config: dict[str, Any] = {"tuning": TUNING, "store": {"url": redis.url}, "sources": [source(keys=[OWNER])]}
    both = Gateway(tmp_path / "both", sandbox.url, server={"metrics_port": free_port()}, **config)
    api = Gateway(tmp_path / "api", sandbox.url, role="api", server={"metrics_port": free_port()}, **config)
    try:
        both.spawn()
        api.start()
        both.wait_ready()
        had, waits, other, late = orders("erase", 4)
        both.post_events([janes(had)])
        both.wait_settled()
        both.kill()

        api.post_events([janes(waits), other.event])
        first = ask(api, "erasures")
        assert first["ended"] == {name: {"pending": 1, "dead": 0} for name in PLATFORMS}
        assert {(each["destination"], each["event_id"]) for each in first["delivered"]} == {
            (name, had.event_id) for name in PLATFORMS
        }
        api.kill()

        both.start()
        again = both.post_events([janes(late)])
        assert {each["outcome"] for each in again[0]["destinations"].values()} == {"denied"}
        last = ask(both, "erasures", continue_with=first["continue_with"])
        assert (last["complete"], last["left"]) == (True, 0)
        assert last["deleted"]["events"] == 3
        assert [both.get(f"/v1/events/{each.event_id}").status_code for each in (had, waits, late, other)] == [
            404,
            404,
            404,
            200,
        ]
        assert ask(both, "access")["events"] == []
        wait_until("somebody else's order to arrive", lambda: not both.pending())
        ledger = both.ledger()
        assert_ledger_closes(ledger)
        for name in PLATFORMS:
            states = {state: ledger[name][state] for state in ("queued", "delivered", "erased", "pending")}
            assert states == {"queued": 3, "delivered": 2, "erased": 1, "pending": 0}
            assert set(sandbox.counted(name)) == {had.event_id, other.event_id}
    finally:
        both.close()
        api.close()
