"""Meta's official Python SDK as a second opinion, and every way in which ours is known to differ from it.

A disagreement is explained, not just excused: each class says what our digest must be instead, from the sheet's rule
written down a second time, or why there must be none.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from importlib import import_module
from typing import Any, Literal

import phonenumbers

from app.hashing.identity import hash_identity
from app.hashing.options import HashingOptions
from app.model import Form
from app.wire import UserData

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TODAY = NOW.date()
FIELDS: dict[str, tuple[str, Form]] = {
    "em": ("email", Form.EMAIL),
    "ph": ("phone", Form.PHONE_DIGITS),
    "fn": ("first_name", Form.FIRST_NAME_LETTERS),
    "ln": ("last_name", Form.LAST_NAME_LETTERS),
    "ct": ("city", Form.CITY),
    "st": ("state", Form.STATE),
    "zp": ("zip", Form.ZIP),
    "country": ("country", Form.COUNTRY),
    "db": ("date_of_birth", Form.BIRTH_DATE),
    "ge": ("gender", Form.GENDER),
    "external_id": ("external_id", Form.EXTERNAL_ID_LOWER),
}
"""Meta's key, our field, and the form that goes to Meta."""


class Sdk:
    """The parts of `facebook_business` that normalise and hash."""

    def __init__(self) -> None:
        """Raises: ImportError when it is not installed."""
        serverside = "facebook_business.adobjects.serverside"
        self._normalize: Any = import_module(f"{serverside}.normalize").Normalize
        self._user_data: Any = import_module(f"{serverside}.user_data").UserData
        pycountry: Any = import_module("pycountry")
        self.countries: dict[str, str] = {}
        for country in pycountry.countries:
            for name in (country.alpha_2, country.alpha_3, country.name, getattr(country, "common_name", None)):
                if name:
                    self.countries[key(name)] = country.alpha_2.lower()
        self.states = {key(each.name): each.code[3:].lower() for each in pycountry.subdivisions.get(country_code="US")}

    def says(self, field: str, text: str) -> str | None:
        """What it sends for a value; None where it raises or sends nothing."""
        if field == "external_id":
            (sent,) = self._user_data(external_id=text).normalize().get("external_id") or (None,)
            return None if sent is None else str(sent)
        try:
            sent = self._normalize.normalize_field(field, text)
        except (TypeError, ValueError):  # a lone surrogate, too
            return None
        return None if sent is None else str(sent)


@dataclass(frozen=True, slots=True)
class Case:
    """One value, and what becomes of it on either side: hexadecimal digests, or None."""

    field: str
    text: str
    country: str | None
    sdk: Sdk
    theirs: str | None
    ours: str | None

    @property
    def agrees(self) -> bool:
        """Whether both send the same, or both nothing."""
        return self.theirs == self.ours

    @property
    def cleaned(self) -> str:
        """The text without invisible characters, composed and trimmed."""
        return clean(self.text, "NFKC" if self.field in {"em", "ph", "zp", "db"} else "NFC")

    @property
    def is_dropped(self) -> bool:
        """Whether we send nothing."""
        return self.ours is None

    def is_ours(self, *texts: str | None) -> bool:
        """Whether our digest is that of one of these texts."""
        return self.ours is not None and self.ours in {sha(text) for text in texts if text}


def compare(sdk: Sdk, field: str, text: str, country: str | None = None) -> Case:
    """Both sides of one value. `country` is that of the event, where the field is read with one."""
    name, form = FIELDS[field]
    if field == "country":
        country = None
    user = {name: text} | ({"country": country} if country else {})
    identity, _ = hash_identity(UserData.model_validate(user), options=HashingOptions(), event_time=NOW, today=TODAY)
    ours = identity.hex(form)
    assert len(ours) <= 1 or field == "ph", f"{field} of {text!r} gives {len(ours)} values"
    return Case(field, text, country, sdk, sdk.says(field, text), ours[0] if ours else None)


# --- the rules of the sheets, written a second time --------------------------------------------------------------


def sha(text: str) -> str:
    """The SHA-256 of a text in hexadecimal; nothing has a lone surrogate."""
    return sha256(text.encode("utf-8", "replace")).hexdigest()


_INVISIBLE = re.compile("[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")


def clean(text: str, form: Literal["NFC", "NFKC"]) -> str:
    """hashing.md §3: invisible characters out, composed, trimmed."""
    return unicodedata.normalize(form, _INVISIBLE.sub("", unicodedata.normalize(form, text))).strip()


