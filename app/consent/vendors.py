"""Which platform is on which consent list, from dated data (`vendors.toml`)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from importlib.resources import files
from typing import Any

MAX_AGE_DAYS = 180
"""How old the look at the lists may be before a test fails: they change every week."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """One platform on the lists: its ids, None where it has none, and what was found."""

    gvl_id: int | None
    ac_id: int | None
    note: str


@dataclass(frozen=True, slots=True)
class Vendors:
    """What the lists said on one day, by the platform's name."""

    checked_on: date
    by_platform: Mapping[str, Vendor]

    def of(self, platform: str) -> Vendor:
        """The platform on the lists; one that nobody looked up is on none."""
        return self.by_platform.get(platform, Vendor(None, None, "not looked up"))


@lru_cache(maxsize=1)
def vendors() -> Vendors:
    """The data that ships with this version."""
    read: dict[str, Any] = tomllib.loads(files("app.consent").joinpath("vendors.toml").read_text("utf-8"))
    return Vendors(
        read["checked_on"],
        {
            name: Vendor(entry.get("gvl_id"), entry.get("ac_id"), entry.get("note") or entry["gvl_name"])
            for name, entry in read.items()
            if isinstance(entry, dict)
        },
    )
