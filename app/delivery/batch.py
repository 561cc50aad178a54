"""One claimed batch on its way: gate -> build -> send -> read -> settle, taken apart where it fails as a whole.

Whatever the claim brought stays claimed until it is settled, however long the taking apart lasts; what is somebody
else's by then is not sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from math import ceil, log2
from typing import Any, TypeVar

from app.dedup.port import PAIR_RETENTION
from app.delivery.aftermath import adjusted, adjusting, judge, memos
from app.delivery.observed import count_settled, observe_attempt, took_effect
from app.delivery.retry import RetryPolicy, decide, gate, parked, released
from app.delivery.sender import Progress, Sender
from app.delivery.verdicts import Whole, halves, parts
from app.destinations.base import Adjustment, Destination, Precedent, Rate
from app.errors import Reason, StoreUnavailable
from app.logs import wide_event
from app.metrics import Metrics
from app.model import (
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
from app.outbox import aftermath
from app.outbox.port import DeliveryStore
from app.withdrawals import Withdrawals

log = logging.getLogger("convey.delivery")

T = TypeVar("T")

UNBUILDABLE_ATTEMPTS = 5
STORE_PAUSE_S = 0.5
SEND_MARGIN = timedelta(seconds=2)
"""What must be left of a lease beyond the time a send may take, for what comes before and after it on this machine."""


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
    rates: tuple[Rate, ...] = ()
    budget: str = ""
    """What the rates belong to: lanes of one budget share them."""
    is_newest_first: bool = False
    watched: frozenset[str] = frozenset()
    """Sources whose pages report which pixels fired."""
    credential: str = ""
    """Tells one secret from the next, without saying anything of it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every batch of a lane works with. `abandoned` is set when what is under way is to be cut short."""

    outbox: DeliveryStore
    withdrawals: Withdrawals
    sender: Sender
    metrics: Metrics
    now: Callable[[], datetime]
    uniform: Callable[[], float]
    abandoned: asyncio.Event
    answered: Callable[[Whole], None]
    """Told the verdict on every request, for the lane's pace."""
    permit: Callable[[], Awaitable[timedelta | None]] | None = None
    """Asked before every request where there is a rate limit: None when it may go, else when to ask again."""


