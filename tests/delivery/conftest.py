"""What every test of the delivering side is given."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.delivery.support import Setup, opened
from tests.factories import FrozenClock
from tests.outbox.support import bounded


def pytest_itemcollected(item: pytest.Item) -> None:
    """No async test may hang."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.obj = bounded(item.obj)


@pytest.fixture
def clock() -> FrozenClock:
    """The clock the lanes and the store go by."""
    return FrozenClock()


@pytest.fixture
async def setup(tmp_path: Path, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Setup]:
    """A lane to be started, with a store and a platform. It looks for work often, as the clock stands still."""
    monkeypatch.setattr("app.delivery.lane.POLL", timedelta(milliseconds=10))
    monkeypatch.setattr("app.delivery.board.SYNC", timedelta(milliseconds=10))
    async with opened(tmp_path, clock) as made:
        yield made
