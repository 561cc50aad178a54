"""Asks platforms what became of the requests they took, and remembers which events they refused afterwards."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from app.delivery.batch import LaneConfig
from app.delivery.sender import Progress, Sender
from app.destinations.base import Later, Report
from app.errors import Reason, StoreUnavailable
from app.logs import wide_event
from app.metrics import Metrics
from app.model import NoReply, Park, Retry
from app.outbox import aftermath
from app.outbox.aftermath import Inquiry
from app.outbox.port import Memo, Memos

log = logging.getLogger("convey.inquiries")

POLL = timedelta(seconds=2)
SPACING = timedelta(seconds=1)
"""The least time between two questions of one process: they have a quota of their own, and no hurry."""
LEASE = timedelta(minutes=2)
FIRST_BACKOFF = timedelta(seconds=5)
LONGEST_BACKOFF = timedelta(minutes=5)
LONGEST_GAP = timedelta(hours=6)


class Inquirer:
    """Asks for one destination until it is told to stop. `config` is asked each time, as secrets are replaced."""

    def __init__(
        self,
        config: Callable[[], LaneConfig],
        later: Later[Any],
        memos: Memos,
        sender: Sender,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._config = config
        self._later = later
        self._memos = memos
        self._sender = sender
        self._metrics = metrics
        self._now = now
        self._failures = 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Ask what is due, one question at a time; a store that cannot be reached is waited for."""
        while not stopping.is_set():
            try:
                wait = await self.turn()
            except StoreUnavailable as error:
                name = self._config().name
                wide_event(log, "inquiry.store_unavailable", level=logging.WARNING, destination=name, detail=str(error))
                wait = POLL
            try:
                async with asyncio.timeout(wait.total_seconds()):
                    await stopping.wait()
            except TimeoutError:
                continue

    async def turn(self) -> timedelta:
        """Ask the question that is due first, if one is; returns how long to wait before the next turn."""
        name = self._config().name
        due = await self._memos.due_memos(aftermath.ask_book(name), 1, LEASE)
        if not due:
            return POLL
        (memo,) = due
        try:
            inquiry = aftermath.decode_inquiry(memo.value)
        except (zlib.error, msgspec.DecodeError) as error:  # of no version this one can read
            wide_event(log, "inquiry.unreadable", level=logging.ERROR, destination=name, detail=type(error).__name__)
            await self._memos.drop_memos(memo.book, [memo.name])
            return SPACING
        answer = await self._ask(memo.name, len(inquiry.events))
        now = self._now()
        is_last = now >= inquiry.since + self._later.give_up_after
        if isinstance(answer, Report):
            self._failures = 0
            if answer.is_final or is_last:
                await self._end(memo, inquiry, answer)
            else:
                first: timedelta = self._later.first_after(self._config().settings)
                gap = min(first * (1 << min(inquiry.tries, 20)), LONGEST_GAP)
                await self._again(memo, inquiry.tries + 1, inquiry, max(gap, SPACING))
            return SPACING
        self._failures += 1
        wait = min(FIRST_BACKOFF * (1 << min(self._failures - 1, 10)), LONGEST_BACKOFF)
        wait = max(wait, min(answer.after or wait, LONGEST_BACKOFF)) if isinstance(answer, Retry) else wait
        level = logging.WARNING
        wide_event(log, "inquiry.failed", level=level, destination=name, trace_id=memo.name, detail=answer.detail)
        if is_last:
            await self._end(memo, inquiry, Report(is_final=False))
        else:
            await self._again(memo, inquiry.tries, inquiry, wait)
        return wait

    async def _ask(self, trace_id: str, size: int) -> Report | Retry | Park:
        config = self._config()
        try:
            call = self._later.ask(trace_id, config.settings)
            async with asyncio.timeout(config.timeout.total_seconds()):
                reply = await self._sender.send(call, config.timeout.total_seconds(), Progress())
        except TimeoutError:
            return Retry(Reason.TIMEOUT, detail="no answer in time")
        if isinstance(reply, NoReply):
            return Retry(reply.reason, detail=reply.detail)
        try:
            return self._later.read(reply, size)
        except Exception as error:  # whatever the platform sent, the next question must be asked
            log.error("inquiry.read_failed", exc_info=error, extra={"fields": {"destination": config.name}})
            return Retry(Reason.PLATFORM_ERROR, detail="the answer could not be read")

    async def _again(self, memo: Memo, tries: int, inquiry: Inquiry, wait: timedelta) -> None:
        value = aftermath.encode_inquiry(msgspec.structs.replace(inquiry, tries=tries))
        await self._memos.keep_memos([Memo(memo.book, memo.name, value, memo.until, self._now() + wait)])

    async def _end(self, memo: Memo, inquiry: Inquiry, report: Report) -> None:
        """Remember what was refused, and ask no more. Done again after a crash it does the same."""
        name = self._config().name
        events, refused = inquiry.events, report.refused
        if refused:
            await self._memos.keep_memos(aftermath.refusals(name, events, refused, self._now()))
            gone = [
                (e.source, e.transaction) for p, e in enumerate(events) if p in refused and e.transaction is not None
            ]
            if gone:  # a conversion that is not there must not be adjusted: that would make one
                names = [aftermath.adjust_name(source, transaction) for source, transaction in gone if transaction]
                await self._memos.drop_memos(aftermath.adjust_book(name), names)
        await self._memos.drop_memos(memo.book, [memo.name])
        counts = Counter(refused.values()) + Counter(report.unplaced)
        for reason, number in counts.items():
            label = reason if reason in self._later.reasons else "other"
            self._metrics.rejected_after_acceptance.labels(name, label).inc(number)
        if counts or not report.is_final:
            wide_event(
                log,
                "inquiry.answered" if report.is_final else "inquiry.unanswered",
                level=logging.WARNING,
                destination=name,
                trace_id=memo.name,
                items=len(events),
                refused=dict(counts),
                event_ids=[events[position].event_id for position in list(refused)[:10] if position < len(events)],
            )
