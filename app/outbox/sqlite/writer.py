"""Group commit: whatever waits when the writer is free shares one transaction.

Statements run on the event loop's thread, because a second thread would have to win the interpreter lock back after
every single one of them; the COMMIT, which waits for the disk, runs in a thread, and meanwhile the next group
gathers. If a shared transaction fails, its steps are done again one by one, so that one cannot fail its neighbours.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from app.errors import StoreFull, StoreUnavailable

T = TypeVar("T")
GROUP_WEIGHT = 500
"""How many events or deliveries one transaction takes on: bounds how long the event loop is held."""


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """One piece of writing. `run` gets the connection inside a transaction and returns the caller's answer.

    Steps of one `kind` that wait together are run by one call: `run` gets the payloads of all of them and returns
    one answer for each. `after` is called once the transaction is durable.
    """

    kind: Callable[[sqlite3.Connection, Sequence[Any]], tuple[Sequence[T], Callable[[], None] | None]]
    payload: Any
    weight: int = 1
    future: asyncio.Future[T] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class GroupWriter:
    """Runs steps in shared transactions on one connection."""

    def __init__(
        self, connection: sqlite3.Connection, committed: Callable[[], None], rolled_back: Callable[[], None]
    ) -> None:
        """`committed` and `rolled_back` are told the end of every transaction, before anyone gets an answer."""
        self._connection = connection
        self._committed = committed
        self._rolled_back = rolled_back
        self._waiting: deque[Step[Any]] = deque()
        self._wake = asyncio.Event()
        self._is_closing = False
        self._committer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="convey-commit")
        self._task = asyncio.get_running_loop().create_task(self._run(), name="convey-writer")

    async def do(
        self,
        kind: Callable[[sqlite3.Connection, Sequence[Any]], tuple[Sequence[T], Callable[[], None] | None]],
        payload: Any,
        weight: int = 1,
    ) -> T:
        """The answer of `kind` to `payload`, once durable.

        A caller that is cancelled does not take its step back: it may be under way.

        Raises:
            StoreUnavailable: It could not be kept.
        """
        if self._is_closing or self._task.done():
            raise StoreUnavailable("the store is closed")
        step: Step[T] = Step(kind, payload, weight)
        self._waiting.append(step)
        self._wake.set()
        return await asyncio.shield(step.future)

    async def close(self) -> None:
        """Write what waits, then stop."""
        self._is_closing = True
        self._wake.set()
        await self._task
        self._committer.shutdown()

    def abandon(self) -> None:
        """Stop where it stands, as a crash would."""
        self._is_closing = True
        self._task.cancel()
        self._committer.shutdown(wait=True)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._commit(self._take())
            if self._is_closing:
                return

    def _take(self) -> list[Step[Any]]:
        group = [self._waiting.popleft()]
        weight = group[0].weight
        while self._waiting and weight + self._waiting[0].weight <= GROUP_WEIGHT:
            group.append(self._waiting.popleft())
            weight += group[-1].weight
        return group

    async def _commit(self, group: list[Step[Any]]) -> None:
        try:
            answers = await self._transact(group)
        except Exception as error:  # whatever it was, it must not fail the neighbours
            if len(group) > 1:
                for step in group:
                    await self._commit([step])
            elif not group[0].future.done():
                group[0].future.set_exception(_unavailable(error))
            return
        for step, answer in zip(group, answers, strict=True):
            if not step.future.done():
                step.future.set_result(answer)

    async def _transact(self, group: list[Step[Any]]) -> list[Any]:
        by_kind: dict[Any, list[int]] = {}
        for position, step in enumerate(group):
            by_kind.setdefault(step.kind, []).append(position)
        answers: list[Any] = [None] * len(group)
        callbacks = []
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for kind, positions in by_kind.items():
                given, after = kind(connection, [group[position].payload for position in positions])
                for position, answer in zip(positions, given, strict=True):
                    answers[position] = answer
                if after is not None:
                    callbacks.append(after)
            await asyncio.get_running_loop().run_in_executor(self._committer, connection.execute, "COMMIT")
        except BaseException:
            if self._task.cancelling():  # abandoned: the file may be closed already
                raise
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._rolled_back()
            raise
        self._committed()
        for callback in callbacks:
            callback()
        return answers


def _unavailable(error: Exception) -> Exception:
    """What the caller is told: a failing store may work again, anything else is the fault of the step itself."""
    if not isinstance(error, sqlite3.Error) or isinstance(error, sqlite3.ProgrammingError):
        return error
    is_full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    wrapped = StoreFull("the store is full") if is_full else StoreUnavailable(f"the store failed: {error}")
    wrapped.__cause__ = error
    return wrapped
