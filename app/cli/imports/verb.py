"""`convey import`: the command, and the loop that reads, posts, reports and keeps its place."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import orjson
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from app.cli.client import DEFAULT_URL, Gateway, GatewayError, Key, Url
from app.cli.events_file import FileError, opened
from app.cli.imports.columns import Reading, constants, parse_maps
from app.cli.imports.report import ErrorsFile, Tally, faults_of, show
from app.cli.imports.rows import Layout, Row, Source, read_rows
from app.cli.imports.state import State, digest_of, digest_of_options
from app.cli.output import FAILED, UNUSABLE, console, fail
from app.errors import Fault, Status
from app.units import parse_duration

MAX_EVENTS = 500
MAX_BYTES = 1 << 20
EXPLAINED_AT_ONCE = 100
TOO_LARGE = 413
INTERRUPTED = 130
"""What a shell says of a program that Ctrl-C ended."""


def import_file(
    file: Annotated[str, typer.Argument(help="CSV with a header, or one JSON object per line; - is standard input.")],
    url: Url = DEFAULT_URL,
    key: Key = None,
    maps: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=PATH", help="Which field a CSV column is; an empty PATH leaves it out."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="A value for every row that has none there."),
    ] = None,
    ignore_unknown: Annotated[
        bool, typer.Option("--ignore-unknown", help="Leave out CSV columns that are no field of an event.")
    ] = False,
    timezone: Annotated[
        str | None, typer.Option(metavar="NAME", help="Time zone of CSV times without an offset, e.g. Europe/Berlin.")
    ] = None,
    decimal_comma: Annotated[bool, typer.Option("--decimal-comma", help="CSV amounts are written 1.234,56.")] = False,
    delimiter: Annotated[str | None, typer.Option(help="Between CSV cells; found out from the header.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of a CSV file: UTF-8, or what its first bytes say.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="csv or ndjson; found out from the file's name.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Ask what would become of every row; keep and send nothing.")
    ] = False,
    state: Annotated[
        Path | None, typer.Option(help="Where to keep how far it got; FILE.import-state if absent.", metavar="PATH")
    ] = None,
    errors: Annotated[
        Path | None, typer.Option(help="Where to write what is wrong; FILE.errors.csv if absent.", metavar="PATH")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew, whatever was done before.")] = False,
    patience: Annotated[
        str, typer.Option(metavar="TIME", help="How long a gateway that is busy or away is waited for at a stretch.")
    ] = "10m",
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Import a file of past events through the gateway, in the bulk share, so that live events go first.

    Started again after a stop, however it stopped, it goes on where it was; rows that were accepted are not queued
    again. What is wrong with a row goes into a file, with its number and never with its values, and costs no other
    row. Ends with 1 when a row is invalid or the gateway cannot be reached.

    Example: convey import sales.csv --map 'E-Mail=user.email' --set action_source=physical_store --dry-run
    """
    try:
        layout = layout_of(form, encoding, delimiter, maps, sets, timezone, ignore_unknown, decimal_comma)
        options = digest_of_options(url, form, encoding, delimiter, maps, sets, timezone, ignore_unknown, decimal_comma)
        persist_s = _patience(patience)
        with _alone(file) as listed, Gateway(url, key, persist_s=persist_s, away_s=persist_s) as gateway:
            run = Import(gateway, _state(file, state, is_dry=dry_run), is_dry=dry_run)
            report = errors or _errors(file, is_dry=dry_run)
            try:
                tally = run.through(listed, file, layout, options, report, restart=restart)
            except KeyboardInterrupt:
                fail(run.stopped(), INTERRUPTED)
    except FileError as error:
        fail(str(error), UNUSABLE)
    if as_json:
        typer.echo(orjson.dumps(msgspec.to_builtins(tally), option=orjson.OPT_INDENT_2).decode())
    else:
        show(tally, is_dry=dry_run)
        if run.errors_path is not None:
            console().print(f"what is wrong, row by row: {run.errors_path}")
    if run.refusal is not None:
        fail(f"{run.refusal}; stopped after {tally.rows} row(s): the same command goes on from there")
    if tally.statuses.get(Status.INVALID):
        raise typer.Exit(FAILED)


def _patience(text: str) -> float:
    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise FileError(f"--patience {error}") from None


def layout_of(
    form: str | None,
    encoding: str | None,
    delimiter: str | None,
    maps: Sequence[str] | None,
    sets: Sequence[str] | None,
    timezone: str | None,
    ignore_unknown: bool,
    decimal_comma: bool,
) -> Layout:
    """How a file is laid out, as the options of the command say.

    Raises: FileError.
    """
    if form not in {None, "csv", "ndjson"}:
        raise FileError("--format is csv or ndjson")
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter or "", delimiter)
    if delimiter is not None and len(delimiter) != 1:
        raise FileError("--delimiter is one character, or tab")
    try:
        zone = ZoneInfo(timezone) if timezone is not None else None
    except (ZoneInfoNotFoundError, ValueError):
        raise FileError("--timezone: there is no such time zone") from None
    reading = Reading(zone, decimal_comma)
    return Layout(
        form, encoding, delimiter, parse_maps(maps or ()), ignore_unknown, reading, constants(sets or (), reading)
    )


@contextlib.contextmanager
def _alone(name: str) -> Iterator[BinaryIO]:
    """The file, which no other import on this machine reads meanwhile."""
    with opened(name) as file:
        if name != "-":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FileError(f"{name} is being imported by another process") from None
            except OSError:
                pass  # a file system without locks
        yield file


