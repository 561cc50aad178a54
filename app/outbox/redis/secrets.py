"""The store's own secrets, on the server that has its facts. A process that was handed one goes by it until it ends.

    {c:meta}    hash: secret:<name> -> the bytes

So whoever finds a store without its secrets (emptied, or held by a replica that had not got them) writes back those it
has, before it takes anything. Two processes with different ones would each keep what the other cannot find.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from app.errors import StoreReplaced, StoreUnavailable
from app.logs import wide_event
from app.outbox.redis.link import META, Link

log = logging.getLogger("convey.store")


class Secrets:
    """Those this process was handed."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._kept: dict[str, bytes] = {}

    async def keep(self, name: str, make: Callable[[], bytes]) -> bytes:
        """The secret of that name, made if there is none.

        Raises:
            StoreReplaced: The store has another one by now than this process was handed.
            StoreUnavailable: The server does not answer, or has forgotten it already.
        """
        mine = self._kept.get(name)
        await self._link.command("HSETNX", META, _field(name), make() if mine is None else mine, durable=True)
        kept = await self._link.command("HGET", META, _field(name))
        if kept is None:
            raise StoreUnavailable("the data of the store has vanished from the server")
        self._compare({name: bytes(kept)})
        self._kept[name] = bytes(kept)
        return bytes(kept)

    async def check(self) -> None:
        """Return once the store has the secrets this process goes by; what is missing there is written back.

        Raises:
            StoreReplaced: The store has others.
            StoreUnavailable: The server does not answer.
        """
        if not self._kept:
            return
        found = await self._link.command("HMGET", META, *map(_field, self._kept))
        there = dict(zip(self._kept, found, strict=True))
        self._compare({name: bytes(value) for name, value in there.items() if value is not None})
        for name in [name for name, value in there.items() if value is None]:
            await self.keep(name, lambda: b"")

    def _compare(self, there: Mapping[str, bytes]) -> None:
        if any(self._kept.get(name, value) != value for name, value in there.items()):
            detail = "the store was begun anew with other secrets than this process has: it has to be started again"
            wide_event(log, "store.replaced", level=logging.CRITICAL, detail=detail)
            raise StoreReplaced(detail)


def _field(name: str) -> str:
    return f"secret:{name}"
