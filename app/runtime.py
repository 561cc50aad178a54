"""The composition root: opens what a process needs, wires it, closes it in reverse. The only wiring there is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from app import __revision__, __version__
from app.api.guards import KeyRing
from app.api.health import Health
from app.auditing import Auditor, platforms_of
from app.config import Role, Settings, check_role, reload_destination
from app.delivery.board import Board
from app.delivery.lane import Lane
from app.delivery.sender import Sender
from app.delivery.worker import Worker
from app.destinations.registry import destinations
from app.errors import ConfigError, StoreMismatch, StoreUnavailable, StoreVanished
from app.ingest import Ingest
from app.logs import wide_event
from app.match_keys.counting import MatchKeys
from app.metrics import Metrics
from app.notices import api_version, has_test_mode
from app.outbox.port import Store
from app.policies import backlog_limits, lane_config, principals, source_policy, watched_sources
from app.rejects import Rejects
from app.stores import opened, patiently, refuse_unroutable, utc_now
from app.tallying import Tallies
from app.withdrawals import Withdrawals

log = logging.getLogger("convey.runtime")

READINESS_PERIOD_S = 2.0
SECRET_PERIOD_S = 1.0
PROOF_KEY = "consent-proof"
"""The name under which the store keeps the key that consent strings are digested with."""


class Runtime:
    """Everything one process runs, opened and wired."""

    def __init__(
        self,
        settings: Settings,
        role: Role,
        store: Store,
        sender: Sender,
        metrics: Metrics,
        now: Callable[[], datetime],
        health: Health,
        salt: bytes,
        proof_key: bytes,
        person_key: bytes,
    ) -> None:
        """The last three are secrets of the store: what credentials, consent strings, persons are digested with."""
        self.withdrawals = withdrawals = Withdrawals(store, person_key)
        self._salt = salt
        self.settings = settings
        self.role = role
        self.store = store
        self.metrics = metrics
        self.keys = KeyRing(principals(settings), now)
        self._watched = watched_sources(settings)
        self.strict_sources = frozenset(source.name for source in settings.sources if source.strict)
        self.now = now
        kinds = destinations()
        self.asked_later = tuple(lane.name for lane in settings.destinations if kinds[lane.type].later is not None)
        self.policies = {
            source.name: source_policy(settings, source, proof_key, person_key) for source in settings.sources
        }
        platforms = platforms_of(self.policies)
        self.tallies = Tallies(store.tallies)
        match_keys = MatchKeys(self.tallies, metrics, platforms)
        self.rejects = Rejects(self.tallies, now)
        self.ingest = Ingest(
            store, store, store.pairs, withdrawals, self.policies, metrics, now, match_keys, self.rejects
        )
        own = settings.destinations if role.works_lanes else ()
        self.health = health
        self.health.test_modes = tuple(lane.name for lane in settings.destinations if has_test_mode(lane))
        for destination in settings.destinations:
            version, known = api_version(destination)
            if known is not None and known.sunset is not None:
                metrics.set_api_sunset(destination.name, version, known.sunset)
        self.board = Board(store, now)
        lanes = [
            Lane(
                lane_config(destination, salt, self._watched),
                store,
                withdrawals,
                self.board,
                sender,
                metrics,
                now,
                progressed=self.health.progressed,
            )
            for destination in own
        ]
        self.limits = backlog_limits(settings)
        auditor = Auditor(store.pairs, platforms, metrics)
        max_bytes = settings.store.max_bytes or 0
        self._worker = Worker(lanes, store, self.board, metrics, now, self.limits, max_bytes, [auditor.turn])
        self._working: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._is_ending = False
        self._tallying: asyncio.Task[None] | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        settings: Settings,
        role: Role = Role.ALL,
        *,
        now: Callable[[], datetime] | None = None,
        stop: asyncio.Event | None = None,
        health: Health | None = None,
    ) -> AsyncIterator[Runtime]:
        """A runtime at work; what it opened is closed on leaving, whatever happened.

        `now` replaces the clocks, the store's included, in tests. `stop` ends the wait for a store that is not there,
        and `health` is told meanwhile.

        Raises: StoreMismatch or StoreUnavailable when the store cannot be used; ConfigError when the role cannot.
        """
        check_role(settings, role)
        names = [destination.name for destination in settings.destinations]
        limits = backlog_limits(settings)
        async with opened(settings.store, names, now, stop, limits, settings.consent.proof_retention) as store:
            await patiently(lambda: refuse_unroutable(store, [*names, *settings.disabled]), settings.store, stop)
            metrics = Metrics(
                __version__,
                [source.name for source in settings.sources],
                names,
                revision=__revision__,
                types={destination.name: destination.type for destination in settings.destinations},
                works_lanes=role.works_lanes,
            )
            sender = Sender(outbound=settings.outbound.outbound(), token_expires=metrics.set_token_expiry)

            async def keys() -> list[bytes]:
                names = ("credentials", PROOF_KEY, "persons")
                return [await store.keep_secret(name, lambda: secrets.token_bytes(32)) for name in names]

            own = await patiently(keys, settings.store, stop)
            runtime = cls(settings, role, store, sender, metrics, now or utc_now, health or Health(), *own)
            if role.works_lanes:
                runtime.health.expect(runtime._worker.lanes)
                with contextlib.suppress(StoreUnavailable):  # the worker does it again, every other second
                    await runtime._worker.measure()
                runtime._working = asyncio.create_task(runtime._worker.run(), name="worker")
            runtime._watching = asyncio.create_task(runtime._watch(), name="watch")
            runtime._tallying = asyncio.create_task(runtime.tallies.run(), name="tallies")
            try:
                yield runtime
            finally:
                runtime._is_ending = True
                runtime._watching.cancel()
                runtime.tallies.stop()
                await asyncio.wait({runtime._watching, runtime._tallying})
                await runtime.drain()
                await sender.close()

    async def until_failed_or(self, stop: asyncio.Event) -> None:
        """Return when `stop` is set; raise when a task of ours fails, so that the process ends and is started anew."""
        stopping = asyncio.ensure_future(stop.wait())
        running = {task for task in (self._working, self._watching, self._tallying) if task is not None}
        try:
            await asyncio.wait({stopping, *running}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        for task in running:
            if task.done():
                task.result()

    async def drain(self) -> None:
        """Stop the lanes: what is under way finishes or is put back. Calling it again does nothing."""
        if self._working is not None and not self._working.done():
            await self._worker.drain(self._working, self.settings.server.drain)
            with contextlib.suppress(StoreUnavailable):  # the last word on the gauges, if it can be had
                await self._worker.measure()

    async def _watch(self) -> None:
        """Keep readiness fresh and notice replaced secret files."""
        stamps = {destination.name: _stamps(destination.secret_files) for destination in self.settings.destinations}
        for destination in self.settings.destinations:
            if destination.secret_files:  # read before the store was waited for
                self._reload(destination.name, unless=destination.settings)
        next_probe = 0.0
        loop = asyncio.get_running_loop()
        while not self._is_ending:  # a cancellation that comes while a store's driver drops a connection may get lost
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
        except (StoreUnavailable, StoreMismatch, TimeoutError) as error:
            reason = str(error) or "the store does not answer in time"
            if isinstance(error, StoreVanished):
                self.metrics.store_vanished.inc()
                wide_event(log, "store.vanished", level=logging.CRITICAL, detail=reason)
        if self.health.report(reason) and not self.health.is_closing:
            level = logging.INFO if reason is None else logging.ERROR
            wide_event(log, "readiness", level=level, state="unready" if reason else "ready", detail=reason)

    def _reload(self, name: str, unless: BaseModel | None = None) -> None:
        """Have the lane go on with what the secret files hold now, unless the settings are those given."""
        try:
            fresh = reload_destination(self.settings, name)
        except ConfigError as error:
            wide_event(log, "secret.unusable", level=logging.ERROR, destination=name, detail=str(error))
            return
        if fresh.settings == unless:
            return
        if name in self._worker.lanes:
            self._worker.lanes[name].reconfigure(lane_config(fresh, self._salt, self._watched))
        wide_event(log, "secret.replaced", destination=name)


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
