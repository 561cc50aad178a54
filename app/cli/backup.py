"""`convey backup` and `convey restore`: copies of an SQLite store, and a store from one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from app.cli.config import ConfigFile, load_or_fail
from app.cli.output import UNUSABLE, fail
from app.delivery.pauses import Hold, Pauses
from app.errors import ConveyError


def backup(
    file: Annotated[Path, typer.Argument(help="File to write; it must not be there yet.", metavar="FILE")],
    config: ConfigFile = None,
) -> None:
    """Copy the SQLite store to a file, while the gateway goes on.

    Example: convey backup /backups/convey-2026-11-25.db
    """
    store = _sqlite_path(config)
    from app.outbox.sqlite.backup import back_up  # noqa: PLC0415 - no other verb needs it

    try:
        size = back_up(store, file, datetime.now(UTC))
    except ConveyError as error:
        fail(str(error))
    typer.echo(f"{file}: {size:,} bytes, one moment of {store}")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that convey backup has written.", metavar="FILE")],
    config: ConfigFile = None,
    paused: Annotated[
        bool,
        typer.Option(
            "--paused/--not-paused",
            help="Whether its destinations wait for `convey destinations resume`, so that withdrawals and erasures "
            "since the backup can be repeated first.",
        ),
    ] = True,
) -> None:
    """Make the SQLite store of a backup, where there is none. Nothing that was delivered since counts twice.

    What was pending then may have been delivered since. It is sent only while the platform would recognise the repeat;
    where it would not, it ends dead (outcome_unknown) or expired, to be compared with the platform's own report.

    A backup knows of no withdrawal and no erasure since: repeat those, then resume the destinations, which wait for it.

    Example: convey restore /backups/convey-2026-11-25.db
    """
    store = _sqlite_path(config)
    from app.outbox.sqlite.backup import restore as made_of  # noqa: PLC0415 - no other verb needs it

    try:
        pending, made_at = made_of(file, store, _pause() if paused else None)
    except ConveyError as error:
        fail(str(error))
    typer.echo(f"{store}: as it was at {made_at:%Y-%m-%d %H:%M:%S} UTC, {pending:,} deliveries pending, each marked as")
    typer.echo("perhaps delivered. Have callers post again what they posted since: what is known is a duplicate.")
    typer.echo(f"Repeat every withdrawal and erasure since {made_at:%Y-%m-%d %H:%M} UTC: this store knows of none.")
    if paused:
        typer.echo("Its destinations are paused until then; afterwards, for each: convey destinations resume NAME")


def _pause() -> bytes:
    """The note that holds back a lane of a store that was restored."""
    return msgspec.json.encode(
        Pauses(Hold(datetime.now(UTC), reason="restored: repeat withdrawals and erasures first"))
    )


def _sqlite_path(config: Path | None) -> Path:
    settings = load_or_fail(config)
    if settings.store.is_shared:
        fail("this is for SQLite; a Redis store is backed up by its server: see docs/production.md", UNUSABLE)
    return settings.store.path
