"""The identity as a whole: lists, chosen forms, junk digests, pointers, and that no value leaves in a warning."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from app.hashing import digest
from app.hashing.codes import DETAILS, Code
from app.hashing.identity import hash_identity
from app.hashing.options import HashingOptions
from app.hashing.reading import MOST_VALUES
from app.model import Form
from app.wire import UserData
from tests.hashing.support import NOW, TODAY, codes, identity_of, of

PERSON: dict[str, Any] = {
    "email": "Jane.Doe@gmail.com",
    "phone": "+14155552671",
    "first_name": "Jane",
    "last_name": "O'Brien",
    "gender": "f",
    "date_of_birth": "1990-02-03",
    "city": "San Francisco",
    "state": "CA",
    "zip": "94107",
    "country": "US",
    "external_id": "Cust 991",
    "idfa": "EA7583CD-A667-48BC-B806-42ECB2B48606",
}


def test_every_form_of_a_full_identity() -> None:
    identity, warnings = identity_of(PERSON)
    assert set(identity.digests) == set(Form)
    assert not warnings


@pytest.mark.parametrize("form", list(Form))
def test_only_the_forms_asked_for_are_computed(form: Form) -> None:
    identity, _ = hash_identity(UserData.model_validate(PERSON), forms=frozenset({form}), event_time=NOW, today=TODAY)
    assert list(identity.digests) == [form]
    assert identity.hex(form) == identity_of(PERSON)[0].hex(form)
    assert (identity.country, identity.state) == ("us", "ca")


def test_nothing_gives_nothing() -> None:
    identity, warnings = identity_of({})
    assert not identity.digests
    assert not warnings
    assert all(not getattr(identity, field) for field in identity.__struct_fields__)


@pytest.mark.parametrize("field", list(UserData.model_fields))
@pytest.mark.parametrize("value", ["", "   ", "\u200b"])
def test_an_empty_value_is_as_good_as_none(field: str, value: str) -> None:
    identity, warnings = identity_of({field: value})
    assert not identity.digests
    assert all(not getattr(identity, name) for name in identity.__struct_fields__)
    assert value == "\u200b" or not warnings


def test_a_list_keeps_its_order_and_loses_repeats_blanks_and_nulls() -> None:
    identity, warnings = identity_of({"email": [None, "b@x.com", " B@x.com ", "", "a@x.com", None]})
    assert identity.hex(Form.EMAIL) == of("b@x.com", "a@x.com")
    assert not warnings


def test_an_empty_list_is_as_good_as_none() -> None:
    identity, warnings = identity_of({"email": [], "phone": [], "city": [None, ""]})
    assert not identity.digests
    assert not warnings


def test_five_values_are_used_and_more_are_warned_about_once() -> None:
    identity, warnings = identity_of({"email": [f"jane{index}@x.com" for index in range(100)]})
    assert identity.hex(Form.EMAIL) == of(*(f"jane{index}@x.com" for index in range(MOST_VALUES)))
    assert codes(warnings) == [("too_many_values", "/user/email")]


def test_a_hundred_repeats_are_one_value() -> None:
    identity, warnings = identity_of({"email": ["jane@x.com"] * 100})
    assert identity.hex(Form.EMAIL) == of("jane@x.com")
    assert not warnings


def test_a_hundred_bad_values_are_a_handful_of_warnings_with_their_places() -> None:
    identity, warnings = identity_of({"phone": [f"junk {index}" for index in range(100)], "city": "Paris"})
    assert list(identity.digests) == [Form.CITY]
    assert [pointer for _, pointer in codes(warnings)] == [f"/user/phone/{index}" for index in range(MOST_VALUES)]


def test_a_bad_value_of_a_list_does_not_take_its_neighbours_along() -> None:
    identity, warnings = identity_of({"email": ["nobody", "jane@x.com"]})
    assert identity.hex(Form.EMAIL) == of("jane@x.com")
    assert codes(warnings) == [("email_malformed", "/user/email/0")]


def test_hashed_and_raw_values_of_a_list_mix() -> None:
    given = of("john@x.com")[0]
    identity, _ = identity_of({"email": [given.upper(), "jane@x.com", "john@x.com"]})
    assert identity.hex(Form.EMAIL) == [given, *of("jane@x.com")]


def test_numbers_are_read_as_text() -> None:
    identity, _ = identity_of({"external_id": 42, "zip": 2138, "country": "US"})
    assert identity.hex(Form.EXTERNAL_ID) == of("42")
    assert identity.hex(Form.ZIP) == of("02138")


@pytest.mark.parametrize("field", ["email", "phone", "first_name", "external_id", "city", "zip"])
@pytest.mark.parametrize(
    "value", ["", "null", "none", "undefined", "n/a", "nan", "unknown", "test@test.com", "0000000000", "+10000000000"]
)
def test_digests_of_junk_are_refused_also_when_they_arrive_hashed(field: str, value: str) -> None:
    identity, warnings = identity_of({field: of(value)[0]})
    assert not identity.digests
    assert codes(warnings) == [("junk_digest", f"/user/{field}")]


def test_digits_that_are_no_phone_number_may_be_an_id() -> None:
    given = of("10000000000")[0]
    assert codes(identity_of({"phone": given})[1]) == [("junk_digest", "/user/phone")]
    assert identity_of({"external_id": given})[0].hex(Form.EXTERNAL_ID) == [given]
    assert identity_of({"external_id": "10000000000"})[0].hex(Form.EXTERNAL_ID) == [given]


def test_a_raw_value_that_comes_down_to_a_placeholder_is_dropped() -> None:
    identity, warnings = identity_of({"city": "n-u-l-l"})
    assert not identity.digests
    assert codes(warnings) == [("junk_digest", "/user/city")]
    identity, _ = identity_of({"external_id": "A@a.com", "last_name": "N.one"})
    assert set(identity.digests) == {Form.EXTERNAL_ID, Form.LAST_NAME_PUNCTUATED}


def test_what_may_be_sent_is_64_lower_case_characters_and_no_junk() -> None:
    assert digest.is_sendable(of("jane@x.com")[0])
    assert not digest.is_sendable(of("jane@x.com")[0].upper())
    assert not digest.is_sendable(of("")[0])
    assert not digest.is_sendable("abc")


def test_the_digests_of_junk_are_the_known_ones() -> None:
    known = (
        "e3b0c442",
        "74234e98",
        "140bedbf",
        "eb045d78",
        "a683c5c5",
        "9b2d5b46",
        "b23a6a84",
        "f660ab91",
        "973dfe46",
        "84d9c4b8",
        "ec29282c",
    )
    assert set(known) <= {each.hex()[:8] for each in digest.JUNK_DIGESTS}


def test_lone_surrogates_lose_the_field_and_nothing_else() -> None:
    user = UserData.model_construct(
        first_name="a\ud800", city="b\udfff c", external_id="x\ud800", email="jane@x.com", client_user_agent="ok"
    )
    identity, warnings = hash_identity(user, event_time=NOW, today=TODAY)
    assert identity.hex(Form.EMAIL) == of("jane@x.com")
    # A surrogate is category C: forms of letters only have lost it, and only fn.3 could not be encoded.
    assert Form.EXTERNAL_ID not in identity.digests
    assert ("text_invalid", "/user/external_id") in codes(warnings)


def test_no_warning_holds_a_value() -> None:
    secret = "zq7secret"
    fields: dict[str, Any] = {
        name: [f"{secret} @ {secret}", f"{secret}\x00"] if name in PERSON and name != "idfa" else f"{secret} @ {secret}"
        for name in UserData.model_fields
    }
    _, warnings = identity_of(fields, url=f"https://shop.example/?fbclid=@{secret}&gclid={secret}@")
    assert warnings
    assert secret not in repr(warnings)


def test_every_code_has_words_and_says_no_more_than_that() -> None:
    assert set(DETAILS) == set(Code)
    assert len({code.value for code in Code}) == len(Code)
    assert all(code.value == code.value.lower() and detail.strip() for code, detail in DETAILS.items())


def test_the_page_names_every_warning_and_every_setting() -> None:
    page = (Path(__file__).parents[2] / "docs" / "hashing.md").read_text(encoding="utf-8")
    for word in [code.value for code in Code] + [field.name for field in fields(HashingOptions)] + list(Form):
        assert f"`{word}`" in page, word


def test_ids_that_platforms_gave_are_kept_as_they_are() -> None:
    given = {
        "anon_id": "XZ-1",
        "download_id": "d.7",
        "fb_login_id": "10158",
        "page_scoped_user_id": "24017",
        "ig_sid": "ig:1",
    }
    identity, warnings = identity_of(given)
    assert {field: getattr(identity, field) for field in given} == given
    assert not warnings
    identity, warnings = identity_of({"ig_sid": "jane@example.com", "anon_id": "null", "download_id": ""})
    assert (identity.ig_sid, identity.anon_id, identity.download_id) == (None, None, None)
    assert codes(warnings) == [("platform_id_invalid", "/user/anon_id"), ("platform_id_invalid", "/user/ig_sid")]


def test_the_click_id_of_a_whatsapp_ad_keeps_its_case() -> None:
    assert identity_of({"ctwa_clid": "ARAkLk-x_Y"})[0].ctwa_clid == "ARAkLk-x_Y"
