"""Remembers what long strings decode to, within a bound: the same string comes with every event of a shopper.

What is kept is the digest of a string and the decoded facts, in memory alone; never the string itself, which is
personal data. That is safe because decoding is a pure function of the string: whether a string is still valid depends
on the clock and is judged anew for every event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

CAPACITY = 4096
LONGEST_CHARS = 4096
"""Longer strings are decoded each time: with every vendor of today's list a string has about 2,200 characters."""


class Memo(Generic[T]):
    """`decode`, but for the strings met lately as quick as their digest. The oldest entry makes room for a new one."""

    def __init__(self, decode: Callable[[str], T], capacity: int = CAPACITY) -> None:
        self._decode = decode
        self._capacity = capacity
        self._kept: dict[bytes, T] = {}

    def __call__(self, text: str) -> T:
        """What `text` decodes to."""
        if len(text) > LONGEST_CHARS:
            return self._decode(text)
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        found = self._kept.get(key)
        if found is None:
            found = self._decode(text)
            if len(self._kept) >= self._capacity:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = found
        return found

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def __len__(self) -> int:
        """How many strings are remembered."""
        return len(self._kept)
