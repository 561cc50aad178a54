"""The lane book inside a transaction."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from app.outbox.port import Note


@dataclass(frozen=True, slots=True)
class Entry:
    """One call of `note`."""

    name: str
    value: bytes | None
    version: int
    keep_us: int | None


def notes(connection: sqlite3.Connection, now: int) -> Mapping[str, Note]:
    """Every note whose time is not over."""
    return {
        name: Note(value, version)
        for name, value, version in connection.execute(
            "SELECT name, value, version FROM lane_book WHERE expires_at IS NULL OR expires_at > ?", (now,)
        )
    }


def note(connection: sqlite3.Connection, entry: Entry, now: int) -> int | None:
    """Write one note in the open transaction: its new version, or None when the one there is another."""
    row = connection.execute(
        "SELECT version FROM lane_book WHERE name = ? AND (expires_at IS NULL OR expires_at > ?)", (entry.name, now)
    ).fetchone()
    if (row[0] if row else 0) != entry.version:
        return None
    if entry.value is None:
        connection.execute("DELETE FROM lane_book WHERE name = ?", (entry.name,))
        return 0
    version = secrets.randbits(52) | 1
    connection.execute(
        "INSERT OR REPLACE INTO lane_book VALUES (?, ?, ?, ?)",
        (entry.name, entry.value, version, None if entry.keep_us is None else now + entry.keep_us),
    )
    return version
