"""Decodes GPP strings of IAB's Global Privacy Platform: the header, and the sections that Convey decides by.

Source: IAB Global-Privacy-Platform repository, Core, as of 2025-12-17. A header, then one section for each id it names,
divided by tildes. Headers and sections padded to six bits, as the specification shows, and to eight, as the reference
encoder writes, are both read. Sections Convey does not know keep their id and are not looked into.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.consent.bits import MAX_CHARS, BadRange, Bits, PastEnd, Unreadable, fibonacci_ranges
from app.consent.codes import Code, Malformed
from app.consent.tcf import TcString, decode_tcf
from app.consent.tcf_canada import TcfCanada, decode_tcf_canada
from app.consent.us_privacy import UsPrivacy, decode_us_privacy
from app.consent.us_sections import NAMES, UsSection, decode_us_section

_TYPE, _VERSION = 3, 1
_TCF_EU, _TCF_CANADA, _US_PRIVACY = 2, 5, 6


@dataclass(frozen=True, slots=True)
class GppString:
    """What a GPP string says. `tcf` may itself be malformed: the other sections still decide."""

    section_ids: tuple[int, ...]
    tcf: TcString | Malformed | None = None
    tcf_canada: TcfCanada | None = None
    us_privacy: UsPrivacy | None = None
    us_sections: tuple[UsSection, ...] = ()


def decode_gpp(text: str) -> GppString | Malformed:
    """What a GPP string says, or why it cannot be read. Blanks around it are dropped, nothing else is repaired."""
    text = text.strip()
    if not text:
        return Malformed(Code.GPP_EMPTY)
    if len(text) > MAX_CHARS:
        return Malformed(Code.GPP_TOO_LONG)
    header, *sections = text.split("~")
    try:
        ids = _section_ids(header, len(sections))
        if isinstance(ids, Malformed):
            return ids
        if not all(sections):
            return Malformed(Code.GPP_SECTION_EMPTY)
        return _read(ids, sections)
    except Unreadable:
        return Malformed(Code.GPP_BAD_ALPHABET)
    except PastEnd:
        return Malformed(Code.GPP_TRUNCATED)
    except BadRange:
        return Malformed(Code.GPP_RANGE_INVALID)


def _section_ids(header: str, sections: int) -> tuple[int, ...] | Malformed:
    """The ids the header names, if they are as many as there are sections."""
    bits = Bits(header)
    if bits.number(6) != _TYPE or bits.number(6) != _VERSION:
        return Malformed(Code.GPP_BAD_HEADER)
    ranges = fibonacci_ranges(bits, None)
    if sum(last - first + 1 for first, last in ranges) != sections:
        return Malformed(Code.GPP_SECTION_COUNT)
    return tuple(number for first, last in ranges for number in range(first, last + 1))


def _read(ids: tuple[int, ...], sections: list[str]) -> GppString | Malformed:
    found = GppString(ids)
    for number, text in zip(ids, sections, strict=True):
        if number == _TCF_EU:
            found = replace(found, tcf=decode_tcf(text))
        elif number == _TCF_CANADA:
            canada = decode_tcf_canada(text)
            if isinstance(canada, Malformed):
                return canada
            found = replace(found, tcf_canada=canada)
        elif number == _US_PRIVACY:
            privacy = decode_us_privacy(text)
            if isinstance(privacy, Malformed):
                return Malformed(Code.GPP_BAD_USP)
            found = replace(found, us_privacy=privacy)
        elif number in NAMES:
            section = decode_us_section(NAMES[number], text)
            if isinstance(section, Malformed):
                return section
            found = replace(found, us_sections=(*found.us_sections, section))
    return found
