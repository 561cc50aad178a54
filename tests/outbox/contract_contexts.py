"""Contexts: kept per order until their time is over, the later in place of the earlier."""

from __future__ import annotations

from app.dedup.port import KeptContext
from tests.factories import FrozenClock
from tests.outbox.support import DAY, HOUR, Bounded, Engine, Reopen


def kept(
    clock: FrozenClock, transaction: str = "ORD-1", body: bytes = b"\x81\xa1a\x01\xff\x00", source: str = "shop"
) -> KeptContext:
    """A context with a week to live, its body no valid text."""
    return KeptContext(source, transaction, body, clock.now() + 7 * DAY)


class Remembering(Bounded):
    """What `IdStore` promises of contexts."""

    async def test_what_is_kept_is_read_by_order_and_source(self, store: Engine, clock: FrozenClock) -> None:
        await store.keep_contexts([kept(clock), kept(clock, "ORD-2", b""), kept(clock, "ORD-1", b"other", "other")])
        assert await store.contexts("shop", ["ORD-1", "ORD-2", "ORD-3"]) == {"ORD-1": kept(clock).body, "ORD-2": b""}
        assert await store.contexts("other", ["ORD-1"]) == {"ORD-1": b"other"}
        assert await store.contexts("shop", []) == {}

    async def test_the_later_one_counts(self, store: Engine, clock: FrozenClock) -> None:
        await store.keep_contexts([kept(clock, body=b"first")])
        await store.keep_contexts([kept(clock, body=b"second"), kept(clock, body=b"third")])
        assert await store.contexts("shop", ["ORD-1"]) == {"ORD-1": b"third"}

    async def test_it_is_gone_when_its_time_is_over(self, store: Engine, clock: FrozenClock) -> None:
        await store.keep_contexts([kept(clock)])
        clock.advance(7 * DAY - HOUR)
        assert set(await store.contexts("shop", ["ORD-1"])) == {"ORD-1"}
        clock.advance(HOUR)
        assert await store.contexts("shop", ["ORD-1"]) == {}
        await store.sweep()
        assert await store.contexts("shop", ["ORD-1"]) == {}

    async def test_it_survives_a_crash(self, store: Engine, clock: FrozenClock, reopen: Reopen) -> None:
        await store.keep_contexts([kept(clock)])
        assert await (await reopen(crash=True)).contexts("shop", ["ORD-1"]) == {"ORD-1": kept(clock).body}
