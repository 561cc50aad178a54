"""Group commit: whatever waits when the former round is done goes to the server as one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from app.errors import StoreUnavailable

Asked = TypeVar("Asked")
Told = TypeVar("Told")
ROUND_WEIGHT = 500
"""How many events or deliveries one round takes on: bounds how long the server is held."""


@dataclass(frozen=True, slots=True)
class _Call(Generic[Asked, Told]):
    items: Sequence[Asked]
    future: asyncio.Future[list[Told]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Turns(Generic[Asked, Told]):
    """Joins the items of concurrent calls, one round at a time.

    `work` answers every item of a round, in order, with a value or with the exception its caller is to get.
    """

    def __init__(self, work: Callable[[Sequence[Asked]], Awaitable[Sequence[Told | Exception]]]) -> None:
        self._work = work
        self._waiting: deque[_Call[Asked, Told]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    async def do(self, items: Sequence[Asked]) -> list[Told]:
        """The answers to `items`. A caller that is cancelled does not take them back: they may be under way.

        Raises:
            StoreUnavailable: At least one of them could not be done.
        """
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        call: _Call[Asked, Told] = _Call(items)
        self._waiting.append(call)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="convey-redis-round")
        return await asyncio.shield(call.future)

    async def close(self) -> None:
        """Do what waits, then stop."""
        self._is_closed = True
        if self._task is not None:
            await asyncio.wait({self._task})

    def abandon(self) -> None:
        """Stop where it stands, as a crash would."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
        self._end(list(self._waiting), StoreUnavailable("the store was closed"))
        self._waiting.clear()

    async def _run(self) -> None:
        try:
            # What the callers of this turn of the event loop have to say shares the first round.
            await asyncio.sleep(0)
            while self._waiting:
                await self._round(self._take())
        finally:
            self._task = None

    def _take(self) -> list[_Call[Asked, Told]]:
        calls = [self._waiting.popleft()]
        weight = len(calls[0].items)
        while self._waiting and weight + len(self._waiting[0].items) <= ROUND_WEIGHT:
            calls.append(self._waiting.popleft())
            weight += len(calls[-1].items)
        return calls

    async def _round(self, calls: list[_Call[Asked, Told]]) -> None:
        try:
            answers = iter(await self._work([item for call in calls for item in call.items]))
        except asyncio.CancelledError:
            self._end(calls, StoreUnavailable("the store was closed"))
            raise
        except Exception as error:  # whatever it was, nobody may wait for ever
            self._end(calls, error)
            return
        for call in calls:
            told = [next(answers) for _ in call.items]
            failures = [answer for answer in told if isinstance(answer, Exception)]
            if call.future.done():
                continue
            if failures:
                call.future.set_exception(failures[0])
            else:
                call.future.set_result([answer for answer in told if not isinstance(answer, Exception)])

    @staticmethod
    def _end(calls: Sequence[_Call[Asked, Told]], error: Exception) -> None:
        for call in calls:
            if not call.future.done():
                call.future.set_exception(error)
                call.future.exception()  # its caller may be gone
