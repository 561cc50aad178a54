"""Turns what pydantic found into faults in words: the path, the remedy, never the value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from app.config.tree import join
from app.errors import Fault

_WORDS: Mapping[str, str] = {
    "missing": "is required",
    "string_type": "must be text",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "decimal_parsing": "must be a number",
    "decimal_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "literal_error": "must be one of {expected}",
    "enum": "must be one of {expected}",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} item(s)",
    "too_long": "must have at most {max_length} items",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "frozen_set_type": "must be a list",
    "dict_type": "must be a section with keys of its own",
    "model_type": "must be a section with keys of its own",
    "model_attributes_type": "must be a section with keys of its own",
    "datetime_parsing": "must be an instant such as 2027-01-31T00:00:00Z",
    "datetime_from_date_parsing": "must be an instant such as 2027-01-31T00:00:00Z",
    "datetime_type": "must be an instant such as 2027-01-31T00:00:00Z",
    "timezone_aware": "must be an instant with its UTC offset, such as 2027-01-31T00:00:00Z",
}


def unknown_key(known: Iterable[str], key: str) -> str:
    """The words for a key that does not exist, with the nearest one that does."""
    near = difflib.get_close_matches(key, list(known), n=1)
    return "is not a known key" + (f"; did you mean {near[0]}?" if near else "")


def faults_of(error: ValidationError, path: str, known: Iterable[str], *, is_foreign: bool = False) -> list[Fault]:
    """One fault per mistake pydantic found in the value at `path`; `known` are the keys allowed directly in it.

    `is_foreign` says that the model is an adapter's, whose messages might quote a value by accident.
    """
    return [_fault(detail, path, list(known), is_foreign) for detail in error.errors(include_url=False)]


def _fault(detail: Any, path: str, known: Sequence[str], is_foreign: bool) -> Fault:
    location: Sequence[str | int] = detail["loc"]
    pointer = path
    for key in location:
        pointer = join(pointer, key)
    kind: str = detail["type"]
    if kind == "extra_forbidden":
        return Fault(pointer, "unknown_key", unknown_key(known if len(location) == 1 else (), str(location[-1])))
    if kind == "value_error":
        return Fault(pointer, "invalid", _own_words(detail, is_foreign))
    template = _WORDS.get(kind)
    if template is None:  # pydantic's own sentence may quote the value, its kind never does
        return Fault(pointer, "invalid", f"is not valid ({kind.replace('_', ' ')})")
    return Fault(pointer, "missing" if kind == "missing" else "invalid", template.format(**detail.get("ctx", {})))


def _own_words(detail: Any, is_foreign: bool) -> str:
    """A validator's own message, unless it quotes what was given (as `int("x")` does)."""
    words = str(detail["ctx"]["error"])
    if is_foreign and any(leaf in words for leaf in _leaves(detail["input"]) if len(leaf) >= 3):
        return "is not valid"
    return words or "is not valid"


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
