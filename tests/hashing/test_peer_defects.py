"""Mistakes seen in other senders of conversion events, one test each."""

from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

import pytest

from app.hashing.identity import hash_identity
from app.hashing.options import HashingOptions
from app.model import Form
from app.wire import UserData


def hexes(form: Form, **fields: Any) -> list[str]:
    options = HashingOptions(default_region=fields.pop("default_region", None))
    identity, _ = hash_identity(
        UserData.model_validate(fields),
        options=options,
        event_time=datetime(2026, 11, 20, tzinfo=UTC),
        today=date(2026, 11, 20),
    )
    return identity.hex(form)


def of(*texts: str) -> list[str]:
    return [sha256(text.encode()).hexdigest() for text in texts]


def test_every_dot_of_a_gmail_address_goes_not_only_the_first() -> None:
    assert hexes(Form.EMAIL_GMAIL_FOLDED, email="a.b.c+x@gmail.com") == of("abc@gmail.com")


def test_a_domain_that_only_begins_or_ends_like_gmail_is_left_alone() -> None:
    for domain in ("gmail-shop.com", "mycompany-gmail.com", "gmail.com.br", "xgmail.com"):
        assert hexes(Form.EMAIL_GMAIL_FOLDED, email=f"a.b+c@{domain}") == of(f"a.b+c@{domain}")


def test_gmail_rules_are_googles_alone() -> None:
    assert hexes(Form.EMAIL, email="a.b+c@gmail.com") == of("a.b+c@gmail.com")


def test_a_phone_number_of_fifteen_digits_is_not_cut_to_fourteen() -> None:
    assert hexes(Form.PHONE_E164, phone="+123456789012345") == of("+123456789012345")


def test_no_plus_is_put_before_a_national_number() -> None:
    assert hexes(Form.PHONE_E164, phone="07911 123456") == []
    assert hexes(Form.PHONE_E164, phone="07911 123456", country="GB") == of("+447911123456")


def test_no_country_code_is_assumed() -> None:
    assert hexes(Form.PHONE_DIGITS, phone="6505551212") == []


def test_the_trunk_zero_behind_the_country_code_goes() -> None:
    assert hexes(Form.PHONE_DIGITS, phone="+44 (0)844 412 4653") == of("448444124653")
    assert hexes(Form.PHONE_DIGITS, phone="+440844 412 4653") == of("448444124653")


def test_the_zero_of_an_italian_land_line_stays() -> None:
    assert hexes(Form.PHONE_DIGITS, phone="+39 06 6982 1234") == of("390669821234")


def test_dots_in_a_phone_number_go() -> None:
    assert hexes(Form.PHONE_DIGITS, phone="+1.650.555.1212") == of("16505551212")


def test_an_extension_is_not_glued_to_the_number() -> None:
    assert hexes(Form.PHONE_DIGITS, phone="+1 650 555 1212 ext. 89") == of("16505551212")


def test_letters_behind_a_number_do_not_become_digits() -> None:
    assert hexes(Form.PHONE_E164, phone="+44 7911 123456 (mobile)") == of("+447911123456")


def test_an_order_number_is_no_phone_number() -> None:
    assert hexes(Form.PHONE_E164, phone="ORD-4155552671", phone_country="US") == []


def test_every_item_of_a_list_is_normalised() -> None:
    assert hexes(Form.PHONE_DIGITS, phone=["+1 (202) 555-0147", "+44 844 412 4653"]) == of(
        "12025550147", "448444124653"
    )


def test_an_email_is_trimmed_for_every_platform() -> None:
    assert hexes(Form.EMAIL, email=" A@B.co \n") == of("a@b.co")


def test_the_case_of_an_external_id_stays_where_no_rule_lowers_it() -> None:
    assert hexes(Form.EXTERNAL_ID, external_id=" User_ABC ") == of("User_ABC")
    assert hexes(Form.EXTERNAL_ID_LOWER, external_id=" User_ABC ") == of("user_abc")


