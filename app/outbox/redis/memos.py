"""Memos: those that are due at an instant lie together on the server of the store's own facts, the others apart.

{c:meta}:due:<book>     sorted set: name -> the instant it is due, in microseconds
{c:meta}:memos:<book>   hash: name -> its end in microseconds, its value; a space between

A memo that is not due is a key of its own in the partition of its book and name, as a context is, and deleted by the
server when its time is over. There are as many of those as orders; the due ones are as many as requests.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from importlib import resources

from app.errors import StoreUnavailable
from app.outbox.port import Memo
from app.outbox.redis.link import META, Link
from app.outbox.redis.places import Place, blob, from_us, place_of, to_us
from app.withdrawal import BOOK, decode_instant

_DUE = (resources.files("app.outbox.redis") / "scripts" / "store" / "due.lua").read_text("utf-8")
_FORGET = (resources.files("app.outbox.redis") / "scripts" / "store" / "forget_due.lua").read_text("utf-8")
_KEEP = (
    "for i = 1, #ARGV, 3 do redis.call('ZADD', KEYS[1], ARGV[i + 1], ARGV[i]) "
    "redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2]) end return 1"
)
_DROP = "redis.call('ZREM', KEYS[1], unpack(ARGV)) return redis.call('HDEL', KEYS[2], unpack(ARGV))"
STEP = 1000
"""How many words of one book go in one call: a script's arguments are bounded."""


def _keys(book: str) -> tuple[str, str]:
    return f"{META}:due:{book}", f"{META}:memos:{book}"


def place(book: str, name: str, total: int) -> Place:
    """Where a memo that is not due lies, among so many partitions."""
    return place_of(f"memo:{book}", name, total)


async def keep(link: Link, memos: Sequence[Memo]) -> None:
    """Write memos durably, each in place of an earlier one.

    Raises:
        StoreUnavailable: At least one may not have been kept.
    """
    asked = []
    for memo in memos:
        if memo.due_at is None:
            at = place(memo.book, memo.name, link.partitions)
            asked.append((at.partition, (at.field, blob(memo.value), to_us(memo.until))))
    if asked:
        for answer in await link.scatter("keep_contexts", asked, lambda reply: reply, durable=True):
            if isinstance(answer, StoreUnavailable):
                raise answer
    for memo in memos:
        if memo.due_at is not None:
            value = b"%d %b" % (to_us(memo.until), memo.value)
            await link.command("EVAL", _KEEP, 2, *_keys(memo.book), memo.name, to_us(memo.due_at), value, durable=True)


async def withdraw_again(link: Link, withdrawals: Iterable[Memo]) -> int:
    """Keep withdrawals that a server may have lost, unless the person has withdrawn again since; how many it lacked.

    Raises:
        StoreUnavailable: At least one may not have been kept.
    """
    latest: dict[str, Memo] = {}
    for memo in withdrawals:
        if memo.name not in latest or _is_later(memo.value, latest[memo.name].value):
            latest[memo.name] = memo
    there = await read(link, BOOK, latest)
    lacking = [each for name, each in latest.items() if name not in there or _is_later(each.value, there[name])]
    await keep(link, lacking)
    return len(lacking)


def _is_later(value: bytes, than: bytes) -> bool:
    return decode_instant(value) > decode_instant(than)


async def read(link: Link, book: str, names: Collection[str]) -> Mapping[str, bytes]:
    """The values under these names.

    Raises:
        StoreUnavailable: A server does not answer.
    """
    wanted = list(names)
    asked = [(at.partition, at.field) for at in (place(book, name, link.partitions) for name in wanted)]
    found: dict[str, bytes] = {}
    for name, value in zip(wanted, await link.scatter("contexts", asked, lambda reply: reply), strict=True):
        if isinstance(value, StoreUnavailable):
            raise value
        if value is not None:
            found[name] = bytes(value)
    return found


async def due(link: Link, book: str, limit: int, lease: timedelta) -> Sequence[Memo]:
    """The memos of a book that are due, put off by the lease."""
    lease_us = lease // timedelta(microseconds=1)
    flat = await link.command("EVAL", _DUE, 2, *_keys(book), limit, lease_us, link.now_us() or "")
    memos = []
    for name, later, packed in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
        until, _, value = packed.partition(b" ")
        memos.append(Memo(book, name.decode(), value, from_us(int(until)), from_us(int(later))))
    return memos


async def forget(link: Link, books: Iterable[str]) -> None:
    """Delete memos whose time is over and that nobody asked for: of a destination that is not configured any more."""
    for book in books:
        await link.command("EVAL", _FORGET, 2, *_keys(book), link.now_us() or "", STEP)


async def drop(link: Link, book: str, names: Collection[str]) -> None:
    """Delete these memos durably."""
    wanted = list(names)
    for start in range(0, len(wanted), STEP):
        await link.command("EVAL", _DROP, 2, *_keys(book), *wanted[start : start + STEP], durable=True)
    places = [place(book, name, link.partitions) for name in wanted]
    asked = [(at.partition, (at.field, blob(b""), 0)) for at in places]
    for answer in await link.scatter("keep_contexts", asked, lambda reply: reply, durable=True):
        if isinstance(answer, StoreUnavailable):
            raise answer
