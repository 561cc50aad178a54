"""E-mail addresses: shape, international domains, junk and suspects."""

import pytest

from app.hashing import email
from app.hashing.codes import Code
from app.hashing.options import HashingOptions
from app.model import Form
from tests.hashing.support import codes, identity_of, of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Jane.Doe+promo@Shop.COM", "jane.doe+promo@shop.com"),
        ("Jane <jane@x.com>", "jane@x.com"),
        ('"Doe, Jane" <jane@x.com>', "jane@x.com"),
        ("mailto:jane@x.com", "jane@x.com"),
        ("jane@x.com,", "jane@x.com"),
        ("jane@x.com.", "jane@x.com"),
        ("ｊａｎｅ＠ｘ．ｃｏｍ", "jane@x.com"),
        ("Jané <jané@x.com>", "jané@x.com"),
        ("jane@straße.de", "jane@straße.de"),
        ("почта@почта.рф", "почта@почта.рф"),
        ("a@भारत.भारत", "a@भारत.भारत"),
        ("a@xn--mnchen-3ya.de", "a@xn--mnchen-3ya.de"),
        ("jané@münchen.xn--p1ai", "jané@münchen.xn--p1ai"),
        ("john.@gmail.com", "john.@gmail.com"),
        ("user@googlemail.com", "user@googlemail.com"),
        ("jané@x", Code.EMAIL_MALFORMED),
        ("jané@x.7", Code.EMAIL_MALFORMED),
        ("jané@x.c1", Code.EMAIL_MALFORMED),
        ("jané@-x.com", Code.EMAIL_MALFORMED),
        ("jané@@x.com", Code.EMAIL_MALFORMED),
        ("ja né@x.com", Code.EMAIL_INNER_BLANK),
        ("a b@x.com", Code.EMAIL_INNER_BLANK),
        ("a@b@x.com", Code.EMAIL_MALFORMED),
        ("@x.com", Code.EMAIL_MALFORMED),
        ("jane@x", Code.EMAIL_MALFORMED),
        ("jane@x.c", Code.EMAIL_MALFORMED),
        ("jane@-x.com", Code.EMAIL_MALFORMED),
        ("jane@localhost", Code.EMAIL_MALFORMED),
        ("a" * 65 + "@x.com", Code.EMAIL_MALFORMED),
        ("a@" + "b" * 400 + ".com", Code.TOO_LONG),
        ("é@" + "b" * 400 + ".com", Code.TOO_LONG),
        ("test@test.com", Code.JUNK_EMAIL),
        ("noreply@shop.com", Code.JUNK_EMAIL),
        ("jane@shop.invalid", Code.JUNK_EMAIL),
        ("jane@shop.test", Code.JUNK_EMAIL),
        ("{{email}}", Code.JUNK_EMAIL),
        ("${user.email}", Code.JUNK_EMAIL),
        ("%email%", Code.JUNK_EMAIL),
        ("[object Object]", Code.JUNK_EMAIL),
        ("NULL", Code.JUNK_EMAIL),
    ],
)
def test_em1(text: str, expected: str | Code) -> None:
    assert email.em1(text) == expected


def test_em2_of_what_is_nothing_but_a_tag_is_nothing() -> None:
    assert email.em2("+tag@gmail.com") is None
    identity, _ = identity_of({"email": "+tag@gmail.com"})
    assert identity.hex(Form.EMAIL) == of("+tag@gmail.com")
    assert identity.hex(Form.EMAIL_GMAIL_FOLDED) == []


def test_an_inner_blank_goes_for_google_alone_and_can_be_refused() -> None:
    user = {"email": "alex z@shop.com"}
    identity, warnings = identity_of(user)
    assert identity.hex(Form.EMAIL) == []
    assert identity.hex(Form.EMAIL_GMAIL_FOLDED) == of("alexz@shop.com")
    assert codes(warnings) == [("email_inner_blank", "/user/email")]
    identity, warnings = identity_of(user, email_inner_blanks="refuse")
    assert not identity.digests
    assert codes(warnings) == [("email_inner_blank", "/user/email")]
    assert not identity_of({"email": "no reply@@x.com"})[0].digests
    assert email.em2_without_blanks("+ tag@gmail.com") is Code.EMAIL_MALFORMED


def test_international_domains_in_each_form() -> None:
    user = {"email": "jane@Straße.de"}
    assert identity_of(user)[0].hex(Form.EMAIL) == of("jane@straße.de")
    assert identity_of(user, idn="a_label")[0].hex(Form.EMAIL) == of("jane@xn--strae-oqa.de")
    both = of("jane@straße.de", "jane@xn--strae-oqa.de")
    identity, _ = identity_of(user, idn="both")
    assert identity.hex(Form.EMAIL) == identity.hex(Form.EMAIL_GMAIL_FOLDED) == both
    assert identity_of({"email": "jane@x.com"}, idn="both")[0].hex(Form.EMAIL) == of("jane@x.com")
    assert email.a_label("jane@x.com") is None
    assert email.a_label("jane@" + "ß" * 70 + ".de") is None


@pytest.mark.parametrize("domain", ["example.com", "example.org", "test.de", "shop.example"])
def test_suspects_are_sent_with_a_warning_and_dropped_in_production(domain: str) -> None:
    user = {"email": f"jane@{domain}"}
    identity, warnings = identity_of(user)
    assert identity.hex(Form.EMAIL) == of(f"jane@{domain}")
    assert codes(warnings) == [("suspect_email", "/user/email")]
    identity, warnings = identity_of(user, production=True)
    assert not identity.digests
    assert codes(warnings) == [("suspect_email", "/user/email")]


@pytest.mark.parametrize(
    ("domain", "is_ignored"),
    [
        ("shop.com", True),
        ("mail.shop.com", False),
        ("marketplace.amazon.de", True),
        ("marketplace.amazon.co.uk", True),
        ("amazon.de", False),
        ("a.b.relay.net", True),
        ("relay.net", True),
        ("xrelay.net", False),
    ],
)
def test_ignored_domains(domain: str, is_ignored: bool) -> None:
    options = HashingOptions(ignored_email_domains=("@Shop.com", "marketplace.amazon.*", "*.relay.net"))
    assert (email.em1(f"jane@{domain}", options) is Code.JUNK_EMAIL) == is_ignored


def test_a_hashed_address_serves_both_forms_and_google_is_flagged() -> None:
    given = of("jane@gmail.com")[0]
    identity, warnings = identity_of({"email": given.upper()})
    assert identity.hex(Form.EMAIL) == identity.hex(Form.EMAIL_GMAIL_FOLDED) == [given]
    assert codes(warnings) == [("hash_form_unknown", "/user/email")]
