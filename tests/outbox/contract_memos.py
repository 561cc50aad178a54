"""Memos: kept by book and name until their time is over, and handed out once when they are due."""

from __future__ import annotations

from datetime import timedelta

from app.outbox.port import Memo
from tests.factories import FrozenClock
from tests.outbox.support import DAY, HOUR, LEASE, SECOND, Bounded, Engine, Reopen, together

VALUE = b"\x81\xa1a\x01\xff \x00"


def memo(
    clock: FrozenClock, name: str = "one", value: bytes = VALUE, book: str = "asked", due: timedelta | None = None
) -> Memo:
    """A memo with a week to live, its value no valid text."""
    return Memo(book, name, value, clock.now() + 7 * DAY, None if due is None else clock.now() + due)


async def due(store: Engine, limit: int = 10, book: str = "asked") -> list[str]:
    """The names of what is due."""
    return [each.name for each in await store.due_memos(book, limit, LEASE)]


class Minding(Bounded):
    """What `Memos` promises."""

    async def test_memos_are_read_by_book_and_name(self, store: Engine, clock: FrozenClock) -> None:
        await store.keep_memos([memo(clock), memo(clock, "two/ü", b""), memo(clock, book="other", value=b"other")])
        assert await store.memos("asked", ["one", "two/ü", "three"]) == {"one": VALUE, "two/ü": b""}
        assert await store.memos("other", ["one"]) == {"one": b"other"}
        assert await store.memos("asked", []) == {}

    async def test_the_later_memo_stands(self, store: Engine, clock: FrozenClock) -> None:
        await store.keep_memos([memo(clock, value=b"first")])
        await store.keep_memos([memo(clock, value=b"second"), memo(clock, value=b"third")])
        assert await store.memos("asked", ["one"]) == {"one": b"third"}

    async def test_a_memo_goes_when_its_time_is_over(self, store: Engine, clock: FrozenClock) -> None:
        await store.keep_memos([memo(clock), memo(clock, "due", due=8 * DAY)])
        clock.advance(7 * DAY - SECOND)
        assert set(await store.memos("asked", ["one"])) == {"one"}
        clock.advance(SECOND)
        assert await store.memos("asked", ["one"]) == {}
        clock.advance(2 * DAY)
        assert await due(store) == []
        await store.sweep()
        assert await store.memos("asked", ["one"]) == {}

    async def test_what_is_due_is_handed_out_once_until_its_lease_ends(self, store: Engine, clock: FrozenClock) -> None:
        await store.keep_memos(
            [memo(clock, "later", due=HOUR), memo(clock, "b", due=SECOND), memo(clock, "a", due=timedelta(0))]
        )
        assert await due(store) == ["a"]
        clock.advance(SECOND)
        (taken,) = await store.due_memos("asked", 10, LEASE)
        assert (taken.name, taken.value, taken.until) == ("b", VALUE, memo(clock).until - SECOND)
        assert taken.due_at == clock.now() + LEASE
        assert await due(store) == []
        clock.advance(LEASE)
        assert await due(store, 1) == ["a"]
        assert await due(store) == ["b"]
        assert await due(store, book="other") == []

    async def test_one_that_is_kept_anew_is_due_then(self, store: Engine, clock: FrozenClock) -> None:
        await store.keep_memos([memo(clock, due=timedelta(0))])
        assert await due(store) == ["one"]
        await store.keep_memos([memo(clock, value=b"again", due=HOUR)])
        clock.advance(LEASE * 2)
        assert await due(store) == []
        clock.advance(HOUR)
        (taken,) = await store.due_memos("asked", 10, LEASE)
        assert taken.value == b"again"

    async def test_what_is_dropped_is_gone(self, store: Engine, clock: FrozenClock) -> None:
        await store.keep_memos([memo(clock), memo(clock, "two"), memo(clock, "due", due=timedelta(0))])
        await store.drop_memos("asked", ["one", "due", "nobody"])
        assert set(await store.memos("asked", ["one", "two"])) == {"two"}
        assert await due(store) == []

    async def test_many_who_ask_never_get_the_same(self, store: Engine, clock: FrozenClock) -> None:
        names = [f"{number:03}" for number in range(60)]
        await store.keep_memos([memo(clock, name, due=timedelta(0)) for name in names])
        shares = await together(*[lambda: due(store, 7)] * 10)
        assert sorted(name for share in shares for name in share) == names

    async def test_memos_survive_a_crash(self, store: Engine, clock: FrozenClock, reopen: Reopen) -> None:
        await store.keep_memos([memo(clock), memo(clock, "due", due=timedelta(0))])
        store = await reopen(crash=True)
        assert await store.memos("asked", ["one"]) == {"one": VALUE}
        assert await due(store) == ["due"]
