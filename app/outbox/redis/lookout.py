"""Looking out for work while lanes are idle: this process's own wakes them at once, that of others is looked for.

One look answers for all lanes that wait, since each asks every partition: lanes that looked for themselves would cost
the servers thousands of calls a second for nothing.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import timedelta

from app.errors import StoreUnavailable
from app.outbox.redis.link import Link

POLL_S = 0.4
"""How often another process's work, and what is due later, is looked for while a lane waits."""
FEW = 16
"""Up to so many partitions a lane that begins to wait looks for itself first: when its next is due to the instant."""
Asked = tuple[str, tuple[str, ...]]
"""A destination, and the event names that are paused there."""


class Lookout:
    """For one process."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._wakes: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._waiting: dict[object, Asked] = {}
        self._looking: asyncio.Task[None] | None = None
        self._is_closed = False

    def claiming(self, destination: str) -> None:
        """A claim begins: it sees whatever the lane was woken for so far."""
        self._wakes[destination].clear()

    def wake(self, destinations: Collection[str]) -> None:
        """Something may be ready for these."""
        for destination in destinations:
            self._wakes[destination].set()

    async def wait(self, destination: str, at_most: timedelta, paused: Collection[str]) -> None:
        """See `Outbox.wait`: the work of other processes is noticed within `POLL_S` and the time a look takes."""
        asked = destination, tuple(sorted(paused))
        wake = self._wakes[destination]
        if wake.is_set() or self._link.partitions <= FEW:
            wake.clear()
            await self._look([asked])
        ticket = object()
        self._waiting[ticket] = asked
        if self._looking is None and not self._is_closed:
            self._looking = asyncio.get_running_loop().create_task(self._look_on(), name="convey-redis-lookout")
        try:
            async with asyncio.timeout(at_most.total_seconds()):
                await wake.wait()
        except TimeoutError:
            return
        finally:
            del self._waiting[ticket]

    async def close(self) -> None:
        """Look no more."""
        self._is_closed = True
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    async def _look_on(self) -> None:
        try:
            while self._waiting and not self._is_closed:
                await asyncio.sleep(POLL_S)
                await self._look(sorted(set(self._waiting.values())))
        finally:
            self._looking = None

    async def _look(self, asked: Sequence[Asked]) -> None:
        """Wake those for whom something is ready, now or before the next look."""
        if not asked:
            return
        loop = asyncio.get_running_loop()
        for (destination, _), due_s in zip(asked, await due_in_s(self._link, asked), strict=True):
            if due_s <= 0:
                self._wakes[destination].set()
            elif due_s <= POLL_S:
                loop.call_later(due_s, self._wakes[destination].set)


async def due_in_s(link: Link, asked: Sequence[Asked]) -> list[float]:
    """In how many seconds something is ready for each, as far as is known now; a server that is away has nothing."""
    never = float("inf")
    try:
        replies = await link.everywhere("next", asked)
    except StoreUnavailable:
        return [never] * len(asked)
    due = [[(int(first) - int(now)) / 1e6 if first else never for first in firsts] for now, firsts in replies]
    return [min(column) for column in zip(*due, strict=True)]
