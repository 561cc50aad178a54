"""Test events over real HTTP: they go each platform's own way, beside live ones and never with them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import META, PINTEREST, PLATFORMS, SNAPCHAT, TIKTOK, Gateway, Order, Sandbox, orders

MODES: dict[str, dict[str, Any]] = {
    META: {"test_event_code": "TESTMETA"},
    TIKTOK: {},
    PINTEREST: {"test": True},
    SNAPCHAT: {"test": True},
}


@pytest.fixture
def gateway(tmp_path: Path, sandbox: Sandbox) -> Iterator[Gateway]:
    """A gateway with the test modes of three platforms; TikTok has no code of its own."""
    gateway = Gateway(tmp_path / "gateway", sandbox.url, tuning={"linger": "300ms"})
    config = json.loads(gateway.config.read_text())
    for destination in config["destinations"]:
        destination.update(MODES[destination["name"]])
    gateway.config.write_text(json.dumps(config))
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.close()


def test_test_events_travel_apart_and_are_told_at_start(gateway: Gateway, sandbox: Sandbox) -> None:
    told = [line["pointer"] for line in gateway.logged("config.warning") if "test events" in line["detail"]]
    assert told == [f"destinations[{PLATFORMS.index(name)}]" for name in (META, PINTEREST, SNAPCHAT)]

    live, test, coded = orders("T", 3)
    marks: dict[str, dict[str, Any]] = {
        live.number: {},
        test.number: {"test": True},
        coded.number: {"test_event_codes": {TIKTOK: "TESTOWN", META: "TESTOTHER"}},
    }
    events = [{**order.event, "event_time": time.time(), **marks[order.number]} for order in (live, test, coded)]
    results = gateway.post_events(events)
    assert [result["destinations"][TIKTOK].get("reason") for result in results] == [None, "test_mode_missing", None]
    gateway.wait_settled()

    def fate(order: Order) -> dict[str, Any]:
        found = gateway.fate(order)
        assert found is not None
        return {name: found[name]["outcome"] for name in found}

    assert set(fate(live).values()) == {"delivered"}
    assert fate(test) == {META: "delivered", TIKTOK: "skipped", PINTEREST: "delivered", SNAPCHAT: "delivered"}
    assert set(fate(coded).values()) == {"delivered"}

    tests = {name: sandbox.test_codes(name) for name in PLATFORMS}
    assert tests[META] == {test.event_id: "TESTMETA", coded.event_id: "TESTOTHER"}
    assert tests[TIKTOK] == {coded.event_id: "TESTOWN"}
    assert tests[PINTEREST] == tests[SNAPCHAT] == {test.event_id: "test", coded.event_id: "test"}
    assert sandbox.counted(TIKTOK) == sandbox.counted(PINTEREST) == sandbox.counted(SNAPCHAT) == {live.event_id: 1}
    requests = {name: [request["events"] for request in sandbox.requests(name)] for name in PLATFORMS}
    assert requests == {META: [1, 1, 1], TIKTOK: [1, 1], PINTEREST: [1, 2], SNAPCHAT: [1, 2]}
