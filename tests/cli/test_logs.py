from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from app.errors import Outcome
from app.logs import configure, wide_event


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    kept = root.handlers[:], root.level
    stream = io.StringIO()
    configure("info", stream)
    yield stream
    root.handlers[:], level = kept[0], kept[1]
    root.setLevel(level)


def _read(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


log = logging.getLogger("app.test")


def test_a_wide_event_is_one_json_line(lines):
    wide_event(
        log,
        "delivery.attempted",
        destination="meta",
        items=3,
        duration_ms=12.5,
        outcome=Outcome.DELIVERED,
        ready_at=datetime(2026, 11, 20, 10, tzinfo=UTC),
        retry_after_s=timedelta(seconds=2),
        detail="a\nb\ud800",
        events=Decimal("1.50"),
        config={"server": {"port": 1}, "names": ("a",)},
        count=2**60,
        source=object(),
    )
    [line] = _read(lines)
    assert datetime.fromisoformat(line.pop("time")).utcoffset() == timedelta(0)
    assert line == {
        "level": "info",
        "logger": "app.test",
        "event": "delivery.attempted",
        "destination": "meta",
        "items": 3,
        "duration_ms": 12.5,
        "outcome": "delivered",
        "ready_at": "2026-11-20T10:00:00+00:00",
        "retry_after_s": 2.0,
        "detail": "a\nb?",
        "events": "1.50",
        "config": {"server": {"port": 1}, "names": ["a"]},
        "count": str(2**60),
        "source": "<object>",
    }


def test_fields_nobody_listed_are_dropped(lines):
    wide_event(log, "request", email="jane@example.com", code=202)
    assert "jane" not in lines.getvalue()
    [line] = _read(lines)
    assert line["code"] == 202
    assert line["dropped_fields"] == ["email"]


def test_arguments_of_a_message_are_not_printed(lines):
    log.warning("unexpected value %s", "jane@example.com")
    logging.getLogger("other").warning("first line\nexception=ValueError('jane@example.com')")
    logging.getLogger("httpx").info("HTTP Request: POST https://x/?access_token=jane")
    assert "jane" not in lines.getvalue()
    assert [line["event"] for line in _read(lines)] == ["unexpected value %s", "first line"]


def test_an_exception_is_its_type_and_places(lines):
    def fail() -> None:
        try:
            raise ValueError("jane@example.com")
        except ValueError as error:
            raise RuntimeError("jane@example.com") from error

    try:
        try:
            fail()
        except RuntimeError as error:
            raise ExceptionGroup("jane", [error]) from None
    except ExceptionGroup:
        log.exception("worker.crashed")
    assert "jane" not in lines.getvalue()
    [line] = _read(lines)
    inner = line["exception"]["exceptions"][0]
    assert (line["exception"]["type"], inner["type"], inner["cause"]["type"]) == (
        "ExceptionGroup",
        "RuntimeError",
        "ValueError",
    )
    assert inner["frames"][-1].startswith("test_logs.py:")
    assert inner["frames"][-1].endswith(" fail")


def test_the_level_holds(lines):
    wide_event(log, "quiet", logging.DEBUG)
    wide_event(log, "loud", logging.ERROR)
    assert [line["event"] for line in _read(lines)] == ["loud"]
