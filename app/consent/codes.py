"""The codes of consent decisions: a closed, append-only list. They travel as `reason_detail` and in the proof.

Each code that denies belongs to one reason; a code that permits has none. What a malformed signal is malformed by is a
code of this list too.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.errors import Reason


class Code(StrEnum):
    """Why a decision is what it is, in the words of the signal that decided it."""

    # no signal that could decide
    NO_SIGNAL = "NO_SIGNAL"
    WRONG_REGIME_SIGNAL = "WRONG_REGIME_SIGNAL"
    REGIME_DEFAULT = "REGIME_DEFAULT"
    CHILD_NO_CONSENT = "CHILD_NO_CONSENT"
    JURISDICTION_UNKNOWN = "JURISDICTION_UNKNOWN"
    # purposes of the shop's own
    MAP_GRANTED = "MAP_GRANTED"
    MAP_DENIED = "MAP_DENIED"
    MAP_KEY_MISSING = "MAP_KEY_MISSING"
    MAP_MALFORMED = "MAP_MALFORMED"
    # Google's consent states: the three booleans, gcs, gcd
    CM_GRANTED = "CM_GRANTED"
    CM_GRANTED_NO_PERSONALIZATION = "CM_GRANTED_NO_PERSONALIZATION"
    CM_DENIED = "CM_DENIED"
    CM_DEFAULT_ONLY = "CM_DEFAULT_ONLY"
    CM_UNSET = "CM_UNSET"
    CM_MALFORMED = "CM_MALFORMED"
    # TC string
    TCF_GRANTED = "TCF_GRANTED"
    TCF_GRANTED_NO_PERSONALIZATION = "TCF_GRANTED_NO_PERSONALIZATION"
    TCF_PURPOSE_DENIED = "TCF_PURPOSE_DENIED"
    TCF_VENDOR_DENIED = "TCF_VENDOR_DENIED"
    TCF_VENDOR_NOT_DISCLOSED = "TCF_VENDOR_NOT_DISCLOSED"
    TCF_PUBLISHER_RESTRICTION = "TCF_PUBLISHER_RESTRICTION"
    TCF_NO_VENDOR_BASIS = "TCF_NO_VENDOR_BASIS"
    TCF_NOT_SERVICE_SPECIFIC = "TCF_NOT_SERVICE_SPECIFIC"
    TCF_POLICY_OBSOLETE = "TCF_POLICY_OBSOLETE"
    TCF_FROM_FUTURE = "TCF_FROM_FUTURE"
    TCF_STALE = "TCF_STALE"
    TCF_DISCLOSED_SEGMENT_MISSING = "TCF_DISCLOSED_SEGMENT_MISSING"
    TCF_EMPTY = "TCF_EMPTY"
    TCF_TOO_LONG = "TCF_TOO_LONG"
    TCF_BAD_ALPHABET = "TCF_BAD_ALPHABET"
    TCF_UNSUPPORTED_VERSION = "TCF_UNSUPPORTED_VERSION"
    TCF_TRUNCATED = "TCF_TRUNCATED"
    TCF_RANGE_INVALID = "TCF_RANGE_INVALID"
    TCF_DUPLICATE_SEGMENT = "TCF_DUPLICATE_SEGMENT"
    # Google Additional Consent
    AC_GRANTED = "AC_GRANTED"
    AC_DENIED = "AC_DENIED"
    AC_ABSENT = "AC_ABSENT"
    AC_MALFORMED = "AC_MALFORMED"
    # OneTrust groups
    OT_GRANTED = "OT_GRANTED"
    OT_DENIED = "OT_DENIED"
    OT_NO_INTERACTION = "OT_NO_INTERACTION"
    OT_MALFORMED = "OT_MALFORMED"
    # Shopify's customer privacy
    SHOPIFY_GRANTED = "SHOPIFY_GRANTED"
    SHOPIFY_DENIED = "SHOPIFY_DENIED"
    SHOPIFY_MALFORMED = "SHOPIFY_MALFORMED"
    # global privacy control
    GRANTED_GPC_PRESENT = "GRANTED_GPC_PRESENT"
    GPC = "GPC"
    GPC_MALFORMED = "GPC_MALFORMED"
    CHILD_MALFORMED = "CHILD_MALFORMED"
    # US signals: GPP's US sections, US Privacy, and their absence
    US_NOT_OPTED_OUT = "US_NOT_OPTED_OUT"
    US_OPTED_OUT = "US_OPTED_OUT"
    US_GPC_OPT_OUT = "US_GPC_OPT_OUT"
    US_NO_NOTICE = "US_NO_NOTICE"
    US_NOT_APPLICABLE = "US_NOT_APPLICABLE"
    US_SERVICE_PROVIDER_MODE = "US_SERVICE_PROVIDER_MODE"
    US_NO_SIGNAL = "US_NO_SIGNAL"
    USP_MALFORMED = "USP_MALFORMED"
    GPP_EMPTY = "GPP_EMPTY"
    GPP_TOO_LONG = "GPP_TOO_LONG"
    GPP_BAD_HEADER = "GPP_BAD_HEADER"
    GPP_BAD_ALPHABET = "GPP_BAD_ALPHABET"
    GPP_SECTION_COUNT = "GPP_SECTION_COUNT"
    GPP_SECTION_EMPTY = "GPP_SECTION_EMPTY"
    GPP_TRUNCATED = "GPP_TRUNCATED"
    GPP_RESERVED_VALUE = "GPP_RESERVED_VALUE"
    GPP_UNSUPPORTED_SECTION_VERSION = "GPP_UNSUPPORTED_SECTION_VERSION"
    GPP_BAD_USP = "GPP_BAD_USP"
    GPP_RANGE_INVALID = "GPP_RANGE_INVALID"
    # Canada's section of a GPP string
    TCFCA_GRANTED = "TCFCA_GRANTED"
    TCFCA_DENIED = "TCFCA_DENIED"
    # several signals, their age, and what a platform cannot do
    SIGNALS_CONTRADICT = "SIGNALS_CONTRADICT"
    SIGNAL_STALE = "SIGNAL_STALE"
    COLLECTED_AT_MALFORMED = "COLLECTED_AT_MALFORMED"
    LIMITED_UNSUPPORTED = "LIMITED_UNSUPPORTED"
    CONSENT_WITHDRAWN = "CONSENT_WITHDRAWN"
    SUBJECT_ERASED = "SUBJECT_ERASED"


@dataclass(frozen=True, slots=True)
class Malformed:
    """A signal that was sent and cannot be read. It never permits anything; `kind` says what is wrong with it."""

    kind: Code


GRANTS = frozenset(
    {
        Code.MAP_GRANTED,
        Code.CM_GRANTED,
        Code.TCF_GRANTED,
        Code.AC_GRANTED,
        Code.OT_GRANTED,
        Code.SHOPIFY_GRANTED,
        Code.TCFCA_GRANTED,
        Code.GRANTED_GPC_PRESENT,
        Code.US_NOT_OPTED_OUT,
    }
)
"""The codes under which an event goes out without a limit."""

_MISSING = frozenset({Code.NO_SIGNAL, Code.WRONG_REGIME_SIGNAL, Code.REGIME_DEFAULT, Code.CHILD_NO_CONSENT})
_PURPOSE = frozenset({Code.TCF_PURPOSE_DENIED, Code.TCF_GRANTED_NO_PERSONALIZATION, Code.TCFCA_DENIED})
_VENDOR = frozenset(
    {
        Code.TCF_VENDOR_DENIED,
        Code.TCF_VENDOR_NOT_DISCLOSED,
        Code.TCF_PUBLISHER_RESTRICTION,
        Code.TCF_NO_VENDOR_BASIS,
        Code.AC_DENIED,
        Code.AC_ABSENT,
    }
)
_GPC = frozenset({Code.GPC, Code.US_GPC_OPT_OUT})
_WITHDRAWN = frozenset({Code.CONSENT_WITHDRAWN, Code.SUBJECT_ERASED})


def reason_of(code: Code) -> Reason | None:
    """The reason an event is denied for where `code` decided so; None for a code that permits."""
    if code in GRANTS or code is Code.JURISDICTION_UNKNOWN:
        return None
    for codes, reason in (
        (_MISSING, Reason.CONSENT_MISSING),
        (_PURPOSE, Reason.CONSENT_PURPOSE_MISSING),
        (_VENDOR, Reason.CONSENT_VENDOR_MISSING),
        (_GPC, Reason.GPC_OPT_OUT),
        (_WITHDRAWN, Reason.CONSENT_WITHDRAWN),
    ):
        if code in codes:
            return reason
    if code is Code.SIGNALS_CONTRADICT:
        return Reason.SIGNALS_CONTRADICT
    if code is Code.LIMITED_UNSUPPORTED or (code.startswith("US_")):
        return Reason.US_OPT_OUT
    if code.startswith(("MAP_", "CM_", "OT_", "SHOPIFY_")) and not code.endswith("_MALFORMED"):
        return Reason.CONSENT_PURPOSE_MISSING
    return Reason.SIGNAL_MALFORMED
