"""The composition root: opens what a process needs, wires it, closes it in reverse. The only wiring there is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

from app import __revision__, __version__
from app.api.guards import KeyRing, Principal
from app.api.health import Health
from app.config import DestinationConfig, Settings, SourceConfig, reload_destination
from app.delivery.lane import Lane, LaneConfig
from app.delivery.retry import RetryPolicy
from app.delivery.sender import Sender
from app.delivery.worker import Worker
from app.destinations.registry import destinations as known_destinations
from app.errors import ConfigError, StoreMismatch, StoreUnavailable
from app.ingest import Ingest
from app.logs import wide_event
from app.metrics import Metrics
from app.outbox.sqlite import SqliteStore
from app.pipeline import Route, SourcePolicy

log = logging.getLogger("convey.runtime")

READINESS_PERIOD_S = 2.0
SECRET_PERIOD_S = 1.0


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Runtime:
    """Everything one process runs, opened and wired."""

    def __init__(
        self, settings: Settings, store: SqliteStore, sender: Sender, metrics: Metrics, now: Callable[[], datetime]
    ) -> None:
        self.settings = settings
        self.store = store
        self.metrics = metrics
        self.health = Health()
        self.keys = KeyRing(_principals(settings), now)
        self.strict_sources = frozenset(source.name for source in settings.sources if source.strict)
        self.now = now
        self.policies = {source.name: source_policy(settings, source) for source in settings.sources}
        self.ingest = Ingest(store, self.policies, metrics, now)
        lanes = [
            Lane(lane_config(destination), store, sender, metrics, now, progressed=self.health.progressed)
            for destination in settings.destinations
        ]
        self._worker = Worker(lanes, store, metrics, now, settings.store.max_bytes or 0)
        self._working: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, settings: Settings, now: Callable[[], datetime] = utc_now) -> AsyncIterator[Runtime]:
        """A runtime at work; what it opened is closed on leaving, whatever happened.

        Raises: StoreMismatch or StoreUnavailable when the store cannot be used.
        """
        names = [destination.name for destination in settings.destinations]
        store = await SqliteStore.open(
            settings.store.path,
            destinations=names,
            now=now,
            journal_retention=settings.store.journal_retention,
            synchronous="OFF" if settings.store.durability == "memory" else "FULL",
            max_bytes=settings.store.max_bytes,
        )
        try:
            await _refuse_unroutable(store, [*names, *settings.disabled])
            metrics = Metrics(
                __version__,
                [source.name for source in settings.sources],
                names,
                revision=__revision__,
                types={destination.name: destination.type for destination in settings.destinations},
            )
            sender = Sender(token_expires=metrics.set_token_expiry)
            runtime = cls(settings, store, sender, metrics, now)
            await runtime._worker.measure()
            runtime._working = asyncio.create_task(runtime._worker.run(), name="worker")
            runtime._watching = asyncio.create_task(runtime._watch(), name="watch")
            try:
                yield runtime
            finally:
                runtime._watching.cancel()
                await asyncio.wait({runtime._watching})
                await runtime.drain()
                await sender.close()
        finally:
            await store.close()

    async def until_failed_or(self, stop: asyncio.Event) -> None:
        """Return when `stop` is set; raise when the worker fails, so that the process ends and is started anew."""
        assert self._working is not None
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({stopping, self._working}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        if self._working.done():
            self._working.result()

    async def drain(self) -> None:
        """Stop the lanes: what is under way finishes or is put back. Calling it again does nothing."""
        assert self._working is not None
        if not self._working.done():
            await self._worker.drain(self._working, self.settings.server.drain)
            await self._worker.measure()

    async def _watch(self) -> None:
        """Keep readiness fresh and notice replaced secret files."""
        stamps = {destination.name: _stamps(destination.secret_files) for destination in self.settings.destinations}
        next_probe = 0.0
        loop = asyncio.get_running_loop()
        while True:
            if loop.time() >= next_probe:
                await self._probe()
                next_probe = loop.time() + READINESS_PERIOD_S
            for destination in self.settings.destinations:
                seen = _stamps(destination.secret_files)
                if seen != stamps[destination.name]:
                    stamps[destination.name] = seen
                    self._reload(destination.name)
            await asyncio.sleep(SECRET_PERIOD_S)

    async def _probe(self) -> None:
        reason = None
        try:
            async with asyncio.timeout(READINESS_PERIOD_S * 2):
                await self.store.probe()
        except (StoreUnavailable, TimeoutError) as error:
            reason = str(error) or "the store does not answer in time"
        if self.health.report(reason) and not self.health.is_closing:
            level = logging.INFO if reason is None else logging.ERROR
            wide_event(log, "readiness", level=level, state="unready" if reason else "ready", detail=reason)

    def _reload(self, name: str) -> None:
        try:
            fresh = reload_destination(self.settings, name)
        except ConfigError as error:
            wide_event(log, "secret.unusable", level=logging.ERROR, destination=name, detail=str(error))
            return
        self._worker.lanes[name].reconfigure(lane_config(fresh))
        wide_event(log, "secret.replaced", destination=name)


async def _refuse_unroutable(store: SqliteStore, names: list[str]) -> None:
    waiting = await store.unroutable(names)
    if waiting:
        listed = ", ".join(f"{name} ({number})" for name, number in sorted(waiting.items()))
        raise StoreMismatch(
            f"the store has deliveries waiting for destinations that are not configured: {listed}. "
            "Put them back under these names until the ledger shows nothing pending for them"
        )


def _stamps(files: tuple[Path, ...]) -> tuple[tuple[int, int] | None, ...]:
    """What changes when a secret file is replaced; None for one that is not there at the moment."""
    stamps: list[tuple[int, int] | None] = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            stamps.append(None)
        else:
            stamps.append((status.st_mtime_ns, status.st_ino))
    return tuple(stamps)


def _principals(settings: Settings) -> dict[str, Principal]:
    return {
        key.hash: Principal(source.name, key.name or f"{source.name}-{position}", frozenset(key.scopes), key.expires)
        for source in settings.sources
        for position, key in enumerate(source.keys)
    }


def source_policy(settings: Settings, source: SourceConfig) -> SourcePolicy:
    """What the configuration says about one source, as the pipeline reads it."""
    known = known_destinations()
    return SourcePolicy(
        name=source.name,
        routes=tuple(
            Route(
                destination.name,
                known[destination.type],
                destination.settings,
                source.destinations is None or destination.name in source.destinations,
            )
            for destination in settings.destinations
        ),
        dedup_window=source.dedup_window,
        has_pixel=source.pixel,
        leak_policy=source.leak_policy,
        sends_conflicts=source.on_conflict == "send",
        event_id_template=source.event_id_template,
        hashing=source.hashing_options(),
    )


def lane_config(destination: DestinationConfig) -> LaneConfig:
    """What the configuration says about one destination, as its lane reads it."""
    kind = known_destinations()[destination.type]
    tuning = destination.tuning
    return LaneConfig(
        name=destination.name,
        destination=kind,
        settings=destination.settings,
        linger=tuning.linger,
        timeout=tuning.timeout,
        lease=tuning.lease,
        max_items=min(tuning.max_batch or kind.limits.max_items, kind.limits.max_items),
        max_in_flight=tuning.max_in_flight or kind.limits.max_in_flight,
        retry=RetryPolicy(tuning.retry_first, tuning.retry_cap, tuning.max_attempts),
    )
