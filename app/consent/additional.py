"""Decodes Google's Additional Consent string: vendors that are on Google's list of ad technology providers only.

Source: Google, "Google's Additional Consent technical specification" (support answer 9681920): `2~ids~dv.ids`, the
version, the providers consented to, and those disclosed without consent. Version 1 was `1~ids`. It is valid only beside
a TC string.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from app.consent.bits import MAX_CHARS
from app.consent.codes import Code, Malformed

_IDS = r"(?:[1-9][0-9]{0,4}(?:\.[1-9][0-9]{0,4})*)?"
_SHAPE = re.compile(rf"(?:1~({_IDS})|2~({_IDS})~dv((?:\.{_IDS})?))", re.ASCII)
_LARGEST_ID = 65_535


@dataclass(frozen=True, slots=True)
class AdditionalConsent:
    """The providers a user consented to, and those shown to the user without consent, by id."""

    consented: frozenset[int]
    disclosed: frozenset[int]


def decode_additional(value: Any) -> AdditionalConsent | Malformed:
    """What the string says, or that it cannot be read; an id in both lists is a contradiction in itself."""
    match = _SHAPE.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= MAX_CHARS else None
    if match is None:
        return Malformed(Code.AC_MALFORMED)
    consented, disclosed = _ids(match[1] or match[2] or ""), _ids((match[3] or "").removeprefix("."))
    if consented & disclosed or max(consented | disclosed, default=0) > _LARGEST_ID:
        return Malformed(Code.AC_MALFORMED)
    return AdditionalConsent(consented, disclosed)


def _ids(text: str) -> frozenset[int]:
    return frozenset(int(number) for number in text.split(".")) if text else frozenset()
