"""From the identifiers as sent to the identity as kept: each value normalised and hashed once per form.

One bad value loses that value, never its event: it is left out, and a warning names the place and the remedy.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from app.hashing import browser, click_ids, ids
from app.hashing.codes import Code
from app.hashing.options import DEFAULTS, HashingOptions
from app.hashing.reading import Keys, Reading
from app.model import Form, HashedIdentity, Warn
from app.wire import UserData

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ALL_FORMS = frozenset(Form)

PLATFORM_IDS = frozenset({"anon_id", "download_id", "fb_login_id", "page_scoped_user_id", "ig_sid"})
"""Ids that platforms give: kept in plain, as they are."""


class _Wanted(NamedTuple):
    """Per field the forms to compute, in the order its reader gives them; None where one is not wanted."""

    email: Keys | None
    phone: Keys | None
    first_name: Keys | None
    last_name: Keys | None
    gender: Keys | None
    birth_date: Keys | None
    city: Keys | None
    state: Keys | None
    zip: Keys | None
    country: Keys | None
    external_id: Keys | None
    ad_id: Keys | None


FORMS_OF = _Wanted(
    email=(Form.EMAIL, Form.EMAIL_GMAIL_FOLDED),
    phone=(Form.PHONE_DIGITS, Form.PHONE_E164),
    first_name=(Form.FIRST_NAME_LETTERS, Form.FIRST_NAME_SPACED, Form.FIRST_NAME_PUNCTUATED),
    last_name=(Form.LAST_NAME_LETTERS, Form.LAST_NAME_SPACED, Form.LAST_NAME_PUNCTUATED),
    gender=(Form.GENDER, Form.GENDER_WITH_NEUTRAL),
    birth_date=(Form.BIRTH_DATE,),
    city=(Form.CITY,),
    state=(Form.STATE, Form.STATE_TWO_LETTER),
    zip=(Form.ZIP, Form.ZIP_GB_SECTOR, Form.ZIP_DIGITS),
    country=(Form.COUNTRY,),
    external_id=(Form.EXTERNAL_ID_LOWER, Form.EXTERNAL_ID),
    ad_id=(Form.AD_ID,),
)


@lru_cache(maxsize=64)
def _wanted(forms: frozenset[Form]) -> _Wanted:
    def keys(all_forms: Keys) -> Keys | None:
        chosen = tuple(str(form) if form in forms else None for form in all_forms)
        return chosen if any(chosen) else None

    return _Wanted(*(keys(all_forms) for all_forms in FORMS_OF if all_forms))


def hash_identity(
    user: UserData,
    *,
    options: HashingOptions = DEFAULTS,
    forms: frozenset[Form] = _ALL_FORMS,
    event_source_url: str | None = None,
    event_time: datetime,
    today: date,
) -> tuple[HashedIdentity, tuple[Warn, ...]]:
    """The identity to keep, and a warning for every value that was dropped or deserves a look.

    Only `forms` are computed. `event_source_url` supplies click ids that `user` does not have; `event_time` (aware) is
    the instant such an fbclid was first seen; `today` bounds birth dates. No warning holds a value.
    """
    reading = Reading(options, today)
    wanted = _wanted(forms)
    plain: dict[str, str] = {}

    # The country comes first: phone numbers, states and postal codes are read with it.
    if (value := user.country) is not None:
        reading.add("/user/country", value, reading.read_country, wanted.country or (None,))
    if (value := user.email) is not None and wanted.email:
        reading.add("/user/email", value, reading.read_email, wanted.email)
    if (value := user.phone) is not None and wanted.phone:
        reading.phone_country = user.phone_country
        reading.add_phones("/user/phone", value, wanted.phone)
    if (value := user.first_name) is not None and wanted.first_name:
        reading.add("/user/first_name", value, reading.read_name, wanted.first_name)
    if (value := user.last_name) is not None and wanted.last_name:
        reading.add("/user/last_name", value, reading.read_name, wanted.last_name)
    if (value := user.gender) is not None and wanted.gender:
        reading.add("/user/gender", value, reading.read_gender, wanted.gender)
    if (value := user.date_of_birth) is not None and wanted.birth_date:
        reading.add("/user/date_of_birth", value, reading.read_birth_date, wanted.birth_date)
    if (value := user.city) is not None and wanted.city:
        reading.add("/user/city", value, reading.read_city, wanted.city)
    if (value := user.state) is not None:
        reading.add("/user/state", value, reading.read_state, wanted.state or (None, None))
    if (value := user.zip) is not None and wanted.zip:
        reading.add("/user/zip", value, reading.read_zip, wanted.zip)
    if (value := user.external_id) is not None and wanted.external_id:
        reading.add("/user/external_id", value, reading.read_external_id, wanted.external_id)

    if user.idfa is not None or user.gaid is not None or user.idfv is not None:
        reading.ad_ids(user, plain, wanted.ad_id)
    if reading.country:
        plain["country"] = reading.country
    if reading.state:
        plain["state"] = reading.state
    _browser(user, plain, reading)
    _click_ids(user, plain, reading, event_source_url, event_time)
    if user.lead_id:
        reading.keep(plain, "lead_id", user.lead_id, ids.lead_id)
    for field in sorted(PLATFORM_IDS & user.model_fields_set):
        if value := getattr(user, field):
            reading.keep(plain, field, value, ids.platform_id)
    if user.customer_type:
        reading.keep(plain, "customer_type", user.customer_type, ids.customer_type)
    return HashedIdentity(digests=reading.digests, **plain), tuple(reading.warnings)


def _browser(user: UserData, plain: dict[str, str], reading: Reading) -> None:
    if user.client_ip_address:
        reading.keep(plain, "client_ip_address", user.client_ip_address, browser.ip)
        address = plain.get("client_ip_address")
        if address and browser.is_suspect(address):
            reading.warn(Code.SUSPECT_IP, "/user/client_ip_address")
            if reading.options.production:
                del plain["client_ip_address"]
    if user.client_user_agent:
        reading.keep(plain, "client_user_agent", user.client_user_agent, browser.user_agent)
    if user.locale:
        reading.keep(plain, "locale", user.locale, browser.locale)


def _click_ids(
    user: UserData, plain: dict[str, str], reading: Reading, event_source_url: str | None, event_time: datetime
) -> None:
    clicked = click_ids.from_url(event_source_url) if event_source_url else {}
    if user.fbp and not user.fbp.isspace():
        reading.keep(plain, "fbp", user.fbp, click_ids.fbp)
    if user.fbc or "fbclid" in clicked:
        first_seen_ms = (event_time - _EPOCH) // _MILLISECOND
        fbc, code = click_ids.fbc(user.fbc, clicked.get("fbclid"), first_seen_ms)
        if fbc:
            plain["fbc"] = fbc
        if code:
            reading.warn(code, "/user/fbc")
    values = user.__dict__
    for field in click_ids.LONGEST:
        value: str | None = values[field]
        if not (value or clicked):
            continue
        if value and not value.isspace():
            taken = click_ids.click_id(field, value)
            if isinstance(taken, Code):
                reading.warn(taken, f"/user/{field}")
            else:
                plain[field] = taken
                continue
        if field in clicked:
            taken = click_ids.checked(field, clicked[field])
            if isinstance(taken, Code):
                reading.warn(taken, "/event_source_url")
            else:
                plain[field] = taken
