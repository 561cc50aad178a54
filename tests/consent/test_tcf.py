"""TC strings: the vectors, and what makes one invalid."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from app.consent.bits import MAX_CHARS, ids_of, is_in
from app.consent.codes import Code, Malformed
from app.consent.tcf import PURPOSES, TcString, VendorSet, decode_tcf, invalidity, lacking
from tests.consent.support import pack, vectors

VECTORS = vectors("tcf")
EVALUATED_AT = datetime(2026, 11, 20, tzinfo=UTC)
GOOGLE = 755


def named(kind: str) -> Any:
    """The vectors of one kind, by name."""
    return pytest.mark.parametrize("vector", VECTORS[kind], ids=lambda vector: vector["name"])


def decoded(text: str) -> TcString:
    """A string that must decode."""
    found = decode_tcf(text)
    assert isinstance(found, TcString), found
    return found


def ranges_of(vendors: VendorSet) -> list[list[int]]:
    """The vendors of a set as the vectors write them: merged, inclusive pairs."""
    ids = [
        *(ids_of(vendors.bits, vendors.max_id) if vendors.bits is not None else ()),
        *(number for first, last in vendors.ranges for number in range(first, last + 1)),
    ]
    pairs: list[list[int]] = []
    for number in ids:
        if pairs and number == pairs[-1][1] + 1:
            pairs[-1][1] = number
        else:
            pairs.append([number, number])
    return pairs


def set_facts(vendors: VendorSet) -> dict[str, Any]:
    """A vendor set as the vectors state it."""
    pairs = ranges_of(vendors)
    return {
        "max": vendors.max_id,
        "encoding": "range" if vendors.bits is None else "bitfield",
        "count": sum(last - first + 1 for first, last in pairs),
        "ranges": pairs,
    }


def instant(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def facts(tc: TcString) -> dict[str, Any]:
    """All a string says, as the vectors state it."""
    own = tc.publisher
    custom = own.custom_count if own else 0
    return {
        "version": 2,
        "created": instant(tc.created),
        "lastUpdated": instant(tc.last_updated),
        "cmpId": tc.cmp_id,
        "cmpVersion": tc.cmp_version,
        "consentScreen": tc.consent_screen,
        "consentLanguage": tc.consent_language,
        "vendorListVersion": tc.vendor_list_version,
        "policyVersion": tc.policy_version,
        "isServiceSpecific": tc.is_service_specific,
        "useNonStandardTexts": tc.uses_non_standard_texts,
        "specialFeatureOptIns": list(ids_of(tc.special_feature_opt_ins, 12)),
        "purposeConsents": list(ids_of(tc.purpose_consents, PURPOSES)),
        "purposeLegitimateInterests": list(ids_of(tc.purpose_legitimate_interests, PURPOSES)),
        "purposeOneTreatment": tc.purpose_one_treatment,
        "publisherCC": tc.publisher_country,
        "vendorConsents": set_facts(tc.vendor_consents),
        "vendorLegitimateInterests": set_facts(tc.vendor_legitimate_interests),
        "publisherRestrictions": [
            {"purpose": rule.purpose, "type": rule.kind, "vendors": [list(pair) for pair in rule.vendors]}
            for rule in sorted(tc.restrictions, key=lambda rule: rule.purpose)
        ],
        "disclosedVendors": None if tc.disclosed_vendors is None else set_facts(tc.disclosed_vendors),
        "publisherConsents": list(ids_of(own.consents, PURPOSES)) if own else [],
        "publisherLegitimateInterests": list(ids_of(own.legitimate_interests, PURPOSES)) if own else [],
        "numCustomPurposes": custom,
        "publisherCustomConsents": list(ids_of(own.custom_consents, custom)) if own else [],
        "publisherCustomLegitimateInterests": list(ids_of(own.custom_legitimate_interests, custom)) if own else [],
        "hasPublisherTC": own is not None,
    }


@named("valid")
def test_a_valid_string_says_what_the_reference_decoders_read(vector: dict[str, Any]) -> None:
    tc = decoded(vector["string"])
    assert facts(tc) == vector["facts"]
    for vendor, probe in vector["vendor_probes"].items():
        assert (int(vendor) in tc.vendor_consents) is probe["consent"]
        assert (int(vendor) in tc.vendor_legitimate_interests) is probe["li"]
        if probe["disclosed"] is not None:
            assert tc.disclosed_vendors is not None
            assert (int(vendor) in tc.disclosed_vendors) is probe["disclosed"]


@named("valid")
def test_a_valid_string_permits_google_what_the_vectors_say(vector: dict[str, Any]) -> None:
    tc, expected = decoded(vector["string"]), vector["evaluate_at_2026_11_20"]
    invalid = invalidity(tc, EVALUATED_AT)
    assert (invalid or "TCF_OK") == expected["status"]
    states = {"ad_storage": {1}, "ad_user_data": {1, 7}, "ad_personalization": {3, 4}}
    assert {
        name: invalid is None and lacking(tc, GOOGLE, frozenset(purposes)) is None for name, purposes in states.items()
    } == expected["google_755"]


@named("odd_but_accepted")
def test_an_odd_string_is_read_as_stated(vector: dict[str, Any]) -> None:
    tc, expected = decoded(vector["string"]), vector["expect"]
    assert list(ids_of(tc.purpose_consents, PURPOSES)) == expected["purposeConsents"]
    assert (GOOGLE in tc.vendor_consents) is expected["vendor_755_consent"]
    assert tc.disclosed_vendors is not None
    assert (GOOGLE in tc.disclosed_vendors) is expected["vendor_755_disclosed"]
    restrictions = [[rule.purpose, rule.kind, [list(pair) for pair in rule.vendors]] for rule in tc.restrictions]
    assert restrictions == expected["publisherRestrictions"]
    assert all(tc.is_restricted(rule.purpose, GOOGLE) is (rule.kind != 1) for rule in tc.restrictions)


@named("malformed")
def test_a_malformed_string_says_what_is_wrong(vector: dict[str, Any]) -> None:
    assert decode_tcf(vector["string"]) == Malformed(Code(vector["expect_error"]))


def core_of(name: str) -> str:
    (vector,) = (vector for vector in VECTORS["valid"] if vector["name"] == name)
    return str(vector["string"].split(".")[0])


def test_a_string_too_long_is_not_read_at_all() -> None:
    core = core_of("google_only_consent_v23")
    assert decode_tcf(core + "." + "A" * 20_000) == Malformed(Code.TCF_TOO_LONG)
    segment = pack((1, 3), (65535, 16), (1, 1), (4095, 12), *[(1, 1), (1, 16), (65535, 16)] * 4095)
    assert len(segment) > MAX_CHARS
    assert decode_tcf(f"{core}.{segment}") == Malformed(Code.TCF_TOO_LONG)


def test_ranges_are_kept_as_ranges_however_much_they_cover() -> None:
    core = core_of("google_only_consent_v23")
    segment = pack((1, 3), (65535, 16), (1, 1), (600, 12), *[(1, 1), (1, 16), (65535, 16)] * 600)
    disclosed = decoded(f"{core}.{segment}").disclosed_vendors
    assert disclosed is not None
    assert disclosed.ranges == ((1, 65535),) * 600
    assert is_in(disclosed.ranges, 65535)
    assert not is_in(disclosed.ranges, 65536)


@pytest.mark.parametrize(
    ("segment", "kind"),
    [
        (pack((3, 3), (0, 24)), Code.TCF_TRUNCATED),
        (pack((3, 3), (0, 24), (0, 24), (63, 6), (0, 63)), Code.TCF_TRUNCATED),
        (pack((1, 3), (10, 16), (0, 1), (0, 4)), Code.TCF_TRUNCATED),
        (pack((1, 3), (10, 16), (1, 1), (1, 12), (0, 1), (11, 16)), Code.TCF_RANGE_INVALID),
    ],
)
def test_a_segment_that_cannot_be_read_spoils_the_string(segment: str, kind: Code) -> None:
    assert decode_tcf(f"{core_of('google_only_consent_v23')}.{segment}") == Malformed(kind)


def test_letters_that_are_none_are_shown_as_unknown() -> None:
    bits = _bits(core_of("google_only_consent_v23"))
    changed = decoded(_text(bits[:108] + "1" * 12 + bits[120:]))
    assert changed.consent_language == "??"


def _bits(text: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return "".join(f"{alphabet.index(letter):06b}" for letter in text)


def _text(bits: str) -> str:
    return pack((int(bits, 2), len(bits)))


def test_purposes_alone_can_be_asked_about() -> None:
    tc = decoded(next(v["string"] for v in VECTORS["valid"] if v["name"] == "ads_purposes_but_google_vendor_denied"))
    assert lacking(tc, None, frozenset({1, 7, 3, 4})) is None
    assert lacking(tc, None, frozenset({1, 8})) is Code.TCF_PURPOSE_DENIED
    assert lacking(tc, GOOGLE, frozenset({1})) is Code.TCF_VENDOR_DENIED
