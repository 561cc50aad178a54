"""Deriving the event_id that the browser pixel carries as well. Pure.

The id is readable on purpose, so that a shop's page can build the same one without asking: `purchase_ORD-12345`.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Sequence
from functools import lru_cache

DEFAULT_TEMPLATE = "{event_name}_{transaction}"
TEMPLATE_FIELDS = frozenset({"source", "event_name", "transaction", "occurrence"})

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_GAP = re.compile(r"[^0-9A-Za-z]+")


@lru_cache(maxsize=1024)
def snake_case(event_name: str) -> str:
    """`AddToCart` -> `add_to_cart`, `My Event!` -> `my_event`; `event` when nothing is left."""
    return _GAP.sub("_", _HUMP.sub("_", event_name)).strip("_").lower() or "event"


def derive(template: str, source: str, event_name: str, transaction: str, occurrence: str | None) -> str:
    """The id of an event that has a transaction key.

    The key goes in verbatim. An occurrence the template does not place itself is appended.
    """
    derived = template.format(
        source=source, event_name=snake_case(event_name), transaction=transaction, occurrence=occurrence or ""
    )
    if occurrence is not None and "{occurrence}" not in template:
        derived += f"_{occurrence}"
    return derived


def derive_without_key(source: str, event_name: str, canonical_body: bytes) -> str:
    """The id of an event that has none: the same for the same event of the same source, posted again."""
    digest = hashlib.blake2b(canonical_body, digest_size=12, key=source.encode()[:64], person=b"convey-event-id")
    return f"{snake_case(event_name)}_{digest.hexdigest()}"


def faults_of_template(template: str) -> Sequence[str]:
    """What is wrong with a template, in words; empty when it is fine."""
    try:
        parts = [part for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError:
        return ["has unbalanced braces"]
    if any(spec or conversion for _, _, spec, conversion in parts):
        return ["must use its fields plainly, without a conversion or a format"]
    fields = [str(name) for _, name, _, _ in parts]
    wrong = [name for name in fields if name not in TEMPLATE_FIELDS]
    if wrong:
        return [f"may use only {', '.join('{' + name + '}' for name in sorted(TEMPLATE_FIELDS))}"]
    if not {"event_name", "transaction"} <= set(fields):
        return ["must use {event_name} and {transaction}"]
    return []
