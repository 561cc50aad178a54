"""GPP strings: the vectors, and the corners of header and sections."""

from __future__ import annotations

from typing import Any

import pytest

from app.consent.bits import ids_of
from app.consent.codes import Code, Malformed
from app.consent.gpp import GppString, decode_gpp
from app.consent.tcf import PURPOSES, TcString, VendorSet, decode_tcf
from app.consent.tcf_canada import TcfCanada
from app.consent.us_privacy import decode_us_privacy, stance_of
from app.consent.us_sections import LAYOUTS, NAMES, UsSection, stance_of_section
from tests.consent.support import CANADA_HEAD, fibonacci, header, pack, vectors

VECTORS = vectors("gpp")
TCF = {vector["name"]: vector["string"] for vector in vectors("tcf")["valid"]}
SECTION_NAMES = {2: "tcfeuv2", 5: "tcfcav1", 6: "uspv1", **NAMES}


def named(kind: str) -> Any:
    return pytest.mark.parametrize("vector", VECTORS[kind], ids=lambda vector: vector["name"])


def decoded(text: str) -> GppString:
    found = decode_gpp(text)
    assert isinstance(found, GppString), found
    return found


def us_facts(section: UsSection) -> dict[str, Any]:
    """A US section as the vectors state it."""
    layout = LAYOUTS[section.name, section.version]
    fields: dict[str, Any] = {"Version": section.version}
    for name in dict.fromkeys(layout):
        values = section.of(name)
        is_list = len(values) > 1 or name == "SensitiveDataProcessing"
        fields[name] = list(values) if is_list else values[0]
    return {**fields, "Gpc": section.gpc}


def ids_in(vendors: VendorSet) -> list[int]:
    bits = ids_of(vendors.bits, vendors.max_id) if vendors.bits is not None else ()
    return [*bits, *(number for first, last in vendors.ranges for number in range(first, last + 1))]


def canada_facts(canada: TcfCanada) -> dict[str, Any]:
    return {
        "Version": 1,
        "CmpId": canada.cmp_id,
        "ConsentLanguage": canada.consent_language,
        "VendorListVersion": canada.vendor_list_version,
        "TcfPolicyVersion": canada.policy_version,
        "PurposesExpressConsent": list(ids_of(canada.express_purposes, PURPOSES)),
        "PurposesImpliedConsent": list(ids_of(canada.implied_purposes, PURPOSES)),
        "VendorExpressConsent": ids_in(canada.express_vendors),
        "VendorImpliedConsent": ids_in(canada.implied_vendors),
        "DisclosedVendors": ids_in(canada.disclosed_vendors) if canada.disclosed_vendors else [],
    }


@named("valid")
def test_a_valid_string_says_what_the_reference_model_reads(vector: dict[str, Any]) -> None:
    gpp = decoded(vector["string"])
    assert list(gpp.section_ids) == vector["sectionIds"]
    found: dict[str, Any] = {section.name: us_facts(section) for section in gpp.us_sections}
    if gpp.us_privacy is not None:
        usp = gpp.us_privacy
        found["uspv1"] = {"Notice": usp.notice, "OptOutSale": usp.opt_out_sale, "LspaCovered": usp.lspa}
    if gpp.tcf_canada is not None:
        found["tcfcav1"] = canada_facts(gpp.tcf_canada)
    expected = dict(vector["sections"])
    same = expected.pop("tcfeuv2", None)
    assert found == expected
    if same is not None:
        assert isinstance(gpp.tcf, TcString)
        assert gpp.tcf == decode_tcf(TCF[same["same_as_tcf_vector"]])


@named("valid")
def test_a_us_section_means_what_the_vectors_say(vector: dict[str, Any]) -> None:
    gpp = decoded(vector["string"])
    meant: dict[str, str] = {section.name: stance_of_section(section) for section in gpp.us_sections}
    if gpp.us_privacy is not None:
        meant["uspv1"] = stance_of(gpp.us_privacy)
    assert meant == {name: said["reason"] for name, said in vector["evaluation"].items() if name.startswith("us")}


