"""What every test shares."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.outbox.support")  # steps and checks that other folders use as well


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, as the gateway does."""
    return "asyncio"
