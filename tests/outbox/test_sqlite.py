"""The SQLite engine: the contract, the model, and what only a single file can do."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from app.dedup.pairs import tally_key
from app.dedup.port import IdKey, JudgedPair, KeptContext
from app.errors import Status, StoreFull, StoreMismatch, StoreUnavailable
from app.outbox.port import Memo
from app.outbox.recount import Recount
from app.outbox.sqlite import SqliteStore
from app.outbox.sqlite import recount as recount_module
from app.outbox.sqlite import store as store_module
from tests.factories import DESTINATIONS, START, FrozenClock, plan
from tests.outbox.contract import StoreContract
from tests.outbox.contract_pairs import seen
from tests.outbox.contract_proofs import proven
from tests.outbox.contract_room import Filling
from tests.outbox.model_based import store_machine
from tests.outbox.sqlite_harness import SqliteHarness
from tests.outbox.support import (
    DAY,
    HOUR,
    LEASE,
    LIMIT_S,
    SECOND,
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


def _memo(number: int, until: datetime) -> Memo:
    return Memo("book", f"name-{number}", b"value", until)


def _context(number: int, until: datetime) -> KeptContext:
    return KeptContext("shop", f"ORD-{number}", b"{}", until)


async def _fill(store: SqliteStore, number: int) -> None:
    """So many rows of everything the store forgets, all of `START`."""
    await store.accept([proven(f"ORD-{each}", destinations=(), remember_for=DAY) for each in range(number)])
    await store.keep_memos([_memo(each, START + DAY) for each in range(number)])
    await store.keep_contexts([_context(each, START + DAY) for each in range(number)])
    reports = [seen("meta", f"id-{each}") for each in range(number)]
    await store.pairs.report(reports, START, START + DAY)
    key = partial(IdKey, "shop", "Purchase")
    await together(*(partial(store.mint, key(f"MINT-{each}"), f"minted-{each}", START + DAY) for each in range(number)))
    judged = [
        JudgedPair(pair, {tally_key("2026-11-20", "shop", "Purchase", "meta", f"{place}"): 1})
        for place, pair in enumerate(await store.pairs.due_pairs(number))
    ]
    await store.pairs.count_pairs(judged)


class Transactions:
    """What a store's writing connection runs, and how many rows each of its transactions changed."""

    def __init__(self, store: SqliteStore) -> None:
        self.statements: set[str] = set()
        self.changed: list[int] = []
        self._connection = store._connection
        self._before = self._connection.total_changes
        self._connection.set_trace_callback(self._note)

    def _note(self, statement: str) -> None:
        if statement == "COMMIT":
            self.changed.append(self._connection.total_changes - self._before)
            self._before = self._connection.total_changes
        elif statement.startswith(("SELECT", "DELETE")):
            self.statements.add(statement)


FORGOTTEN = ("events", "proofs", "memos", "contexts", "pairs", "sightings", "minted", "tallies")


@pytest.mark.anyio
async def test_one_sweep_forgets_whatever_is_due_in_short_transactions(tmp_path: Path) -> None:
    clock = FrozenClock()
    path = tmp_path / "convey.db"
    store = await SqliteStore.open(
        path, destinations=DESTINATIONS, now=clock.now, proof_retention=timedelta(days=30), synchronous="OFF"
    )
    await _fill(store, 2_600)
    later = clock.advance(timedelta(days=401))
    await accept(store, proven("ORD-young", at=later))
    ran = Transactions(store)
    assert await store.sweep() == 2 * 2_600
    store._connection.set_trace_callback(None)
    with closing(sqlite3.connect(path)) as connection:
        left = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in FORGOTTEN}
        plans = {
            statement: " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}"))
            for statement in ran.statements
        }
    assert left == dict.fromkeys(FORGOTTEN, 0) | {"events": 1, "proofs": 1}
    assert max(ran.changed) <= 2_000
    walked = {told for told in plans.values() if re.search(r"SCAN (?!json_each)", told)}
    assert {told for told in walked if told != "SCAN proofs"} == set()  # in the order of time, and LIMIT ends it
    await store.close()


@pytest.mark.anyio
async def test_what_is_old_and_must_stay_does_not_hide_what_may_go(tmp_path: Path) -> None:
    clock = FrozenClock()
    store = await SqliteStore.open(tmp_path / "convey.db", destinations=DESTINATIONS, now=clock.now, synchronous="OFF")
    await store.accept([plan(f"OLD-{each}", (), remember_for=90 * DAY) for each in range(2_600)])
    await store.accept([plan(f"ORD-{each}", ()) for each in range(700)])
    later = clock.advance(8 * DAY)
    await store.accept([plan(f"NEW-{each}", (), accepted_at=later, remember_for=SECOND) for each in range(10)])
    clock.advance(HOUR)
    assert await store.sweep() == 700
    assert await store.sweep() == 0
    assert len(await store.event("purchase_OLD-0")) == 1
    await store.close()


@pytest.mark.anyio
async def test_a_file_made_before_an_index_or_a_table_was_gets_it(tmp_path: Path) -> None:
    clock = FrozenClock()
    path = tmp_path / "convey.db"
    await (await SqliteStore.open(path, destinations=DESTINATIONS, now=clock.now)).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP INDEX minted_until")
        connection.execute("DROP TABLE day_tallies")
    await (await SqliteStore.open(path, destinations=DESTINATIONS, now=clock.now)).close()
    with closing(sqlite3.connect(path)) as connection:
        names = "SELECT name FROM sqlite_master WHERE name IN ('minted_until', 'day_tallies')"
        assert len(connection.execute(names).fetchall()) == 2


@pytest.mark.anyio
async def test_a_recount_that_nobody_wants_any_more_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await SqliteStore.open(
        tmp_path / "convey.db", destinations=DESTINATIONS, now=FrozenClock().now, synchronous="OFF"
    )
    await store.accept([plan(f"ORD-{number}") for number in range(1_000)])
    begun, go_on = threading.Event(), threading.Event()
    rests: list[float] = []
    ended: list[bool] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        begun.set()
        go_on.wait(LIMIT_S)

    def counted(*given: Any) -> Recount:
        try:
            return recount_module.recount(*given)
        finally:
            ended.append(True)

    monkeypatch.setattr(recount_module, "AT_ONCE", 10)
    monkeypatch.setattr(recount_module, "time", SimpleNamespace(sleep=rest))
    monkeypatch.setattr(store_module, "recount", counted)
    counting = asyncio.ensure_future(store.recount())
    assert await asyncio.to_thread(begun.wait, LIMIT_S)
    counting.cancel()
    asyncio.get_running_loop().call_later(0, go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await counting
    assert (ended, len(rests)) == ([True], 1)
    await store.close()
