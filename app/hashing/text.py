"""Text as every normal form begins with it: composed, trimmed, without what the eye cannot see.

Case is folded with `str.lower`, never `casefold`: the platforms lower-case in JavaScript, PHP and Java, and
`casefold` turns `ß` into `ss`. Composition is NFC, and NFC again after lower-casing.
"""

from __future__ import annotations

from unicodedata import category, decimal, normalize

_INVISIBLE = dict.fromkeys(
    [
        0x00AD,
        0x180E,
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        0x2060,
        *range(0x2066, 0x206A),
        0xFEFF,
    ]
)
"""Soft hyphen, zero-width and direction marks: they arrive by copy and paste and change every digest."""

_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_ASCII_NOT_LETTERS = {code: None for code in range(128) if not chr(code).isalnum()}
_ASCII_NOT_SPACED = {code: None for code in range(128) if not (chr(code).isalnum() or chr(code).isspace())}
_BLANK = " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85"


def clean(text: str) -> str:
    """`text` composed (NFC), without invisible characters, trimmed. Case and inner blanks stay."""
    if text.isascii():
        return text.strip()
    return normalize("NFC", text.translate(_INVISIBLE)).strip()


def compatible(text: str) -> str:
    """As `clean`, with full-width and other compatibility characters folded (NFKC).

    For e-mail addresses, phone numbers, post codes and dates only: in a name NFKC would rewrite letters.
    """
    if text.isascii():
        return text.strip()
    return normalize("NFKC", normalize("NFKC", text).translate(_INVISIBLE)).strip()


def lower(text: str) -> str:
    """`text` in lower case, composed again: lower-casing can leave a decomposed sequence."""
    lowered = text.lower()
    return lowered if lowered.isascii() else normalize("NFC", lowered)


def ascii_digits(text: str) -> str:
    """`text` with the decimal digits of every script as 0-9."""
    if text.isascii():
        return text
    return "".join(str(decimal(char)) if char.isdecimal() else char for char in text)


def letters(text: str) -> str:
    """`text` in lower case, only letters, marks and digits: no blank, punctuation, symbol or control character."""
    lowered = text.lower()
    if lowered.isascii():
        if lowered.isalnum():
            return lowered
        joined = lowered.replace(" ", "")
        return joined if joined.isalnum() else joined.translate(_ASCII_NOT_LETTERS)
    return normalize("NFC", "".join(char for char in normalize("NFC", lowered) if category(char)[0] in "LMN"))


def spaced(text: str) -> str:
    """As `letters`, but runs of blanks between words become one space."""
    lowered = text.lower()
    if lowered.isascii():
        if lowered.isalnum():
            return lowered
        return " ".join(lowered.translate(_ASCII_NOT_SPACED).split())
    kept = (
        " " if char in _BLANK or category(char)[0] == "Z" else char
        for char in normalize("NFC", lowered)
        if char in _BLANK or category(char)[0] in "LMNZ"
    )
    return normalize("NFC", " ".join("".join(kept).split()))


def unaccented(text: str) -> str:
    """`text` without combining marks: a key for looking names up, never a normal form."""
    if text.isascii():
        return text
    return "".join(char for char in normalize("NFD", text) if category(char) != "Mn")


def narrow(text: str) -> str:
    """`text` with its full-width Latin as plain Latin when it has no other letters or digits, else as it is."""
    if text.isascii() or not any("\uff01" <= char <= "\uff5e" for char in text):
        return text
    if any(category(char)[0] in "LMN" and not "\uff01" <= char <= "\uff5e" for char in text):
        return text
    return text.translate(_NARROW).strip()
