"""What the measurements of the stores share: plans as the gateway makes them, engines, and what they cost."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import redis

from app.api.parse import read_events
from app.config import load
from app.errors import Outcome
from app.model import Delivery, Plan, Settlement
from app.outbox.port import Store
from app.outbox.redis import RedisStore
from app.outbox.sqlite import SqliteStore
from app.pipeline import plan
from app.policies import source_policy
from bench.orders import order
from bench.processes import BenchError, configuration
from tests.redis_server import RedisServer, find_binary

LANES = ("meta", "tiktok", "pinterest", "snapchat")
LEASE = timedelta(minutes=10)
TRACE = "AbCdEfGh1jKlMn0pQrStUvWx"
"""A platform's word on a delivery, as long as Meta's."""


class Clock:
    """The wall clock, moved on by hand."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Planner:
    """Makes plans of the bench's orders with the gateway's own parts, for four destinations."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        settings = load(configuration(folder, "http://127.0.0.1:9", "1m"), {})
        self._policy = source_policy(settings, settings.sources[0], b"bench", b"bench")
        self._clock = clock

    def plans(self, first: int, number: int) -> list[Plan]:
        now = self._clock.now()
        body = orjson.dumps({"events": [order(each, now) for each in range(first, first + number)]})
        made = []
        for parsed in read_events(body, number, is_strict=False):
            assert parsed.event is not None
            made.append(plan(parsed.event, self._policy, self._policy.forms, now))
        return made


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU of a stretch of work in microseconds: of this process, and of the server."""

    process_us: float
    server_us: float

    def per(self, number: int) -> Cost:
        return Cost(self.process_us / number, self.server_us / number)

    @property
    def total_us(self) -> float:
        return self.process_us + self.server_us


@dataclass(slots=True)
class Subject:
    """An engine that is measured, with the server it needs."""

    store: Store
    clock: Clock
    server: redis.Redis | None = None
    folder: Path | None = None

    def info(self) -> dict[str, Any]:
        assert self.server is not None
        told: Any = self.server.info("everything")
        return dict(told)

    def server_us(self) -> float:
        """CPU the server has used, user and kernel."""
        if self.server is None:
            return 0.0
        told = self.info()
        return 1e6 * float(told["used_cpu_user"] + told["used_cpu_sys"])

    def scripts_us(self) -> float:
        """Time the server has spent in the scripts."""
        stats = self.info().get("cmdstat_evalsha", {"usec": 0})
        return float(stats["usec"])

    def bytes(self) -> int:
        """What the store occupies: the server's memory, or the size of the file."""
        if self.server is not None:
            return int(self.info()["used_memory"])
        return self.store.size_bytes()

    @contextlib.contextmanager
    def measured(self, into: list[Cost]) -> Iterator[None]:
        server, process = self.server_us(), process_us()
        yield
        into.append(Cost(process_us() - process, self.server_us() - server))


def process_us() -> float:
    """CPU this process has used in all its threads."""
    return time.process_time() * 1e6


def rss_bytes() -> int:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@contextlib.asynccontextmanager
async def redis_subject(*, aof: bool, **options: Any) -> AsyncIterator[Subject]:
    """The Redis engine over a server of its own; `aof` with the append-only file synced at every change."""
    if find_binary() is None:
        raise BenchError("no redis-server: run scripts/get_redis.sh")
    server = RedisServer({} if aof else {"appendonly": "no"})
    server.start()
    clock = Clock()
    try:
        store = await RedisStore.open(
            server.url,
            destinations=LANES,
            now=clock.now,
            durability="fsync" if aof else "memory",
            answer_within=timedelta(seconds=60),
            **options,
        )
        with redis.Redis(port=server.port) as client:
            yield Subject(store, clock, client)
        await store.close()
    finally:
        server.close()


@contextlib.asynccontextmanager
async def sqlite_subject(folder: Path, **options: Any) -> AsyncIterator[Subject]:
    """The SQLite engine on a file of its own."""
    clock = Clock()
    store = await SqliteStore.open(folder / "bench.db", destinations=LANES, now=clock.now, **options)
    yield Subject(store, clock, folder=folder)
    await store.close()


def delivered(deliveries: Sequence[Delivery]) -> list[Settlement]:
    """Each of them taken by its platform."""
    return [Settlement(each, Outcome.DELIVERED, trace_id=TRACE) for each in deliveries]
