"""The Redis engine: every port over one link. What lies where is told at the top of the package."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, TypeVar

from app.dedup.port import IdKey, KeptContext, MintedId
from app.errors import Outcome, StoreUnavailable, StoreVanished
from app.logs import wide_event
from app.model import Accepted, Delivery, Plan, Settlement
from app.outbox.address import Address, parse_url
from app.outbox.aftermath import ask_book
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
from app.outbox.redis import accept, book, boot, claims, contexts, ids, journal, memos
from app.outbox.redis import letters as dead
from app.outbox.redis.claims import Claims
from app.outbox.redis.counts import ledger_of
from app.outbox.redis.datakeys import RedisKeyBook
from app.outbox.redis.gauges import backlog
from app.outbox.redis.holds import Unhold, unhold
from app.outbox.redis.link import META, Durability, Link
from app.outbox.redis.lookout import Lookout
from app.outbox.redis.nodes import nodes_of
from app.outbox.redis.pairs import RedisPairs
from app.outbox.redis.persons import RedisPersons
from app.outbox.redis.proofs import RedisProofs
from app.outbox.redis.recall import Recall
from app.outbox.redis.recount import recount
from app.outbox.redis.room import Room
from app.outbox.redis.secrets import Secrets
from app.outbox.redis.sweeping import Sweeper
from app.outbox.redis.tallies import RedisTallies
from app.outbox.redis.turns import Turns
from app.outbox.redis.watch import PERIOD_S, Watch
from app.outbox.room import NO_LIMITS, Limits, Waiting
from app.outbox.shares import EVERYTHING, Choice
from app.outbox.vault import Vault
from app.withdrawal import BOOK

log = logging.getLogger("convey.store")
T = TypeVar("T")
_MICROSECOND = timedelta(microseconds=1)
EVENT_BYTES = 900
"""About what an event takes beside its body; only bridges the time until the server is asked again."""


class RedisStore:
    """See `app.outbox.port` for what each method promises."""

    def __init__(
        self,
        link: Link,
        reopen: Callable[[], Coroutine[Any, Any, None]],
        check: Callable[[], Coroutine[Any, Any, Durability]],
        retention: timedelta,
        limits: Limits,
        encryption: Encryption,
        dead_letter_retention: timedelta,
    ) -> None:
        self._link = link
        self._dead_letter_retention = dead_letter_retention
        self._vault = Vault(encryption, RedisKeyBook(link), link.wall)
        self._expiry = Expiry(self._vault, self, link.wall)
        self._room = Room(link, limits)
        self._reopen = reopen
        self._retention = retention
        self._destinations: set[str] = set()
        self._sources: set[str] = set()
        self._size = 0
        self._sweeper = Sweeper(link, retention)
        self._claims = Claims(link, self._vault)
        self._recall = Recall()
        self._watch = Watch(link, self._recall, check, self._vault)
        self._secrets = Secrets(link)
        self.pairs = RedisPairs(link)
        self.proofs = RedisProofs(link)
        self.persons = RedisPersons(link, self.proofs, self._vault)
        self.tallies = RedisTallies(link)
        self._claiming: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._lookout = Lookout(link)
        self._naming = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._is_closed = False
        self._accepts: Turns[accept.Item, Accepted] = Turns(lambda items: accept.accept(link, items))
        self._settles: Turns[claims.Ending, int] = Turns(lambda items: claims.settle(link, items))
        self._mints: Turns[ids.Minting, MintedId | None] = Turns(lambda items: ids.resolve(link, items, durable=True))

    @classmethod
    async def open(
        cls,
        where: Address | str,
        *,
        destinations: Sequence[str],
        now: Callable[[], datetime] | None = None,
        wall: Callable[[], datetime] | None = None,
        journal_retention: timedelta = timedelta(days=7),
        proof_retention: timedelta = timedelta(days=90),
        durability: boot.Level = "fsync",
        replicas: int = 1,
        partitions: int | None = None,
        allow_weak: bool = False,
        answer_within: timedelta = timedelta(seconds=5),
        limits: Limits = NO_LIMITS,
        encryption: Encryption = PLAIN,
        dead_letter_retention: timedelta = timedelta(days=30),
    ) -> RedisStore:
        """The store on the servers of `where`, with a lane for each of `destinations`. Leases of others stay.

        `now` replaces the server's clock in tests, `wall` this machine's. `partitions` (where None what the store was
        made with, else 256 in a cluster and 1 elsewhere) is fixed when a store is made. `replicas` is how many must
        have a change where `durability` is `replicated`.

        Raises:
            StoreMismatch: The server is too old or its settings too weak, or the store there is of another version.
            StoreUnavailable: A server does not answer.
            ValueError: `where` is no URL of a Redis store.
        """
        if partitions is not None and not 1 <= partitions <= boot.MOST_PARTITIONS:
            raise ValueError(f"a store has from 1 to {boot.MOST_PARTITIONS} partitions")
        timeout_s = answer_within.total_seconds()
        address = parse_url(where) if isinstance(where, str) else where
        default = boot.CLUSTER if address.is_cluster else boot.ONE_SERVER
        link = Link(nodes_of(address, timeout_s), now, wall)
        link.proof_retention = proof_retention

        async def prepare() -> None:
            await boot.prepare(link, partitions, default, destinations)

        async def check() -> Durability:
            return await boot.check_servers(link, durability, replicas, allow_weak, int(timeout_s * 800))

        try:
            await boot.learn_nodes(link)
            link.durability = await check()
            await link.load()
            await prepare()
            store = cls(link, prepare, check, journal_retention, limits, encryption, dead_letter_retention)
            await store._vault.begin()
            await store._learn()
            await store._watch.look()
            store._watching = asyncio.get_running_loop().create_task(store._look_on(), name="convey-redis-watch")
        except BaseException:
            await link.close()
            raise
        return store

    @property
    def keys_given_up(self) -> int:
        """See `Store.keys_given_up`."""
        return self._vault.deleted

    async def close(self) -> None:
        """Finish what was begun, close the connections."""
        self._is_closed = True
        await self._look_no_more()
        for turns in (self._accepts, self._settles, self._mints):
            await turns.close()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._link.close()

    async def abandon(self) -> None:
        """Drop the connections as a crash would: nothing that waits is sent, no lease is released."""
        self._is_closed = True
        await self._look_no_more()
        for turns in (self._accepts, self._settles, self._mints):
            turns.abandon()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._link.close()

    async def _look_on(self) -> None:
        """Look at the servers from time to time, and tell one that was replaced what it may have missed."""
        while not self._is_closed:  # a cancellation that comes while the driver drops a connection may get lost in it
            await asyncio.sleep(PERIOD_S)
            with suppress(StoreUnavailable):  # whoever asks hears of it, and the next look goes on
                if await self._watch.look():
                    self._lookout.wake(self._destinations)

    async def _look_no_more(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        await self._lookout.close()

    async def _learn(self) -> None:
        self._destinations = {name.decode() for name in await self._link.command("SMEMBERS", f"{META}:destinations")}
        self._sources = {name.decode() for name in await self._link.command("SMEMBERS", f"{META}:sources")}
        self._size = await boot.memory_of(self._link)

    async def _whole(self, step: Coroutine[Any, Any, T]) -> T:
        """The result of a step that runs to its end also when its caller is cancelled."""
        if self._is_closed:
            step.close()
            raise StoreUnavailable("the store is closed")
        task = asyncio.get_running_loop().create_task(step)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    # --- Outbox ---------------------------------------------------------------------------------------------

    async def accept(self, plans: Sequence[Plan]) -> Sequence[Accepted]:
        """See `Outbox.accept`."""
        if not plans:
            return ()
        self._link.promise()
        if full := await self._room.full():
            plans = await self._room.fit(plans, full)
        await self._vault.be_ready()
        items = [accept.Item.of(plan, self._vault) for plan in plans]
        await self._know_sources({plan.id_request.source for plan in plans})
        accepted = await self._accepts.do(items)
        self._recall.accepted(items, accepted)
        self._room.accepted(items, accepted)
        self._size += sum(len(item.encoded.basket) + EVENT_BYTES for item in items)
        self._lookout.wake({planned.destination for plan in plans for planned in plan.deliveries})
        return accepted

    async def _know_sources(self, sources: set[str]) -> None:
        if sources <= self._sources:
            return
        async with self._naming:
            if new := sources - self._sources:
                await self._link.command("SADD", f"{META}:sources", *sorted(new), durable=True)
                self._sources |= new

    async def claim(
        self, destination: str, limit: int, lease: timedelta, choice: Choice = EVERYTHING
    ) -> Sequence[Delivery]:
        """See `Outbox.claim`."""
        return await self._whole(self._claim(destination, limit, lease, choice))

    async def _claim(self, destination: str, limit: int, lease: timedelta, choice: Choice) -> Sequence[Delivery]:
        async with self._claiming[destination]:
            while True:
                self._lookout.claiming(destination)
                claimed = await self._claims.claim(destination, limit, lease, choice)
                arrived = [each for each in claimed if self._recall.has_arrived(each)]
                if not arrived:
                    return claimed
                await self._settle_again(arrived)
                ended = {id(each) for each in arrived}
                if left := [each for each in claimed if id(each) not in ended]:
                    return left

    async def _settle_again(self, arrived: Sequence[Delivery]) -> None:
        """End what this process had delivered before the store was begun anew, instead of sending it again."""
        now = self._link.wall()
        endings = [claims.ending(Settlement(each, Outcome.DELIVERED), now) for each in arrived]
        settled = sum(await self._settles.do(endings))
        words = "deliveries that had arrived before the store was begun anew were settled again, not sent again"
        wide_event(log, "store.settled_again", level=logging.WARNING, count=settled, detail=words)

    async def extend(self, deliveries: Sequence[Delivery], lease: timedelta) -> Sequence[Delivery]:
        """See `Outbox.extend`."""
        return await self._whole(claims.extend(self._link, deliveries, lease))

    async def settle(self, settlements: Sequence[Settlement]) -> int:
        """See `Outbox.settle`."""
        if not settlements:
            return 0
        now = self._link.wall()
        endings = [claims.ending(each, now) for each in settlements]
        self._recall.settling(settlements, endings)
        effects = await self._settles.do(endings)
        self._recall.settled(settlements, effects)
        self._lookout.wake({each.delivery.destination for each in settlements if each.outcome is Outcome.RETRYING})
        return sum(effects)

    async def wait(self, destination: str, at_most: timedelta, paused: Collection[str] = ()) -> None:
        """See `Outbox.wait`."""
        await self._lookout.wait(destination, at_most, paused)

    async def hasten(self, destination: str, limit: int) -> int:
        """See `Outbox.hasten`. The limit is shared by the partitions."""
        share = max(1, limit // self._link.partitions)
        return sum(await self._whole(self._link.everywhere("hasten", (destination, share), durable=True)))

    async def release(self, events: Sequence[Any]) -> Sequence[Touched]:
        """See `Outbox.release`."""
        return await self._unhold([Unhold(event, is_cancel=False) for event in events])

    async def cancel(self, events: Sequence[Any]) -> Sequence[Touched]:
        """See `Outbox.cancel`."""
        return await self._unhold([Unhold(event, is_cancel=True) for event in events])

    async def _unhold(self, asked: Sequence[Unhold]) -> Sequence[Touched]:
        self._link.promise()
        touched = await self._whole(unhold(self._link, asked))
        self._recall.unheld(asked)
        self._lookout.wake({name for each in touched for name in each.changed})
        return touched

    async def ledger(self) -> Ledger:
        """See `Outbox.ledger`."""
        counts = await self._link.everywhere("counts", [])
        self._room.learn(counts)
        return ledger_of(self._destinations, counts)

    async def recount(self) -> Recount:
        """See `Outbox.recount`."""
        return await recount(self._link, self._destinations)

    async def backlog(self) -> Mapping[str, Backlog]:
        """See `Outbox.backlog`."""
        return await backlog(self._link, self._destinations)

    async def dead_letters(
        self, which: DeadFilter, limit: int, after: str | None = None, *, is_brief: bool = False
    ) -> DeadPage:
        """See `Outbox.dead_letters`."""
        place = None if after is None else dead.parse_place(after)
        return await dead.page(self._link, which, limit, place, self._destinations, self._vault, is_brief=is_brief)

    async def replay(self, letters: Sequence[DeadLetter]) -> int:
        """See `Outbox.replay`."""
        done = await self._whole(dead.end(self._link, letters, is_replay=True))
        self._room.forget()
        self._lookout.wake({each.destination for each in letters})
        return done

    async def purge(self, letters: Sequence[DeadLetter]) -> int:
        """See `Outbox.purge`."""
        return await self._whole(dead.end(self._link, letters, is_replay=False))

    async def sweep(self) -> int:
        """See `Outbox.sweep`. Looks at a bounded part of the store a call."""
        await purge_old(self, self._dead_letter_retention, self._link.wall)
        gone = await self._whole(self._sweeper.run())
        await memos.forget(self._link, [ask_book(name) for name in self._destinations])
        await self.pairs.forget_tallies()
        await self._expiry.run()
        return gone

    # --- LaneBook -------------------------------------------------------------------------------------------

    async def notes(self) -> Mapping[str, Note]:
        """See `LaneBook.notes`."""
        return await book.notes(self._link)

    async def note(self, name: str, value: bytes | None, version: int, keep_for: timedelta | None = None) -> int | None:
        """See `LaneBook.note`."""
        return await self._whole(book.note(self._link, name, value, version, keep_for))

    # --- Journal --------------------------------------------------------------------------------------------

    async def event(self, event_id: str, source: str | None = None) -> Sequence[EventState]:
        """See `Journal.event`."""
        return await journal.by_id(self._link, event_id, await self._sources_of(source))

    async def transaction(self, transaction: str, source: str | None = None) -> Sequence[EventState]:
        """See `Journal.transaction`."""
        return await journal.by_transaction(self._link, transaction, await self._sources_of(source))

    async def transactions(self, source: str, transactions: Sequence[str]) -> Sequence[Sequence[EventState]]:
        """See `Journal.transactions`."""
        return await journal.by_transactions(self._link, source, transactions)

    async def accepted(
        self, source: str, since: datetime, before: datetime, limit: int, after: str | None = None
    ) -> EventPage:
        """See `Journal.accepted`."""
        return await journal.accepted(self._link, source, since, before, limit, after)

    async def _sources_of(self, source: str | None) -> Collection[str]:
        if source is not None:
            return [source]
        self._sources = {name.decode() for name in await self._link.command("SMEMBERS", f"{META}:sources")}
        return sorted(self._sources)

    # --- IdStore --------------------------------------------------------------------------------------------

    async def mint(self, key: IdKey, event_id: str, remember_until: datetime) -> MintedId:
        """See `IdStore.mint`."""
        self._link.promise()
        await self._know_sources({key.source})
        (minted,) = await self._mints.do([ids.Minting(key, event_id, remember_until)])
        assert minted is not None
        self._recall.minted(ids.Minting(key, minted.event_id, minted.remember_until))
        return minted

    async def read(self, key: IdKey) -> MintedId | None:
        """See `IdStore.read`."""
        return await ids.read(self._link, key)

    async def keep_contexts(self, kept: Sequence[KeptContext]) -> None:
        """See `IdStore.keep_contexts`."""
        self._link.promise()
        await self._know_sources({each.source for each in kept})
        await self._vault.be_ready()
        await self._whole(contexts.keep(self._link, kept, self._vault))

    async def contexts(self, source: str, transactions: Collection[str]) -> Mapping[str, bytes]:
        """See `IdStore.contexts`."""
        return await contexts.read(self._link, source, transactions, self._vault)

    # --- Memos ----------------------------------------------------------------------------------------------

    async def keep_memos(self, kept: Sequence[Memo]) -> None:
        """See `Memos.keep_memos`. What delivering has to remember is kept as well as the servers can."""
        if any(memo.book == BOOK for memo in kept):
            self._link.promise()
        await self._whole(memos.keep(self._link, kept))
        self._recall.remembered(kept)

    async def memos(self, book: str, names: Collection[str]) -> Mapping[str, bytes]:
        """See `Memos.memos`."""
        return await memos.read(self._link, book, names)

    async def due_memos(self, book: str, limit: int, lease: timedelta) -> Sequence[Memo]:
        """See `Memos.due_memos`."""
        return await self._whole(memos.due(self._link, book, limit, lease))

    async def drop_memos(self, book: str, names: Collection[str]) -> None:
        """See `Memos.drop_memos`."""
        await self._whole(memos.drop(self._link, book, names))

    # --- Store ----------------------------------------------------------------------------------------------

    async def probe(self) -> None:
        """See `Store.probe`. Data that vanished from the server is noticed here, and the store begun anew."""
        if not self._link.is_gone:
            await self._link.command("SET", f"{META}:probe", 1, durable=True)
            identity = await self._link.command("HGET", META, "store")
            self._link.is_gone = identity != self._link.identity
        await self._secrets.check()
        if self._link.is_gone:
            await self._reopen()
            await self._vault.tend()
            self._sweeper = Sweeper(self._link, self._retention)
            self._watch.forget()
            await self._learn()
            raise StoreVanished("the data of the store had vanished from the server: an empty one was begun")
        await self._vault.tend()
        await self._learn()
        self._link.promise()
        if (full := (await self._room.full()).store) is not None:
            raise full

    async def unroutable(self, destinations: Collection[str]) -> Mapping[str, int]:
        """See `Store.unroutable`."""
        return {
            name: account.deliveries[PENDING]
            for name, account in (await self.ledger()).items()
            if name not in destinations and account.deliveries[PENDING]
        }

    async def keep_secret(self, name: str, make: Callable[[], bytes]) -> bytes:
        """See `Store.keep_secret`."""
        return await self._secrets.keep(name, make)

    def waiting(self) -> Mapping[str, Waiting]:
        """See `Store.waiting`: as of the last look at the store, which `ledger` takes, too."""
        return self._room.waiting

    def size_bytes(self) -> int:
        """See `Store.size_bytes`: the memory of the servers at the last probe, and what was accepted since."""
        return self._size
