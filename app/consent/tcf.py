"""Decodes TC strings of IAB Europe's Transparency & Consent Framework, 2.2 to 2.4, strictly.

Layout: "Consent string and vendor list formats v2", IAB Tech Lab, as of 2026-02-26 (2.4 left it unchanged). A core
segment, then segments that say their own type; ranges of vendors are kept as ranges, so that no string can make
decoding slow. What cannot be read whole is `Malformed`: there is no partial consent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.consent.bits import (
    MAX_CHARS,
    BadRange,
    Bits,
    PastEnd,
    Ranges,
    Unreadable,
    fixed_ranges,
    has_id,
    is_in,
)
from app.consent.codes import Code, Malformed
from app.model import from_epoch

PURPOSES = 24
SPECIAL_FEATURES = 12

LEAST_POLICY_VERSION = 4
"""TCF 2.2; strings under older policies are obsolete since 2023-09-30 (IAB Europe)."""
DISCLOSURE_NEEDED_FROM = datetime(2026, 3, 1, tzinfo=UTC)
"""From then on a string without the disclosed-vendors segment is invalid (TCF 2.3 transition, read second-hand)."""
MAX_AGE = timedelta(days=395)
"""Thirteen months: the specification has users reminded of their choice at least that often."""
CLOCK_LEEWAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class VendorSet:
    """The vendors whose bit is 1: a run of `max_id` bits, or ranges."""

    max_id: int
    bits: int | None
    ranges: Ranges = ()

    def __contains__(self, vendor: int) -> bool:
        """Whether the vendor's bit is 1."""
        if self.bits is None:
            return is_in(self.ranges, vendor)
        return has_id(self.bits, self.max_id, vendor)


@dataclass(frozen=True, slots=True)
class Restriction:
    """What the publisher forbids or demands of some vendors for one purpose.

    `kind`: 0 not allowed, 1 consent required, 2 legitimate interest required; 3 is undefined and taken as 0.
    """

    purpose: int
    kind: int
    vendors: Ranges


@dataclass(frozen=True, slots=True)
class PublisherChoices:
    """The publisher's own segment, as bit masks. It speaks for the publisher, not for vendors, and decides nothing."""

    consents: int
    legitimate_interests: int
    custom_count: int
    custom_consents: int
    custom_legitimate_interests: int


@dataclass(frozen=True, slots=True)
class TcString:
    """What a TC string says. Purposes and special features are bit masks, the first of them leftmost."""

    created: datetime
    last_updated: datetime
    cmp_id: int
    cmp_version: int
    consent_screen: int
    consent_language: str
    vendor_list_version: int
    policy_version: int
    is_service_specific: bool
    uses_non_standard_texts: bool
    special_feature_opt_ins: int
    purpose_consents: int
    purpose_legitimate_interests: int
    purpose_one_treatment: bool
    publisher_country: str
    vendor_consents: VendorSet
    vendor_legitimate_interests: VendorSet
    restrictions: tuple[Restriction, ...]
    disclosed_vendors: VendorSet | None
    publisher: PublisherChoices | None

    def has_purpose(self, purpose: int) -> bool:
        """Whether the user consented to the purpose. Legitimate interest is no consent and is never looked at."""
        return has_id(self.purpose_consents, PURPOSES, purpose)

    def is_restricted(self, purpose: int, vendor: int) -> bool:
        """Whether the publisher withholds the purpose, on the basis of consent, from the vendor."""
        return any(
            rule.purpose == purpose and rule.kind != _CONSENT_REQUIRED and is_in(rule.vendors, vendor)
            for rule in self.restrictions
        )


_CONSENT_REQUIRED = 1
_DISCLOSED, _PUBLISHER = 1, 3
_VERSION = 2


