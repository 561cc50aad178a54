"""A backup of a store that is used, restored later: nothing is lost that was in it, and nothing counts twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import META, PINTEREST, PLATFORMS, ROOT, TIKTOK, Gateway, Sandbox, assert_ledger_closes, orders

TUNING = {"timeout": "2s", "lease": "8s", "retry": {"first": "200ms", "cap": "1s"}}


def convey(gateway: Gateway, verb: str, file: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """`convey backup` or `convey restore` with the gateway's own configuration."""
    command = [sys.executable, "-m", "app", verb, str(file), *more, "--config", str(gateway.config)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def unlink_store(gateway: Gateway) -> None:
    for file in gateway.folder.glob("convey.db*"):
        file.unlink()


@pytest.fixture
def gateway(tmp_path: Path, sandbox: Sandbox) -> Any:
    made = Gateway(tmp_path / "gateway", sandbox.url, tuning=TUNING)
    yield made
    made.close()


def test_what_was_delivered_after_the_backup_is_not_counted_twice(
    gateway: Gateway, sandbox: Sandbox, tmp_path: Path
) -> None:
    before, waiting, after = orders("B", 20), orders("W", 20), orders("A", 20)
    in_store = orders("S", 10, action_source="physical_store")  # Pinterest recognises no repeat of these
    copy = tmp_path / "copy.db"
    gateway.start()
    gateway.accept(*before)
    gateway.wait_settled()
    sandbox.script_all({"kind": "500", "times": None})
    gateway.accept(*waiting, *in_store)
    pending = gateway.pending()
    told = convey(gateway, "backup", copy)  # while it runs and has work
    assert told.returncode == 0, told.stderr
    assert convey(gateway, "backup", copy).returncode != 0, "a backup was overwritten"
    sandbox.heal()
    gateway.accept(*after)
    gateway.wait_settled()
    assert convey(gateway, "restore", copy).returncode != 0, "a store that is used was replaced"
    gateway.kill()
    unlink_store(gateway)

    told = convey(gateway, "restore", copy, "--not-paused")
    assert told.returncode == 0, told.stderr
    assert f"{pending} deliveries pending" in told.stdout
    assert "Repeat every withdrawal and erasure" in told.stdout
    gateway.start()
    gateway.accept(*after)  # the callers post again what they posted since
    gateway.wait_settled()
    ledger = gateway.ledger()
    assert_ledger_closes(ledger)
    for name in PLATFORMS:
        counted = sandbox.counted(name)
        assert set(counted.values()) == {1}, name
        both = in_store if name != TIKTOK else []  # which has no place for sales in a store here
        assert {order.event_id for order in (*before, *waiting, *after, *both)} == counted.keys(), name
    assert ledger[META]["delivered"] == len(before) + len(waiting) + len(after) + len(in_store)
    # What nobody can know is told, and not sent again.
    assert ledger[PINTEREST]["dead"] == len(in_store)
    fate = gateway.fate(in_store[0])
    assert fate is not None
    assert (fate[PINTEREST]["outcome"], fate[PINTEREST]["reason"]) == ("dead", "outcome_unknown")
    assert gateway.stop() == 0


def test_a_restored_store_sends_nothing_until_its_destinations_are_resumed(
    gateway: Gateway, sandbox: Sandbox, tmp_path: Path
) -> None:
    waiting = orders("W", 5)
    copy = tmp_path / "copy.db"
    gateway.start()
    sandbox.script_all({"kind": "500", "times": None})
    gateway.accept(*waiting)
    assert convey(gateway, "backup", copy).returncode == 0
    gateway.kill()
    unlink_store(gateway)
    assert "paused" in convey(gateway, "restore", copy).stdout
    sandbox.heal()
    gateway.start()
    lanes = gateway.get("/v1/destinations").json()["destinations"]
    assert {lane["state"] for lane in lanes.values()} == {"paused"}
    assert all(not sandbox.counted(name) for name in PLATFORMS)


def test_what_is_no_backup_is_refused(gateway: Gateway, tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("no store")
    for file in (text, tmp_path / "missing.db"):
        told = convey(gateway, "restore", file)
        assert told.returncode != 0
        assert "Traceback" not in told.stderr
    assert not gateway.database.exists()


def test_a_store_is_restored_where_no_folder_is(gateway: Gateway, sandbox: Sandbox, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    gateway.start()
    assert convey(gateway, "backup", copy).returncode == 0
    database = tmp_path / "new" / "place" / "convey.db"
    other = Gateway(tmp_path / "other", sandbox.url, store={"url": f"sqlite:///{database}"})
    told = convey(other, "restore", tmp_path / "missing.db")
    assert "there is no file" in told.stderr
    assert not database.parent.exists()
    told = convey(other, "restore", copy)
    assert told.returncode == 0, told.stderr
    assert database.is_file()
    (tmp_path / "file").write_text("")
    blocked = Gateway(tmp_path / "blocked", sandbox.url, store={"url": f"sqlite:///{tmp_path}/file/convey.db"})
    told = convey(blocked, "restore", copy)
    assert told.returncode != 0
    assert "Traceback" not in told.stderr
