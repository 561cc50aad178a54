"""Reads events from a file: one object, a list, `{"events": [...]}`, or one object per line."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson

MAX_EVENTS = 1000
MAX_BYTES = 4 << 20
"""Bounds of one request, well within what a gateway takes."""


class FileError(Exception):
    """The file cannot be read as events; the message says where, never what stands there."""


@contextlib.contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """The file `name`, or standard input for `-`.

    Raises: FileError.
    """
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise FileError(f"{name} cannot be read: {error.strerror or 'input/output error'}") from None
    with file:
        yield file


def read_events(name: str) -> list[dict[str, Any]]:
    """The events in the file `name`, in order; `-` is standard input.

    Raises: FileError.
    """
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise FileError(f"{name} cannot be read: {error.strerror or 'input/output error'}") from None
    return parse_events(data)


def parse_events(data: bytes) -> list[dict[str, Any]]:
    """The events in `data`, in order.

    Raises: FileError.
    """
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.strip():
        raise FileError("the file is empty")
    try:
        whole = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        return _lines(data, error)
    events = whole.get("events") if isinstance(whole, dict) and isinstance(whole.get("events"), list) else whole
    events = events if isinstance(events, list) else [events]
    if not events:
        raise FileError("the file holds no events")
    for position, event in enumerate(events):
        if not isinstance(event, dict):
            raise FileError(f"event {position} is not a JSON object")
    return events


def _lines(data: bytes, whole_error: orjson.JSONDecodeError) -> list[dict[str, Any]]:
    """One object per line; a file whose first line is none of its own is one broken JSON document instead."""
    events: list[dict[str, Any]] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            if not events:
                raise FileError(
                    f"not JSON at line {whole_error.lineno}, column {whole_error.colno}, nor one JSON object per line"
                ) from None
            raise FileError(f"line {number} is not JSON") from None
        if not isinstance(event, dict):
            raise FileError(f"line {number} is not a JSON object")
        events.append(event)
    return events


def batches(events: Iterable[dict[str, Any]]) -> Iterator[tuple[int, bytes]]:
    """Request bodies that hold all events in order, each with how many it holds."""
    parts: list[bytes] = []
    size = 0
    for event in events:
        part = orjson.dumps(event)
        if parts and (len(parts) == MAX_EVENTS or size + len(part) > MAX_BYTES):
            yield len(parts), b'{"events":[' + b",".join(parts) + b"]}"
            parts, size = [], 0
        parts.append(part)
        size += len(part) + 1
    if parts:
        yield len(parts), b'{"events":[' + b",".join(parts) + b"]}"
