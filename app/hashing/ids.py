"""The shop's own ids, advertising ids, lead id and customer type: the forms xi.1, xi.2 and ma.1."""

from __future__ import annotations

import re

from app.hashing import junk
from app.hashing.codes import Code
from app.hashing.text import clean, lower

LONGEST = 256

_AD_ID = re.compile(r"[0-9A-Za-z-]{8,64}")
_UUID = re.compile(r"([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})")
_LEAD_ID = re.compile(r"[0-9A-Za-z._:-]{1,128}")


def external_id2(text: str) -> str | Code:
    """The form xi.2: trimmed, case kept.

    Source: TikTok, external id page; Pinterest, api-description 5.23. Read 2026-11-20. Hashing is documented, the
    case is not: it is kept because neither names a rule. The pixel has to send the same form.
    """
    cleaned = clean(text)
    if len(cleaned) > LONGEST:
        return Code.TOO_LONG
    lowered = cleaned.lower()
    if lowered in junk.EXTERNAL_ID_WORDS or junk.is_template(lowered):
        return Code.JUNK_EXTERNAL_ID
    return cleaned


def external_id1(external_id: str) -> str:
    """The form xi.1 of an id in xi.2: lower case, without blanks.

    Source: Meta, capi-param-builder 1.3.2; Snapchat, in use by other senders. Read 2026-11-20. Meta advises hashing;
    lower case and blanks are read from its code, and inferred for Snapchat.
    """
    return lower("".join(external_id.split()))


def ad_id(text: str) -> str | Code:
    """An advertising or vendor id as supplied, without braces: the form ma.1, and `idfa`, `gaid`, `idfv` in plain.

    Source: Pinterest, api-description 5.23 (hashed, case not stated); TikTok, Events API reference, whose own sample is
    no UUID. Read 2026-11-20. Documented but for the case.
    """
    bare = clean(text).removeprefix("{").removesuffix("}")
    if bare in junk.AD_ID_ZERO:
        return Code.AD_ID_ZERO
    if bare.lower() in junk.WORDS or not _AD_ID.fullmatch(bare):
        return Code.AD_ID_INVALID
    return bare


def uuid_form(text: str) -> str | None:
    """An advertising or vendor id as lower-case UUID with hyphens, or None when it is none.

    Source: Snapchat, Conversions API parameters (`madid`, `idfv`); Meta, app events. Read 2026-11-20. Known
    second-hand.
    """
    found = _UUID.fullmatch(text.lower())
    return "-".join(found.groups()) if found else None


def lead_id(text: str) -> str | Code:
    """The ad platform's lead id, without the `l:` that Meta's exports put before it.

    Source: Meta, conversion leads integration. Read 2026-11-20. The digits are documented, the prefix inferred.
    """
    bare = clean(text).removeprefix("l:")
    return bare if _LEAD_ID.fullmatch(bare) and bare.lower() not in junk.WORDS else Code.LEAD_ID_INVALID


def platform_id(text: str) -> str | Code:
    """An id that a platform gave a person, an app or an install, as it is: never hashed.

    Source: Meta, customer information parameters and business messaging; Snapchat, Conversions API parameters. Read
    2026-11-20. Documented as plain; the characters are ours.
    """
    bare = clean(text)
    return bare if _LEAD_ID.fullmatch(bare) and bare.lower() not in junk.WORDS else Code.PLATFORM_ID_INVALID


def customer_type(text: str) -> str | Code:
    """`new` or `returning`.

    Source: Pinterest, events reference 5.31. Read 2026-11-20. Known second-hand.
    """
    word = clean(text).lower()
    return word if word in ("new", "returning") else Code.CUSTOMER_TYPE_UNKNOWN
