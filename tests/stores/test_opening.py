"""Opening a store: the engine its URL names, patience with one that is not there yet, none with one that is wrong."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr

from app.config import StoreConfig
from app.errors import StoreMismatch, StoreUnavailable
from app.outbox.redis import RedisStore
from app.outbox.sqlite import SqliteStore
from app.stores import opened
from tests.redis_server import RedisServer, free_port

pytestmark = pytest.mark.anyio


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A server that is not started yet."""
    server = RedisServer()
    yield server
    server.close()


async def test_the_url_names_the_engine(tmp_path: Path, own: RedisServer) -> None:
    own.start()
    async with opened(StoreConfig(url=f"sqlite:///{tmp_path}/x.db"), ["meta"], None) as store:
        assert isinstance(store, SqliteStore)
    async with opened(StoreConfig(url=own.url, partitions=3), ["meta"], None) as store:
        assert isinstance(store, RedisStore)
        assert set(await store.ledger()) == {"meta"}
    with pytest.raises(StoreMismatch, match="3 partitions"):
        async with opened(StoreConfig(url=own.url, partitions=4), ["meta"], None):
            pass


async def test_a_redis_that_is_not_there_yet_is_waited_for(own: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "convey.store")
    own.settings["requirepass"] = "s3cret"
    async with anyio.create_task_group() as group:

        async def start_once_missed() -> None:
            while not caplog.records:
                await anyio.sleep(0.01)
            await anyio.to_thread.run_sync(own.start)

        group.start_soon(start_once_missed)
        with anyio.fail_after(30):
            async with opened(StoreConfig(url=own.url.replace("//", "//:s3cret@")), ["meta"], None) as store:
                await store.probe()
    fields = caplog.records[0].__dict__["fields"]
    assert caplog.records[0].msg == "store.waiting"
    assert f"connecting to 127.0.0.1:{own.port}" in fields["detail"]
    assert "s3cret" not in str(fields)
    assert fields["host"] == f"redis://:********@127.0.0.1:{own.port}/0"


async def test_the_wait_is_bounded_and_ends_when_the_process_is_told_to_stop() -> None:
    config = StoreConfig(url=f"redis://127.0.0.1:{free_port()}", start_within=timedelta(seconds=0))
    with pytest.raises(StoreUnavailable):
        async with opened(config, ["meta"], None):
            pass
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, stop.set)
    with anyio.fail_after(30), pytest.raises(StoreUnavailable):
        async with opened(config.model_copy(update={"start_within": timedelta(hours=1)}), ["meta"], None, stop):
            pass


async def test_a_wrong_password_is_refused_at_once(own: RedisServer) -> None:
    own.settings["requirepass"] = "right"
    own.start()
    began = time.monotonic()
    with pytest.raises(StoreMismatch, match="user or the password"):
        async with opened(StoreConfig(url=own.url, password=SecretStr("wrong")), ["meta"], None):
            pass
    assert time.monotonic() - began < 30
    async with opened(StoreConfig(url=own.url, password=SecretStr("right")), ["meta"], None) as store:
        await store.probe()


async def test_a_second_process_on_an_sqlite_store_is_refused_at_once(tmp_path: Path) -> None:
    config = StoreConfig(url=f"sqlite:///{tmp_path}/x.db")
    async with opened(config, ["meta"], None):
        with pytest.raises(StoreMismatch, match="another process"):
            async with opened(config, ["meta"], None):
                pass
