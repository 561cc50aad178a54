"""What every test shares."""

from __future__ import annotations

import pytest

# Steps and checks that tests of other folders use as well, registered before any of them is imported.
pytest.register_assert_rewrite(*(f"tests.{folder}.support" for folder in ("api", "delivery", "outbox", "pipeline")))


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, as the gateway does."""
    return "asyncio"
