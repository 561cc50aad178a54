"""Stores whose events are sealed at rest: both engines, the keys, and what lies on the disk."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import anyio
import pytest

from app.dedup.port import KeptContext
from app.delivery import letters
from app.delivery.retry import gate
from app.errors import Outcome, Reason, StoreMismatch, StoreVanished
from app.model import LOCKED, UNREADABLE, encode_event
from app.outbox.datakeys import PLAIN, Encryption, Master
from app.outbox.port import DeadFilter
from app.outbox.sqlite.backup import back_up, restore
from app.outbox.vault import BODY, Locked, Unreadable, Vault
from tests.factories import START, FrozenClock, hashed_event, plan
from tests.outbox.contract_contexts import Remembering
from tests.outbox.contract_dead import Dying
from tests.outbox.contract_survival import Surviving
from tests.outbox.redis_harness import RedisHarness
from tests.outbox.sealing import FIRST, SEALED, SECOND, MemoryBook
from tests.outbox.sqlite_harness import SqliteHarness
from tests.outbox.support import (
    DAY,
    LEASE,
    LIMIT_S,
    BodyCount,
    Engine,
    Reopen,
    accept,
    claim,
    counts,
    dead,
    deliver_all,
    delivered,
    settle,
)
from tests.outbox.support import (
    SECOND as ONE_SECOND,
)
from tests.redis_server import RedisServer, shared_server

BOTH = Encryption([SECOND, FIRST])
"""After a rotation: the second wraps, the first still opens."""


# --- the vault ------------------------------------------------------------------------------------------------


class TestVault:
    """One process's keys, over a book in memory."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def book(self) -> MemoryBook:
        return MemoryBook()

    @pytest.fixture
    def begun(self, book: MemoryBook, clock: FrozenClock) -> Callable[..., Any]:
        async def begin(encryption: Encryption = SEALED) -> Vault:
            vault = Vault(encryption, book, clock.now)
            await vault.begin()
            return vault

        return begin

    async def test_what_is_sealed_opens_as_what_it_was_only(self, begun, book) -> None:
        vault = await begun()
        kept = vault.seal(b"plain", BODY)
        assert b"plain" not in kept and len(kept) == len(b"plain") + 33
        assert vault.open(kept, BODY) == b"plain"
        assert vault.seal(b"plain", BODY) != kept
        for bad, kind in ((kept, b"context"), (kept[:-1] + b"\0", BODY), (kept[:9], BODY), (b"\x01", BODY)):
            with pytest.raises(Unreadable):
                vault.open(bad, kind)
        assert vault.open(encode_event(hashed_event()), BODY) == encode_event(hashed_event())

    async def test_nothing_in_the_book_opens_without_the_master(self, begun, book) -> None:
        vault = await begun()
        raw = [key.raw for key in vault._keys.values()]
        assert len(raw) == 2
        assert not any(secret in value for secret in raw for value in book.kept.values())

    async def test_processes_agree_and_keys_are_made_a_day_ahead(self, begun, book, clock) -> None:
        one, other = await begun(), await begun()
        assert len(book.kept) == 2
        assert other.open(one.seal(b"x", BODY), BODY) == b"x"
        before = one.seal(b"x", BODY)[:5]
        clock.advance(DAY)
        writes = dict(book.kept)
        await one.be_ready()
        assert one.seal(b"x", BODY)[:5] != before
        assert set(writes) < set(book.kept)  # the day after tomorrow's
        sealed = one.seal(b"x", BODY)
        assert other.knows(sealed)
        assert other.open(sealed, BODY) == b"x"

    async def test_a_key_another_process_made_is_looked_up_once(self, begun, book, clock) -> None:
        one, other = await begun(), await begun()
        clock.advance(3 * DAY)
        await one.be_ready()
        sealed = one.seal(b"x", BODY)
        assert not other.knows(sealed)
        await other.get_to_know([sealed])
        assert other.open(sealed, BODY) == b"x"
        strange = b"\x01" + b"\xff" * 40
        await other.get_to_know([strange])
        assert other.knows(strange)
        with pytest.raises(Unreadable):
            other.open(strange, BODY)

    async def test_a_rotation_wraps_anew_and_the_former_key_may_go(self, begun, book) -> None:
        sealed = (await begun()).seal(b"x", BODY)
        rotated = await begun(BOTH)
        assert rotated.open(sealed, BODY) == b"x"
        assert (await begun(Encryption([SECOND]))).open(sealed, BODY) == b"x"
        with pytest.raises(StoreMismatch, match=r"second.*convey keys forget second"):
            await begun(SEALED)

    async def test_a_wrong_key_is_refused_and_never_shown(self, begun) -> None:
        await begun()
        wrong = Master("first", b"\x07" * 32)
        with pytest.raises(StoreMismatch, match="another key under the id first") as told:
            await begun(Encryption([wrong]))
        assert wrong.key.hex() not in str(told.value) and "\\x07" not in repr(wrong)
        with pytest.raises(StoreMismatch, match=r"store\.encryption\.keys does not have: first"):
            await begun(PLAIN)

    async def test_what_is_given_up_is_gone(self, begun, book) -> None:
        sealed = (await begun()).seal(b"x", BODY)
        vault = await begun(Encryption([SECOND], given_up=frozenset({"first"})))
        with pytest.raises(Unreadable):
            vault.open(sealed, BODY)
        await begun(Encryption([SECOND]))

    async def test_what_was_deleted_is_told_though_another_key_is_missing(self, begun, book) -> None:
        await begun()
        under_first = dict(book.kept)
        book.kept.clear()
        await begun(Encryption([SECOND]))
        book.kept.update(under_first)
        with pytest.raises(StoreMismatch, match=r"data keys deleted: 2; but the store has .* does not have: second"):
            await begun(Encryption([], given_up=frozenset({"first"})))
        assert not under_first.keys() & book.kept.keys()

    async def test_only_opening_makes_no_keys(self, begun, book, clock) -> None:
        sealed = (await begun()).seal(b"x", BODY)
        keys = dict(book.kept)
        clock.advance(2 * DAY)
        vault = await begun(Encryption([FIRST], seals=False))
        await vault.be_ready()
        assert vault.seal(b"plain", BODY) == b"plain"
        assert vault.open(sealed, BODY) == b"x"
        assert book.kept == keys

    async def test_a_store_that_forgot_is_told_again(self, begun, book) -> None:
        vault = await begun()
        sealed = vault.seal(b"x", BODY)
        book.kept.clear()
        await vault.tend()
        assert (await begun()).open(sealed, BODY) == b"x"

    async def test_a_key_that_was_deleted_is_not_told_again(self, begun, book, clock) -> None:
        one, other = await begun(), await begun()
        old = one._sealing.name
        clock.advance(3 * DAY)
        await other.tend()
        await one.tend()
        await other.destroy([old])
        await one.tend()
        assert old not in book.kept

    async def test_a_process_without_the_key_leaves_it_to_the_others(self, begun, book, clock) -> None:
        plain = await begun(PLAIN)
        sealed = (await begun()).seal(b"x", BODY)
        await plain.get_to_know([sealed])
        with pytest.raises(Locked):
            plain.open(sealed, BODY)


