"""Opens the engine that the configuration's store URL names, and waits for a store that is not there yet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from app.config import StoreConfig
from app.errors import StoreMismatch, StoreUnavailable
from app.logs import wide_event
from app.outbox.address import shown_url
from app.outbox.datakeys import PLAIN
from app.outbox.port import Store
from app.outbox.redis import RedisStore
from app.outbox.room import NO_LIMITS, Limits
from app.outbox.sqlite import SqliteStore

T = TypeVar("T")
log = logging.getLogger("convey.store")

FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 5.0


@contextlib.asynccontextmanager
async def opened(
    config: StoreConfig,
    destinations: Sequence[str],
    now: Callable[[], datetime] | None,
    stop: asyncio.Event | None = None,
    limits: Limits = NO_LIMITS,
    proof_retention: timedelta = timedelta(days=90),
    given_up: frozenset[str] = frozenset(),
) -> AsyncIterator[Store]:
    """The store, with a lane for each of `destinations`; closed on leaving, whatever happened. Holds to `limits`.

    `now` is the clock of an SQLite store; a Redis store goes by its server's own unless tests give one. A Redis
    store that does not answer is waited for up to `start_within`, less if `stop` is set. What is sealed under an
    encryption key whose id is in `given_up` is given up for good.

    Raises:
        StoreMismatch: It cannot be used as it is, however long one waits.
        StoreUnavailable: It was not there in time.
    """
    store = await patiently(lambda: _open(config, destinations, now, limits, proof_retention, given_up), config, stop)
    try:
        yield store
    finally:
        await store.close()


async def _open(
    config: StoreConfig,
    destinations: Sequence[str],
    now: Callable[[], datetime] | None,
    limits: Limits,
    proof_retention: timedelta,
    given_up: frozenset[str],
) -> Store:
    sealed = config.encryption.encryption if config.encryption is not None else PLAIN
    encryption = replace(sealed, given_up=given_up)
    if config.is_shared:
        return await RedisStore.open(
            config.address,
            destinations=destinations,
            now=now,
            journal_retention=config.journal_retention,
            dead_letter_retention=config.dead_letter_retention,
            proof_retention=proof_retention,
            durability=config.durability,
            replicas=config.replicas,
            partitions=config.partitions,
            allow_weak=config.allow_weak,
            answer_within=config.answer_within,
            limits=limits,
            encryption=encryption,
        )
    return await SqliteStore.open(
        config.path,
        destinations=destinations,
        now=now or utc_now,
        journal_retention=config.journal_retention,
        dead_letter_retention=config.dead_letter_retention,
        proof_retention=proof_retention,
        synchronous="OFF" if config.durability == "memory" else "FULL",
        max_bytes=config.max_bytes,
        limits=limits,
        encryption=encryption,
    )


async def patiently(attempt: Callable[[], Awaitable[T]], config: StoreConfig, stop: asyncio.Event | None = None) -> T:
    """What the first attempt gives that does not find the store unavailable; each other one is told of.

    Raises: StoreUnavailable when `start_within` is over, or `stop` is set.
    """
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    until = loop.time() + (config.start_within.total_seconds() if config.is_shared else 0)
    wait_s = FIRST_WAIT_S
    while True:
        try:
            return await attempt()
        except StoreUnavailable as error:
            left = until - loop.time()
            if left <= 0 or stop.is_set():
                raise
            wide_event(
                log,
                "store.waiting",
                level=logging.WARNING,
                host=shown_url(config.url),
                detail=_why(error),
                retry_after_s=round(min(wait_s, left), 2),
            )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(wait_s, left)):
                await stop.wait()
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def _why(error: StoreUnavailable) -> str:
    """The reason in the words of whoever knows it best; a driver's names hosts and ports, never a password."""
    return str(error.__cause__ or error)


async def refuse_unroutable(store: Store, names: Sequence[str]) -> None:
    """Return if everything that waits in the store is for one of `names`.

    Raises: StoreMismatch.
    """
    waiting = await store.unroutable(names)
    if waiting:
        listed = ", ".join(f"{name} ({number})" for name, number in sorted(waiting.items()))
        raise StoreMismatch(
            f"the store has deliveries waiting for destinations that are not configured: {listed}. "
            "Put them back under these names until the ledger shows nothing pending for them, or end what waits for "
            "good, one at a time, with: convey destinations forget NAME"
        )


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)
