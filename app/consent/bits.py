"""Reads the bit fields of IAB's strings: base64url text as a run of bits, never read past its end."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Callable

_ALPHABET = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
MAX_CHARS = 16_384
"""The longest TC or GPP string that is read: twenty times what a string with every vendor needs."""


class PastEnd(Exception):
    """A field lies, wholly or in part, behind the last bit: the string was cut off."""


class Unreadable(Exception):
    """The text holds a character that is none of base64url, padding included, or no character at all."""


class BadRange(Exception):
    """A range of ids starts below 1, ends before it starts, or passes the largest id its list may have."""


class Bits:
    """The bits of one base64url text, big-endian, and a place in them. Six bits a character, padding not needed.

    Raises: Unreadable.
    """

    __slots__ = ("_data", "place", "size")

    def __init__(self, text: str) -> None:
        if _ALPHABET.fullmatch(text) is None:
            raise Unreadable
        self._data = urlsafe_b64decode(text + "A" * (-len(text) % 4))
        self.size = 6 * len(text)
        self.place = 0

    @property
    def left(self) -> int:
        """How many bits lie ahead."""
        return self.size - self.place

    def number(self, width: int) -> int:
        """The next `width` bits as an unsigned number.

        Raises: PastEnd.
        """
        start, end = self.place, self.place + width
        if end > self.size:
            raise PastEnd
        self.place = end
        last = (end + 7) >> 3
        return (int.from_bytes(self._data[start >> 3 : last], "big") >> ((last << 3) - end)) & ((1 << width) - 1)

    def flag(self) -> bool:
        """The next bit.

        Raises: PastEnd.
        """
        return self.number(1) == 1

    def letters(self) -> str:
        """Two letters of six bits each, A being 0; a question mark for a number that is no letter.

        Raises: PastEnd.
        """
        return "".join(chr(65 + code) if code < 26 else "?" for code in (self.number(6), self.number(6)))

    def fibonacci(self) -> int:
        """A positive number in Fibonacci coding, as GPP writes ids: its word ends with the first two ones in a row.

        Raises: PastEnd; BadRange for a word too long for any id.
        """
        total, step, following = 0, 1, 2
        was_one = False
        for _ in range(32):  # ids have 16 bits; the 32nd Fibonacci number has 22
            is_one = self.flag()
            if is_one and was_one:
                return total
            if is_one:
                total += step
            was_one = is_one
            step, following = following, step + following
        raise BadRange


Ranges = tuple[tuple[int, int], ...]
"""Inclusive (first, last) pairs of ids in the order written; they may overlap and are never spelt out."""


def fixed_ranges(bits: Bits, max_id: int | None) -> Ranges:
    """Entries as the TC string writes them: a 12-bit count, then a flag and one or two 16-bit ids each.

    Raises: PastEnd, before anything is read when the count cannot fit; BadRange. `max_id` None sets no upper bound.
    """

    def entry() -> tuple[int, int]:
        is_range, first = bits.flag(), bits.number(16)
        return first, bits.number(16) if is_range else first

    return _entries(bits, max_id, entry, least_bits=17)


def fibonacci_ranges(bits: Bits, max_id: int | None) -> Ranges:
    """Entries as GPP writes them: a 12-bit count, then a flag and the distance from the id before, in Fibonacci coding.

    Raises: PastEnd, before anything is read when the count cannot fit; BadRange.
    """
    before = 0

    def entry() -> tuple[int, int]:
        nonlocal before
        is_range = bits.flag()
        first = before + bits.fibonacci()
        before = first + bits.fibonacci() if is_range else first
        return first, before

    return _entries(bits, max_id, entry, least_bits=3)


def _entries(bits: Bits, max_id: int | None, entry: Callable[[], tuple[int, int]], least_bits: int) -> Ranges:
    count = bits.number(12)
    if count * least_bits > bits.left:
        raise PastEnd
    ranges = []
    for _ in range(count):
        first, last = entry()
        if not 1 <= first <= last or (max_id is not None and last > max_id):
            raise BadRange
        ranges.append((first, last))
    return tuple(ranges)


def is_in(ranges: Ranges, number: int) -> bool:
    """Whether one of the ranges holds the number."""
    return any(first <= number <= last for first, last in ranges)


def ids_of(mask: int, width: int) -> tuple[int, ...]:
    """The 1-based places of the ones in `width` bits, from the left."""
    return tuple(place for place in range(1, width + 1) if mask >> (width - place) & 1)


def has_id(mask: int, width: int, number: int) -> bool:
    """Whether the bit at the 1-based place `number` of `width` bits, from the left, is one."""
    return 1 <= number <= width and mask >> (width - number) & 1 == 1