def letters(text: str) -> str:
    """Lower case; letters, marks and digits only."""
    lowered = unicodedata.normalize("NFC", text.lower())
    return unicodedata.normalize("NFC", "".join(c for c in lowered if unicodedata.category(c)[0] in "LMN"))


def key(text: str) -> str:
    """`letters` without accents."""
    return "".join(c for c in unicodedata.normalize("NFD", letters(text)) if unicodedata.category(c) != "Mn")


def narrow(text: str) -> str:
    """Full-width Latin as plain Latin."""
    return "".join(chr(ord(c) - 0xFEE0) if "\uff01" <= c <= "\uff5e" else c for c in text)


def decimal(text: str) -> str:
    """The digits of every script as 0-9."""
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)


_JUNK = frozenset(
    "- -- --- . .. _ ? n/a na n.a. none null nil (null) undefined nan unknown anonymous guest test tbd xxx false 0 "
    "deleted redacted".split()
) | {"", "[object object]"}
_JUNK_OF = {
    "fn": {
        "first",
        "last",
        "name",
        "first name",
        "last name",
        "firstname",
        "lastname",
        "customer",
        "user",
        "mr",
        "mrs",
    },
    "external_id": {"-1", "user", "customer", "user_id", "customer_id", "null-null"},
    "em": {"test@test.com", "test@example.com", "a@a.com", "email@email.com", "none@none.com", "na@na.com"},
}
_JUNK_OF["ln"] = _JUNK_OF["fn"]
_TEMPLATE = re.compile(r"\{\{.*\}\}|\$\{.*\}|%[A-Za-z_.]+%|<%.*%>|\[\[.*\]\]", re.DOTALL)
_NOBODY = re.compile(r"(no-?email|no-?reply|donotreply|do-not-reply)@.*|.*\.(invalid|test|local|localhost|localdomain)")


def _is_placeholder(case: Case) -> bool:
    lowered = case.cleaned.lower()
    if not case.is_dropped:
        return False
    if case.field == "em" and (_NOBODY.fullmatch(lowered) or _NOBODY.fullmatch(lowered.strip(" .,;>\"'"))):
        return True
    if case.field == "zp" and re.fullmatch(r"0+|9+", letters(decimal(lowered))):
        return True
    words = _JUNK | _JUNK_OF.get(case.field, set())
    spellings = {lowered, "".join(lowered.split()), letters(lowered) or lowered}
    return not spellings.isdisjoint(words) or _TEMPLATE.fullmatch(lowered) is not None


_OTHER_DIGEST = re.compile(
    r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{56}|[0-9a-f]{96}|[0-9a-f]{128}|[a-z0-9+/_-]{43}=?|[a-z0-9+/_-]{86}==|"
    r"[a-z0-9+/_-]{88}|\$2[abxy]?\$[^\s@]+",
    re.IGNORECASE,
)
_LONGEST = {"em": 320, "ph": 64, "external_id": 256}
_STRICT = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}[a-z]{2,63}")


def _unwrapped(case: Case) -> bool:
    text = case.cleaned.lower()
    bracket = re.search(r"<([^<>]*)>", text)
    inner = bracket.group(1) if bracket else text.removeprefix("mailto:")
    return (inner != text.strip() and case.is_ours(inner.strip(" \t.,;>\"'"))) or case.is_ours(text.strip(" \t.,;>\"'"))


def _readings(case: Case, text: str) -> set[str]:
    """The phone library's own valid readings of a text, as digits: with its country code, and as a national number."""
    region = case.country.upper() if case.country else None
    digits = re.sub(r"\D", "", text)
    own = str(phonenumbers.country_code_for_region(region)) if region else "none"
    spelled: list[tuple[str, str | None]] = [(text, region)]
    if _is_written_with_country(text):
        spelled += [(text, None), ("+" + digits.lstrip("0"), None), (re.sub(r"^\D*0+", "+", text), None)]
    elif digits.startswith(own):
        spelled.append(("+" + digits, None))
    elif own == "1" and digits.startswith("011"):
        spelled.append(("+" + digits[3:], None))
    if digits.startswith("521") and len(digits) == 13 and (own == "52" or _is_written_with_country(text)):
        spelled.append(("+52" + digits[3:], None))
    found = set()
    for written, where in spelled:
        try:
            number = phonenumbers.parse(written, where)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            found.add(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:])
    return {each for each in found if len(each) <= 15}


def _is_written_with_country(text: str) -> bool:
    return re.match(r"\s*(tel:|phone:)?\s*[(\[]?\s*(\+|00)", text, re.IGNORECASE) is not None