# --- the engines ----------------------------------------------------------------------------------------------


class Harness(Protocol):
    """What the harnesses of both engines have in common."""

    async def open(self, **options: Any) -> Engine: ...
    async def close(self) -> None: ...


class Selection(Dying, Remembering, Surviving):
    """The part of the contract that reads bodies and contexts, without its longest tests."""

    test_a_backlog_of_ten_thousand = None  # type: ignore[assignment]
    test_what_is_due_goes_also_from_behind_what_is_not = None  # type: ignore[assignment]
    test_a_long_list_claims_and_settles_whole = None  # type: ignore[assignment]

    @pytest.fixture
    async def store(self, harness: Any) -> Engine:
        opened: Engine = await harness.open()
        return opened

    @pytest.fixture
    def reopen(self, harness: Any) -> Reopen:
        again: Reopen = harness.reopen
        return again

    @pytest.fixture
    def body_count(self, harness: Any) -> BodyCount:
        counted: BodyCount = harness.body_count
        return counted


class TestSealedSqlite(Selection):
    """SQLite with every body and context sealed."""

    @pytest.fixture
    async def harness(self, tmp_path: Path, clock: FrozenClock) -> AsyncIterator[SqliteHarness]:
        harness = SqliteHarness(tmp_path / "convey.db", clock, encryption=SEALED)
        yield harness
        with anyio.fail_after(LIMIT_S):
            await harness.close()


