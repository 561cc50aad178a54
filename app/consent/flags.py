"""Plain yes-or-no signals, and the shop's own map of purposes. Nothing but true and false counts as an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.consent.codes import Code, Malformed

MAX_KEYS = 64
MAX_KEY_CHARS = 64


class Flag(StrEnum):
    """What one boolean of the event says. Anything but true, false and null is MALFORMED, never consent."""

    YES = "yes"
    NO = "no"
    ABSENT = "absent"
    MALFORMED = "malformed"


def flag(value: Any) -> Flag:
    """What a boolean says."""
    if value is True:
        return Flag.YES
    if value is False:
        return Flag.NO
    return Flag.ABSENT if value is None else Flag.MALFORMED


def gpc_flag(value: Any) -> Flag:
    """What a browser's global privacy control says: JavaScript's boolean, the 1 of `Sec-GPC`, or that in words."""
    if isinstance(value, str) or type(value) is int:
        value = {"1": True, "true": True, "0": False, "false": False}.get(str(value).strip(), value)
    return flag(value)


@dataclass(frozen=True, slots=True)
class PurposeMap:
    """The shop's own purposes, each allowed or refused."""

    allowed: Mapping[str, bool]


def decode_purposes(value: Any) -> PurposeMap | Malformed:
    """The map, or that it is none: `"true"`, 1 and null are no answers, and one of them spoils the whole map."""
    if not isinstance(value, Mapping) or len(value) > MAX_KEYS:
        return Malformed(Code.MAP_MALFORMED)
    for key, answer in value.items():
        if not isinstance(key, str) or len(key) > MAX_KEY_CHARS or not isinstance(answer, bool):
            return Malformed(Code.MAP_MALFORMED)
    return PurposeMap(dict(value))
