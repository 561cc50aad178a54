"""A platform that is away: what waits for it is bounded, the others have their room, nothing is dropped in silence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.harness import (
    JSON,
    KEY,
    META,
    PLATFORMS,
    TIKTOK,
    Gateway,
    Order,
    Sandbox,
    assert_ledger_closes,
    body_of,
    free_port,
    gateway_running,
    orders,
    read_book,
    source,
    wait_until,
)

TUNING = {"timeout": "1s", "lease": "7s", "retry": {"first": "100ms", "cap": "1s"}}
OTHER = "ck_tiktok-only"
SOURCES = [
    source("shop", KEY),
    source("quiet", OTHER, destinations=[TIKTOK], event_id_template="quiet_{event_name}_{transaction}"),
]
MOST = 60
SHARE = MOST // 2


def post(gateway: Gateway, *some: Order, key: str = KEY) -> httpx.Response:
    """The answer to a POST of these orders with this key."""
    headers = {"authorization": f"Bearer {key}", **JSON}
    return httpx.post(f"{gateway.url}/v1/events", content=body_of(some), headers=headers, timeout=10)


def metric(url: str, name: str) -> dict[str, float]:
    """The samples of one metric, by the text of their labels."""
    text = httpx.get(f"{url}/metrics", timeout=5).text
    rows = [line.rpartition(" ") for line in text.splitlines() if line.startswith(name)]
    return {labels.removeprefix(name): float(value) for labels, _, value in rows}


def settings(**more: Any) -> dict[str, Any]:
    return {"tuning": TUNING, "store": {"max_waiting": MOST}, "sources": SOURCES, **more}


def assert_counted(sandbox: Sandbox, name: str, some: Sequence[Order]) -> None:
    assert sandbox.counted(name) == dict.fromkeys((order.event_id for order in some), 1)


def test_one_dead_platform_leaves_the_others_their_room(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.script(META, {"kind": "500", "times": None})
    metrics_url = f"http://127.0.0.1:{free_port()}"
    port = int(metrics_url.rpartition(":")[2])
    with gateway_running(tmp_path / "gateway", sandbox, **settings(server={"metrics_port": port})) as gateway:
        accepted: list[Order] = []
        refusal = None
        for order in orders("A", MOST):
            reply = post(gateway, order)
            if reply.status_code == 503:
                refusal = reply
                break
            accepted.append(order)
            gateway.wait_settled(*(name for name in PLATFORMS if name != META))
        assert refusal is not None
        assert len(accepted) == SHARE
        assert int(refusal.headers["retry-after"]) > 0
        problem = refusal.json()
        assert problem["limit"] == "destinations.meta.max_waiting"
        assert "destinations.meta.max_waiting" in problem["detail"]
        assert problem["type"] == "urn:convey:problem:store_unavailable"

        again = post(gateway, accepted[0])
        assert (again.status_code, again.json()["results"][0]["status"]) == (202, "duplicate")
        elsewhere = [Order(f"Q-{number}", Decimal(number), prefix="quiet_purchase_") for number in range(1, 41)]
        assert post(gateway, *elsewhere, key=OTHER).status_code == 202
        gateway.wait_settled(*(name for name in PLATFORMS if name != META))
        # Those 40 filled the store for a moment; a destination alone that is full leaves the gateway ready.
        wait_until("readiness", lambda: httpx.get(f"{gateway.url}/readyz", timeout=5).status_code == 200)
        meta = '{destination="meta"}'
        wait_until(
            "the gauges to tell", lambda: metric(metrics_url, "convey_outbox_waiting_bytes")[meta] > SHARE * 400, 10
        )
        assert metric(metrics_url, "convey_outbox_limit_entries")[meta] == SHARE
        assert metric(metrics_url, "convey_outbox_total_limit_entries")[""] == MOST
        refused = metric(metrics_url, "convey_refused_events_total")
        assert refused == {'{limit="destinations.meta.max_waiting"}': 1}

        sandbox.heal()
        last = Order("A-again", accepted[0].value)
        wait_until("room again", lambda: post(gateway, last).status_code == 202, 30, every_s=0.1)
        gateway.wait_settled()
        assert_ledger_closes(gateway.ledger())
        assert_counted(sandbox, META, [*accepted, last])
        assert_counted(sandbox, TIKTOK, [*accepted, last, *elsewhere])
        assert gateway.stop() == 0
        read_book(gateway.database, tmp_path / "scratch").assert_true()


def test_a_destination_that_skips_holds_nobody_up(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.script(META, {"kind": "500", "times": None})
    gateway = Gateway(tmp_path / "gateway", sandbox.url, **settings())
    config = json.loads(gateway.config.read_text())
    config["destinations"][0]["on_full"] = "skip"
    gateway.config.write_text(json.dumps(config))
    try:
        gateway.start()
        posted = orders("S", SHARE + 10)
        for order in posted:
            assert post(gateway, order).status_code == 202
            gateway.wait_settled(*(name for name in PLATFORMS if name != META))
        fates = [(gateway.fate(order) or {})[META] for order in posted]
        assert {fate["reason"] for fate in fates[SHARE:]} == {"backlog_full"}
        assert {fate["outcome"] for fate in fates[SHARE:]} == {"skipped"}
        assert not {fate["outcome"] for fate in fates[:SHARE]} & {"skipped"}
        sandbox.heal()
        gateway.wait_settled()
        assert_counted(sandbox, META, posted[:SHARE])
        assert post(gateway, *posted).status_code == 202
        gateway.wait_settled()
        for name in (META, TIKTOK):
            assert_counted(sandbox, name, posted)
        assert_ledger_closes(gateway.ledger())
    finally:
        gateway.close()
