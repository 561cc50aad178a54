"""A million deliveries waiting, on Redis and on SQLite: `python -m bench.backlog --help`.

Says what the process and the server hold with many waiting against few, what an event costs with them waiting against
an empty store, and how fast they leave. The events are the bench's orders under ids of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec

from app.model import Plan
from bench.stores import (
    LANES,
    LEASE,
    Clock,
    Cost,
    Planner,
    Subject,
    delivered,
    redis_subject,
    rss_bytes,
    sqlite_subject,
)

BATCH = 200
SAMPLES = 2_000
PROBE_EVENTS = 2_000
FEW = 10_000
RSS_BUDGET, CPU_BUDGET = 1.3, 1.2


def renamed(plans: list[Plan], first: int, number: int, clock: Clock) -> Iterator[list[Plan]]:
    """Batches of these plans, each under an id of its own."""
    now = clock.now()
    for start in range(first, first + number, BATCH):
        batch = []
        for position in range(start, min(start + BATCH, first + number)):
            each = plans[position % len(plans)]
            transaction = f"ORD-{position:09}"
            request = replace(
                each.id_request,
                transaction=transaction,
                derived=f"purchase_{transaction}",
                remember_until=now + timedelta(days=2),
            )
            event = msgspec.structs.replace(each.event, transaction_id=transaction)
            batch.append(replace(each, event=event, id_request=request, accepted_at=now))
        yield batch


def show(done: int, total: int, started: float) -> None:
    """How far it is, where somebody looks."""
    if sys.stderr.isatty() or done == total:
        rate = done / max(time.monotonic() - started, 1e-9)
        print(
            f"\r  {done:>9,} of {total:,} deliveries accepted, {rate:,.0f}/s ",
            end="\n" if done == total else "",
            file=sys.stderr,
        )


async def through(subject: Subject, plans: list[Plan], first: int) -> Cost:
    """CPU per event of accepting and delivering `PROBE_EVENTS`, whatever else waits."""
    costs: list[Cost] = []
    for batch in renamed(plans, first, PROBE_EVENTS, subject.clock):
        with subject.measured(costs):
            await subject.store.accept(batch)
            for lane in LANES:
                claimed = await subject.store.claim(lane, BATCH, LEASE)
                assert len(claimed) == BATCH
                await subject.store.settle(delivered(claimed))
    return Cost(sum(each.process_us for each in costs), sum(each.server_us for each in costs)).per(PROBE_EVENTS)


async def settled_down(subject: Subject) -> None:
    """Let go of what is kept for a moment only."""
    subject.clock.ahead += timedelta(0)
    recall = getattr(subject.store, "_recall", None)
    if recall is not None:
        recall.keep_for = timedelta(0)
        recall.same_servers()
        recall.keep_for = timedelta(seconds=30)
    gc.collect()


async def measure(name: str, opened: AbstractAsyncContextManager[Subject], plans: list[Plan], waiting: int) -> bool:
    """Print the figures of one engine; returns whether the budgets hold."""
    events = waiting // len(LANES)
    print(f"{name}: {waiting:,} deliveries of {events:,} events")
    async with opened as subject:
        await through(subject, plans, 10**8)  # what is made once
        empty = await through(subject, plans, 2 * 10**8)
        base = subject.bytes()
        done, started = 0, time.monotonic()
        few_rss = 0
        for batch in renamed(plans, 0, events, subject.clock):
            await subject.store.accept(batch)
            done += len(batch) * len(LANES)
            if not few_rss and done >= FEW:
                few_rss = rss_bytes()
            if done % 10_000 == 0 or done == events * len(LANES):
                show(done, events * len(LANES), started)
        many_rss, many_bytes = rss_bytes(), subject.bytes()
        full = await through(subject, plans, 3 * 10**8)
        drained, started = 0, time.monotonic()
        costs: list[Cost] = []
        with subject.measured(costs):
            while drained < min(waiting, 100_000):
                for lane in LANES:
                    claimed = await subject.store.claim(lane, BATCH, LEASE)
                    await subject.store.settle(delivered(claimed))
                    drained += len(claimed)
        rate = drained / (time.monotonic() - started)
        await settled_down(subject)
        later_rss = rss_bytes()
        backlog = await subject.store.backlog()
        assert sum(each.ready for each in backlog.values()) == waiting - drained
    rss, cpu = many_rss / few_rss, full.total_us / empty.total_us
    few, many, later = (f"{size / 2**20:.0f} MiB" for size in (few_rss, many_rss, later_rss))
    print(
        f"  process: {few} with {FEW:,} waiting, {many} with all: {rss:.2f} x (aim {RSS_BUDGET}); {later} once drained"
    )
    print(f"  store: {(many_bytes - base) / events:,.0f} bytes per waiting event, {many_bytes / 2**20:.0f} MiB in all")
    costs_of = f"{empty.total_us:.0f} us with none waiting, {full.total_us:.0f} us with all"
    print(f"  CPU per event: {costs_of}: {cpu:.2f} x (aim {CPU_BUDGET})")
    if full.server_us:
        print(f"  of that the server: {empty.server_us:.0f} us and {full.server_us:.0f} us")
    print(f"  drain: {rate:,.0f} deliveries/s by one process, {costs[0].per(drained).total_us:.0f} us of CPU each")
    return rss <= RSS_BUDGET and cpu <= CPU_BUDGET


async def run(waiting: int, engines: list[str]) -> bool:
    """Each engine in turn."""
    good = True
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)  # as the gateway does at its start
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plans = Planner(folder, Clock()).plans(0, SAMPLES)
        if "redis" in engines:
            good &= await measure("Redis", redis_subject(aof=False), plans, waiting)
        if "sqlite" in engines:
            good &= await measure("SQLite", sqlite_subject(folder), plans, waiting)
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--waiting", type=int, default=1_000_000, help="deliveries that wait (default 1000000)")
    parser.add_argument("--engine", choices=("redis", "sqlite"), action="append", help="which (default both)")
    arguments = parser.parse_args()
    good = asyncio.run(run(arguments.waiting, arguments.engine or ["redis", "sqlite"]))
    print("within the aims" if good else "an aim is missed")


if __name__ == "__main__":
    main()
