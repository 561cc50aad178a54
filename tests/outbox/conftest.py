"""What every test of a store engine is given."""

from __future__ import annotations

import pytest

from tests.factories import FrozenClock

pytest.register_assert_rewrite(
    *(
        f"tests.outbox.contract_{part}"
        for part in "accept choice dead ids journal lease recount room settle survival".split()
    ),
    "tests.outbox.contract",
    "tests.outbox.model_based",
)


@pytest.fixture
def anyio_backend() -> str:
    """The event loop the gateway runs on."""
    return "asyncio"


@pytest.fixture
def clock() -> FrozenClock:
    """The clock the engine under test goes by."""
    return FrozenClock()
