from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.errors import Outcome, Reason
from app.model import Settlement
from app.outbox.sqlite import SqliteStore
from app.stores import utc_now
from tests.cli.support import KEY
from tests.factories import budget, plan

LANE: dict[str, Any] = {
    "state": "parked",
    "since": "2026-11-20T12:00:00+00:00",
    "until": "2026-11-20T12:00:30+00:00",
    "reason": "code 190 \x1b[31m",
    "ready": 12,
    "later": 3,
    "held": 5,
    "in_flight": 1,
    "oldest_accepted_at": "2026-11-20T10:00:00+00:00",
    "oldest_age_s": 7230.0,
    "rate_per_minute": None,
    "paused_events": [{"event_name": "PageView", "since": "2026-11-20T12:00:00+00:00", "until": None, "reason": None}],
}


def _run(run, gateway, *arguments, **more):
    return run("destinations", *arguments, "--url", gateway.url, CONVEY_KEY=KEY, **more)


def test_the_list(run, gateway):
    gateway.script = [(200, {}, json.dumps({"workers": 2, "destinations": {"meta": LANE}}).encode())]
    done = _run(run, gateway, "list")
    assert done.exit_code == 0, done.output
    [row] = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.stdout.splitlines() if line[0] == "│"]
    assert row[:4] == ["meta", "parked", "2026-11-20T12:00:00Z", "2026-11-20T12:00:30Z"]
    assert row[5:] == ["12", "3", "5", "1", "2h", "", "PageView"]
    assert "\x1b" not in done.stdout
    assert "2 workers" in done.stdout


def test_pause_and_resume_say_what_is_meant(run, gateway):
    gateway.script = [(200, {}, json.dumps(LANE).encode())] * 3
    arguments = ["--event-name", "PageView", "--for", "2h", "--reason", "incident 7"]
    assert _run(run, gateway, "pause", "meta", *arguments).exit_code == 0
    assert _run(run, gateway, "pause", "meta", "--rate-per-minute", "60", "--json").exit_code == 0
    assert _run(run, gateway, "resume", "me/ta").exit_code == 0
    assert [(method, path, body) for method, path, _, body in gateway.asked] == [
        (
            "POST",
            "/v1/destinations/meta/pause",
            {"event_name": "PageView", "for": "2h", "reason": "incident 7"},
        ),
        ("POST", "/v1/destinations/meta/pause", {"rate_per_minute": 60}),
        ("POST", "/v1/destinations/me%2Fta/resume", {}),
    ]


def test_a_refusal_is_said(run, gateway):
    gateway.script = [(404, {}, json.dumps({"detail": "no destination of this name is configured"}).encode())]
    done = _run(run, gateway, "pause", "google")
    assert done.exit_code == 1
    assert "no destination of this name" in done.stderr


@pytest.mark.parametrize("rate", ["0", "10000001", "99999999999999999999"])
def test_a_rate_beyond_all_bounds(run, gateway, rate):
    done = _run(run, gateway, "pause", "meta", "--rate-per-minute", rate)
    assert (done.exit_code, gateway.asked) == (2, [])


# --- forget


def _config(folder: Path, *names: str) -> str:
    path = folder / "convey.yaml"
    tree = {
        "store": {"url": f"sqlite:///{folder}/convey.db"},
        "sources": [{"name": "shop", "keys": ["sha256:" + "0" * 64]}],
        "destinations": [
            {"name": name, "type": "meta", "pixel_id": "1234567890", "access_token": "tok-try-me"} for name in names
        ],
    }
    path.write_text(json.dumps(tree))
    return str(path)


@pytest.fixture
def left_over(tmp_path: Path) -> str:
    """A store with two deliveries and a dead letter of a destination that is configured no more."""

    async def fill() -> None:
        store = await SqliteStore.open(tmp_path / "convey.db", destinations=["meta", "old"], now=utc_now)
        now = utc_now()
        plans = [
            plan(f"ORD-{number}", ("meta", "old"), accepted_at=now, budget_of=budget(now), money=("EUR", "10.50"))
            for number in range(3)
        ]
        await store.accept(plans)
        first, second = await store.claim("old", 2, timedelta(hours=1))
        await store.settle([Settlement(first, Outcome.DEAD, Reason.REJECTED_BY_PLATFORM)])
        assert second
        await store.close()

    asyncio.run(fill())
    return _config(tmp_path, "meta")


def _ledger(folder: Path) -> Any:
    async def look() -> Any:
        store = await SqliteStore.open(folder / "convey.db", destinations=["meta"], now=utc_now)
        ledger = await store.ledger()
        await store.close()
        return ledger

    return asyncio.run(look())


def test_a_removed_destination_is_retired(run, tmp_path, left_over):
    done = run("destinations", "forget", "old", "--config", left_over, "--yes")
    assert done.exit_code == 0, done.output
    assert "old: 2 deliveries worth 21.00 EUR end unsent, and 1 dead letter loses its event" in done.stdout
    assert "old: 2 deliveries ended as withdrawn" in done.stdout
    ledger = _ledger(tmp_path)
    assert all(account.is_closed for account in ledger.values())
    account = ledger["old"]
    assert {term: number for term, number in account.deliveries.items() if number} == {
        "queued": 3,
        "dead": 1,
        "withdrawn": 2,
    }
    assert str(account.money["EUR"]["withdrawn"]) == "21.00"
    assert ledger["meta"].deliveries["pending"] == 3
    again = run("destinations", "forget", "old", "--config", left_over, "--yes")
    assert (again.exit_code, "old: 0 deliveries" in again.stdout) == (0, True)


def test_it_asks_first(run, tmp_path, left_over):
    done = run("destinations", "forget", "old", "--config", left_over)
    assert done.exit_code == 1
    assert _ledger(tmp_path)["old"].deliveries["pending"] == 2


def test_what_is_configured_or_unknown_is_not_forgotten(run, tmp_path, left_over):
    done = run("destinations", "forget", "meta", "--config", left_over, "--yes")
    assert (done.exit_code, "take it out of the configuration first" in done.stderr) == (2, True)
    done = run("destinations", "forget", "other", "--config", left_over, "--yes")
    assert (done.exit_code, "nothing was ever queued for other" in done.stderr) == (1, True)
