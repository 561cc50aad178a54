"""The Redis engine on Valkey: the model, and the way to durability that only newer servers have."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from app.errors import Status, StoreUnavailable
from app.outbox.redis import RedisStore
from tests.factories import DESTINATIONS, FrozenClock, plan
from tests.outbox.model_based import store_machine
from tests.outbox.redis_harness import RedisHarness
from tests.outbox.support import Bounded, accept, claim, counts, delivered, limit, settle
from tests.redis_server import HOW_TO_GET_VALKEY, ValkeyServer, find_binary, is_optional


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    """A server that writes its file once a second, as is usual."""
    server = ValkeyServer({"appendfsync": "everysec"})
    server.start()
    yield server
    server.close()


class TestValkey(Bounded):
    """A server of 7.2 or newer."""

    async def open(self, server: ValkeyServer, clock: FrozenClock, **options: Any) -> RedisStore:
        """An empty store that promises `fsync`."""
        assert server.command("FLUSHALL") == "+OK"
        return await RedisStore.open(server.url, destinations=DESTINATIONS, now=clock.now, **options)

    @limit(60)
    async def test_an_answer_waits_for_the_disk(self, server: ValkeyServer, clock: FrozenClock) -> None:
        store = await self.open(server, clock, answer_within=timedelta(seconds=4))
        assert store._link.durability.command[:1] == ("WAITAOF",)
        assert (await accept(store, plan())).status is Status.ACCEPTED
        server.command("CONFIG", "SET", "appendfsync", "no")
        try:
            with pytest.raises(StoreUnavailable, match="durable"):
                await accept(store, plan(None, ("meta",), event_name="PageView", asked="view-2"))
        finally:
            server.command("CONFIG", "SET", "appendfsync", "everysec")
        again = await accept(store, plan(None, ("meta",), event_name="PageView", asked="view-2"))
        assert again.status is Status.DUPLICATE, "the server has it, but could not say that the disk has"
        await settle(store, delivered((await store.claim("meta", 1, timedelta(seconds=20)))[0]))
        assert await counts(store) == {"queued": 2, "delivered": 1, "pending": 1}
        await store.close()

    @limit(60)
    async def test_nothing_answered_is_lost_when_it_is_killed(self, clock: FrozenClock) -> None:
        own = ValkeyServer({"appendfsync": "everysec"})
        own.start()
        try:
            store = await self.open(own, clock)
            await accept(store, plan(destinations=("meta",)))
            own.kill()
            own.start()
            assert (await claim(store)).event == plan().event
            await store.close()
        finally:
            own.close()


class ValkeyHarness(RedisHarness):
    """A server for the model's examples, emptied before and after each."""

    shared: ValkeyServer | None = None

    def __init__(self, clock: FrozenClock) -> None:
        cls = type(self)
        if cls.shared is None:
            cls.shared = ValkeyServer({"appendfsync": "always"})
            cls.shared.start()
        super().__init__(cls.shared, clock)
        self.wipe()

    def discard(self) -> None:
        """Empty the server."""
        self.wipe()


TestValkeyModel = store_machine(ValkeyHarness).TestCase
if find_binary("valkey-server", "valkey") is None and is_optional():
    TestValkeyModel = pytest.mark.skip(reason=HOW_TO_GET_VALKEY)(TestValkeyModel)


@pytest.fixture(scope="module", autouse=True)
def _put_away() -> Iterator[None]:
    """End the model's server with the module."""
    yield
    if ValkeyHarness.shared is not None:
        ValkeyHarness.shared.close()
        ValkeyHarness.shared = None
