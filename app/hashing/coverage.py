"""Match-key coverage: what each platform would get of an identity, what is missing, and what that costs.

The rules are data, read from the platforms' own pages; the words are theirs where they have any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.model import Form, HashedIdentity

Weight = Literal["strong", "helpful"]


@dataclass(frozen=True, slots=True)
class Key:
    """One match key of a platform: its name there, where it comes from, and what its absence costs.

    `needs` are the parts that must all be there: named forms, or fields of the identity.
    """

    name: str
    needs: tuple[str, ...]
    weight: Weight
    cost: str
    field: str
    sources: frozenset[str] = frozenset()
    """The action sources it is for; empty for all."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What one platform matches by, and what it wants at least.

    `enough`: any one of these combinations of keys is enough. `too_weak`: an event with nothing outside one of these
    sets is refused. Both empty: no minimum is documented.
    """

    platform: str
    keys: tuple[Key, ...]
    enough: tuple[frozenset[str], ...] = ()
    too_weak: tuple[frozenset[str], ...] = ()
    minimum: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """A match key that is absent: the field of the event that would supply it, and what its absence costs."""

    name: str
    weight: Weight
    field: str
    cost: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """What one platform would get.

    `is_enough` is whether it takes the event at all; if not, `minimum` says what it wants.
    `present` and `missing` are in the platform's own order of strength.
    """

    platform: str
    present: tuple[str, ...]
    missing: tuple[Missing, ...]
    is_enough: bool
    minimum: str

    @property
    def strong(self) -> tuple[int, int]:
        """How many of the strong keys are present, and how many there are."""
        strong = {key.name for key in RULES[self.platform].keys if key.weight == "strong"}
        absent = sum(1 for missing in self.missing if missing.weight == "strong")
        present = sum(1 for name in self.present if name in strong)
        return present, present + absent


_WEB = frozenset({"website"})
_APP = frozenset({"app"})

RULES: dict[str, Rules] = {
    # Source: Meta, dataset quality API, best practices, customer information parameters. Read 2026-11-20.
    "meta": Rules(
        platform="meta",
        keys=(
            Key("em", (Form.EMAIL,), "strong", "lowers Event Match Quality: a high-priority parameter", "user.email"),
            Key(
                "client_ip_address",
                ("client_ip_address",),
                "strong",
                "lowers Event Match Quality: a high-priority parameter of web events",
                "user.client_ip_address",
                _WEB,
            ),
            Key(
                "fn+ln",
                (Form.FIRST_NAME_LETTERS, Form.LAST_NAME_LETTERS),
                "strong",
                "lowers Event Match Quality: first and last name count together",
                "user.first_name, user.last_name",
            ),
            Key(
                "ph",
                (Form.PHONE_DIGITS,),
                "strong",
                "lowers Event Match Quality: a high-priority parameter",
                "user.phone",
            ),
            Key(
                "external_id",
                (Form.EXTERNAL_ID_LOWER,),
                "helpful",
                "lowers Event Match Quality, and the pixel's copy cannot be paired by person",
                "user.external_id",
            ),
            Key(
                "fbc",
                ("fbc",),
                "helpful",
                "the conversion cannot be tied to the ad click itself",
                "user.fbc, or fbclid in event_source_url",
                _WEB,
            ),
            Key("fbp", ("fbp",), "helpful", "the conversion cannot be tied to the browser", "user.fbp", _WEB),
            Key(
                "client_user_agent",
                ("client_user_agent",),
                "helpful",
                "Meta requires it for website events",
                "user.client_user_agent",
                _WEB,
            ),
            Key(
                "lead_id",
                ("lead_id",),
                "strong",
                "without it a lead of Meta's own forms cannot be followed through the sales funnel",
                "user.lead_id",
                frozenset({"system_generated"}),
            ),
            Key("db", (Form.BIRTH_DATE,), "helpful", "a little lower Event Match Quality", "user.date_of_birth"),
            Key("ge", (Form.GENDER,), "helpful", "a little lower Event Match Quality", "user.gender"),
            Key("ct", (Form.CITY,), "helpful", "a little lower Event Match Quality", "user.city"),
            Key("st", (Form.STATE,), "helpful", "a little lower Event Match Quality", "user.state"),
            Key("zp", (Form.ZIP,), "helpful", "a little lower Event Match Quality", "user.zip"),
            Key("country", (Form.COUNTRY,), "helpful", "a little lower Event Match Quality", "user.country"),
            Key(
                "madid",
                ("idfa|gaid",),
                "strong",
                "an app event without advertising id rarely matches",
                "user.idfa",
                _APP,
            ),
        ),
        too_weak=(
            frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
            frozenset({"db", "client_user_agent"}),
            frozenset({"fn", "ge"}),
            frozenset({"ln", "ge"}),
        ),
        minimum=(
            "more than one of: city, country, state, postal code, gender and user agent; birth date and user agent; a "
            "first or last name with gender"
        ),
    ),
    # Source: TikTok, Events API 2.0 reference. Read 2026-11-20. The minimum is inferred, none is documented.
    "tiktok": Rules(
        platform="tiktok",
        keys=(
            Key("email", (Form.EMAIL,), "strong", "a recommended match key is missing", "user.email"),
            Key("phone", (Form.PHONE_E164,), "strong", "a recommended match key is missing", "user.phone"),
            Key("external_id", (Form.EXTERNAL_ID,), "strong", "a recommended match key is missing", "user.external_id"),
            Key(
                "ttclid",
                ("ttclid",),
                "strong",
                "the conversion cannot be tied to the ad click itself",
                "user.ttclid, or ttclid in event_source_url",
                _WEB,
            ),
            Key(
                "ttp",
                ("ttp",),
                "strong",
                "the conversion cannot be tied to the browser's _ttp cookie",
                "user.ttp",
                _WEB,
            ),
            Key(
                "ip+user_agent",
                ("client_ip_address", "client_user_agent"),
                "helpful",
                "TikTok recommends both beside every other key",
                "user.client_ip_address, user.client_user_agent",
                _WEB | _APP,
            ),
            Key(
                "idfa|gaid",
                ("idfa|gaid",),
                "strong",
                "an app event without advertising id rarely matches",
                "user.idfa",
                _APP,
            ),
        ),
        enough=(
            frozenset({"email"}),
            frozenset({"phone"}),
            frozenset({"external_id"}),
            frozenset({"ttclid"}),
            frozenset({"ttp"}),
            frozenset({"ip+user_agent"}),
            frozenset({"idfa|gaid"}),
        ),
        minimum="one of email, phone, external_id, ttclid, ttp, or IP address and user agent",
    ),
    # Source: Pinterest, api-description 5.23. Read 2026-11-20. The minimum is documented in the schema.
    "pinterest": Rules(
        platform="pinterest",
        keys=(
            Key("em", (Form.EMAIL,), "strong", "one of the keys that alone make an event valid", "user.email"),
            Key(
                "client_ip_address+client_user_agent",
                ("client_ip_address", "client_user_agent"),
                "strong",
                "together they alone make an event valid",
                "user.client_ip_address, user.client_user_agent",
            ),
            Key(
                "hashed_maids",
                (Form.AD_ID,),
                "strong",
                "one of the keys that alone make an event valid",
                "user.idfa, user.gaid",
                _APP,
            ),
            Key(
                "click_id",
                ("epik",),
                "helpful",
                "the conversion cannot be tied to the ad click itself",
                "user.epik, or epik in event_source_url",
                _WEB,
            ),
            Key("external_id", (Form.EXTERNAL_ID,), "helpful", "one match key less", "user.external_id"),
            Key("ph", (Form.PHONE_DIGITS,), "helpful", "one match key less", "user.phone"),
            Key(
                "fn+ln",
                (Form.FIRST_NAME_PUNCTUATED, Form.LAST_NAME_PUNCTUATED),
                "helpful",
                "one match key less",
                "user.first_name, user.last_name",
            ),
        ),
        enough=(
            frozenset({"em"}),
            frozenset({"hashed_maids"}),
            frozenset({"client_ip_address+client_user_agent"}),
        ),
        minimum=(
            "em, hashed_maids, or client_ip_address with client_user_agent; phone, external_id or click_id alone is "
            "refused"
        ),
    ),
    # Source: Snapchat, Conversions API, using the API and parameters. Read 2026-11-20. The minimum is documented.
    "snapchat": Rules(
        platform="snapchat",
        keys=(
            Key("em", (Form.EMAIL,), "strong", "one of the keys that alone make an event valid", "user.email"),
            Key("ph", (Form.PHONE_DIGITS,), "strong", "one of the keys that alone make an event valid", "user.phone"),
            Key(
                "client_ip_address+client_user_agent",
                ("client_ip_address", "client_user_agent"),
                "strong",
                "together they alone make an event valid",
                "user.client_ip_address, user.client_user_agent",
            ),
            Key("madid", ("idfa|gaid",), "strong", "alone makes an app event valid", "user.idfa, user.gaid", _APP),
            Key(
                "sc_click_id",
                ("sc_click_id",),
                "helpful",
                "the conversion cannot be tied to the ad click itself",
                "user.sc_click_id, or ScCid in event_source_url",
                _WEB,
            ),
            Key(
                "sc_cookie1", ("sc_cookie1",), "helpful", "the _scid cookie improves matching", "user.sc_cookie1", _WEB
            ),
            Key("external_id", (Form.EXTERNAL_ID_LOWER,), "helpful", "one match key less", "user.external_id"),
            Key(
                "fn+ln",
                (Form.FIRST_NAME_LETTERS, Form.LAST_NAME_LETTERS),
                "helpful",
                "one match key less",
                "user.first_name, user.last_name",
            ),
        ),
        enough=(
            frozenset({"em"}),
            frozenset({"ph"}),
            frozenset({"client_ip_address+client_user_agent"}),
            frozenset({"madid"}),
        ),
        minimum=(
            "em, ph, madid, or client_ip_address with client_user_agent; sc_click_id or external_id alone is refused"
        ),
    ),
    # Source: Google, Data Manager API, send events and format user data. Read 2026-11-20. Documented.
    "google": Rules(
        platform="google",
        keys=(
            Key(
                "gclid|gbraid|wbraid",
                ("gclid|gbraid|wbraid",),
                "strong",
                "only user data is left to find the ad click; send both where there are both",
                "user.gclid, gbraid or wbraid, or the same in event_source_url",
            ),
            Key("emailAddress", (Form.EMAIL_GMAIL_FOLDED,), "strong", "one user identifier less of ten", "user.email"),
            Key("phoneNumber", (Form.PHONE_E164,), "strong", "one user identifier less of ten", "user.phone"),
        ),
        enough=(frozenset({"gclid|gbraid|wbraid"}), frozenset({"emailAddress"}), frozenset({"phoneNumber"})),
        minimum="a click id or a user identifier; without any the event fails with NO_IDENTIFIERS_PROVIDED",
    ),
}
"""The rules by platform (the type of a destination)."""

# Meta's names of the single parts, for its sets that are too weak.
_META_PARTS: dict[str, str] = {
    Form.FIRST_NAME_LETTERS: "fn",
    Form.LAST_NAME_LETTERS: "ln",
}


PARTS: frozenset[str] = frozenset(
    part for rules in RULES.values() for key in rules.keys for need in key.needs for part in need.split("|")
)
"""Everything any platform matches by: named forms, and fields of the identity."""


def parts_of(identity: HashedIdentity) -> frozenset[str]:
    """Which of `PARTS` an identity has."""
    return frozenset(part for part in PARTS if identity.digests.get(part) or getattr(identity, part, None))


def keys_of(platform: str, action_source: str = "website") -> tuple[Key, ...]:
    """The match keys of a platform that events of this action source can have, in its own order of strength.

    Raises:
        KeyError: no rules for this platform.
    """
    return tuple(key for key in RULES[platform].keys if not key.sources or action_source in key.sources)


def has_key(parts: frozenset[str], key: Key) -> bool:
    """Whether these parts make up the match key."""
    return all(any(part in parts for part in need.split("|")) for need in key.needs)


def coverage(identity: HashedIdentity, platform: str, action_source: str = "website") -> Coverage:
    """What `platform` would get of `identity` for an event of this action source.

    Raises:
        KeyError: no rules for this platform.
    """
    rules, has = RULES[platform], parts_of(identity)
    keys = keys_of(platform, action_source)
    present = tuple(key.name for key in keys if has_key(has, key))
    missing = tuple(Missing(key.name, key.weight, key.field, key.cost) for key in keys if key.name not in present)
    is_enough = any(combination <= set(present) for combination in rules.enough)
    if rules.too_weak:
        single = {*present, *(name for form, name in _META_PARTS.items() if form in has)} - {"fn+ln"}
        is_enough = bool(single) and not any(single <= weak for weak in rules.too_weak)
    return Coverage(platform, present, missing, is_enough, rules.minimum)
