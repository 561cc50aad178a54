"""Personal data recognised by the key it stands under."""

from __future__ import annotations

import re

from app.hashing.detectors import DATA, Kind

_KINDS: dict[str, Kind] = {
    **dict.fromkeys(DATA["person"], Kind.PERSON),
    **dict.fromkeys(DATA["secret"], Kind.SECRET),
    **dict.fromkeys(DATA["phone"], Kind.PHONE),
    **dict.fromkeys(DATA["card"], Kind.CARD),
}
_PRODUCT: frozenset[str] = frozenset(DATA["product"])
_SEPARATORS = str.maketrans("", "", "-_. ")
_NAMES_OF_FIELDS = re.compile(r"[A-Za-z_][A-Za-z_.-]{0,39}[0-9]{0,3}")


def compact(key: str) -> str:
    """`key` as it is compared: lower case, without separators."""
    return key.lower().translate(_SEPARATORS)


def kind_of_key(compacted: str) -> Kind | None:
    """What stands under a key of this name, if it is personal data."""
    return _KINDS.get(compacted)


def is_product(keys: list[str]) -> bool:
    """Whether an object with these compacted keys is a product, so that its `name` is no person's."""
    return any(key in _PRODUCT for key in keys)


def is_plain_name(key: str) -> bool:
    """Whether `key` is a name a programmer gave, which a pointer may show."""
    return _NAMES_OF_FIELDS.fullmatch(key) is not None