class TestSealedRedis(Selection):
    """Redis with every body and context sealed."""

    voids_leases_on_open = False

    @pytest.fixture
    async def harness(self, clock: FrozenClock) -> AsyncIterator[RedisHarness]:
        harness = RedisHarness(shared_server(), clock, encryption=SEALED)
        harness.wipe()
        yield harness
        with anyio.fail_after(LIMIT_S):
            await harness.close()


@pytest.fixture(params=["sqlite", "redis"])
async def harness(request: pytest.FixtureRequest, tmp_path: Path, clock: FrozenClock) -> AsyncIterator[Any]:
    """Either engine, on a store of its own."""
    made: Any
    if request.param == "sqlite":
        made = SqliteHarness(tmp_path / "convey.db", clock)
    else:
        made = RedisHarness(shared_server(), clock)
        made.wipe()
    yield made
    with anyio.fail_after(LIMIT_S):
        await made.close()


pytestmark = pytest.mark.anyio


async def test_switched_on_and_off_with_events_waiting(harness: Harness, clock: FrozenClock) -> None:
    store = await harness.open()
    await accept(store, plan("ORD-1", ("meta",)))
    await harness.close()
    store = await harness.open(encryption=SEALED)
    await accept(store, plan("ORD-2", ("meta",)))
    await store.keep_contexts([KeptContext("shop", "ORD-9", b"\x81ctx", clock.now() + DAY)])
    await harness.close()
    with pytest.raises(StoreMismatch, match="convey keys forget first"):
        await harness.open()
    store = await harness.open(encryption=Encryption([FIRST], seals=False))
    await accept(store, plan("ORD-3", ("meta",)))
    claimed = await store.claim("meta", 10, LEASE)
    assert [each.event.transaction_id for each in claimed] == ["ORD-1", "ORD-2", "ORD-3"]
    assert await store.contexts("shop", ["ORD-9"]) == {"ORD-9": b"\x81ctx"}


async def test_what_nobody_can_open_ends_dead_and_holds_nobody_up(harness: Harness, clock: FrozenClock) -> None:
    store = await harness.open(encryption=SEALED)
    await accept(store, plan("ORD-1", ("meta", "tiktok"), money=("EUR", "5")))
    await store.keep_contexts([KeptContext("shop", "ORD-1", b"\x81ctx", clock.now() + DAY)])
    await harness.close()
    store = await harness.open(encryption=Encryption([SECOND], given_up=frozenset({"first"})))
    await accept(store, plan("ORD-2", ("meta",), money=("EUR", "7")))
    first, second = await store.claim("meta", 10, LEASE)
    assert first.event is UNREADABLE and second.event.transaction_id == "ORD-2"
    assert await store.contexts("shop", ["ORD-1"]) == {}
    end = gate(first, clock.now(), ONE_SECOND)
    assert end is not None and (end.outcome, end.reason) == (Outcome.DEAD, Reason.BODY_UNREADABLE)
    assert await settle(store, end, delivered(second)) == 2
    assert await counts(store, "meta") == {"queued": 2, "dead": 1, "delivered": 1}
    (letter,) = (await store.dead_letters(DeadFilter(), 10)).letters
    assert (letter.event_id, letter.event_time) == ("purchase_ORD-1", None)
    told = await letters.replay(store, DeadFilter(), clock.now() + ONE_SECOND, 10, is_dry=True)
    assert (told.fitted, told.hopeless[Reason.BODY_UNREADABLE].deliveries) == (1, 1)
    left = await letters.replay(store, DeadFilter(), clock.now() + ONE_SECOND, 10, only_sendable=True)
    assert (left.fitted, left.done) == (1, 0)
    (summed,) = (await letters.summary(store, DeadFilter(), clock.now() + ONE_SECOND)).values()
    assert summed.hopeless.keys() == {Reason.BODY_UNREADABLE}
    assert await store.purge([letter]) == 1


