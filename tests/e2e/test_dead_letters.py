"""Dead letters as an operator meets them: from the command line, at a gateway and platforms that run for real."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import app
from tests.e2e.harness import (
    KEY,
    META,
    PLATFORMS,
    TIKTOK,
    Gateway,
    Order,
    Sandbox,
    assert_ledger_closes,
    gateway_running,
    orders,
    read_book,
    source,
)

TUNING = {"timeout": "1s", "lease": "7s", "retry": {"first": "100ms", "cap": "1s", "max_attempts": 1}}


@pytest.fixture
def gateway(tmp_path: Path, sandbox: Sandbox) -> Iterator[Gateway]:
    """A gateway that gives up after one try, with a key that may do everything."""
    shop = source()
    shop["keys"] = [{"hash": shop["keys"][0], "scopes": ["ingest", "read", "admin"]}]
    with gateway_running(tmp_path / "gateway", sandbox, tuning=TUNING, sources=[shop]) as running:
        yield running


def convey(gateway: Gateway, *arguments: str, code: int = 0, stdin: str | None = None) -> Any:
    """What the command line says, asked about this gateway."""
    done = CliRunner().invoke(app, [*arguments, "--url", gateway.url], input=stdin, env={"CONVEY_KEY": KEY})
    assert done.exit_code == code, done.output
    return done


def test_an_outage_is_replayed_and_counted_once(gateway: Gateway, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.script(META, {"kind": "500", "times": None})
    posted = [*orders("OUT", 40), Order("POISON-TIKTOK-1", Decimal("7.00"))]
    gateway.accept(*posted)
    gateway.wait_settled()
    told = json.loads(convey(gateway, "dead-letters", "list", "--json", "--limit", "7").stdout)
    sums = {(each["destination"], each["reason"]): each["deliveries"] for each in told["summary"]}
    assert sums == {(META, "attempts_exhausted"): 41, (TIKTOK, "rejected_by_platform"): 1}
    assert len(told["dead_letters"]) == 7

    plan = convey(gateway, "dead-letters", "replay", "--reason", "attempts_exhausted", "--dry-run").stdout
    assert "41 to replay" in plan
    assert "unsendable" not in plan
    assert gateway.ledger()[META]["dead"] == 41

    sandbox.heal()
    refused = convey(gateway, "dead-letters", "replay", "--destination", META, code=1, stdin="n\n")
    assert "nothing was done" in refused.stderr
    done = convey(gateway, "dead-letters", "replay", "--destination", META, "--yes")
    assert "41 replayed" in done.stdout
    gateway.wait_settled()
    assert sandbox.counted(META) == dict.fromkeys((order.event_id for order in posted), 1)
    assert gateway.ledger()[META]["dead"] == 0

    table = convey(gateway, "dead-letters", "list").stdout
    assert "rejected_by_platform" in table
    assert "purchase_POISON-TIKTOK-1" in table
    asked = convey(gateway, "dead-letters", "purge", "--event-id", "purchase_POISON-TIKTOK-1", stdin="y\n")
    assert "1 purged" in asked.stdout
    assert "no dead letters" in convey(gateway, "dead-letters", "list").stdout
    ledger = gateway.ledger()
    assert_ledger_closes(ledger)
    assert ledger[TIKTOK]["dead"] == 1
    assert {account["queued"] for account in ledger.values()} == {41}
    assert gateway.stop() == 0
    read_book(gateway.database, tmp_path / "scratch").assert_true()
    assert set(ledger) == set(PLATFORMS)
