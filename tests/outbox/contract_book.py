"""The lane book: notes that many processes write, each seeing what the others did."""

from __future__ import annotations

from functools import partial

import pytest

from app.outbox.port import Note
from tests.factories import FrozenClock
from tests.outbox.support import DAY, HOUR, SECOND, Bounded, Engine, Reopen, together


class Noting(Bounded):
    """What `notes` and `note` promise."""

    async def test_a_note_is_written_read_changed_and_deleted(self, store: Engine) -> None:
        assert await store.notes() == {}
        first = await store.note("flow/meta", b"open", 0)
        assert first
        assert await store.notes() == {"flow/meta": Note(b"open", first)}
        second = await store.note("flow/meta", b"running", first)
        assert second not in {None, 0, first}
        other = await store.note("flow/tiktok", b"\x00\xff", 0, HOUR)
        assert other
        assert await store.notes() == {
            "flow/meta": Note(b"running", second or 0),
            "flow/tiktok": Note(b"\x00\xff", other),
        }
        assert await store.note("flow/meta", None, second or 0) == 0
        assert list(await store.notes()) == ["flow/tiktok"]

    @pytest.mark.parametrize("value", [b"mine", None])
    async def test_whoever_was_slower_changes_nothing(self, store: Engine, value: bytes | None) -> None:
        version = await store.note("flow/meta", b"theirs", 0)
        assert version
        assert await store.note("flow/meta", value, 0) is None
        assert await store.note("flow/meta", value, version ^ 2) is None
        assert await store.notes() == {"flow/meta": Note(b"theirs", version)}

    async def test_one_of_many_wins(self, store: Engine) -> None:
        for _ in range(3):
            version = (await store.notes()).get("probe", Note(b"", 0)).version
            told = await together(*[partial(store.note, "probe", b"%d" % number, version) for number in range(8)])
            (winner,) = [number for number, answer in enumerate(told) if answer is not None]
            assert (await store.notes())["probe"] == Note(b"%d" % winner, told[winner])

    async def test_a_note_goes_when_its_time_is_over(self, store: Engine, clock: FrozenClock) -> None:
        version = await store.note("flow/meta", b"open", 0, 10 * SECOND)
        assert version
        clock.advance(9 * SECOND)
        assert "flow/meta" in await store.notes()
        again = await store.note("flow/meta", b"open", version, 10 * SECOND)
        assert again
        clock.advance(11 * SECOND)
        assert await store.notes() == {}
        assert await store.note("flow/meta", b"late", again) is None
        assert await store.note("flow/meta", b"new", 0)

    @pytest.mark.parametrize("crash", [True, False], ids=["crash", "close"])
    async def test_a_note_without_an_end_outlives_the_process(
        self, store: Engine, reopen: Reopen, clock: FrozenClock, crash: bool
    ) -> None:
        version = await store.note("pause/meta", b"incident", 0)
        clock.advance(30 * DAY)
        store = await reopen(crash=crash)
        assert await store.notes() == {"pause/meta": Note(b"incident", version or 0)}
