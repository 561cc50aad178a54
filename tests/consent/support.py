"""The vectors, and a packer of bits."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parent / "vectors"


def vectors(name: str) -> dict[str, Any]:
    """The vectors of one standard: lists of cases by kind."""
    loaded = json.loads((VECTORS / f"{name}.json").read_text())
    assert isinstance(loaded, dict)
    return loaded


def pack(*fields: tuple[int, int]) -> str:
    """(value, width) fields, one after another, as base64url, padded to six bits."""
    bits = "".join(f"{value:0{width}b}" for value, width in fields if width)
    bits += "0" * (-len(bits) % 24)
    whole = base64.urlsafe_b64encode(int(bits, 2).to_bytes(len(bits) // 8, "big")).decode()
    needed = -(-sum(width for _, width in fields) // 6)
    return whole[:needed]


def header(*ids: int) -> str:
    """A header that names these ids one by one."""
    words, before = [], 0
    for number in ids:
        words += [(0, 1), *fibonacci(number - before)]
        before = number
    return pack((3, 6), (1, 6), (len(ids), 12), *words)


def fibonacci(number: int) -> list[tuple[int, int]]:
    """A number in Fibonacci coding, as fields for `pack`."""
    steps = [1, 2]
    while steps[-1] < number:
        steps.append(steps[-1] + steps[-2])
    bits = []
    for step in reversed(steps):
        bits.append(1 if step <= number else 0)
        number -= step if step <= number else 0
    while bits[0] == 0:
        bits.pop(0)
    return [(bit, 1) for bit in [*reversed(bits), 1]]


CANADA_HEAD = ((0, 36), (0, 36), (0, 12), (0, 12), (0, 6), (0, 12), (0, 12), (0, 6), (0, 1), (0, 12), (0, 24), (0, 24))
"""What stands between the version and the vendor lists of a tcfca section, all zero."""
