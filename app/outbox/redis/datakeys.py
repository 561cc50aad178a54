"""Entries of the vault, on the server that has the store's facts.

{c:meta}:datakeys    hash: name -> the bytes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.outbox.redis.link import META, Link

_KEY = f"{META}:datakeys"


class RedisKeyBook:
    """See `app.outbox.vault.KeyBook`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def entries(self) -> Mapping[str, bytes]:
        """See `KeyBook.entries`."""
        told = await self._link.command("HGETALL", _KEY)
        pairs = told.items() if isinstance(told, Mapping) else zip(told[::2], told[1::2], strict=True)
        return {bytes(name).decode(): bytes(value) for name, value in pairs}

    async def keep(self, name: str, value: bytes) -> None:
        """See `KeyBook.keep`."""
        await self._link.command("HSET", _KEY, name, value, durable=True)

    async def drop(self, names: Sequence[str]) -> None:
        """See `KeyBook.drop`."""
        if names:
            await self._link.command("HDEL", _KEY, *names, durable=True)
