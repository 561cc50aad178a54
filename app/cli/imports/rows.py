"""Reads a file row by row: CSV with a header, or one JSON object per line. Bad rows are told, good ones go on."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, BinaryIO

import orjson

from app.cli.events_file import FileError
from app.cli.imports.columns import Path, Reading, columns_of, event_of, pointer, put, with_aliases, without_gaps
from app.errors import Fault

MAX_ROW_BYTES = 1 << 20
MAX_ROW_LINES = 100
"""A CSV row of more lines has a quote that was never closed, and others' cells within."""

DELIMITERS = ",;\t|"
FORMATS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "ndjson",
}  # fmt: skip
_BOMS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16", codecs.BOM_UTF8: "utf-8-sig"}


class NoColumns(FileError):
    """No column of the file is a field of an event."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number (the first after the header is 1), the line it begins on, and the event or what is wrong."""

    number: int
    line: int
    event: dict[str, Any] | None
    faults: Sequence[Fault] = ()
    warnings: Sequence[Fault] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is laid out, as far as the caller knows; None is found out."""

    format: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    maps: dict[str, str] = field(default_factory=dict)
    ignores_unknown: bool = False
    reading: Reading = field(default_factory=Reading)
    constants: Sequence[tuple[Path, Any]] = ()
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Other names of columns, for each path the best first (`with_aliases`)."""


@dataclass(frozen=True, slots=True)
class Source:
    """An opened file: its rows, and which column a pointer into an event comes from. `release` it in the end."""

    rows: Iterator[Row]
    columns: dict[str, str]
    text: io.TextIOWrapper | None = None

    def release(self) -> None:
        """Leave the file to whoever opened it."""
        if self.text is not None:
            self.text.detach()


def read_rows(file: BinaryIO, name: str, layout: Layout) -> Source:
    """The rows of `file`; `name` tells its format where the layout does not.

    Raises: FileError when it cannot be read at all; the iterator raises none.
    """
    buffered = file if isinstance(file, io.BufferedReader) else io.BufferedReader(file)  # type: ignore[type-var]
    head = buffered.peek(4)[:4]
    encoding = layout.encoding or next((found for bom, found in _BOMS.items() if head.startswith(bom)), "utf-8")
    form = layout.format or FORMATS.get(PurePath(name).suffix.lower()) or ("ndjson" if head[:1] == b"{" else "csv")
    if form == "ndjson":
        if head.lstrip(codecs.BOM_UTF8)[:1] == b"[":
            raise FileError(f"{name} is a JSON list; convey send takes those, an import takes one object per line")
        return Source(_json_rows(buffered, layout), {})
    try:
        text = io.TextIOWrapper(buffered, encoding, errors="surrogateescape", newline="")
    except LookupError:
        raise FileError("--encoding: there is no such encoding") from None
    try:
        return _csv_rows(text, name, layout)
    except BaseException:
        text.detach()
        raise


def _json_rows(file: BinaryIO, layout: Layout) -> Iterator[Row]:
    number = 0
    for line in itertools.count(1):
        text = file.readline(MAX_ROW_BYTES + 1)
        if not text:
            return
        if line == 1:
            text = text.removeprefix(codecs.BOM_UTF8)
        is_long = len(text) > MAX_ROW_BYTES
        while is_long and text and not text.endswith(b"\n"):
            text = file.readline(MAX_ROW_BYTES)
        if not is_long and not text.strip():
            continue
        number += 1
        if is_long:
            yield Row(number, line, None, (Fault("", "row_too_long", "a row may have 1 MiB at the most"),))
            continue
        try:
            event = orjson.loads(text)
        except orjson.JSONDecodeError:
            yield Row(number, line, None, (Fault("", "not_json", "is no JSON"),))
            continue
        if not isinstance(event, dict):
            yield Row(number, line, None, (Fault("", "wrong_type", "must be a JSON object"),))
            continue
        yield Row(number, line, _completed(event, layout))


def _csv_rows(text: io.TextIOWrapper, name: str, layout: Layout) -> Source:
    first = text.readline(MAX_ROW_BYTES)
    if not first.strip("\ufeff\r\n\t ;,|"):
        raise FileError(f"{name} has no header in its first line")
    first = first.removeprefix("\ufeff")
    delimiter = layout.delimiter or max(DELIMITERS, key=lambda each: len(next(csv.reader([first], delimiter=each))))
    csv.field_size_limit(MAX_ROW_BYTES)
    reader = csv.reader(itertools.chain([first], text), delimiter=delimiter, strict=True)
    try:
        header = [cell.strip() for cell in next(reader)]
    except csv.Error:
        raise FileError(f"{name}: the header cannot be read") from None
    maps = with_aliases(header, layout.maps, layout.aliases)
    columns = columns_of(header, maps, ignores_unknown=layout.ignores_unknown)
    if not any(columns):
        raise NoColumns(f"{name}: no column is a field of an event; say what they are with --map COLUMN=FIELD")
    names = {pointer(path): title for path, title in zip(columns, header, strict=True) if path is not None}
    return Source(_cells(reader, columns, layout), names, text)


def _cells(reader: Any, columns: Sequence[Path | None], layout: Layout) -> Iterator[Row]:
    number = 0
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            number += 1
            words = f"cannot be read{_span(line, reader.line_num)}: look in line {line} for a stray quote or one that "
            words += "is not closed, or for a cell of more than 1 MiB"
            yield Row(number, line, None, (Fault("", "malformed_row", words),))
            continue
        if not any(cell.strip() for cell in cells):
            continue
        number += 1
        span = _span(line, reader.line_num)
        if reader.line_num - line >= MAX_ROW_LINES:
            words = f"goes on{span}: look in line {line} for a quote that is not closed"
            yield Row(number, line, None, (Fault("", "malformed_row", words),))
            continue
        words = f"goes on{span}: if it should not, look in line {line} for a stray quote"
        warnings = (Fault("", "spans_lines", words),) if span else ()
        if len(cells) != len(columns):
            words = f"has {len(cells)} cells where the header has {len(columns)}"
            yield Row(number, line, None, (Fault("", "wrong_number_of_cells", words),), warnings)
            continue
        event, faults = event_of(columns, cells, layout.reading)
        made = None if faults else without_gaps(_completed(event, layout))
        yield Row(number, line, made, faults, warnings)


def _span(first: int, last: int) -> str:
    return f" from line {first} to line {last}" if last > first else ""


def _completed(event: dict[str, Any], layout: Layout) -> dict[str, Any]:
    """The event with the constants where it has nothing."""
    for path, value in layout.constants:
        try:
            put(event, path, value)
        except (AttributeError, TypeError):
            continue  # something of another kind stands there: the gateway says what is wrong with it
    return event
