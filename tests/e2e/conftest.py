"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.backing import Backing, make_backing
from tests.e2e.harness import Sandbox, sandbox_running


@pytest.fixture(params=["sqlite", "redis"])
def backing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backing]:
    """A store of each engine."""
    made = make_backing(request.param, tmp_path / "store")
    yield made
    made.close()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with sandbox_running() as running:
        yield running
