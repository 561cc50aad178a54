"""Names, gender, birth date, places and ids: what the vectors leave open, and each setting."""

from datetime import date

import pytest

from app.hashing import ids, person, places
from app.hashing.codes import Code
from app.hashing.options import HashingOptions
from app.model import Form
from tests.hashing.support import TODAY, codes, identity_of, of


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("Mary", ("mary", "mary", "mary")),
        ("O’Brien", ("obrien", "obrien", "o’brien")),
        ("van der Berg", ("vanderberg", "van der berg", "van der berg")),
        ("Dr. Smith Jr.", ("drsmithjr", "smith", "dr. smith jr.")),
        ("Smith,Jr.", ("smithjr", "smith", "smith,jr.")),
        ("Jr.", ("jr", "jr", "jr.")),
        ("Ｍａｒｙ　Ａｎｎ", ("maryann", "mary ann", "mary ann")),
        ("María\u3000José", ("maríajosé", "maría josé", "maría\u3000josé")),
        ("Ann\u00adMarie\u200b", ("annmarie", "annmarie", "annmarie")),
        ("J. R. R.", ("jrr", "j r r", "j. r. r.")),
    ],
)
def test_names(text: str, forms: tuple[str, str, str]) -> None:
    identity, warnings = identity_of({"first_name": text})
    assert [
        identity.hex(form)[0] for form in (Form.FIRST_NAME_LETTERS, Form.FIRST_NAME_SPACED, Form.FIRST_NAME_PUNCTUATED)
    ] == of(*forms)
    assert not warnings


@pytest.mark.parametrize(
    "text", ["-", "n/a", "Test", "first", "Customer", "!!!", "jane@x.com", "{{first_name}}", "First Name"]
)
def test_junk_names(text: str) -> None:
    identity, warnings = identity_of({"last_name": text})
    assert not identity.digests
    assert codes(warnings) == [("junk_name", "/user/last_name")]


def test_a_name_longer_than_any_is_dropped() -> None:
    assert person.name("x" * 200) is Code.TOO_LONG
    assert person.name("x y" * 100) is Code.TOO_LONG


@pytest.mark.parametrize(
    ("text", "letter"), [("F", "f"), ("Frau", "f"), ("männlich", "m"), ("Mr", "m"), ("non-binary", "n"), ("X", "n")]
)
def test_gender(text: str, letter: str) -> None:
    identity, _ = identity_of({"gender": text})
    assert identity.hex(Form.GENDER_WITH_NEUTRAL) == of(letter)
    assert identity.hex(Form.GENDER) == (of(letter) if letter != "n" else [])


def test_a_third_gender_is_no_value_of_ge1_also_not_hashed() -> None:
    identity, _ = identity_of({"gender": of("n")[0]})
    assert identity.hex(Form.GENDER) == []
    assert identity.hex(Form.GENDER_WITH_NEUTRAL) == of("n")
    assert codes(identity_of({"gender": "unknown"})[1]) == [("junk_gender", "/user/gender")]
    assert codes(identity_of({"gender": "g"})[1]) == [("gender_unknown", "/user/gender")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1990-02-03", "19900203"),
        ("１９９０-０２-０３", "19900203"),
        ("1990-02-03 10:00:00", "19900203"),
        ("3.3.1990", "19900303"),
        ("25/12/1990", "19901225"),
        ("12/25/1990", "19901225"),
        ("03/04/1990", Code.BIRTH_DATE_AMBIGUOUS),
        ("1900-01-01", Code.JUNK_BIRTH_DATE),
        ("1970-01-01", Code.JUNK_BIRTH_DATE),
        ("20000101", Code.JUNK_BIRTH_DATE),
        ("n/a", Code.JUNK_BIRTH_DATE),
        ("1899-12-31", Code.BIRTH_DATE_INVALID),
        ("1990-13-01", Code.BIRTH_DATE_INVALID),
        ("1990/13/01", Code.BIRTH_DATE_INVALID),
        ("February 3", Code.BIRTH_DATE_INVALID),
        ("2013-11-20", "20131120"),
        ("2013-11-21", Code.CHILD_SUSPECTED),
        ("2020-01-02", Code.CHILD_SUSPECTED),
        ("2030-01-02", Code.CHILD_SUSPECTED),
        ("1" * 200, Code.TOO_LONG),
    ],
)
def test_birth_date(text: str, expected: str | Code) -> None:
    assert person.birth_date(text, TODAY) == expected


def test_a_leap_day_has_its_thirteenth_birthday_on_the_first_of_march() -> None:
    assert person.birth_date("2008-02-29", date(2021, 2, 28)) is Code.CHILD_SUSPECTED
    assert person.birth_date("2008-02-29", date(2021, 3, 1)) == "20080229"


