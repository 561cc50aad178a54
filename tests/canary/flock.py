"""The canaries: one event after another with a raw value of its own in every place a value can stand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import quote, quote_plus

from tests.canary.search import Canary

LETTERS = "bcdfghjkmnpqrstvwxz"
CONSENT = {"ad_storage": True, "ad_user_data": True, "ad_personalization": True}
SHAPES = ("email", "phone", "card")
TEXT_PLACES = (
    "custom_data.search_string",
    "custom_data.content_name",
    "custom_data.content_category",
    "custom_data.content_type",
    "custom_data.contents.0.id",
    "custom_data.contents.0.title",
    "custom_data.contents.0.brand",
    "custom_data.contents.0.category",
    "custom_data.properties.note",
    "custom_data.properties.list.0",
    "custom_data.properties.nested.inner.note",
    "custom_data.properties.nested.list.0.note",
    "app.app_name",
    "app.os_version",
    "app.campaign_ids",
    "app.install_referrer",
    "app.installer_package",
    "app.url_schemes",
    "app.vendor_id",
    "app.extinfo.3",
    "app.package_name",
    "app.app_store",
    "app.device_brand",
    "app.device_model",
    "app.device_type",
    "app.device_carrier",
)
CLICK_IDS = ("ttclid", "ttp", "epik", "sc_click_id", "sc_cookie1", "gclid", "gbraid", "wbraid", "ctwa_clid")
PLATFORM_IDS = ("anon_id", "download_id", "fb_login_id", "page_scoped_user_id", "ig_sid")
ID_PLACES = (
    "event_name",
    "event_id",
    "transaction_id",
    "occurrence",
    "custom_data.order_id",
    "custom_data.subscription_id",
)
PERSONAL_KEYS = ("first_name", "lastName", "full-name", "name", "address", "street", "shippingAddress", "birthday")
SECRET_KEYS = ("password", "token", "access_token", "authorization")
PHONE_KEYS = ("phone", "tel", "mobile")

ENCODINGS: dict[str, Callable[[str], str]] = {
    "": str,
    " encoded": lambda text: quote(text, safe=""),
    " encoded twice": lambda text: quote(quote(text, safe=""), safe=""),
    " encoded as a form": quote_plus,
    " encoded as a form, twice": lambda text: quote(quote_plus(text), safe=""),
}
"""How a value comes to stand in a link. A form writes blanks as `+`."""

Made = tuple[str, dict[str, Any]]
"""What an event is about, and the event."""


@dataclass(frozen=True, slots=True)
class Family:
    """What the canaries of one kind have in common: letters, the head of a phone number, the head of a card number."""

    word: str
    phone: str
    card: str

    @property
    def stems(self) -> tuple[str, ...]:
        """The same in every way in which it is written."""
        phone, head, card = self.phone, self.phone[:3], self.card
        grouped = f"{card[:4]} {card[4:]}"
        return (
            self.word,
            f"1512 {phone}",
            f"1512 {head}-{phone[3:]}",
            f"1512{phone}",
            card,
            grouped,
            grouped.replace(" ", "-"),
        )


SECRET = Family("ZqKwVxBz", "7733", "47733552")
LET_GO = Family("ZjHnDgFw", "8866", "48866552")
"""Of values that may travel: those that are meant to, and those that the policy `report` lets go."""
STEMS = (*SECRET.stems, *LET_GO.stems, "fb.1.17632000", "98877665", "a7b3c9d1-", "2001:db8:77:")


class Flock:
    """Makes canaries and remembers them. The same in every run."""

    def __init__(self, family: Family = SECRET) -> None:
        self._family = family
        self._serial = 99
        self._words = 0
        self._orders = 0
        self.canaries: list[Canary] = []
        self.host = f"{self.word('maildomain')}.com"

    def _next(self) -> str:
        """A number of three digits, never the same."""
        self._serial += 1
        return f"{self._serial:03}"

    def word(self, name: str, *, may_travel: bool = False, start: str = "") -> str:
        """A word of letters that stands nowhere else."""
        self._words += 1
        tail = "".join(LETTERS[self._words // len(LETTERS) ** place % len(LETTERS)] for place in range(4))
        family = LET_GO if may_travel else self._family
        return self.keep(name, f"{start}{family.word}{tail}x", may_travel=may_travel)

    def keep(self, name: str, text: str, *also: str, may_travel: bool = False) -> str:
        """Remember `text`, and other ways of writing it, as one canary."""
        self.canaries.append(Canary(name, (text, *also), may_travel or self._family is LET_GO))
        return text

    def email(self, name: str, *, host: str | None = None) -> str:
        """An e-mail address."""
        return f"{self.word(name)}@{host or self.host}"

    def phone(self, name: str) -> str:
        """A German mobile number with its `+`, in groups."""
        head, tail = self._family.phone, self._next()
        return self.keep(name, f"+49 1512 {head} {tail}", f"1512{head}{tail}", f"1512 {head} {tail}")

    def card(self, name: str) -> str:
        """A card number that passes its check digit, in groups of four."""
        body = f"{self._family.card}2468{self._next()}"
        doubled = [2 * int(digit) for digit in body[::2]]
        total = sum(number - 9 if number > 9 else number for number in doubled) + sum(map(int, body[1::2]))
        number = body + str(-total % 10)
        text = " ".join(number[start : start + 4] for start in range(0, 16, 4))
        return self.keep(name, text, number, text.replace(" ", "-"))

    def shaped(self, shape: str, name: str) -> str:
        """A value of one of `SHAPES`."""
        make = {"email": self.email, "phone": self.phone, "card": self.card}[shape]
        return make(f"{shape} in {name}")

    def event(self, **fields: Any) -> dict[str, Any]:
        """A plain purchase that every platform takes, with `fields` over it."""
        self._orders += 1
        number = f"ORD-{self._orders}"
        return {
            "event_name": "Purchase",
            "event_time": time.time(),
            "transaction_id": number,
            "event_source_url": "https://shop.example/thanks",
            "user": {
                "email": self.email(f"email of {number}"),
                "country": "DE",
                "client_ip_address": "203.0.113.9",
                "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0",
            },
            "consent": CONSENT,
            "custom_data": {
                "currency": "EUR",
                "value": "12.50",
                "order_id": number,
                "contents": [{"id": "SKU-1", "quantity": 1, "item_price": "12.50"}],
            },
            **fields,
        }

    def event_at(self, path: str, value: Any) -> dict[str, Any]:
        """A purchase with `value` at `path`."""
        event = self.event(**({"app": {}} if path.startswith("app") else {}))
        put(event, path, value)
        return event

    # --- identifiers in user ----------------------------------------------------------------------------------

    def user(self, name: str) -> dict[str, Any]:
        """Every identifier, each in a shape in which it is taken; those that travel unhashed, too."""
        head, tail, serial = self._family.phone, self._next(), self._next()
        local = f"01512 {head[:3]}-{head[3:]}{tail}"
        self.keep(f"{name} phone", local, f"1512{head}{tail}")
        born = "1987-06-14"
        first, second = self.word(f"{name} last name"), self.word(f"{name} last name, second part")
        city, side = self.word(f"{name} city"), self.word(f"{name} city, second part")
        return {
            "email": self.email(f"{name} email"),
            "phone": local,
            "phone_country": "DE",
            "first_name": self.word(f"{name} first name"),
            "last_name": f"O'{first}-{second}, Jr.",
            "gender": self.keep(f"{name} gender", "Weiblich"),
            "date_of_birth": self.keep(f"{name} birth date", born, born.replace("-", "")),
            "city": f"{city} am {side}",
            "state": self.word(f"{name} state"),
            "zip": self.word(f"{name} zip"),
            "country": "Deutschland",
            "external_id": self.word(f"{name} external id", start="Cust-"),
            "customer_type": "returning",
            "client_ip_address": self._travels("ip", f"2001:db8:77::{serial}"),
            "client_user_agent": f"Mozilla/5.0 (Linux; Android 15; {self.word('user agent', may_travel=True)}) Mobile",
            "locale": "de-DE",
            "lead_id": self._travels("lead id", f"988776655443{serial}"),
            "fbp": self._travels("fbp", f"fb.1.1763200000000.4{serial}{serial}"),
            "fbc": f"fb.1.1763200000000.{self.word('fbc', may_travel=True)}",
            **{field: self.word(field, may_travel=True) for field in (*CLICK_IDS, *PLATFORM_IDS)},
            "idfa": self._travels("idfa", f"a7b3c9d1-1111-4222-8333-777777777{serial}"),
        }

    def _travels(self, name: str, text: str) -> str:
        return self.keep(name, text, may_travel=True)

    def users(self) -> Iterator[Made]:
        """Events whose canaries are accepted: one of each identifier, several of each, and letters beyond ASCII."""
        one = self.event(user=self.user("single"))
        yield "single identifiers", one
        parts = [self.user(f"list {number}") for number in range(3)]
        several = {
            key: [part[key] for part in parts]
            for key in ("email", "phone", "first_name", "last_name", "city", "state", "zip", "external_id")
        }
        shown = self.word("display name of an address")
        several["email"].append(f"{shown} <{self.email('address in brackets')}>")
        yield "lists of identifiers", self.event(user={**parts[0], **several})
        yield (
            "names beyond ASCII",
            self.event(
                user={
                    "email": self.email("email beside other names"),
                    "first_name": self.word("first name beyond ASCII", start="Žqüñ"),
                    "city": self.word("city beyond ASCII", start="ЖщÅ"),
                    "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
                }
            ),
        )
        store = self.event(user=self.user("in a store"), action_source="physical_store")
        yield "identifiers in a store", store
        yield "identifiers of an app", self.event(user=self.user("in an app"), action_source="app", app=dict(APP))
        hashed = {**self.user("hashed"), "email": sha256(b"zq@zq.example").hexdigest()}
        yield "hashed identifiers", self.event(user=hashed)
        denied = self.event(user=self.user("without consent"), consent={})
        yield "identifiers without consent", denied
        keyless = self.event(user=self.user("without a key"))
        del keyless["transaction_id"], keyless["custom_data"]["order_id"], keyless["user"]["lead_id"]
        yield "identifiers without a transaction", keyless

    def unusable(self) -> Iterator[Made]:
        """Events whose identifiers are dropped with a warning, or read by nobody."""
        word = self.word
        yield (
            "unusable identifiers",
            self.event(
                user={
                    "email": [f"{word('email without domain')}@", f"{word('email with blank')} x@{self.host}"],
                    "phone": f"call {word('phone in words')} 0151 2345678",
                    "phone_country": word("phone country"),
                    "first_name": f"{{{{{word('name in a template')}}}}}",
                    "last_name": f"{word('address as name')}@{self.host}",
                    "gender": word("gender"),
                    "date_of_birth": f"31.02.{word('birth date')}",
                    "country": word("country"),
                    "external_id": f"${{{word('external id in a template')}}}",
                    "lead_id": f"{word('lead id')}@",
                    "customer_type": word("customer type"),
                    "client_ip_address": word("ip address"),
                    "client_user_agent": f"Mozilla/5.0 {word('address in user agent')}@{self.host}",
                    "locale": word("locale"),
                    "fbp": word("fbp"),
                    "fbc": f"{word('fbc')}@{self.host}",
                    **{field: f"{word(f'address as {field}')}@{self.host}" for field in (*CLICK_IDS, *PLATFORM_IDS)},
                    "idfa": f"{word('idfa')}!",
                    "gaid": f"{word('gaid')}@{self.host}",
                    "idfv": f"{word('idfv')} {self.host}",
                }
            ),
        )
        yield (
            "digests of the wrong kind",
            self.event(
                user={
                    "email": [self.keep("MD5", _hex(32)), self.keep("SHA-1", _hex(40))],
                    "phone": self.keep("bcrypt", f"$2b$12${_hex(50)}"),
                    "external_id": self.word("external id beside digests"),
                    "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
                }
            ),
        )
        unknown = self.event()
        unknown["user"]["nickname"] = word("unknown field of user")
        unknown["custom_data"]["remark"] = {"deep": [word("unknown field of custom data")]}
        unknown["custom_data"]["contents"][0]["gift_for"] = word("unknown field of a line")
        unknown["app"] = {"owner": word("unknown field of app")}
        unknown["consent"] = {**CONSENT, "given_by": word("unknown field of consent")}
        unknown["customer"] = {"e-mail": self.email("unknown field of an event")}
        unknown[self.email("address as a key")] = 1
        unknown["user"][self.phone("phone as a key")] = {"x": word("value under a phone")}
        yield "unknown fields", unknown
        yield (
            "odd consent",
            self.event(
                consent={
                    "jurisdiction": self.email("jurisdiction"),
                    "collected_at": word("collected at"),
                    "purposes": {self.email("purpose"): True},
                    "ad_storage": word("ad storage"),
                    "ad_user_data": [self.email("ad user data")],
                    **{
                        field: self.email(field)
                        for field in ("tcf", "ac", "gpp", "us_privacy", "gpc", "onetrust_groups", "shopify", "child")
                    },
                }
            ),
        )

    # --- what strayed into other fields ------------------------------------------------------------------------

    def strays(self, label: str = "") -> Iterator[Made]:
        """Events with personal data of a known shape in a text, in free data and in app data."""
        for place in TEXT_PLACES:
            for shape in SHAPES:
                name = f"{place}{label}"
                value = self.shaped(shape, name)
                yield f"{shape} in {name}", self.event_at(place, value)
                if not place.startswith("app"):
                    amid = f"for {self.shaped(shape, f'the middle of {name}')}, please"
                    yield f"{shape} amid {name}", self.event_at(place, amid)
        for key in (*PERSONAL_KEYS, *SECRET_KEYS):
            for place in (f"custom_data.properties.{key}", f"custom_data.properties.deep.list.0.{key}"):
                yield f"value at {place}{label}", self.event_at(place, self.word(f"{place}{label}"))
        for shape in SHAPES:
            key = self.shaped(shape, f"a key of properties{label}")
            yield f"{shape} as key{label}", self.event_at("custom_data.properties", {key: "x"})
        deep = self.word(f"properties nested too deeply{label}")
        yield f"depth{label}", self.event_at("custom_data.properties.a.b.c.d", {"e": f"{deep}@{self.host}"})
        keyed = self.card(f"a card key{label}").replace(" ", "")
        yield f"ungrouped card under its key{label}", self.event_at("custom_data.properties.card_number", keyed)

    def urls(self, label: str = "") -> Iterator[tuple[str, str]]:
        """Where it stands, and the URL."""
        base = "https://shop.example"
        for shape in SHAPES:
            for how, encode in ENCODINGS.items():
                if not how and shape == "phone":
                    continue  # a bare plus in a query is a blank
                places = {
                    "query": "{}/x?a=1&q={}&b=2",
                    "query beside words": "{}/x?q=call%20{}%20now",
                    "fragment": "{}/x#{}",
                    "fragment query": "{}/x#/done?q={}",
                    "fragment parameter": "{}/x#q={}&b=2",
                }
                if "form" not in how:
                    places |= {"path": "{}/u/{}/x", "path end": "{}/u/{}"}
                if shape == "email":
                    places |= {
                        "parameter name": "{}/x?{}=1",
                        "bare parameter": "{}/x?{}",
                        "user part": "https://{1}:p@{0}",
                    }
                for place, pattern in places.items():
                    name = f"{place} of a URL{how}{label}"
                    value = self.shaped(shape, name).replace(" ", "" if shape == "phone" and not how else " ")
                    host = "shop.example/x" if place == "user part" else base
                    yield f"{shape} in {name}", pattern.format(host, encode(value))
        for key in (*PERSONAL_KEYS, *SECRET_KEYS, *PHONE_KEYS, "email", "zip", "postcode", "session_id", "card"):
            for place, pattern in {
                "query": "{}/x?a=1&{}={}",
                "fragment": "{}/x#{}={}",
                "bracketed": "{}/x?user[{}]={}",
                "bracketed, encoded": "{}/x?user%5B{}%5D={}",
                "bracketed, encoded twice": "{}/x?user%255B{}%255D={}",
            }.items():
                name = f"value of {key} in the {place} of a URL{label}"
                yield name, pattern.format(base, key, self.word(name))

    def url_events(self, label: str = "") -> Iterator[Made]:
        """Events with personal data in one of their two URLs."""
        for field in ("event_source_url", "referrer_url"):
            for about, url in self.urls(f" as {field}{label}"):
                yield about, self.event(**{field: url})

    # --- what is refused ---------------------------------------------------------------------------------------

    def personal_ids(self) -> Iterator[Made]:
        """Events refused because an id or a name of theirs holds personal data."""
        for place in ID_PLACES:
            for shape in SHAPES:
                for how, encode in ENCODINGS.items():
                    if "form" in how:
                        continue
                    value = encode(self.shaped(shape, f"{place}{how}"))
                    yield f"{shape} as {place}{how}", self.event_at(place, value)

    def wrong_types(self) -> Iterator[Made]:
        """Events refused because a value is of the wrong type, too long, or nothing that is allowed."""
        for field in "email phone first_name city zip external_id lead_id client_ip_address fbp ttclid idfa".split():
            key = self.email(f"a key inside {field}")
            yield f"object as {field}", self.event_at(f"user.{field}", {key: self.word(f"a value inside {field}")})
            yield f"lists in {field}", self.event_at(f"user.{field}", [[self.email(f"a list inside {field}")]])
            yield f"too long {field}", self.event_at(f"user.{field}", self.email(f"too long {field}") * 200)
        yield "too many", self.event_at("user.email", [self.email("too many of email")] * 101)
        for place in (
            "action_source event_time hold test user app consent custom_data destinations custom_data.value "
            "custom_data.num_items custom_data.contents custom_data.contents.0 custom_data.contents.0.quantity "
            "custom_data.contents.0.item_price custom_data.properties app.advertiser_tracking_enabled app.extinfo"
        ).split():
            yield f"text as {place}", self.event_at(place, self.email(f"text as {place}"))
        yield "currency", self.event_at("custom_data.currency", self.word("currency"))
        yield "destination", self.event_at("destinations", [self.email("a destination")])
        for place in ("event_id", "transaction_id", "event_name", "custom_data.order_id", "event_source_url"):
            yield f"too long {place}", self.event_at(place, self.word(f"too long {place}") * 1000)
        yield "NUL", self.event_at("custom_data.properties.x", f"{self.word('beside a NUL')}\x00")
        yield "NUL in a key", self.event_at("custom_data.properties", {f"{self.email('key with a NUL')}\x00": 1})
        deep: Any = self.word("nested far too deeply")
        for _ in range(12):
            deep = {self.phone("a key nested too deeply"): deep}
        yield "depth", self.event_at("custom_data.properties.x", deep)


def _hex(count: int) -> str:
    return sha256(f"a digest of {count}".encode()).hexdigest().ljust(64)[:count]


APP = {
    "advertiser_tracking_enabled": 1,
    "application_tracking_enabled": 1,
    "app_id": "123456789",
    "app_version": "1.2.3",
    "extinfo": ["a2", *("x" for _ in range(15))],
}


def put(event: dict[str, Any], path: str, value: Any) -> None:
    """Set what stands at `path`; objects and lists on the way are made."""
    place: Any = event
    *way, last = path.split(".")
    for key, following in zip(way, path.split(".")[1:], strict=True):
        fresh: Any = [] if following.isdigit() else {}
        if isinstance(place, list):
            while len(place) <= int(key):
                place.append(fresh)
            place = place[int(key)]
        else:
            place = place.setdefault(key, fresh)
    if isinstance(place, list):
        place += [None] * (int(last) + 1 - len(place))
        place[int(last)] = value
    else:
        place[last] = value


def digests(user: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the platforms get for the plainest identifiers of `user`: meant for them and for the store alone."""
    digits = "".join(filter(str.isdigit, user["phone"]))
    texts = {
        "email": user["email"].lower(),
        "phone": f"49{digits[1:]}",
        "first_name": user["first_name"].lower(),
        "external_id": user["external_id"].lower(),
        "gender": "f",
    }
    return ((f"digest of {name}", sha256(text.encode()).hexdigest()) for name, text in texts.items())
