"""Google Consent Mode: its states as booleans, and the `gcs` and `gcd` parameters of Google's requests.

Google does not document `gcs` and `gcd`; their reading here follows public decoders (analytics-debugger's sGTM
template, 2025-09) and is checked for consistency. `gcs` has two states only, so that it can never permit more than
storage. A value that fits no known form is malformed.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import Any

from app.consent.codes import Code, Malformed
from app.consent.flags import Flag, flag

_GCS = re.compile(r"G1([01-])([01-])", re.ASCII)
_GCD = re.compile(r"1((?:[0-9A-Za-z][0-9A-Za-z_-]){4})[0-9A-Za-z_-]*", re.ASCII)
_LETTERS = string.digits + string.ascii_lowercase + string.ascii_uppercase + "-_"
_UNSET, _DENIED, _GRANTED = 1, 2, 3


@dataclass(frozen=True, slots=True)
class State:
    """One consent state. `is_default` says that no user changed it: the page granted or refused it by itself."""

    flag: Flag
    is_default: bool = False


ABSENT = State(Flag.ABSENT)


@dataclass(frozen=True, slots=True)
class ConsentMode:
    """The states that matter to advertising. `is_storage_only`: the source cannot speak of the other two (gcs)."""

    ad_storage: State = ABSENT
    ad_user_data: State = ABSENT
    ad_personalization: State = ABSENT
    is_storage_only: bool = False


def decode_states(ad_storage: Any, ad_user_data: Any, ad_personalization: Any) -> ConsentMode | Malformed:
    """The three booleans of an event as states a user set, or that one of them is no boolean."""
    flags = flag(ad_storage), flag(ad_user_data), flag(ad_personalization)
    if Flag.MALFORMED in flags:
        return Malformed(Code.CM_MALFORMED)
    storage, user_data, personalization = flags
    return ConsentMode(State(storage), State(user_data), State(personalization))


def decode_gcs(value: Any) -> ConsentMode | Malformed:
    """What `gcs` says of ad_storage: the first digit after G1. The second is analytics_storage."""
    match = _GCS.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return Malformed(Code.CM_MALFORMED)
    said = {"1": Flag.YES, "0": Flag.NO}.get(match[1], Flag.ABSENT)
    return ConsentMode(ad_storage=State(said), is_storage_only=True)


def decode_gcd(value: Any) -> ConsentMode | Malformed:
    """What `gcd` says: a letter each for ad_storage, analytics_storage, ad_user_data and ad_personalization."""
    match = _GCD.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return Malformed(Code.CM_MALFORMED)
    states = [_state(letter) for letter in match[1][1::2]]
    if None in states:
        return Malformed(Code.CM_MALFORMED)
    storage, _, user_data, personalization = (state or ABSENT for state in states)
    return ConsentMode(storage, user_data, personalization)


def _state(letter: str) -> State | None:
    """What a letter says: its index has the default in bits 3 and 2, the user's own choice in bits 1 and 0."""
    index = _LETTERS.index(letter)
    default, update = index >> 2 & 3, index & 3
    if index >> 4 != 1 or not default or not update:
        return None
    if update != _UNSET:
        return State(Flag.YES if update == _GRANTED else Flag.NO)
    if default != _UNSET:
        return State(Flag.YES if default == _GRANTED else Flag.NO, is_default=True)
    return ABSENT
