"""`convey demo --once`: the main job, end to end, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from app.cli import demo

CONVEY = Path(sys.executable).parent / "convey"


def test_once_succeeds_on_free_ports_and_shows_the_ledger() -> None:
    done = subprocess.run([CONVEY, "demo", "--once"], capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert "Posted 34 events in one request: 31 accepted, 1 duplicate, 1 conflict, 1 invalid." in done.stdout
    assert "every order was counted once" in done.stdout
    assert "delivered" in done.stdout
    assert "EUR" in done.stdout


def test_it_is_not_disturbed_by_the_configuration_around_it() -> None:
    environ = os.environ | {"CONVEY_SERVER__PORT": "1", "CONVEY_UNKNOWN": "x", "HTTP_PROXY": "http://127.0.0.1:9"}
    done = subprocess.run(
        [CONVEY, "demo", "--once"], capture_output=True, text=True, timeout=50, check=False, env=environ
    )
    assert done.returncode == 0, done.stderr


def test_a_difference_is_told_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = json.loads((demo.EXAMPLES / "expected.json").read_text("utf-8"))
    expected["events"][0]["destinations"]["meta"] = "expired (dedup_window_passed)"
    expected["events"][13]["status"] = "accepted"
    (tmp_path / "expected.json").write_text(json.dumps(expected))
    (tmp_path / "orders.json").write_bytes((demo.EXAMPLES / "orders.json").read_bytes())
    monkeypatch.setattr(demo, "EXAMPLES", tmp_path)
    assert demo.run(once=True) == 1
    told = capfd.readouterr().err
    assert "event 0 at meta: delivered, not expired (dedup_window_passed)" in told
    assert "event 13: status conflict, not accepted" in told


def test_without_the_samples_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "EXAMPLES", tmp_path)
    with pytest.raises(typer.Exit) as ended:
        demo.run(once=True)
    assert ended.value.exit_code == 2


def test_the_samples_cover_what_they_claim() -> None:
    orders = json.loads((demo.EXAMPLES / "orders.json").read_text("utf-8"))["events"]
    expected = json.loads((demo.EXAMPLES / "expected.json").read_text("utf-8"))["events"]
    assert len(orders) == len(expected) >= 25
    countries = {str(order["user"].get("country")) for order in orders}
    assert len(countries) >= 8
    assert {"accepted", "duplicate", "conflict", "invalid"} == {each["status"] for each in expected}
