"""Past the pairing window an event goes out only where pages report and none reported it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.dedup.port import SideReport
from app.dedup.sightings import receipt_report
from tests.delivery.support import Setup, opened
from tests.factories import FrozenClock, budget

pytestmark = pytest.mark.anyio

LATE = timedelta(hours=49)
MINUTE = timedelta(minutes=1)
RECEIPTS_KEPT = timedelta(days=7)
WATCHED = frozenset({"shop"})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    async with opened(tmp_path, FrozenClock()) as ready:
        yield ready


def fired(setup: Setup, event_id: str, platform: str = "stub") -> SideReport:
    """What the page's pixel of a platform reports."""
    return receipt_report("shop", event_id, platform, "Purchase", setup.clock.now(), (None, None))


async def report(setup: Setup, *reports: SideReport) -> None:
    """Have the page report."""
    now = setup.clock.now()
    await setup.store.pairs.report(reports, now + timedelta(hours=1), now + timedelta(days=7))


async def test_what_no_pixel_reported_goes_out_late(setup: Setup) -> None:
    blocked, seen, elsewhere = await setup.put("blocked", "seen", "elsewhere")
    await report(setup, fired(setup, seen), fired(setup, elsewhere, "another"))
    setup.clock.advance(LATE)
    async with setup.running(watched=WATCHED):
        await setup.settled(delivered=2, expired=1)
    assert set(setup.platform.asked) == {blocked, elsewhere}
    assert (await setup.state(seen)).reason == "dedup_window_passed"


async def test_where_pages_do_not_report_nothing_goes_out_late(setup: Setup) -> None:
    await setup.put("blocked")
    setup.clock.advance(LATE)
    async with setup.running():
        await setup.settled(expired=1)
    assert setup.platform.asked == []


async def test_the_platform_s_own_window_holds_all_the_same(setup: Setup) -> None:
    await setup.put("old", budget_of=budget(setup.clock.now(), window_until=setup.clock.now() + LATE))
    setup.clock.advance(LATE)
    async with setup.running(watched=WATCHED):
        await setup.settled(expired=1)
    assert setup.platform.asked == []


@pytest.mark.parametrize(("age", "term"), [(RECEIPTS_KEPT - MINUTE, "delivered"), (RECEIPTS_KEPT, "expired")])
async def test_once_receipts_are_forgotten_nobody_knows_that_none_came(setup: Setup, age: timedelta, term: str) -> None:
    """A platform may pair and take events for longer than that."""
    happened_at = setup.clock.now() - timedelta(minutes=10)  # the factory's purchases
    longest = budget(setup.clock.now(), window_until=setup.clock.now() + timedelta(days=90))
    await setup.put("old", budget_of=longest)
    setup.clock.set(happened_at + age)
    async with setup.running(watched=WATCHED):
        await setup.settled(**{term: 1})


async def test_a_late_one_that_fails_waits_its_turn(setup: Setup) -> None:
    (late,) = await setup.put("late")
    setup.clock.advance(LATE)
    setup.platform.answer = lambda ids: {"all": "later"}
    async with setup.running(watched=WATCHED):
        while not setup.platform.batches:
            await setup.settled(pending=1)
    assert (await setup.state(late)).attempts == 1
    assert len(setup.platform.batches) == 1


async def test_what_was_never_released_goes_out_in_no_case(setup: Setup) -> None:
    until = setup.clock.now() + LATE
    (unpaid,) = await setup.put("unpaid", held_until=until, budget_of=budget(window_until=until + LATE))
    setup.clock.advance(LATE)
    async with setup.running(watched=WATCHED):
        await setup.settled(expired=1)
    assert setup.platform.asked == []
    state = await setup.state(unpaid)
    assert state.reason == "platform_window_passed"
    assert state.reason_detail == "it was held back and never released"
