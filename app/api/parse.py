"""From the bytes of a request to events, once: every fault as a pointer, good neighbours untouched."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from app.api.problems import Problem
from app.errors import Fault
from app.ingest import Parsed
from app.model import Warn
from app.wire import AppData, Consent, Content, CustomData, Event, UserData

MAX_DEPTH = 8
"""How deep an event may nest: its own deepest field needs 4, free properties may use 4 more."""

_CODES = {
    "missing": "missing",
    "extra_forbidden": "unknown_field",
    "string_type": "wrong_type",
    "list_type": "wrong_type",
    "dict_type": "wrong_type",
    "model_type": "wrong_type",
    "model_attributes_type": "wrong_type",
    "bool_type": "wrong_type",
    "bool_parsing": "wrong_type",
    "int_type": "wrong_type",
    "decimal_type": "wrong_type",
    "int_parsing": "malformed",
    "int_from_float": "malformed",
    "decimal_parsing": "malformed",
    "decimal_max_places": "out_of_range",
    "decimal_max_digits": "out_of_range",
    "decimal_whole_digits": "out_of_range",
    "int_parsing_size": "out_of_range",
    "value_error": "malformed",
    "finite_number": "not_a_number",
    "greater_than_equal": "out_of_range",
    "less_than_equal": "out_of_range",
    "string_too_long": "too_long",
    "string_too_short": "too_short",
    "too_long": "too_long",
    "literal_error": "not_allowed",
    "string_unicode": "invalid_characters",
}
_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "string_type": "must be a string",
    "list_type": "must be a string or a list of strings",
    "dict_type": "must be a JSON object",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "decimal_type": "must be a number, or a string such as 12.90",
    "decimal_parsing": "must be a number such as 12.90, with a point and without separators",
    "finite_number": "must be a finite number",
    "value_error": "must be a number such as 12.90, with a point and without separators",
    "string_unicode": "holds characters that are no valid text",
    "too_long": "has too many items",
}
_PLAIN_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$.\- ]{0,63}", re.ASCII)
_WHERE_FAULTS_LIE = 20
"""How many faults and warnings of a kind one event's answer lists at the most."""


def read_events(body: bytes, max_events: int, *, is_strict: bool) -> list[Parsed]:
    """One parsed event or fault list per posted event, in order.

    Raises: Problem 400 when the body holds no events that can be told apart, 413 when there are too many.
    """
    document, is_suspicious = _load(body)
    if not isinstance(document, dict):
        raise _unreadable('send one event as a JSON object, or {"events": [...]}')
    items: Any = document.get("events") if "events" in document else [document]
    if not isinstance(items, list):
        raise _unreadable("`events` must be a list", Fault("/events", "wrong_type", "must be a list of events"))
    if not items:
        raise _unreadable("`events` is empty", Fault("/events", "empty", "send at least one event"))
    if len(items) > max_events:
        raise Problem("too_many_events", f"one request may hold {max_events} events; send the rest in another")
    return [_event(item, is_strict=is_strict, is_suspicious=is_suspicious) for item in items]


def _unreadable(detail: str, *errors: Fault) -> Problem:
    return Problem("unreadable_body", detail, errors=errors)


def _load(body: bytes) -> tuple[Any, bool]:
    """The document, and whether it may hold text or numbers that only a close look finds."""
    try:
        return orjson.loads(body), b"\\u0000" in body
    except orjson.JSONDecodeError:
        # Python's own parser takes NaN and lone surrogates: then the fault is one event's, not the whole body's.
        try:
            return json.loads(body.decode("utf-8")), True
        except UnicodeDecodeError as error:
            raise _unreadable("the body is not valid UTF-8") from error
        except json.JSONDecodeError as error:
            raise _unreadable(f"the body is not valid JSON (line {error.lineno}, column {error.colno})") from error
        except (RecursionError, ValueError) as error:
            raise _unreadable("the body nests too deeply, or holds a number with too many digits") from error


def _event(item: Any, *, is_strict: bool, is_suspicious: bool) -> Parsed:
    if not isinstance(item, dict):
        return _invalid(item, (Fault("", "wrong_type", "an event must be a JSON object"),))
    faults = _first(_rounded_ids(item))
    if is_suspicious or not _is_free_data_plain(item):
        faults += _first(_bad_values(_known_part(item, Event), "", 0))
    if faults:
        return _invalid(item, faults)
    try:
        event = Event.model_validate(item)
    except ValidationError as error:
        return _invalid(item, faults_of(error))
    unknown = _first(_unknown(event, ""))
    if unknown and is_strict:
        refused = tuple(Fault(where, "unknown_field", "is not a field of an event") for where in unknown)
        return _invalid(item, refused)
    return Parsed(
        event, tuple(Warn("unknown_field", where, "is not a field of an event; dropped") for where in unknown)
    )


def _invalid(item: Any, faults: tuple[Fault, ...]) -> Parsed:
    name = item.get("event_name") if isinstance(item, dict) else None
    return Parsed(None, faults=faults, name=name if isinstance(name, str) else "")


