"""What became of the rows of an import: counts, and a file with a line for everything that was wrong."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

from app.cli.events_file import FileError
from app.cli.imports.rows import Row
from app.cli.output import console, printable
from app.errors import Fault, Outcome, Status

HEADER = ("row", "line", "column", "pointer", "code", "detail")
CONFLICT = Fault("/event_id", "id_conflict", "the id belongs to another transaction, or the transaction has another id")


class Tally(msgspec.Struct):
    """How many rows had each status, what each destination got, and how often each warning and error came."""

    statuses: dict[str, int] = {}
    destinations: dict[str, dict[str, int]] = {}
    warnings: dict[str, int] = {}
    errors: dict[str, int] = {}

    @property
    def rows(self) -> int:
        """Rows so far."""
        return sum(self.statuses.values())

    def count(self, result: Mapping[str, Any]) -> None:
        """Count the gateway's result of one row."""
        _add(self.statuses, result.get("status"))
        for name, verdict in (result.get("destinations") or {}).items():
            words = (
                f"{verdict.get('outcome')}: {verdict.get('reason')}" if verdict.get("reason") else verdict["outcome"]
            )
            _add(self.destinations.setdefault(str(name), {}), words)
        for code in {warning.get("code") for warning in result.get("warnings") or ()}:
            _add(self.warnings, code)

    def count_warnings(self, warnings: Iterable[Fault]) -> None:
        """Count what is odd about one row without being wrong, each kind once."""
        for code in {warning.code for warning in warnings}:
            _add(self.warnings, code)

    def count_faults(self, faults: Iterable[Fault]) -> None:
        """Count what is wrong with one row, each kind once."""
        for code in {fault.code for fault in faults}:
            _add(self.errors, code)


def _add(counts: dict[str, int], key: Any) -> None:
    counts[str(key)] = counts.get(str(key), 0) + 1


def faults_of(result: Mapping[str, Any]) -> list[Fault]:
    """What the gateway found wrong with one row."""
    if result.get("status") == Status.CONFLICT:
        return [CONFLICT]
    return [
        Fault(str(error.get("pointer", "")), str(error.get("code", "invalid")), str(error.get("detail", "")))
        for error in result.get("errors") or ()
    ]


class ErrorsFile:
    """The file of errors: made with the first of them, and cut to what a state knows of when an import goes on."""

    def __init__(self, path: Path, columns: Mapping[str, str], kept_bytes: int) -> None:
        """`columns` are the columns' names by pointer; `kept_bytes` is how much of the file stays.

        Raises: FileError.
        """
        self.path = path
        self._columns = columns
        self.size = 0
        try:
            if path.exists():
                self.size = min(kept_bytes, path.stat().st_size)
                os.truncate(path, self.size)
                if not self.size:
                    path.unlink()
        except OSError as error:
            raise FileError(f"{path} cannot be written: {error.strerror}") from None

    def write(self, faults: Iterable[tuple[Row, Iterable[Fault]]]) -> None:
        """Add what is wrong with these rows, durably.

        Raises: FileError.
        """
        text = io.StringIO()
        lines = csv.writer(text)
        for row, those in faults:
            for fault in those:
                column = self._columns.get(fault.pointer, "")
                lines.writerow((row.number, row.line, column, fault.pointer, fault.code, fault.detail))
        if not text.tell():
            return
        head = "" if self.size else ",".join(HEADER) + "\r\n"
        data = (head + text.getvalue()).encode("utf-8", "replace")
        try:
            with self.path.open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise FileError(f"{self.path} cannot be written: {error.strerror}") from None
        self.size += len(data)


def show(tally: Tally, *, is_dry: bool) -> None:
    """Print the tally."""
    out = console()
    known = [status.value for status in Status]
    told = ", ".join(f"{tally.statuses[status]} {status}" for status in known if tally.statuses.get(status))
    out.print(f"{tally.rows} row(s){' would be' if is_dry else ''}: {told or 'none'}")
    if tally.destinations:
        outcomes = Counter(words for counts in tally.destinations.values() for words in counts)
        columns = sorted(outcomes, key=lambda words: (words != Outcome.QUEUED, words))
        table = Table("destination", *map(printable, columns), title_justify="left")
        for name, counts in tally.destinations.items():
            table.add_row(printable(name), *(str(counts.get(words, 0)) for words in columns))
        out.print(table)
    for title, counts in (("warnings", tally.warnings), ("errors", tally.errors)):
        if counts:
            most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            out.print(f"{title}: " + ", ".join(f"{printable(code)} {number}" for code, number in most))
