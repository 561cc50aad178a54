"""The worker: every lane of this process, and the timer that keeps the store's gauges fresh."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from app.delivery.board import Board
from app.delivery.lane import Lane
from app.errors import StoreUnavailable
from app.logs import wide_event
from app.metrics import Metrics
from app.outbox.port import LEDGER_STATES, QUEUED, Backlog, Ledger, Store
from app.outbox.recount import Recount
from app.outbox.room import NO_LIMITS, Limits

log = logging.getLogger("convey.worker")

GAUGE_PERIOD = timedelta(seconds=2)
SWEEP_PERIOD = timedelta(seconds=30)
CHORE_PERIOD = timedelta(seconds=5)
CHECK_PERIOD = timedelta(minutes=10)
"""How often the ledger is held against what is stored."""


class Worker:
    """Runs the lanes until it is stopped. A lane that fails fails the worker, and with it the process."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        store: Store,
        board: Board,
        metrics: Metrics,
        now: Callable[[], datetime],
        limits: Limits = NO_LIMITS,
        limit_bytes: int = 0,
        chores: Sequence[Callable[[], Awaitable[None]]] = (),
    ) -> None:
        """`chores` are done every few seconds beside the lanes, each on its own."""
        self.lanes = {lane.name: lane for lane in lanes}
        self._store = store
        self._board = board
        self._metrics = metrics
        self._now = now
        self._chores = tuple(chores)
        self._stopping = asyncio.Event()
        self._long: list[asyncio.Task[None]] = []
        metrics.outbox_limit_bytes.set(limit_bytes)
        set_limits(metrics, limits)

    async def run(self) -> None:
        """Work until `drain` is called or a lane fails."""
        await self._know()
        async with asyncio.TaskGroup() as group:
            for lane in self.lanes.values():
                group.create_task(lane.run(), name=f"lane-{lane.name}")
                if (inquirer := lane.inquirer()) is not None:
                    group.create_task(inquirer.run(self._stopping), name=f"inquiries-{lane.name}")
                if (watch := lane.quality_watch()) is not None:
                    group.create_task(self._every(CHORE_PERIOD, watch.turn), name=f"quality-{lane.name}")
            group.create_task(self._board.run(self._stopping), name="board")
            group.create_task(self._every(GAUGE_PERIOD, self.measure), name="gauges")
            # These take many steps, and may outlast any grace: whoever stops breaks them off between two.
            self._long = [
                group.create_task(self._every(SWEEP_PERIOD, self._sweep), name="sweep"),
                group.create_task(self._every(CHECK_PERIOD, self.check, is_later=True), name="check"),
            ]
            for chore in self._chores:
                group.create_task(self._every(CHORE_PERIOD, chore), name="chore")

    async def drain(self, running: asyncio.Task[None], grace: timedelta) -> None:
        """Stop claiming, give what is under way `grace` to finish, put the rest back.

        `running` is the task of `run`. No lease of this worker outlives the return by more than its own time.
        """
        self._stopping.set()
        for lane in self.lanes.values():
            lane.stop()
        for task in self._long:
            task.cancel()
        await asyncio.wait({running}, timeout=grace.total_seconds())
        for lane in self.lanes.values():
            lane.abandon()
        await asyncio.wait({running})
        with contextlib.suppress(StoreUnavailable):  # what is not told now, the others find out
            await self._board.leave()

    async def _know(self) -> None:
        """Learn what the lanes are told to do before they do anything."""
        while not self._stopping.is_set():
            try:
                await self._board.sync()
            except StoreUnavailable as error:
                wide_event(log, "worker.store_unavailable", level=logging.WARNING, detail=str(error))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(GAUGE_PERIOD.total_seconds()):
                        await self._stopping.wait()
            else:
                return

    async def measure(self) -> None:
        """Set the gauges that come from the store."""
        set_ledger(self._metrics, await self._store.ledger())
        set_backlog(self._metrics, await self._store.backlog(), self._now())
        for name, waiting in self._store.waiting().items():
            self._metrics.outbox_waiting_bytes.labels(name).set(waiting.bytes)
        self._metrics.outbox_bytes.set(self._store.size_bytes())

    async def check(self) -> None:
        """Hold the ledger against what is stored; what differs is told and stands in a gauge until it does no more."""
        recount = await self._store.recount()
        set_differences(self._metrics, recount, self.lanes)
        for each in recount.differences:
            wide_event(
                log,
                "ledger.difference",
                level=logging.ERROR,
                destination=each.destination,
                state=each.state,
                currency=each.currency,
                counted=str(each.counted),
                stored=str(each.stored),
            )
        wide_event(
            log,
            "ledger.checked",
            level=logging.DEBUG,
            deliveries=recount.deliveries,
            unread=recount.unread,
            differences=len(recount.differences),
        )

    async def _sweep(self) -> None:
        await self._store.sweep()

    async def _every(self, period: timedelta, do: Callable[[], Awaitable[None]], *, is_later: bool = False) -> None:
        while not self._stopping.is_set():
            try:
                if not is_later:
                    await do()
                is_later = False
            except StoreUnavailable as error:
                wide_event(log, "worker.store_unavailable", level=logging.WARNING, detail=str(error))
            try:
                async with asyncio.timeout(period.total_seconds()):
                    await self._stopping.wait()
            except TimeoutError:
                continue


