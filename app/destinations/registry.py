"""Finds the destinations: every module of this package that keeps a `DESTINATION`, and what installed packages offer.

A package offers one by an entry point of the group `convey.destinations`: its name is the destination's, its value the
`Destination` record. What cannot be used breaks nobody: it is known with the reason, and told to whoever configures it.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, NamedTuple

import app.destinations
from app.destinations.base import Destination, DestinationSettings

GROUP = "convey.destinations"

_NAME = re.compile("[a-z][a-z0-9_]{1,30}")


class Found(NamedTuple):
    """Every destination by name, in alphabetical order, and why the others cannot be used."""

    usable: Mapping[str, Destination[Any]]
    unusable: Mapping[str, str]


def destinations() -> Mapping[str, Destination[Any]]:
    """Every known kind of destination by name, in alphabetical order."""
    return found().usable


def unusable() -> Mapping[str, str]:
    """The destinations of installed packages that cannot be used, by name, with the reason in words."""
    return found().unusable


@cache
def found() -> Found:
    """What there is, looked for once per process."""
    usable = _own()
    broken: dict[str, str] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        offered = _offered(entry, usable)
        if isinstance(offered, str):
            broken[entry.name] = offered
        else:
            usable[entry.name] = offered
    return Found(MappingProxyType(dict(sorted(usable.items()))), MappingProxyType(broken))


def _own() -> dict[str, Destination[Any]]:
    own: dict[str, Destination[Any]] = {}
    for module in pkgutil.iter_modules(app.destinations.__path__):
        candidate = getattr(importlib.import_module(f"app.destinations.{module.name}"), "DESTINATION", None)
        if isinstance(candidate, Destination):
            own[candidate.name] = candidate
    return own


def _offered(entry: EntryPoint, known: Mapping[str, Destination[Any]]) -> Destination[Any] | str:
    """The destination an entry point offers, or why it cannot be used."""
    origin = f"the package {entry.dist.name}" if entry.dist is not None else "an installed package"
    if entry.name in known:
        return f"{origin} offers a second destination of this name"
    if _NAME.fullmatch(entry.name) is None:
        return f"{origin} offers a name that is none: use lower-case letters, digits and underscores"
    try:
        offered = entry.load()
    except Exception as error:
        return f"{origin} cannot be loaded ({entry.value}): {type(error).__name__}: {error}"
    if not isinstance(offered, Destination):
        return f"{origin} offers {entry.value}, which is no Destination"
    if offered.name != entry.name:
        return f"{origin} offers a destination that calls itself {offered.name!r}"
    if not (isinstance(offered.settings, type) and issubclass(offered.settings, DestinationSettings)):
        return f"{origin} offers settings that are no DestinationSettings"
    return offered
