"""The id registry by itself: the id of a transaction, handed out before its event came or accepted with it."""

from __future__ import annotations

import sqlite3

from app.dedup.port import IdKey


def mint(connection: sqlite3.Connection, key: IdKey, event_id: str, until: int, now: int) -> tuple[str, bool, int]:
    """The id of `key` in the open transaction: (event_id, is_new, remember_until)."""
    found = find(connection, key, now)
    if found is not None:
        return found[0], False, found[1]
    connection.execute(
        "INSERT OR REPLACE INTO minted VALUES (?, ?, ?, ?, ?, ?)",
        (key.transaction, key.source, key.event_name, key.occurrence or "", event_id, until),
    )
    return event_id, True, until


def find(connection: sqlite3.Connection, key: IdKey, now: int) -> tuple[str, int] | None:
    """The id remembered for `key` and until when: an accepted event's first, else a minted one."""
    row = connection.execute(
        "SELECT event_id, remember_until FROM events AS e WHERE txn = ? AND source = ? AND event_name = ? "
        "AND occurrence IS ? AND (remember_until > ? OR EXISTS "
        "(SELECT 1 FROM deliveries WHERE event = e.id AND state = 0)) ORDER BY id LIMIT 1",
        (key.transaction, key.source, key.event_name, key.occurrence, now),
    ).fetchone()
    if row is None:
        row = connection.execute(
            "SELECT event_id, remember_until FROM minted WHERE txn = ? AND source = ? AND event_name = ? "
            "AND occurrence = ? AND remember_until > ?",
            (key.transaction, key.source, key.event_name, key.occurrence or "", now),
        ).fetchone()
    return None if row is None else (row[0], row[1])
