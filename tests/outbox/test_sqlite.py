"""The SQLite engine: the contract, the model, and what only a single file can do."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import anyio
import pytest

from app.errors import Status, StoreFull, StoreMismatch, StoreUnavailable
from app.outbox.sqlite import SqliteStore
from tests.factories import DESTINATIONS, START, FrozenClock, plan
from tests.outbox.contract import StoreContract
from tests.outbox.contract_proofs import proven
from tests.outbox.contract_room import Filling
from tests.outbox.model_based import store_machine
from tests.outbox.sqlite_harness import SqliteHarness
from tests.outbox.support import (
    LEASE,
    LIMIT_S,
    BodyCount,
    Bounded,
    Engine,
    Reopen,
    accept,
    assert_closed,
    claim,
    counts,
    deliver_all,
    delivered,
    settle,
    together,
)


@pytest.fixture
async def harness(tmp_path: Path, clock: FrozenClock) -> AsyncIterator[SqliteHarness]:
    """A store file of its own, closed in the end."""
    harness = SqliteHarness(tmp_path / "data" / "convey.db", clock)
    yield harness
    with anyio.fail_after(LIMIT_S):
        await harness.close()


@pytest.fixture
async def store(harness: SqliteHarness) -> Engine:
    """The engine under test."""
    return await harness.open()


@pytest.fixture
def reopen(harness: SqliteHarness) -> Reopen:
    """A crash or a close, and the engine that comes after."""
    return harness.reopen


class TestSqliteContract(StoreContract, Filling):
    """The promises every engine keeps."""

    @pytest.fixture
    def body_count(self, harness: SqliteHarness) -> BodyCount:
        """Counted in the file."""
        return harness.body_count


class TestSqliteFile(Bounded):
    """The one file, and the one process that holds it."""

    async def test_a_second_engine_on_one_file_is_refused(self, harness: SqliteHarness, clock: FrozenClock) -> None:
        store = await harness.open()
        second = SqliteHarness(harness.path, clock)
        with pytest.raises(StoreMismatch):
            await second.open()
        assert (await accept(store, plan())).status is Status.ACCEPTED
        assert await counts(store) == {"queued": 1, "pending": 1}

    @pytest.mark.parametrize("crash", [True, False], ids=["crash", "close"])
    async def test_the_file_is_free_again_afterwards(
        self, harness: SqliteHarness, clock: FrozenClock, crash: bool
    ) -> None:
        await accept(await harness.open(), plan())
        if crash:
            harness.crash()
        else:
            await harness.close()
        second = SqliteHarness(harness.path, clock)
        assert await counts(await second.open()) == {"queued": 1, "pending": 1}
        await second.close()

    async def test_work_of_a_destination_that_is_gone_is_told_and_kept(self, harness: SqliteHarness) -> None:
        await accept(await harness.open(), plan(destinations=("meta", "tiktok")))
        await harness.close()
        store = await harness.open(destinations=("meta", "snapchat"))
        assert dict(await store.unroutable(["meta", "snapchat"])) == {"tiktok": 1}
        assert await counts(store, "tiktok") == {"queued": 1, "pending": 1}
        assert set(await store.ledger()) >= {"meta", "tiktok", "snapchat"}
        again = await accept(store, plan(destinations=("meta", "snapchat")))
        assert again.status is Status.ACCEPTED
        assert await counts(store, "snapchat") == {"queued": 1, "pending": 1}

    async def test_the_schema_version_is_kept(self, harness: SqliteHarness) -> None:
        await harness.open()
        before = harness.look("SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'schema'")
        assert before[0][0] >= 1
        await harness.reopen()
        assert harness.look("SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'schema'") == before

    async def test_a_newer_schema_is_refused_and_left_alone(self, harness: SqliteHarness) -> None:
        store = await harness.open()
        await accept(store, plan())
        await harness.close()
        harness.change("UPDATE meta SET value = '1000' WHERE name = 'schema'")
        with pytest.raises(StoreMismatch, match="1000"):
            await harness.open()
        assert harness.look("SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'schema'") == [(1000,)]
        harness.change("UPDATE meta SET value = '1' WHERE name = 'schema'")
        assert await counts(await harness.open()) == {"queued": 1, "pending": 1}

    async def test_a_stranger_s_database_is_refused_and_left_alone(self, harness: SqliteHarness) -> None:
        harness.path.parent.mkdir(parents=True)
        harness.change("CREATE TABLE orders (id INTEGER)")
        with pytest.raises(StoreMismatch):
            await harness.open()
        assert harness.look("SELECT name FROM sqlite_master") == [("orders",)]

    async def test_a_file_that_is_no_database_is_refused_and_left_alone(self, harness: SqliteHarness) -> None:
        harness.path.parent.mkdir(parents=True)
        text = "event_name,event_time\n" * 500
        harness.path.write_text(text)
        with pytest.raises(StoreMismatch):
            await harness.open()
        assert harness.path.read_text() == text

    async def test_a_folder_that_cannot_be_used_is_no_store(self, tmp_path: Path, clock: FrozenClock) -> None:
        (tmp_path / "data").write_text("a file where the folder should be")
        with pytest.raises(StoreUnavailable):
            await SqliteHarness(tmp_path / "data" / "convey.db", clock).open()

    async def test_the_file_is_the_owner_s_alone(self, harness: SqliteHarness) -> None:
        await accept(await harness.open(), plan())
        for file in harness.path.parent.iterdir():
            assert file.stat().st_mode & 0o007 == 0, file.name

    async def test_the_file_is_sound_after_a_crash(self, harness: SqliteHarness) -> None:
        store = await harness.open()
        for number in range(20):
            await accept(store, plan(f"ORD-{number}"))
        harness.crash()
        assert harness.look("PRAGMA integrity_check") == [("ok",)]
        await assert_closed(await harness.open())

    async def test_a_closed_engine_takes_nothing(self, harness: SqliteHarness) -> None:
        store = await harness.open()
        await harness.close()
        with pytest.raises((StoreUnavailable, sqlite3.ProgrammingError)):
            await accept(store, plan())
        assert await counts(await harness.open()) == {}

    async def test_closing_keeps_what_was_begun(self, harness: SqliteHarness) -> None:
        store = await harness.open()
        results: list[Status] = []

        async def keep(number: int) -> None:
            results.append((await accept(store, plan(f"ORD-{number}"))).status)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(keep, number)
            await anyio.lowlevel.checkpoint()
            await harness.close()
        assert results == [Status.ACCEPTED] * 20
        assert await counts(await harness.open()) == {"queued": 20, "pending": 20}


class TestSqliteFull(Bounded):
    """A disk, or a limit, that is full."""

    async def fill(self, store: Engine) -> int:
        """Accept until the store refuses; returns how many it took."""
        filler = {"note": "x" * 20_000}
        for number in range(1000):
            try:
                await accept(store, plan(f"ORD-{number}", ("meta",), properties=filler))
            except StoreUnavailable as full:
                assert isinstance(full, StoreFull)
                assert full.limit == "store.max_bytes"
                return number
        raise AssertionError("the limit was never reached")

    async def test_a_full_store_says_so_and_keeps_what_it_took(self, harness: SqliteHarness) -> None:
        store = await harness.open(max_bytes=2**21)
        taken = await self.fill(store)
        assert taken > 10
        assert await counts(store) == {"queued": taken, "pending": taken}
        again = await accept(store, plan("ORD-0", ("meta",), properties={"note": "x" * 20_000}))
        assert again.status is Status.DUPLICATE
        results = await together(
            *[partial(accept, store, plan(f"NEW-{number}", properties={"note": "y" * 20_000})) for number in range(5)]
        )
        assert all(isinstance(result, StoreUnavailable) for result in results)
        assert await counts(store) == {"queued": taken, "pending": taken}
        store = await harness.reopen()
        assert await counts(store) == {"queued": taken, "pending": taken}
        assert len(await store.claim("meta", 1000, LEASE)) == taken

    async def test_a_full_store_delivers_and_then_takes_again(self, harness: SqliteHarness) -> None:
        store = await harness.open(max_bytes=2**21)
        taken = await self.fill(store)
        await deliver_all(store, "meta")
        assert await counts(store) == {"queued": taken, "delivered": taken}
        answer = await accept(store, plan("NEW-1", properties={"note": "y" * 20_000}))
        assert answer.status is Status.ACCEPTED
        assert await settle(store, delivered(await claim(store))) == 1
        await store.probe()

    async def test_an_event_it_refused_is_new_afterwards(self, harness: SqliteHarness) -> None:
        store = await harness.open(max_bytes=2**21)
        taken = await self.fill(store)
        await harness.close()
        store = await harness.open()
        answer = await accept(store, plan(f"ORD-{taken}", ("meta",)))
        assert answer.status is Status.ACCEPTED
        assert await counts(store) == {"queued": taken + 1, "pending": taken + 1}

    async def test_what_fits_is_taken_beside_what_does_not(self, harness: SqliteHarness) -> None:
        store = await harness.open(max_bytes=2**20)
        huge = partial(accept, store, plan("ORD-huge", properties={"note": "x" * 2**21}))
        small = [partial(accept, store, plan(f"ORD-{number}")) for number in range(10)]
        results = await together(*small[:5], huge, *small[5:])
        refused = results.pop(5)
        assert isinstance(refused, StoreUnavailable)
        assert {answer.status for answer in results} == {Status.ACCEPTED}
        assert await counts(store) == {"queued": 10, "pending": 10}


class TemporarySqlite(SqliteHarness):
    """A store file that goes with the harness."""

    def __init__(self, clock: FrozenClock) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="convey-model-")
        super().__init__(Path(self._folder.name) / "convey.db", clock, synchronous="OFF")

    def discard(self) -> None:
        """Delete the file."""
        self._folder.cleanup()


TestSqliteModel = store_machine(TemporarySqlite).TestCase


@pytest.mark.anyio
async def test_proofs_are_forgotten_when_their_own_time_is_over(tmp_path: Path) -> None:
    clock = FrozenClock()
    store = await SqliteStore.open(
        tmp_path / "convey.db", destinations=DESTINATIONS, now=clock.now, proof_retention=timedelta(days=30)
    )
    await store.accept([proven("ORD-1")])
    later = clock.advance(timedelta(days=20))
    await store.accept([proven("ORD-2", at=later)])
    clock.advance(timedelta(days=10, seconds=1))
    await store.sweep()
    page = await store.proofs.page(START, clock.now(), None, None)
    assert [each.event_id for each in page.proofs] == ["purchase_ORD-2"]
    await store.close()


@pytest.mark.anyio
async def test_an_export_begins_near_its_time_however_many_proofs_lie_before(tmp_path: Path) -> None:
    clock = FrozenClock()
    store = await SqliteStore.open(tmp_path / "convey.db", destinations=DESTINATIONS, now=clock.now)
    for day in range(40):
        at = START + timedelta(days=day)
        await store.accept([proven(f"ORD-{day}-{number}", at=at, destinations=()) for number in range(50)])
    start = START + timedelta(days=35)
    page = await store.proofs.page(start, start + timedelta(days=1), None, None)
    assert [each.event_id for each in page.proofs] == [f"purchase_ORD-35-{number}" for number in range(50)]
    await store.close()
