"""One lane: the loop that takes one destination's deliveries to its platform. No lane waits for another."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.delivery import limits
from app.delivery.retry import RetryPolicy, decide, gate, released
from app.delivery.sender import Progress, Sender
from app.destinations.base import Destination
from app.errors import Outcome, Reason, StoreUnavailable
from app.logs import wide_event
from app.metrics import Metrics
from app.model import (
    Delivered,
    Delivery,
    HttpCall,
    HttpReply,
    NoReply,
    Park,
    Rejected,
    Result,
    Retry,
    Settlement,
    Split,
)
from app.outbox.port import Outbox

log = logging.getLogger("convey.delivery")

POLL = timedelta(seconds=1)
UNBUILDABLE_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class LaneConfig:
    """What a lane needs to know of its destination."""

    name: str
    destination: Destination[Any]
    settings: Any
    linger: timedelta
    timeout: timedelta
    lease: timedelta
    max_items: int
    max_in_flight: int
    retry: RetryPolicy


class Lane:
    """Claims, builds, sends, reads and settles for one destination until it is told to stop."""

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
        self._progressed = progressed
        self._config = config
        self._outbox = outbox
        self._sender = sender
        self._metrics = metrics
        self._now = now
        self._uniform = uniform
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
        await self._slots.acquire()
        try:
            limit = self._pace.limit
            deliveries = [] if self._stopping.is_set() else await self._claim(limit, config.lease)
            if not deliveries:
                self._slots.release()
        except BaseException:
            self._slots.release()
            raise
        if deliveries:
            batch = asyncio.create_task(self._batch(deliveries, config), name=f"batch-{self.name}")
            self._batches.add(batch)
            batch.add_done_callback(self._done)
            if limit == 1:
                await asyncio.wait({batch})  # a probe: nothing else goes until its answer is known
        if len(deliveries) < limit:
            # Not a full batch: wait for more, and then a little longer so that they travel together.
            await self._idle(config.linger)

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

    # --- one batch --------------------------------------------------------------------------------------------

    async def _batch(self, deliveries: Sequence[Delivery], config: LaneConfig) -> None:
        now = self._now()
        ended = []
        open_ = []
        for delivery in deliveries:
            settlement = gate(delivery, now, config.timeout)
            if settlement is None:
                open_.append(delivery)
            else:
                ended.append(settlement)
        await self._settle(ended)
        for call in await self._build(open_, config):
            await self._deliver(call, config)

    async def _build(self, deliveries: Sequence[Delivery], config: LaneConfig) -> Sequence[HttpCall]:
        if not deliveries:
            return ()
        try:
            return config.destination.build(deliveries, config.settings)
        except Exception as error:  # a fault of ours in one event: find it, spare the others
            if len(deliveries) > 1:
                return [call for one in deliveries for call in await self._build([one], config)]
            log.error("delivery.build_failed", exc_info=error, extra={"fields": {"destination": self.name}})
            detail = f"the request could not be built: {type(error).__name__}"
            result = Retry(Reason.PLATFORM_ERROR, detail=detail, max_attempts=UNBUILDABLE_ATTEMPTS)
            now = self._now()
            await self._settle([decide(deliveries[0], result, now, now, config.retry, self._uniform())])
            return ()

    async def _deliver(self, call: HttpCall, config: LaneConfig) -> None:
        """Send one call and settle its deliveries; a batch that failed as a whole is taken apart."""
        self._progressed(self.name)
        if self._abandoned.is_set():
            await self._settle([released(delivery, self._now()) for delivery in call.deliveries])
            return
        await self._keep_lease(call.deliveries, config)
        sent_at = self._now()
        began = time.perf_counter()
        progress = Progress()
        reply = await self._send(call, config, progress)
        verdict = self._read(reply, call.deliveries, config)
        self._observe(call, reply, verdict, time.perf_counter() - began)
        if verdict is None:
            await self._settle([released(delivery, self._now()) for delivery in call.deliveries])
        elif isinstance(verdict, Split):
            self._set_pace(limits.succeeded(self._pace))
            for part in _parts(call.deliveries, verdict):
                for smaller in await self._build(part, config):
                    await self._deliver(smaller, config)
        elif isinstance(verdict, Park):
            now = self._now()
            self._set_pace(limits.parked(self._pace, now, verdict.detail))
            await self._settle(
                [
                    Settlement(delivery, Outcome.RETRYING, verdict.reason, verdict.detail, ready_at=now)
                    for delivery in call.deliveries
                ]
            )
        else:
            await self._conclude(call.deliveries, verdict, sent_at, config)

    async def _conclude(
        self, deliveries: Sequence[Delivery], results: Sequence[Result], sent_at: datetime, config: LaneConfig
    ) -> None:
        now = self._now()
        retries = [result for result in results if isinstance(result, Retry)]
        if len(retries) == len(results):
            hint = max((retry.after for retry in retries if retry.after is not None), default=None)
            self._set_pace(limits.failed(self._pace, now, hint, config.retry, self._uniform()))
        else:
            self._set_pace(limits.succeeded(self._pace))
        chance = self._uniform()  # one for all: what failed together can go together again
        await self._settle(
            [
                decide(delivery, result, sent_at, now, config.retry, chance)
                for delivery, result in zip(deliveries, results, strict=True)
            ]
        )

    async def _keep_lease(self, deliveries: Sequence[Delivery], config: LaneConfig) -> None:
        """Make sure that the lease outlives the send, also deep inside a batch that is being taken apart."""
        ends = deliveries[0].claimed_until
        if ends is not None and ends - self._now() < config.lease * 0.75:
            await self._outbox.extend(deliveries, config.lease)

    async def _send(self, call: HttpCall, config: LaneConfig, progress: Progress) -> HttpReply | NoReply | None:
        """The answer; None when the send was cut short before anything had left."""
        sending = asyncio.ensure_future(self._sender.send(call, config.timeout.total_seconds(), progress))
        abandoned = asyncio.ensure_future(self._abandoned.wait())
        try:
            # The client bounds each phase; this bounds the whole, so that a dripping answer cannot outlive the lease.
            await asyncio.wait(
                {sending, abandoned},
                timeout=config.timeout.total_seconds(),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if sending.done():
                return sending.result()
            if not abandoned.done():
                return NoReply(Reason.TIMEOUT, progress.has_left, "no answer in time")
            return NoReply(Reason.NETWORK, True, "cut short by shutdown") if progress.has_left else None
        finally:
            abandoned.cancel()
            if not sending.done():
                sending.cancel()
                await asyncio.wait({sending})

    def _read(
        self, reply: HttpReply | NoReply | None, deliveries: Sequence[Delivery], config: LaneConfig
    ) -> Sequence[Result] | Split | Park | None:
        if reply is None:
            return None
        if isinstance(reply, NoReply):
            return [Retry(reply.reason, detail=reply.detail, is_ambiguous=reply.is_ambiguous)] * len(deliveries)
        try:
            verdict = config.destination.read(reply, deliveries)
        except Exception as error:  # whatever the platform sent, the lane must go on
            log.error("delivery.read_failed", exc_info=error, extra={"fields": {"destination": self.name}})
            verdict = [Retry(Reason.PLATFORM_ERROR, detail="the answer could not be read", is_ambiguous=True)] * len(
                deliveries
            )
        if isinstance(verdict, Split) and len(deliveries) == 1:
            return [Rejected(detail=verdict.detail, trace_id=verdict.trace_id)]
        return verdict

    async def _settle(self, settlements: Sequence[Settlement]) -> None:
        if not settlements:
            return
        # Shielded: what a platform answered must be kept even if the lane is cancelled now.
        await asyncio.shield(self._outbox.settle(settlements))
        settled = Counter(
            (settlement.outcome, settlement.reason or "")
            for settlement in settlements
            if settlement.outcome is not Outcome.RETRYING
        )
        for (outcome, reason), number in settled.items():
            self._metrics.deliveries.labels(self.name, outcome, reason).inc(number)
        now = self._now()
        latency = self._metrics.delivery_latency.labels(self.name)
        for settlement in settlements:
            if settlement.outcome is Outcome.DELIVERED:
                latency.observe((now - settlement.delivery.accepted_at).total_seconds())

    def _set_pace(self, pace: limits.Pace) -> None:
        if pace.state != self._pace.state:
            level = logging.INFO if pace.state == "running" else logging.WARNING
            wide_event(log, "lane.state", level=level, destination=self.name, state=pace.state, detail=pace.detail)
            self._metrics.set_lane_state(self.name, pace.state)
        self._pace = pace

    def _observe(
        self,
        call: HttpCall,
        reply: HttpReply | NoReply | None,
        verdict: Sequence[Result] | Split | Park | None,
        seconds: float,
    ) -> None:
        word = _word(verdict)
        self._metrics.attempts.labels(self.name, word).inc()
        self._metrics.attempt_duration.labels(self.name, word).observe(seconds)
        self._metrics.batch_items.labels(self.name).observe(len(call.deliveries))
        wide_event(
            log,
            "delivery.attempted",
            destination=self.name,
            verdict=word,
            code=reply.status if isinstance(reply, HttpReply) else None,
            detail=_detail(verdict),
            items=len(call.deliveries),
            body_bytes=len(call.body),
            duration_ms=round(seconds * 1000, 1),
            event_ids=[delivery.event_id for delivery in call.deliveries[:10]],
        )


def _parts(deliveries: tuple[Delivery, ...], verdict: Split) -> list[Sequence[Delivery]]:
    """The batches to try instead: each named suspect alone and the rest together, or two halves."""
    suspects = sorted({position for position in verdict.suspects if 0 <= position < len(deliveries)})
    if suspects and len(suspects) < len(deliveries):
        rest = [delivery for position, delivery in enumerate(deliveries) if position not in suspects]
        return [rest, *([deliveries[position]] for position in suspects)]
    middle = (len(deliveries) + 1) // 2
    return [deliveries[:middle], deliveries[middle:]]


def _word(verdict: Sequence[Result] | Split | Park | None) -> str:
    """The verdict on a whole request, in the metrics' words."""
    if verdict is None:
        return "network"
    if isinstance(verdict, Split):
        return "split"
    if isinstance(verdict, Park):
        return "credentials"
    delivered = sum(isinstance(result, Delivered) for result in verdict)
    if delivered:
        return "delivered" if delivered == len(verdict) else "partial"
    first = next((result for result in verdict if isinstance(result, Retry)), None)
    return str(first.reason) if first is not None else "rejected"


def _detail(verdict: Sequence[Result] | Split | Park | None) -> str | None:
    """The first words of the platform, where it had any to say against the request."""
    if verdict is None or isinstance(verdict, Split | Park):
        return verdict.detail if verdict is not None else None
    return next((result.detail for result in verdict if not isinstance(result, Delivered) and result.detail), None)