@named("odd_but_accepted")
def test_an_odd_string_is_read_as_stated(vector: dict[str, Any]) -> None:
    gpp = decoded(vector["string"])
    assert list(gpp.section_ids) == vector["sectionIds"]
    known = [SECTION_NAMES[number] for number in gpp.section_ids if number in SECTION_NAMES]
    assert known == vector["known_sections"]
    assert [section.name for section in gpp.us_sections] == [name for name in known if name.startswith("us")]


@named("malformed")
def test_a_malformed_string_says_what_is_wrong(vector: dict[str, Any]) -> None:
    if vector["expect"] == "OK_AFTER_STRIP":
        assert decode_gpp(vector["string"]) == decoded(vector["string"].strip())
    else:
        assert decode_gpp(vector["string"]) == Malformed(Code(vector["expect"]))


def us_core(name: str, version: int = 1, **fields: int) -> str:
    """A section whose fields are 0 but for those named."""
    layout = LAYOUTS[name, version]
    return pack((version, 6), *((fields.get(field, 0), 2) for field in layout))


def test_the_header_s_own_builder_writes_what_the_reference_writes() -> None:
    assert header(8) == "DBABBg"
    assert decoded(f"{header(2, 6)}~{TCF['google_only_consent_v23']}~1YNN").section_ids == (2, 6)


def test_a_string_too_long_is_not_read_at_all() -> None:
    assert decode_gpp("DBABLA~" + "A" * 20_000) == Malformed(Code.GPP_TOO_LONG)


def test_a_header_that_names_more_than_there_can_be_costs_nothing() -> None:
    everything = pack((3, 6), (1, 6), (1, 12), (1, 1), *fibonacci(1), *fibonacci(400_000))
    assert decode_gpp(everything + "~A") == Malformed(Code.GPP_SECTION_COUNT)


def test_an_id_too_large_for_any_list_is_no_id() -> None:
    endless = pack((3, 6), (1, 6), (1, 12), (0, 1), *[(0, 1)] * 40, (3, 2))
    assert decode_gpp(endless + "~A") == Malformed(Code.GPP_RANGE_INVALID)


def test_a_broken_tc_string_leaves_the_other_sections_standing() -> None:
    gpp = decoded(f"{header(2, 8)}~CQsI~{us_core('usca', SaleOptOut=1)}")
    assert gpp.tcf == Malformed(Code.TCF_TRUNCATED)
    assert stance_of_section(gpp.us_sections[0]) is Code.US_OPTED_OUT


@pytest.mark.parametrize(
    ("name", "fields", "meant"),
    [
        ("usca", {"SaleOptOutNotice": 1, "SaleOptOut": 2}, Code.US_NOT_OPTED_OUT),
        ("usca", {"SaleOptOut": 2}, Code.US_NO_NOTICE),  # not opted out of what nobody told of
        ("usca", {"SaleOptOutNotice": 1, "SaleOptOut": 2, "SharingOptOutNotice": 2}, Code.US_NO_NOTICE),
        ("usva", {"SharingNotice": 2}, Code.US_NO_NOTICE),
        ("usfl", {"ProcessingNotice": 2}, Code.US_NO_NOTICE),
        ("usmd", {"MspaMode": 2}, Code.US_SERVICE_PROVIDER_MODE),
        ("usmd", {"MspaMode": 1}, Code.US_NOT_APPLICABLE),
        ("usin", {"KnownChildSensitiveDataConsents": 1}, Code.CHILD_NO_CONSENT),
        ("usin", {"KnownChildSensitiveDataConsents": 2}, Code.US_NOT_APPLICABLE),
    ],
)
def test_what_a_section_means(name: str, fields: dict[str, int], meant: Code) -> None:
    number = next(number for number, known in NAMES.items() if known == name)
    gpp = decoded(f"{header(number)}~{us_core(name, **fields)}")
    assert stance_of_section(gpp.us_sections[0]) is meant


