"""Reads OneTrust's groups: the `OptanonConsent` cookie, its `groups` alone, the page's list of active groups, or JSON.

Groups are a tenant's own (C0004 is "targeting" by default), so which of them a destination needs is configuration. On
banners that opt people out, groups are on before anyone was asked; the cookie's `interactionCount` tells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

from app.consent.codes import Code, Malformed
from app.consent.flags import Flag, gpc_flag

MAX_CHARS = 16_384
MAX_GROUPS = 200
_GROUP = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_MALFORMED = Malformed(Code.OT_MALFORMED)


@dataclass(frozen=True, slots=True)
class OneTrustGroups:
    """Each group, on or off. `interactions` is how often the user answered the banner; None when nothing says.

    `is_active_list` says that the source names the active groups only, so that a group it does not name is off.
    """

    groups: Mapping[str, bool]
    interactions: int | None = None
    is_gpc: bool = False
    is_active_list: bool = False

    def get(self, group: str) -> bool | None:
        """Whether the group is on; None when the source does not speak of it."""
        return self.groups.get(group, False if self.is_active_list else None)


def decode_onetrust(value: Any) -> OneTrustGroups | Malformed:
    """What was sent of OneTrust's, in any of its shapes, or that it is none of them."""
    if isinstance(value, str):
        return _from_text(value.strip()) if len(value) <= MAX_CHARS else _MALFORMED
    if isinstance(value, list):
        return _active(value)
    if isinstance(value, Mapping):
        if "groups" in value:
            return _from_cookie({key: value.get(key) for key in ("groups", "interactionCount", "isGpcEnabled")})
        return _from_map(value)
    return _MALFORMED


def _from_text(text: str) -> OneTrustGroups | Malformed:
    if "groups=" in text:
        try:
            fields = parse_qs(text, strict_parsing=True, max_num_fields=100)
        except ValueError:
            return _MALFORMED
        if any(len(values) > 1 for values in fields.values()):
            return _MALFORMED
        return _from_cookie({name: values[0] for name, values in fields.items()})
    text = unquote(text)
    if ":" in text:
        return _from_pairs(text)
    return _active([name for name in text.split(",") if name]) if text else _MALFORMED


def _from_cookie(fields: Mapping[str, Any]) -> OneTrustGroups | Malformed:
    groups = fields.get("groups")
    found = _from_pairs(groups) if isinstance(groups, str) else _from_map(groups)
    count = _count(fields.get("interactionCount"))
    control = gpc_flag(fields.get("isGpcEnabled"))
    if isinstance(found, Malformed) or isinstance(count, Malformed) or control is Flag.MALFORMED:
        return _MALFORMED
    return OneTrustGroups(found.groups, count, control is Flag.YES)


def _from_pairs(text: str) -> OneTrustGroups | Malformed:
    """`C0001:1,C0004:0`. A group named twice with two answers is malformed."""
    groups: dict[str, bool] = {}
    for pair in text.strip(",").split(","):
        name, _, answer = pair.partition(":")
        if answer not in {"0", "1"} or groups.get(name, answer == "1") is not (answer == "1"):
            return _MALFORMED
        groups[name] = answer == "1"
    return _from_map(groups)


def _from_map(value: Any) -> OneTrustGroups | Malformed:
    if not isinstance(value, Mapping) or not value or len(value) > MAX_GROUPS:
        return _MALFORMED
    if not all(isinstance(name, str) and _GROUP.fullmatch(name) for name in value):
        return _MALFORMED
    if not all(isinstance(answer, bool) for answer in value.values()):
        return _MALFORMED
    return OneTrustGroups(dict(value))


def _active(names: list[Any]) -> OneTrustGroups | Malformed:
    if len(names) > MAX_GROUPS or not all(isinstance(name, str) and _GROUP.fullmatch(name) for name in names):
        return _MALFORMED
    return OneTrustGroups(dict.fromkeys(names, True), is_active_list=True)


def _count(value: Any) -> int | Malformed | None:
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value, re.ASCII):
        return int(value)
    return value if type(value) is int and value >= 0 else _MALFORMED
