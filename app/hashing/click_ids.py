"""Click ids and browser ids: never hashed, never changed in case, never decoded twice.

A click id that the event does not name is taken from `event_source_url`, where the landing page had it.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from app.hashing import junk
from app.hashing.codes import Code

_BROWSER_ID = re.compile(r"fb\.[0-9]{1,3}\.[0-9]{13}\.([A-Za-z0-9_-]{1,1000})(?:\.[A-Za-z0-9_-]{2,8})?")
_FBCLID = re.compile(r"[A-Za-z0-9_-]{1,1000}")
_TOKEN = re.compile(r"[\x21-\x3f\x41-\x7e]+")
"""Printable ASCII without blank and without `@`: no click id has one, an e-mail address always does."""

_URL = re.compile(r"https?://", re.IGNORECASE)

LONGEST: Final = {
    "ttclid": 1000,
    "ttp": 256,
    "epik": 1000,
    "sc_click_id": 1000,
    "sc_cookie1": 256,
    "gclid": 1000,
    "gbraid": 1000,
    "wbraid": 1000,
    "ctwa_clid": 1000,
}
"""Characters each id may have: TikTok documents 1000 for ttclid, the rest is ours. Longer ids are dropped, not cut."""

PARAMETERS: Final = {
    "fbclid": "fbclid",
    "ttclid": "ttclid",
    "epik": "epik",
    "sccid": "sc_click_id",
    "gclid": "gclid",
    "gbraid": "gbraid",
    "wbraid": "wbraid",
}
"""URL parameter, in lower case, and the field it stands for."""

_ANY = re.compile(r"[?&](" + "|".join(PARAMETERS) + r")=([^&#]*)", re.IGNORECASE)
_ENCODED_COOKIE = frozenset({"ttp", "epik"})


def from_url(url: str) -> dict[str, str]:
    """The click ids in the query of `url` by field name (`fbclid` under its own), percent-decoded once.

    A plus stays a plus, and the case stays. The first of several equal parameters counts.

    Source: Meta, fbp and fbc parameters; TikTok, ttclid; Pinterest, click_id; Snapchat, sc_click_id; Google Ads,
    click ids. Read 2026-11-20. Documented.
    """
    if "=" not in url:
        return {}
    found: dict[str, str] = {}
    for parameter, value in _ANY.findall(url.partition("#")[0]):
        if value:
            found.setdefault(PARAMETERS[parameter.lower()], unquote(value) if "%" in value else value)
    return found


def fbp(text: str) -> str | Code:
    """The _fbp cookie, untouched when it has the shape `fb.<index>.<13 digits>.<number>[.<appendix>]`.

    Source: Meta, fbp and fbc parameters; capi-param-builder 1.3.2 for the fifth segment. Read 2026-11-20. Documented.
    """
    trimmed = text.strip()
    return trimmed if _BROWSER_ID.fullmatch(trimmed) else Code.FBP_MALFORMED


def fbc(cookie: str | None, fbclid: str | None, first_seen_ms: int) -> tuple[str | None, Code | None]:
    """What to send as fbc, and what to warn about.

    The cookie wins while it holds the click id of the URL, or when the URL has none. Another click id in the URL is a
    newer click and replaces it, as Meta's own code does. Nothing known: nothing sent, an fbc is never invented.

    Source: Meta, fbp and fbc parameters, best practices; capi-param-builder 1.3.2. Read 2026-11-20. Documented.
    """
    trimmed = cookie.strip() if cookie else ""
    held = _BROWSER_ID.fullmatch(trimmed)
    clicked = fbclid if fbclid and _FBCLID.fullmatch(fbclid) and fbclid.lower() not in junk.WORDS else None
    malformed = Code.FBC_MALFORMED if trimmed and not held else None
    if clicked is None:
        return (trimmed, None) if held else (None, malformed)
    if held and held.group(1) == clicked:
        return trimmed, None
    return f"fb.1.{first_seen_ms:013}.{clicked}", malformed or (Code.FBC_REPLACED if held else None)


def click_id(field: str, text: str) -> str | Code:
    """The click or browser id of `field`, trimmed and otherwise untouched.

    Pinterest's and TikTok's cookies are percent-decoded once, as cookies carry them; a whole URL in `sc_click_id`
    gives its `ScCid`; a cookie's name before `sc_cookie1` is cut.

    Source: TikTok, ttclid and ttp; Pinterest, click_id; Snapchat, sc_click_id and sc_cookie1; Google Ads, click
    ids. Read 2026-11-20. Documented as plain; decoding, the URL and the cookie name are inferred.
    """
    value = text.strip()
    if field == "sc_click_id" and _URL.match(value):
        return click_id(field, from_url(value).get(field, ""))
    if field == "sc_cookie1":
        value = value.removeprefix("_scid=")
    elif field in _ENCODED_COOKIE:
        value = value.rstrip(";")
        if "%" in value and not value.startswith(junk.CLICK_ID_MACRO_PREFIXES):
            value = unquote(value)
    return checked(field, value)


def checked(field: str, value: str) -> str | Code:
    """`value` as it is when it can be an id of `field`: of its characters and length, and no placeholder."""
    if value.lower() in junk.WORDS or value.startswith(junk.CLICK_ID_MACRO_PREFIXES):
        return Code.JUNK_CLICK_ID
    if len(value) > LONGEST[field]:
        return Code.CLICK_ID_TOO_LONG
    return value if _TOKEN.fullmatch(value) else Code.CLICK_ID_MALFORMED