def decode_tcf(text: str) -> TcString | Malformed:
    """What a TC string says, or why it cannot be read. Blanks around it are dropped, nothing else is repaired."""
    text = text.strip()
    if not text:
        return Malformed(Code.TCF_EMPTY)
    if len(text) > MAX_CHARS:
        return Malformed(Code.TCF_TOO_LONG)
    try:
        core, *others = [Bits(segment) for segment in text.split(".")]
        if core.number(6) != _VERSION:
            return Malformed(Code.TCF_UNSUPPORTED_VERSION)
        return _read(core, others)
    except Unreadable:
        return Malformed(Code.TCF_BAD_ALPHABET)
    except PastEnd:
        return Malformed(Code.TCF_TRUNCATED)
    except BadRange:
        return Malformed(Code.TCF_RANGE_INVALID)


def _read(core: Bits, others: list[Bits]) -> TcString | Malformed:
    number, flag = core.number, core.flag
    head = (
        _instant(number(36)),
        _instant(number(36)),
        number(12),
        number(12),
        number(6),
        core.letters(),
        number(12),
        number(6),
        flag(),
        flag(),
        number(SPECIAL_FEATURES),
        number(PURPOSES),
        number(PURPOSES),
        flag(),
        core.letters(),
        _vendors(core),
        _vendors(core),
        _restrictions(core),
    )
    disclosed: VendorSet | None = None
    publisher: PublisherChoices | None = None
    for segment in others:
        kind = segment.number(3)
        if kind == _DISCLOSED:
            if disclosed is not None:
                return Malformed(Code.TCF_DUPLICATE_SEGMENT)
            disclosed = _vendors(segment)
        elif kind == _PUBLISHER:
            publisher = _publisher(segment)
    return TcString(*head, disclosed, publisher)


def _instant(deciseconds: int) -> datetime:
    return from_epoch(deciseconds / 10)


def _vendors(bits: Bits) -> VendorSet:
    max_id = bits.number(16)
    if bits.flag():
        return VendorSet(max_id, None, fixed_ranges(bits, max_id))
    return VendorSet(max_id, bits.number(max_id))


def _restrictions(bits: Bits) -> tuple[Restriction, ...]:
    count = bits.number(12)
    if count * 20 > bits.left:  # purpose 6, type 2, count of entries 12
        raise PastEnd
    return tuple(Restriction(bits.number(6), bits.number(2), fixed_ranges(bits, None)) for _ in range(count))


def _publisher(bits: Bits) -> PublisherChoices:
    consents, interests, custom = bits.number(PURPOSES), bits.number(PURPOSES), bits.number(6)
    return PublisherChoices(consents, interests, custom, bits.number(custom), bits.number(custom))


def invalidity(tc: TcString, now: datetime) -> Code | None:
    """Why a string that can be read must not be relied on at `now`; None when it may be.

    A policy version higher than any known is taken: the layout is fixed by the version of the string.
    """
    if not tc.is_service_specific:
        return Code.TCF_NOT_SERVICE_SPECIFIC
    if tc.policy_version < LEAST_POLICY_VERSION:
        return Code.TCF_POLICY_OBSOLETE
    if tc.last_updated > now + CLOCK_LEEWAY:
        return Code.TCF_FROM_FUTURE
    if tc.last_updated < now - MAX_AGE:
        return Code.TCF_STALE
    if tc.disclosed_vendors is None and tc.last_updated >= DISCLOSURE_NEEDED_FROM:
        return Code.TCF_DISCLOSED_SEGMENT_MISSING
    return None


def lacking(tc: TcString, vendor: int | None, purposes: frozenset[int]) -> Code | None:
    """What the vendor lacks to rely on consent for all these purposes; None when it lacks nothing.

    A purpose counts when its own bit and the vendor's bit are 1, the vendor was disclosed (where the string says who
    was) and the publisher does not restrict it. `vendor` None asks about the purposes alone.
    """
    if vendor is not None:
        if vendor not in tc.vendor_consents:
            return Code.TCF_VENDOR_DENIED
        if tc.disclosed_vendors is not None and vendor not in tc.disclosed_vendors:
            return Code.TCF_VENDOR_NOT_DISCLOSED
    if not all(tc.has_purpose(purpose) for purpose in purposes):
        return Code.TCF_PURPOSE_DENIED
    if vendor is not None and any(tc.is_restricted(purpose, vendor) for purpose in purposes):
        return Code.TCF_PUBLISHER_RESTRICTION
    return None
