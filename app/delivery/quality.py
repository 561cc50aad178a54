"""Asks platforms what they think of the events they got, and shows it as gauges.

One worker of a store asks, at most once in the time that is configured; what was said lies in the lane book, so that
every worker shows the same and a restart asks nothing anew. Nothing waits for an answer and nothing depends on one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from app.delivery.batch import LaneConfig
from app.delivery.board import Board
from app.delivery.sender import Progress, Sender
from app.destinations.base import Measure, Quality, Reading
from app.errors import Reason
from app.logs import wide_event
from app.metrics import Metrics
from app.model import NoReply, Retry

log = logging.getLogger("convey.quality")

LEASE = timedelta(minutes=2)
"""How long whoever began to ask has for it."""
FIRST_BACKOFF = timedelta(minutes=5)
STALE_AFTER = 3
"""After this many periods without an answer the last one is shown no more."""


class Opinion(msgspec.Struct, frozen=True):
    """What a platform said last, and when it is to be asked again."""

    due_at: datetime
    read_at: datetime | None = None
    readings: tuple[Reading, ...] = ()
    failures: int = 0


class QualityWatch:
    """Asks one destination's platform. `config` is asked each time, as secrets are replaced."""

    def __init__(
        self,
        config: Callable[[], LaneConfig],
        quality: Quality[Any],
        board: Board,
        sender: Sender,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._config = config
        self._quality = quality
        self._board = board
        self._sender = sender
        self._metrics = metrics
        self._now = now
        self._shown: Opinion | None = None

    async def turn(self) -> None:
        """Ask if it is time to and nobody else does; show what is known.

        Raises: StoreUnavailable.
        """
        every = self._quality.every(self._config().settings)
        if every is None:
            return
        note, now = f"quality/{self._config().name}", self._now()
        kept = self._board.read(note, Opinion)
        if kept is None or kept.due_at <= now:
            is_mine = False

            def begin(found: Opinion | None) -> Opinion:
                nonlocal is_mine
                before = found or Opinion(now)
                is_mine = before.due_at <= now
                return msgspec.structs.replace(before, due_at=now + LEASE) if is_mine else before

            keep_for = every * (STALE_AFTER + 1)
            kept = await self._board.change(note, Opinion, begin, keep_for)
            if is_mine and kept is not None:
                after = self._after(kept, await self._ask(), every)
                kept = await self._board.change(note, Opinion, lambda _: after, keep_for)
        if kept is not None:
            self._show(kept, every)

    def _after(self, kept: Opinion, said: Sequence[Reading] | Retry, every: timedelta) -> Opinion:
        """What is known after an answer, or after none."""
        now = self._now()
        if not isinstance(said, Retry):
            return Opinion(now + every, now, tuple(said))
        failures = kept.failures + 1
        wait = min(FIRST_BACKOFF * (1 << min(kept.failures, 10)), every)
        wait = max(wait, min(said.after or wait, every))
        wide_event(log, "quality.unknown", level=logging.WARNING, destination=self._config().name, detail=said.detail)
        return msgspec.structs.replace(kept, due_at=now + wait, failures=failures)

    async def _ask(self) -> Sequence[Reading] | Retry:
        config = self._config()
        timeout_s = config.timeout.total_seconds()
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._sender.send(self._quality.ask(config.settings), timeout_s, Progress())
        except TimeoutError:
            return Retry(Reason.TIMEOUT, detail="no answer in time")
        if isinstance(reply, NoReply):
            return Retry(reply.reason, detail=reply.detail)
        try:
            return self._quality.read(reply)
        except Exception as error:  # whatever the platform sent, the lane beside this must go on
            log.error("quality.read_failed", exc_info=error, extra={"fields": {"destination": config.name}})
            return Retry(Reason.PLATFORM_ERROR, detail="the answer could not be read")

    def _show(self, opinion: Opinion, every: timedelta) -> None:
        """Set the gauges, and take away those of what is said no more, or was too long ago."""
        name = self._config().name
        if opinion.read_at is None or opinion.read_at + every * STALE_AFTER < self._now():
            opinion = Opinion(opinion.due_at)
        if opinion == self._shown:
            return
        gauges = {
            Measure.MATCH_QUALITY: self._metrics.platform_match_quality,
            Measure.EVENT_COVERAGE: self._metrics.platform_event_coverage,
            Measure.KEY_COVERAGE: self._metrics.platform_key_coverage,
            Measure.DEDUP_COVERAGE: self._metrics.platform_dedup_coverage,
            Measure.STATUS: self._metrics.platform_quality_status,
        }
        present = {_labels(name, reading) for reading in opinion.readings}
        for reading in self._shown.readings if self._shown is not None else ():
            if (labels := _labels(name, reading)) not in present:
                gauges[labels[0]].remove(*labels[1:])
        for reading in opinion.readings:
            gauges[reading.measure].labels(*_labels(name, reading)[1:]).set(reading.value)
        if opinion.read_at is not None:
            self._metrics.platform_quality_read.labels(name).set(opinion.read_at.timestamp())
        self._shown = opinion


def _labels(destination: str, reading: Reading) -> tuple[Any, ...]:
    """The measure, then the labels of its gauge."""
    if reading.measure is Measure.STATUS:
        return reading.measure, destination, reading.key
    if reading.measure in {Measure.KEY_COVERAGE, Measure.DEDUP_COVERAGE}:
        return reading.measure, destination, reading.event_name, reading.key
    return reading.measure, destination, reading.event_name