class Batch:
    """The deliveries of one claim."""

    def __init__(self, deliveries: Sequence[Delivery], config: LaneConfig, around: Surroundings) -> None:
        self._config = config
        self._around = around
        self._open = {delivery.key: delivery for delivery in deliveries}
        self._held_until = deliveries[0].claimed_until or around.now()
        self._precedents: dict[str, Precedent] = {}
        self._fruitless = 0
        self._most_fruitless = 2 * ceil(log2(len(deliveries) + 1)) + 2

    @property
    def size(self) -> int:
        """How many of them are still to be settled."""
        return len(self._open)

    async def run(self) -> None:
        """Deliver, retry later or end every one of them."""
        await self._end_overdue()
        await self._hold_back()
        for call in await self._build(tuple(self._open.values())):
            await self._deliver(call)

    async def _hold_back(self) -> None:
        """Settle what adjusts a conversion that is not there, or not yet; the rest learns what is left of it."""
        adjustment = self._config.destination.adjustment
        for delivery in adjusting(tuple(self._open.values()), adjustment):
            assert adjustment is not None
            await self._keep_leases()
            if delivery.key not in self._open:
                continue
            try:
                await self._adjust(delivery, adjustment)
            except StoreUnavailable:  # cut short
                raise
            except Exception as error:  # a fault of ours in one event must not take the others down
                await self._not_built(delivery, error)

    async def _adjust(self, delivery: Delivery, adjustment: Adjustment[Any]) -> None:
        store, name = self._around.outbox, self._config.name
        event = delivery.event
        transaction = event.transaction or ""
        # The journal first: a conversion that is delivered meanwhile is noted before it is settled.
        siblings = await self._kept(lambda: store.transaction(transaction, event.source))
        memo = aftermath.adjust_name(event.source, transaction)
        kept = await self._kept(lambda: store.memos(aftermath.adjust_book(name), [memo]))
        precedent = aftermath.decode_precedent(kept[memo]) if memo in kept else None
        judged = judge(delivery, adjustment, siblings, precedent, self._around.now())
        if isinstance(judged, Settlement):
            await self._settle([judged])
        elif precedent is not None:
            taken_off = {**precedent.taken_off, delivery.event_id: event.custom_data.value}
            self._precedents[delivery.event_id] = Precedent(precedent.money, taken_off)
            self._open[delivery.key] = adjusted(delivery, judged)

    async def _end_overdue(self) -> None:
        """End what has no time left: asked before every send, as taking a batch apart takes its own time."""
        now = self._around.now()
        await self._spare_unpaired(now)
        ended = [gate(delivery, now, self._config.timeout) for delivery in self._open.values()]
        await self._settle([settlement for settlement in ended if settlement is not None])

    async def _end_withdrawn(self, deliveries: Sequence[Delivery]) -> None:
        """End what its person took consent back for: asked last of all before a send, and once for all of them."""
        if still_open := self._still_open(deliveries):
            await self._settle(await self._kept(partial(self._around.withdrawals.end, still_open)))

    async def _spare_unpaired(self, now: datetime) -> None:
        """Let go on what no pixel reported, where pages report: past the window there is then no copy to pair with.

        Only as long as a report would still be kept: of an older event nobody knows.
        """
        too_late: defaultdict[str, list[Delivery]] = defaultdict(list)
        for delivery in self._open.values():
            event = delivery.event
            if (
                event.source in self._config.watched
                and now < min(event.event_time, delivery.accepted_at) + PAIR_RETENTION
            ):
                end = gate(delivery, now, self._config.timeout)
                if end is not None and end.reason is Reason.DEDUP_WINDOW_PASSED:
                    too_late[event.source].append(delivery)
        for source, deliveries in too_late.items():
            ids = [delivery.event_id for delivery in deliveries]
            sides = await self._kept(partial(self._around.outbox.pairs.sides, source, ids))
            for delivery in deliveries:
                if self._config.destination.name not in sides.get(delivery.event_id, {}):
                    self._open[delivery.key] = replace(delivery, budget=replace(delivery.budget, pair_until=None))

    async def _build(self, deliveries: Sequence[Delivery]) -> Sequence[HttpCall]:
        """The requests for what is still ours of `deliveries`."""
        if not deliveries:
            return ()
        try:
            return self._config.destination.build(deliveries, self._config.settings)
        except Exception as error:  # a fault of ours in one event: find it, spare the others
            if len(deliveries) > 1:
                left, right = halves(deliveries)
                return [*await self._build(left), *await self._build(right)]
            await self._not_built(deliveries[0], error)
            return ()

    async def _not_built(self, delivery: Delivery, error: Exception) -> None:
        """Put back what we could not make a request of, a few times: another version of Convey may be able to."""
        name = self._config.name
        log.error("delivery.build_failed", exc_info=error, extra={"fields": {"destination": name}})
        detail = f"the request could not be built: {type(error).__name__}"
        result = Retry(Reason.PLATFORM_ERROR, detail=detail, max_attempts=UNBUILDABLE_ATTEMPTS)
        await self._conclude([delivery], [result], self._around.now())

    async def _deliver(self, call: HttpCall) -> None:
        """Send one call and settle its deliveries."""
        around = self._around
        await self._permitted()
        if around.abandoned.is_set():
            await self._release(self._still_open(call.deliveries))
            return
        ours = await self._surely_ours(call.deliveries)
        if len(ours) < len(call.deliveries):
            for smaller in await self._build(ours):
                await self._deliver(smaller)
            return
        sent_at = around.now()
        began = time.perf_counter()
        progress = Progress()
        reply = await self._send(call, progress)
        verdict = self._worthwhile(self._read(reply, ours), len(ours))
        observe_attempt(call, reply, verdict, time.perf_counter() - began, self._config.name, around.metrics)
        around.answered(verdict)
        if verdict is None:
            await self._release(ours)
        elif isinstance(verdict, Split):
            for part in parts(ours, verdict):
                for smaller in await self._build(part):
                    await self._deliver(smaller)
        elif isinstance(verdict, Park):
            await self._settle([parked(delivery, verdict, around.now()) for delivery in ours])
        else:
            await self._conclude(ours, verdict, sent_at)

    async def _surely_ours(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Those of `deliveries` that may go now, and stay claimed for longer than a send may take.

        The store may be away during any look-up, for longer than a lease: then all of it is asked again.
        """
        while True:
            await self._keep_leases()
            await self._end_overdue()
            await self._end_withdrawn(deliveries)
            if not self._open or self._is_held_for(self._config.timeout + SEND_MARGIN):
                return self._still_open(deliveries)

    def _still_open(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """What is left of `deliveries`, each as it is by now."""
        return tuple(self._open[delivery.key] for delivery in deliveries if delivery.key in self._open)

    async def _permitted(self) -> None:
        """Return once one more request may go, or what is under way is to be cut short. The leases are kept."""
        permit, abandoned = self._around.permit, self._around.abandoned
        while permit is not None and not abandoned.is_set():
            wait = await self._kept(permit)
            if wait is None:
                return
            await self._keep_leases()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait, self._config.lease / 4).total_seconds()):
                    await abandoned.wait()

    async def _keep_leases(self) -> None:
        """Make sure that the leases outlive the next send, those of the parts that wait for their turn as well."""
        config, around = self._config, self._around
        if not self._open or self._is_held_for(max(config.lease * 0.75, config.timeout + SEND_MARGIN)):
            return

        async def extend() -> tuple[datetime, Sequence[Delivery]]:
            asked_at = around.now()  # the lease may have begun as early as that
            return asked_at, await around.outbox.extend(tuple(self._open.values()), config.lease)

        asked_at, held = await self._kept(extend)
        self._held_until = asked_at + config.lease
        self._open = {delivery.key: delivery for delivery in held}

    def _is_held_for(self, time_needed: timedelta) -> bool:
        return self._held_until - self._around.now() >= time_needed

    async def _send(self, call: HttpCall, progress: Progress) -> HttpReply | NoReply | None:
        """The answer; None when the send was cut short before anything had left."""
        timeout_s = self._config.timeout.total_seconds()
        sending = asyncio.ensure_future(self._around.sender.send(call, timeout_s, progress))
        abandoned = asyncio.ensure_future(self._around.abandoned.wait())
        try:
            # The client bounds each phase; this bounds the whole: a dripping answer must not outlive the lease.
            await asyncio.wait({sending, abandoned}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
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

    def _read(self, reply: HttpReply | NoReply | None, deliveries: Sequence[Delivery]) -> Whole:
        if reply is None:
            return None
        if isinstance(reply, NoReply):
            if reply.reason is Reason.CREDENTIALS:
                return Park(detail=reply.detail)
            return [Retry(reply.reason, detail=reply.detail, is_ambiguous=reply.is_ambiguous)] * len(deliveries)
        try:
            verdict = self._config.destination.read(reply, deliveries)
            if not isinstance(verdict, Split | Park) and len(verdict) != len(deliveries):
                raise ValueError(f"the adapter tells {len(verdict)} results of {len(deliveries)} events")
        except Exception as error:  # whatever the platform sent, the lane must go on
            name = self._config.name
            log.error("delivery.read_failed", exc_info=error, extra={"fields": {"destination": name}})
            unread = Retry(Reason.PLATFORM_ERROR, detail="the answer could not be read", is_ambiguous=True)
            return [unread] * len(deliveries)
        if isinstance(verdict, Split) and len(deliveries) == 1:
            return [Rejected(detail=verdict.detail, trace_id=verdict.trace_id)]
        return verdict

    def _worthwhile(self, verdict: Whole, size: int) -> Whole:
        """`verdict`, unless taking the batch apart leads nowhere: then all of it waits, as in an outage.

        One bad event is found in as many steps as halving takes. When that many requests in a row brought neither a
        delivery nor a clear refusal, it is not about one event.
        """
        is_unknown = isinstance(verdict, list | tuple) and all(
            isinstance(result, Retry) and result.max_attempts is not None for result in verdict
        )
        if not isinstance(verdict, Split) and not is_unknown:
            self._fruitless = 0
            return verdict
        self._fruitless += 1
        if isinstance(verdict, Split) and self._fruitless > self._most_fruitless:
            return [Retry(Reason.PLATFORM_ERROR, detail=verdict.detail)] * size
        return verdict

    async def _kept(self, do: Callable[[], Awaitable[T]]) -> T:
        """What the store answers, asked again while it cannot be reached: what a platform said must not be lost.

        Shielded, so that it is kept even if the lane is cancelled now.

        Raises: StoreUnavailable once what is under way is to be cut short.
        """
        while True:
            try:
                return await asyncio.shield(asyncio.ensure_future(do()))
            except StoreUnavailable as error:
                name = self._config.name
                wide_event(log, "batch.store_unavailable", level=logging.WARNING, destination=name, detail=str(error))
                if self._around.abandoned.is_set():
                    raise
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STORE_PAUSE_S):
                    await self._around.abandoned.wait()

    async def _conclude(self, deliveries: Sequence[Delivery], results: Sequence[Result], sent_at: datetime) -> None:
        now = self._around.now()
        config = self._config
        kept = memos(config.destination, config.settings, deliveries, results, self._precedents, now)
        if kept:
            await self._kept(lambda: self._around.outbox.keep_memos(kept))
        chance = self._around.uniform()  # one for all: what failed together can go together again
        await self._settle(
            [
                decide(delivery, result, sent_at, now, self._config.retry, chance)
                for delivery, result in zip(deliveries, results, strict=True)
            ]
        )

    async def _release(self, deliveries: Sequence[Delivery]) -> None:
        now = self._around.now()
        await self._settle([released(delivery, now) for delivery in deliveries])

    async def _settle(self, settlements: Sequence[Settlement]) -> None:
        if not settlements:
            return
        config, around = self._config, self._around
        asked = 0

        async def settle() -> int:
            nonlocal asked
            asked += 1
            return await around.outbox.settle(settlements)

        effective = await self._kept(settle)
        for settlement in settlements:
            self._open.pop(settlement.delivery.key, None)
        # Asked again, the store tells nothing of what took effect when its answer was lost.
        counted = settlements if asked > 1 else took_effect(settlements, effective)
        count_settled(counted, config.name, around.metrics, around.now())