def set_limits(metrics: Metrics, limits: Limits) -> None:
    """How much may wait, as gauges; 0 where nothing bounds it."""
    metrics.outbox_total_limit_entries.set(limits.deliveries or 0)
    for name, bound in limits.destinations.items():
        metrics.outbox_limit_entries.labels(name).set(bound.deliveries or 0)
        metrics.outbox_waiting_limit_bytes.labels(name).set(bound.bytes or 0)


def set_differences(metrics: Metrics, recount: Recount, names: Iterable[str]) -> None:
    """By how much the ledger and the store differ, as gauges: 0 for every destination where they do not."""
    off = dict.fromkeys(names, Decimal(0))
    for each in recount.differences:
        if each.currency is None:
            off[each.destination] = off.get(each.destination, Decimal(0)) + abs(each.by)
        else:
            off.setdefault(each.destination, Decimal(0))
    metrics.ledger_difference_money.clear()
    for name, number in off.items():
        metrics.ledger_difference.labels(name).set(_number(number))
    for each in recount.differences:
        if each.currency is not None:
            metrics.ledger_difference_money.labels(each.destination, each.currency).inc(_number(abs(each.by)))


def set_ledger(metrics: Metrics, ledger: Ledger) -> None:
    """The ledger's state counts, in deliveries and in money, as gauges."""
    for name, account in ledger.items():
        metrics.ledger_queued.labels(name).set(account.deliveries[QUEUED])
        for state in LEDGER_STATES:
            metrics.ledger.labels(name, state).set(account.deliveries[state])
        for currency, money in account.money.items():
            metrics.ledger_queued_money.labels(name, currency).set(_number(money[QUEUED]))
            for state in LEDGER_STATES:
                metrics.ledger_money.labels(name, state, currency).set(_number(money[state]))


def set_backlog(metrics: Metrics, backlog: Mapping[str, Backlog], now: datetime) -> None:
    """What waits, and since when, as gauges."""
    for name, waiting in backlog.items():
        metrics.outbox_entries.labels(name, "ready").set(waiting.ready)
        metrics.outbox_entries.labels(name, "later").set(waiting.later)
        metrics.outbox_entries.labels(name, "held").set(waiting.held)
        oldest = waiting.oldest_accepted_at
        age = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
        metrics.outbox_oldest_age.labels(name).set(age)


def _number(amount: Decimal) -> float:
    # Prometheus knows floats only; the exact amounts are in `GET /v1/ledger`.
    return float(amount)
