"""One lane: the loop that takes one destination's deliveries to its platform. No lane waits for another."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from app.delivery import limits
from app.delivery.batch import Batch, LaneConfig, Surroundings, Whole
from app.delivery.sender import Sender
from app.errors import StoreUnavailable
from app.logs import wide_event
from app.metrics import Metrics
from app.model import Delivery, Park, Retry, Split
from app.outbox.port import Outbox

log = logging.getLogger("convey.delivery")

POLL = timedelta(seconds=1)

__all__ = ["Lane", "LaneConfig"]


class Lane:
    """Claims for one destination, and has each claim delivered, until it is told to stop."""

    def __init__(
        self,
        config: LaneConfig,
        outbox: Outbox,
        sender: Sender,
        metrics: Metrics,
        now: Callable[[], datetime],
        uniform: Callable[[], float] = random.random,
        progressed: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self._config = config
        self._outbox = outbox
        self._metrics = metrics
        self._now = now
        self._uniform = uniform
        self._progressed = progressed
        self._sender = sender
        self._pace = limits.start(config.max_items)
        self._stopping = asyncio.Event()
        self._abandoned = asyncio.Event()
        self._batches: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(config.max_in_flight)

    @property
    def name(self) -> str:
        """The destination's name."""
        return self._config.name

    @property
    def state(self) -> str:
        """running, parked or open: the metrics' words."""
        return self._pace.state

    @property
    def detail(self) -> str | None:
        """Why the lane is parked, in the platform's own words; None when it is not."""
        return self._pace.detail if self._pace.is_parked else None

    def reconfigure(self, config: LaneConfig) -> None:
        """Go on with other settings; a parked lane tries again at once, as its secret may be a new one."""
        self._config = config
        self._set_pace(limits.start(config.max_items))

    def stop(self) -> None:
        """Claim nothing more; what is under way goes on."""
        self._stopping.set()

    def abandon(self) -> None:
        """Cut short what is still being sent and put it back."""
        self._stopping.set()
        self._abandoned.set()

    async def run(self) -> None:
        """Work until stopped, then until everything under way is settled.

        A store that cannot be reached is waited for; any other failure of the loop itself is raised.
        """
        while not self._stopping.is_set():
            self._metrics.worker_progress.labels(self.name).set(time.time())
            self._progressed(self.name)
            try:
                await self._turn()
            except StoreUnavailable as error:
                wide_event(
                    log, "lane.store_unavailable", level=logging.WARNING, destination=self.name, detail=str(error)
                )
                await self._rest(POLL)
        if self._batches:
            await asyncio.wait(self._batches)

    async def _turn(self) -> None:
        config = self._config
        if not self._pace.may_go(self._now()):
            await self._rest(min(POLL, (self._pace.held_until or self._now()) - self._now()))
            return
        if self._slots.locked():
            await asyncio.wait(self._batches, timeout=POLL.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
            return
        await self._slots.acquire()
        is_probe, limit = self._pace.is_probe, self._pace.limit
        deliveries: Sequence[Delivery] = ()
        try:
            if not self._stopping.is_set():
                deliveries = await self._claim(limit, config.lease)
        finally:
            if not deliveries:
                self._slots.release()
        if deliveries:
            batch = asyncio.create_task(
                Batch(deliveries, config, self._surroundings()).run(), name=f"batch-{self.name}"
            )
            self._batches.add(batch)
            batch.add_done_callback(self._done)
            while is_probe and not batch.done():  # nothing else goes until its answer is known
                await asyncio.wait({batch}, timeout=POLL.total_seconds())
                self._progressed(self.name)
        if len(deliveries) < limit:
            # Not a full batch: wait for more, and then a little longer so that they travel together.
            await self._idle(config.linger)

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            self._outbox, self._sender, self._metrics, self._now, self._uniform, self._abandoned, self._answered
        )

    async def _claim(self, limit: int, lease: timedelta) -> Sequence[Delivery]:
        # Shielded: a claim that succeeds while the lane is being cancelled must not be forgotten with it.
        return await asyncio.shield(self._outbox.claim(self.name, limit, lease))

    async def _idle(self, linger: timedelta) -> None:
        waiting = asyncio.ensure_future(self._outbox.wait(self.name, POLL))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            stopping.cancel()
        await self._rest(linger)

    async def _rest(self, wait: timedelta) -> None:
        try:
            async with asyncio.timeout(max(0.0, wait.total_seconds())):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _done(self, batch: asyncio.Task[None]) -> None:
        self._batches.discard(batch)
        self._slots.release()
        if not batch.cancelled() and (error := batch.exception()) is not None:
            # The leases run out and the deliveries come back; the fault is ours and must be seen.
            log.error("lane.batch_failed", exc_info=error, extra={"fields": {"destination": self.name}})

    def _answered(self, verdict: Whole) -> None:
        """Learn from the verdict on one request how fast to go."""
        self._progressed(self.name)
        now = self._now()
        if verdict is None:
            return
        if isinstance(verdict, Park):
            self._set_pace(limits.parked(self._pace, now, verdict.detail))
        elif isinstance(verdict, Split):
            self._set_pace(limits.succeeded(self._pace))
        else:
            # An answer that nobody knows is about its events; only what is sure to be about the platform counts.
            down = [result for result in verdict if isinstance(result, Retry) and result.max_attempts is None]
            if len(down) < len(verdict):
                self._set_pace(limits.succeeded(self._pace))
            else:
                hint = max((retry.after for retry in down if retry.after is not None), default=None)
                self._set_pace(limits.failed(self._pace, now, hint, self._config.retry, self._uniform()))

    def _set_pace(self, pace: limits.Pace) -> None:
        if pace.state != self._pace.state:
            level = logging.INFO if pace.state == "running" else logging.WARNING
            wide_event(log, "lane.state", level=level, destination=self.name, state=pace.state, detail=pace.detail)
            self._metrics.set_lane_state(self.name, pace.state)
        self._pace = pace
