"""kill -9 of the gateway, over and over, under load and with trouble at the platforms: nothing lost, nothing twice."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.backing import Backing, SqliteBacking
from tests.e2e.harness import (
    PLATFORMS,
    Gateway,
    Load,
    Sandbox,
    assert_ledger_closes,
    money,
)

SEED = int(os.environ.get("CONVEY_CHAOS_SEED", "20261120"))
TROUBLE = (
    {"kind": "lost_answer", "times": None, "probability": 0.06},
    {"kind": "500", "times": None, "probability": 0.05},
    {"kind": "429", "times": None, "probability": 0.05, "retry_after_s": 1},
    {"kind": "reset", "times": None, "probability": 0.02},
    {"kind": "half_body", "times": None, "probability": 0.02},
    {"kind": "slow", "times": None, "probability": 0.05, "delay_s": 0.3},
)
TUNING = {"timeout": "2s", "lease": "8s", "retry": {"first": "200ms", "cap": "1s"}}


@pytest.fixture
def gateway(tmp_path: Path, sandbox: Sandbox, backing: Backing) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path / "gateway", sandbox.url, tuning=TUNING, store=backing.settings)
    try:
        yield gateway
    finally:
        gateway.close()


def kill_at(gateway: Gateway, seconds: float) -> None:
    """Kill the gateway this long after now, having done nothing in between."""
    instant = time.monotonic() + seconds
    while (left := instant - time.monotonic()) > 0:
        time.sleep(left)
    gateway.kill()


def test_no_order_is_lost_or_counted_twice_however_often_the_process_is_killed(
    gateway: Gateway, sandbox: Sandbox, backing: Backing, figures: Callable[[str], None]
) -> None:
    kills = int(os.environ.get("CONVEY_CHAOS_KILLS") or (50 if isinstance(backing, SqliteBacking) else 12))
    dice = random.Random(SEED)
    load = Load(gateway.url, prefix="K", seed=SEED, give_up=0.25, fire_pixels=sandbox.fire_pixels)
    sandbox.script_all(*TROUBLE, seed=SEED)
    instants: list[str] = []
    try:
        gateway.start()
        load.start()
        for number in range(kills):
            if number % 8 == 7:
                gateway.spawn()
                instants.append(f"start+{dice.uniform(0.2, 0.9):.3f}")
            else:
                if number:
                    gateway.start()
                instants.append(f"{dice.uniform(0.0, 0.45):.3f}")
            kill_at(gateway, float(instants[-1].removeprefix("start+")))
            promised = load.snapshot()
            book = backing.book(load.all_posted())
            book.assert_true()
            assert not book.missing(promised), f"after kill {number + 1}: accepted, but not in the store"

        gateway.start()
        load.finish()
        sandbox.heal()
        gateway.wait_settled(timeout_s=60)
    finally:
        load.abort()

    assert not load.wrong, load.wrong[:5]
    assert set(load.statuses) <= {202, 503, *(status for status in load.statuses if isinstance(status, str))}
    ledger = gateway.ledger()
    assert_ledger_closes(ledger)
    assert gateway.stop() == 0
    book = backing.book(load.posted)
    book.assert_true()

    kept = {event_id: load.posted[event_id] for event_id in book.events}
    assert load.accepted.keys() <= kept.keys()
    assert kept.keys() - load.accepted.keys() <= load.given_up.keys()
    assert all(states == dict.fromkeys(PLATFORMS, "delivered") for states in book.states.values())
    lost = twice = repeated = counted = 0
    for name in PLATFORMS:
        assert ledger[name]["queued"] == ledger[name]["delivered"] == len(kept)
        conversions = sandbox.conversions(name)
        by_server = [conversion["event_id"] for conversion in conversions if "server" in conversion["sources"]]
        lost += len(load.accepted.keys() - set(by_server))
        twice += len(conversions) - len({conversion["event_id"] for conversion in conversions})
        counted += len(by_server)
        repeated += sandbox.taken(name).total() - len(by_server)
        assert set(by_server) == kept.keys()
        assert {conversion["event_id"] for conversion in conversions} == kept.keys() | load.pixeled.keys()
        assert sandbox.counted_money(name) == money((kept | load.pixeled).values())
    totals = sandbox.totals()
    instants_told = " ".join(instants)
    figures(
        f"kills {len(instants)}, posted {len(load.posted)}, accepted {len(load.accepted)} (answered 202), "
        f"kept {len(kept)} (of them {len(kept.keys() - load.accepted.keys())} whose 202 nobody saw), "
        f"pixel copies of {len(load.pixeled)}; deliveries: delivered "
        f"{sum(account['delivered'] for account in ledger.values())}, counted {counted}, lost {lost}, "
        f"counted twice {twice}, repeated sends {repeated}; start-up {min(gateway.startups):.2f} to "
        f"{max(gateway.startups):.2f} s; answers to clients {dict(load.statuses)}; "
        f"faults played { ({name: totals[name]['faults'] for name in PLATFORMS}) }; seed {SEED}, seconds at which "
        f"it was killed, after readiness or after start: {instants_told}"
    )
    assert (lost, twice) == (0, 0)
    assert all(totals[name]["unexpected"] == 0 for name in PLATFORMS)
    assert repeated > 0, "no send was repeated: the trouble did not reach the lanes"
    assert set(load.statuses) - {202, 503}, "no client ever lost its connection: the kills did not reach the load"