def test_an_external_id_of_32_hexadecimal_characters_is_an_id_and_no_md5() -> None:
    assert hexes(Form.EXTERNAL_ID, external_id="550e8400e29b41d4a716446655440000") == of(
        "550e8400e29b41d4a716446655440000"
    )


@pytest.mark.parametrize("field", ["email", "phone", "first_name", "external_id", "city", "zip", "country"])
def test_an_upper_case_digest_is_lowered_and_not_hashed_again(field: str) -> None:
    given = sha256(b"something").hexdigest()
    identity, _ = hash_identity(
        UserData.model_validate({field: f" {given.upper()} "}),
        event_time=datetime(2026, 11, 20, tzinfo=UTC),
        today=date(2026, 11, 20),
    )
    assert identity.digests
    assert {each.hex() for digests in identity.digests.values() for each in digests} == {given}


@pytest.mark.parametrize(
    "value",
    [
        "5d41402abc4b2a76b9719d911017c592",
        "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d",
        "a" * 56,
        "b" * 96,
        "c" * 128,
        "d" * 200,
        "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=",
        "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg",
        "$2b$12$abcdefghijklmnopqrstuuJ1rY0bX3Yy6Z3c5fG7h9i1j3k5l7m9",
        "sha256:" + "ab" * 20,
        "0x" + "ab" * 30,
    ],
)
@pytest.mark.parametrize("field", ["email", "phone", "first_name", "last_name"])
def test_a_digest_no_platform_takes_is_dropped(field: str, value: str) -> None:
    identity, warnings = hash_identity(
        UserData.model_validate({field: value}), event_time=datetime(2026, 11, 20, tzinfo=UTC), today=date(2026, 11, 20)
    )
    assert not identity.digests
    assert len(warnings) == 1


def test_names_lose_typographic_apostrophes_too_and_keep_inner_blanks_where_the_platform_does() -> None:
    assert hexes(Form.LAST_NAME_LETTERS, last_name="O’Brien") == of("obrien")
    assert hexes(Form.FIRST_NAME_SPACED, first_name=" Mary  Ann ") == of("mary ann")
    assert hexes(Form.FIRST_NAME_LETTERS, first_name="Mary Ann") == of("maryann")
    assert hexes(Form.FIRST_NAME_PUNCTUATED, first_name="Mary Ann") == of("mary ann")


def test_digits_of_a_city_stay_and_letters_beyond_ascii_too() -> None:
    assert hexes(Form.CITY, city="Paris 12") == of("paris12")
    assert hexes(Form.CITY, city="Zürich") == of("zürich")


def test_a_brazilian_postal_code_is_not_cut_at_the_dash() -> None:
    assert hexes(Form.ZIP, zip="01310-100", country="BR") == of("01310100")


def test_letters_never_reach_a_form_of_digits_only() -> None:
    assert hexes(Form.ZIP_DIGITS, zip="SW1A 1AA", country="GB") == []
    assert hexes(Form.ZIP_DIGITS, zip="1012", country="NL") == []


def test_the_digest_of_nothing_cannot_happen() -> None:
    for field in ("email", "phone", "first_name", "city", "state", "zip", "country", "external_id", "gender"):
        identity, _ = hash_identity(
            UserData.model_validate({field: ["", "  ", "\u200b", None, "-", "''"]}),
            event_time=datetime(2026, 11, 20, tzinfo=UTC),
            today=date(2026, 11, 20),
        )
        assert sha256(b"").digest() not in [each for several in identity.digests.values() for each in several]


def test_a_country_name_is_mapped_or_left_out_and_never_cut_to_two_letters() -> None:
    assert hexes(Form.COUNTRY, country="Österreich") == of("at")
    assert hexes(Form.COUNTRY, country="Atlantis") == []
    assert hexes(Form.COUNTRY, country="UK") == of("gb")


def test_german_sharp_s_and_final_sigma_are_lowered_and_not_casefolded() -> None:
    assert hexes(Form.LAST_NAME_LETTERS, last_name="Groß") == of("groß")
    assert hexes(Form.LAST_NAME_LETTERS, last_name="ΟΔΥΣΣΕΥΣ") == of("οδυσσευς")
