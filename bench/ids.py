"""What a remembered id and its audit cost, on Redis and on SQLite: `python -m bench.ids --help`.

Ids are minted as pages ask for them; then each of these events gets the server's sighting and the receipts of two
pixels, as ingest and pages report them; then the audit judges all. Bytes are those of the server's memory or of the
file; CPU is of process and server together, and beside it as a share of what the event costs the store otherwise:
accepting it, and claiming and settling its four deliveries. Last, what it costs to count an event's match keys.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from app.auditing import Auditor
from app.dedup.pairs import SERVER, Sighting, encode_sighting
from app.dedup.port import PAIR_RETENTION, IdKey, SideReport
from app.errors import Status
from app.match_keys.counting import MatchKeys
from app.metrics import Metrics
from app.model import Accepted, Plan
from app.tallying import Tallies
from bench.backlog import through
from bench.stores import LANES, Clock, Cost, Planner, Subject, redis_subject, sqlite_subject

BATCH = 200
WINDOW = timedelta(hours=48)
PIXELS = ("meta", "tiktok")
PLATFORMS = {"shop": {lane: lane for lane in LANES}}


def batches(number: int) -> Iterable[range]:
    """The numbers of the events, as many at once as callers ask at once."""
    return (range(first, min(first + BATCH, number)) for first in range(0, number, BATCH))


def event_id(number: int) -> str:
    return f"purchase_ORD-{number:09}"


async def mint(subject: Subject, numbers: Sequence[int]) -> None:
    until = subject.clock.now() + WINDOW
    keys = [IdKey("shop", "Purchase", f"ORD-{number:09}") for number in numbers]
    minted = await asyncio.gather(
        *(subject.store.mint(key, event_id(number), until) for key, number in zip(keys, numbers, strict=True))
    )
    assert all(each.is_new for each in minted)


async def sight(subject: Subject, numbers: Sequence[int]) -> None:
    """The server's own copies, a batch in one report as ingest does it."""
    await _report(subject, [_sighting(subject, number, SERVER) for number in numbers])


async def receipt(subject: Subject, numbers: Sequence[int]) -> None:
    """Pages that report, each for itself."""
    reports = [[_sighting(subject, number, pixel) for pixel in PIXELS] for number in numbers]
    await asyncio.gather(*(_report(subject, each) for each in reports))


async def _report(subject: Subject, reports: Sequence[SideReport]) -> None:
    now = subject.clock.now()
    assert await subject.store.pairs.report(reports, now + timedelta(hours=1), now + PAIR_RETENTION) == len(reports)


def _sighting(subject: Subject, number: int, side: str) -> SideReport:
    now, value = subject.clock.now(), Decimal(1000 + number % 9000) / 100
    names = dict.fromkeys(LANES, "Purchase") if side == SERVER else {side: "Purchase"}
    whose = {"transaction": f"ORD-{number:09}", "event_name": "Purchase"} if side == SERVER else {}
    return SideReport("shop", event_id(number), side, encode_sighting(Sighting(now, names, "EUR", value, **whose)))


async def measure(name: str, opened: AbstractAsyncContextManager[Subject], plans: list[Plan], number: int) -> None:
    """Print the figures of one engine."""
    async with opened as subject:
        await through(subject, plans, 10**8)  # what is made once
        event = await through(subject, plans, 2 * 10**8)
        print(f"{name}: {number:,} ids; an event costs the store {event.total_us:.0f} us otherwise")
        for what, step in (("mint an id", mint), ("server's sighting", sight), ("receipts of two pixels", receipt)):
            costs: list[Cost] = []
            before = subject.bytes()
            with subject.measured(costs):
                for numbers in batches(number):
                    await step(subject, numbers)
            tell(what, costs[0].per(number), event, (subject.bytes() - before) / number)
        subject.clock.ahead += timedelta(hours=2)
        auditor = Auditor(subject.store.pairs, PLATFORMS, Metrics("bench"))
        before = subject.bytes()
        with subject.measured(costs):
            await auditor.turn()
        tell("judge the pair", costs[-1].per(number), event, (subject.bytes() - before) / number)
        counted = sum(many for key, many in (await subject.store.pairs.tallies()).items() if key.endswith("\tpaired"))
        assert counted == number * len(PIXELS), f"{counted} pairs were counted"
        tallies = Tallies(subject.store.tallies)
        match_keys = MatchKeys(tallies, Metrics("bench"), PLATFORMS)
        taken = [Accepted(each.id_request.derived, Status.ACCEPTED, each.verdicts) for each in plans[:BATCH]]
        with subject.measured(costs):
            for numbers in batches(number):
                some = len(numbers)
                match_keys.count("shop", plans[:some], taken[:some], {}, subject.clock.now())
            await tallies.flush()
        tell("count match keys", costs[-1].per(number), event, 0)


def tell(what: str, cost: Cost, event: Cost, size_bytes: float) -> None:
    """One line: bytes, CPU, and the share of the event's own cost."""
    print(
        f"  {what:24} {size_bytes:7.0f} bytes {cost.total_us:7.1f} us (server {cost.server_us:.1f}) "
        f"{cost.total_us / event.total_us:5.2f} x an event"
    )


async def main_async(number: int, engines: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="convey-bench-") as name:
        folder = Path(name)
        clock = Clock()
        plans = Planner(folder, clock).plans(0, 2_000)
        for engine in engines:
            opened = redis_subject(aof=True) if engine == "redis" else sqlite_subject(folder)
            await measure(engine, opened, plans, number)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ids", type=int, default=20_000, help="how many (default 20000)")
    parser.add_argument("--engine", choices=["redis", "sqlite"], action="append", help="only this one")
    chosen = parser.parse_args(arguments)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main_async(chosen.ids, chosen.engine or ["redis", "sqlite"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
