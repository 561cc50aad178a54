"""Reads US Privacy strings: four characters of the IAB's older standard for California, such as 1YNN.

Source: IAB USPrivacy repository, version 1: version, notice given, opted out of sale, covered by the LSPA.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.consent.codes import Code, Malformed

_SHAPE = re.compile(r"1([YN-])([YN-])([YN-])", re.ASCII)


@dataclass(frozen=True, slots=True)
class UsPrivacy:
    """What a US Privacy string says: each field is Y, N, or - where the law does not apply."""

    notice: str
    opt_out_sale: str
    lspa: str


def decode_us_privacy(text: str) -> UsPrivacy | Malformed:
    """What the string says, or that it cannot be read. Lower case is not the format and is not repaired."""
    match = _SHAPE.fullmatch(text.strip())
    return UsPrivacy(*match.groups()) if match else Malformed(Code.USP_MALFORMED)


def stance_of(privacy: UsPrivacy) -> Code:
    """What it means for a sale: opted out, not opted out after notice, or neither for want of notice or application."""
    if privacy.opt_out_sale == "Y":
        return Code.US_OPTED_OUT
    if privacy.notice == "-" and privacy.opt_out_sale == "-":
        return Code.US_NOT_APPLICABLE
    if privacy.notice != "Y":
        return Code.US_NO_NOTICE
    return Code.US_NOT_OPTED_OUT if privacy.opt_out_sale == "N" else Code.US_NOT_APPLICABLE
