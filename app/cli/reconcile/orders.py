"""Reads the shop's list of orders: CSV or NDJSON, rows as an import reads them, and of each only what is compared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from app import facts
from app.cli.imports.rows import Row
from app.errors import Fault
from app.reconcile import Money, Order

ID, VALUE, CURRENCY, TIME = "transaction_id", "custom_data.value", "custom_data.currency", "event_time"
ALIASES: Mapping[str, tuple[str, ...]] = {
    ID: ("orderid", "ordernumber", "orderno", "transactionid", "order", "number", "name", "id"),
    VALUE: ("value", "total", "ordertotal", "grandtotal", "totalprice", "amount", "revenue"),
    CURRENCY: ("currency", "currencycode", "ordercurrency"),
    TIME: ("time", "eventtime", "placedat", "createdat", "orderdate", "processedat", "paidat", "timestamp", "date"),
}
"""What shops call these columns, in lower case and without spaces; Shopify's `Name` is an order's number."""
LONGEST_ID = 200
_AMOUNT = re.compile(r"\d{1,14}(\.\d{1,6})?", re.ASCII)
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+(\.\d*)?|\d{1,3}([ '’\u00a0\u202f]\d{3})+([.,]\d*)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"\d{1,3}(\.\d{3})*,\d{1,2}|\d+,\d{1,2}", re.ASCII)
_WITH_CURRENCY = re.compile(r"[^\W\d]{2,3} ?\d[\d.,]*|\d[\d.,]* ?[^\W\d]{2,3}|[€$£¥] ?\d[\d.,]*|\d[\d.,]* ?[€$£¥]")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_LOCAL = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2})(:\d{2})?(\.\d{1,9})?", re.ASCII)
_SPACED_OFFSET = re.compile(r"(.*\d) ?([+-]\d{2}):?(\d{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be compared: the line it begins on, and why, never what stands there.

    `order_id` is there where that at least can be read: the order is in the list all the same.
    """

    line: int
    words: str
    order_id: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """How rows are read: `currency` of amounts without one, `zone` of local times, names of fields by their paths."""

    currency: str | None = None
    zone: ZoneInfo | None = None
    names: Mapping[str, Sequence[str]] = field(default_factory=lambda: ALIASES)


def names_with(maps: Mapping[str, str]) -> Mapping[str, Sequence[str]]:
    """`ALIASES`, and before them the names that `--map` gives the paths, for files of JSON."""
    return {path: (*(_plain(name) for name, to in maps.items() if to == path), *ALIASES[path]) for path in ALIASES}


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def orders_of(rows: Iterator[Row], how: Reading) -> Iterator[Order | BadRow]:
    """Each order of the list, and each row that is none.

    A row without money that follows one of the same order is another line of it (shops export one for each item).
    """
    before = None
    for row in rows:
        read = _order(row, how)
        if isinstance(read, Order):
            if read.money is None and read.order_id == before:
                continue
            before = read.order_id
        yield read


def _order(row: Row, how: Reading) -> Order | BadRow:
    if row.event is None:
        fault = row.faults[0] if row.faults else Fault("", "invalid", "cannot be read")
        where = fault.pointer.rpartition("/")[2]
        return BadRow(row.line, f"{where}: {fault.detail}" if where else fault.detail)
    order_id = _text(_field(row.event, ID, how))
    if order_id is None or not 0 < len(order_id) <= LONGEST_ID:
        return BadRow(row.line, f"order id: must be a text of 1 to {LONGEST_ID} characters")
    money = _money(_field(row.event, VALUE, how), _text(_field(row.event, CURRENCY, how)) or how.currency)
    if isinstance(money, str):
        return BadRow(row.line, money, order_id)
    time = _field(row.event, TIME, how)
    placed_at = None if time in {None, ""} else instant_of(time, how.zone)
    if placed_at is None and time not in {None, ""}:
        words = "time: must be a day, or a date and time; without an offset it needs --timezone"
        return BadRow(row.line, words, order_id)
    return Order(order_id, row.line, money, placed_at)


def _field(document: Mapping[str, Any], path: str, how: Reading) -> Any:
    """What stands at a path of an event, or outermost under one of its other names."""
    value: Any = document
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is not None:
        return value
    own = {_plain(name): each for name, each in document.items()}
    return next((own[name] for name in how.names[path] if own.get(name) is not None), None)


def _text(value: Any) -> str | None:
    is_text = isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))
    return str(value).strip() if is_text else None


def _money(value: Any, currency: str | None) -> Money | str | None:
    """The money, None without any, or what is wrong with it."""
    if value is None or value == "":
        return None
    text = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    if not _AMOUNT.fullmatch(text):
        return f"value: must be a number such as 12.90, not negative{_hint(text)}"
    if currency is None:
        return "currency: is missing; give that of all such rows with --currency EUR"
    code = facts.currency(currency)
    return "currency: must be an ISO 4217 code such as EUR" if isinstance(code, Fault) else (code, Decimal(text))


def _hint(text: str) -> str:
    """What to do about an amount of a shape that is known, in words; nothing about any other."""
    if _DECIMAL_COMMA.fullmatch(text):
        return "; for 1.234,56 use --decimal-comma"
    if _THOUSANDS.fullmatch(text):
        return ", without anything between thousands: 1011.50"
    if _WITH_CURRENCY.fullmatch(text):
        return "; the currency has a column of its own, or is given with --currency"
    return ""


def instant_of(value: Any, zone: ZoneInfo | None) -> datetime | None:
    """The instant that a list or an option means: as events have it, a local time where `zone` is known, or a day.

    A day is its first instant, in UTC where no zone is known; None when it is none of these.
    """
    if not isinstance(value, str):
        return facts.instant(value)
    text = value.strip()
    try:
        if _DAY.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=zone or UTC).astimezone(UTC)
        local = _LOCAL.fullmatch(text)
        if local is not None and zone is not None:
            clock = f"{local[2]}{local[3] or ':00'}"
            return datetime.fromisoformat(f"{local[1]}T{clock}").replace(tzinfo=zone).astimezone(UTC)
    except ValueError:
        return None
    spaced = _SPACED_OFFSET.fullmatch(text) if ":" in text else None
    return facts.instant(f"{spaced[1]}{spaced[2]}:{spaced[3]}" if spaced else text.replace(" UTC", "Z"))
