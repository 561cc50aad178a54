"""Phone numbers: what becomes of what people type, and in which region."""

import subprocess
import sys

import phonenumbers
import pytest

from app.hashing import phone
from app.hashing.codes import Code
from app.model import Form
from tests.hashing.support import codes, identity_of, of


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("(415) 555-2671", "US", "+14155552671"),
        ("(415) 555-2671", "GB", Code.PHONE_INVALID),
        ("415-555-2671", None, Code.PHONE_NO_REGION),
        ("07911 123456", "GB", "+447911123456"),
        ("+44 (0)7911 123456", None, "+447911123456"),
        ("+4407911123456", None, "+447911123456"),
        ("0044 7911 123456", "GB", "+447911123456"),
        ("0044 7911 123456", "US", "+447911123456"),
        ("0049 170 1234567", "DE", "+491701234567"),
        ("0049 170 1234567", "US", "+491701234567"),
        ("011 44 7911 123456", "US", "+447911123456"),
        ("011 44 7911 123456", "GB", Code.PHONE_INVALID),
        ("491701234567", "DE", "+491701234567"),
        ("14155552671", "US", "+14155552671"),
        ("14155552671", "GB", Code.PHONE_INVALID),
        ("447911123456", "GB", "+447911123456"),
        ("393331234567", "IT", "+393331234567"),
        ("+39 06 698 12345", None, "+390669812345"),
        ("+52 1 55 1234 5678", None, "+525512345678"),
        ("5215512345678", "MX", "+525512345678"),
        ("+1 0415 555 2671", None, Code.PHONE_INVALID),
        ("+44 7911 123456 (mobile)", None, "+447911123456"),
        ("+44 7911 123456 mobile", None, "+447911123456"),
        ("+1 800 356 SHOP", None, Code.PHONE_INVALID),
        ("+1-800-FLOWERS", None, Code.PHONE_LETTERS),
        ("ORD-4155552671", "US", Code.PHONE_LETTERS),
        ("+1 415 555 2671 ext. 12", None, "+14155552671"),
        ("+1 415 555 2671x123", None, "+14155552671"),
        ("+1 415 555 2671 #9", None, "+14155552671"),
        ("tel:+1-201-555-0123;ext=12;phone-context=a", None, "+12015550123"),
        ("Phone: +1 201 555 0123", None, "+12015550123"),
        ("０７９１１ １２３４５６", "GB", "+447911123456"),
        ("+44\u200b7911\u00a0123456", None, "+447911123456"),
        ("+44\u20117911\u2013123456", None, "+447911123456"),
        ("+683 4000", None, "+6834000"),
        ("+210123456789", None, Code.PHONE_INVALID),
        ("+1", None, Code.PHONE_INVALID),
        ("+12", None, Code.PHONE_INVALID),
        ("+1234567", None, Code.PHONE_INVALID),
        ("0000000000", "US", Code.JUNK_PHONE),
        ("5555555555", "US", Code.JUNK_PHONE),
        ("1234567890", "US", Code.JUNK_PHONE),
        ("+10000000000", None, Code.JUNK_PHONE),
        ("+0000000000", None, Code.JUNK_PHONE),
        ("+0170123456", None, Code.PHONE_INVALID),
        ("123456", "US", Code.PHONE_INVALID),
        ("12", None, Code.PHONE_INVALID),
        ("1b", None, Code.PHONE_LETTERS),
        ("0077 123", "JP", Code.PHONE_INVALID),
        ("001 1", None, Code.PHONE_INVALID),
        ("(415) 555-2671", "ZZ", Code.PHONE_NO_REGION),
        ("no digits", "US", Code.PHONE_INVALID),
        ("1" * 70, "US", Code.TOO_LONG),
    ],
)
def test_number(text: str, region: str | None, expected: str | Code) -> None:
    assert phone.e164(text, (region,)) == expected


def test_the_first_region_counts_and_no_other_is_tried() -> None:
    assert phone.e164("07911 123456", (None, "GB", "DE")) == "+447911123456"
    assert phone.e164("07911 123456", ("US", "GB")) is Code.PHONE_INVALID


def test_digits_that_read_both_ways_are_dropped() -> None:
    # +49 3915 0008 without its plus, and 04939 150008 within Germany, are both numbers of land lines.
    assert phone.e164("4939150008", ("DE",)) is Code.PHONE_AMBIGUOUS


def test_possible_numbers_pass_where_that_is_asked_for() -> None:
    assert phone.e164("(415) 555-2671", ("GB",), "possible") == "+444155552671"


