"""The keys of the vault: masters, which are configured, and the data keys of days, which they wrap.

A data key is kept by its name, `<day>.<id in hex>`, as

    length of the master's id, 1 byte | the master's id | nonce, 12 | the wrapped key and tag

and goes by an id of its own, so that two processes that each made one for a day after a failover can both be read. The
tag covers the name: a wrapped key that is moved to another day does not open.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
ID_BYTES, NONCE_BYTES = 4, 12
FREED = "freed:"
"""What the names of entries begin with that say since when nothing that waits is sealed under a data key."""


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


@dataclass(frozen=True, slots=True)
class DataKey:
    """One data key, opened."""

    name: str
    raw: bytes = field(repr=False)
    cipher: AESGCM = field(repr=False)

    @classmethod
    def of(cls, name: str, raw: bytes) -> DataKey:
        """The key of that name."""
        return cls(name, raw, AESGCM(raw))

    @classmethod
    def new(cls, day: str) -> DataKey:
        """A fresh key for a day."""
        return cls.of(f"{day}.{os.urandom(ID_BYTES).hex()}", os.urandom(KEY_BYTES))

    @property
    def day(self) -> str:
        """The UTC day it seals on, as 2026-11-25."""
        return self.name.partition(".")[0]


def id_of(name: str) -> bytes:
    """The id of the data key of that name, which what it sealed carries."""
    return bytes.fromhex(name.rpartition(".")[2])


def keys_in(entries: Mapping[str, bytes]) -> list[str]:
    """The names of the data keys among the entries of a book, in order."""
    return sorted(name for name in entries if not name.startswith(FREED))


def master_of(wrapped: bytes) -> str:
    """The id of the master that wrapped a data key."""
    return wrapped[1 : 1 + wrapped[0]].decode()


class KeyRing:
    """The masters of one process."""

    def __init__(self, masters: Sequence[Master]) -> None:
        self._ciphers = {master.id: AESGCM(master.key) for master in masters}
        self.first = masters[0].id if masters else None
        """The id of the one that wraps; None where there is none."""

    def has(self, master: str) -> bool:
        """Whether a master of that id is configured."""
        return master in self._ciphers

    def wrap(self, key: DataKey) -> bytes:
        """What is kept of a data key: wrapped under the first master, which there must be."""
        assert self.first is not None
        owner, nonce = self.first.encode(), os.urandom(NONCE_BYTES)
        wrapped = self._ciphers[self.first].encrypt(nonce, key.raw, key.name.encode())
        return bytes([len(owner)]) + owner + nonce + wrapped

    def unwrap(self, name: str, wrapped: bytes) -> DataKey | None:
        """The data key of that name; None where no master opens it."""
        cipher = self._ciphers.get(master_of(wrapped))
        if cipher is None:
            return None
        rest = wrapped[1 + wrapped[0] :]
        try:
            return DataKey.of(name, cipher.decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], name.encode()))
        except (InvalidTag, ValueError):
            return None
