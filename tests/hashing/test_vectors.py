"""Every published and inferred vector of the five platforms, through `hash_identity`."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from app.hashing import ids, text
from app.hashing.identity import hash_identity
from app.hashing.options import HashingOptions
from app.model import Form, HashedIdentity
from app.wire import UserData

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PLATFORMS = ("meta", "tiktok", "pinterest", "snapchat", "google")

HASHED: dict[str, dict[str, tuple[str, Form]]] = {
    "meta": {
        "em": ("email", Form.EMAIL),
        "ph": ("phone", Form.PHONE_DIGITS),
        "fn": ("first_name", Form.FIRST_NAME_LETTERS),
        "ln": ("last_name", Form.LAST_NAME_LETTERS),
        "ge": ("gender", Form.GENDER),
        "db": ("date_of_birth", Form.BIRTH_DATE),
        "ct": ("city", Form.CITY),
        "st": ("state", Form.STATE),
        "zp": ("zip", Form.ZIP),
        "country": ("country", Form.COUNTRY),
        "external_id": ("external_id", Form.EXTERNAL_ID_LOWER),
    },
    "tiktok": {
        "email": ("email", Form.EMAIL),
        "phone": ("phone", Form.PHONE_E164),
        "first_name": ("first_name", Form.FIRST_NAME_SPACED),
        "last_name": ("last_name", Form.LAST_NAME_SPACED),
        "zip_code": ("zip", Form.ZIP),
        "external_id": ("external_id", Form.EXTERNAL_ID),
    },
    "pinterest": {
        "em": ("email", Form.EMAIL),
        "ph": ("phone", Form.PHONE_DIGITS),
        "fn": ("first_name", Form.FIRST_NAME_PUNCTUATED),
        "ln": ("last_name", Form.LAST_NAME_PUNCTUATED),
        "ge": ("gender", Form.GENDER_WITH_NEUTRAL),
        "db": ("date_of_birth", Form.BIRTH_DATE),
        "ct": ("city", Form.CITY),
        "st": ("state", Form.STATE_TWO_LETTER),
        "zp": ("zip", Form.ZIP_DIGITS),
        "country": ("country", Form.COUNTRY),
        "external_id": ("external_id", Form.EXTERNAL_ID),
        "hashed_maids": ("idfa", Form.AD_ID),
    },
    "snapchat": {
        "em": ("email", Form.EMAIL),
        "ph": ("phone", Form.PHONE_DIGITS),
        "fn": ("first_name", Form.FIRST_NAME_LETTERS),
        "ln": ("last_name", Form.LAST_NAME_LETTERS),
        "ge": ("gender", Form.GENDER),
        "ct": ("city", Form.CITY),
        "st": ("state", Form.STATE),
        "zp": ("zip", Form.ZIP_GB_SECTOR),
        "country": ("country", Form.COUNTRY),
        "external_id": ("external_id", Form.EXTERNAL_ID_LOWER),
    },
    "google": {
        "email_address": ("email", Form.EMAIL_GMAIL_FOLDED),
        "phone_number": ("phone", Form.PHONE_E164),
        "given_name": ("first_name", Form.FIRST_NAME_SPACED),
        "family_name": ("last_name", Form.LAST_NAME_SPACED),
    },
}

# Fields that travel unhashed: the field of the event, and what the platform's adapter makes of the kept value.
PLAIN: dict[tuple[str, str], tuple[str, Callable[[HashedIdentity], str | None]]] = {
    ("meta", "fbp"): ("fbp", lambda kept: kept.fbp),
    ("tiktok", "ttclid"): ("ttclid", lambda kept: kept.ttclid),
    ("tiktok", "ttp"): ("ttp", lambda kept: kept.ttp),
    ("tiktok", "country"): ("country", lambda kept: kept.country),
    ("tiktok", "locale"): ("locale", lambda kept: kept.locale),
    ("tiktok", "idfa"): ("idfa", lambda kept: _unless_digest(kept.idfa, str.upper)),
    ("tiktok", "gaid"): ("gaid", lambda kept: _unless_digest(kept.gaid, str.lower)),
    ("pinterest", "click_id"): ("epik", lambda kept: kept.epik),
    ("snapchat", "madid"): ("idfa", lambda kept: ids.uuid_form(kept.idfa or "")),
    ("snapchat", "idfv"): ("idfv", lambda kept: ids.uuid_form(kept.idfv or "")),
    ("snapchat", "sc_click_id"): ("sc_click_id", lambda kept: kept.sc_click_id),
    ("snapchat", "sc_cookie1"): ("sc_cookie1", lambda kept: kept.sc_cookie1),
    ("google", "region_code"): ("country", lambda kept: (kept.country or "").upper() or None),
    **{
        (platform, field): ("client_ip_address", lambda kept: kept.client_ip_address)
        for platform, field in (
            ("meta", "client_ip_address"),
            ("tiktok", "ip"),
            ("pinterest", "client_ip_address"),
            ("snapchat", "client_ip_address"),
        )
    },
    **{
        (platform, field): ("client_user_agent", lambda kept: kept.client_user_agent)
        for platform, field in (
            ("tiktok", "user_agent"),
            ("pinterest", "client_user_agent"),
            ("snapchat", "client_user_agent"),
        )
    },
}

# Plain text that Convey does not keep: only the normal form is compared.
TEXT_ONLY: dict[tuple[str, str], Callable[[str], str]] = {
    ("google", "postal_code"): text.clean,
    ("google", "address_line"): text.spaced,
    ("google", "city"): text.spaced,
    ("google", "administrative_area"): text.spaced,
}

NO_IDENTIFIER = {
    "custom_data.currency": "money, not an identifier",
    "custom_data.value": "money, not an identifier",
    "event_time": "an instant, not an identifier",
    "f5first": "a partial key of one SDK, not on the public page: not sent",
    "f5last": "a partial key of one SDK, not on the public page: not sent",
    "fi": "a partial key of one SDK, not on the public page: not sent",
    "dobd": "a partial key of one SDK, not on the public page: not sent",
    "dobm": "a partial key of one SDK, not on the public page: not sent",
    "doby": "a partial key of one SDK, not on the public page: not sent",
}


@dataclass(frozen=True)
class Deviation:
    """A vector that does not hold with the default options, why, and the options under which it holds (if any)."""

    platform: str
    field: str
    input: Any
    reason: str
    flipped_by: HashingOptions | None = None


EXCEPTIONS = (
    Deviation(
        "meta",
        "ph",
        "1-650-555-1212",
        "no plus and no country: TikTok's and Pinterest's vectors drop the very same shape as not provable",
        HashingOptions(default_region="US"),
    ),
    Deviation(
        "snapchat",
        "ph",
        16505551212,
        "no plus and no country: TikTok's and Pinterest's vectors drop the very same shape as not provable",
        HashingOptions(default_region="US"),
    ),
    Deviation(
        "meta",
        "db",
        "02/03/1997",
        "day and month cannot be told apart: Pinterest's vectors drop the same shape, and both read one form",
        HashingOptions(birth_date_order="mdy"),
    ),
    Deviation(
        "meta",
        "country",
        "Österreich",
        "a country's own name is understood, as another vector of the same file (Deutschland) asks",
    ),
    Deviation(
        "google", "region_code", "USA", "understood, as Meta's, TikTok's, Pinterest's and Snapchat's vectors ask"
    ),
    Deviation("google", "region_code", "Germany", "understood, as TikTok's and Pinterest's vectors ask"),
)


def _unless_digest(value: str | None, case: Callable[[str], str]) -> str | None:
    return value if value is None or len(value) == 64 else case(value)


def _rows() -> list[Any]:
    rows = []
    for platform in PLATFORMS:
        path = Path(__file__).parent / "vectors" / f"{platform}.json"
        for index, row in enumerate(json.loads(path.read_text(encoding="utf-8"))):
            rows.append(pytest.param(platform, row, id=f"{platform}-{index}-{row['field']}"))
    return rows


def _exception(platform: str, row: dict[str, Any]) -> Deviation | None:
    if "country" in row:
        return None
    for exception in EXCEPTIONS:
        if (exception.platform, exception.field, exception.input) == (platform, row["field"], row["input"]):
            return exception
    return None


def _identity(
    fields: dict[str, Any], options: HashingOptions, url: str | None = None, event_time: datetime = NOW
) -> HashedIdentity:
    user = UserData.model_validate(fields)
    identity, warnings = hash_identity(
        user, options=options, event_source_url=url, event_time=event_time, today=date(2026, 11, 20)
    )
    assert all(isinstance(warning.pointer, str) and warning.detail for warning in warnings)
    return identity


def _holds(platform: str, row: dict[str, Any], options: HashingOptions) -> bool:
    field, value, normal, digest = row["field"], row["input"], row["normalized"], row["sha256"]
    context = {"country": row["country"]} if "country" in row else {}
    if field in HASHED[platform]:
        name, form = HASHED[platform][field]
        identity = _identity({**context, name: value}, options)
        expected: list[str] = [digest] if digest else []
        return identity.hex(form) == expected
    if (platform, field) in PLAIN:
        name, kept = PLAIN[platform, field]
        return bool(kept(_identity({name: value}, options)) == normal)
    if (platform, field) in TEXT_ONLY:
        return bool((TEXT_ONLY[platform, field](value) or None) == normal)
    if (platform, field) in (("tiktok", "city"), ("tiktok", "state")):
        identity = _identity({**context, field: value}, options)
        if normal is None:  # plain only: a digest given here must not come out in plain
            return identity.state is None
        return identity.hex(Form.CITY if field == "city" else Form.STATE) == [sha256(normal.encode()).hexdigest()]
    if (platform, field) == ("meta", "fbc"):
        url = f"https://shop.example/?fbclid={value['fbclid']}" if value["fbclid"] is not None else None
        seen = EPOCH + timedelta(milliseconds=value["first_seen_ms"])
        return (
            _identity({"fbc": value["_fbc_cookie"]}, options, url, seen).fbc == str(normal)
            if normal
            else _identity({"fbc": value["_fbc_cookie"]}, options, url, seen).fbc is None
        )
    raise AssertionError(f"no mapping for {platform} {field}")


@pytest.mark.parametrize(("platform", "row"), _rows())
def test_vector(platform: str, row: dict[str, Any]) -> None:
    if row["field"] in NO_IDENTIFIER:
        return
    exception = _exception(platform, row)
    if exception is None:
        assert _holds(platform, row, HashingOptions())
        return
    assert not _holds(platform, row, HashingOptions()), "no exception any more: remove it from the table"
    if exception.flipped_by is not None:
        assert _holds(platform, row, exception.flipped_by)


def test_digests_of_the_vectors_are_those_of_their_normal_forms() -> None:
    for param in _rows():
        _, row = param.values
        normal, digest = row["normalized"], row["sha256"]
        if digest is not None and normal != digest:
            assert sha256(normal.encode()).hexdigest() == digest


def test_every_exception_is_a_vector() -> None:
    used = {(e.platform, e.field, e.input) for p in _rows() if (e := _exception(*p.values)) is not None}
    assert used == {(e.platform, e.field, e.input) for e in EXCEPTIONS}
