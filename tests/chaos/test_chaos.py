"""Real processes on a real Redis, broken in every way at random instants: nothing lost, nothing counted twice.

`make test` plays the short scenarios; `make chaos` (CONVEY_CHAOS=long) plays all of them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.fleet import Fleet, running
from tests.chaos.scenarios import STAGES, Fault, Scenario, Stage
from tests.chaos.verify import settled
from tests.chaos.world import World
from tests.e2e.harness import sandbox_running

IS_LONG = os.environ.get("CONVEY_CHAOS") == "long"
SEED = int(os.environ.get("CONVEY_CHAOS_SEED", "20261120"))
GAP_S = (0.1, 0.8) if IS_LONG else (0.1, 0.4)


def chosen(stage: Stage) -> list[Scenario]:
    """The scenarios of a stage that this run plays."""
    return [scenario for scenario in stage.scenarios if IS_LONG or scenario.is_short]


def drawn(scenario: Scenario, dice: random.Random) -> list[Fault]:
    """The faults of a scenario in the order of this run."""
    if not IS_LONG:
        return list(scenario.faults)
    picked = [*scenario.faults, *(dice.choice(scenario.faults) for _ in range(scenario.draws - len(scenario.faults)))]
    dice.shuffle(picked)
    return picked


@pytest.mark.parametrize("stage", [stage for stage in STAGES if chosen(stage)], ids=lambda stage: stage.name)
def test_nothing_is_lost_and_nothing_counted_twice(
    stage: Stage, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    with sandbox_running() as sandbox, running(stage.stores) as stores:
        settings = {**stores.settings, **stage.durability}
        with running(lambda: Fleet(tmp_path, sandbox, settings)) as fleet:
            world = World(stores, sandbox, fleet, random.Random(SEED), SEED)
            figures(f"durability {dict(stage.durability)}: {stage.promise}; seed {SEED}")
            for number, scenario in enumerate(chosen(stage)):
                happened = play(scenario, number, world)
                told = ", ".join(happened if len(happened) < 12 else [f"{len(happened)} faults"])
                figures(f"{scenario.name}: {settled(world)}; answers {dict(world.answers)}; {told}")


def play(scenario: Scenario, number: int, world: World) -> list[str]:
    """What was done, after the clients have their answers."""
    happened = []
    with world.under_load(f"C{number}"):
        for fault in drawn(scenario, world.dice):
            world.pass_time(world.dice.uniform(*GAP_S))
            happened.append(fault(world))
            world.wait_served()
    return happened
