"""A store with no room left: 503 and never a 202 for what is not kept; with room again, everything goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.harness import (
    PLATFORMS,
    Gateway,
    Order,
    Sandbox,
    assert_ledger_closes,
    gateway_running,
    money,
    orders,
    read_book,
    wait_until,
)

TUNING = {"timeout": "1s", "lease": "7s", "retry": {"first": "200ms", "cap": "1s"}}
BATCH = 20


def assert_refused(reply: httpx.Response) -> None:
    """The answer says in the agreed form that nothing was kept and when to come back."""
    assert reply.status_code == 503, reply.text
    assert int(reply.headers["retry-after"]) > 0
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json()
    assert problem["status"] == 503
    assert problem["type"] == "urn:convey:problem:store_unavailable"
    assert "results" not in problem


def fill(gateway: Gateway, prefix: str, most: int = 20_000) -> tuple[list[Order], list[Order]]:
    """The orders that got a 202 until the store was full, and the ones that were refused first."""
    accepted: list[Order] = []
    for start in range(0, most, BATCH):
        batch = orders(prefix, BATCH, start)
        reply = gateway.post(*batch)
        if reply.status_code != 202:
            assert_refused(reply)
            return accepted, batch
        accepted += batch
    raise AssertionError(f"{most} orders fitted into the store")


def post_until_accepted(gateway: Gateway, batch: Sequence[Order], timeout_s: float = 30.0) -> float:
    """Post the same orders until they are accepted; returns how long that took."""
    began = time.monotonic()

    def is_accepted() -> bool:
        reply = gateway.post(*batch)
        if reply.status_code != 202:
            assert_refused(reply)
            return False
        return True

    wait_until("the gateway to accept again", is_accepted, timeout_s, every_s=0.2)
    return time.monotonic() - began


def assert_all_arrived(gateway: Gateway, sandbox: Sandbox, accepted: Sequence[Order], scratch: Path) -> None:
    """Exactly these orders are in the store, delivered, and counted once by each platform."""
    gateway.wait_settled(timeout_s=60)
    ledger = gateway.ledger()
    assert_ledger_closes(ledger)
    for name in PLATFORMS:
        assert ledger[name]["delivered"] == ledger[name]["queued"] == len(accepted)
        assert sandbox.counted(name) == dict.fromkeys((order.event_id for order in accepted), 1)
        assert sandbox.counted_money(name) == money(accepted)
    assert gateway.stop() == 0
    book = read_book(gateway.database, scratch)
    book.assert_true()
    assert book.events.keys() == {order.event_id for order in accepted}


def ready_code(gateway: Gateway) -> int:
    return httpx.get(f"{gateway.url}/readyz", timeout=5).status_code


def test_a_store_at_its_limit_refuses_and_goes_on_when_deliveries_make_room(
    tmp_path: Path, sandbox: Sandbox, figures: Callable[[str], None]
) -> None:
    sandbox.script_all({"kind": "500", "times": None})
    with gateway_running(tmp_path / "gateway", sandbox, tuning=TUNING, store={"max_bytes": "2MiB"}) as gateway:
        accepted, refused = fill(gateway, "F")
        assert accepted
        for order in refused:
            reply = gateway.post(order)
            if reply.status_code == 202:
                accepted.append(order)
            else:
                assert_refused(reply)
        kept = {order.event_id for order in accepted}
        assert all(gateway.fate(order) is None for order in refused if order.event_id not in kept)
        assert_ledger_closes(gateway.ledger())
        pid = gateway.process.pid

        sandbox.heal()
        left = [order for order in refused if order.event_id not in kept]
        took = post_until_accepted(gateway, left)
        assert gateway.process.pid == pid
        figures(f"store of 2 MiB full after {len(accepted)} orders; accepts again {took:.1f} s after the platforms do")
        assert_all_arrived(gateway, sandbox, [*accepted, *left], tmp_path / "scratch")


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of this size, mounted at `folder`; skips where nobody may mount, except in CI."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, check=False, capture_output=True).returncode == 0
    if not mounted:
        assert not os.environ.get("CI"), "CI must be able to mount a tmpfs: run it as root with CAP_SYS_ADMIN"
        pytest.skip("mounting a tmpfs needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def occupy(folder: Path) -> Path:
    """A file that takes all the room there is."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(folder).free == 0
    return filler


def test_a_full_disk_refuses_and_goes_on_when_there_is_room_again(
    tmp_path: Path, sandbox: Sandbox, figures: Callable[[str], None]
) -> None:
    config: dict[str, Any] = {"tuning": TUNING}
    with small_disk(tmp_path / "disk", "24m") as disk:
        config["store"] = {"url": f"sqlite:///{disk / 'convey.db'}"}
        gateway = Gateway(tmp_path / "gateway", sandbox.url, **config)
        gateway.database = disk / "convey.db"
        try:
            gateway.start()
            before = orders("D", 200)
            gateway.accept(*before)
            gateway.wait_settled()
            sandbox.script_all({"kind": "500", "times": None})
            filler = occupy(disk)
            accepted, refused = fill(gateway, "E")
            wait_until("the gateway to be unready", lambda: ready_code(gateway) == 503)
            assert_refused(gateway.post(*refused))
            assert gateway.process.poll() is None
            pid = gateway.process.pid

            filler.unlink()
            sandbox.heal()
            took = post_until_accepted(gateway, refused)
            wait_until("the gateway to be ready", lambda: ready_code(gateway) == 200)
            assert gateway.process.pid == pid
            figures(f"{len(accepted)} orders accepted on the full disk's rest; accepts again after {took:.1f} s")
            assert_all_arrived(gateway, sandbox, [*before, *accepted, *refused], tmp_path / "scratch")
        finally:
            gateway.close()
