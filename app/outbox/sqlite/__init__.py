"""The embedded engine: one SQLite file, one process, nothing to install."""

from app.outbox.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
