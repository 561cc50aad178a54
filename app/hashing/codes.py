"""Every warning the hashing package can give, with the words that go with it. No text here ever holds a value."""

from __future__ import annotations

from enum import Enum

from app.model import Warn


class Code(Enum):
    """Why a value was dropped, or what about it deserves a look. The value is the code in a `Warn`."""

    TEXT_INVALID = "text_invalid"
    TOO_LONG = "too_long"
    TOO_MANY_VALUES = "too_many_values"
    HASH_UNSUPPORTED = "hash_unsupported"
    HASH_FORM_UNKNOWN = "hash_form_unknown"
    JUNK_DIGEST = "junk_digest"

    EMAIL_MALFORMED = "email_malformed"
    EMAIL_INNER_BLANK = "email_inner_blank"
    JUNK_EMAIL = "junk_email"
    SUSPECT_EMAIL = "suspect_email"

    PHONE_NO_REGION = "phone_no_region"
    PHONE_INVALID = "phone_invalid"
    PHONE_AMBIGUOUS = "phone_ambiguous"
    PHONE_LETTERS = "phone_letters"
    JUNK_PHONE = "junk_phone"
    SUSPECT_PHONE = "suspect_phone"

    JUNK_NAME = "junk_name"
    GENDER_UNKNOWN = "gender_unknown"
    JUNK_GENDER = "junk_gender"
    BIRTH_DATE_INVALID = "birth_date_invalid"
    BIRTH_DATE_AMBIGUOUS = "birth_date_ambiguous"
    JUNK_BIRTH_DATE = "junk_birth_date"
    CHILD_SUSPECTED = "child_suspected"

    JUNK_CITY = "junk_city"
    JUNK_STATE = "junk_state"
    ZIP_INVALID = "zip_invalid"
    JUNK_ZIP = "junk_zip"
    COUNTRY_UNKNOWN = "country_unknown"
    JUNK_COUNTRY = "junk_country"

    JUNK_EXTERNAL_ID = "junk_external_id"
    AD_ID_INVALID = "ad_id_invalid"
    AD_ID_ZERO = "ad_id_zero"
    LEAD_ID_INVALID = "lead_id_invalid"
    PLATFORM_ID_INVALID = "platform_id_invalid"
    CUSTOMER_TYPE_UNKNOWN = "customer_type_unknown"

    IP_INVALID = "ip_invalid"
    IP_NOT_PUBLIC = "ip_not_public"
    SUSPECT_IP = "suspect_ip"
    USER_AGENT_UNUSABLE = "user_agent_unusable"
    LOCALE_INVALID = "locale_invalid"

    FBP_MALFORMED = "fbp_malformed"
    FBC_MALFORMED = "fbc_malformed"
    FBC_REPLACED = "fbc_replaced"
    CLICK_ID_MALFORMED = "click_id_malformed"
    CLICK_ID_TOO_LONG = "click_id_too_long"
    JUNK_CLICK_ID = "junk_click_id"


