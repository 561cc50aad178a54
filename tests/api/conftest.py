"""What every test of the HTTP service is given."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.sandbox.server import SandboxServer
from tests.api.support import Service, open_service, unused_url
from tests.factories import FrozenClock
from tests.outbox.support import bounded


def pytest_itemcollected(item: pytest.Item) -> None:
    """No async test may hang."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.obj = bounded(item.obj)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One loop for the tests of a file, so that they can share a gateway."""
    return "asyncio"


@pytest.fixture
def clock() -> FrozenClock:
    """The clock the gateway goes by."""
    return FrozenClock()


@pytest.fixture
async def service(tmp_path: Path, clock: FrozenClock) -> AsyncIterator[Service]:
    """A gateway whose platforms cannot be reached."""
    async with open_service(tmp_path, unused_url(), clock) as opened:
        yield opened


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """The same, one for all tests of a file: for those that neither look at nor change what was there before."""
    async with open_service(tmp_path_factory.mktemp("shared"), unused_url(), FrozenClock()) as opened:
        yield opened


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """The pretend platforms."""
    with SandboxServer() as server:
        yield server
