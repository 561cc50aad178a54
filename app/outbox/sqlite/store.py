"""The SQLite engine: `Outbox`, `Journal` and `IdStore` over one file, for one process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from app.dedup.port import IdKey, KeptContext, MintedId
from app.errors import Outcome, StoreFull, StoreMismatch, StoreUnavailable
from app.model import Accepted, Delivery, HashedEvent, Plan, Settlement, decode_event, encode_event
from app.outbox.datakeys import PLAIN, Encryption
from app.outbox.expiry import Expiry
from app.outbox.letters import purge_old
from app.outbox.port import (
    PENDING,
    Backlog,
    DeadFilter,
    DeadLetter,
    DeadPage,
    EventPage,
    EventState,
    Ledger,
    Memo,
    Note,
    Touched,
)
from app.outbox.recount import Recount
from app.outbox.room import NO_LIMITS, Full, Limits, Waiting
from app.outbox.shares import EVERYTHING, Choice
from app.outbox.sqlite import book, claims, contexts, dead, memos, pairs, persons, proofs, queries, schema, tallies
from app.outbox.sqlite.accept import Acceptance, Call, Prepared, Warm, from_us, to_us
from app.outbox.sqlite.counts import Counts, Delta
from app.outbox.sqlite.datakeys import SqliteKeyBook
from app.outbox.sqlite.files import FileLock, is_disk_low, is_same_file, refuse_network_file_system
from app.outbox.sqlite.holds import Unhold, unhold
from app.outbox.sqlite.minting import find, mint
from app.outbox.sqlite.queues import Queues, next_ready
from app.outbox.sqlite.recount import recount
from app.outbox.sqlite.sweeping import Sweeper
from app.outbox.sqlite.writer import GroupWriter
from app.outbox.vault import BODY, Vault
from app.proof import encode_proof

T = TypeVar("T")
Answers = tuple[Sequence[T], Callable[[], None] | None]

WARM_EVENTS = 20_000
"""How many accepted events stay in memory for the claims that follow at once: about 30 MB at the most."""


class SqliteStore:
    """See `app.outbox.port` for what each method promises."""

    def __init__(
        self,
        path: Path,
        lock: FileLock,
        connection: sqlite3.Connection,
        now: Callable[[], datetime],
        journal_retention: timedelta,
        proof_retention: timedelta,
        max_bytes: int | None,
        limits: Limits,
        encryption: Encryption,
        dead_letter_retention: timedelta,
    ) -> None:
        self._path = path
        self._lock = lock
        self._connection = connection
        self._now = now
        self._max_bytes = max_bytes
        self._limits = limits
        self._inode = path.stat().st_ino
        (self._page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        self._lanes: dict[str, int] = dict(connection.execute("SELECT name, id FROM lanes").fetchall())
        self._names = {number: name for name, number in self._lanes.items()}
        self._counts = Counts(connection)
        self._queues = Queues(connection)
        (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
        self._last_event = int(last)
        self._warm: dict[int, Warm] = {}
        self._wakes: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._peek = _connect(path, read_only=True)
        self._reader = _connect(path, read_only=True)
        self._read_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="convey-read")
        self._writer = GroupWriter(connection, self._committed, self._rolled_back)
        self._sweeper = Sweeper(self._writer, now, journal_retention, proof_retention)
        self._dead_letter_retention = dead_letter_retention
        self._vault = Vault(encryption, SqliteKeyBook(self._writer, self._peek), now)
        self._expiry = Expiry(self._vault, self, now)
        self.pairs = pairs.SqlitePairs(self._writer, self._read, now)
        self.proofs = proofs.SqliteProofs(self._read)
        self.tallies = tallies.SqliteTallies(self._writer, self._read)
        self.persons = persons.SqlitePersons(
            self._writer,
            self._read,
            self._counts,
            self._lanes,
            now,
            self._readable,
            self._chill,
            has_erased=schema.has_erased(connection),
        )

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        destinations: Sequence[str],
        now: Callable[[], datetime],
        journal_retention: timedelta = timedelta(days=7),
        proof_retention: timedelta = timedelta(days=90),
        synchronous: str = "FULL",
        max_bytes: int | None = None,
        limits: Limits = NO_LIMITS,
        encryption: Encryption = PLAIN,
        dead_letter_retention: timedelta = timedelta(days=30),
    ) -> SqliteStore:
        """The store in the file at `path`, made if it does not exist, with a lane for each of `destinations`.

        Every lease of an earlier process is void: what it had claimed is ready again, and marked as unsure.

        Raises:
            StoreMismatch: Another process has it, it has another schema version, it lies on a network, or it holds
                what no key of `encryption` opens.
            StoreUnavailable: The folder or the file cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            refuse_network_file_system(path.parent)
            # Made here so that it is its owner's alone; the files SQLite puts beside it take the same mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            lock = FileLock(path.with_name(path.name + ".lock"))
        except OSError as error:
            raise StoreUnavailable(f"the store's folder cannot be used: {error.strerror}") from error
        with contextlib.ExitStack() as undo:
            undo.callback(lock.release)
            try:
                connection = undo.enter_context(contextlib.closing(_connect(path, read_only=False)))
                connection.execute(f"PRAGMA synchronous = {'OFF' if synchronous == 'OFF' else 'FULL'}")
                schema.prepare(connection)
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(
                    "INSERT OR IGNORE INTO lanes (name) VALUES (?)", [(name,) for name in destinations]
                )
                connection.execute(
                    "UPDATE deliveries SET ready_at = min(ready_at, ?) WHERE state = 0 AND token IS NOT NULL",
                    (to_us(now()),),
                )
                connection.execute("COMMIT")
                store = cls(
                    path,
                    lock,
                    connection,
                    now,
                    journal_retention,
                    proof_retention,
                    max_bytes,
                    limits,
                    encryption,
                    dead_letter_retention,
                )
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
                    raise StoreMismatch("the store's file is not a SQLite database") from error
                raise StoreUnavailable(f"the store cannot be opened: {error}") from error
            undo.pop_all()
        try:
            await store._vault.begin()
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def keys_given_up(self) -> int:
        """See `Store.keys_given_up`."""
        return self._vault.deleted

    async def close(self) -> None:
        """Write what waits, release the file."""
        await self._writer.close()
        self._read_thread.shutdown()
        self._close_files()

    def abandon(self) -> None:
        """Drop the file as a crash would: nothing that waits is written, no lease is released."""
        self._writer.abandon()
        self._read_thread.shutdown()
        self._close_files()

    def _close_files(self) -> None:
        for connection in (self._peek, self._reader, self._connection):
            connection.close()
        self._lock.release()

    def _committed(self) -> None:
        self._counts.commit()
        self._queues.commit()

    def _rolled_back(self) -> None:
        self._counts.rollback()
        self._queues.rollback()

    # --- Outbox ---------------------------------------------------------------------------------------------

    async def accept(self, plans: Sequence[Plan]) -> Sequence[Accepted]:
        """See `Outbox.accept`."""
        if not plans:
            return ()
        await self._vault.be_ready()
        seal = self._vault.seal
        prepared = [
            Prepared(
                plan, seal(encode_event(plan.event), BODY), None if plan.proof is None else encode_proof(plan.proof)
            )
            for plan in plans
        ]
        call = Call(prepared, self._no_room(sum(len(item.body) for item in prepared)))
        answer = await self._writer.do(self._accept, call, len(prepared))
        if isinstance(answer, StoreFull):
            raise answer
        return answer

    def _accept(self, connection: sqlite3.Connection, calls: Sequence[Call]) -> Answers[list[Accepted] | StoreFull]:
        acceptance = Acceptance(
            connection,
            self._lanes,
            self._queues,
            self._next_event,
            to_us(self._now()),
            self._full(),
            self._limits.skipping,
            has_erased=self.persons.has_erased,
        )
        answers = acceptance.run(calls)
        self._counts.write(connection, acceptance.delta)

        def after() -> None:
            for event, known in acceptance.warm:
                self._warm[event] = known
            self._cool()
            self._wake(acceptance.woken)

        return answers, after

    def _full(self) -> Full:
        return self._limits.full(self.waiting())

    def waiting(self) -> Mapping[str, Waiting]:
        """See `Store.waiting`."""
        return {name: self._counts.waiting(lane) for name, lane in self._lanes.items()}

    def _no_room(self, more_bytes: int = 0) -> StoreFull | None:
        """Why the file can hold nothing more, or nothing of `more_bytes`; None when it can.

        Claiming and settling are never refused and have the rest of the disk to themselves: they make the room.

        Raises: StoreUnavailable when the file is not there any more.
        """
        if not is_same_file(self._path, self._inode):
            raise StoreUnavailable("the store's file was removed or replaced under the running gateway")
        if self._max_bytes is not None:
            try:
                (pages,) = self._peek.execute("PRAGMA page_count").fetchone()
                (unused,) = self._peek.execute("PRAGMA freelist_count").fetchone()
            except sqlite3.Error as error:
                raise StoreUnavailable(f"the store cannot be read: {error}") from error
            if (pages - unused) * self._page_bytes + more_bytes >= self._max_bytes:
                return StoreFull("the store has reached its configured size", limit="store.max_bytes")
        return StoreFull("the disk is nearly full") if is_disk_low(self._path.parent) else None

    def _next_event(self) -> int:
        self._last_event += 1
        return self._last_event

    async def claim(
        self, destination: str, limit: int, lease: timedelta, choice: Choice = EVERYTHING
    ) -> Sequence[Delivery]:
        """See `Outbox.claim`. What was ready at one instant comes in the order of acceptance."""
        lane = self._lanes[destination]
        if not self._next_ready(lane, choice.paused) <= to_us(self._now()):
            return ()
        request = claims.ClaimRequest(lane, destination, limit, lease, secrets.token_bytes(8), choice)
        return await self._writer.do(self._claim, request, limit // 4 + 1)

    def _claim(
        self, connection: sqlite3.Connection, requests: Sequence[claims.ClaimRequest]
    ) -> Answers[Sequence[Delivery]]:
        now = to_us(self._now())
        claimed = [
            claims.claim(connection, request, self._queues, now, self._warm, self._vault) for request in requests
        ]
        self._cool()
        return claimed, None

    def _cool(self) -> None:
        """Forget the events that were read or accepted first."""
        while len(self._warm) > WARM_EVENTS:
            del self._warm[next(iter(self._warm))]

    def _readable(self, kept: bytes) -> HashedEvent | None:
        """The event in a body; None where this process cannot open it."""
        return self._vault.readable(kept, decode_event)

    def _chill(self, events: Collection[int]) -> None:
        """Forget events that have no body any more."""
        for event in events:
            self._warm.pop(event, None)

    def _next_ready(self, lane: int, paused: Collection[str]) -> float:
        try:
            return next_ready(self._peek, lane, paused)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the store cannot be read: {error}") from error

    async def extend(self, deliveries: Sequence[Delivery], lease: timedelta) -> Sequence[Delivery]:
        """See `Outbox.extend`."""
        return await self._writer.do(self._extend, (deliveries, lease), len(deliveries) // 4 + 1)

    def _extend(
        self, connection: sqlite3.Connection, calls: Sequence[tuple[Sequence[Delivery], timedelta]]
    ) -> Answers[Sequence[Delivery]]:
        return [
            claims.extend(connection, deliveries, self._lanes, to_us(self._now() + lease))
            for deliveries, lease in calls
        ], None

    async def settle(self, settlements: Sequence[Settlement]) -> int:
        """See `Outbox.settle`."""
        if not settlements:
            return 0
        return await self._writer.do(self._settle, settlements, len(settlements) // 4 + 1)

    def _settle(self, connection: sqlite3.Connection, calls: Sequence[Sequence[Settlement]]) -> Answers[int]:
        delta = Delta()
        now = to_us(self._now())
        answers: list[int] = []
        gone: set[int] = set()
        for settlements in calls:
            effective, closed = claims.settle(connection, settlements, self._lanes, now, delta)
            answers.append(effective)
            gone |= closed
        self._counts.write(connection, delta)
        retried = {s.delivery.destination for call in calls for s in call if s.outcome is Outcome.RETRYING}

        def after() -> None:
            self._chill(gone)
            self._wake(retried)

        return answers, after

    def _wake(self, destinations: Collection[str]) -> None:
        for destination in destinations:
            self._wakes[destination].set()

    async def wait(self, destination: str, at_most: timedelta, paused: Collection[str] = ()) -> None:
        """See `Outbox.wait`."""
        wake = self._wakes[destination]
        wake.clear()
        until_us = self._next_ready(self._lanes[destination], paused)
        seconds = at_most.total_seconds()
        if until_us != float("inf"):
            seconds = min(seconds, (until_us - to_us(self._now())) / 1e6)
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await wake.wait()
        except TimeoutError:
            return

    async def hasten(self, destination: str, limit: int) -> int:
        """See `Outbox.hasten`."""
        return await self._writer.do(self._hasten, (self._lanes[destination], limit), limit // 4 + 1)

    def _hasten(self, connection: sqlite3.Connection, calls: Sequence[tuple[int, int]]) -> Answers[int]:
        now = to_us(self._now())
        return [claims.hasten(connection, lane, limit, now) for lane, limit in calls], None

    async def release(self, events: Sequence[Any]) -> Sequence[Touched]:
        """See `Outbox.release`."""
        return await self._writer.do(self._unhold, Unhold(events, is_cancel=False), len(events))

    async def cancel(self, events: Sequence[Any]) -> Sequence[Touched]:
        """See `Outbox.cancel`."""
        return await self._writer.do(self._unhold, Unhold(events, is_cancel=True), len(events))

    def _unhold(self, connection: sqlite3.Connection, calls: Sequence[Unhold]) -> Answers[Sequence[Touched]]:
        delta = Delta()
        now = to_us(self._now())
        done = [unhold(connection, call, self._queues, self._names, now, delta) for call in calls]
        self._counts.write(connection, delta)

        def after() -> None:
            for touched, gone in done:
                for event in gone:
                    self._warm.pop(event, None)
                self._wake({name for each in touched for name in each.changed})

        return [touched for touched, _ in done], after

    async def ledger(self) -> Ledger:
        """See `Outbox.ledger`. What was asked of the store before is in it."""
        return await self._writer.do(self._ledger, None)

    def _ledger(self, _connection: sqlite3.Connection, calls: Sequence[None]) -> Answers[Ledger]:
        return [self._counts.ledger(self._names)] * len(calls), None

    async def recount(self) -> Recount:
        """See `Outbox.recount`: all of it as of one instant, on a connection and in a thread of its own.

        Cancelled, it ends at once, and its thread with it.
        """
        unwanted = threading.Event()
        try:
            connection = _connect(self._path, read_only=True)
            counting = asyncio.ensure_future(asyncio.to_thread(recount, connection, dict(self._names), unwanted.is_set))
            try:
                return await asyncio.shield(counting)
            except asyncio.CancelledError:
                unwanted.set()
                await asyncio.wait({counting})
                raise
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the store cannot be read: {type(error).__name__}") from error

    async def backlog(self) -> Mapping[str, Backlog]:
        """See `Outbox.backlog`."""
        return await self._read(lambda connection: queries.backlog(connection, self._lanes, to_us(self._now())))

    async def sweep(self) -> int:
        """See `Outbox.sweep`. Short steps, a bounded number of them a call."""
        await purge_old(self, self._dead_letter_retention, self._now)
        gone = await self._sweeper.run()
        await self._expiry.run()
        return gone

    # --- dead letters ---------------------------------------------------------------------------------------

    async def dead_letters(
        self, which: DeadFilter, limit: int, after: str | None = None, *, is_brief: bool = False
    ) -> DeadPage:
        """See `Outbox.dead_letters`."""
        place = None if after is None else dead.parse_place(after)
        return await self._read(
            lambda connection: dead.find(connection, which, limit, place, self._names, self._vault, is_brief=is_brief)
        )

    async def replay(self, letters: Sequence[DeadLetter]) -> int:
        """See `Outbox.replay`."""
        return await self._writer.do(self._replay, letters, len(letters) // 4 + 1) if letters else 0

    def _replay(self, connection: sqlite3.Connection, calls: Sequence[Sequence[DeadLetter]]) -> Answers[int]:
        return self._end_dead(connection, calls, is_replay=True)

    async def purge(self, letters: Sequence[DeadLetter]) -> int:
        """See `Outbox.purge`."""
        return await self._writer.do(self._purge, letters, len(letters) // 4 + 1) if letters else 0

    def _purge(self, connection: sqlite3.Connection, calls: Sequence[Sequence[DeadLetter]]) -> Answers[int]:
        return self._end_dead(connection, calls, is_replay=False)

    def _end_dead(
        self, connection: sqlite3.Connection, calls: Sequence[Sequence[DeadLetter]], *, is_replay: bool
    ) -> Answers[int]:
        delta = Delta()
        now = to_us(self._now())
        answers = []
        gone: set[int] = set()
        woken: set[str] = set()
        for those in calls:
            done, closed, lanes = dead.end(connection, those, now, delta, self._queues if is_replay else None)
            answers.append(done)
            gone |= closed
            woken |= lanes
        self._counts.write(connection, delta)

        def after() -> None:
            self._chill(gone)
            self._wake(woken)

        return answers, after

    # --- LaneBook -------------------------------------------------------------------------------------------

    async def notes(self) -> Mapping[str, Note]:
        """See `LaneBook.notes`."""
        return await self._read(lambda connection: book.notes(connection, to_us(self._now())))

    async def note(self, name: str, value: bytes | None, version: int, keep_for: timedelta | None = None) -> int | None:
        """See `LaneBook.note`."""
        keep_us = None if keep_for is None else keep_for // timedelta(microseconds=1)
        return await self._writer.do(self._note, book.Entry(name, value, version, keep_us))

    def _note(self, connection: sqlite3.Connection, entries: Sequence[book.Entry]) -> Answers[int | None]:
        now = to_us(self._now())
        return [book.note(connection, entry, now) for entry in entries], None

    # --- Memos ----------------------------------------------------------------------------------------------

    async def keep_memos(self, kept: Sequence[Memo]) -> None:
        """See `Memos.keep_memos`."""
        await self._writer.do(self._keep_memos, kept, len(kept) // 4 + 1)

    def _keep_memos(self, connection: sqlite3.Connection, calls: Sequence[Sequence[Memo]]) -> Answers[None]:
        memos.keep(connection, (memo for kept in calls for memo in kept))
        return [None] * len(calls), None

    async def memos(self, book: str, names: Collection[str]) -> Mapping[str, bytes]:
        """See `Memos.memos`."""
        try:
            # On the loop's thread: look-ups by key before every accept and every send must not wait for long reads.
            return memos.read(self._peek, book, names, to_us(self._now()))
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the store cannot be read: {error}") from error

    async def due_memos(self, book: str, limit: int, lease: timedelta) -> Sequence[Memo]:
        """See `Memos.due_memos`."""
        return await self._writer.do(self._due_memos, (book, limit, lease))

    def _due_memos(
        self, connection: sqlite3.Connection, calls: Sequence[tuple[str, int, timedelta]]
    ) -> Answers[Sequence[Memo]]:
        now = to_us(self._now())
        return [
            memos.due(connection, book, limit, now, lease // timedelta(microseconds=1)) for book, limit, lease in calls
        ], None

    async def drop_memos(self, book: str, names: Collection[str]) -> None:
        """See `Memos.drop_memos`."""
        await self._writer.do(self._drop_memos, (book, names))

    def _drop_memos(
        self, connection: sqlite3.Connection, calls: Sequence[tuple[str, Collection[str]]]
    ) -> Answers[None]:
        for call in calls:
            memos.drop(connection, *call)
        return [None] * len(calls), None

    # --- Journal --------------------------------------------------------------------------------------------

    async def event(self, event_id: str, source: str | None = None) -> Sequence[EventState]:
        """See `Journal.event`."""
        return await self._read(
            lambda connection: queries.events(connection, "event_id", event_id, source, self._lanes)
        )

    async def transaction(self, transaction: str, source: str | None = None) -> Sequence[EventState]:
        """See `Journal.transaction`."""
        return await self._events("txn", transaction, source)

    async def transactions(self, source: str, transactions: Sequence[str]) -> Sequence[Sequence[EventState]]:
        """See `Journal.transactions`."""
        return await self._read(lambda connection: queries.transactions(connection, source, transactions, self._lanes))

    async def accepted(
        self, source: str, since: datetime, before: datetime, limit: int, after: str | None = None
    ) -> EventPage:
        """See `Journal.accepted`."""
        place = None if after is None else int(after)
        span = to_us(since), to_us(before)
        return await self._read(
            lambda connection: queries.accepted(connection, source, *span, limit, place, self._lanes)
        )

    async def _events(self, column: Literal["event_id", "txn"], value: str, source: str | None) -> Sequence[EventState]:
        return await self._read(lambda connection: queries.events(connection, column, value, source, self._lanes))

    # --- IdStore --------------------------------------------------------------------------------------------

    async def mint(self, key: IdKey, event_id: str, remember_until: datetime) -> MintedId:
        """See `IdStore.mint`."""
        return await self._writer.do(self._mint, (key, event_id, remember_until))

    def _mint(self, connection: sqlite3.Connection, calls: Sequence[tuple[IdKey, str, datetime]]) -> Answers[MintedId]:
        now = to_us(self._now())
        minted = []
        for key, event_id, remember_until in calls:
            kept, is_new, until = mint(connection, key, event_id, to_us(remember_until), now)
            minted.append(MintedId(kept, is_new, from_us(until)))
        return minted, None

    async def read(self, key: IdKey) -> MintedId | None:
        """See `IdStore.read`."""
        found = await self._read(lambda connection: find(connection, key, to_us(self._now())))
        return None if found is None else MintedId(found[0], False, from_us(found[1]))

    async def keep_contexts(self, kept: Sequence[KeptContext]) -> None:
        """See `IdStore.keep_contexts`."""
        if (full := self._no_room(sum(len(each.body) for each in kept))) is not None:
            raise full
        await self._vault.be_ready()
        await self._writer.do(self._keep_contexts, kept, len(kept))

    def _keep_contexts(self, connection: sqlite3.Connection, calls: Sequence[Sequence[KeptContext]]) -> Answers[None]:
        contexts.keep(connection, (each for kept in calls for each in kept), self._vault)
        return [None] * len(calls), None

    async def contexts(self, source: str, transactions: Collection[str]) -> Mapping[str, bytes]:
        """See `IdStore.contexts`. Read on the loop's thread: it is a look-up by key before every plan."""
        try:
            return contexts.read(self._peek, source, transactions, to_us(self._now()), self._vault)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the store cannot be read: {error}") from error

    # --- Store ----------------------------------------------------------------------------------------------

    async def probe(self) -> None:
        """See `Store.probe`."""
        if (full := self._no_room() or self._full().store) is not None:
            raise full
        await self._writer.do(self._probe, None)
        await self._vault.tend()

    def _probe(self, connection: sqlite3.Connection, calls: Sequence[None]) -> Answers[None]:
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('probe', ?)", (to_us(self._now()),))
        return [None] * len(calls), None

    async def unroutable(self, destinations: Collection[str]) -> Mapping[str, int]:
        """See `Store.unroutable`."""
        return {
            name: account.deliveries[PENDING]
            for name, account in self._counts.ledger(self._names).items()
            if name not in destinations and account.deliveries[PENDING]
        }

    async def keep_secret(self, name: str, make: Callable[[], bytes]) -> bytes:
        """See `Store.keep_secret`."""
        return await self._writer.do(self._keep_secret, (name, make))

    def _keep_secret(
        self, connection: sqlite3.Connection, calls: Sequence[tuple[str, Callable[[], bytes]]]
    ) -> Answers[bytes]:
        kept = []
        for name, make in calls:
            row = connection.execute("SELECT value FROM meta WHERE name = ?", (f"secret:{name}",)).fetchone()
            if row is None:
                row = (make(),)
                connection.execute("INSERT INTO meta VALUES (?, ?)", (f"secret:{name}", row[0]))
            kept.append(bytes(row[0]))
        return kept, None

    def size_bytes(self) -> int:
        """See `Store.size_bytes`: the file and its write-ahead log."""
        files = (self._path, self._path.with_name(self._path.name + "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._read_thread, query, self._reader)
        except (sqlite3.Error, RuntimeError) as error:
            raise StoreUnavailable(f"the store cannot be read: {type(error).__name__}") from error


def _connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5, cached_statements=256)
    try:
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        else:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            connection.execute("PRAGMA cache_size = -32768")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
