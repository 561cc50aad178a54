"""Values that carry their unit: durations such as `48h` and sizes such as `8MiB`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

DURATION_PATTERN = "^[0-9]{1,9}(ms|s|m|h|d)$"
SIZE_PATTERN = "^[0-9]{1,15}(B|KiB|MiB|GiB)?$"

_DURATION_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_SIZE_UNITS = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}


def parse_duration(value: Any) -> timedelta:
    """The duration that `value` spells: a whole number and its unit. A `timedelta` is returned as it is.

    Raises: ValueError, also for a bare number: whether 10 means seconds or milliseconds is nobody's guess.
    """
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or re.fullmatch(DURATION_PATTERN, value) is None:
        raise ValueError("must be a whole number with a unit: ms, s, m, h or d, such as 10s or 48h")
    number = value.rstrip("dhms")
    return int(number) * _DURATION_UNITS[value[len(number) :]]


def spell_duration(value: timedelta) -> str:
    """The text that `parse_duration` reads as `value`, down to milliseconds."""
    for unit, length in _DURATION_UNITS.items():
        if unit == "d" and value < timedelta(days=3):  # 48h is how everybody says it
            continue
        if value and value % length == timedelta(0):
            return f"{value // length}{unit}"
    return f"{value // _DURATION_UNITS['ms']}ms" if value else "0s"


def parse_size(value: Any) -> int:
    """The number of bytes that `value` spells, such as `8MiB` or a bare count of bytes.

    Raises: ValueError.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or re.fullmatch(SIZE_PATTERN, value) is None:
        raise ValueError("must be a size such as 512KiB, 8MiB or 2GiB, or a number of bytes")
    number = value.rstrip("BKMGi")
    return int(number) * _SIZE_UNITS[value[len(number) :] or "B"]


def spell_size(value: int) -> str:
    """The shortest text that `parse_size` reads as `value`."""
    for unit, length in _SIZE_UNITS.items():
        if value and value % length == 0:
            return f"{value // length}{unit}"
    return f"{value}B"


Duration = Annotated[
    timedelta, BeforeValidator(parse_duration), WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN})
]
"""A length of time, spelled with its unit."""

Size = Annotated[
    int, BeforeValidator(parse_size), WithJsonSchema({"type": ["integer", "string"], "pattern": SIZE_PATTERN})
]
"""A number of bytes, spelled with its unit."""
