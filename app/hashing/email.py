"""E-mail addresses: the forms em.1 and em.2."""

from __future__ import annotations

import re
from functools import lru_cache
from unicodedata import category

from app.hashing import junk
from app.hashing.codes import Code
from app.hashing.options import DEFAULTS, HashingOptions
from app.hashing.text import compatible, lower

LONGEST = 320

_LOCAL = r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ASCII = re.compile(rf"{_LOCAL}@(?:{_LABEL}\.){{1,8}}(?:[a-z]{{2,63}}|xn--[a-z0-9-]{{1,59}})")
_UNICODE_LOCAL = re.compile(r"[^\s@\x00-\x20\x7f\"(),:;<>\[\]\\]{1,64}")
_UNICODE_LABEL = re.compile(r"[^\W_](?:[\w-]{0,61}\w)?")
_ANGLE = re.compile(r"[^<>]{0,256}<([^<>]{1,320})>\W{0,8}")
_LOOSE_END = " \t.,;>\"'"

GMAIL = frozenset({"gmail.com", "googlemail.com"})
"""The domains whose addresses em.2 folds, compared exactly: gmail-shop.com is another."""


def em1(text: str, options: HashingOptions = DEFAULTS) -> str | Code:
    """The form em.1: trimmed and in lower case; dots and `+tag` stay, an international domain stays as typed.

    Source: Meta, customer information parameters; TikTok, Events API reference; Pinterest, api-description 5.23;
    Snapchat, Conversions API parameters. Read 2026-11-20. Documented: trim and lower case. Inferred: NFKC, the
    removal of invisible characters, the refusal of inner blanks, and that the domain is hashed as typed.
    """
    stripped = text.strip()
    if not stripped.isascii():
        stripped = lower(compatible(stripped))
        if len(stripped) > LONGEST:
            return Code.TOO_LONG
        return _judged(stripped, options) if _is_unicode_address(stripped) else _retried(stripped, options)
    if len(stripped) > LONGEST:
        return Code.TOO_LONG
    lowered = stripped.lower()
    return _judged(lowered, options) if _ASCII.fullmatch(lowered) else _retried(lowered, options)


def em2(address: str) -> str | None:
    """The form em.2 of an address in em.1: for Gmail without dots and `+tag` before the `@`; None if nothing is left.

    Exactly gmail.com and googlemail.com; the domain stays what it is.

    Source: Google, Data Manager API, format user data, and data-manager-python 0.4.0. Read 2026-11-20. Documented.
    """
    local, _, domain = address.rpartition("@")
    if domain not in GMAIL:
        return address
    folded = local.partition("+")[0].replace(".", "")
    return f"{folded}@{domain}" if folded else None


def em2_without_blanks(text: str, options: HashingOptions = DEFAULTS) -> str | Code:
    """The form em.2 of an address with blanks inside, which every other form refuses.

    Source: Google, Data Manager API, format user data. Read 2026-11-20. Documented; the client library refuses it.
    """
    joined = "".join(compatible(text).split())
    normal = em1(joined, options)
    return normal if isinstance(normal, Code) else em2(normal) or Code.EMAIL_MALFORMED


def is_suspect(domain: str) -> bool:
    """Whether addresses of `domain` are for documentation or tests."""
    if domain in junk.EMAIL_SUSPECT_DOMAINS:
        return True
    rest, _, top = domain.rpartition(".")
    return top in junk.EMAIL_SUSPECT_TOP_LEVEL_DOMAINS or rest in junk.EMAIL_SUSPECT_SECOND_LEVEL


def a_label(address: str) -> str | None:
    """The address with its international domain in ASCII (`xn--…`), or None when it cannot be or is so already.

    The `idna` package, not the codec of that name: the codec follows the older standard and makes `strasse` of
    `straße`, another domain.
    """
    local, _, domain = address.rpartition("@")
    if domain.isascii():
        return None
    import idna  # noqa: PLC0415  (8 ms, needed by few)

    try:
        return f"{local}@{idna.encode(domain, uts46=True).decode('ascii')}"
    except (idna.IDNAError, UnicodeError):
        return None


def _judged(address: str, options: HashingOptions) -> str | Code:
    local, _, domain = address.partition("@")
    if (
        address in junk.EMAIL_ADDRESSES
        or local in junk.EMAIL_LOCAL_PARTS
        or domain.rpartition(".")[2] in junk.EMAIL_TOP_LEVEL_DOMAINS
        or (options.ignored_email_domains and _ignored(options.ignored_email_domains).fullmatch(domain))
    ):
        return Code.JUNK_EMAIL
    if options.production and is_suspect(domain):
        return Code.SUSPECT_EMAIL
    if options.idn == "a_label":
        return a_label(address) or address
    return address


def _retried(text: str, options: HashingOptions) -> str | Code:
    """What becomes of an address that is not plain: the part in angle brackets, or what a loose end hid."""
    if junk.is_junk(text):
        return Code.JUNK_EMAIL
    angle = _ANGLE.fullmatch(text)
    inner = angle.group(1) if angle else text.removeprefix("mailto:")
    inner = inner.strip(_LOOSE_END)
    if _ASCII.fullmatch(inner) or (not inner.isascii() and _is_unicode_address(inner)):
        return _judged(inner, options)
    return Code.EMAIL_INNER_BLANK if "@" in inner and len(inner.split()) > 1 else Code.EMAIL_MALFORMED


def _is_unicode_address(text: str) -> bool:
    local, at, domain = text.partition("@")
    if not at or "@" in domain or not _UNICODE_LOCAL.fullmatch(local):
        return False
    labels = domain.split(".")
    if len(labels) < 2 or not all(_is_label(label) for label in labels):
        return False
    top = labels[-1]
    return len(top) > 1 and (top.startswith("xn--") or not any(char.isdigit() for char in top))


def _is_label(label: str) -> bool:
    # Marks are no word characters to `re`, but labels of Indic scripts have them.
    if label.isascii():
        return re.fullmatch(_LABEL, label) is not None
    return len(label) <= 63 and _UNICODE_LABEL.fullmatch("".join(c for c in label if not _is_mark(c))) is not None


def _is_mark(char: str) -> bool:
    return category(char)[0] == "M"


@lru_cache(maxsize=64)
def _ignored(patterns: tuple[str, ...]) -> re.Pattern[str]:
    alternatives = []
    for pattern in patterns:
        middle = pattern.lower().removeprefix("@")
        before = middle.startswith("*.")
        after = middle.endswith(".*")
        middle = re.escape(middle.removeprefix("*.").removesuffix(".*"))
        alternatives.append((r"(?:.+\.)?" if before else "") + middle + (r"\..+" if after else ""))
    return re.compile("|".join(alternatives))
