"""The table of what is kept: every place of a store is in it, and what is said to end does, in both engines."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

import app.outbox.redis as redis_engine
from app.dedup.pairs import tally_key
from app.dedup.port import PAIR_RETENTION, TALLIES_KEPT, IdKey, JudgedPair, KeptContext, SideReport
from app.errors import Status
from app.outbox.aftermath import REFUSAL_KEPT, ask_book
from app.outbox.port import DeadFilter, Memo
from app.outbox.redis.watch import Retold
from app.outbox.tallies import KEPT_FOR as KEPT_BY_BOOK
from app.outbox.tallies import MATCH_KEYS, REJECTS, Tally
from app.retention import ROWS
from app.withdrawal import BOOK, KEPT_FOR
from tests.factories import FrozenClock, plan
from tests.outbox.contract_proofs import proven
from tests.outbox.redis_harness import RedisHarness
from tests.outbox.sealing import SEALED
from tests.outbox.sqlite_harness import SqliteHarness
from tests.outbox.support import DAY, HOUR, LEASE, LIMIT_S, Engine, accept, counts, dead_letters, deliver_all, kill
from tests.redis_server import shared_server

pytestmark = pytest.mark.anyio

SWEEPS = 70
"""In so many sweeps at most every part of a Redis index is looked through."""


class Place:
    """Either engine on a store of its own, and what lies in it."""

    def __init__(self, harness: Any, clock: FrozenClock) -> None:
        self.harness = harness
        self.clock = clock
        self.is_redis = isinstance(harness, RedisHarness)

    async def open(self, **options: Any) -> Any:
        """The engine, which may be looked into."""
        self.store = await self.harness.open(**options)
        return self.store

    async def left(self, table: str, *kinds: str) -> int:
        """Rows of a table (a condition may follow), or entries in keys of these kinds."""
        if not self.is_redis:
            ((number,),) = self.harness.look(f"SELECT count(*) FROM {table}")
            return int(number)
        return sum([await self._entries(key) for key in await self.keys(*kinds)])

    async def keys(self, *kinds: str) -> list[bytes]:
        """The keys of these kinds, of all where none is named."""
        found = await self.store._link.command("KEYS", "{c:*")
        return [key for key in found if not kinds or kind_of(key) in kinds]

    async def _entries(self, key: bytes) -> int:
        script = (
            "local t = redis.call('TYPE', KEYS[1]).ok "
            "if t == 'hash' then return redis.call('HLEN', KEYS[1]) elseif t == 'zset' then "
            "return redis.call('ZCARD', KEYS[1]) end return 1"
        )
        return int(await self.store._link.command("EVAL", script, 1, key))

    async def ends_after(self, store: Engine, span: timedelta, table: str, *kinds: str) -> None:
        """Nothing goes before the span is over, and all of it after."""
        if self.is_redis and {"c", "j", "w", "meta:failovers", "meta:tallies"} & set(kinds):
            spans = [await self._lives_for(key) for key in await self.keys(*kinds)]
            assert spans
            assert all(span - HOUR < each <= span + DAY for each in spans), spans
            return
        self.clock.advance(span - HOUR)
        await self.sweep(store)
        assert await self.left(table, *kinds)
        self.clock.advance(HOUR + DAY)
        await self.sweep(store)
        assert await self.left(table, *kinds) == 0

    async def _lives_for(self, key: bytes) -> timedelta:
        return timedelta(milliseconds=int(await self.store._link.command("PTTL", key)))

    async def sweep(self, store: Engine) -> None:
        for _ in range(SWEEPS if self.is_redis else 1):
            await store.sweep()


def kind_of(key: bytes) -> str:
    """The kind of a key, as the table has it."""
    tag, _, rest = key.partition(b"}")
    kind = rest.removeprefix(b":").partition(b":")[0].decode()
    return f"meta:{kind}" if tag == b"{c:meta" else kind


@pytest.fixture(params=["sqlite", "redis"])
async def place(request: pytest.FixtureRequest, tmp_path: Path, clock: FrozenClock) -> AsyncIterator[Place]:
    harness: Any
    if request.param == "sqlite":
        harness = SqliteHarness(tmp_path / "convey.db", clock)
    else:
        harness = RedisHarness(shared_server(), clock)
        harness.wipe()
    yield Place(harness, clock)
    with anyio.fail_after(LIMIT_S):
        await harness.close()


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# --- row by row -----------------------------------------------------------------------------------------------


async def hashed_events(place: Place) -> None:
    store = await place.open()
    await accept(store, plan("ORD-1", ("meta", "tiktok")))
    await deliver_all(store, "meta")
    assert await place.left("bodies", "b") == 1
    await deliver_all(store, "tiktok")
    assert await place.left("bodies", "b") == 0


async def dead_ones(place: Place) -> None:
    store = await place.open(dead_letter_retention=30 * DAY)
    for number in range(3):
        await kill(store, plan(f"ORD-{number}", ("meta",)))
    place.clock.advance(29 * DAY)
    await kill(store, plan("ORD-9", ("meta",), accepted_at=place.clock.now()))
    await store.sweep()
    assert len(await dead_letters(store, DeadFilter(), 10)) == 4
    place.clock.advance(DAY + HOUR)
    await store.sweep()
    assert [each.event_id for each in await dead_letters(store, DeadFilter(), 10)] == ["purchase_ORD-9"]
    assert await place.left("bodies", "b") == 1
    assert await counts(store, "meta") == {"queued": 4, "dead": 4}
    assert not (await store.recount()).differences


async def what_waits(place: Place) -> None:
    store = await place.open()
    await accept(store, plan("ORD-1", ("meta",)))
    assert await place.left("deliveries WHERE state = 0", "r", "s")
    await deliver_all(store, "meta")
    assert await place.left("deliveries WHERE state = 0", "r", "s") == 0


async def fates(place: Place) -> None:
    store = await place.open(journal_retention=7 * DAY)
    await accept(store, plan("ORD-1", ("meta",)))
    await deliver_all(store, "meta")
    assert await store.event("purchase_ORD-1")
    await place.ends_after(store, 7 * DAY, "events", "e", "l")
    assert await place.left("deliveries") == 0 if not place.is_redis else True
    assert not await store.event("purchase_ORD-1")


async def remembered_ids(place: Place) -> None:
    store = await place.open(journal_retention=HOUR)
    one = plan("ORD-1", ("meta",))
    await accept(store, one)
    await deliver_all(store, "meta")
    place.clock.advance(47 * HOUR)
    await place.sweep(store)
    assert (await accept(store, one)).status is Status.DUPLICATE
    assert await place.left("events", "i", "t")
    place.clock.advance(2 * HOUR)
    await place.sweep(store)
    assert await place.left("events", "i", "t") == 0


async def minted_ids(place: Place) -> None:
    store = await place.open()
    await store.mint(IdKey("shop", "Purchase", "ORD-1", None), "purchase_ORD-1", place.clock.now() + 2 * DAY)
    await place.ends_after(store, 2 * DAY, "minted", "i", "t")


async def contexts(place: Place) -> None:
    store = await place.open()
    await store.keep_contexts([KeptContext("shop", "ORD-1", b"\x81ctx", place.clock.now() + 7 * DAY)])
    await place.ends_after(store, 7 * DAY, "contexts", "c")


async def proofs(place: Place) -> None:
    store = await place.open(proof_retention=90 * DAY)
    await accept(store, proven("ORD-1", destinations=("meta",), at=place.clock.now()))
    if not place.is_redis:
        await place.ends_after(store, 90 * DAY, "proofs")
        return
    (key,) = await place.keys("j")
    end = int(await store._link.command("EXPIRETIME", key))
    assert 90 * DAY <= timedelta(seconds=end - place.clock.now().timestamp()) <= 91 * DAY


async def sides(place: Place) -> None:
    store = await place.open()
    now = place.clock.now()
    await store.pairs.report([SideReport("shop", "purchase_1", "server", b"\x80")], now, now + PAIR_RETENTION)
    assert await place.left("sightings", "w")
    (pair,) = await store.pairs.due_pairs(10)
    await store.pairs.count_pairs([JudgedPair(pair, {})])
    assert await place.left("pairs WHERE due_at IS NOT NULL", "wd") == 0
    await place.ends_after(store, PAIR_RETENTION, "pairs", "w")
    assert place.is_redis or await place.left("sightings") == 0


async def tallies(place: Place) -> None:
    store = await place.open()
    now = place.clock.now()
    await store.pairs.report([SideReport("shop", "purchase_1", "server", b"\x80")], now, now + PAIR_RETENTION)
    (pair,) = await store.pairs.due_pairs(10)
    key = tally_key(f"{now:%Y-%m-%d}", "shop", "Purchase", "meta", "paired")
    await store.pairs.count_pairs([JudgedPair(pair, {key: 1})])
    await place.ends_after(store, TALLIES_KEPT, "tallies", "wt")


def day_tally(book: str) -> Callable[[Place], Awaitable[None]]:
    async def check(place: Place) -> None:
        store = await place.open()
        now = place.clock.now()
        await store.tallies.add(book, {now.date(): {"a": Tally(1, now, now)}})
        await place.ends_after(store, KEPT_BY_BOOK[book], "day_tallies", "meta:tallies")

    return check


def memo(book: str, span: timedelta, due_in: timedelta | None = None) -> Callable[[Place], Awaitable[None]]:
    async def check(place: Place) -> None:
        store = await place.open()
        now = place.clock.now()
        await store.keep_memos([Memo(book, "a", b"v", now + span, None if due_in is None else now + due_in)])
        kinds = ("c",) if due_in is None else ("meta:due", "meta:memos")
        await place.ends_after(store, span, "memos", *kinds)

    return check


async def data_keys(place: Place) -> None:
    store = await place.open(encryption=SEALED)
    await accept(store, plan("ORD-1", ("meta",)))
    await deliver_all(store, "meta")
    table = "meta WHERE name LIKE 'datakey:2026-11-20%'"
    assert await place.left(table, "meta:datakeys") == (2 if place.is_redis else 1)
    place.clock.advance(31 * DAY)
    await store.sweep()
    assert await place.left(table, "meta:datakeys")
    for _ in range(3):
        place.clock.advance(DAY)
        await store.probe()
        await store.sweep()
    if place.is_redis:
        assert not any(b"2026-11-20" in name for name in await store._link.command("HKEYS", "{c:meta}:datakeys"))
    else:
        assert await place.left(table) == 0


async def failovers(place: Place) -> None:
    store = await place.open()
    if place.is_redis:
        await store._watch._write_down(Retold(1, ["purchase_1"], [], 0, 0, 0))
        await place.ends_after(store, 30 * DAY, "", "meta:failovers")


CHECKS: dict[str, Callable[[Place], Awaitable[None]]] = {
    "hashed events": hashed_events,
    "dead letters": dead_ones,
    "what waits": what_waits,
    "the fate of events": fates,
    "remembered ids": remembered_ids,
    "ids handed out before the order": minted_ids,
    "contexts of orders": contexts,
    "proofs of consent decisions": proofs,
    "which sides reported an event": sides,
    "counts of pairs by day": tallies,
    "counts of match keys by day": day_tally(MATCH_KEYS),
    "counts of invalid events by day": day_tally(REJECTS),
    "withdrawals and erasures": memo(BOOK, KEPT_FOR),
    "requests to ask about later": memo(ask_book("meta"), 6 * DAY, HOUR),
    "refused after acceptance": memo("refused:meta", REFUSAL_KEPT),
    "conversions that can be adjusted": memo("adjust:meta", 55 * DAY),
    "data keys": data_keys,
    "failovers": failovers,
}


@pytest.mark.parametrize("name", CHECKS)
async def test_it_ends(place: Place, name: str) -> None:
    with anyio.fail_after(LIMIT_S):
        await CHECKS[name](place)


def test_every_row_that_ends_has_its_check() -> None:
    assert [row.name for row in ROWS if row.ended_by is not None] == list(CHECKS)
    assert all(row.holds is None for row in ROWS if row.ended_by is None)


# --- whether all of it is in the table ------------------------------------------------------------------------


async def test_every_table_and_every_kind_of_key_is_in_the_table(place: Place, clock: FrozenClock) -> None:
    store = await place.open(encryption=SEALED)
    await accept(store, proven("ORD-1", destinations=("meta",), at=clock.now()))
    await kill(store, plan("ORD-2", ("tiktok",)))
    await store.claim("meta", 1, LEASE)
    if not place.is_redis:
        found = place.harness.look("SELECT name FROM sqlite_master WHERE type = 'table'")
        assert {name for (name,) in found} == {table for row in ROWS for table in row.tables}
        return
    known = {kind for row in ROWS for kind in row.keys}
    assert {kind_of(key) for key in await place.keys()} <= known
    documented = re.findall(r"^    .*\{c:(n|meta)\}:?(\w*)", redis_engine.__doc__ or "", re.MULTILINE)
    assert {f"meta:{kind}" if tag == "meta" else kind for tag, kind in documented} <= known
