"""The call with which a page's pixel reports an event under the name and the id its server copy carries. Pure text."""

from __future__ import annotations

from typing import Any

import orjson

from app.destinations.base import number, tidy
from app.model import HashedEvent

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def javascript(function: str, *arguments: Any) -> str:
    """`function(…);` with the arguments as JSON, fit to stand inside a script element of a page.

    What could end the element or the line is escaped, so that an id a shopper had a hand in stays text.
    """
    texts = [orjson.dumps(argument).decode().translate(_ESCAPES) for argument in arguments]
    return f"{function}({', '.join(texts)});"


def money(event: HashedEvent, value: str = "value") -> dict[str, Any]:
    """Value and currency as pixels take them, under the key `value`; nothing unless both are known."""
    if event.money is None:
        return {}
    return tidy({value: number(event.custom_data.value), "currency": event.custom_data.currency})