def _state(name: str, path: Path | None, *, is_dry: bool) -> State:
    return State(None if is_dry else path or (None if name == "-" else Path(f"{name}.import-state")))


def _errors(name: str, *, is_dry: bool) -> Path:
    # A dry run between the two halves of an import must not touch what the first half wrote.
    return Path(f"{'import' if name == '-' else name}{'.dry-run' if is_dry else ''}.errors.csv")


class Import:
    """One import: `refusal` says why it stopped early, `errors_path` where the errors are; None without any."""

    def __init__(self, gateway: Gateway, state: State, *, is_dry: bool) -> None:
        self._gateway = gateway
        self._state = state
        self._is_dry = is_dry
        self._most = EXPLAINED_AT_ONCE if is_dry else MAX_EVENTS
        self._is_begun = False
        self.refusal: str | None = None
        self.errors_path: Path | None = None

    def through(
        self, file: BinaryIO, name: str, layout: Layout, options: str, errors_path: Path, *, restart: bool
    ) -> Tally:
        """What became of every row, or of those up to where it stopped.

        Raises: FileError.
        """
        is_stream = name == "-"
        size = None if is_stream else Path(name).stat().st_size
        with file_progress() as progress:
            task = progress.add_task("reading", total=size)
            content = "" if is_stream or self._is_dry else digest_of(file, lambda read: progress.advance(task, read))
            is_resumed = self._state.begin(content, options, restart=restart)
            self._is_begun = True
            kept = self._state.progress
            if kept.is_done:
                console(stderr=True).print("this file was imported before; --restart does it again")
                self.errors_path = errors_path if kept.errors_bytes else None
                return kept.tally
            if is_resumed:
                console(stderr=True).print(f"going on after {kept.rows} row(s)")
            source = read_rows(file, name, layout)
            errors = ErrorsFile(errors_path, source.columns, kept.errors_bytes)
            progress.update(task, description="explaining" if self._is_dry else "importing", completed=0)
            self._gateway.on_wait = lambda why: progress.update(task, description=f"waiting: {why}")

            def moved() -> None:
                if not is_stream:
                    progress.update(task, completed=file.tell())

            try:
                self._post_all(source, errors, kept.tally, kept.rows, moved)
            except GatewayError as error:
                self.refusal = str(error)
            finally:
                source.release()
        self.errors_path = errors_path if errors.size else None
        return self._state.progress.tally

    def stopped(self) -> str:
        """Where it stood when somebody stopped it, and what the same command would do."""
        again = "goes on from there" if self._state.path is not None else "begins anew"
        if not self._is_begun:
            return "stopped while the file was looked through; nothing was sent"
        return f"stopped after {self._state.progress.rows} row(s): the same command {again}"

    def _post_all(self, source: Source, errors: ErrorsFile, tally: Tally, done: int, moved: Callable[[], None]) -> None:
        for rows in self._batches(itertools.islice(source.rows, done, None)):
            results = self._post([(row, row.event) for row in rows if row.event is not None])
            wrong: list[tuple[Row, Sequence[Fault]]] = []
            for row in rows:
                result = results.get(row.number, {"status": Status.INVALID.value})
                tally.count(result)
                faults = row.faults or faults_of(result)
                tally.count_faults(faults)
                tally.count_warnings(row.warnings)
                if faults or row.warnings:
                    wrong.append((row, (*faults, *row.warnings)))
            errors.write(wrong)
            done = rows[-1].number
            self._state.save(rows=done, errors_bytes=errors.size, tally=tally)
            moved()
        self._state.save(rows=done, errors_bytes=errors.size, tally=tally, is_done=True)

    def _batches(self, rows: Iterator[Row]) -> Iterator[list[Row]]:
        batch: list[Row] = []
        size = 0
        for row in rows:
            more = len(orjson.dumps(row.event)) if row.event is not None else 0
            if batch and (len(batch) >= self._most or size + more > MAX_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(row)
            size += more
        if batch:
            yield batch

    def _post(self, rows: Sequence[tuple[Row, dict[str, Any]]]) -> dict[int, dict[str, Any]]:
        """The gateway's result for each row, by its number; what is too much for one request goes in two.

        Raises: GatewayError.
        """
        if not rows:
            return {}
        path = "/v1/events/explain" if self._is_dry else "/v1/events?bulk=true"
        body = orjson.dumps({"events": [event for _, event in rows]})
        answer = self._gateway.ask("POST", path, body=body, takes=frozenset({200, 202, TOO_LARGE, 422}))
        if answer.get("status") == TOO_LARGE:
            if len(rows) == 1:
                fault = {"pointer": "", "code": "too_large", "detail": "is more than the gateway takes in one request"}
                return {rows[0][0].number: {"status": Status.INVALID.value, "errors": [fault]}}
            half = self._most = len(rows) // 2
            return self._post(rows[:half]) | self._post(rows[half:])
        results = answer.get("results")
        if not isinstance(results, list) or len(results) != len(rows) or not all(isinstance(r, dict) for r in results):
            raise GatewayError("the gateway did not answer with one result per event")
        return {row.number: result for (row, _), result in zip(rows, results, strict=True)}


def file_progress() -> Progress:
    """A progress bar over the bytes of a file, where stderr is a terminal."""
    out = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)
