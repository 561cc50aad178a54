"""SHA-256, the test for values that arrive hashed, and the digests of junk.

A platform digest is unkeyed by the platforms' own requirement: it is still personal data and is never logged.
"""

from __future__ import annotations

import re
from hashlib import sha256 as _sha256

from app.hashing import junk
from app.hashing.codes import Code

_SHA256_HEX = re.compile(r"[0-9a-f]{64}")
_OTHER_HEX = re.compile(r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{56}|[0-9a-f]{96}|[0-9a-f]{128}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{43}=?|[A-Za-z0-9+/_-]{86}==|[A-Za-z0-9+/_-]{88}")
_CRYPT = re.compile(r"\$(?:2[abxy]?|5|6|argon2[a-z]{1,2})\$[^\s@]{10,200}")
_PREFIXED = re.compile(r"(?:sha-?256[:=]|0x)\s?([0-9a-fA-F]{1,200})", re.IGNORECASE)

SHORTEST = 32
"""No value shorter than this can be a digest: one comparison spares most values the patterns."""

_NOT_HASHED_JUNK = frozenset({"na"})


def sha256(text: str) -> bytes:
    """The SHA-256 of the UTF-8 bytes of `text`.

    Raises:
        UnicodeEncodeError: `text` holds a lone surrogate.
    """
    return _sha256(text.encode()).digest()


JUNK_DIGESTS: frozenset[bytes] = frozenset(
    sha256(value) for value in (junk.WORDS - _NOT_HASHED_JUNK) | junk.HASHED | junk.EMAIL_ADDRESSES
)
"""Digests of values that stand for nobody: refused in every field, however they came about, and asserted against."""

JUNK_PHONE_DIGESTS: frozenset[bytes] = frozenset(
    sha256(prefix + number) for number in junk.PHONE_NUMBERS for prefix in ("", "+")
)
"""Digests of numbers nobody has: refused as phone numbers only, since the same digits may be somebody's id."""


def read(text: str) -> bytes | Code | None:
    """What a value that may have arrived hashed is: its 32 bytes, an unusable digest, or None for ordinary text.

    A SHA-256 is 64 hexadecimal characters of either case once trimmed, with or without `sha256:` or `0x` before
    it. It is taken over as it is, in lower case, and never hashed again.
    """
    if len(text) < SHORTEST:
        return None
    trimmed = text.strip()
    prefixed = None if len(trimmed) == 64 else _PREFIXED.fullmatch(trimmed)
    lowered = (prefixed.group(1) if prefixed else trimmed).lower()
    if _SHA256_HEX.fullmatch(lowered):
        digest = bytes.fromhex(lowered)
        return Code.JUNK_DIGEST if digest in JUNK_DIGESTS else digest
    if _OTHER_HEX.fullmatch(lowered) or prefixed or _BASE64.fullmatch(trimmed) or _CRYPT.fullmatch(trimmed):
        return Code.HASH_UNSUPPORTED
    return None


def is_sendable(digest: str) -> bool:
    """Whether `digest` is 64 lower-case hexadecimal characters and not the digest of junk: asserted before a send."""
    return _SHA256_HEX.fullmatch(digest) is not None and bytes.fromhex(digest) not in JUNK_DIGESTS