def _without_remark(text: str) -> str:
    """Without an extension, or words after the number."""
    return re.sub(r"\s*(ext|x|#).*|\s[^\W\d_]\D*$|\s*[(\[]\D*[)\]]\s*$", "", text, flags=re.IGNORECASE)


def _phone_is_ours(case: Case) -> bool:
    """Some part of the text is this number: as the library reads it, or as it stands where it has its plus."""
    whole = decimal(case.cleaned)
    parts = [whole, *re.split(r"[,;|\n/]", whole)]
    for part in [*parts, *map(_without_remark, parts)]:
        standing = re.sub(r"\D", "", part) if "+" in part else ""
        mexican = "52" + standing[3:] if standing.startswith("521") and len(standing) == 13 else None
        shaped = standing if 8 <= len(standing) <= 15 else None
        if case.is_ours(mexican, shaped, *_readings(case, part)):
            return True
    return False


def _phone_is_nobodys(case: Case) -> bool:
    """Nothing valid can be read, or nothing certain."""
    digits = re.sub(r"\D", "", decimal(case.cleaned))
    if not case.is_dropped:
        return False
    if not case.country and not _is_written_with_country(case.cleaned):
        return True
    if re.search(r"[^\d \t\u00a0().+/\u2010-\u2015\u2212-]", case.cleaned):
        return True
    return len(_readings(case, decimal(case.cleaned))) != 1 or len(set(digits[-7:])) == 1 or digits in "1234567890" * 2


def _dates(case: Case) -> set[date]:
    """Every date a text can mean."""
    text = re.sub(r"[T ]\d\d:.*$", "", decimal(case.cleaned))
    parts = re.findall(r"\d+", text)
    if len(parts) == 1 and len(parts[0]) == 8:
        orders = [(parts[0][:4], parts[0][4:6], parts[0][6:])]
    elif len(parts) == 3 and len(parts[0]) == 4:
        orders = [(parts[0], parts[1], parts[2])]
    elif len(parts) == 3 and len(parts[2]) == 4:
        orders = [(parts[2], parts[1], parts[0]), (parts[2], parts[0], parts[1])]
    else:
        orders = []
    found = set()
    for year, month, day in orders:
        with contextlib.suppress(ValueError):
            found.add(date(int(year), int(month), int(day)))
    return found


def _birth_date(case: Case) -> str | None:
    """The one date a text means, if it can be that of a customer's birth."""
    dates = _dates(case)
    if len(dates) != 1 or not _DATE.fullmatch(decimal(case.cleaned)):
        return None
    (born,) = dates
    is_possible = date(1900, 1, 2) <= born <= TODAY.replace(year=TODAY.year - 13)
    return born.strftime("%Y%m%d") if is_possible and (born.year, born.month, born.day) not in _DEFAULTS else None


_DATE = re.compile(
    r"\d{8}|\d{4}\s?[-/., ]\s?\d{1,2}\s?[-/., ]\s?\d{1,2}([T ][\d:.+Zz-]+)?|\d{1,2}\s?[-/.]\s?\d{1,2}\s?[-/.]\s?\d{4}"
)
_DEFAULTS = {(1970, 1, 1), (2000, 1, 1)}
_FEMALE = frozenset("f female woman w girl mrs ms miss weiblich frau femme mujer donna".split())
_MALE = frozenset("m male man boy mr männlich maennlich mann herr homme hombre uomo".split())


def _gender(case: Case) -> str | None:
    word = letters(case.cleaned)
    return "f" if word in _FEMALE else "m" if word in _MALE else None


def _zip(case: Case) -> Iterator[str]:
    full = letters(decimal(case.cleaned))
    if case.country == "us":
        yield (full.zfill(5) if full.isdigit() and len(full) in (3, 4) else full)[:5]
    elif case.country is None and re.fullmatch(r"\d{5}-\d{4}", decimal(case.cleaned)):
        yield full[:5]
    else:
        yield full