async def test_what_is_given_up_is_counted_and_never_claimed(harness: Harness) -> None:
    gone = frozenset({"first"})
    await harness.open(encryption=SEALED)
    await harness.close()
    await harness.open(encryption=BOTH)  # wraps all anew
    await harness.close()
    with pytest.raises(StoreMismatch, match="nothing is wrapped under first, and nothing was deleted"):
        await harness.open(encryption=Encryption([SECOND], given_up=gone))
    with pytest.raises(StoreMismatch, match="nothing is wrapped under first"):
        await harness.open(encryption=Encryption([], given_up=gone))
    store = await harness.open(encryption=Encryption([], given_up=frozenset({"second"})))
    assert store.keys_given_up == 2


async def test_what_another_process_could_open_is_left_to_it(harness: Harness, clock: FrozenClock) -> None:
    store = await harness.open(encryption=SEALED)
    await accept(store, plan("ORD-1", ("meta",)))
    delivery = dataclasses.replace(await claim(store), event=LOCKED)
    end = gate(delivery, clock.now(), ONE_SECOND)
    assert end is not None and await settle(store, end) == 1
    clock.advance(29 * ONE_SECOND)
    assert not await store.claim("meta", 1, LEASE)
    clock.advance(ONE_SECOND)
    again = await claim(store)
    assert (again.event.transaction_id, again.attempts, again.unsure_since) == ("ORD-1", 0, None)


async def test_a_data_key_goes_once_nothing_can_be_sealed_under_it(harness: Any, clock: FrozenClock) -> None:
    store = await harness.open(encryption=SEALED)
    book = store._vault._book

    async def keys() -> set[str]:
        return {name for name in await book.entries() if not name.startswith("freed:")}

    (today, _) = sorted(await keys())
    await accept(store, plan("ORD-1", ("meta",)))
    await accept(store, plan("ORD-2", ("meta",)))
    clock.advance(33 * DAY)
    await store.probe()
    await store.sweep()
    assert today in await keys()  # both wait
    first, second = await store.claim("meta", 2, LEASE)
    await settle(store, delivered(first), dead(second))
    for _ in range(3):
        clock.advance(timedelta(hours=3))
        await store.sweep()
    assert today in await keys()  # one is a dead letter
    page = await store.dead_letters(DeadFilter(), 10)
    await store.replay(page.letters)
    clock.advance(timedelta(hours=3))
    await store.sweep()
    await deliver_all(store, "meta")
    for _ in range(2):
        assert today in await keys()
        clock.advance(timedelta(hours=3))
        await store.sweep()
    assert today not in await keys()


async def test_a_data_key_outlives_whatever_is_held_back(harness: Any, clock: FrozenClock) -> None:
    store = await harness.open(encryption=SEALED)
    (today, _) = sorted(await store._vault._book.entries())
    await accept(store, plan("ORD-1", ("meta",), held_until=clock.now() + 90 * DAY))
    for days in (33, 1, 1, 54):
        clock.advance(days * DAY)
        await store.sweep()
    assert today in await store._vault._book.entries()
    clock.advance(DAY)
    assert (await claim(store)).event.transaction_id == "ORD-1"


# --- what lies on the disk ------------------------------------------------------------------------------------


async def keep_one_of_each(store: Engine, clock: FrozenClock) -> list[bytes]:
    """What must not be found: digests of an e-mail under every form, an address, a click id."""
    event = hashed_event()
    await accept(store, plan("ORD-1", ("meta",)))
    await accept(store, plan("ORD-2", ("meta", "tiktok")))
    await settle(store, dead((await store.claim("meta", 1, LEASE))[0]))
    await store.keep_contexts([KeptContext("shop", "ORD-9", b"\x81\xa2ip\xab203.0.113.9", clock.now() + DAY)])
    digests = [digest for values in event.identity.digests.values() for digest in values]
    assert digests
    return [b"203.0.113.9", *digests, *(digest.hex().encode() for digest in digests)]


def found(traces: list[bytes], *files: Path) -> set[bytes]:
    raw = b"".join(file.read_bytes() for file in files if file.exists())
    assert len(raw) > 1000
    return {trace for trace in traces if trace in raw}


@pytest.mark.parametrize("encryption", [PLAIN, SEALED], ids=["in clear", "sealed"])
async def test_the_sqlite_files(tmp_path: Path, clock: FrozenClock, encryption: Encryption) -> None:
    harness = SqliteHarness(tmp_path / "convey.db", clock)
    store = await harness.open(encryption=encryption)
    traces = await keep_one_of_each(store, clock)
    files = [tmp_path / "convey.db", tmp_path / "convey.db-wal"]
    back_up(harness.path, tmp_path / "copy.db", START)
    seen = [found(traces, *files), found(traces, tmp_path / "copy.db")]
    await harness.close()
    seen.append(found(traces, *files))
    if encryption is PLAIN:
        assert all(seen)
    else:
        assert not any(seen)
        assert FIRST.key not in b"".join(file.read_bytes() for file in files if file.exists())


