"""Values that stand for nobody, read once from `junk.toml`."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files

_DATA = tomllib.loads(files(__package__).joinpath("junk.toml").read_text(encoding="utf-8"))

WORDS: frozenset[str] = frozenset(_DATA["words"])
HASHED: frozenset[str] = frozenset(_DATA["hashed"])

EMAIL_ADDRESSES: frozenset[str] = frozenset(_DATA["email"]["addresses"])
EMAIL_LOCAL_PARTS: frozenset[str] = frozenset(_DATA["email"]["local_parts"])
EMAIL_TOP_LEVEL_DOMAINS: frozenset[str] = frozenset(_DATA["email"]["top_level_domains"])
EMAIL_SUSPECT_DOMAINS: frozenset[str] = frozenset(_DATA["email"]["suspect_domains"])
EMAIL_SUSPECT_SECOND_LEVEL: frozenset[str] = frozenset(_DATA["email"]["suspect_second_level"])
EMAIL_SUSPECT_TOP_LEVEL_DOMAINS: frozenset[str] = frozenset(_DATA["email"]["suspect_top_level_domains"])
PHONE_NUMBERS: frozenset[str] = frozenset(_DATA["phone"]["numbers"])
NAME_WORDS: frozenset[str] = frozenset(_DATA["name"]["words"]) | WORDS
ZIP_REPEATED_DIGITS: frozenset[str] = frozenset(_DATA["zip"]["repeated_digits"])
EXTERNAL_ID_WORDS: frozenset[str] = frozenset(_DATA["external_id"]["words"]) | WORDS
BIRTH_DATES: frozenset[str] = frozenset(_DATA["birth_date"]["dates"])
AD_ID_ZERO: frozenset[str] = frozenset(_DATA["ad_id"]["zero"])
CLICK_ID_MACRO_PREFIXES: tuple[str, ...] = tuple(_DATA["click_id"]["macro_prefixes"])
USER_AGENT_WORDS: frozenset[str] = frozenset(_DATA["user_agent"]["words"]) | WORDS
USER_AGENT_PROGRAMS: frozenset[str] = frozenset(_DATA["user_agent"]["programs"])
USER_AGENT_BOTS: tuple[str, ...] = tuple(_DATA["user_agent"]["bots"])
USER_AGENT_NOT_BOTS: tuple[str, ...] = tuple(_DATA["user_agent"]["not_bots"])

_TEMPLATE = re.compile(r"\{\{[^}]{0,200}\}\}|\$\{[^}]{0,200}\}|%[A-Za-z_.]{2,60}%|<%.{0,200}%>|\[\[.{0,200}\]\]")
_TEMPLATE_STARTS = frozenset("{$%<[")


def is_template(text: str) -> bool:
    """Whether `text` is a template nobody rendered, such as `{{email}}`, `${email}` or `%email%`."""
    return text[:1] in _TEMPLATE_STARTS and _TEMPLATE.fullmatch(text) is not None


def is_junk(lowered: str) -> bool:
    """Whether the trimmed, lower-cased text stands for nobody in any field."""
    return lowered in WORDS or is_template(lowered)
