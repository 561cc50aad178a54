"""Values sealed at rest: AES-256-GCM under a data key of the UTC day, which the store keeps wrapped (`datakeys`).

    0x01 | id of the data key, 4 bytes | nonce, 12 | ciphertext and tag

What is kept in clear begins with another byte (a msgpack map or a Zstandard frame), so that a store may hold both. The
tag covers the header and what kind of value it is: a value moved to where another kind stands does not open.

Nonces are random. With 2^32 values under one key, NIST's bound for that (SP 800-38D, 8.3) and some fifty thousand a
second for a day, the chance that any two of them are the same is 2^-32.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta

from cryptography.exceptions import InvalidTag

from app.errors import StoreMismatch
from app.model import LOCKED, UNREADABLE, HashedEvent
from app.outbox.datakeys import (
    FREED,
    ID_BYTES,
    NONCE_BYTES,
    DataKey,
    Encryption,
    KeyBook,
    KeyRing,
    id_of,
    keys_in,
    master_of,
)

SEALED = b"\x01"
"""What a sealed value begins with, and no other."""
BODY = b"body"
"""What kind of value a hashed event is."""
_HEADER_BYTES = len(SEALED) + ID_BYTES
_BODY_AT = _HEADER_BYTES + NONCE_BYTES
_DAY = timedelta(days=1)


def context_of(source: str, transaction: str) -> bytes:
    """What kind of value the context of this order is."""
    return b"\0".join((b"context", source.encode(), transaction.encode()))


class Unreadable(Exception):
    """The data key is gone or the bytes are damaged: nobody can open this any more."""


class Locked(Exception):
    """The data key is there, but wrapped under a master key that this process was not given."""


class Vault:
    """Seals and opens for one process. Opened data keys stay in memory; nothing here waits but what says so."""

    def __init__(self, encryption: Encryption, book: KeyBook, now: Callable[[], datetime]) -> None:
        """Goes by the clock `now` for which day it is."""
        self._ring = KeyRing(encryption.masters)
        self._seals = encryption.seals and self.is_on
        self._given_up = encryption.given_up
        self.deleted = 0
        """How many data keys `begin` deleted, as their master is given up."""
        self._book = book
        self._now = now
        self._keys: dict[bytes, DataKey] = {}
        self._locked: dict[bytes, str] = {}
        self._gone: set[bytes] = set()
        self._sealing: DataKey | None = None
        self._header = b""
        self._tending = asyncio.Lock()

    @property
    def is_on(self) -> bool:
        """Whether there is a key at all."""
        return self._ring.first is not None

    # --- values

    def seal(self, plain: bytes, kind: bytes) -> bytes:
        """The bytes to be kept for `plain`: sealed under the day's key, or as they are where nothing is sealed."""
        key = self._sealing
        if key is None:
            return plain
        header, nonce = self._header, os.urandom(NONCE_BYTES)
        return header + nonce + key.cipher.encrypt(nonce, plain, header + kind)

    def open(self, kept: bytes, kind: bytes) -> bytes:
        """What `kept` was made of.

        Raises: Unreadable; Locked.
        """
        header = kept[:_HEADER_BYTES]
        if header[:1] != SEALED:
            return kept
        key = self._keys.get(header[1:])
        if key is None:
            raise Locked if header[1:] in self._locked else Unreadable
        try:
            return key.cipher.decrypt(kept[_HEADER_BYTES:_BODY_AT], kept[_BODY_AT:], header + kind)
        except (InvalidTag, ValueError) as error:  # ValueError: cut short
            raise Unreadable from error

    def event(self, kept: bytes, decode: Callable[[bytes], HashedEvent]) -> HashedEvent:
        """The event in `kept`, or which of `UNREADABLE` and `LOCKED` it is."""
        try:
            return decode(self.open(kept, BODY))
        except Unreadable:
            return UNREADABLE
        except Locked:
            return LOCKED

    @staticmethod
    def is_opened(event: HashedEvent) -> bool:
        """Whether `event` is what was kept, and stands for nothing that could not be opened."""
        return event is not UNREADABLE and event is not LOCKED

    def readable(self, kept: bytes, decode: Callable[[bytes], HashedEvent]) -> HashedEvent | None:
        """The event in `kept`; None where this process cannot open it."""
        event = self.event(kept, decode)
        return event if self.is_opened(event) else None

    def contexts(self, source: str, kept: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
        """The contexts of orders of one source, without those that cannot be opened: they only complete an event."""
        found = {}
        for transaction, body in kept:
            with contextlib.suppress(Unreadable, Locked):
                found[transaction] = self.open(body, context_of(source, transaction))
        return found

    def knows(self, kept: bytes) -> bool:
        """Whether `open` has the last word on it; else another process made its key, and `tend` gets to know it."""
        identity = kept[1:_HEADER_BYTES]
        return kept[:1] != SEALED or identity in self._keys or identity in self._locked or identity in self._gone

    async def be_ready(self) -> None:
        """Return once `seal` has the key of the day: at once, as it is made ahead. Asked once a batch.

        Raises: StoreUnavailable.
        """
        if self._seals and (self._sealing is None or self._sealing.day != self._today()):
            await self.tend()

    async def get_to_know(self, values: Iterable[bytes]) -> None:
        """Return once `open` has the last word on each of `values`.

        Raises: StoreUnavailable.
        """
        strange = [value for value in values if not self.knows(value)]
        if strange:
            self._learn(await self._book.entries())
            self._gone |= {value[1:_HEADER_BYTES] for value in strange if not self.knows(value)}

    # --- data keys

    async def begin(self) -> None:
        """Get to know the store's data keys, and have those of today and tomorrow.

        Raises:
            StoreMismatch: There are some that no configured key opens, or none under a master that is to be given up.
            StoreUnavailable: The store does not answer.
        """
        entries = await self._book.entries()
        given_up = [name for name in keys_in(entries) if master_of(entries[name]) in self._given_up]
        if self._given_up and not given_up:
            raise StoreMismatch(
                f"nothing is wrapped under {', '.join(sorted(self._given_up))}, and nothing was deleted: the store "
                "does not know this id, or a start with another key in front has wrapped all anew"
            )
        if given_up:
            await self._book.drop([each for name in given_up for each in (name, FREED + name)])
            self.deleted = len(given_up)
            entries = {name: value for name, value in entries.items() if name not in given_up}
        self._learn(entries)
        if self._locked:
            done = f"data keys deleted: {self.deleted}; but " if self.deleted else ""
            raise StoreMismatch(done + self._refusal())
        await self._tend(entries)

    def _refusal(self) -> str:
        held = ", ".join(sorted(set(self._locked.values())))
        number = f"{len(self._locked)} data key{'s' if len(self._locked) > 1 else ''}"
        if wrong := sorted(filter(self._ring.has, set(self._locked.values()))):
            return (
                f"store.encryption.keys has another key under the id {', '.join(wrong)} than the one that wrapped "
                f"{number} of the store: put the former key back, under its id"
            )
        return (
            f"the store has values sealed under {number}, wrapped under a key that store.encryption.keys does not "
            f"have: {held}. Put it back, at the end of the list, until nothing sealed under it is left; or, if it is "
            f"gone, give up what it sealed, for good, with: convey keys forget {held.split(', ')[0]}"
        )

    async def tend(self) -> None:
        """Have the keys of today and tomorrow, wrapped under the first master; to be called again and again.

        A store that lost its keys is told them again by every process that has them.

        Raises: StoreUnavailable.
        """
        if self.is_on:
            async with self._tending:
                await self._tend(await self._book.entries())

    async def _tend(self, entries: Mapping[str, bytes]) -> None:
        if self._sealing is not None and self._sealing.name not in entries:
            for mine in list(self._keys.values()):
                if mine.name not in entries:
                    await self._keep(mine)
        else:
            for identity, mine in list(self._keys.items()):
                if mine.name not in entries:  # nothing was left under it
                    del self._keys[identity]
        self._learn(entries)
        for name in keys_in(entries):
            key = self._keys.get(id_of(name))
            if key is not None and master_of(entries[name]) != self._ring.first:
                await self._keep(key)
        if self._seals:
            await self._make(self._today(_DAY))
            self._sealing = await self._make(self._today())
            self._header = SEALED + id_of(self._sealing.name)

    # --- what has had its time: see `app.outbox.expiry`

    def before(self, day: date) -> list[tuple[str, datetime]]:
        """The data keys of days before that one, each with the end of its day."""
        found = []
        for key in self._keys.values():
            own = date.fromisoformat(key.day)
            if own < day:
                found.append((key.name, datetime.combine(own, time(), UTC) + _DAY))
        return found

    async def freed(self) -> dict[str, datetime]:
        """Since when nothing that waits is sealed under a data key, of those where that was noted."""
        return {
            name.removeprefix(FREED): datetime.fromisoformat(value.decode())
            for name, value in (await self._book.entries()).items()
            if name.startswith(FREED)
        }

    async def free(self, name: str, now: datetime) -> None:
        """Note that nothing that waits is sealed under a data key from now on."""
        await self._book.keep(FREED + name, now.isoformat().encode())

    async def hold(self, name: str) -> None:
        """Take that note back."""
        await self._book.drop([FREED + name])

    async def destroy(self, names: Sequence[str]) -> None:
        """Delete data keys for good."""
        if names:
            await self._book.drop([each for name in names for each in (name, FREED + name)])
            for name in names:
                self._keys.pop(id_of(name), None)

    async def _make(self, day: str) -> DataKey:
        """The key of a day, made where this process can open none; of several, all processes take the same."""
        there = sorted(key.name for key in self._keys.values() if key.day == day)
        if there:
            return self._keys[id_of(there[0])]
        key = DataKey.new(day)
        await self._keep(key)
        self._keys[id_of(key.name)] = key
        return key

    async def _keep(self, key: DataKey) -> None:
        await self._book.keep(key.name, self._ring.wrap(key))

    def _learn(self, entries: Mapping[str, bytes]) -> None:
        for name in keys_in(entries):
            identity = id_of(name)
            if identity in self._keys:
                continue
            key = self._ring.unwrap(name, entries[name])
            if key is None:
                self._locked[identity] = master_of(entries[name])
            else:
                self._locked.pop(identity, None)
                self._gone.discard(identity)
                self._keys[identity] = key

    def _today(self, ahead: timedelta = timedelta(0)) -> str:
        return f"{self._now() + ahead:%Y-%m-%d}"
