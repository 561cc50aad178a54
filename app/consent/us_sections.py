"""The US sections of a GPP string: their layouts as data, and what each means for the sale of personal data.

Source: IAB Global-Privacy-Platform repository, Sections, as of 2025-12-17, compared with the reference encoder
(@iabgpp/cmpapi 3.2.0). A core is a 6-bit version, then fields of two bits. Of a notice, 1 is given and 2 is not; of an
opt-out, 1 is opted out and 2 is not; of a consent, 1 is refused and 2 is given; 0 is not applicable, 3 is undefined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from app.consent.bits import Bits
from app.consent.codes import Code, Malformed

_MSPA: Final = "MspaCoveredTransaction MspaOptOutOptionMode MspaServiceProviderMode"
_HEAD: Final = "SaleOptOutNotice TargetedAdvertisingOptOutNotice SaleOptOut TargetedAdvertisingOptOut"
_NAT: Final = (
    "SharingNotice SaleOptOutNotice SharingOptOutNotice TargetedAdvertisingOptOutNotice "
    "SensitiveDataProcessingOptOutNotice SensitiveDataLimitUseNotice SaleOptOut SharingOptOut "
    "TargetedAdvertisingOptOut"
)
_MORE: Final = f"AdditionalDataProcessingConsent {_MSPA}"
_MSPA_FIRST: Final = f"MspaCoveredTransaction MspaMode ProcessingNotice {_HEAD}"


def _layout(text: str) -> tuple[str, ...]:
    """`Name*3` stands for three fields of that name."""
    names: list[str] = []
    for word in text.split():
        name, _, count = word.partition("*")
        names += [name] * int(count or 1)
    return tuple(names)


def _state(sensitive: int, children: int, rest: str = _MORE, notice: str = "ProcessingNotice") -> tuple[str, ...]:
    return _layout(
        f"{notice} {_HEAD} SensitiveDataProcessing*{sensitive} KnownChildSensitiveDataConsents*{children} {rest}"
    )


NAMES: Final[dict[int, str]] = {
    7: "usnat",
    8: "usca",
    9: "usva",
    10: "usco",
    11: "usut",
    12: "usct",
    13: "usfl",
    14: "usmt",
    15: "usor",
    16: "ustx",
    17: "usde",
    18: "usia",
    19: "usne",
    20: "usnh",
    21: "usnj",
    22: "ustn",
    23: "usmn",
    24: "usmd",
    25: "usin",
    26: "usky",
    27: "usri",
}
"""The section ids of the US sections."""

LAYOUTS: Final[dict[tuple[str, int], tuple[str, ...]]] = {
    ("usnat", 1): _layout(
        f"{_NAT} SensitiveDataProcessing*12 KnownChildSensitiveDataConsents*2 PersonalDataConsents {_MSPA}"
    ),
    ("usnat", 2): _layout(
        f"{_NAT} SensitiveDataProcessing*16 KnownChildSensitiveDataConsents*3 PersonalDataConsents {_MSPA}"
    ),
    ("usca", 1): _layout(
        "SaleOptOutNotice SharingOptOutNotice SensitiveDataLimitUseNotice SaleOptOut SharingOptOut "
        f"SensitiveDataProcessing*9 KnownChildSensitiveDataConsents*2 PersonalDataConsents {_MSPA}"
    ),
    ("usva", 1): _state(8, 1, _MSPA, "SharingNotice"),
    ("usco", 1): _state(7, 1, _MSPA, "SharingNotice"),
    ("usut", 1): _layout(
        "SharingNotice SaleOptOutNotice TargetedAdvertisingOptOutNotice SensitiveDataProcessingOptOutNotice SaleOptOut "
        f"TargetedAdvertisingOptOut SensitiveDataProcessing*8 KnownChildSensitiveDataConsents {_MSPA}"
    ),
    ("usct", 1): _state(8, 3, _MSPA, "SharingNotice"),
    ("usfl", 1): _state(8, 3),
    ("usmt", 1): _state(8, 3, notice="SharingNotice"),
    ("usor", 1): _state(11, 3),
    ("ustx", 1): _state(8, 1),
    ("usde", 1): _state(9, 5),
    ("usia", 1): _layout(
        "ProcessingNotice SaleOptOutNotice TargetedAdvertisingOptOutNotice SensitiveDataOptOutNotice SaleOptOut "
        f"TargetedAdvertisingOptOut SensitiveDataProcessing*8 KnownChildSensitiveDataConsents {_MSPA}"
    ),
    ("usne", 1): _state(8, 1),
    ("usnh", 1): _state(8, 3),
    ("usnj", 1): _state(10, 5),
    ("ustn", 1): _state(8, 1),
    ("usmn", 1): _state(8, 1),
    ("usmd", 1): _layout(f"{_MSPA_FIRST} AdditionalDataProcessingConsent"),
    ("usin", 1): _layout(f"{_MSPA_FIRST} KnownChildSensitiveDataConsents AdditionalDataProcessingConsent"),
    ("usky", 1): _layout(f"{_MSPA_FIRST} KnownChildSensitiveDataConsents AdditionalDataProcessingConsent"),
    ("usri", 1): _layout(f"{_MSPA_FIRST} KnownChildSensitiveDataConsents AdditionalDataProcessingConsent"),
}
"""The fields of each section and version, in order. A version that is not here has a layout nobody may guess."""

_GPC_SEGMENT: Final = 1
_OPT_OUTS: Final = ("SaleOptOut", "SharingOptOut", "TargetedAdvertisingOptOut")
_NOTICES: Final = ("SharingNotice", "ProcessingNotice")


@dataclass(frozen=True, slots=True)
class UsSection:
    """One US section: its fields in the order of `LAYOUTS`, and the browser's control where the section carries it.

    `gpc` None is absent, which is not False.
    """

    name: str
    version: int
    values: tuple[int, ...]
    gpc: bool | None

    def of(self, field: str) -> tuple[int, ...]:
        """The values of the fields of this name; empty where the section has none."""
        layout = LAYOUTS[self.name, self.version]
        return tuple(value for name, value in zip(layout, self.values, strict=True) if name == field)


def decode_us_section(name: str, text: str) -> UsSection | Malformed:
    """What a US section says, or why it cannot be read.

    Raises: bits.Unreadable, bits.PastEnd.
    """
    core, *segments = [Bits(segment) for segment in text.split(".")]
    version = core.number(6)
    layout = LAYOUTS.get((name, version))
    if layout is None:
        return Malformed(Code.GPP_UNSUPPORTED_SECTION_VERSION)
    width = 2 * len(layout)
    packed = core.number(width)
    values = tuple(packed >> shift & 3 for shift in range(width - 2, -1, -2))
    if 3 in values:
        return Malformed(Code.GPP_RESERVED_VALUE)
    gpc: bool | None = None
    for segment in segments:
        if segment.number(2) == _GPC_SEGMENT:
            gpc = segment.flag() or gpc is True
    return UsSection(name, version, values, gpc)


def stance_of_section(section: UsSection) -> Code:
    """What a section means for a sale to an ad platform: the most restrictive thing it says.

    A section that speaks of a child without consent stands against any sale. An opt-out that was not taken counts
    only where the notice of it was given.
    """
    if 1 in section.of("KnownChildSensitiveDataConsents"):
        return Code.CHILD_NO_CONSENT
    if section.gpc:
        return Code.US_GPC_OPT_OUT
    chosen = {name: section.of(name) for name in _OPT_OUTS}
    if any(1 in values for values in chosen.values()):
        return Code.US_OPTED_OUT
    if any(2 in section.of(name) for name in (*_NOTICES, *(f"{opt_out}Notice" for opt_out in _OPT_OUTS))):
        return Code.US_NO_NOTICE
    if any(2 in values and section.of(f"{name}Notice") != (1,) for name, values in chosen.items()):
        return Code.US_NO_NOTICE
    if section.of("MspaServiceProviderMode") == (1,) or section.of("MspaMode") == (2,):
        return Code.US_SERVICE_PROVIDER_MODE
    return Code.US_NOT_OPTED_OUT if any(2 in values for values in chosen.values()) else Code.US_NOT_APPLICABLE
