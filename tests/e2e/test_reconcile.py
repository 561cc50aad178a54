"""The shop's list against a gateway and platforms that run for real: every planted fault is found, with its count."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from app.cli import app as cli
from tests.e2e.harness import (
    KEY,
    META,
    PLATFORMS,
    SNAPCHAT,
    Gateway,
    Order,
    Sandbox,
    gateway_running,
    money,
    orders,
)

NOW = datetime.now(UTC)


def write_list(path: Path, listed: list[tuple[Order, datetime]]) -> None:
    """The list as a shop would export it: its own column names, local order, one row that is none."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(["Order Number", "E-Mail", "Created at", "Total", "Currency"])
        for order, placed_at in listed:
            at = placed_at.strftime("%Y-%m-%d %H:%M:%S +0000")
            rows.writerow([order.number, "somebody@example.com", at, order.value, "EUR"])
        rows.writerow(["BAD-1", "a secret of a customer", NOW.strftime("%Y-%m-%d"), "a lot", "EUR"])


def reconcile(gateway: Gateway, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["reconcile", *arguments, "--url", gateway.url], env={"CONVEY_KEY": KEY})


def figures(told: Mapping[str, Any], name: str) -> dict[tuple[str, str | None], tuple[int, Any]]:
    return {
        (each["class"], each["reason"]): (each["orders"], each["money"].get("EUR"))
        for each in told["destinations"][name]["figures"]
    }


def test_every_fault_is_found_with_its_orders_and_its_money(tmp_path: Path, sandbox: Sandbox) -> None:
    dice = random.Random(20261120)
    good, late = orders("REC", 1010), orders("LATE", 5)
    denied, missing, old, extra = orders("NO", 12), orders("LOST", 7), orders("OLD", 3), orders("OURS", 4)
    poison = replace(good[0], number="POISON-META-1")
    differing = orders("DIFF", 6)
    events = [order.event for order in [*good, *differing, *extra, poison]]
    events += [{**order.event, "consent": {"ad_storage": False, "ad_user_data": False}} for order in denied]
    dice.shuffle(events)
    with gateway_running(tmp_path / "gateway", sandbox) as gateway:
        for start in range(0, len(events), 1000):
            gateway.post_events(events[start : start + 1000])
        gateway.wait_settled(timeout_s=120)
        sandbox.script(SNAPCHAT, {"kind": "500", "times": 10_000})
        gateway.accept(*late)
        gateway.wait_settled(*(name for name in PLATFORMS if name != SNAPCHAT))

        listed = [(each, NOW - timedelta(hours=2)) for each in [*good, *denied, *missing, poison, *late]]
        listed += [(replace(each, value=each.value + 1), NOW - timedelta(hours=2)) for each in differing]
        listed += [(each, NOW - timedelta(days=30)) for each in old]
        listed.append(listed[0])  # once more
        dice.shuffle(listed)
        path, rows, page = tmp_path / "orders.csv", tmp_path / "rows.csv", tmp_path / "orders.html"
        write_list(path, listed)
        since = (NOW - timedelta(days=1)).isoformat()
        until = (NOW + timedelta(days=1)).isoformat()
        span = ("--since", since, "--until", until)
        done = reconcile(gateway, str(path), *span, "--json", "--csv", str(rows), "--html", str(page), "--check")
        assert done.exit_code == 1, done.stderr
        words = reconcile(gateway, str(path), *span)
        assert words.exit_code == 0, words.stderr
    told = json.loads(done.stdout)
    reached = [*good, *late, *differing]
    common = {
        ("missing", None): (7, str(money(missing))),
        ("denied", "consent_purpose_missing"): (12, str(money(denied))),
        ("unknown", "older_than_journal"): (3, str(money(old))),
        ("extra", "delivered"): (4, str(money(extra))),
    }
    arrived = str(money(reached) + 6)  # six are one euro more in the list
    assert figures(told, META) == common | {
        ("delivered", None): (len(reached), arrived),
        ("dead", "rejected_by_platform"): (1, str(poison.value)),
    }
    assert figures(told, "tiktok") == common | {
        ("delivered", None): (len(reached) + 1, str(Decimal(arrived) + poison.value))
    }
    snapchat = figures(told, SNAPCHAT)
    pending = [key for key in snapchat if key[0] == "pending"]
    assert sum(snapchat[key][0] for key in pending) == len(late)
    differs = told["destinations"][META]["value_differs"]
    assert (differs["orders"], differs["money"]["EUR"]) == (6, str(money(differing) + 6))
    assert differs["counted"] == {"EUR": str(money(differing))}
    assert sorted(differs["order_ids"]) == sorted(order.number for order in differing)
    assert told["bad_rows"] == [{"line": len(listed) + 2, "detail": told["bad_rows"][0]["detail"]}]
    assert told["repeated_rows"] == 1
    assert told["list"]["orders"] == len(listed) - 1

    with rows.open(newline="") as file:
        read = list(csv.DictReader(file))
    counts = Counter((row["destination"], row["class"]) for row in read)
    assert counts[META, "delivered"] == len(reached)
    assert {row["order_id"] for row in read if row["class"] == "missing"} == {order.number for order in missing}
    assert {row["order_id"] for row in read if row["class"] == "extra"} == {order.number for order in extra}
    shown = page.read_text()
    assert "never posted" in shown
    assert all(order.number in shown for order in [*missing, *extra, *denied])
    assert "://" not in shown.replace("http-equiv", "") and "<script" not in shown
    assert "did not reach meta" in words.stdout
    everything = done.stdout + done.stderr + words.stdout + words.stderr + shown + rows.read_text()
    assert "a secret of a customer" not in everything and "a lot" not in everything
