"""Values sealed at rest: AES-256-GCM under a data key of the UTC day, which the store keeps wrapped under a master key.

    sealed value   0x01 | id of the data key, 4 bytes | nonce, 12 | ciphertext and tag
    data key       <day>.<id in hex> -> length of the master's id | its id | nonce, 12 | the wrapped key and tag

What is kept in clear begins with another byte (a msgpack map or a Zstandard frame), so that a store may hold both. The
tag covers the header and what kind of value it is: a value moved to where another kind stands does not open. A data key
goes by an id of its own, so that two processes that each made one for a day after a failover can both be read.

Nonces are random: 2^32 values under one key, far more than a store takes in a day, leave a chance of 2^-32 that two of
them are the same. Source: NIST SP 800-38D, 8.3, read 2026-11-25.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.errors import StoreMismatch
from app.model import LOCKED, UNREADABLE, HashedEvent

KEY_BYTES = 32
SEALED = b"\x01"
"""What a sealed value begins with, and no other."""
_ID_BYTES, _NONCE_BYTES = 4, 12
_HEADER_BYTES = len(SEALED) + _ID_BYTES
_BODY_AT = _HEADER_BYTES + _NONCE_BYTES
_DAY = timedelta(days=1)
_FREED = "freed:"
BODY = b"body"
"""What kind of value a hashed event is."""


def context_of(source: str, transaction: str) -> bytes:
    """What kind of value the context of this order is."""
    return b"\0".join((b"context", source.encode(), transaction.encode()))


@dataclass(frozen=True, slots=True)
class Master:
    """A configured key, of `KEY_BYTES`, by the id it is configured under."""

    id: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Encryption:
    """How values are kept: the first of `masters` wraps, all of them unwrap; none, and nothing is ever sealed.

    `seals` is false where only what is sealed already is opened. Data keys wrapped under a master named in `given_up`
    are deleted at start, and what they sealed with them.
    """

    masters: Sequence[Master] = ()
    seals: bool = True
    given_up: frozenset[str] = frozenset()


PLAIN = Encryption()


class KeyBook(Protocol):
    """Where an engine keeps small entries for the vault: durable, and seen by every process of the store."""

    async def entries(self) -> Mapping[str, bytes]:
        """Every entry by its name. Raises: StoreUnavailable."""

    async def keep(self, name: str, value: bytes) -> None:
        """Keep an entry durably, in place of an earlier one. Raises: StoreUnavailable."""

    async def drop(self, names: Sequence[str]) -> None:
        """Delete entries durably. Raises: StoreUnavailable."""


class Unreadable(Exception):
    """The data key is gone or the bytes are damaged: nobody can open this any more."""


class Locked(Exception):
    """The data key is there, but wrapped under a master key that this process was not given."""


@dataclass(frozen=True, slots=True)
class _DataKey:
    name: str
    header: bytes
    raw: bytes = field(repr=False)
    cipher: AESGCM = field(repr=False)

    @classmethod
    def of(cls, name: str, raw: bytes) -> _DataKey:
        return cls(name, SEALED + _id_of(name), raw, AESGCM(raw))

    @property
    def day(self) -> str:
        return self.name.partition(".")[0]


class Vault:
    """Seals and opens for one process. Opened data keys stay in memory; nothing here waits but what says so."""

    def __init__(self, encryption: Encryption, book: KeyBook, now: Callable[[], datetime]) -> None:
        """Goes by the clock `now` for which day it is."""
        self._masters = {master.id: AESGCM(master.key) for master in encryption.masters}
        self._first = encryption.masters[0].id if encryption.masters else None
        self._seals = encryption.seals and self._first is not None
        self._given_up = encryption.given_up
        self._book = book
        self._now = now
        self._keys: dict[bytes, _DataKey] = {}
        self._locked: dict[bytes, str] = {}
        self._gone: set[bytes] = set()
        self._sealing: _DataKey | None = None
        self._tending = asyncio.Lock()

    @property
    def is_on(self) -> bool:
        """Whether there is a key at all."""
        return self._first is not None

    # --- values

    def seal(self, plain: bytes, kind: bytes) -> bytes:
        """The bytes to be kept for `plain`: sealed under the day's key, or as they are where nothing is sealed."""
        key = self._sealing
        if key is None:
            return plain
        nonce = os.urandom(_NONCE_BYTES)
        return key.header + nonce + key.cipher.encrypt(nonce, plain, key.header + kind)

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
            StoreMismatch: There are some that no configured key opens.
            StoreUnavailable: The store does not answer.
        """
        entries = await self._book.entries()
        given_up = [name for name in _keys_in(entries) if _master_of(entries[name]) in self._given_up]
        if given_up:
            await self._book.drop([each for name in given_up for each in (name, _FREED + name)])
            entries = {name: value for name, value in entries.items() if name not in given_up}
        self._learn(entries)
        if self._locked:
            raise StoreMismatch(self._refusal())
        await self._tend(entries)

    def _refusal(self) -> str:
        held = ", ".join(sorted(set(self._locked.values())))
        number = f"{len(self._locked)} data key{'s' if len(self._locked) > 1 else ''}"
        if wrong := sorted(set(self._locked.values()) & self._masters.keys()):
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
        for name in _keys_in(entries):
            key = self._keys.get(_id_of(name))
            if key is not None and _master_of(entries[name]) != self._first:
                await self._keep(key)
        if self._seals:
            await self._make(self._today(_DAY))
            self._sealing = await self._make(self._today())

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
            name.removeprefix(_FREED): datetime.fromisoformat(value.decode())
            for name, value in (await self._book.entries()).items()
            if name.startswith(_FREED)
        }

    async def free(self, name: str, now: datetime) -> None:
        """Note that nothing that waits is sealed under a data key from now on."""
        await self._book.keep(_FREED + name, now.isoformat().encode())

    async def hold(self, name: str) -> None:
        """Take that note back."""
        await self._book.drop([_FREED + name])

    async def destroy(self, names: Sequence[str]) -> None:
        """Delete data keys for good."""
        if names:
            await self._book.drop([each for name in names for each in (name, _FREED + name)])
            for name in names:
                self._keys.pop(_id_of(name), None)

    async def _make(self, day: str) -> _DataKey:
        """The key of a day, made where this process can open none; of several, all processes take the same."""
        there = sorted(key.name for key in self._keys.values() if key.day == day)
        if there:
            return self._keys[_id_of(there[0])]
        key = _DataKey.of(f"{day}.{os.urandom(_ID_BYTES).hex()}", os.urandom(KEY_BYTES))
        await self._keep(key)
        self._keys[_id_of(key.name)] = key
        return key

    async def _keep(self, key: _DataKey) -> None:
        assert self._first is not None
        nonce = os.urandom(_NONCE_BYTES)
        owner = self._first.encode()
        wrapped = self._masters[self._first].encrypt(nonce, key.raw, key.name.encode())
        await self._book.keep(key.name, bytes([len(owner)]) + owner + nonce + wrapped)

    def _learn(self, entries: Mapping[str, bytes]) -> None:
        for name in _keys_in(entries):
            identity = _id_of(name)
            if identity in self._keys:
                continue
            raw = self._unwrapped(name, entries[name])
            if raw is None:
                self._locked[identity] = _master_of(entries[name])
            else:
                self._locked.pop(identity, None)
                self._gone.discard(identity)
                self._keys[identity] = _DataKey.of(name, raw)

    def _unwrapped(self, name: str, wrapped: bytes) -> bytes | None:
        master = self._masters.get(_master_of(wrapped))
        if master is None:
            return None
        rest = wrapped[1 + wrapped[0] :]
        try:
            return master.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError):
            return None

    def _today(self, ahead: timedelta = timedelta(0)) -> str:
        return f"{self._now() + ahead:%Y-%m-%d}"


def _keys_in(entries: Mapping[str, bytes]) -> list[str]:
    return sorted(name for name in entries if not name.startswith(_FREED))


def _id_of(name: str) -> bytes:
    return bytes.fromhex(name.rpartition(".")[2])


def _master_of(wrapped: bytes) -> str:
    return wrapped[1 : 1 + wrapped[0]].decode()