def test_a_number_with_00_that_is_national_is_read_as_given() -> None:
    assert phone.e164("00777012", ("JP",), "valid") in ("+8100777012", Code.PHONE_INVALID)
    assert phone.e164("0120 123 456", ("JP",)) == "+81120123456"


def test_the_region_is_phone_country_then_country_then_the_default() -> None:
    user = {"phone": "07911 123456", "phone_country": "United Kingdom", "country": "DE"}
    assert identity_of(user)[0].hex(Form.PHONE_E164) == of("+447911123456")
    assert identity_of({"phone": "0170 1234567", "country": "DE"}, default_region="GB")[0].hex(Form.PHONE_E164) == of(
        "+491701234567"
    )
    assert identity_of({"phone": "07911 123456"}, default_region="gb")[0].hex(Form.PHONE_E164) == of("+447911123456")
    assert identity_of({"phone": "07911 123456", "phone_country": "Atlantis"}, default_region="GB")[0].hex(
        Form.PHONE_E164
    ) == of("+447911123456")


def test_a_country_that_arrives_hashed_is_no_region() -> None:
    identity, warnings = identity_of({"phone": "07911 123456", "country": of("gb")[0]})
    assert identity.hex(Form.PHONE_E164) == []
    assert identity.country is None
    assert codes(warnings) == [("phone_no_region", "/user/phone")]


@pytest.mark.parametrize("separator", [", ", ";", " / ", "|", "\n"])
def test_two_numbers_in_one_field_are_two_numbers(separator: str) -> None:
    user = {"phone": separator.join(["+1 415 555 2671", "+44 7911 123456"])}
    assert identity_of(user)[0].hex(Form.PHONE_DIGITS) == of("14155552671", "447911123456")
    assert identity_of({"phone": ["+49 170 1234567", user["phone"]]})[0].hex(Form.PHONE_DIGITS) == of(
        "491701234567", "14155552671", "447911123456"
    )


def test_a_slash_inside_a_number_does_not_part_it() -> None:
    assert identity_of({"phone": "0170/1234567", "country": "DE"})[0].hex(Form.PHONE_E164) == of("+491701234567")
    assert phone.split("1" * 300) == ["1" * 300]


def test_fictional_numbers_are_sent_with_a_warning_and_dropped_in_production() -> None:
    user = {"phone": "+1 202 555 0147"}
    identity, warnings = identity_of(user)
    assert identity.hex(Form.PHONE_DIGITS) == of("12025550147")
    assert codes(warnings) == [("suspect_phone", "/user/phone")]
    identity, warnings = identity_of(user, production=True)
    assert not identity.digests
    assert codes(warnings) == [("suspect_phone", "/user/phone")]


def test_a_hashed_number_serves_both_forms_with_a_warning() -> None:
    given = of("+14155552671")[0]
    identity, warnings = identity_of({"phone": given})
    assert identity.hex(Form.PHONE_DIGITS) == identity.hex(Form.PHONE_E164) == [given]
    assert codes(warnings) == [("hash_form_unknown", "/user/phone")]


def test_the_italian_zero_can_be_sent_both_ways() -> None:
    user = {"phone": "+39 06 6982 1234"}
    identity, _ = identity_of(user, italian_zero="both")
    assert identity.hex(Form.PHONE_DIGITS) == of("390669821234", "39669821234")
    assert identity.hex(Form.PHONE_E164) == of("+390669821234")
    assert identity_of({"phone": "+14155552671"}, italian_zero="both")[0].hex(Form.PHONE_DIGITS) == of("14155552671")


def test_the_table_of_country_codes_is_that_of_the_library() -> None:
    assert {str(code) for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE} == phone.COUNTRY_CODES


def test_numbers_of_every_region_survive_with_and_without_the_fast_path() -> None:
    for region in phonenumbers.SUPPORTED_REGIONS:
        number = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        if number is None:
            continue
        expected = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        if region == "SM" or phonenumbers.is_valid_number(phonenumbers.parse(expected)):
            assert phone.e164(expected) == expected
            national = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
            assert phone.e164(national, (region,)) in (expected, Code.PHONE_AMBIGUOUS), region


def test_the_library_is_not_loaded_for_numbers_in_international_form() -> None:
    script = (
        "import sys; from app.hashing import phone, identity; "
        "assert phone.e164('+1 (415) 555-2671') == '+14155552671'; "
        "assert 'phonenumbers' not in sys.modules and 'idna' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