DETAILS: dict[Code, str] = {
    Code.TEXT_INVALID: "the value is not valid Unicode text and was left out; send UTF-8 without lone surrogates",
    Code.TOO_LONG: "the value is longer than any real one of its kind and was left out",
    Code.TOO_MANY_VALUES: "only the first five different values of an identifier are used; the others were left out",
    Code.HASH_UNSUPPORTED: (
        "the value looks like a digest the platforms do not take (MD5, SHA-1, base64, bcrypt or a cut one) and was "
        "left out; send it raw, or as SHA-256 in 64 hexadecimal characters"
    ),
    Code.HASH_FORM_UNKNOWN: (
        "the value arrived hashed, so every platform gets the same digest although they want different normal forms; "
        "some will not match: send it raw and it is hashed in each form here"
    ),
    Code.JUNK_DIGEST: "an empty or placeholder value, or the digest of one; left out. Hash and send only real values",
    Code.EMAIL_MALFORMED: "not an e-mail address of the shape name@domain.tld; left out",
    Code.EMAIL_INNER_BLANK: (
        "the address has a blank inside: only Google documents removing it, so it is left out for the others"
    ),
    Code.JUNK_EMAIL: "a placeholder, a no-reply or an ignored address; left out, as it would match nobody",
    Code.SUSPECT_EMAIL: "an address of a documentation or test domain; check that no test data reaches production",
    Code.PHONE_NO_REGION: (
        "a national number without a country; send it with + and country code, or set user.phone_country, user.country "
        "or the source's default_region"
    ),
    Code.PHONE_INVALID: "not a valid phone number in its country; left out",
    Code.PHONE_AMBIGUOUS: (
        "the digits read as a national number and as one with country code; send it with a leading + to decide"
    ),
    Code.PHONE_LETTERS: "the number has letters or other signs in it; send digits with + and country code",
    Code.JUNK_PHONE: "a placeholder number (one digit repeated, or a run such as 12345678); left out",
    Code.SUSPECT_PHONE: "a number of a range kept for fiction (555-01xx); check that no test data reaches production",
    Code.JUNK_NAME: "a placeholder, or not a name; left out",
    Code.GENDER_UNKNOWN: "no word for female, male or non-binary; left out",
    Code.JUNK_GENDER: "a placeholder; left out",
    Code.BIRTH_DATE_INVALID: "not a possible birth date; send YYYY-MM-DD",
    Code.BIRTH_DATE_AMBIGUOUS: (
        "day and month cannot be told apart; send YYYY-MM-DD or set birth_date_order for this source"
    ),
    Code.JUNK_BIRTH_DATE: "a date that forms fill in by default; left out",
    Code.CHILD_SUSPECTED: "the birth date is in the future or less than 13 years ago; left out",
    Code.JUNK_CITY: "a placeholder; left out",
    Code.JUNK_STATE: "a placeholder; left out",
    Code.ZIP_INVALID: "no letter or digit in the postal code; left out",
    Code.JUNK_ZIP: "a placeholder postal code; left out",
    Code.COUNTRY_UNKNOWN: "not a known country; send the ISO 3166-1 alpha-2 code",
    Code.JUNK_COUNTRY: "a placeholder; left out",
    Code.JUNK_EXTERNAL_ID: "a placeholder that many shoppers share; left out, as it would merge people",
    Code.AD_ID_INVALID: "not an advertising or vendor id; left out",
    Code.AD_ID_ZERO: "the id is all zeros, which means that the shopper does not allow tracking; left out",
    Code.LEAD_ID_INVALID: "not an id: letters, digits and - _ . : only, up to 128; left out",
    Code.PLATFORM_ID_INVALID: "not an id: letters, digits and - _ . : only, up to 128; left out",
    Code.CUSTOMER_TYPE_UNKNOWN: "customer_type is new or returning; left out",
    Code.IP_INVALID: "not an IPv4 or IPv6 address; left out",
    Code.IP_NOT_PUBLIC: "a private, loopback or otherwise unroutable address, likely a proxy's; send the shopper's",
    Code.SUSPECT_IP: "an address of a documentation range; check that no test data reaches production",
    Code.USER_AGENT_UNUSABLE: (
        "a bot, a program or no user agent at all; send the shopper's own, not that of the calling server"
    ),
    Code.LOCALE_INVALID: "not a language tag such as en-US; left out",
    Code.FBP_MALFORMED: "not of the shape fb.1.<13 digits>.<number>; left out. Send the _fbp cookie untouched",
    Code.FBC_MALFORMED: "not of the shape fb.1.<13 digits>.<fbclid>; left out. Send the _fbc cookie untouched",
    Code.FBC_REPLACED: "event_source_url carries another fbclid than fbc; the newer click, that of the URL, is sent",
    Code.CLICK_ID_MALFORMED: "not a click id: a blank, a control character or another sign it cannot have; left out",
    Code.CLICK_ID_TOO_LONG: "longer than the platform's click ids; left out, as a cut one would match nothing",
    Code.JUNK_CLICK_ID: "a placeholder or an ad macro that was never filled in; left out",
}
"""The words of each warning: what is the case and what to do about it."""

SUSPECTS = frozenset({Code.SUSPECT_EMAIL, Code.SUSPECT_PHONE, Code.SUSPECT_IP})
"""Warned about and still sent, unless the source is marked as production."""


def warn(code: Code, pointer: str) -> Warn:
    """The warning for `code` at the JSON pointer `pointer`."""
    return Warn(code.value, pointer, DETAILS[code])
