"""A day of traffic with planted faults, through real ingest, receipts and auditor: the audit finds each and its number.

Beside it the platforms' own rules count the same copies (`app.sandbox.counting`): what the audit says of pairs has to
be what a platform would show.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.auditing import Auditor, platforms_of
from app.config import load
from app.main import create_app
from app.runtime import Runtime
from app.sandbox.counting import Copy, Tally
from tests.api.support import hash_of, unused_url
from tests.e2e.backing import Backing
from tests.e2e.harness import write_config
from tests.e2e.synthetic_day import DAY, HOUR, PLATFORMS, Day, Step, day
from tests.factories import FrozenClock

pytestmark = pytest.mark.anyio

SEED = int(os.environ.get("CONVEY_DAY_SEED", "20261120"))
SHOP, BEACON = "ck_shop", "ck_beacon"
ORIGIN = "https://shop.example"


@dataclass(slots=True)
class Shop:
    """A shop on a gateway whose clock the test moves, and the platforms' counts of the copies that left."""

    runtime: Runtime
    clock: FrozenClock
    http: httpx.AsyncClient
    tallies: dict[str, Tally] = field(default_factory=lambda: {name: Tally(name, 10_000) for name in PLATFORMS})

    async def live(self, steps: Sequence[Step]) -> None:
        """Do what page and backend do, each at its instant."""
        for step in steps:
            self.clock.set(max(step.at, self.clock.now()))
            await (self._show(step) if step.is_page else self._post(step))

    async def _show(self, step: Step) -> None:
        """The page asks for the id, unless it makes one up, and reports what its pixels fired."""
        event_id = step.event_id
        if event_id is None:
            told = await self.http.put(f"/v1/event-ids/{step.event_name}/{step.number}")
            assert told.status_code == 200, told.text
            event_id = told.json()["event_id"]
        fired = [
            {"platform": name, "event_name": called, "event_id": event_id, "value": str(step.value), "currency": "EUR"}
            for name, called in step.names.items()
        ]
        answer = await self.http.post(
            "/v1/browser-receipts",
            json={"key": BEACON, "receipts": fired},
            headers={"origin": ORIGIN, "authorization": ""},
        )
        assert answer.status_code == 202, answer.text
        for name, called in step.names.items():
            self._count(name, Copy("pixel", called, event_id, "pixel"), step.at)

    async def _post(self, step: Step) -> None:
        answer = await self.http.post("/v1/events", json=step.event)
        assert answer.status_code == 202, answer.text
        (result,) = answer.json()["results"]
        for name, told in result["destinations"].items():
            if told["outcome"] == "queued":
                self._count(name, Copy("pixel", step.event_name, result["event_id"]), step.at)

    def _count(self, platform: str, copy: Copy, at: datetime) -> None:
        self.tallies[platform].add(copy, at.timestamp())

    async def audit(self) -> dict[str, Any]:
        """The audit of the last three days, with everything judged that is due."""
        runtime = self.runtime
        await Auditor(runtime.store.pairs, platforms_of(runtime.policies), runtime.metrics).turn()
        answer = await self.http.get("/v1/audit/dedup?days=3")
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told


@contextlib.asynccontextmanager
async def shop_on(backing: Backing, folder: Path) -> AsyncIterator[Shop]:
    web = {
        "name": "shop",
        "keys": [
            {"hash": hash_of(SHOP), "scopes": ["ingest", "read"]},
            {"hash": hash_of(BEACON), "scopes": ["receipts"]},
        ],
        "destinations": list(PLATFORMS),
        "receipts": True,
        "receipt_origins": [ORIGIN],
    }
    settings = load(write_config(folder, unused_url(), store=backing.settings, sources=[web]), {})
    clock = FrozenClock(DAY)
    async with Runtime.open(settings, now=clock.now) as runtime:
        transport = httpx.ASGITransport(app=create_app(runtime))
        bearer = {"authorization": f"Bearer {SHOP}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://convey.test", headers=bearer) as http:
            yield Shop(runtime, clock, http)


def found(audit: Mapping[str, Any], what: str) -> dict[tuple[str, str], Counter[str]]:
    """What the audit counted, by event name and destination."""
    return {(row["event_name"], row["destination"]): +Counter(row[what]) for row in audit["rows"]}


async def test_an_audit_names_every_planted_fault(
    tmp_path: Path, backing: Backing, figures: Callable[[str], None]
) -> None:
    planted = day(SEED)
    noon = DAY + 12 * HOUR
    async with shop_on(backing, tmp_path) as shop:
        await shop.live([step for step in planted.steps if step.at <= noon])
        shop.clock.set(noon)
        assert_late_posts_are_missed(await shop.audit(), planted, noon)

        await shop.live([step for step in planted.steps if step.at > noon])
        shop.clock.advance(timedelta(hours=2))
        audit = await shop.audit()
        assert found(audit, "verdicts") == planted.verdicts
        assert found(audit, "delays") == planted.delays
        assert {row["event_name"]: row for row in audit["conflicts"]} == {
            name: {"source": "shop", "event_name": name, **counts} for name, counts in planted.conflicts.items()
        }
        assert await shop.audit() == audit, "nothing is counted again"

    for row in audit["rows"]:
        figures(row["words"])
    names = {(row["event_name"], row["destination"]): row["pixel_names"] for row in audit["rows"]}
    assert names == {
        ("Purchase", "meta"): {},
        ("Purchase", "tiktok"): {"CompletePayment": 7},
        ("Lead", "meta"): {},
        ("Lead", "tiktok"): {"SubmitForm": 3},
    }
    said = {(row["event_name"], row["destination"]): row["words"] for row in audit["rows"]}
    assert said["Purchase", "tiktok"] == WORDS
    for platform, tally in shop.tallies.items():
        assert tally.events == shown(audit, platform), f"{platform} would show another number of conversions"


WORDS = (
    "Purchase at tiktok: 60 % paired (10 % with more than an hour between the copies). 19 % server-only: the pixel was "
    "blocked, never fired or was not reported, which is what the server copy is for. 9 % browser-only: the backend "
    "posts late, not at all, or the server copy was refused. 7 % name mismatch: both copies count; the pixel says "
    "CompletePayment. 5 % paired with another value or currency: the first copy to arrive decides which is kept"
)


def shown(audit: Mapping[str, Any], platform: str) -> int:
    """How many conversions a platform shows by what the audit says: two where the names differ, else one of each."""
    rows = [row["verdicts"] for row in audit["rows"] if row["destination"] == platform]
    return sum(sum(verdicts.values()) + verdicts["name_mismatch"] for verdicts in rows)


def assert_late_posts_are_missed(audit: Mapping[str, Any], planted: Day, noon: datetime) -> None:
    """By noon, what fired an hour ago and was not posted yet is reported as missing."""
    posted = {step.number for step in planted.steps if not step.is_page and step.event_id is None and step.at <= noon}
    fired = [step for step in planted.steps if step.is_page and step.at <= noon - HOUR]
    missing = Counter(step.event_name for step in fired if step.number not in posted and step.event_id is None)
    missing += Counter(step.event_name for step in fired if (step.event_id or "").startswith("page-"))
    told = found(audit, "verdicts")
    assert Counter({name: told[name, "meta"]["browser_only"] for name in ("Purchase", "Lead")}) == missing
