"""The keys that what is kept of people is sealed under."""

from __future__ import annotations

import base64
import binascii
import re

from pydantic import Field, SecretStr, field_validator

from app.config.base import NAME_PATTERN, Section
from app.outbox.datakeys import KEY_BYTES, Encryption, Master

_UNPADDED_CHARS = 43
"""Characters of a key as base64 without its padding, which many tools leave out."""
_FROM_URL_SAFE = str.maketrans("-_", "+/")
_HEX = re.compile(r"[0-9a-fA-F]{64}")


class EncryptionKey(Section):
    """One key. It seals no event itself: it wraps the store's data keys."""

    id: str = Field(
        pattern=NAME_PATTERN,
        description="What the store calls it. A key keeps its id, and another key gets another.",
    )
    key: SecretStr = Field(
        description="32 bytes as base64 or hex, from `${ENV}` or `{file: …}`; `convey keys new --encryption` makes one."
    )

    @field_validator("key")
    @classmethod
    def _is_a_key(cls, value: SecretStr) -> SecretStr:
        bytes_of(value.get_secret_value())
        return value


class EncryptionConfig(Section):
    """Hashed events and contexts sealed at rest (AES-256-GCM): see [consent.md](consent.md#encryption-at-rest)."""

    keys: tuple[EncryptionKey, ...] = Field(
        description="The first wraps the data keys; the others still open what they wrapped, and stay until every "
        "process runs with this order.",
    )
    seal: bool = Field(True, description="Whether new values are sealed; false only opens what is sealed already.")

    @field_validator("keys")
    @classmethod
    def _are_distinct(cls, keys: tuple[EncryptionKey, ...]) -> tuple[EncryptionKey, ...]:
        if not keys:
            raise ValueError("must have at least one key: make one with convey keys new --encryption")
        if len({each.id for each in keys}) < len(keys):
            raise ValueError("two keys have one id")
        if len({bytes_of(each.key.get_secret_value()) for each in keys}) < len(keys):
            raise ValueError("one key stands there twice, under two ids")
        return keys

    @property
    def encryption(self) -> Encryption:
        """As a store takes it."""
        masters = [Master(each.id, bytes_of(each.key.get_secret_value())) for each in self.keys]
        return Encryption(masters, self.seal)


def bytes_of(text: str) -> bytes:
    """The key that `text` spells.

    Raises: ValueError, without the text.
    """
    text = text.strip()
    if len(text) == _UNPADDED_CHARS:
        text += "="
    try:
        is_hex = _HEX.fullmatch(text)
        key = bytes.fromhex(text) if is_hex else base64.b64decode(text.translate(_FROM_URL_SAFE), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is neither base64 nor hex: make a key with convey keys new --encryption") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"must be {KEY_BYTES} bytes, is {len(key)}: make a key with convey keys new --encryption")
    if not any(key):
        raise ValueError("is all zeros, which anybody can guess: make a key with convey keys new --encryption")
    return key
