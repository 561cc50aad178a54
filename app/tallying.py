"""Counts in memory what audits read, and adds it to the store every few seconds and at the end.

Statistics: nothing waits for them, and a crash loses what was counted since the last addition (`FLUSH_PERIOD_S`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable
from datetime import date

from app.errors import StoreUnavailable
from app.logs import wide_event
from app.outbox.tallies import Tally, TallyStore

log = logging.getLogger("convey.tallies")

FLUSH_PERIOD_S = 5.0
MOST_KEYS = 20_000
"""Keys of one book kept in memory while the store is away; what comes beyond is not counted."""


class Tallies:
    """What this process counted and has not added to the store yet."""

    def __init__(self, store: TallyStore) -> None:
        self._store = store
        self._counted: defaultdict[str, dict[tuple[date, str], Tally]] = defaultdict(dict)
        self._gatherers: list[Callable[[], None]] = []
        self._adding = asyncio.Lock()
        self._stopping = asyncio.Event()

    def before_flush(self, gather: Callable[[], None]) -> None:
        """Have `gather` called before every addition: it counts here, in one go, what a hot path only noted."""
        self._gatherers.append(gather)

    def count(self, book: str, key: str, tally: Tally) -> None:
        """Count something, under the day it was last seen."""
        counts, where = self._counted[book], (tally.last_at.date(), key)
        known = counts.get(where)
        if known is not None:
            counts[where] = known + tally
        elif len(counts) < MOST_KEYS:
            counts[where] = tally

    async def flush(self) -> None:
        """Add to the store what was counted; what it does not take is added the next time.

        Raises: StoreUnavailable.
        """
        async with self._adding:
            for gather in self._gatherers:
                gather()
            for book in list(self._counted):
                counts = self._counted.pop(book)
                by_day: defaultdict[date, dict[str, Tally]] = defaultdict(dict)
                for (day, key), tally in counts.items():
                    by_day[day][key] = tally
                try:
                    await self._store.add(book, by_day)
                except StoreUnavailable:
                    for (_, key), tally in counts.items():
                        self.count(book, key, tally)
                    raise

    async def run(self) -> None:
        """Flush every few seconds until `stop`, and once more then; a store that is away is told of and tried again."""
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_PERIOD_S):
                    await self._stopping.wait()
            try:
                await self.flush()
            except StoreUnavailable as error:
                wide_event(log, "tallies.waiting", level=logging.WARNING, detail=str(error))

    def stop(self) -> None:
        """Have `run` end after a last addition."""
        self._stopping.set()
