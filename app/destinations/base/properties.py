"""Custom properties in a platform's own fields: types made exact, what does not fit left out with a warning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from app.destinations.base.contract import Convert, MappedSettings
from app.model import HashedEvent, Warn

_AMOUNT = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,6})?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def as_text(value: Any) -> str | None:
    """A text; numbers become their digits."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def at_most(length: int) -> Convert:
    """A text of bounded length."""

    def convert(value: Any) -> str | None:
        text = as_text(value)
        return text if text is not None and len(text) <= length else None

    return convert


def as_amount_text(value: Any) -> str | None:
    """A plain decimal number in a text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        text = format(Decimal(str(value).strip()), "f")
    except (InvalidOperation, ValueError):
        return None
    return text if _AMOUNT.fullmatch(text) else None


def as_amount(value: Any) -> orjson.Fragment | None:
    """A number with the caller's digits."""
    text = as_amount_text(value)
    return None if text is None else orjson.Fragment(text)


def as_whole(value: Any) -> int | None:
    """A whole number, given as one or as digits."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def as_flag(value: Any) -> bool | None:
    """A truth value, given as one, as 0 or 1, or as the words true and false."""
    if isinstance(value, bool):
        return value
    return {0: False, 1: True, "true": True, "false": False}.get(value) if isinstance(value, int | str) else None


def as_texts(value: Any) -> list[str] | None:
    """A list of texts; one text is a list of one."""
    found = value if isinstance(value, list) else [value]
    texts = [text for item in found if (text := as_text(item)) is not None]
    return texts if texts and len(texts) == len(found) else None


def as_day(value: Any) -> str | None:
    """A day, YYYY-MM-DD."""
    return value if isinstance(value, str) and _DAY.fullmatch(value) else None


def one_of(*words: str) -> Convert:
    """One of these words, in whatever case it is given."""
    known = {word.lower(): word for word in words}
    return lambda value: known.get(value.strip().lower()) if isinstance(value, str) else None


def assigned(record: dict[str, Any], event: HashedEvent, settings: MappedSettings) -> dict[str, Any]:
    """`record` with the fields that custom properties fill. What an event's own field says wins."""
    if not settings.field_properties or not event.custom_data.properties:
        return record
    for path, name in settings.field_properties.items():
        value = settings.assignable[path](event.custom_data.properties.get(name))
        if value is None:
            continue
        part, _, key = path.rpartition(".")
        place = record.setdefault(part, {}) if part else record
        place.setdefault(key, value)
    return record


def unassigned(event: HashedEvent, settings: MappedSettings) -> Mapping[str, Any]:
    """The custom properties that `field_properties` does not name."""
    properties = event.custom_data.properties
    if not settings.field_properties:
        return properties
    named = set(settings.field_properties.values())
    return {key: value for key, value in properties.items() if key not in named}


def misfits(event: HashedEvent, settings: MappedSettings) -> list[Warn]:
    """A warning for each property that does not fit the field it is meant for."""
    properties = event.custom_data.properties
    return [
        Warn("property_misfit", f"/custom_data/properties/{name}", f"does not fit {path}: left out there")
        for path, name in settings.field_properties.items()
        if properties.get(name) is not None and settings.assignable[path](properties[name]) is None
    ]
