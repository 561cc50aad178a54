"""What is done to a gateway under load. Each fault leaves everything running and says in words what it did."""

from __future__ import annotations

from tests.chaos.fleet import READY_S
from tests.chaos.stores import SentinelGroup, Standalone
from tests.chaos.world import World
from tests.e2e.harness import wait_until

LEASE_S = 6.0
STALL_S = 5.0
LAG_S = 0.5
ROOM_BYTES = 1 << 20


def kill_process(world: World) -> str:
    """kill -9 of any process of the gateway."""
    return world.fleet.kill_one(world.dice)


def roll_one(world: World) -> str:
    """SIGTERM to one process, which ends well and comes back."""
    return world.fleet.roll([world.dice.choice(world.fleet.members)])


def roll_all(world: World) -> str:
    """A deployment: every process in turn."""
    return world.fleet.roll(world.fleet.members)


def freeze_worker(world: World) -> str:
    """A worker stands still until others hold its deliveries, and then goes on as if nothing had happened."""
    worker = world.dice.choice(world.fleet.of("worker"))
    worker.wait_ready(READY_S)
    worker.pause()
    try:
        world.pass_time(LEASE_S + 1)
    finally:
        worker.resume()
    return f"SIGSTOP of {worker.folder.name} for longer than its leases"


def lose_primary(world: World) -> str:
    """kill -9 of a Redis that takes writes; where others can take over, they do."""
    return world.stores.fail_over()


def lose_primary_ahead(world: World) -> str:
    """kill -9 of a primary whose replicas lack what it answered in the last half second."""
    assert isinstance(world.stores, SentinelGroup)
    before = world.fleet.restored()
    told = world.stores.fail_over_behind(lambda: world.pass_time(LAG_S))
    wait_until("what was missing to be told again", lambda: world.fleet.restored() > before, 60)
    return f"{told}, {world.fleet.restored() - before} orders told again"


def restart_redis(world: World) -> str:
    """An orderly restart of the server."""
    server = world.stores.primary()
    server.command("SHUTDOWN")
    server.kill()
    server.start()
    return "restart of Redis"


def flush_scripts(world: World) -> str:
    """Every server forgets the scripts it was given."""
    for server in world.stores.servers:
        server.command("SCRIPT", "FLUSH")
    return "SCRIPT FLUSH"


def reset_connections(world: World) -> str:
    """Every connection to the store is reset."""
    assert isinstance(world.stores, Standalone)
    return f"{world.stores.proxy.reset()} connections to Redis reset"


def stall(world: World) -> str:
    """Nothing goes to or comes from the store for longer than an answer may take."""
    assert isinstance(world.stores, Standalone)
    world.stores.proxy.stall()
    try:
        world.pass_time(STALL_S)
    finally:
        world.stores.proxy.flow()
    return f"a stall of {STALL_S:.0f} s before Redis"


def fill_memory(world: World) -> str:
    """The server reaches its maxmemory, since no platform takes anything; it recovers by delivering, not by memory."""
    assert world.load is not None
    load, server = world.load, world.stores.primary()
    told = server.command_text("INFO", "memory")
    used = int(told.split("used_memory:")[1].split("\r\n")[0])
    world.sandbox.script_all({"kind": "down"})
    try:
        assert server.command("CONFIG", "SET", "maxmemory", str(used + ROOM_BYTES)) == "+OK"
        refused = load.statuses[503]
        wait_until("new events to be refused", lambda: load.statuses[503] > refused + 3, 120)
        before = len(load.snapshot())
        world.sandbox.heal()
        wait_until("new events to be taken again", lambda: len(load.snapshot()) > before + 50, 120)
    finally:
        server.command("CONFIG", "SET", "maxmemory", "0")
    return f"maxmemory reached, {load.statuses[503] - refused} requests answered 503, taken again once others had left"


def flush_all(world: World) -> str:
    """Somebody empties the store. What it held is lost; it is noticed, reported, and new events are taken."""
    assert world.load is not None
    load = world.load
    assert world.stores.primary().command("FLUSHALL") == "+OK"
    lost = set(load.snapshot())
    # A 202 that was on its way when the server was emptied has been counted by its client soon after.
    world.pass_time(1)
    lost |= set(load.snapshot())
    world.may_be_lost |= lost
    world.was_emptied = True
    reported = world.fleet.fronts
    wait_until("it to be reported", lambda: all(member.logged("store.vanished") for member in reported), 60)
    before = len(load.snapshot())
    wait_until("new events to be taken", lambda: len(load.snapshot()) > before + 50, 60)
    return "FLUSHALL, reported by every API process, new events taken"
