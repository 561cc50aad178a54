"""When it happened and what it was worth: the plain facts of an event, parsed strictly."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from app.errors import Fault
from app.model import Warn, from_epoch

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far ahead of now an event_time may be and still count as a clock that runs fast."""

_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_MILLISECONDS_FROM = 1e11
"""Unix seconds reach 1e11 in the year 5138; milliseconds passed it in 1973."""

_RFC3339 = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})?", re.ASCII)
_NUMBER = re.compile(r"\d{1,16}(\.\d{1,9})?", re.ASCII)

# ISO 4217, active codes of national currencies (list one of 2026-01-01, without metals, funds and test codes).
CURRENCIES = frozenset(
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP "
    "CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF "
    "IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD "
    "MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB "
    "RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD "
    "UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG HRK".split()
)


def event_time(value: Any, now: datetime) -> tuple[datetime, datetime, list[Warn]] | Fault:
    """The instant in `value`, the same clamped to now where it is slightly ahead, and what to tell the caller.

    Takes RFC 3339 with an offset, Unix seconds (number or digits), or Unix milliseconds, which are recognised by
    their size. An instant further ahead than the tolerance comes back unclamped: each destination skips it.
    """
    warnings: list[Warn] = []
    instant = _parse(value, warnings)
    if isinstance(instant, Fault):
        return instant
    if not _EARLIEST <= instant < _LATEST:
        return Fault("/event_time", "out_of_range", "event_time must lie between the years 2000 and 2100")
    if now < instant <= now + CLOCK_TOLERANCE:
        warnings.append(Warn("event_time_ahead", "/event_time", "up to 5 minutes ahead of now: taken as now"))
        return instant, now, warnings
    return instant, instant, warnings


def instant(value: Any) -> datetime | None:
    """The instant in `value`, written as an event_time may be; None when it is none."""
    parsed = _parse(value, []) if value is not None else None
    return parsed if isinstance(parsed, datetime) and _EARLIEST <= parsed < _LATEST else None


def _parse(value: Any, warnings: list[Warn]) -> datetime | Fault:
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text):
            return _from_number(float(text), warnings)
        match = _RFC3339.fullmatch(text)
        if match is None:
            return Fault("/event_time", "malformed", "event_time must be RFC 3339 with an offset, or Unix seconds")
        day, clock, fraction, offset = match.groups()
        if offset is None:
            return Fault("/event_time", "offset_missing", "event_time needs an offset: end it with Z or +01:00")
        offset = "+00:00" if offset in "Zz" else offset
        try:
            return datetime.fromisoformat(f"{day}T{clock}{(fraction or '')[:7]}{offset}").astimezone(UTC)
        except (ValueError, OverflowError):
            return Fault("/event_time", "impossible", "event_time is no date and time that exists")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _from_number(float(value) if abs(value) < 10**18 else math.inf, warnings)
    return Fault("/event_time", "wrong_type", "event_time must be a string or a number")


def _from_number(number: float, warnings: list[Warn]) -> datetime | Fault:
    if number >= _MILLISECONDS_FROM:
        warnings.append(Warn("event_time_milliseconds", "/event_time", "read as milliseconds; send Unix seconds"))
        number /= 1000
    if not 0 <= number < _MILLISECONDS_FROM:  # also false for NaN
        return Fault("/event_time", "out_of_range", "event_time must lie between the years 2000 and 2100")
    return from_epoch(number)


def currency(code: str) -> str | Fault:
    """The ISO 4217 code in upper case, or what is wrong with it."""
    upper = code.strip().upper()
    if upper not in CURRENCIES:
        return Fault("/custom_data/currency", "unknown_currency", "currency must be an ISO 4217 code such as EUR")
    return upper


def amount_text(amount: Decimal) -> str:
    """An amount as answers spell it, whichever store added it up: exact, plain, with at least two decimals."""
    whole, _, decimals = format(abs(amount) if amount == 0 else amount, "f").partition(".")
    return f"{whole}.{decimals.rstrip('0'):0<2}"
