"""Decodes the Canadian TCF section of a GPP string (tcfca, version 1).

Source: IAB Global-Privacy-Platform repository, Sections, as of 2025-12-17. Vendor lists are bits or ranges; the ranges
are in Fibonacci coding in today's encoders and in fixed ids in older ones, and nothing says which. Only one reading can
end at the largest id the list states, so that one is taken, and a list that fits neither is malformed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.consent.bits import BadRange, Bits, PastEnd, Ranges, fibonacci_ranges, fixed_ranges
from app.consent.codes import Code, Malformed
from app.consent.tcf import PURPOSES, SPECIAL_FEATURES, VendorSet
from app.model import from_epoch

_VERSION = 1
_DISCLOSED = 1


@dataclass(frozen=True, slots=True)
class TcfCanada:
    """What the section says. Purposes are bit masks, the first leftmost; no disclosed list means nobody was named."""

    created: datetime
    last_updated: datetime
    cmp_id: int
    consent_language: str
    vendor_list_version: int
    policy_version: int
    express_purposes: int
    implied_purposes: int
    express_vendors: VendorSet
    implied_vendors: VendorSet
    disclosed_vendors: VendorSet | None


def decode_tcf_canada(text: str) -> TcfCanada | Malformed:
    """What a tcfca section says, or why it cannot be read.

    Raises: bits.Unreadable, bits.PastEnd, bits.BadRange.
    """
    core, *segments = [Bits(segment) for segment in text.split(".")]
    number = core.number
    if number(6) != _VERSION:
        return Malformed(Code.GPP_UNSUPPORTED_SECTION_VERSION)
    created, last_updated = from_epoch(number(36) / 10), from_epoch(number(36) / 10)
    cmp_id = number(12)
    core.place += 12 + 6  # version of the consent platform, screen
    language, list_version, policy_version = core.letters(), number(12), number(6)
    core.place += 1 + SPECIAL_FEATURES  # non-standard stacks, special features
    express, implied = number(PURPOSES), number(PURPOSES)
    express_vendors, implied_vendors = _vendors(core), _vendors(core)
    disclosed: VendorSet | None = None
    for segment in segments:
        if segment.number(3) == _DISCLOSED:
            disclosed = _vendors(segment)
    return TcfCanada(
        created,
        last_updated,
        cmp_id,
        language,
        list_version,
        policy_version,
        express,
        implied,
        express_vendors,
        implied_vendors,
        disclosed,
    )


def _vendors(bits: Bits) -> VendorSet:
    max_id = bits.number(16)
    if not bits.flag():
        return VendorSet(max_id, bits.number(max_id))
    start = bits.place
    try:
        return VendorSet(max_id, None, _ending_at(max_id, fibonacci_ranges(bits, max_id)))
    except (PastEnd, BadRange):
        bits.place = start
        return VendorSet(max_id, None, _ending_at(max_id, fixed_ranges(bits, max_id)))


def _ending_at(max_id: int, ranges: Ranges) -> Ranges:
    if max((last for _, last in ranges), default=0) != max_id:
        raise BadRange
    return ranges
