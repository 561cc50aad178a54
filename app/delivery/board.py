"""The lanes' side of the lane book, for one process: reads it every second, writes what this process learned.

    flow/<lane>      `Flow`: parked, open or eased, and who probes; written by workers
    pause/<lane>     `Pauses`: what people hold back; written by the API, kept until it is lifted
    rate/<budget>    `Bucket`: what is left of a rate limit; written by whoever sends
    cap/<lane>       `Bucket`: what is left under a rate cap set by a person
    quality/<lane>   `Opinion`: what the platform said of the events it got; written by the worker that asked
    worker/<id>      `Presence`: what a worker has under way; gone when the worker is

A change is a pure step from one value to the next, written only if nobody else was faster, else made again on what
the other wrote.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

import msgspec

from app.delivery import rates
from app.delivery.rates import Bucket
from app.destinations.base import Rate
from app.errors import StoreUnavailable
from app.logs import wide_event
from app.outbox.port import LaneBook, Note

log = logging.getLogger("convey.delivery")

T = TypeVar("T", bound=msgspec.Struct)

SYNC = timedelta(seconds=1)
"""How often the book is read: how long a lane may go on after another process parked it."""
MOST_TRIES = 100
MISS_PAUSE_S = 0.02
"""Whoever was slower waits up to this long before the next try, so that the same one is not always slower."""
PRESENCE_PERIOD = timedelta(seconds=10)
PRESENCE_KEPT = timedelta(seconds=30)


class Presence(msgspec.Struct, frozen=True):
    """What one worker has under way: deliveries by lane."""

    in_flight: dict[str, int]


class Sharer(Protocol):
    """A lane, as the board knows it."""

    name: str

    @property
    def in_flight(self) -> int:
        """How many deliveries it holds to be settled."""

    async def share(self) -> None:
        """Write what this lane learned and has not told yet."""

    def adopt(self) -> None:
        """Take over what the others wrote."""


class Board:
    """One process's copy of the lane book."""

    def __init__(self, book: LaneBook, now: Callable[[], datetime]) -> None:
        self.worker = secrets.token_hex(8)
        self._book = book
        self._now = now
        self._notes: dict[str, Note] = {}
        self._writes = 0
        self._written: dict[str, int] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._sharers: list[Sharer] = []
        self._wake = asyncio.Event()
        self._present: Presence | None = None
        self._present_at: datetime | None = None

    def add(self, sharer: Sharer) -> None:
        """From now on `sharer` is told what changes."""
        self._sharers.append(sharer)

    def wake(self) -> None:
        """Have what was learned written now, not at the next turn."""
        self._wake.set()

    def read(self, name: str, kind: type[T]) -> T | None:
        """The value under `name` as of the last reading; None where there is none, or one of another version."""
        note = self._notes.get(name)
        return None if note is None else decoded(note.value, kind)

    def names(self, prefix: str) -> Sequence[str]:
        """The names of the notes that begin with `prefix`."""
        return [name for name in self._notes if name.startswith(prefix)]

    async def change(
        self, name: str, kind: type[T], step: Callable[[T | None], T | None], keep_for: timedelta | None
    ) -> T | None:
        """The value after `step`, which is asked again with what is there by then while others are faster.

        A step that changes nothing writes nothing; one that ends in None deletes the note.

        Raises: StoreUnavailable.
        """
        async with self._locks[name]:  # within the process each waits for its turn
            for _ in range(MOST_TRIES):
                note = self._notes.get(name)
                before = None if note is None else decoded(note.value, kind)
                after = step(before)
                if after == before:
                    return after
                if await self._write(name, None if after is None else msgspec.json.encode(after), keep_for):
                    return after
                await asyncio.sleep(MISS_PAUSE_S * random.random())  # noqa: S311 - spreads, hides nothing
                await self.refresh()
        raise StoreUnavailable("the lane book is too busy")

    async def refresh(self) -> None:
        """Read the book.

        Raises: StoreUnavailable.
        """
        began = self._writes
        notes = dict(await self._book.notes())
        for name, write in self._written.items():
            if write <= began:
                continue
            if name in self._notes:  # what was read may be older than what was written meanwhile
                notes[name] = self._notes[name]
            else:
                notes.pop(name, None)
        self._notes = notes

    async def _write(self, name: str, value: bytes | None, keep_for: timedelta | None) -> bool:
        """Whether the note could be written over the one known here."""
        known = self._notes.get(name)
        version = await self._book.note(name, value, 0 if known is None else known.version, keep_for)
        if version is None:
            return False
        self._writes += 1
        self._written[name] = self._writes
        if value is None:
            self._notes.pop(name, None)
        else:
            self._notes[name] = Note(value, version)
        return True

    async def sync(self) -> None:
        """Read the book, write what this process learned, tell the lanes what the others did.

        Raises: StoreUnavailable.
        """
        await self.refresh()
        for sharer in self._sharers:
            await sharer.share()
            sharer.adopt()
        await self._show_presence()

    async def run(self, stopping: asyncio.Event) -> None:
        """Sync every `SYNC`, and write at once what a lane wakes it for, until `stopping`."""
        is_due = True
        while not stopping.is_set():
            try:
                if is_due:
                    await self.sync()
                else:
                    for sharer in self._sharers:
                        await sharer.share()
            except StoreUnavailable as error:
                wide_event(log, "board.store_unavailable", level=logging.WARNING, detail=str(error))
                is_due = True
            is_due = await self._pause(stopping)

    async def leave(self) -> None:
        """Write what is left to be told, and that this process has nothing under way any more.

        Raises: StoreUnavailable.
        """
        for sharer in self._sharers:
            await sharer.share()
        await self.change(f"worker/{self.worker}", Presence, lambda _: None, PRESENCE_KEPT)

    async def _pause(self, stopping: asyncio.Event) -> bool:
        """Wait for the next turn; whether it is a whole one."""
        waking = asyncio.ensure_future(self._wake.wait())
        ending = asyncio.ensure_future(stopping.wait())
        try:
            await asyncio.wait({waking, ending}, timeout=SYNC.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waking.cancel()
            ending.cancel()
        was_woken = self._wake.is_set()
        self._wake.clear()
        return not was_woken

    async def _show_presence(self) -> None:
        present = Presence({sharer.name: sharer.in_flight for sharer in self._sharers if sharer.in_flight})
        now = self._now()
        if present == self._present and self._present_at is not None and now < self._present_at + PRESENCE_PERIOD:
            return
        if await self._write(f"worker/{self.worker}", msgspec.json.encode(present), PRESENCE_KEPT):
            self._present, self._present_at = present, now


def decoded(value: bytes, kind: type[T]) -> T | None:
    """The value in a note; None for one that this version cannot read."""
    try:
        return msgspec.json.decode(value, type=kind)
    except msgspec.DecodeError:
        return None


class Budget:
    """One rate limit, shared by all who have its key, as one lane draws on it."""

    def __init__(self, board: Board, key: str, limits: Sequence[Rate], now: Callable[[], datetime]) -> None:
        self._board = board
        self._key = key
        self._rates = tuple(limits)
        self._now = now

    def room(self) -> int:
        """How many may go now, as far as is known here."""
        return rates.room(self._fresh(self._board.read(self._key, Bucket)))

    async def take(self, most: int) -> int:
        """Take up to `most` of what is left; returns how many may go.

        Raises: StoreUnavailable.
        """
        taken = 0

        def step(bucket: Bucket | None) -> Bucket | None:
            nonlocal taken
            fresh = self._fresh(bucket)
            taken = min(most, rates.room(fresh))
            return rates.spent(fresh, taken) if taken else bucket

        await self._board.change(self._key, Bucket, step, rates.keep_for(self._rates))
        return taken

    async def permit(self) -> timedelta | None:
        """None when one may go, and is taken; else how long until it may be asked again.

        Raises: StoreUnavailable.
        """
        if await self.take(1):
            return None
        return rates.wait(self._fresh(self._board.read(self._key, Bucket)), self._rates)

    async def give_back(self, number: int) -> None:
        """Return what was taken and is not used.

        Raises: StoreUnavailable.
        """
        if number:
            await self._board.change(
                self._key,
                Bucket,
                lambda bucket: rates.spent(self._fresh(bucket), -number),
                rates.keep_for(self._rates),
            )

    def _fresh(self, bucket: Bucket | None) -> Bucket:
        return rates.refilled(bucket, self._rates, self._now())
