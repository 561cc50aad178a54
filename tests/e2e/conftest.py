"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.harness import Sandbox, sandbox_running


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with sandbox_running() as running:
        yield running
