"""What holds for any text: no exception, nothing hashed twice, normal forms that stay what they are."""

from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.hashing import browser, click_ids, detectors, digest, email, ids, person, phone, places, text
from app.hashing.codes import DETAILS, Code
from app.hashing.identity import hash_identity
from app.hashing.leaks import guard_event
from app.hashing.options import HashingOptions
from app.model import Form, HashedIdentity, Warn
from app.wire import CustomData, UserData

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TODAY = date(2026, 11, 20)
SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))

ANY_TEXT = st.text(st.characters(), max_size=80)  # lone surrogates included
LIKELY = st.one_of(
    ANY_TEXT,
    st.from_regex(r"\A[A-Za-z.+]{1,12}@[a-z-]{1,10}\.(com|de|test)\Z"),
    st.from_regex(r"\A\+?[0-9 ()./-]{3,20}(ext [0-9]{2})?\Z"),
    st.from_regex(r"\A[0-9a-fA-F]{64}\Z"),
    st.from_regex(r"\A[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}\Z"),
    st.sampled_from(
        ["", " ", "null", "İ", "ΟΔΥΣΣΕΥΣ", "Straße", "ﬁ", "e\u0301", "\u200b", "１２３", "٣", "ǅ", "ŉ", "ΐ", "ẞ"]
    ),
    st.text(st.sampled_from("aÉe\u0301İßΣς'’- .\u200b\u00ad\u3000ＡｂＣ０１٣"), max_size=20),
)
LISTED = (
    "email",
    "phone",
    "first_name",
    "last_name",
    "gender",
    "date_of_birth",
    "city",
    "state",
    "zip",
    "country",
    "external_id",
)


def hashed(fields: dict[str, Any], **options: Any) -> tuple[HashedIdentity, tuple[Warn, ...]]:
    user = UserData.model_construct(**fields)
    return hash_identity(
        user,
        options=HashingOptions(**options),
        event_source_url=fields.get("url"),
        event_time=NOW,
        today=TODAY,
    )


@SETTINGS
@given(
    st.dictionaries(st.sampled_from(sorted(set(UserData.model_fields) - set(LISTED))), LIKELY),
    st.dictionaries(st.sampled_from(LISTED), st.one_of(LIKELY, st.lists(st.one_of(st.none(), LIKELY), max_size=8))),
    ANY_TEXT,
    st.booleans(),
)
def test_any_user_gives_digests_of_32_bytes_and_warnings_without_values(
    plain: dict[str, str], listed: dict[str, Any], query: str, production: bool
) -> None:
    url = "https://shop.example/?fbclid=" + query + "&ScCid=" + query
    identity, warnings = hashed({**plain, **listed, "url": url}, production=production, default_region="DE", idn="both")
    for form, digests in identity.digests.items():
        assert form in set(Form)
        assert digests and len(set(digests)) == len(digests)
        assert all(len(each) == 32 and digest.is_sendable(each.hex()) for each in digests)
    assert {warning.code for warning in warnings} <= {code.value for code in Code}
    assert {warning.detail for warning in warnings} <= set(DETAILS.values())
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(identity), type=HashedIdentity) == identity
    for field in identity.__struct_fields__[1:]:
        value = getattr(identity, field)
        assert value is None or value.strip()


NORMALISERS = {
    "em1": email.em1,
    "ph2": lambda value: phone.e164(value, ("DE",)),
    "name1": lambda value: _of(person.name(value), person.name1),
    "name2": lambda value: _of(person.name(value), person.name2),
    "name3": person.name,
    "gender": person.gender,
    "birth_date": lambda value: person.birth_date(value, TODAY),
    "city": places.city,
    "country": places.country,
    "state": lambda value: _of(places.state(value, "us"), lambda states: states[0]),
    "zp1": lambda value: _of(places.zips(value, "us"), lambda zips: zips[0]),
    "zp2": lambda value: _of(places.zips(value, "gb"), lambda zips: zips[1]),
    "xi1": lambda value: _of(ids.external_id2(value), ids.external_id1),
    "xi2": ids.external_id2,
    "ad_id": ids.ad_id,
    "fbp": click_ids.fbp,
    "ttclid": lambda value: click_ids.click_id("ttclid", value),
    "ip": browser.ip,
    "user_agent": browser.user_agent,
    "locale": browser.locale,
    "clean": text.clean,
    "compatible": text.compatible,
    "letters": text.letters,
    "spaced": text.spaced,
}


def _of(value: Any, form: Any) -> Any:
    return value if isinstance(value, Code) else form(value)


@pytest.mark.parametrize("name", NORMALISERS)
@settings(max_examples=100, deadline=None)
@given(value=LIKELY)
def test_a_normal_form_is_its_own_normal_form(name: str, value: str) -> None:
    normalise: Any = NORMALISERS[name]
    once = normalise(value)
    if isinstance(once, str) and once:
        again = normalise(once)
        # A form of nothing but junk letters ("n/a" as "na") may be refused the second time, never changed.
        assert again == once or isinstance(again, Code)


@SETTINGS
@given(st.sampled_from(LISTED), LIKELY, st.sampled_from(["{}", " {} ", "sha256:{}", "0x{}"]), st.booleans())
def test_what_was_hashed_here_is_taken_over_and_never_hashed_again(
    field: str, value: str, shape: str, upper: bool
) -> None:
    identity, _ = hashed({field: value, "phone_country": "DE"})
    for form, digests in identity.digests.items():
        given_hex = digests[0].hex().upper() if upper else digests[0].hex()
        again, _ = hashed({field: shape.format(given_hex)})
        assert again.digests.get(form) == digests[:1] or (form == Form.GENDER_WITH_NEUTRAL and form in again.digests)
        assert {each for several in again.digests.values() for each in several} == {digests[0]}


@SETTINGS
@given(LIKELY)
def test_reading_a_digest_never_raises_and_gives_32_bytes(value: str) -> None:
    found = digest.read(value)
    assert found is None or isinstance(found, Code) or len(found) == 32


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), LIKELY),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(LIKELY, inner, max_size=4)),
    max_leaves=20,
)


@SETTINGS
@given(st.dictionaries(LIKELY, JSON, max_size=5), LIKELY, LIKELY, st.sampled_from(["redact", "reject", "report"]))
def test_the_leak_guard_takes_any_value_and_finds_nothing_twice(
    properties: dict[str, Any], words: str, url: str, policy: Any
) -> None:
    custom = CustomData.model_construct(properties=properties, content_name=words, order_id=words)
    guarded = guard_event(custom, url, "https://shop.example/?q=" + url, policy)
    if policy != "redact":
        assert guarded.custom is custom
        return
    again = guard_event(
        guarded.custom.model_copy(update={"order_id": None}), guarded.event_source_url, guarded.referrer_url, policy
    )
    assert {finding.action for finding in again.findings} <= {"reported", "redacted"}
    assert again.custom.content_name == guarded.custom.content_name


@SETTINGS
@given(st.one_of(LIKELY, st.text(st.sampled_from("0123456789 -+@.%40abcDE89eyJ_"), max_size=80)))
def test_the_cheap_look_misses_nothing(value: str) -> None:
    assert detectors.may_hold(value) or not list(detectors.find(value))
