"""Keys and vaults for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.outbox.datakeys import PLAIN, Encryption, Master
from app.outbox.vault import Vault
from tests.factories import FrozenClock

FIRST = Master("first", bytes(range(32)))
SECOND = Master("second", bytes(range(32, 64)))
SEALED = Encryption([FIRST])


class MemoryBook:
    """A book of keys that several vaults may share."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def entries(self) -> Mapping[str, bytes]:
        return dict(self.kept)

    async def keep(self, name: str, value: bytes) -> None:
        self.kept[name] = value

    async def drop(self, names: Sequence[str]) -> None:
        for name in names:
            self.kept.pop(name, None)


OPEN_VAULT = Vault(PLAIN, MemoryBook(), FrozenClock().now)
"""Seals nothing."""
