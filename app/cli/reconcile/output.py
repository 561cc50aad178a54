"""What a reconciliation says: on the terminal, as JSON, and as a CSV with a row per order and destination."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from rich.table import Table

from app.cli.events_file import FileError
from app.cli.output import console, printable
from app.cli.reconcile.comparison import Comparison
from app.reconcile import (
    Account,
    Fate,
    Figure,
    Finding,
    Money,
    figure_in_words,
    is_wrong,
    money_in_words,
    sentences,
    why_in_words,
)

MOST_BAD_ROWS = 20
COLUMNS = (
    "order_id", "line", "destination", "class", "reason", "detail", "list_value", "list_currency", "counted_value",
    "counted_currency", "value_differs", "browser",
)  # fmt: skip


def show(compared: Comparison) -> None:
    """Print a table, and what it means in words."""
    out = console()
    report = compared.report
    out.print(f"{figure_in_words(report.listed)}, in the list")
    table = Table("destination", "what became of them", title_justify="left")
    hears_pages = any(account.hears_pages for account in report.accounts.values())
    for column in ("orders", "money by the list", *(["pixel reported"] if hears_pages else [])):
        table.add_column(column, justify="right")
    for name, account in report.accounts.items():
        for place, (why, figure) in enumerate(account.sorted()):
            mark = " (!)" if is_wrong(why) else ""
            cells = [f"{figure.orders:,}", money_in_words(figure.money), f"{figure.browser:,}"]
            cells = cells if hears_pages else cells[:2]
            table.add_row("" if place else printable(name), printable(f"{why_in_words(why)}{mark}"), *cells)
    if report.accounts:
        out.print(table)
    for name, account in report.accounts.items():
        for sentence in sentences(name, account):
            out.print(printable(sentence))
    for line in notes(compared):
        out.print(printable(line))


def notes(compared: Comparison) -> list[str]:
    """What else has to be known to read the figures."""
    found = []
    if compared.is_empty and not compared.bad_rows:
        found.append("the list has no order: nothing was compared; is the export empty?")
    if compared.bad_rows:
        found.append(f"{len(compared.bad_rows)} row(s) of the list cannot be compared:")
        found += [f"  line {bad.line}: {bad.words}" for bad in compared.bad_rows[:MOST_BAD_ROWS]]
        if len(compared.bad_rows) > MOST_BAD_ROWS:
            found.append(f"  and {len(compared.bad_rows) - MOST_BAD_ROWS} more")
    if any(fate is Fate.MISSING for account in compared.report.accounts.values() for fate, _, _ in account.figures):
        found.append(
            "never posted, or refused as invalid: `convey rejects` shows what was refused, and "
            "GET /v1/events?transaction_id=... whether an order was posted under another event name (see --event-name)"
        )
    if compared.repeated:
        found.append(f"{compared.repeated} row(s) have an order of an earlier row: the first one counts")
    if compared.looked_for_extra is None:
        found.append(f"orders that the list does not have were not looked for: {compared.why_not_looked}")
    else:
        since, before = (each.strftime("%Y-%m-%d %H:%M:%S UTC") for each in compared.looked_for_extra)
        found.append(
            f"orders that the list does not have were looked for among those accepted from {since} to {before}"
        )
    return found


def as_json(compared: Comparison) -> dict[str, Any]:
    """The whole of it, with up to 1000 order ids under each figure."""
    report = compared.report
    looked = compared.looked_for_extra
    return {
        "ok": compared.is_right,
        "list": _figure(report.listed, has_ids=False),
        "repeated_rows": compared.repeated,
        "bad_rows": [{"line": bad.line, "detail": bad.words} for bad in compared.bad_rows],
        "looked_for_extra": None if looked is None else {"since": looked[0], "before": looked[1]},
        "destinations": {name: _account(name, account) for name, account in report.accounts.items()},
    }


def _account(name: str, account: Account) -> dict[str, Any]:
    return {
        "ok": account.is_right,
        "words": sentences(name, account),
        "figures": [
            {"class": why[0], "reason": why[1], "detail": why[2], "words": why_in_words(why), **_figure(figure)}
            for why, figure in account.sorted()
        ],
        "value_differs": {**_figure(account.differing), "counted": _money(account.counted)},
        "not_compared_by_value": account.uncompared,
    }


def _figure(figure: Figure, *, has_ids: bool = True) -> dict[str, Any]:
    told = {"orders": figure.orders, "money": _money(figure.money)}
    return told | {"browser": figure.browser, "order_ids": figure.order_ids} if has_ids else told


def _money(money: Mapping[str, Decimal]) -> dict[str, str]:
    return {currency: f"{amount:f}" for currency, amount in sorted(money.items())}


class Rows:
    """Writes the CSV as orders are compared, so that memory has no part in its length. Use it as a context manager."""

    def __init__(self, path: Path | None) -> None:
        """Raises: FileError."""
        self._path = path
        self._file: TextIO | None = None
        if path is not None:
            try:
                self._file = path.open("w", encoding="utf-8", newline="")
            except OSError as error:
                raise FileError(f"{path} cannot be written: {error.strerror}") from None
            self._rows = csv.writer(self._file)
            self._rows.writerow(COLUMNS)

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None:
            self._file.close()

    def note(self, order_id: str, line: int | None, money: Money | None, findings: Sequence[Finding]) -> None:
        """Write what was found about one order."""
        if self._file is None:
            return
        value = (f"{money[1]:f}", money[0]) if money is not None else ("", "")
        for each in findings:
            counted = (f"{each.counted[1]:f}", each.counted[0]) if each.counted is not None else ("", "")
            browser = "" if each.browser is None else str(each.browser).lower()
            words = (order_id, line or "", each.destination, each.fate, each.reason or "", each.detail or "")
            cells = (*map(_cell, words), *value, *counted, str(each.differs).lower(), browser)
            try:
                self._rows.writerow(cells)
            except OSError as error:
                raise FileError(f"{self._path} cannot be written: {error.strerror}") from None


def _cell(value: object) -> str:
    """A cell that a spreadsheet takes for text and not for a formula.

    Source: https://owasp.org/www-community/attacks/CSV_Injection, read 2026-11.
    """
    text = printable(value)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text