def test_a_control_said_twice_counts_when_either_says_so() -> None:
    core = us_core("usca", SaleOptOutNotice=1, SaleOptOut=2)
    for segments, gpc in ((".YA.QA", True), (".QA.YA", True), (".QA", False), (".AA", None), ("", None)):
        assert decoded(f"{header(8)}~{core}{segments}").us_sections[0].gpc is gpc


def test_every_layout_has_the_width_the_standard_gives() -> None:
    widths = {
        "usnat1": 60,
        "usnat2": 70,
        "usca1": 46,
        "usva1": 40,
        "usco1": 38,
        "usct1": 44,
        "usfl1": 46,
        "usmt1": 46,
        "usnh1": 46,
        "usor1": 52,
        "usde1": 52,
        "ustx1": 42,
        "usne1": 42,
        "ustn1": 42,
        "usmn1": 42,
        "usnj1": 54,
        "usut1": 42,
        "usia1": 42,
        "usmd1": 22,
        "usin1": 24,
        "usky1": 24,
        "usri1": 24,
    }
    assert {f"{name}{version}": 6 + 2 * len(layout) for (name, version), layout in LAYOUTS.items()} == widths


@pytest.mark.parametrize(
    ("vendors", "expected"),
    [
        ([(3, 16), (0, 1), (0b101, 3)], [1, 3]),
        ([(755, 16), (1, 1), (1, 12), (0, 1), (755, 16)], [755]),  # fixed ids
        ([(755, 16), (1, 1), (1, 12), (0, 1), *fibonacci(755)], [755]),
        ([(5, 16), (1, 1), (1, 12), (1, 1), *fibonacci(2), *fibonacci(3)], [2, 3, 4, 5]),
    ],
)
def test_canadian_vendors_are_read_in_either_coding(vendors: list[tuple[int, int]], expected: list[int]) -> None:
    text = pack((1, 6), *CANADA_HEAD, *vendors, (0, 16), (0, 1))
    canada = decoded(f"{header(5)}~{text}").tcf_canada
    assert canada is not None
    assert ids_in(canada.express_vendors) == expected
    assert canada.disclosed_vendors is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (pack((2, 6), *CANADA_HEAD, (0, 16), (0, 1), (0, 16), (0, 1)), Code.GPP_UNSUPPORTED_SECTION_VERSION),
        (pack((1, 6), *CANADA_HEAD, (9, 16), (1, 1), (1, 12), (0, 1), (5, 16)), Code.GPP_RANGE_INVALID),
        (pack((1, 6), *CANADA_HEAD[:5]), Code.GPP_TRUNCATED),
    ],
)
def test_a_canadian_section_that_cannot_be_read(text: str, kind: Code) -> None:
    assert decode_gpp(f"{header(5)}~{text}") == Malformed(kind)


@pytest.mark.parametrize("text", ["", "1YN", "1ynn", "2YNN", "1YNNN", "1YN?", "1Y N", "YYNN", "1ＹNN"])
def test_no_us_privacy_string(text: str) -> None:
    assert decode_us_privacy(text) == Malformed(Code.USP_MALFORMED)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1YNN", Code.US_NOT_OPTED_OUT),
        (" 1YNY\n", Code.US_NOT_OPTED_OUT),
        ("1YN-", Code.US_NOT_OPTED_OUT),
        ("1YYN", Code.US_OPTED_OUT),
        ("1-Y-", Code.US_OPTED_OUT),
        ("1NYN", Code.US_OPTED_OUT),
        ("1NNN", Code.US_NO_NOTICE),
        ("1-NN", Code.US_NO_NOTICE),
        ("1N--", Code.US_NO_NOTICE),
        ("1---", Code.US_NOT_APPLICABLE),
        ("1--N", Code.US_NOT_APPLICABLE),
        ("1Y--", Code.US_NOT_APPLICABLE),
    ],
)
def test_what_a_us_privacy_string_means(text: str, meant: Code) -> None:
    privacy = decode_us_privacy(text)
    assert not isinstance(privacy, Malformed)
    assert stance_of(privacy) is meant
