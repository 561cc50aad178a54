"""One lane: the loop that takes one destination's deliveries to its platform. No lane waits for another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from app.delivery import flow as flows
from app.delivery import limits
from app.delivery.batch import Batch, LaneConfig, Surroundings
from app.delivery.board import Board, Budget
from app.delivery.flow import Flow
from app.delivery.inquiries import Inquirer
from app.delivery.pauses import NOTHING, Pauses
from app.delivery.quality import QualityWatch
from app.delivery.sender import Sender
from app.delivery.verdicts import Whole
from app.destinations.base import Rate
from app.errors import Reason, StoreUnavailable
from app.logs import wide_event
from app.metrics import Metrics
from app.model import Delivery, Park, Retry, Split
from app.outbox.port import DeliveryStore
from app.outbox.shares import Choice
from app.withdrawals import Withdrawals

log = logging.getLogger("convey.delivery")

POLL = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)

__all__ = ["Lane", "LaneConfig"]


class Lane:
    """Claims for one destination, and has each claim delivered, until it is told to stop.

    What holds for every worker of the store (pauses, an open breaker, refused credentials, rate limits) it shares
    through the board: `share` and `adopt` are called there.
    """

    def __init__(
        self,
        config: LaneConfig,
        outbox: DeliveryStore,
        withdrawals: Withdrawals,
        board: Board,
        sender: Sender,
        metrics: Metrics,
        now: Callable[[], datetime],
        uniform: Callable[[], float] = random.random,
        progressed: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self.name = config.name
        self._config = config
        self._outbox = outbox
        self._withdrawals = withdrawals
        self._board = board
        self._metrics = metrics
        self._now = now
        self._uniform = uniform
        self._progressed = progressed
        self._sender = sender
        self._pace = limits.start(config.max_items, config.max_in_flight)
        self._flow = Flow()
        self._is_untold = False
        self._is_telling = False
        self._is_refused = False
        self._pauses = NOTHING
        self._shown = "running"
        self._turn_number = 0
        self._stopping = asyncio.Event()
        self._abandoned = asyncio.Event()
        self._batches: dict[asyncio.Task[None], Batch] = {}
        board.add(self)

    @property
    def state(self) -> str:
        """running, paused, parked or open: the metrics' words."""
        return "paused" if self._pauses.at(self._now()).whole is not None else self._pace.state

    @property
    def detail(self) -> str | None:
        """Why the lane is parked, in the platform's own words; None when it is not."""
        return self._pace.detail if self._pace.is_parked else None

    @property
    def in_flight(self) -> int:
        """How many deliveries this lane holds to be settled."""
        return sum(batch.size for batch in self._batches.values())

    def reconfigure(self, config: LaneConfig) -> None:
        """Go on with other settings; a parked lane tries again at once, as its secret may be a new one."""
        self._config = config
        self._set_pace(limits.start(config.max_items, config.max_in_flight))
        self._tell()

    def inquirer(self) -> Inquirer | None:
        """What asks this platform about the requests it took; None where it tells all at once."""
        later = self._config.destination.later
        if later is None:
            return None
        return Inquirer(lambda: self._config, later, self._outbox, self._sender, self._metrics, self._now)

    def quality_watch(self) -> QualityWatch | None:
        """What asks this platform for its opinion of the events it got; None where it has none to tell."""
        quality = self._config.destination.quality
        if quality is None:
            return None
        return QualityWatch(lambda: self._config, quality, self._board, self._sender, self._metrics, self._now)

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
            self._show_state()
            try:
                await self._turn()
            except StoreUnavailable as error:
                wide_event(
                    log, "lane.store_unavailable", level=logging.WARNING, destination=self.name, detail=str(error)
                )
                await self._rest(POLL)
        if self._batches:
            await asyncio.wait(self._batches)

    # --- what the workers share

    async def share(self) -> None:
        """Write what this lane learned and has not told yet.

        Raises: StoreUnavailable; it is then told the next time.
        """
        if not self._is_untold or self._is_telling:
            return
        self._is_untold, self._is_telling = False, True
        pace, is_refused, self._is_refused = self._pace, self._is_refused, False

        def step(flow: Flow | None) -> Flow:
            after = flows.told(flow or Flow(), pace, self._config.credential, self._now())
            return flows.asked_to_slow_down(after, pace.held_until) if is_refused else after

        try:
            flow = await self._change_flow(step)
        except StoreUnavailable:
            self._is_untold, self._is_refused = True, is_refused
            raise
        finally:
            self._is_telling = False
        if not self._is_untold:  # somebody may have found out more
            self._set_pace(flows.adopted(self._pace, flow, flow, self._config.credential))
        self._flow = flow

    def adopt(self) -> None:
        """Take over what the others wrote, unless this lane has news of its own."""
        self._pauses = self._board.read(f"pause/{self.name}", Pauses) or NOTHING
        if not self._is_untold and not self._is_telling:
            self._learn(self._flow, self._board.read(f"flow/{self.name}", Flow) or Flow())
        self._show_state()

    def _learn(self, before: Flow, flow: Flow) -> None:
        self._flow = flow
        if flow != before or flow.holds(self._config.credential) != self._pace.is_probe:
            self._set_pace(flows.adopted(self._pace, before, flow, self._config.credential))

    async def _change_flow(self, step: Callable[[Flow | None], Flow]) -> Flow:
        keep_for = flows.STALE + max((self._pace.held_until or self._now()) - self._now(), timedelta(0))
        flow = await self._board.change(f"flow/{self.name}", Flow, step, keep_for)
        assert flow is not None
        return flow

    async def _may_probe(self) -> bool:
        """Whether this worker is the one to ask how things are."""
        await self.share()
        lease = self._config.lease
        flow = await self._change_flow(
            lambda flow: flows.begin_probe(flow or Flow(), self._board.worker, self._now(), lease)
        )
        if not self._is_untold and not self._is_telling:
            self._learn(self._flow, flow)
        return flow.prober == self._board.worker or not flow.holds(self._config.credential)

    def _tell(self, *, is_refused: bool = False) -> None:
        self._is_untold = True
        self._is_refused |= is_refused
        self._board.wake()

    # --- the loop

    async def _turn(self) -> None:
        config, now = self._config, self._now()
        pauses = self._pauses.at(now)
        if pauses.whole is not None:
            await self._rest(POLL)
            return
        if not self._pace.may_go(now):
            await self._rest(min(POLL, (self._pace.held_until or now) - now))
            return
        if len(self._batches) >= self._pace.width:
            await asyncio.wait(self._batches, timeout=POLL.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
            return
        cap, requests = self._cap(pauses), self._requests()
        if any(budget is not None and not budget.room() for budget in (cap, requests)):
            await self._rest(POLL / 10)
            return
        is_probe = self._pace.is_probe
        if is_probe and not await self._may_probe():
            await self._rest(POLL)
            return
        if self._stopping.is_set():
            return
        limit = self._pace.limit
        if cap is not None and not (limit := await cap.take(limit)):
            return
        choice = Choice(config.is_newest_first, paused=frozenset(pauses.names), turn=self._turn_number)
        deliveries = await self._claim(limit, config.lease, choice)
        self._turn_number += 1
        if cap is not None:
            with contextlib.suppress(StoreUnavailable):  # the rate is then a little lower
                await cap.give_back(limit - len(deliveries))
        if deliveries:
            batch = self._start(deliveries, requests)
            while is_probe and not batch.done():  # nothing else goes until its answer is known
                await asyncio.wait({batch}, timeout=POLL.total_seconds())
                self._progressed(self.name)
        if len(deliveries) < limit:
            # Not a full batch: wait for more, and then a little longer so that they travel together.
            await self._idle(config.linger, choice)

    def _start(self, deliveries: Sequence[Delivery], requests: Budget | None) -> asyncio.Task[None]:
        around = Surroundings(
            self._outbox,
            self._withdrawals,
            self._sender,
            self._metrics,
            self._now,
            self._uniform,
            self._abandoned,
            self._answered,
            None if requests is None else requests.permit,
        )
        batch = Batch(deliveries, self._config, around)
        task = asyncio.create_task(batch.run(), name=f"batch-{self.name}")
        self._batches[task] = batch
        task.add_done_callback(self._done)
        return task

    def _requests(self) -> Budget | None:
        """The platform's own rate limits."""
        config = self._config
        return Budget(self._board, f"rate/{config.budget}", config.rates, self._now) if config.rates else None

    def _cap(self, pauses: Pauses) -> Budget | None:
        """The rate a person set."""
        if pauses.cap is None:
            return None
        return Budget(self._board, f"cap/{self.name}", [Rate(pauses.cap.rate_per_minute, MINUTE)], self._now)

    async def _claim(self, limit: int, lease: timedelta, choice: Choice) -> Sequence[Delivery]:
        # Shielded: a claim that succeeds while the lane is being cancelled must not be forgotten with it.
        return await asyncio.shield(self._outbox.claim(self.name, limit, lease, choice))

    async def _idle(self, linger: timedelta, choice: Choice) -> None:
        waiting = asyncio.ensure_future(self._outbox.wait(self.name, POLL, choice.paused))
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
        del self._batches[batch]
        if not batch.cancelled() and (error := batch.exception()) is not None:
            # The leases run out and the deliveries come back; the fault is ours and must be seen.
            log.error("lane.batch_failed", exc_info=error, extra={"fields": {"destination": self.name}})

    # --- what answers teach

    def _answered(self, verdict: Whole) -> None:
        """Learn from the verdict on one request how fast to go."""
        self._progressed(self.name)
        if verdict is None:
            return
        before = self._pace
        pace = self._after(verdict)
        self._set_pace(pace)
        if pace.refusals > before.refusals:
            self._tell(is_refused=True)
        elif pace != before and not before.state == pace.state == "running":
            self._tell()

    def _after(self, verdict: Whole) -> limits.Pace:
        now, pace = self._now(), self._pace
        if verdict is None:
            return pace
        if isinstance(verdict, Park):
            return limits.parked(pace, now, verdict.detail)
        if isinstance(verdict, Split):
            return limits.succeeded(pace)
        # An answer that nobody knows is about its events; only what is sure to be about the platform counts.
        down = [result for result in verdict if isinstance(result, Retry) and result.max_attempts is None]
        if len(down) < len(verdict):
            return limits.succeeded(pace)
        hint = max((retry.after for retry in down if retry.after is not None), default=None)
        is_refused = all(retry.reason is Reason.RATE_LIMITED for retry in down)
        learn = limits.refused if is_refused else limits.failed
        return learn(pace, now, hint, self._config.retry, self._uniform())

    def _set_pace(self, pace: limits.Pace) -> None:
        self._pace = pace
        self._show_state()

    def _show_state(self) -> None:
        state = self.state
        if state == self._shown:
            return
        self._shown = state
        level = logging.INFO if state == "running" else logging.WARNING
        wide_event(log, "lane.state", level=level, destination=self.name, state=state, detail=self._pace.detail)
        self._metrics.set_lane_state(self.name, state)
