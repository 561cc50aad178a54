"""What accepting, claiming and settling cost on Redis, on SQLite, and on a bare floor: `python -m bench.redis --help`.

The figures that count are ratios of one run. The floor is what any queue on Redis has to do, with no ids, no fence, no
ledger: a pipeline of plain commands that keeps each body once, ranks it in a sorted set per destination, takes the
first ones, and deletes them.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import redis as client

from app.errors import Outcome, Reason
from app.model import Settlement, encode_event
from bench.stores import (
    LANES,
    LEASE,
    TRACE,
    Clock,
    Cost,
    Planner,
    Subject,
    delivered,
    process_us,
    redis_subject,
    sqlite_subject,
)
from tests.redis_server import RedisServer

Row = dict[str, Cost]


async def accept_all(
    subject: Subject, planner: Planner, first: int, events: int, batch: int, costs: list[Cost]
) -> None:
    for start in range(first, first + events, batch):
        plans = planner.plans(start, batch)
        with subject.measured(costs):
            await subject.store.accept(plans)


def total(costs: list[Cost]) -> Cost:
    return Cost(sum(each.process_us for each in costs), sum(each.server_us for each in costs))


async def run(subject: Subject, planner: Planner, events: int, batch: int) -> Row:
    """CPU per delivery of each step, all events accepted before the first is claimed."""
    costs: dict[str, list[Cost]] = {"accept": [], "claim": [], "settle": []}
    await accept_all(subject, planner, 0, events, batch, costs["accept"])
    for lane in LANES:
        taken = 0
        while taken < events:
            with subject.measured(costs["claim"]):
                batch_of = await subject.store.claim(lane, batch, LEASE)
            with subject.measured(costs["settle"]):
                await subject.store.settle(delivered(batch_of))
            taken += len(batch_of)
    return {step: total(each).per(events * len(LANES)) for step, each in costs.items()}


def run_floor(planner: Planner, events: int, batch: int) -> Row:
    server = RedisServer({"appendonly": "no"})
    server.start()
    costs: Row = {}
    with client.Redis(port=server.port) as connection:

        def cpu() -> tuple[float, float]:
            told = dict(connection.info("cpu"))
            return process_us(), 1e6 * (told["used_cpu_user"] + told["used_cpu_sys"])

        def add(step: str, before: tuple[float, float]) -> None:
            after, known = cpu(), costs.get(step, Cost(0, 0))
            costs[step] = Cost(known.process_us + after[0] - before[0], known.server_us + after[1] - before[1])

        for start in range(0, events, batch):
            bodies = [encode_event(each.event) for each in planner.plans(start, batch)]
            before = cpu()
            with connection.pipeline(transaction=False) as pipe:
                for number, body in enumerate(bodies, start):
                    pipe.set(f"b:{number}", body)
                for lane in LANES:
                    pipe.zadd(f"r:{lane}", {str(number): 1.0 for number in range(start, start + len(bodies))})
                pipe.execute()
            add("accept", before)
        for lane in LANES:
            for _ in range(0, events, batch):
                before = cpu()
                numbers = connection.zrangebyscore(f"r:{lane}", "-inf", 2, start=0, num=batch)
                with connection.pipeline(transaction=False) as pipe:
                    pipe.zadd(f"r:{lane}", dict.fromkeys(numbers, 3.0))
                    pipe.mget([b"b:" + number for number in numbers])
                    pipe.execute()
                add("claim", before)
                before = cpu()
                connection.zrem(f"r:{lane}", *numbers)
                add("settle", before)
    server.close()
    return {step: cost.per(events * len(LANES)) for step, cost in costs.items()}


async def memory(planner: Planner, events: int, batch: int, lanes: Sequence[str]) -> dict[str, float]:
    """Bytes of server memory per event for these lanes: waiting as new, waiting after a try, settled as the journal
    tells it, and per id that is remembered."""
    async with redis_subject(aof=False, journal_retention=timedelta(hours=1)) as subject:
        store = subject.store

        async def accept(first: int, number: int) -> None:
            for start in range(first, first + number, batch):
                plans = planner.plans(start, batch)
                await store.accept(
                    [
                        replace(plan, deliveries=tuple(each for each in plan.deliveries if each.destination in lanes))
                        for plan in plans
                    ]
                )

        async def settle(outcome: Outcome, reason: Reason | None) -> int:
            for lane in lanes:
                while claimed := await store.claim(lane, batch, LEASE):
                    later = subject.clock.now() + timedelta(minutes=5)
                    await store.settle(
                        [Settlement(each, outcome, reason, None, TRACE, ready_at=later) for each in claimed]
                    )
            return subject.bytes()

        await accept(10**9, batch)  # what is made once
        empty = subject.bytes()
        await accept(0, events)
        waiting = subject.bytes()
        tried = await settle(Outcome.RETRYING, Reason.PLATFORM_ERROR)
        subject.clock.ahead = timedelta(minutes=6)
        settled = await settle(Outcome.DELIVERED, None)
        subject.clock.ahead = timedelta(hours=3)
        while await store.sweep():
            pass
        remembered = subject.bytes()
        subject.clock.ahead = timedelta(days=4)
        for _ in range(200):
            await store.sweep()
        forgotten = subject.bytes()
    sizes = {
        "waiting, as new": waiting - empty,
        "waiting, after a try": tried - empty,
        "settled, in the journal": settled - forgotten,
        "remembered id": remembered - forgotten,
    }
    return {what: size / events for what, size in sizes.items()}


def show(name: str, row: Row, floor: Row | None) -> None:
    steps = ("accept", "claim", "settle")
    server = "  ".join(f"{row[step].server_us:7.1f}" for step in steps)
    process = "  ".join(f"{row[step].process_us:7.1f}" for step in steps)
    every = sum(row[step].total_us for step in steps)
    ratio = "" if floor is None else f"{every / sum(floor[step].total_us for step in steps):6.1f} x"
    print(f"{name:28} server {server}   process {process}   {every:7.1f} {ratio}")


async def measure(events: int, batch: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        planner = Planner(folder, Clock())
        print(f"{events} events for {len(LANES)} destinations, batches of {batch}; CPU in microseconds per delivery")
        print(f"{'':28} server {'accept':>7}  {'claim':>7}  {'settle':>7}   process (the same)                both")
        floor = run_floor(planner, events, batch)
        show("floor: plain commands", floor, None)
        async with redis_subject(aof=False) as subject:
            show("Redis, in memory", await run(subject, planner, events, batch), floor)
        async with redis_subject(aof=True) as subject:
            show("Redis, AOF always", await run(subject, planner, events, batch), floor)
        async with redis_subject(aof=False, partitions=256) as subject:
            show("Redis, 256 partitions", await run(subject, planner, events, batch), floor)
        async with sqlite_subject(folder) as subject:
            show("SQLite", await run(subject, planner, events, batch), floor)
        for lanes in (LANES[:1], LANES):
            for what, size in (await memory(planner, events, batch, lanes)).items():
                print(f"bytes of Redis per event, {len(lanes)} destinations, {what}: {size:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=10_000, help="how many events (default 10000)")
    parser.add_argument("--batch", type=int, default=200, help="events or deliveries per call (default 200)")
    arguments = parser.parse_args()
    started = time.monotonic()
    asyncio.run(measure(arguments.events, arguments.batch))
    print(f"took {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
