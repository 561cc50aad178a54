"""The Redis engine, as the contract and the model want to open, crash and look into it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from app.outbox.redis import RedisStore
from tests.factories import DESTINATIONS, FrozenClock
from tests.outbox.support import Engine
from tests.redis_server import RedisServer, shared_server


class RedisHarness:
    """One server's first database and whichever engine uses it at the moment.

    Opening voids no lease, since another process may hold it: what a crashed engine had claimed is ready when its
    lease ends.
    """

    voids_leases_on_open = False

    def __init__(self, server: RedisServer, clock: FrozenClock, **options: Any) -> None:
        self.server = server
        self.clock = clock
        self._options = options
        self._store: RedisStore | None = None

    async def open(self, *, destinations: Sequence[str] = DESTINATIONS, **options: Any) -> Engine:
        """An engine on the server; the one opened last is the one that is crashed or closed."""
        self._store = await RedisStore.open(
            self.server.url,
            destinations=destinations,
            now=self.clock.now,
            **{"journal_retention": timedelta(days=7), **self._options, **options},
        )
        return self._store

    async def reopen(self, *, crash: bool = True) -> Engine:
        """Another engine on the same data, after the former one crashed or was closed."""
        if crash:
            await self.crash()
        else:
            await self.close()
        return await self.open()

    async def crash(self) -> None:
        """End the engine as a crash would."""
        store, self._store = self._store, None
        if store is not None:
            await store.abandon()

    async def close(self) -> None:
        """End the engine in good order."""
        store, self._store = self._store, None
        if store is not None:
            await store.close()

    def wipe(self) -> None:
        """Empty the server."""
        assert self.server.command("FLUSHALL") == "+OK"

    async def keys_of(self, *kinds: str) -> list[str]:
        """The keys of partitions that are of these kinds."""
        assert self._store is not None
        with_tag = [key.decode() for key in await self._store._link.command("KEYS", "{c:[0-9]*}:*")]
        return sorted(key for key in with_tag if key.split("}:", 1)[1].split(":")[0] in kinds)

    async def keys_beside(self, *kinds: str) -> list[str]:
        """The keys of partitions but for those of these kinds."""
        assert self._store is not None
        with_tag = [key.decode() for key in await self._store._link.command("KEYS", "{c:[0-9]*}:*")]
        return sorted(key for key in with_tag if key.split("}:", 1)[1] not in kinds)

    async def miscount(self, name: str, state: str, currency: str, *, deliveries: int, units: int) -> None:
        """Spoil a count of the ledger in the first partition."""
        number = {"pending": 0, "dead": 2}[state]
        for what, by in (("n", deliveries), ("u", units)):
            self.server.command("HINCRBY", "{c:0}:n", f"{name}\t{number}\t{currency}\t{what}", str(by))

    async def lose(self, name: str) -> None:
        """Delete what is pending for a destination, and tell nobody."""
        script = "for _, k in ipairs(redis.call('KEYS', '*}:r:' .. ARGV[1] .. '*')) do redis.call('DEL', k) end"
        self.server.command("EVAL", script, "0", name)

    async def body_count(self) -> int:
        """How many event bodies are on the server."""
        script = "local n = 0; for _, k in ipairs(redis.call('KEYS', '*}:b:*')) do n = n + 1 end; return n"
        return int(self.server.command("EVAL", script, "0").removeprefix(":"))


class WipedRedis(RedisHarness):
    """The shared server, emptied before and after."""

    def __init__(self, clock: FrozenClock) -> None:
        super().__init__(shared_server(), clock)
        self.wipe()

    def discard(self) -> None:
        """Empty the server."""
        self.wipe()
