"""When it happened and in which currency: read strictly, never repeated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import Fault
from app.facts import CLOCK_TOLERANCE, CURRENCIES, amount_text, currency, event_time
from tests.factories import START

HAPPENED = datetime(2026, 11, 20, 10, 15, tzinfo=UTC)


def read(value: Any) -> tuple[datetime, datetime, list[str]]:
    """The instant, the clamped instant, the codes of the warnings."""
    found = event_time(value, START)
    assert not isinstance(found, Fault), found
    return found[0], found[1], [warning.code for warning in found[2]]


@pytest.mark.parametrize(
    ("value", "instant"),
    [
        ("2026-11-20T10:15:00Z", HAPPENED),
        ("2026-11-20t10:15:00z", HAPPENED),
        ("2026-11-20 10:15:00Z", HAPPENED),
        (" 2026-11-20T10:15:00Z\n", HAPPENED),
        ("2026-11-20T10:15:00+00:00", HAPPENED),
        ("2026-11-20T11:15:00+01:00", HAPPENED),
        ("2026-11-20T02:15:00-08:00", HAPPENED),
        ("2026-11-20T15:45:00+05:30", HAPPENED),
        ("2026-11-20T10:15:00.5Z", HAPPENED + timedelta(milliseconds=500)),
        ("2026-11-20T10:15:00.123456789Z", HAPPENED + timedelta(microseconds=123456)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
        (1795169700, HAPPENED),
        (1795169700.25, HAPPENED + timedelta(milliseconds=250)),
        ("1795169700", HAPPENED),
        (" 1795169700.25 ", HAPPENED + timedelta(milliseconds=250)),
        ("2000-01-01T00:00:00Z", datetime(2000, 1, 1, tzinfo=UTC)),
    ],
)
def test_instants(value: Any, instant: datetime) -> None:
    assert read(value) == (instant, instant, [])


@pytest.mark.parametrize("value", [1795169700000, "1795169700000", 1795169700000.0])
def test_milliseconds_are_recognised_with_a_warning(value: Any) -> None:
    assert read(value) == (HAPPENED, HAPPENED, ["event_time_milliseconds"])


ANYTHING: list[Any] = [None, True, False, [], {}, [1795169700], b"2026-11-20T10:15:00Z"]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        *((value, "wrong_type") for value in ANYTHING),
        *(
            (value, "malformed")
            for value in (
                "",
                " ",
                "now",
                "2026-11-20",
                "2026-11-20T10:15Z",
                "20261120T101500Z",
                "2026-11-20T10:15:00 Z",
                "2026-11-20T10:15:00+0100",
                "2026-11-20T10:15:00+1",
                "2026-11-20T10:15:00,5Z",
                "2026-11-20T10:15:00.Z",
                "20/11/2026 10:15:00",
                "+1795169700",
                "-1795169700",
                "1e9",
                "1795169700.",
                "1_795_169_700",
                "0x6b00",
                "NaN",
                "\u0661\u0667\u0669\u0665\u0661\u0666\u0669\u0667\u0660\u0660",
                "9" * 17,
                "2026-11-20T10:15:00Z" * 100,
            )
        ),
        ("2026-11-20T10:15:00", "offset_missing"),
        ("2026-11-20T10:15:00.5", "offset_missing"),
        *(
            (value, "impossible")
            for value in (
                "2026-02-30T10:15:00Z",
                "2025-02-29T10:15:00Z",
                "2026-13-01T10:15:00Z",
                "2026-00-01T10:15:00Z",
                "2026-11-20T25:00:00Z",
                "2026-11-20T10:60:00Z",
                "2026-11-20T10:15:61Z",
                "2026-11-20T10:15:00+24:00",
                "0000-01-01T00:00:00Z",
                "0001-01-01T00:00:00+01:00",
                "9999-12-31T23:59:59-01:00",
            )
        ),
        *(
            (value, "out_of_range")
            for value in (
                "1999-12-31T23:59:59Z",
                "2100-01-01T00:00:00Z",
                -1,
                -0.5,
                0,
                1,
                1e300,
                float("nan"),
                float("inf"),
                float("-inf"),
                946684799,
                4102444800,
                99999999999,
                9999999999999999,
            )
        ),
    ],
)
def test_what_is_no_instant(value: Any, code: str) -> None:
    found = event_time(value, START)
    assert isinstance(found, Fault)
    assert (found.pointer, found.code) == ("/event_time", code)


@pytest.mark.parametrize(
    ("ahead", "is_clamped"),
    [
        (timedelta(0), None),
        (timedelta(microseconds=1), True),
        (timedelta(minutes=1), True),
        (CLOCK_TOLERANCE, True),
        (CLOCK_TOLERANCE + timedelta(microseconds=1), False),
        (timedelta(days=400), False),
    ],
)
def test_slightly_ahead_is_now(ahead: timedelta, is_clamped: bool | None) -> None:
    stated, happened, codes = read((START + ahead).isoformat())
    assert stated == START + ahead
    assert happened == (START if is_clamped else stated)
    assert codes == (["event_time_ahead"] if is_clamped else [])


def test_milliseconds_ahead_are_both() -> None:
    stated, happened, codes = read((START + timedelta(minutes=1)).timestamp() * 1000)
    assert (stated, happened) == (START + timedelta(minutes=1), START)
    assert codes == ["event_time_milliseconds", "event_time_ahead"]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.text()
    | st.integers()
    | st.floats()
    | st.from_regex(r"\A\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)?\Z")
)
def test_any_value_is_an_aware_instant_or_a_fault(value: Any) -> None:
    found = event_time(value, START)
    if not isinstance(found, Fault):
        assert found[0].utcoffset() == found[1].utcoffset() == timedelta(0)


@pytest.mark.parametrize(("sent", "kept"), [("EUR", "EUR"), ("eur", "EUR"), (" Usd\n", "USD"), ("xof", "XOF")])
def test_currencies(sent: str, kept: str) -> None:
    assert currency(sent) == kept


@pytest.mark.parametrize("sent", ["", " ", "EURO", "E", "€", "ZZQ", "XXX", "XTS", "XAU", "978", "EUR USD", "ＥＵＲ"])
def test_what_is_no_currency(sent: str) -> None:
    found = currency(sent)
    assert isinstance(found, Fault)
    assert (found.pointer, found.code) == ("/custom_data/currency", "unknown_currency")
    assert len(sent) < 3 or sent not in found.detail


def test_the_list_of_currencies() -> None:
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in CURRENCIES)
    assert {"USD", "EUR", "GBP", "JPY", "CHF", "KWD", "ZWG", "XCG"} <= CURRENCIES
    assert not {"DEM", "XXX", "XTS", "XAU", "BTC"} & CURRENCIES


@given(st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**18), max_value=10**18))
@settings(max_examples=200)
def test_an_amount_is_spelled_alike_whoever_added_it_up(amount: Decimal) -> None:
    text = amount_text(amount)
    assert Decimal(text) == amount
    assert len(text.partition(".")[2]) >= 2
    assert amount_text(amount.normalize()) == amount_text(amount + Decimal("0E-12")) == text


@pytest.mark.parametrize(
    ("amount", "text"), [("210", "210.00"), ("0.1000", "0.10"), ("-0", "0.00"), ("1E+3", "1000.00"), ("0.125", "0.125")]
)
def test_amounts_have_two_decimals_or_more(amount: str, text: str) -> None:
    assert amount_text(Decimal(amount)) == text
