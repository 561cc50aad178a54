"""What identifies a browser without being hashed: IP address, user agent and locale."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from app.hashing import junk
from app.hashing.codes import Code
from app.hashing.text import clean

LONGEST_USER_AGENT = 1024

_PART = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_PART}(?:\.{_PART}){{3}}")
_IPV4_PORT = re.compile(r"([0-9.]{7,15}):[0-9]{1,5}")
_BRACKETS = re.compile(r"\[([0-9A-Fa-f:.%]{2,64})\](?::[0-9]{1,5})?")
_SPECIAL_FIRST = frozenset({"0", "10", "100", "127", "169", "172", "192", "198", "203", *map(str, range(224, 256))})
"""First parts of IPv4 addresses under which anything but public addresses lie."""

_DOCUMENTATION = tuple(
    ip_network(network)
    for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")
)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_EMAIL_SHAPE = re.compile(r"[^\s@]{1,64}@[^\s@]{1,190}\.[A-Za-z]{2,}")

_LOCALE_PLAIN = re.compile(r"[a-z]{2}(?:-[A-Z]{2})?")
_LOCALE = re.compile(r"([A-Za-z]{2,3})(?:[-_]([A-Za-z]{4}))?(?:[-_]([A-Za-z]{2}|[0-9]{3}))?(?:[.@][\w.@=-]{0,40})?")


def ip(text: str) -> str | Code:
    """The first public address in `text`, in canonical form: port, brackets and zone cut, mapped IPv4 unwrapped.

    Never hashed. Documentation ranges count as public here; `is_suspect` names them.

    Source: Meta, customer information parameters; TikTok and Snapchat, Conversions API parameters; Pinterest,
    api-description 5.23. Read 2026-11-20. The plain address is documented, the cleaning inferred.
    """
    if _IPV4.fullmatch(text) and text.partition(".")[0] not in _SPECIAL_FIRST:
        return text
    verdict: Code = Code.IP_INVALID
    for entry in text[:1024].split(","):
        address = _address(clean(entry))
        if address is None:
            continue
        if _is_public(address):
            return str(address)
        verdict = Code.IP_NOT_PUBLIC
    return verdict


def is_suspect(address: str) -> bool:
    """Whether the address, in canonical form, is of a range kept for documentation."""
    if ":" not in address and address.partition(".")[0] not in _SPECIAL_FIRST:
        return False
    return _is_documentation(ip_address(address))


def user_agent(text: str) -> str | Code:
    """The user agent trimmed and otherwise untouched; a code when it is a bot's, a program's or none.

    Only the shopper's is judged here, never that of whoever called the gateway.

    Source: Pinterest, api-description 5.23 (bots and `Other` are unusable); Meta and Snapchat, parameters. Read
    2026-11-20. The plain text is documented, the lists in `junk.toml` are ours.
    """
    trimmed = text.strip()
    if len(trimmed) > LONGEST_USER_AGENT:
        return Code.TOO_LONG
    if not trimmed.isascii():
        if _SURROGATE.search(trimmed):
            return Code.TEXT_INVALID
        if not clean(trimmed):
            return Code.USER_AGENT_UNUSABLE
    lowered = trimmed.lower()
    if lowered in junk.USER_AGENT_WORDS or _CONTROL.search(trimmed) or junk.is_template(trimmed):
        return Code.USER_AGENT_UNUSABLE
    for sign in junk.USER_AGENT_BOTS:
        if sign in lowered:
            rest = lowered
            for phone in junk.USER_AGENT_NOT_BOTS:
                rest = rest.replace(phone, "")
            if sign in rest:
                return Code.USER_AGENT_UNUSABLE
    if not lowered.startswith("mozilla/") and re.split(r"[/ ]", lowered, maxsplit=1)[0] in junk.USER_AGENT_PROGRAMS:
        return Code.USER_AGENT_UNUSABLE
    if "@" in trimmed and _EMAIL_SHAPE.search(trimmed):
        return Code.USER_AGENT_UNUSABLE
    return trimmed


def locale(text: str) -> str | Code:
    """A language tag in canonical case with hyphens: `en_US.UTF-8` gives `en-US`.

    Source: TikTok, Events API reference (BCP 47; its sample has an underscore). Read 2026-11-20. Documented; the
    underscore, the case and the cut suffix are ours.
    """
    if _LOCALE_PLAIN.fullmatch(text):
        return text
    found = _LOCALE.fullmatch(clean(text))
    if not found:
        return Code.LOCALE_INVALID
    language, script, region = found.groups()
    if language.lower() in junk.WORDS:
        return Code.LOCALE_INVALID
    parts = [language.lower(), script.title() if script else "", region.upper() if region else ""]
    return "-".join(part for part in parts if part)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    found = _BRACKETS.fullmatch(text) or _IPV4_PORT.fullmatch(text)
    bare = (found.group(1) if found else text).partition("%")[0]
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if address.is_multicast or address.is_unspecified or address.is_loopback or address.is_link_local:
        return False
    return address.is_global or _is_documentation(address)


def _is_documentation(address: IPv4Address | IPv6Address) -> bool:
    return any(address.version == network.version and address in network for network in _DOCUMENTATION)