_PARTS: Mapping[str, type[BaseModel]] = {
    "user": UserData,
    "consent": Consent,
    "app": AppData,
    "custom_data": CustomData,
}
_ID_FIELDS = ("event_id", "transaction_id", "occurrence")
_CUSTOM_ID_FIELDS = ("order_id", "subscription_id")


def _rounded_ids(item: Mapping[str, Any]) -> Iterator[Fault]:
    """Ids sent as a number that is no whole one of 64 bits: it may have lost digits on the way to us."""
    custom = item.get("custom_data")
    for holder, where, fields in (
        (item, "", _ID_FIELDS),
        (item.get("user"), "/user", UserData.model_fields),
        (custom, "/custom_data", _CUSTOM_ID_FIELDS),
    ):
        if not isinstance(holder, dict):
            continue
        for field, value in holder.items():
            kind = type(value)
            if kind is str or kind is list or field not in fields:
                continue
            if kind is float or (kind is int and not -(2**63) <= value < 2**63):
                yield Fault(f"{where}/{field}", "out_of_range", "send an id this long, or with a fraction, as a string")


def _known_part(item: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """What of an object the model knows: the rest is dropped, so nothing in it matters."""
    known = {key: value for key, value in item.items() if key in model.model_fields}
    if model is Event:
        for key, part in _PARTS.items():
            if isinstance(known.get(key), dict):
                known[key] = _known_part(known[key], part)
    lines = known.get("contents")
    if isinstance(lines, list):
        known["contents"] = [_known_part(line, Content) if isinstance(line, dict) else line for line in lines]
    return known


def _is_free_data_plain(item: Mapping[str, Any]) -> bool:
    """Whether a close look at the event can be spared: every other field has a type that looks for itself."""
    custom = item.get("custom_data")
    properties = custom.get("properties") if isinstance(custom, dict) else None
    return properties is None or _is_plain(properties, 2)


def _is_plain(value: Any, depth: int) -> bool:
    """Whether a value that stands `depth` levels deep is sure to hold nothing `_bad_values` would find.

    orjson lets neither a NaN nor half a surrogate pair through, and a NUL makes the whole body suspicious.
    """
    kind: type[Any] = type(value)
    if kind is str or kind is float or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-(2**63) <= value < 2**63)
    if depth >= MAX_DEPTH:
        return False
    return all(_is_plain(inner, depth + 1) for inner in (value.values() if kind is dict else value))


def _first(found: Iterator[Any]) -> tuple[Any, ...]:
    return tuple(one for one, _ in zip(found, range(_WHERE_FAULTS_LIE), strict=False))


def _bad_values(value: Any, where: str, depth: int) -> Iterator[Fault]:
    """What no field may hold, wherever it stands."""
    if isinstance(value, str):
        if "\x00" in value:
            yield Fault(where, "invalid_characters", "must not hold a NUL character")
        elif not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            yield Fault(where, "invalid_characters", "holds half of a surrogate pair")
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield Fault(where, "not_a_number", "must be a finite number")
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63 and "/properties" in where:
            yield Fault(where, "out_of_range", "must fit 64 bits; send it as a string")
    elif depth >= MAX_DEPTH and isinstance(value, dict | list):
        yield Fault(where, "too_deep", f"may nest at most {MAX_DEPTH} levels")
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _bad_values(key, f"{where}/{shown_key(key)}", depth)
            yield from _bad_values(inner, f"{where}/{shown_key(key)}", depth + 1)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _bad_values(inner, f"{where}/{position}", depth + 1)


def _unknown(model: BaseModel, where: str) -> Iterator[str]:
    """The pointers of keys that are no fields."""
    for key in model.model_extra or ():
        yield f"{where}/{shown_key(key)}"
    if isinstance(model, Event):
        yield from _unknown(model.user, "/user")
        yield from _unknown(model.consent, "/consent")
        if model.app is not None:
            yield from _unknown(model.app, "/app")
        yield from _unknown(model.custom_data, "/custom_data")
        for position, line in enumerate(model.custom_data.contents or ()):
            yield from _unknown(line, f"/custom_data/contents/{position}")


def faults_of(error: ValidationError) -> tuple[Fault, ...]:
    """The faults pydantic found, one per place, without inputs."""
    faults: dict[str, Fault] = {}
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        # A field that takes one of several types adds the type it tried to the path: not a part of the pointer.
        parts = [part for part in each["loc"] if isinstance(part, int) or not re.search(r"[\[\]]|^constrained-", part)]
        where = "".join(f"/{shown_key(part)}" for part in parts)
        code = _CODES.get(each["type"], "invalid")
        # Where a field takes one of several types, the one that came closest says most.
        if where not in faults or (faults[where].code == "wrong_type" and code != "wrong_type"):
            faults[where] = Fault(where, code, _WORDS.get(each["type"], each["msg"]))
    return tuple(faults.values())[:_WHERE_FAULTS_LIE]


def shown_key(key: Any) -> str:
    """A key as a pointer may show it: one that looks like a field's name, else an ellipsis; it may be a value."""
    text = str(key)
    if isinstance(key, int) or (_PLAIN_KEY.fullmatch(text) and sum(c.isdigit() for c in text) < 7):
        return text
    return "…"