def test_the_order_of_day_and_month_is_a_setting() -> None:
    assert person.birth_date("03/04/1990", TODAY, "mdy") == "19900304"
    assert person.birth_date("03/04/1990", TODAY, "dmy") == "19900403"


@pytest.mark.parametrize(
    ("text", "country", "expected"),
    [
        ("CA", "us", ("ca", "ca", "ca")),
        ("California", None, ("ca", "ca", None)),
        ("Ontario", "ca", ("ontario", "on", "on")),
        ("QC", "ca", ("qc", "qc", "qc")),
        ("Québec", "ca", ("québec", "qc", "qc")),
        ("NSW", "au", ("nsw", None, "nsw")),
        ("New South Wales", "au", ("newsouthwales", None, "nsw")),
        ("South Australia", "au", ("southaustralia", "sa", "sa")),
        ("Georgia", "ge", ("georgia", None, None)),
        ("US-TX", None, ("tx", "tx", "tx")),
        ("DE-BY", "de", ("by", "by", None)),
        ("DE-BY", "us", ("deby", None, None)),
        ("75", "fr", ("75", None, None)),
        ("Washington", "us", ("wa", "wa", "wa")),
        ("n/a", "us", Code.JUNK_STATE),
        ("...", "us", Code.JUNK_STATE),
        ("x" * 200, "us", Code.TOO_LONG),
    ],
)
def test_state(text: str, country: str | None, expected: tuple[str, str | None, str | None] | Code) -> None:
    assert places.state(text, country) == expected


def test_provinces_can_be_mapped_for_st1_too() -> None:
    options = HashingOptions(map_provinces=True)
    assert places.state("Ontario", "ca", options) == ("on", "on", "on")
    assert places.state("New South Wales", "au", options) == ("nsw", None, "nsw")


def test_the_state_is_kept_in_plain_for_privacy_flags() -> None:
    identity, _ = identity_of({"country": "USA", "state": ["bogus place", "California"]})
    assert (identity.country, identity.state) == ("us", "ca")


@pytest.mark.parametrize(
    ("text", "country", "expected"),
    [
        ("94107", "us", ("94107", "94107", "94107")),
        ("94107-1234", None, ("94107", "94107", "941071234")),
        ("941071234", None, ("941071234", "941071234", "941071234")),
        ("2138", "us", ("02138", "02138", "02138")),
        ("2138", "dk", ("2138", "2138", "2138")),
        ("SW1A 1AA", "gb", ("sw1a1aa", "sw1a1", None)),
        ("SW1A 1", "gb", ("sw1a1", "sw1a1", None)),
        ("sw1a1aa", None, ("sw1a1aa", "sw1a1aa", None)),
        ("１００-０００１", "jp", ("1000001", "1000001", "1000001")),
        ("٩٤١٠٧", "us", ("94107", "94107", "94107")),
        ("1012", "nl", ("1012", "1012", None)),
        ("00000", "us", Code.JUNK_ZIP),
        ("99999", None, Code.JUNK_ZIP),
        ("n/a", None, Code.JUNK_ZIP),
        ("[object Object]", None, Code.JUNK_ZIP),
        ("!", None, Code.ZIP_INVALID),
        ("1" * 200, None, Code.TOO_LONG),
    ],
)
def test_zip(text: str, country: str | None, expected: object) -> None:
    assert places.zips(text, country) == expected


def test_settings_for_pinterests_postal_codes() -> None:
    user = {"zip": "62704-1234", "country": "US"}
    assert identity_of(user)[0].hex(Form.ZIP_DIGITS) == of("627041234")
    assert identity_of(user, zip_plus4="cut")[0].hex(Form.ZIP_DIGITS) == of("62704")
    assert identity_of(user, zip_plus4="both")[0].hex(Form.ZIP_DIGITS) == of("627041234", "62704")
    assert identity_of({"zip": "SW1A 1AA"}, zip_letters="digits")[0].hex(Form.ZIP_DIGITS) == of("11")
    assert identity_of({"zip": "ABC"}, zip_letters="digits")[0].hex(Form.ZIP_DIGITS) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("us", "us"),
        ("DEU", "de"),
        ("the netherlands", "nl"),
        ("U.S.A.", "us"),
        ("España", "es"),
        ("Espana", "es"),
        ("日本", "jp"),
        ("Россия", "ru"),
        ("EL", "gr"),
        ("NA", "na"),
        ("{{country}}", Code.JUNK_COUNTRY),
        ("unknown", Code.JUNK_COUNTRY),
        ("Atlantis", Code.COUNTRY_UNKNOWN),
        ("x" * 200, Code.TOO_LONG),
    ],
)
def test_country(text: str, expected: str | Code) -> None:
    assert places.country(text) == expected


