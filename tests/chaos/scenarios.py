"""The scenarios, as data: which store, with which durability, what is done to it, and what that durability promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.chaos import faults
from tests.chaos.stores import Cluster, RedisStores, SentinelGroup, Standalone
from tests.chaos.world import World

Fault = Callable[[World], str]


@dataclass(frozen=True, slots=True)
class Scenario:
    """Faults under load, in this order where the run is short, else drawn `draws` times, each at least once."""

    name: str
    faults: tuple[Fault, ...]
    draws: int = 0
    is_short: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """A kind of store with a durability, and the scenarios played on it, one after the other."""

    name: str
    stores: Callable[[], RedisStores]
    durability: Mapping[str, Any]
    promise: str
    scenarios: tuple[Scenario, ...]


STAGES = (
    Stage(
        "one server",
        Standalone,
        {"durability": "fsync"},
        "every 202 outlives kill -9 of anything, as the server writes before it answers; not FLUSHALL",
        (
            Scenario(
                "everything at once",
                (
                    faults.kill_process,
                    faults.reset_connections,
                    faults.kill_process,
                    faults.flush_scripts,
                    faults.lose_primary,
                    faults.kill_process,
                    faults.freeze_worker,
                    faults.stall,
                    faults.kill_process,
                    faults.roll_one,
                ),
                draws=40,
                is_short=True,
            ),
            Scenario("processes killed", (faults.kill_process,), draws=40),
            Scenario("Redis killed and restarted", (faults.lose_primary, faults.restart_redis), draws=10),
            Scenario("network", (faults.reset_connections, faults.stall, faults.flush_scripts), draws=9),
            Scenario("rolling restart", (faults.roll_all,), draws=2),
            Scenario("frozen workers", (faults.freeze_worker,), draws=4),
            Scenario("memory full", (faults.fill_memory,), draws=2, is_short=True),
            Scenario("emptied", (faults.flush_all,), draws=1, is_short=True),
        ),
    ),
    Stage(
        "Sentinel group, replicated",
        SentinelGroup,
        {"durability": "replicated", "replicas": 1},
        "every 202 outlives the loss of the primary while the replica that has it can be promoted",
        (
            Scenario("failover", (faults.lose_primary,), draws=3),
            Scenario("failover and kills", (faults.lose_primary, faults.kill_process, faults.kill_process), draws=8),
        ),
    ),
    Stage(
        "Sentinel group, fsync",
        SentinelGroup,
        {"durability": "fsync"},
        "every 202 outlives the loss of the primary, as the process that gave it tells it again to the replica that "
        "took over; it is lost if that process dies as well before it could",
        (Scenario("failover to a replica that lags", (faults.lose_primary_ahead,), draws=4),),
    ),
    Stage(
        "cluster of six, replicated",
        Cluster,
        {"durability": "replicated", "replicas": 1},
        "every 202 outlives the loss of a master, whose replica has it; until that is back, its slots answer 503",
        (
            Scenario("master lost", (faults.lose_primary,), draws=3),
            Scenario("master lost and kills", (faults.lose_primary, faults.kill_process, faults.kill_process), draws=8),
        ),
    ),
)
