"""Phone numbers: the forms ph.1 and ph.2.

A number that is E.164 already is accepted without the phone library. Everything else is parsed by it, in one
region, and must be valid there: a number is never tried in a second country to make it valid, since a wrong
region can give a valid number of somebody else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from app.hashing.codes import Code
from app.hashing.text import ascii_digits, compatible

LONGEST = 64
LONGEST_FIELD = 256

COUNTRY_CODES: frozenset[str] = frozenset(
    (
        "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 "
        "81 82 84 86 90 91 92 93 94 95 98 "
        "211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230 231 232 233 234 235 236 237 238 239 240 241 "
        "242 243 244 245 246 247 248 249 250 251 252 253 254 255 256 257 258 260 261 262 263 264 265 266 267 268 269 "
        "290 291 297 298 299 350 351 352 353 354 355 356 357 358 359 370 371 372 373 374 375 376 377 378 380 381 382 "
        "383 385 386 387 389 420 421 423 500 501 502 503 504 505 506 507 508 509 590 591 592 593 594 595 596 597 598 "
        "599 670 672 673 674 675 676 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 800 808 850 852 853 "
        "855 856 870 878 880 881 882 883 886 888 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 "
        "979 992 993 994 995 996 998"
    ).split()
)
"""The assigned country calling codes of ITU-T E.164. No code begins another."""

_E164 = re.compile(r"\+[1-9][0-9]{7,14}")
_SEPARATORS = str.maketrans("", "", " \t-.()/\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u00a0")
_DIGITS = re.compile(r"\+?[0-9]{4,20}")
_LABEL = re.compile(r"(?:tel|phone|mobile|mob|cell|callto|ph)\s?[:.]\s?", re.IGNORECASE)
_PARAMETER = re.compile(r";[A-Za-z-]{1,20}=[^;,|]{0,40}")
_EXTENSION = re.compile(r"(?<=[0-9)])\s{0,3}(?:extension|extn?\.?|x|#)\s{0,3}[:.=]?\s{0,3}[0-9].*", re.IGNORECASE)
_TRAILING_BRACKET = re.compile(r"\s{0,3}[(\[][^()\[\]0-9]{1,40}[)\]]\s{0,3}$")
_TRAILING_WORDS = re.compile(r"\s[^\W\d_][^\d]{0,40}$")
_SEVERAL = re.compile(r"[,;|\n]")
_SEVERAL_OR_SLASH = re.compile(r"[,;|\n/]")
_RUN = "12345678901234567890"
_KEEPS_ZERO = frozenset({"39"})


def may_be_several(text: str) -> bool:
    """Whether `split` might find more than one number."""
    return not text[1:].isdigit() and _SEVERAL_OR_SLASH.search(text) is not None


def split(text: str) -> list[str]:
    """The numbers of one field: two in one field are taken apart at `, ; / |` or a line end.

    A slash inside a number (`0170/1234567`) does not part it: each part must be long enough to be a number.
    """
    if len(text) > LONGEST_FIELD:
        return [text]
    parts = [part for part in _SEVERAL.split(_PARAMETER.sub("", text)) if part.strip()]
    numbers: list[str] = []
    for part in parts:
        pieces = part.split("/")
        if len(pieces) > 1 and all(sum(map(str.isdigit, piece)) >= 7 for piece in pieces):
            numbers.extend(pieces)
        else:
            numbers.append(part)
    return numbers


def e164(
    text: str, regions: Sequence[str | None] = (), strictness: Literal["valid", "possible"] = "valid"
) -> str | Code:
    """The form ph.2: `+`, country code and national number; ph.1 is the same without the `+`.

    `regions` are the candidates for a national number, upper-case alpha-2, best first; the first that is not None
    counts, and no other is tried.

    Source: TikTok, Events API reference, and Google, Data Manager API (E.164 with `+`); Meta, customer information
    parameters, Pinterest, api-description 5.23, and Snapchat, parameters (digits with country code). Read
    2026-11-20. Documented. Inferred: `00`, `(0)`, extensions, labels and the choice of region.
    """
    if _E164.fullmatch(text):
        return _settled(text, regions, strictness)
    stripped = text.strip()
    if not stripped.isascii():
        stripped = ascii_digits(compatible(stripped))
    if len(stripped) > LONGEST:
        return Code.TOO_LONG
    bare = stripped.translate(_SEPARATORS)
    if _DIGITS.fullmatch(bare):
        return _settled(bare, regions, strictness)
    bare = _uncluttered(stripped).translate(_SEPARATORS)
    if not _DIGITS.fullmatch(bare):
        is_mixed = any(map(str.isdigit, bare)) and not bare.removeprefix("+").isdigit()
        return Code.PHONE_LETTERS if is_mixed else Code.PHONE_INVALID
    number = _settled(bare, regions, strictness)
    # Something was cut off, perhaps a part of the number: what is left has to be a number in use.
    return number if isinstance(number, Code) else _parsed(number, None, "valid") or Code.PHONE_INVALID


def without_italian_zero(number: str) -> str | None:
    """The digits of `number` (ph.2) without the zero an Italian land line keeps; None for every other number.

    Source: Snapchat, parameters, whose sentence about leading zeros can be read so. Read 2026-11-20. Inferred.
    """
    return number[1:3] + number[4:] if number[1:3] in _KEEPS_ZERO and number[3:4] == "0" else None


def is_suspect(number: str) -> bool:
    """Whether `number` (ph.2) is of the North American range kept for fiction, 555-01xx."""
    return number[5:10] == "55501" and number[1] == "1" and len(number) == 12


def _settled(bare: str, regions: Sequence[str | None], strictness: str) -> str | Code:
    if bare[0] == "+":
        code = _country_code(bare)
        if code is None:
            return Code.JUNK_PHONE if _is_run(bare[1:]) else Code.PHONE_INVALID
        national = bare[1 + len(code) :]
        if _is_run(national, counting_from=10):  # +60 12-345 6789 may be somebody's
            return Code.JUNK_PHONE
        if code == "52" and len(national) == 11 and national[0] == "1":
            return "+52" + national[1:]  # Mexico dropped this 1 in 2019; address books still have it
        if national[0] != "0" and 8 <= len(bare) - 1 <= 15:
            return bare
        return _parsed(bare, None, strictness) or Code.PHONE_INVALID
    if _is_run(bare):
        return Code.JUNK_PHONE
    region = next((region for region in regions if region), None)
    if bare.startswith("00"):
        number = _parsed("+" + bare.lstrip("0"), None, strictness)
        if number is None and region is not None:
            number = _parsed(bare, region, strictness)
        return number or Code.PHONE_INVALID
    return Code.PHONE_NO_REGION if region is None else _national(bare, region, strictness)


def _country_code(number: str) -> str | None:
    for length in (1, 2, 3):
        if number[1 : 1 + length] in COUNTRY_CODES and len(number) > 1 + length:
            return number[1 : 1 + length]
    return None


def _is_run(digits: str, counting_from: int = 7) -> bool:
    """Whether nobody has this number: one digit over and over, or counting up over so many digits."""
    length = len(digits)
    return length >= 7 and (digits[1:] == digits[:-1] or (length >= counting_from and _RUN.startswith(digits)))


def _uncluttered(text: str) -> str:
    """`text` without label, extension and remark."""
    label = _LABEL.match(text)
    if label:
        text = text[label.end() :]
    text = _EXTENSION.sub("", _PARAMETER.sub("", text))
    return _TRAILING_WORDS.sub("", _TRAILING_BRACKET.sub("", text))


def _parsed(text: str, region: str | None, strictness: str) -> str | None:
    import phonenumbers  # noqa: PLC0415  (14 ms; most numbers never need it)

    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    accepted = phonenumbers.is_valid_number if strictness == "valid" else phonenumbers.is_possible_number
    if not accepted(number):
        return None
    result = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return result if 7 <= len(result) - 1 <= 15 else None


def _national(digits: str, region: str, strictness: str) -> str | Code:
    import phonenumbers  # noqa: PLC0415

    code = phonenumbers.country_code_for_region(region)
    if not code:
        return Code.PHONE_NO_REGION
    if code == 1 and digits.startswith("011"):
        return _parsed("+" + digits[3:], None, strictness) or Code.PHONE_INVALID
    if code == 52 and len(digits) == 13 and digits.startswith("521"):
        digits = "52" + digits[3:]
    national = _parsed(digits, region, strictness)
    if not digits.startswith(str(code)):
        return national or Code.PHONE_INVALID
    # The digits begin with the region's own country code: 491701234567 in Germany is +49 170 1234567 written
    # without the plus, although +49 491701234567 would be a valid number too.
    international = _parsed("+" + digits, None, "valid")
    if national is None or international is None or national == international:
        return international or national or Code.PHONE_INVALID
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
    usual = metadata.mobile.possible_length if metadata and metadata.mobile else ()
    start = 1 + len(str(code))
    if len(international) - start in usual and len(national) - start not in usual:
        return international
    return Code.PHONE_AMBIGUOUS
