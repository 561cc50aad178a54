"""A gateway of many processes with everything around it, and what it owes by now."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.chaos.fleet import Fleet
from tests.chaos.stores import RedisStores
from tests.e2e.harness import Load, Order, Sandbox, wait_until

TROUBLE = (
    {"kind": "lost_answer", "times": None, "probability": 0.05},
    {"kind": "500", "times": None, "probability": 0.05},
    {"kind": "429", "times": None, "probability": 0.05, "retry_after_s": 1},
    {"kind": "reset", "times": None, "probability": 0.03},
    {"kind": "half_body", "times": None, "probability": 0.03},
    {"kind": "hang", "times": None, "probability": 0.02, "max_s": 5},
)
"""What the platforms do all the while, each with dice of its own."""


@dataclass(slots=True)
class World:
    """Everything that takes part. `posted` and `accepted` are of all loads so far, by event id."""

    stores: RedisStores
    sandbox: Sandbox
    fleet: Fleet
    dice: random.Random
    seed: int
    posted: dict[str, Order] = field(default_factory=dict)
    accepted: dict[str, Order] = field(default_factory=dict)
    may_be_lost: set[str] = field(default_factory=set)
    """Event ids whose loss is within what the durability promises."""
    answers: Counter[int | str] = field(default_factory=Counter)
    was_emptied: bool = False
    """Whether the store's counts began anew, so that they no longer say everything that was delivered."""
    load: Load | None = None

    @contextmanager
    def under_load(self, prefix: str) -> Iterator[Load]:
        """Clients that post to every API process, with trouble at the platforms, until left; then all is answered."""
        self.sandbox.script_all(*TROUBLE, seed=self.seed)
        self.load = load = Load(
            self.fleet.urls, prefix=prefix, seed=self.seed, clients=3, pause_s=0.06, largest_batch=10, give_up=0.1
        )
        load.start()
        try:
            yield load
            self.fleet.wait_ready()
            load.finish(timeout_s=90)
            self.sandbox.heal()
        finally:
            load.abort()
            self.posted |= load.posted
            self.accepted |= load.accepted
            self.answers += load.statuses
        assert not load.wrong, load.wrong[:5]

    def wait_served(self) -> None:
        """Return once the gateway takes events again: whatever was done, it recovers by itself."""
        assert self.load is not None
        load, before = self.load, len(self.load.snapshot())
        wait_until("events to be taken", lambda: len(load.snapshot()) >= before + 10, 120)

    def pass_time(self, seconds: float) -> None:
        """Let the load go on for a while."""
        time.sleep(seconds)
