"""The lane book: one hash on the server that has the store's own facts.

{c:meta}:book    hash: name -> version, end in microseconds or 0, value; a space between
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from importlib import resources

from app.outbox.port import Note
from app.outbox.redis.link import META, Link

BOOK = f"{META}:book"
_SCRIPT = (resources.files("app.outbox.redis") / "scripts" / "store" / "note.lua").read_text("utf-8")
_READ = "local now = redis.call('TIME') return {now[1] * 1000000 + now[2], redis.call('HGETALL', KEYS[1])}"


async def notes(link: Link) -> Mapping[str, Note]:
    """Every note whose time is not over."""
    now, flat = await link.command("EVAL", _READ, 1, BOOK)
    now = link.now_us() or now
    read = {name.decode(): packed.split(b" ", 2) for name, packed in zip(flat[::2], flat[1::2], strict=True)}
    return {
        name: Note(value, int(version)) for name, (version, ends, value) in read.items() if not 0 < int(ends) <= now
    }


async def note(link: Link, name: str, value: bytes | None, version: int, keep_for: timedelta | None) -> int | None:
    """Write one note: its new version, or None when the one there is another."""
    fresh = 0 if value is None else secrets.randbits(52) | 1
    keep_us = 0 if keep_for is None else keep_for // timedelta(microseconds=1)
    words = (name, version, fresh, keep_us, b"" if value is None else value, link.now_us() or "")
    done = await link.command("EVAL", _SCRIPT, 1, BOOK, *words, durable=keep_for is None)
    return fresh if done else None
