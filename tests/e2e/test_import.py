"""An import that is killed again and again: every row once, at a gateway and platforms that run for real."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.e2e.harness import (
    KEY,
    META,
    PLATFORMS,
    ROOT,
    Gateway,
    Sandbox,
    assert_ledger_closes,
    gateway_running,
    orders,
    read_book,
    wait_until,
)

ROWS = 4000
KILLS = 3


def write_rows(path: Path) -> list[str]:
    """A file with so many orders, and one row in a hundred that is wrong; the ids of the good ones."""
    ids = []
    header = ["event_name", "event_time", "transaction_id", "Mail", "custom_data.value", "custom_data.order_id"]
    with path.open("w", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(header)
        for position, order in enumerate(orders("IMP", ROWS)):
            is_wrong = position % 100 == 50
            value, mail = "a lot" if is_wrong else str(order.value), f"{order.number}@example.com"
            rows.writerow(["Purchase", time.time() - 60, order.number, mail, value, order.number])
            if not is_wrong:
                ids.append(order.event_id)
    return ids


def start(gateway: Gateway, path: Path) -> subprocess.Popen[bytes]:
    consent = [f"--set=consent.{name}=true" for name in ("ad_storage", "ad_user_data", "ad_personalization")]
    options = ["--map", "Mail=user.email", "--set", "custom_data.currency=EUR", "--set", "action_source=website"]
    options += ["--set", "event_source_url=https://shop.example/thanks", "--set", "user.client_user_agent=Mozilla/5.0"]
    options += ["--set", "user.client_ip_address=203.0.113.9", "--url", gateway.url, "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "app", "import", str(path), *options, *consent],
        cwd=ROOT,
        env={**os.environ, "CONVEY_KEY": KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def rows_done(path: Path) -> int:
    try:
        return int(json.loads(path.read_text())["rows"])
    except (FileNotFoundError, json.JSONDecodeError):
        return 0


def is_beyond(state: Path, rows: int) -> bool:
    return rows_done(state) > rows


def test_killed_at_any_moment_it_imports_each_row_once(
    tmp_path: Path, sandbox: Sandbox, figures: Callable[[str], None]
) -> None:
    path, state = tmp_path / "orders.csv", tmp_path / "orders.csv.import-state"
    ids = write_rows(path)
    dice = random.Random(7)
    with gateway_running(tmp_path / "gateway", sandbox) as gateway:
        for kill in range(KILLS):
            process = start(gateway, path)
            before = rows_done(state)
            wait_until("a request to be done", partial(is_beyond, state, before), 60, every_s=0.001)
            time.sleep(dice.uniform(0, 0.15))  # anywhere within the next request
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=10)
            assert 0 < rows_done(state) < ROWS, f"kill {kill} came too late"
        process = start(gateway, path)
        told, _ = process.communicate(timeout=120)
        assert process.returncode == 1  # some rows are wrong
        tally = json.loads(told)
        repeated = tally["statuses"].get("duplicate", 0)
        assert tally["statuses"]["invalid"] == ROWS - len(ids)
        assert tally["statuses"]["accepted"] + repeated == len(ids)
        with Path(f"{path}.errors.csv").open(newline="") as file:
            wrong = list(csv.DictReader(file))
        assert len(wrong) == len({row["row"] for row in wrong}) == ROWS - len(ids)
        assert {row["pointer"] for row in wrong} == {"/custom_data/value"}

        gateway.wait_settled(timeout_s=120)
        ledger = gateway.ledger()
        assert_ledger_closes(ledger)
        assert {ledger[name]["delivered"] for name in PLATFORMS} == {len(ids)}
        assert sandbox.counted(META) == dict.fromkeys(ids, 1)
        assert gateway.stop() == 0
        book = read_book(gateway.database, tmp_path / "scratch")
        book.assert_true()
        assert book.events == dict.fromkeys(ids, 1)
    figures(f"{ROWS} rows, {KILLS} kills of the import, {repeated} rows posted twice, 0 queued twice, 0 lost")
