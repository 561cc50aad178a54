"""Tallies: added up by book, day and key, whoever counted; forgotten by the day."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from app.outbox.tallies import KEPT_FOR, MATCH_KEYS, REJECTS, Tally
from tests.factories import START, FrozenClock
from tests.outbox.support import DAY, HOUR, Bounded, Engine, Reopen, together

TODAY = START.date()


def tally(number: int, first_at: datetime = START, last_at: datetime | None = None) -> Tally:
    return Tally(number, first_at, last_at or first_at)


class Tallying(Bounded):
    """What `TallyStore` promises."""

    async def test_what_is_added_adds_up(self, store: Engine) -> None:
        await store.tallies.add(MATCH_KEYS, {TODAY: {"a\tb": tally(2, START + HOUR), "é": tally(1)}})
        await store.tallies.add(
            MATCH_KEYS, {TODAY: {"a\tb": tally(3, START, START + 2 * HOUR)}, TODAY - DAY: {"a\tb": tally(9)}}
        )
        assert await store.tallies.read(MATCH_KEYS, TODAY - DAY) == {
            TODAY - DAY: {"a\tb": tally(9)},
            TODAY: {"a\tb": tally(5, START, START + 2 * HOUR), "é": tally(1)},
        }
        assert await store.tallies.read(MATCH_KEYS, TODAY) == {
            TODAY: {"a\tb": tally(5, START, START + 2 * HOUR), "é": tally(1)}
        }

    async def test_books_are_apart_and_nothing_is_added_for_nothing(self, store: Engine) -> None:
        await store.tallies.add(REJECTS, {TODAY: {"a": tally(1)}})
        await store.tallies.add(REJECTS, {})
        await store.tallies.add(REJECTS, {TODAY: {}})
        assert await store.tallies.read(MATCH_KEYS, date(2026, 1, 1)) == {}
        assert await store.tallies.read(REJECTS, TODAY) == {TODAY: {"a": tally(1)}}

    async def test_many_may_add_at_once_and_many_keys(self, store: Engine) -> None:
        many = {TODAY: {f"key {number}": tally(1) for number in range(1201)}}
        await together(*[lambda: store.tallies.add(REJECTS, many)] * 3)
        found = await store.tallies.read(REJECTS, TODAY)
        assert set(found[TODAY].values()) == {tally(3)}
        assert len(found[TODAY]) == 1201

    async def test_they_survive_a_crash(self, store: Engine, reopen: Reopen) -> None:
        await store.tallies.add(REJECTS, {TODAY: {"a": tally(1)}})
        again = await reopen(crash=True)
        assert await again.tallies.read(REJECTS, TODAY) == {TODAY: {"a": tally(1)}}

    async def test_each_book_is_forgotten_in_its_time(self, store: Engine, clock: FrozenClock) -> None:
        for book in KEPT_FOR:
            await store.tallies.add(book, {TODAY: {"a": tally(1)}})
        clock.advance(KEPT_FOR[REJECTS] + timedelta(hours=30))
        await store.sweep()
        assert await forgotten(store) == {MATCH_KEYS: False, REJECTS: True}
        clock.advance(KEPT_FOR[MATCH_KEYS])
        await store.sweep()
        assert await forgotten(store) == {MATCH_KEYS: True, REJECTS: True}


async def forgotten(store: Engine) -> dict[str, bool]:
    """Which books have nothing left of the day."""
    return {book: await store.tallies.read(book, TODAY) == {} for book in KEPT_FOR}
