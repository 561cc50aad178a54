"""A copy of a store while it is used, and a store from such a copy, from which nothing is sent twice.

What the copy holds as pending may have been delivered after it was made. So each such delivery is marked as one whose
last try nobody knows the end of, since the instant of the copy: the time budget then sends it only while the platform
would recognise the repeat, and ends it as `outcome_unknown` or `expired` otherwise. Whoever withdrew consent or was
erased after the copy is unknown to it: the lanes can be left paused until that was told again.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from datetime import datetime
from pathlib import Path

from app.errors import StoreMismatch, StoreUnavailable
from app.outbox.sqlite.accept import from_us, to_us
from app.outbox.sqlite.files import FileLock
from app.outbox.sqlite.schema import STATE_PENDING, VERSION

STAMP = "backed_up_at"


def back_up(store: Path, copy: Path, now: datetime) -> int:
    """Write a consistent copy of a store, which may be in use, to a file that is not there yet; returns its bytes.

    Raises: StoreUnavailable when the store cannot be read or the file not be written.
    """
    if copy.exists():
        raise StoreUnavailable(f"{copy} is there already: a backup is never overwritten")
    part = copy.with_name(f"{copy.name}.part")
    try:
        part.unlink(missing_ok=True)
        with _opened(store) as source, contextlib.closing(sqlite3.connect(part)) as target:
            source.backup(target)  # in one step: one moment of the store, while others go on writing
            with target:
                target.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (STAMP, str(to_us(now))))
            _check(target)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(copy)
    except (sqlite3.Error, OSError) as error:
        raise StoreUnavailable(f"the backup failed: {error}") from error
    return copy.stat().st_size


def restore(copy: Path, store: Path, pause: bytes | None = None) -> tuple[int, datetime]:
    """Make a store of a copy, where none is; returns how many deliveries are pending in it and when it was made.

    `pause` is the note under which each of its lanes is held back, in place of its own.

    Raises: StoreMismatch when there is a store, or the file is no copy of one; StoreUnavailable when it cannot be done.
    """
    if not copy.is_file():
        raise StoreUnavailable(f"there is no file {copy}")
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(store.with_name(store.name + ".lock"))  # nobody may be about to make one there
    except OSError as error:
        raise StoreUnavailable(f"the store cannot be at {store}: {error.strerror}") from error
    try:
        if store.exists():
            raise StoreMismatch(f"{store} is there already: move it away first, and keep it")
        part = store.with_name(f"{store.name}.part")
        part.unlink(missing_ok=True)
        try:
            with _opened(copy) as source, contextlib.closing(sqlite3.connect(part)) as target:
                source.backup(target)
                _check(target)
                made_at = _made_at(target)
                with target:
                    marked = target.execute(
                        "UPDATE deliveries SET unsure_since = coalesce(unsure_since, ?), token = NULL WHERE state = ?",
                        (made_at, STATE_PENDING),
                    ).rowcount
                    if pause is not None:
                        lanes = target.execute("SELECT name FROM lanes").fetchall()
                        target.executemany(
                            "INSERT OR REPLACE INTO lane_book VALUES (?, ?, ?, NULL)",
                            [(f"pause/{name}", pause, secrets.randbits(52) | 1) for (name,) in lanes],
                        )
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.replace(store)
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"the store could not be restored: {error}") from error
    finally:
        lock.release()
    return marked, from_us(made_at)


def _opened(path: Path) -> contextlib.closing[sqlite3.Connection]:
    if not path.is_file():
        raise StoreUnavailable(f"there is no file {path}")
    return contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True))


def _check(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA quick_check").fetchone() != ("ok",):
        raise StoreMismatch("the copy is damaged")
    found = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    if found is None or str(found[0]) != str(VERSION):
        raise StoreMismatch("the file is no store of this version")


def _made_at(connection: sqlite3.Connection) -> int:
    """When the copy was made, in microseconds; of a file that does not say, when its newest event was accepted."""
    found = connection.execute("SELECT value FROM meta WHERE name = ?", (STAMP,)).fetchone()
    if found is not None:
        return int(found[0])
    return int(connection.execute("SELECT coalesce(max(accepted_at), 0) FROM events").fetchone()[0])
