"""Finds the destinations: every module of this package that keeps a `DESTINATION`."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import MappingProxyType
from typing import Any

import app.destinations
from app.destinations.base import Destination


@cache
def destinations() -> MappingProxyType[str, Destination[Any]]:
    """Every known kind of destination by name, in alphabetical order."""
    found: dict[str, Destination[Any]] = {}
    for module in sorted(pkgutil.iter_modules(app.destinations.__path__), key=lambda info: info.name):
        candidate = getattr(importlib.import_module(f"app.destinations.{module.name}"), "DESTINATION", None)
        if isinstance(candidate, Destination):
            found[candidate.name] = candidate
    return MappingProxyType(found)
