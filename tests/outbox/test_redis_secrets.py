"""The secrets of a store on Redis when its data vanishes: all processes go by the same ones, or end."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from app.errors import StoreReplaced, StoreUnavailable, StoreVanished
from app.outbox.redis import RedisStore
from app.withdrawals import Withdrawals
from tests.factories import DESTINATIONS, START, FrozenClock, plan
from tests.outbox.support import Bounded, accept, limit
from tests.redis_server import RedisServer

NAMES = ("credentials", "persons")


class TestSecrets(Bounded):
    """Processes on one server, which somebody empties."""

    @pytest.fixture
    def own(self) -> Iterator[RedisServer]:
        """A server that may be emptied."""
        server = RedisServer()
        server.start()
        yield server
        server.close()

    async def open(self, server: RedisServer, clock: FrozenClock, fill: bytes) -> tuple[RedisStore, list[bytes]]:
        """A process and the secrets it was handed; `fill` is what it would make them of."""
        store = await RedisStore.open(server.url, destinations=DESTINATIONS, now=clock.now)
        return store, [await store.keep_secret(name, lambda: fill * 32) for name in NAMES]

    @limit(60)
    async def test_who_begins_a_store_anew_keeps_its_secrets(self, own: RedisServer, clock: FrozenClock) -> None:
        old, secrets = await self.open(own, clock, b"a")
        assert own.command("FLUSHALL") == "+OK"
        with pytest.raises(StoreVanished):
            await old.probe()
        new, others = await self.open(own, clock, b"b")
        assert others == secrets
        await Withdrawals(old, secrets[1]).keep("shop", plan().event.identity, (), START)
        denied = await Withdrawals(new, others[1]).deny([plan()])
        assert denied[0].deliveries == ()
        for store in (old, new):
            await store.probe()
            await store.close()

    @limit(60)
    async def test_who_comes_too_late_with_other_secrets_takes_nothing_and_ends(
        self, own: RedisServer, clock: FrozenClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        old, secrets = await self.open(own, clock, b"a")
        assert own.command("FLUSHALL") == "+OK"
        new, others = await self.open(own, clock, b"b")
        assert others != secrets
        for _ in range(2):
            with pytest.raises(StoreReplaced, match="started again"):
                await old.probe()
            with pytest.raises(StoreUnavailable, match="vanished"):
                await accept(old, plan())
            with pytest.raises(StoreUnavailable, match="vanished"):
                await Withdrawals(old, secrets[1]).keep("shop", plan().event.identity, (), START)
        (line, _) = [record for record in caplog.records if record.msg == "store.replaced"]
        assert line.levelno == logging.CRITICAL
        await new.probe()
        for store in (old, new):
            await store.close()

    @limit(60)
    async def test_a_secret_that_alone_was_lost_is_written_back(self, own: RedisServer, clock: FrozenClock) -> None:
        old, secrets = await self.open(own, clock, b"a")
        assert own.command("HDEL", "{c:meta}", "secret:persons") == ":1"
        await old.probe()
        new, others = await self.open(own, clock, b"b")
        assert others == secrets
        for store in (old, new):
            await store.close()
