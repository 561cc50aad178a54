"""`convey explain` asks a running gateway: nothing is kept, nothing reaches a platform."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from app.cli import app
from tests.e2e.harness import KEY, Sandbox, gateway_running, orders


def test_a_file_is_explained_and_nothing_is_sent(tmp_path: Path, sandbox: Sandbox) -> None:
    good, bad = orders("EXPLAIN", 2)
    broken = bad.event
    del broken["event_time"]
    file = tmp_path / "orders.ndjson"
    file.write_text(f"{json.dumps(good.event)}\n{json.dumps(broken)}\n")
    with gateway_running(tmp_path, sandbox) as gateway:
        told = CliRunner().invoke(
            app, ["explain", str(file), "--url", gateway.url, "--requests"], env={"CONVEY_KEY": KEY}
        )
        ledger = gateway.ledger()
    assert told.exit_code == 1, told.output
    assert f"event 0: Purchase, accepted, {good.event_id} (from derived)" in told.output
    assert "event 1: invalid, -" in told.output
    assert "error: /event_time missing: is required" in told.output
    assert "/events" in told.output
    assert "********" in told.output
    assert "hashed as" in told.output
    assert all(account["queued"] == 0 for account in ledger.values())
    assert not any(sandbox.requests(platform) for platform in ("meta", "tiktok", "pinterest", "snapchat"))


def test_no_gateway_and_no_file_are_told_apart(tmp_path: Path) -> None:
    missing = CliRunner().invoke(app, ["explain", str(tmp_path / "none.json")], env={"CONVEY_KEY": KEY})
    assert missing.exit_code == 2
    file = tmp_path / "order.json"
    file.write_text(json.dumps(orders("E", 1)[0].event))
    alone = CliRunner().invoke(app, ["explain", str(file), "--url", "http://127.0.0.1:9"], env={"CONVEY_KEY": KEY})
    assert alone.exit_code == 1
    assert "no gateway answers" in alone.output
