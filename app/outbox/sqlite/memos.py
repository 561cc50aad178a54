"""Memos: values kept until their time is over, some of them due at an instant."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence

import orjson

from app.outbox.port import Memo
from app.outbox.sqlite.accept import from_us, to_us


def keep(connection: sqlite3.Connection, memos: Iterable[Memo]) -> None:
    """Write memos, each in place of an earlier one."""
    connection.executemany(
        "INSERT OR REPLACE INTO memos (book, name, value, until, due_at) VALUES (?, ?, ?, ?, ?)",
        [
            (each.book, each.name, each.value, to_us(each.until), to_us(each.due_at) if each.due_at else None)
            for each in memos
        ],
    )


def read(connection: sqlite3.Connection, book: str, names: Collection[str], now: int) -> Mapping[str, bytes]:
    """The values under these names that have not had their time."""
    rows = connection.execute(
        "SELECT name, value FROM memos WHERE book = ? AND name IN (SELECT value FROM json_each(?)) AND until > ? "
        "AND due_at IS NULL",
        (book, orjson.dumps(list(names)).decode(), now),
    )
    return {name: bytes(value) for name, value in rows}


def due(connection: sqlite3.Connection, book: str, limit: int, now: int, lease_us: int) -> Sequence[Memo]:
    """The memos of a book that are due, the earliest first, put off by the lease in the open transaction."""
    rows = connection.execute(
        "SELECT name, value, until FROM memos WHERE book = ? AND due_at <= ? AND until > ? ORDER BY due_at LIMIT ?",
        (book, now, now, limit),
    ).fetchall()
    later = now + lease_us
    connection.executemany(
        "UPDATE memos SET due_at = ? WHERE book = ? AND name = ?", [(later, book, name) for name, *_ in rows]
    )
    return [Memo(book, name, bytes(value), from_us(until), from_us(later)) for name, value, until in rows]


def drop(connection: sqlite3.Connection, book: str, names: Collection[str]) -> None:
    """Delete these memos."""
    connection.execute(
        "DELETE FROM memos WHERE book = ? AND name IN (SELECT value FROM json_each(?))",
        (book, orjson.dumps(list(names)).decode()),
    )


def forget(connection: sqlite3.Connection, now: int, most: int) -> int:
    """Delete at most so many of those that have had their time; returns how many."""
    return connection.execute(
        "DELETE FROM memos WHERE (book, name) IN (SELECT book, name FROM memos WHERE until <= ? LIMIT ?)", (now, most)
    ).rowcount