def _state(case: Case) -> Iterator[str | None]:
    text = re.sub(r"^[A-Za-z]{2}-(?=[A-Za-z0-9]{1,3}$)", "", case.cleaned)
    if text != case.cleaned and case.cleaned[:2].lower() in {case.country, None if case.country else "us", "ca", "au"}:
        yield letters(text)
    if case.country in (None, "us"):
        yield {**case.sdk.states, "washingtondc": "dc"}.get(key(case.cleaned))


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One known class: where the sheet has it, why ours differs, how to tell that a case is of it, and an example."""

    name: str
    fields: tuple[str, ...]
    sheet: str
    why: str
    explains: Callable[[Case], bool]
    example: tuple[str, str, str | None]


EVERY = tuple(FIELDS)
HASHED = tuple(field for field in FIELDS if field != "external_id")
NAMES = ("fn", "ln")

DISAGREEMENTS = (
    Disagreement(
        "digest_of_another_kind",
        HASHED,
        "meta.md §6.4 any; hashing.md §6",
        "Meta takes SHA-256 only: the SDK passes an MD5 on as if it were one and hashes other digests; we drop them",
        lambda case: case.is_dropped and _OTHER_DIGEST.fullmatch(case.text.strip()) is not None,
        ("em", "5d41402abc4b2a76b9719d911017c592", None),
    ),
    Disagreement(
        "digest_prefix",
        EVERY,
        "hashing.md §6",
        "`sha256:` or `0x` before a digest says that it is one; the SDK hashes the digest with its prefix",
        lambda case: (
            case.ours is not None
            and re.fullmatch(r"(sha-?256[:=]|0x)\s?" + case.ours, case.text.strip(), re.IGNORECASE) is not None
        ),
        ("em", "sha256:" + sha("jane@shop.de"), None),
    ),
    Disagreement(
        "placeholder",
        EVERY,
        "hashing.md §7",
        "a placeholder stands for nobody, and its digest would make one person of many; the SDK hashes it",
        _is_placeholder,
        ("fn", "unknown", None),
    ),
    Disagreement(
        "too_long",
        EVERY,
        "hashing.md §3",
        "longer than any real value of its kind, so it is none; the SDK hashes any length",
        lambda case: case.is_dropped and len(case.cleaned) > _LONGEST.get(case.field, 128),
        ("fn", "x" * 129, None),
    ),
    Disagreement(
        "unicode",
        HASHED,
        "meta.md §6.4 any; hashing.md §3",
        "the same letters composed differently, or with characters nobody sees, must give one digest; the SDK only "
        "trims and lower-cases",
        lambda case: case.ours is not None and case.ours == case.sdk.says(case.field, case.cleaned),
        ("fn", "Vale\u0301ry", None),
    ),
    Disagreement(
        "em_wrapping",
        ("em",),
        "meta.md §6.4 em; hashing.md §5",
        "the SDK wants no more than x@y.z: it hashes display names, `mailto:` and loose punctuation with the address",
        _unwrapped,
        ("em", "Jane Doe <jane@shop.de>", None),
    ),
    Disagreement(
        "em_shape",
        ("em",),
        "meta.md §6.4 em",
        "the SDK wants no more than x@y.z and keeps inner blanks: what is no address is dropped here",
        lambda case: case.is_dropped and not _STRICT.fullmatch(case.cleaned.lower()),
        ("em", "jane doe@shop.de", None),
    ),
    Disagreement(
        "ph_symbols",
        ("ph",),
        "meta.md §6.4 ph",
        "the SDK refuses dots, letters and short numbers; ours takes the separators people use and what a word hides",
        lambda case: case.theirs is None and _phone_is_ours(case),
        ("ph", "+49.151.2345678", None),
    ),
    Disagreement(
        "ph_zeros",
        ("ph",),
        "meta.md §6.4 ph; hashing.md §4",
        "the SDK cuts zeros at the front only, so a trunk zero after the country code stays; Mexico's old 1 stays, too",
        lambda case: _is_written_with_country(case.cleaned) and _phone_is_ours(case),
        ("ph", "+44 (0)7911 123456", None),
    ),
    Disagreement(
        "ph_country_code",
        ("ph",),
        "meta.md §6.4 ph",
        "the SDK lets national numbers pass without country code, which Meta demands; ours adds that of the region",
        lambda case: not _is_written_with_country(case.cleaned) and _phone_is_ours(case),
        ("ph", "(415) 555-2671", "us"),
    ),
    Disagreement(
        "ph_nobodys",
        ("ph",),
        "meta.md §6.4 ph; hashing.md §4",
        "the SDK counts digits only: a number without a country, of no assigned range or with two readings is dropped",
        _phone_is_nobodys,
        ("ph", "415-555-2671", None),
    ),
    Disagreement(
        "name_punctuation",
        NAMES,
        "meta.md §6.4 fn/ln",
        "Meta wants no punctuation, and its pixel removes blanks as well; the SDK leaves both",
        lambda case: case.is_ours(letters(case.cleaned), letters(narrow(case.cleaned))),
        ("ln", "O'Brien", None),
    ),
    Disagreement(
        "name_is_none",
        NAMES,
        "meta.md §6.4 fn/ln; hashing.md §7",
        "without a letter, or with an @, it is no name; the SDK hashes the punctuation",
        lambda case: case.is_dropped and (not letters(case.cleaned) or "@" in narrow(case.cleaned)),
        ("fn", "***", None),
    ),
    Disagreement(
        "city_letters",
        ("ct",),
        "meta.md §6.4 ct",
        "the SDK removes digits, dots, dashes and brackets and no other punctuation; Meta's rule is punctuation",
        lambda case: case.is_ours(letters(case.cleaned)) or (case.is_dropped and not letters(case.cleaned)),
        ("ct", "L'Aquila", None),
    ),
    Disagreement(
        "state_code",
        ("st",),
        "meta.md §6.4 st",
        "Meta wants the two-letter code of US states; the SDK maps no name and keeps the prefix of ISO 3166-2",
        lambda case: case.is_ours(*_state(case)),
        ("st", "California", "us"),
    ),
    Disagreement(
        "state_letters",
        ("st",),
        "meta.md §6.4 st (as ct)",
        "as for cities: the SDK removes digits and leaves some punctuation",
        lambda case: case.is_ours(letters(case.cleaned)) or (case.is_dropped and not letters(case.cleaned)),
        ("st", "Côte-d'Or", "fr"),
    ),
    Disagreement(
        "zip_whole",
        ("zp",),
        "meta.md §6.4 zp",
        "the SDK cuts at the first dash in every country and has no rule of five for the US; we keep the rest whole",
        lambda case: case.is_ours(*_zip(case)) or (case.is_dropped and not letters(decimal(case.cleaned))),
        ("zp", "100-0001", "jp"),
    ),
    Disagreement(
        "country_name",
        ("country",),
        "meta.md §6.4 country",
        "the SDK takes alpha-2, once what is not a to z is gone, or raises; ours knows alpha-3 codes and names as well",
        lambda case: (
            (case.theirs is None or not re.fullmatch("[a-z]{2}", case.cleaned.lower()))
            and case.ours in {sha(code) for code in case.sdk.countries.values()}
            and case.sdk.countries.get(key(case.cleaned)) in (None, _code(case))
        ),
        ("country", "Deutschland", None),
    ),
    Disagreement(
        "country_unknown",
        ("country",),
        "meta.md §6.4 country",
        "the SDK removes what is no letter and takes what is left for a code; ours takes the whole for a code or name",
        lambda case: case.is_dropped and key(case.cleaned) not in case.sdk.countries,
        ("country", "d1e", None),
    ),
    Disagreement(
        "birth_date_form",
        ("db",),
        "meta.md §6.4 db",
        "Meta wants YYYYMMDD; the SDK hashes the date as typed",
        lambda case: case.is_ours(_birth_date(case)),
        ("db", "2/16/1997", None),
    ),
    Disagreement(
        "birth_date_refused",
        ("db",),
        "meta.md §6.4 db; hashing.md §7",
        "impossible, ambiguous, a child's or a form's default date is dropped; the SDK hashes whatever was typed",
        lambda case: case.is_dropped and _birth_date(case) is None,
        ("db", "30/02/1990", None),
    ),
    Disagreement(
        "gender_word",
        ("ge",),
        "meta.md §6.4 ge",
        "Meta wants f or m; the SDK's Normalize hashes the word",
        lambda case: case.is_ours(_gender(case)),
        ("ge", "Female", None),
    ),
    Disagreement(
        "gender_unknown",
        ("ge",),
        "meta.md §6.4 ge",
        "a word for neither is left out; the SDK's Normalize hashes it",
        lambda case: case.is_dropped and _gender(case) is None,
        ("ge", "x", None),
    ),
    Disagreement(
        "external_id_raw",
        ("external_id",),
        "meta.md §6.4 external_id",
        "hashing is advised and the pixel does it, in lower case without blanks; the SDK sends the id as it is",
        lambda case: (
            case.is_ours("".join(unicodedata.normalize("NFC", case.cleaned.lower()).split()))
            or (case.ours is not None and case.text.strip().lower() == case.ours)
        ),
        ("external_id", "Cust-991", None),
    ),
)
"""Every class of disagreement, the first that explains a case being its class."""


def _code(case: Case) -> str | None:
    return next((code for code in case.sdk.countries.values() if sha(code) == case.ours), None)


def explanation(case: Case) -> Disagreement | None:
    """The class a disagreement belongs to; None where nothing explains it."""
    return next((each for each in DISAGREEMENTS if case.field in each.fields and each.explains(case)), None)
