"""City, state, postal code and country: the forms ct.1, st.1, st.2, zp.1-3 and co.1."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from typing import Any

from app.hashing import junk
from app.hashing.codes import Code
from app.hashing.options import DEFAULTS, HashingOptions
from app.hashing.text import ascii_digits, clean, compatible, letters, unaccented

LONGEST = 128


def _key(name: str) -> str:
    return letters(unaccented(name))


def _table(name: str) -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath(name).read_text(encoding="utf-8"))


_COUNTRIES: dict[str, str] = {
    _key(name): code.lower() for code, names in _table("countries.toml").items() for name in (code, *names)
}
_SUBDIVISIONS: dict[str, dict[str, list[str]]] = _table("subdivisions.toml")
_CODES = {country: frozenset(codes) for country, codes in _SUBDIVISIONS.items()}
_NAMES = {
    country: {_key(name): code for code, names in codes.items() for name in names}
    for country, codes in _SUBDIVISIONS.items()
}
_NAMES_ANYWHERE = {**_NAMES["ca"], **_NAMES["us"]}

_ISO_3166_2 = re.compile(r"([A-Za-z]{2})-([A-Za-z0-9]{1,3})")
_TWO_LETTERS = re.compile(r"[a-z]{2}")

_US_ZIP = frozenset({"us", "pr", "gu", "vi", "as", "mp"})
"""The United States and the territories in its postal system."""

_GB_ZIP = frozenset({"gb", "gg", "je", "im"})
_LETTERED_ZIP = frozenset(
    {"gb", "gg", "je", "im", "ie", "ca", "nl", "mt", "ar", "so", "ad", "bn", "bm", "gi", "sz", "ky"}
)
"""Countries whose postal codes have letters: digits alone name nothing there."""

_ZIP_PLUS4 = re.compile(r"[0-9]{5}-[0-9]{4}")
_GB_FULL = re.compile(r"[a-z]{1,2}[0-9][a-z0-9]?[0-9][a-z]{2}")


States = tuple[str, str | None, str | None]
"""st.1, st.2, and the code in lower case for US, CA and AU only: what privacy flags need."""

Zips = tuple[str, str, str | tuple[str, ...] | None]
"""zp.1, zp.2 and zp.3."""


def city(text: str) -> str | Code:
    """The form ct.1: lower case without blanks and punctuation; accents stay.

    Source: Meta, customer information parameters; Pinterest, api-description 5.23; Snapchat, Conversions API
    parameters. Read 2026-11-20. Documented (by Snapchat known second-hand); that digits stay is inferred.
    """
    cleaned = clean(text)
    if len(cleaned) > LONGEST:
        return Code.TOO_LONG
    if junk.is_junk(cleaned.lower()):
        return Code.JUNK_CITY
    return letters(cleaned) or Code.JUNK_CITY


def country(text: str) -> str | Code:
    """The form co.1: ISO 3166-1 alpha-2 in lower case, from the code, the alpha-3 code or a common name.

    Source: Meta, customer information parameters; Pinterest, api-description 5.23; Snapchat, Conversions API
    parameters. Read 2026-11-20. The code is documented, the table of names is ours.
    """
    known = _COUNTRIES.get(text.lower())
    if known:
        return known
    cleaned = clean(text)
    if len(cleaned) > LONGEST:
        return Code.TOO_LONG
    known = _COUNTRIES.get(_key(cleaned))
    if known and not junk.is_template(cleaned):
        return known
    return Code.JUNK_COUNTRY if junk.is_junk(cleaned.lower()) else Code.COUNTRY_UNKNOWN


def state(text: str, country: str | None, options: HashingOptions = DEFAULTS) -> States | Code:
    """The forms of a state. st.1: names of US states become codes, elsewhere the name without blanks and punctuation.

    st.2 is the two-letter code or nothing. Without a country, names of US states and Canadian provinces are known.

    Source: Meta, customer information parameters, and Snapchat, Conversions API parameters (st.1); Pinterest,
    api-description 5.23 (st.2). Read 2026-11-20. The US code is documented; the table of names, the cut prefix of
    ISO 3166-2 and what stands for non-US states at Snapchat are inferred.
    """
    cleaned = clean(text)
    if len(cleaned) > LONGEST:
        return Code.TOO_LONG
    if junk.is_junk(cleaned.lower()):
        return Code.JUNK_STATE
    prefixed = _ISO_3166_2.fullmatch(cleaned) if "-" in cleaned else None
    if prefixed:
        prefix = prefixed.group(1).lower()
        if prefix == country or (country is None and prefix in _CODES):
            country, cleaned = prefix, prefixed.group(2)
    compact = letters(cleaned)
    if not compact:
        return Code.JUNK_STATE
    codes = _CODES.get(country or "")
    if codes and compact in codes:
        return (compact, compact if len(compact) == 2 else None, compact)
    key = _key(compact)
    names = _NAMES_ANYWHERE if country is None else _NAMES.get(country)
    code = names.get(key) if names else None
    is_us_name = country in (None, "us") and key in _NAMES["us"]
    st1 = code if code and (is_us_name or options.map_provinces) else compact
    two = code or compact
    return (st1, two if _TWO_LETTERS.fullmatch(two) else None, code if country else None)


def zips(text: str, country: str | None, options: HashingOptions = DEFAULTS) -> Zips | Code:
    """The forms of a postal code.

    zp.1: lower case without blanks and dashes, in the US the first five; a US code that lost its leading zeros as a
    number gets them back. zp.2: in Great Britain without the last two letters. zp.3: digits only, where postal codes
    are all digits.

    Source: Meta, customer information parameters, and TikTok, parameters page (zp.1); Snapchat's WooCommerce plugin
    (zp.2); Pinterest, api-description 5.23 (zp.3). Read 2026-11-20. zp.1 is documented (by TikTok known second-hand),
    zp.2 read from Snapchat's code; digits only is documented, leaving out codes with letters is inferred.
    """
    cleaned = text if text.isascii() and text.isalnum() else ascii_digits(compatible(text))
    if len(cleaned) > LONGEST:
        return Code.TOO_LONG
    full = letters(cleaned)
    if not full:
        return Code.JUNK_ZIP if junk.is_junk(cleaned.lower()) else Code.ZIP_INVALID
    if full in junk.WORDS or (not cleaned.isalnum() and junk.is_junk(cleaned.lower())):
        return Code.JUNK_ZIP
    if full[0] in junk.ZIP_REPEATED_DIGITS and full == full[0] * len(full):
        return Code.JUNK_ZIP
    is_us = country in _US_ZIP
    if is_us and 3 <= len(full) <= 4 and full.isdigit():
        full = full.zfill(5)
    zp1 = full[:5] if is_us or (country is None and _ZIP_PLUS4.fullmatch(cleaned)) else full
    zp2 = zp1[:-2] if country in _GB_ZIP and _GB_FULL.fullmatch(zp1) else zp1
    return (zp1, zp2, _zp3(full, zp1, country, options))


def _zp3(full: str, zp1: str, country: str | None, options: HashingOptions) -> str | tuple[str, ...] | None:
    digits = full
    if not full.isascii() or not full.isdigit() or country in _LETTERED_ZIP:
        if options.zip_letters == "drop":
            return None
        digits = "".join(char for char in full if "0" <= char <= "9")
        return digits or None
    if zp1 == full or options.zip_plus4 == "keep":
        return digits
    return zp1 if options.zip_plus4 == "cut" else (digits, zp1)