@pytest.mark.parametrize("encryption", [PLAIN, SEALED], ids=["in clear", "sealed"])
async def test_the_redis_files(clock: FrozenClock, encryption: Encryption) -> None:
    server = RedisServer()
    server.start()
    try:
        harness = RedisHarness(server, clock)
        store = await harness.open(encryption=encryption)
        traces = await keep_one_of_each(store, clock)
        server.command("SAVE")
        files = [file for file in server.folder.rglob("*") if file.suffix in {".rdb", ".aof"}]
        assert {file.suffix for file in files} == {".rdb", ".aof"}
        seen = found(traces, *files)
        await harness.close()
        assert bool(seen) is (encryption is PLAIN)
    finally:
        server.close()


async def test_a_backup_is_restored_with_its_key_and_unreadable_without(tmp_path: Path, clock: FrozenClock) -> None:
    harness = SqliteHarness(tmp_path / "convey.db", clock)
    store = await harness.open(encryption=SEALED)
    await accept(store, plan("ORD-1", ("meta",)))
    back_up(harness.path, tmp_path / "copy.db", clock.now())
    await harness.close()
    await harness.open(encryption=BOTH)  # the rotation; the first key is destroyed after it
    await harness.close()
    restored = SqliteHarness(tmp_path / "restored.db", clock)
    restore(tmp_path / "copy.db", restored.path)
    with pytest.raises(StoreMismatch, match=r"store\.encryption\.keys does not have: first"):
        await restored.open(encryption=Encryption([SECOND]))
    store = await restored.open(encryption=SEALED)
    assert (await claim(store)).event.transaction_id == "ORD-1"
    await restored.close()
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        ((body,),) = copy.execute("SELECT body FROM bodies").fetchall()
    assert body[:1] == b"\x01"


async def test_a_redis_that_was_emptied_is_told_events_and_keys_again(clock: FrozenClock) -> None:
    harness = RedisHarness(shared_server(), clock, encryption=SEALED)
    harness.wipe()
    first: Any = await harness.open()
    await accept(first, plan("ORD-1", ("meta",)))
    second: Any = await harness.open()
    harness.wipe()
    with pytest.raises(StoreVanished):
        await first.probe()
    assert (await first._watch.look()).restored == ["purchase_ORD-1"]
    third: Any = await harness.open()  # began after the loss, and learns the keys from the store alone
    assert (await claim(third)).event.transaction_id == "ORD-1"
    with pytest.raises(StoreVanished):
        await second.probe()
    for store in (first, second):
        await store.abandon()
    await harness.close()


async def test_a_replica_that_lacks_the_keys_is_told_them_with_the_events(clock: FrozenClock) -> None:
    harness = RedisHarness(shared_server(), clock, encryption=SEALED)
    harness.wipe()
    store: Any = await harness.open()
    await accept(store, plan("ORD-1", ("meta",)))
    keys = await store._vault._book.entries()
    await store._link.command("DEL", "{c:meta}:datakeys")
    store._watch._runs = {0: b"another run"}
    await store._watch.look()
    assert (await store._vault._book.entries()).keys() == keys.keys()
    await harness.close()


async def test_keys_made_for_a_day_by_two_processes_are_both_read(clock: FrozenClock) -> None:
    """A failover that lost the first one's key before the second made its own."""
    book = MemoryBook()
    one, other = Vault(SEALED, book, clock.now), Vault(SEALED, book, clock.now)
    await one.begin()
    kept = dict(book.kept)
    book.kept.clear()
    await other.begin()
    assert not kept.keys() & book.kept.keys()
    sealed = one.seal(b"one", BODY), other.seal(b"other", BODY)
    await one.tend()
    await other.tend()
    assert [vault.open(each, BODY) for vault in (one, other) for each in sealed] == [b"one", b"other"] * 2
    assert one.seal(b"", BODY)[:5] == other.seal(b"", BODY)[:5]
