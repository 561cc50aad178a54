"""Contexts of orders: kept until their time is over, read before an event is planned."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping

import orjson

from app.dedup.port import KeptContext
from app.outbox.sqlite.accept import to_us
from app.outbox.vault import Vault, context_of


def keep(connection: sqlite3.Connection, contexts: Iterable[KeptContext], vault: Vault) -> None:
    """Write contexts, each in place of an earlier one."""
    connection.executemany(
        "INSERT OR REPLACE INTO contexts (source, txn, body, until) VALUES (?, ?, ?, ?)",
        [
            (
                each.source,
                each.transaction,
                vault.seal(each.body, context_of(each.source, each.transaction)),
                to_us(each.until),
            )
            for each in contexts
        ],
    )


def read(
    connection: sqlite3.Connection, source: str, transactions: Collection[str], now: int, vault: Vault
) -> Mapping[str, bytes]:
    """The contexts of these orders that have not had their time; those that nobody can open any more are absent."""
    rows = connection.execute(
        "SELECT txn, body FROM contexts WHERE source = ? AND txn IN (SELECT value FROM json_each(?)) AND until > ?",
        (source, orjson.dumps(list(transactions)).decode(), now),
    )
    return vault.contexts(source, rows)


def forget(connection: sqlite3.Connection, now: int, most: int) -> int:
    """Delete at most so many of those that have had their time; returns how many."""
    return connection.execute(
        "DELETE FROM contexts WHERE (source, txn) IN (SELECT source, txn FROM contexts WHERE until <= ? LIMIT ?)",
        (now, most),
    ).rowcount
