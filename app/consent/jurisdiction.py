"""Where the shopper is, as far as anyone said, and which kind of law holds there.

The lists are engineering defaults, not legal advice; those beyond EEA, United Kingdom and Switzerland are settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_SHAPE = re.compile(r"([A-Z]{2})(?:-([A-Z0-9]{1,3}))?", re.ASCII)

EEA: Final = frozenset(
    "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE IS LI NO".split()
)
"""The 27 states of the European Union with Iceland, Liechtenstein and Norway."""
ALWAYS_OPT_IN: Final = EEA | {"GB", "CH"}
"""No setting takes these out of the opt-in regime."""
_PART_OF: Final = {
    "EL": "GR",
    "UK": "GB",
    **dict.fromkeys(("GG", "JE", "IM"), "GB"),
    **dict.fromkeys(("GP", "MQ", "GF", "RE", "YT", "MF"), "FR"),
    "AX": "FI",
}
_QUEBEC: Final = frozenset({"QUEBEC", "QUÉBEC"})
_GROUPS: Final = {"EEA": "DE", "EU": "DE"}
"""Groups people write for a country; one of their members stands for all of them."""


class Regime(StrEnum):
    """Which kind of law holds: consent first; use until someone opts out; notice only; or nobody said where."""

    OPT_IN = "opt_in"
    NOTICE = "notice"
    OPT_OUT = "opt_out"
    UNKNOWN = "unknown"


_STRICTEST_FIRST: Final = (Regime.UNKNOWN, Regime.OPT_IN, Regime.NOTICE, Regime.OPT_OUT)


@dataclass(frozen=True, slots=True)
class Place:
    """A country, ISO 3166-1 alpha-2 in upper case, and a part of it, ISO 3166-2 without the country."""

    country: str
    region: str | None = None

    def __str__(self) -> str:
        """The place as an event writes it: US-CA."""
        return self.country if self.region is None else f"{self.country}-{self.region}"

    def is_in(self, listed: Set[str]) -> bool:
        """Whether a list of countries and `country-region` names this place.

        A country without a region is in the list when any of its regions is: which one it was is not known.
        """
        if self.country in listed:
            return True
        if self.region is None:
            return any(name.partition("-")[0] == self.country for name in listed)
        return f"{self.country}-{self.region}" in listed


def place(text: str | None) -> Place | None:
    """The place a code such as DE, US-CA or EEA names; None when it names none."""
    code = (text or "").strip().upper().replace("_", "-")
    match = _SHAPE.fullmatch(_GROUPS.get(code, code))
    if match is None or match[1] in {"XX", "ZZ"}:
        return None
    return Place(_PART_OF.get(match[1], match[1]), match[2])


def in_country(country: str, region: str | None) -> Place | None:
    """The place in a country (two letters, any case), with the region where that is a code or the name of Quebec."""
    code = (region or "").strip().upper()
    found = place(f"{country}-{'QC' if code in _QUEBEC else code}")
    return place(country) if found is None else found


def regime_of(where: Place, opt_in: Set[str], opt_out: Set[str]) -> Regime:
    """The regime of a place, under the lists of a configuration; `ALWAYS_OPT_IN` comes before both."""
    if where.country in ALWAYS_OPT_IN or where.is_in(opt_in):
        return Regime.OPT_IN
    return Regime.OPT_OUT if where.is_in(opt_out) else Regime.NOTICE


def settle(
    stated: Iterable[Place | None], default: Place | None, opt_in: Set[str], opt_out: Set[str]
) -> tuple[Regime, Place | None]:
    """The regime that holds for an event, and the place it comes from.

    `stated` has a place for everything the event says about where, None for what names no place. Several answers:
    the strictest of them. None at all: `default`. Neither: UNKNOWN.
    """
    places = list(stated) or [default]
    judged = [(Regime.UNKNOWN if each is None else regime_of(each, opt_in, opt_out), each) for each in places]
    return min(judged, key=lambda pair: _STRICTEST_FIRST.index(pair[0]))
