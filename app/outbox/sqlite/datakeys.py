"""Entries of the vault, among the rows of `meta`: `datakey:<name>`."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from app.errors import StoreUnavailable
from app.outbox.sqlite.writer import GroupWriter

_PREFIX = "datakey:"
_END = "datakey;"
"""The first text after all that begin with the prefix."""
Entry = tuple[str, bytes | None]
"""A name and what to keep under it; None deletes."""


class SqliteKeyBook:
    """See `app.outbox.vault.KeyBook`. Reads a handful of rows on the loop's thread."""

    def __init__(self, writer: GroupWriter, reader: sqlite3.Connection) -> None:
        self._writer = writer
        self._reader = reader

    async def entries(self) -> Mapping[str, bytes]:
        """See `KeyBook.entries`."""
        query = "SELECT name, value FROM meta WHERE name >= ? AND name < ?"
        try:
            rows = self._reader.execute(query, (_PREFIX, _END)).fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the store cannot be read: {error}") from error
        return {name.removeprefix(_PREFIX): bytes(value) for name, value in rows}

    async def keep(self, name: str, value: bytes) -> None:
        """See `KeyBook.keep`."""
        await self._writer.do(_change, [(name, value)])

    async def drop(self, names: Sequence[str]) -> None:
        """See `KeyBook.drop`."""
        await self._writer.do(_change, [(name, None) for name in names])


def _change(connection: sqlite3.Connection, calls: Sequence[Sequence[Entry]]) -> tuple[list[None], None]:
    for name, value in (entry for call in calls for entry in call):
        if value is None:
            connection.execute("DELETE FROM meta WHERE name = ?", (_PREFIX + name,))
        else:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_PREFIX + name, value))
    return [None] * len(calls), None
