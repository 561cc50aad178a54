"""`convey reconcile`: the command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, BinaryIO
from zoneinfo import ZoneInfo

import orjson
import typer

from app import facts
from app.cli.client import DEFAULT_URL, Gateway, GatewayError, Key, Url
from app.cli.events_file import FileError, opened
from app.cli.imports.columns import parse_maps
from app.cli.imports.rows import Layout, NoColumns, Source, read_rows
from app.cli.imports.verb import file_progress, layout_of
from app.cli.output import FAILED, UNUSABLE, fail
from app.cli.reconcile.comparison import Comparison, Span
from app.cli.reconcile.orders import ALIASES, CURRENCY, ID, TIME, VALUE, Reading, instant_of, names_with, orders_of
from app.cli.reconcile.output import Rows, as_json, show
from app.cli.reconcile.page import page_of
from app.errors import Fault
from app.event_names import canonical_name

_SHORT = {"order_id": ID, "value": VALUE, "currency": CURRENCY, "time": TIME}
_DAY_LENGTH = len("2026-11-20")


def reconcile(
    file: Annotated[str, typer.Argument(help="CSV with a header, or one JSON object per line; - is standard input.")],
    url: Url = DEFAULT_URL,
    key: Key = None,
    maps: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="COLUMN=FIELD", help="Which column is order_id, value, currency or time; found out if not."
        ),
    ] = None,
    currency: Annotated[
        str | None, typer.Option(metavar="CODE", help="Currency of amounts that have none, e.g. EUR.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="No order of the list is older: a day, or a date and time."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="No order of the list is newer; a day is meant whole.")
    ] = None,
    event_name: Annotated[str, typer.Option("--event-name", help="The event that stands for an order.")] = "Purchase",
    timezone: Annotated[
        str | None, typer.Option(metavar="NAME", help="Time zone of days and of times without an offset; UTC for days.")
    ] = None,
    decimal_comma: Annotated[bool, typer.Option("--decimal-comma", help="Amounts are written 1.234,56.")] = False,
    delimiter: Annotated[str | None, typer.Option(help="Between CSV cells; found out from the header.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of a CSV file: UTF-8, or what its first bytes say.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="csv or ndjson; found out from the file's name.")] = None,
    rows: Annotated[
        Path | None, typer.Option("--csv", metavar="PATH", help="Write a row per order and destination there.")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--html", metavar="PATH", help="Write one page in words there, to be opened or mailed."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="End with 1 when there is something to look into, for CI and cron.")
    ] = False,
    json_wanted: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the shop's own list of orders with what became of them at each platform, in orders and in money.

    Orders end as delivered, on the way, denied or skipped (and why), dead, expired, withdrawn, erased, never posted, or
    unknown where the journal does not go back so far; orders that the list does not have, and amounts that differ, are
    told as well. It reads the list once, whatever its length, and changes nothing. The key needs the scope read; its
    source is the one compared. Ends with 1 when the gateway cannot be asked, or no row can be compared.

    Example: convey reconcile orders.csv --map "Order no.=order_id" --currency EUR --html orders.html
    """
    try:
        given = _maps(maps or ())
        layout = replace(
            layout_of(form, encoding, delimiter, given, (), timezone, True, decimal_comma), aliases=ALIASES
        )
        zone = layout.reading.timezone
        how = Reading(_currency(currency), zone, names_with(layout.maps))
        span = Span(_instant("--since", since, zone), _instant("--until", until, zone, is_end=True))
        if span.since is not None and span.before is not None and span.since >= span.before:
            raise FileError("--until is before --since: no order can lie between them")
        name = canonical_name(event_name)[0]
        with Rows(rows) as written, Gateway(url, key) as gateway, opened(file) as listed, file_progress() as progress:
            compared = Comparison(gateway, name, span, written.note)
            task = progress.add_task("comparing", total=None if file == "-" else Path(file).stat().st_size)
            gateway.on_wait = lambda why: progress.update(task, description=f"waiting: {why}")

            def moved() -> None:
                if file != "-":
                    progress.update(task, completed=listed.tell(), description="comparing")

            source = _source(listed, file, layout)
            try:
                compared.run(orders_of(source.rows, how), moved)
            finally:
                source.release()
        _write(page, lambda: page_of(compared, Path(file).name, datetime.now(UTC)))
    except FileError as error:
        fail(str(error), UNUSABLE)
    except GatewayError as error:
        fail(str(error))
    if json_wanted:
        typer.echo(orjson.dumps(as_json(compared), option=orjson.OPT_INDENT_2).decode())
    else:
        show(compared)
    if compared.is_empty or (check and not compared.is_right):
        raise typer.Exit(FAILED)


def _maps(maps: Sequence[str]) -> list[str]:
    """What `--map` says, with the path for each short name. Raises: FileError where it is none of those compared."""
    found = []
    for column, field in parse_maps(maps).items():
        path = _SHORT.get(field, field)
        if path and path not in ALIASES:
            raise FileError(f"--map {column}={field}: a column is {', '.join(_SHORT)}; others need no --map")
        found.append(f"{column}={path}")
    return found


def _source(listed: BinaryIO, file: str, layout: Layout) -> Source:
    """The rows of the list. Raises: FileError where it cannot be read, or no column of a CSV is the order's id."""
    try:
        source = read_rows(listed, file, layout)
    except NoColumns:
        raise _without_id(file) from None
    if source.columns and f"/{ID}" not in source.columns:
        source.release()
        raise _without_id(file)
    return source


def _without_id(file: str) -> FileError:
    return FileError(
        f"{file}: no column is the order's id. Wanted are the columns {', '.join(_SHORT)}, or usual names of theirs "
        "(Order Number, Total, Currency, Created at); say which column is which: --map COLUMN=order_id"
    )


def _currency(code: str | None) -> str | None:
    read = facts.currency(code) if code is not None else None
    if isinstance(read, Fault):
        raise FileError("--currency is an ISO 4217 code such as EUR")
    return read


def _instant(option: str, text: str | None, zone: ZoneInfo | None, *, is_end: bool = False) -> datetime | None:
    if text is None:
        return None
    instant = instant_of(text, zone)
    if instant is None:
        raise FileError(f"{option} is a day, or a date and time with an offset or --timezone: 2026-11-20")
    return instant + timedelta(days=1) if is_end and len(text.strip()) == _DAY_LENGTH else instant


def _write(path: Path | None, make: Callable[[], str]) -> None:
    if path is not None:
        try:
            path.write_text(make(), "utf-8")
        except OSError as error:
            raise FileError(f"{path} cannot be written: {error.strerror}") from None
