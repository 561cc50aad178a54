"""Reading one user's identifiers: each value into its normal forms, each form hashed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from hashlib import sha256

from app.hashing import digest, email, ids, person, phone, places
from app.hashing.codes import Code, warn
from app.hashing.options import HashingOptions
from app.hashing.text import clean
from app.model import Form, Warn
from app.wire import UserData, Values

MOST_VALUES = 5
"""Values of one identifier that are used, and warnings about one identifier that are given."""

Keys = tuple[str | None, ...]
"""The forms of a field that are wanted, in the order its reader gives them; None where one is not wanted."""

Texts = str | tuple[str | tuple[str, ...] | None, ...]
"""The normal forms of one value: one text where all forms are the same; a form can also be several texts, or none."""

Take = Callable[[str, str], Texts | Code]
"""A reader: the text and its JSON pointer to the normal forms, or why the value was dropped."""

_NON_BINARY = digest.sha256("n")
_SHORTEST_DIGEST = digest.SHORTEST
_JUNK_DIGESTS = digest.JUNK_DIGESTS


class Reading:
    """One user's identifiers being read: what is found so far, and how to read each field."""

    __slots__ = ("_regions", "country", "digests", "options", "phone_country", "state", "today", "warnings")

    def __init__(self, options: HashingOptions, today: date) -> None:
        self.options = options
        self.today = today
        self.digests: dict[str, tuple[bytes, ...]] = {}
        self.warnings: list[Warn] = []
        self.country: str | None = None
        self.state: str | None = None
        self.phone_country: str | None = None
        self._regions: tuple[str | None, ...] | None = None

    def add(self, pointer: str, value: Values, take: Take, keys: Keys) -> None:
        """Hash one field: a single value, or a list in its order, without repeats, up to five."""
        if isinstance(value, str):
            self._hash(self.digests, pointer, value, take, keys)
        elif value:
            self._add_several(pointer, _items(pointer, value), take, keys)

    def add_phones(self, pointer: str, value: Values, keys: Keys) -> None:
        """Hash the phone numbers; one field may hold several."""
        if isinstance(value, str) and not phone.may_be_several(value):
            self.add(pointer, value, self.read_phone, keys)
            return
        items = [(pointer, value)] if isinstance(value, str) else _items(pointer, value or [])
        several = [(place, number) for place, text in items for number in phone.split(text)]
        self._add_several(pointer, several, self.read_phone, keys)

    def ad_ids(self, user: UserData, plain: dict[str, str], keys: Keys | None) -> None:
        """Keep the advertising ids as supplied, and hash those of people (not the vendor's) where that is wanted."""
        hashed: list[bytes] = []
        for field, value in (("idfa", user.idfa), ("gaid", user.gaid), ("idfv", user.idfv)):
            if not value or value.isspace():
                continue
            given = digest.read(value)
            if isinstance(given, bytes):
                bare: str | Code = given.hex()
            else:
                bare = ids.ad_id(value)
                given = None if isinstance(bare, Code) else sha256(bare.encode()).digest()
            if isinstance(bare, Code) or given is None:
                self.warn(bare if isinstance(bare, Code) else Code.AD_ID_INVALID, f"/user/{field}")
                continue
            plain[field] = bare
            if field != "idfv" and given not in hashed:
                hashed.append(given)
        if hashed and keys:
            self.digests[Form.AD_ID.value] = tuple(hashed)

    def keep(self, plain: dict[str, str], field: str, value: str, take: Callable[[str], str | Code]) -> None:
        """Keep one identifier that travels unhashed, if it is one."""
        if value.isspace():
            return
        taken = take(value)
        if isinstance(taken, Code):
            self.warn(taken, f"/user/{field}")
        else:
            plain[field] = taken

    def warn(self, code: Code, pointer: str) -> None:
        """Note one warning."""
        self.warnings.append(warn(code, pointer))

    # Readers: the normal forms of one value, in the order of `identity.FORMS_OF`, or why it was dropped.

    def read_email(self, text: str, pointer: str) -> Texts | Code:
        """em.1 and em.2."""
        options = self.options
        address = email.em1(text, options)
        if not isinstance(address, str):
            if address is Code.EMAIL_INNER_BLANK and options.email_inner_blanks == "remove":
                joined = email.em2_without_blanks(text, options)
                if isinstance(joined, str):
                    self.warn(address, pointer)
                    return (None, joined)
            return address
        domain = address.rpartition("@")[2]
        if email.is_suspect(domain):
            self.warn(Code.SUSPECT_EMAIL, pointer)
        if domain in email.GMAIL:
            return (address, email.em2(address))
        if options.idn == "both":
            ascii_form = email.a_label(address)
            if ascii_form:
                return ((address, ascii_form), (address, ascii_form))
        return address

    def read_phone(self, text: str, pointer: str) -> Texts | Code:
        """ph.1 and ph.2."""
        regions = () if text[:1] == "+" else self._phone_regions()
        options = self.options
        number = phone.e164(text, regions, options.phone_strictness)
        if not isinstance(number, str):
            return number
        if phone.is_suspect(number):
            if options.production:
                return Code.SUSPECT_PHONE
            self.warn(Code.SUSPECT_PHONE, pointer)
        digits: str | tuple[str, ...] = number[1:]
        if options.italian_zero == "both":
            without = phone.without_italian_zero(number)
            if without:
                digits = (number[1:], without)
        return (digits, number)

    def read_name(self, text: str, pointer: str) -> Texts | Code:
        """fn.1-3 or ln.1-3."""
        name = person.name(text)
        if not isinstance(name, str) or (name.isalpha() and name.isascii()):
            return name
        first = person.name1(name)
        return (first, person.name2(name), person.name3(name)) if first else Code.JUNK_NAME

    def read_gender(self, text: str, pointer: str) -> Texts | Code:
        """ge.1 and ge.2."""
        gender = person.gender(text)
        return (None, gender) if gender == "n" else gender

    def read_birth_date(self, text: str, pointer: str) -> Texts | Code:
        """db.1."""
        return person.birth_date(text, self.today, self.options.birth_date_order)

    def read_city(self, text: str, pointer: str) -> Texts | Code:
        """ct.1."""
        return places.city(text)

    def read_state(self, text: str, pointer: str) -> Texts | Code:
        """st.1 and st.2; the first code of the US, Canada or Australia is kept in plain too."""
        states = places.state(text, self.country, self.options)
        if not isinstance(states, tuple):
            return states
        self.state = self.state or states[2]
        return states[0] if states[0] == states[1] else (states[0], states[1])

    def read_zip(self, text: str, pointer: str) -> Texts | Code:
        """zp.1-3."""
        zips = places.zips(text, self.country, self.options)
        if not isinstance(zips, tuple):
            return zips
        return zips[0] if zips[0] == zips[1] == zips[2] else zips

    def read_country(self, text: str, pointer: str) -> Texts | Code:
        """co.1; the first country is kept in plain too."""
        country = places.country(text)
        if not isinstance(country, str):
            return country
        self.country = self.country or country
        return country

    def read_external_id(self, text: str, pointer: str) -> Texts | Code:
        """xi.1 and xi.2."""
        if self.options.external_id_prehashed == "always":
            return Code.HASH_UNSUPPORTED  # a digest would not have come so far
        external_id = ids.external_id2(text)
        if not isinstance(external_id, str):
            return external_id
        case = self.options.external_id_case
        if case == "keep":
            return external_id
        lowered = ids.external_id1(external_id)
        return lowered if lowered == external_id or case == "lower" else (lowered, external_id)

    def _add_several(self, pointer: str, items: Iterable[tuple[str, str]], take: Take, keys: Keys) -> None:
        collected: dict[str, list[bytes]] = {}
        seen: set[str] = set()
        accepted = 0
        before = len(self.warnings)
        for place, text in items:
            if text in seen or not text.strip():
                continue
            seen.add(text)
            if accepted == MOST_VALUES:
                self.warn(Code.TOO_MANY_VALUES, pointer)
                break
            found: dict[str, tuple[bytes, ...]] = {}
            self._hash(found, place, text, take, keys)
            del self.warnings[before + MOST_VALUES :]
            is_new = False
            for key, digests in found.items():
                kept = collected.setdefault(key, [])
                fresh = [each for each in digests if each not in kept]
                kept.extend(fresh)
                is_new = is_new or bool(fresh)
            accepted += is_new
        self.digests.update((key, tuple(digests)) for key, digests in collected.items())

    def _hash(self, into: dict[str, tuple[bytes, ...]], pointer: str, text: str, take: Take, keys: Keys) -> None:
        """Put the digests of one value by form into `into`; nothing when it was dropped."""
        if len(text) >= _SHORTEST_DIGEST:
            given = self._given_digest(pointer, text, keys)
            if isinstance(given, bytes):
                # The third gender is no value of ge.1, also not as a digest.
                into.update(
                    (key, (given,)) for key in keys if key and not (given == _NON_BINARY and key == Form.GENDER)
                )
                return
            if given:
                self.warn(given, pointer)
                return
        texts = take(text, pointer)
        digests: tuple[bytes, ...]
        try:
            if isinstance(texts, str):
                hashed = sha256(texts.encode()).digest()
                if hashed in _JUNK_DIGESTS:
                    self.warn(Code.JUNK_DIGEST, pointer)
                    return
                digests = (hashed,)
                for key in keys:
                    if key:
                        into[key] = digests
                return
            if isinstance(texts, Code):
                if clean(text):  # nothing sent needs no warning
                    self.warn(texts, pointer)
                return
            last: str | tuple[str, ...] | None = None
            digests = ()
            for key, normal in zip(keys, texts):  # noqa: B905  (of one length by construction, in the hottest loop)
                if key and normal:
                    if normal != last:
                        last = normal
                        if isinstance(normal, str):
                            digests = (sha256(normal.encode()).digest(),)
                        else:
                            digests = tuple(sha256(each.encode()).digest() for each in normal)
                    if digests[0] not in _JUNK_DIGESTS:
                        into[key] = digests
        except UnicodeEncodeError:
            self.warn(Code.TEXT_INVALID, pointer)

    def _given_digest(self, pointer: str, text: str, keys: Keys) -> bytes | Code | None:
        """The digest that `text` is already, if it is one, and the warnings that go with it."""
        field = pointer.split("/", 3)[2]
        if field == "external_id":
            prehashed = self.options.external_id_prehashed
            given = None if prehashed == "never" else digest.read(text)
            if given is Code.HASH_UNSUPPORTED:
                return None if prehashed == "auto" else given  # 32 hexadecimal characters may be a UUID
            return given
        given = digest.read(text)
        if field == "phone" and given in digest.JUNK_PHONE_DIGESTS:
            return Code.JUNK_DIGEST
        if isinstance(given, bytes) and (field == "phone" or (field == "email" and keys[1])):
            self.warn(Code.HASH_FORM_UNKNOWN, pointer)
        return given

    def _phone_regions(self) -> tuple[str | None, ...]:
        if self._regions is None:
            self._regions = tuple(
                _region(name) for name in (self.phone_country, self.country, self.options.default_region)
            )
        return self._regions


def _items(pointer: str, values: list[str | None]) -> Iterator[tuple[str, str]]:
    for index, value in enumerate(values):
        if value:
            yield f"{pointer}/{index}", value


def _region(name: str | None) -> str | None:
    """The region the phone library knows a country by."""
    if not name:
        return None
    country = places.country(name)
    return None if isinstance(country, Code) else country.upper()
