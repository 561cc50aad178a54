"""One order, asked for and posted by 200 at once through everything that dies: one id, one event, counted once.

`make test` runs a round on each engine, `make chaos` (CONVEY_CHAOS=long) many.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from tests.chaos.fleet import TUNING as FLEET_TUNING
from tests.chaos.fleet import Fleet, running
from tests.chaos.race import Fault, Race, run
from tests.chaos.stores import Standalone
from tests.e2e.harness import PLATFORMS, Order, Sandbox, sandbox_running, wait_until

pytestmark = pytest.mark.anyio

IS_LONG = os.environ.get("CONVEY_CHAOS") == "long"
SEED = int(os.environ.get("CONVEY_CHAOS_SEED", "20261120"))
CALLERS = 200
TUNING = {**FLEET_TUNING, "linger": "1s"}
"""Deliveries begin after the race: else the end waits out the leases of whoever was killed."""
ROUNDS = 12 if IS_LONG else 1


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with sandbox_running() as made:
        yield made


async def test_one_process_on_sqlite_killed_in_between(
    tmp_path: Path, sandbox: Sandbox, figures: Callable[[str], None]
) -> None:
    # One process by design: SQLite has one writer.
    with running(lambda: Fleet(tmp_path, sandbox, {}, ("all",), TUNING)) as fleet:
        dice = random.Random(SEED)

        (member,) = fleet.members
        races = await raced(fleet, dice, Fault(member.kill, member.spawn))
        figures(verdict(races, fleet, sandbox, "the process"))


async def test_three_processes_on_a_redis_killed_in_between(
    tmp_path: Path, sandbox: Sandbox, figures: Callable[[str], None]
) -> None:
    with (
        running(Standalone) as stores,
        running(lambda: Fleet(tmp_path, sandbox, stores.settings, ("all",) * 3, TUNING)) as fleet,
    ):
        dice = random.Random(SEED)

        def mend() -> None:
            stores.primary().start()
            if IS_LONG and dice.random() < 0.5:
                fleet.kill_one(dice)

        races = await raced(fleet, dice, Fault(stores.primary().kill, mend))
        figures(verdict(races, fleet, sandbox, "Redis"))


async def raced(fleet: Fleet, dice: random.Random, fault: Fault) -> list[Race]:
    """Round after round, each about an order of its own."""
    races = []
    for number in range(ROUNDS):
        order = Order(f"RACE-{number}", Decimal(1000 + number) / 100)
        races.append(await run(fleet.urls, order, CALLERS, dice, fault, is_posted_first=number % 2 == 0))
        await anyio.to_thread.run_sync(fleet.wait_ready)
    return races


def verdict(races: list[Race], fleet: Fleet, sandbox: Sandbox, killed: str) -> str:
    """The figures, once each order was found to have one id, one event and one conversion at each platform."""
    for race in races:
        race.assert_fair()
    wait_until("nothing to be pending", lambda: all(not account["pending"] for account in fleet.ledger().values()), 90)
    winners = Counter(race.winner for race in races)
    for name, account in fleet.ledger().items():
        assert account["queued"] == account["delivered"] == len(races), (name, account)
        assert sandbox.counted(name) == winners
        assert sandbox.taken(name).keys() == winners.keys(), "a platform was sent another id"
    troubles: Counter[int | str] = sum((race.troubles for race in races), Counter())
    own = sum(race.winner.startswith("own-") for race in races)
    return (
        f"{len(races)} orders, each asked for by {CALLERS} callers at once, {killed} killed in the middle of each: "
        f"{sum(race.answers for race in races)} answers, one id for everybody ({own} times a caller's own), "
        f"{len(races)} events accepted, each counted once at {len(PLATFORMS)} platforms; "
        f"before their answers callers met {dict(troubles)}; seed {SEED}"
    )