def test_every_country_has_a_code_of_two_and_of_three_letters_once() -> None:
    table = places._table("countries.toml")
    assert len(table) == 249
    assert all(len(code) == 2 and code.isupper() for code in table)
    threes = [names[0] for names in table.values()]
    assert len(set(threes)) == 249
    assert all(len(three) == 3 and three.isupper() for three in threes)
    codes_of: dict[str, str] = {}
    for code, names in table.items():
        for name in (code, *names):
            assert codes_of.setdefault(places._key(name), code) == code, f"two countries share {name}"


def test_city() -> None:
    assert places.city("St. John's") == "stjohns"
    assert places.city("test") is Code.JUNK_CITY
    assert places.city("??") is Code.JUNK_CITY
    assert places.city("x" * 200) is Code.TOO_LONG


def test_external_ids() -> None:
    given = of("x")[0]
    raw = {"external_id": given.upper()}
    assert identity_of(raw)[0].hex(Form.EXTERNAL_ID) == [given]
    assert identity_of(raw, external_id_prehashed="always")[0].hex(Form.EXTERNAL_ID_LOWER) == [given]
    assert identity_of(raw, external_id_prehashed="never")[0].hex(Form.EXTERNAL_ID) == of(given.upper())
    assert codes(identity_of({"external_id": "a" * 40}, external_id_prehashed="always")[1]) == [
        ("hash_unsupported", "/user/external_id")
    ]
    assert codes(identity_of({"external_id": "cust-1"}, external_id_prehashed="always")[1]) == [
        ("hash_unsupported", "/user/external_id")
    ]
    assert identity_of({"external_id": "a" * 40})[0].hex(Form.EXTERNAL_ID) == of("a" * 40)
    for junk in ("0", "-1", "Guest", "customer"):
        assert codes(identity_of({"external_id": junk})[1]) == [("junk_external_id", "/user/external_id")]
    assert codes(identity_of({"external_id": "x" * 300})[1]) == [("too_long", "/user/external_id")]


def test_the_case_of_external_ids_is_a_setting() -> None:
    user = {"external_id": "Cust 1"}
    lowered, kept = of("cust1"), of("Cust 1")
    for case, expected in (("per_platform", (lowered, kept)), ("keep", (kept, kept)), ("lower", (lowered, lowered))):
        identity, _ = identity_of(user, external_id_case=case)
        assert (identity.hex(Form.EXTERNAL_ID_LOWER), identity.hex(Form.EXTERNAL_ID)) == expected


def test_advertising_ids() -> None:
    ios, android = "EA7583CD-A667-48BC-B806-42ECB2B48606", "38400000-8cf0-11bd-b23e-10b96e40000d"
    identity, warnings = identity_of({"idfa": f" {{{ios}}} ", "gaid": android, "idfv": ios})
    assert (identity.idfa, identity.gaid, identity.idfv) == (ios, android, ios)
    assert identity.hex(Form.AD_ID) == of(ios, android)
    assert not warnings
    zero = "00000000-0000-0000-0000-000000000000"
    identity, warnings = identity_of({"idfa": zero, "gaid": "jane@x.com", "idfv": "none"})
    assert not identity.digests
    assert identity.idfa is identity.gaid is identity.idfv is None
    assert [code for code, _ in codes(warnings)] == ["ad_id_zero", "ad_id_invalid", "ad_id_invalid"]
    identity, _ = identity_of({"idfa": of(ios)[0].upper(), "gaid": of(ios)[0], "idfv": " "})
    assert identity.hex(Form.AD_ID) == of(ios)
    assert identity.idfa == of(ios)[0]
    assert ids.uuid_form(ios.replace("-", "")) == ios.lower()
    assert ids.uuid_form("not-a-uuid") is None


def test_lead_id_and_customer_type() -> None:
    identity, warnings = identity_of({"lead_id": "l:123456789012345", "customer_type": " New "})
    assert (identity.lead_id, identity.customer_type) == ("123456789012345", "new")
    assert not warnings
    identity, warnings = identity_of({"lead_id": "jane@x.com", "customer_type": "vip"})
    assert identity.lead_id is identity.customer_type is None
    assert codes(warnings) == [
        ("lead_id_invalid", "/user/lead_id"),
        ("customer_type_unknown", "/user/customer_type"),
    ]


@pytest.mark.parametrize(
    ("name", "form"),
    [("jane", "jane"), ("dr. jane", "jane"), ("doe jr.", "doe"), ("anna maria", "anna maria"), ("dr", "dr")],
)
def test_the_spaced_form_of_a_name_drops_titles_and_suffixes(name: str, form: str) -> None:
    assert person.name2(name) == form
