"""The settings of the hashing package: one per rule that no platform documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class HashingOptions:
    """How a source wants its identifiers read. The defaults are what the platforms' own libraries and pixels do.

    Attributes:
        default_region: Region of national phone numbers when the event names no country. ISO 3166-1 alpha-2.
        production: Values of documentation and test ranges are dropped; otherwise they are sent with a warning.
        phone_strictness: `possible` takes numbers of a right length that are in no assigned range.
        external_id_prehashed: Whether 64 hexadecimal characters as external_id are a digest already (`auto`,
            `always`: anything else is refused) or an ordinary id (`never`).
        external_id_case: `per_platform` lower-cases for Meta and Snapchat and keeps the case for TikTok and
            Pinterest; `keep` and `lower` do one thing for all. Must equal what the pixel does.
        idn: Internationalised e-mail domains as they were typed, as their ASCII form, or both as two values.
        email_inner_blanks: Google documents removing blanks inside an address; `refuse` drops such an address
            there too.
        birth_date_order: How `03/04/1990` is read; `refuse` drops what cannot be told apart.
        zip_plus4: Pinterest's digits-only postal code of a US ZIP+4: all nine digits, five, or both.
        zip_letters: Postal codes with letters at Pinterest: left out, or their digits only.
        map_provinces: Canadian and Australian state names become codes in st.1 too (US names always do).
        italian_zero: `both` adds a second phone digest without the zero that Italian land lines keep.
        ignored_email_domains: Domains whose addresses are dropped (the shop's own, marketplace relays). A leading
            `*.` stands for any subdomain, a trailing `.*` for any ending.
    """

    default_region: str | None = None
    production: bool = False
    phone_strictness: Literal["valid", "possible"] = "valid"
    external_id_prehashed: Literal["auto", "always", "never"] = "auto"
    external_id_case: Literal["per_platform", "keep", "lower"] = "per_platform"
    idn: Literal["as_typed", "a_label", "both"] = "as_typed"
    email_inner_blanks: Literal["remove", "refuse"] = "remove"
    birth_date_order: Literal["refuse", "mdy", "dmy"] = "refuse"
    zip_plus4: Literal["keep", "cut", "both"] = "keep"
    zip_letters: Literal["drop", "digits"] = "drop"
    map_provinces: bool = False
    italian_zero: Literal["keep", "both"] = "keep"
    ignored_email_domains: tuple[str, ...] = ()


DEFAULTS = HashingOptions()
