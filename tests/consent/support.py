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
