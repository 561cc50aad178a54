"""Match-key coverage: what a platform would get, what is missing, and whether it is enough."""

import pytest

from app.hashing.coverage import RULES, coverage
from app.model import Form, HashedIdentity
from tests.hashing.support import identity_of

BROWSER = {"client_ip_address": "8.8.8.8", "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64)"}
FULL = {
    **BROWSER,
    "email": "jane@x.com",
    "phone": "+14155552671",
    "first_name": "Jane",
    "last_name": "Doe",
    "external_id": "c1",
    "gender": "f",
    "date_of_birth": "1990-02-03",
    "city": "Paris",
    "state": "CA",
    "zip": "94107",
    "country": "US",
    "fbp": "fb.1.1795132800000.1098115397",
    "fbc": "fb.1.1795132800000.abc",
    "ttclid": "E.C.P.a",
    "ttp": "a",
    "epik": "a",
    "sc_click_id": "a",
    "sc_cookie1": "a",
    "gclid": "a",
}


@pytest.mark.parametrize("platform", list(RULES))
def test_a_full_identity_misses_nothing_and_an_empty_one_everything(platform: str) -> None:
    identity, _ = identity_of(FULL)
    full = coverage(identity, platform)
    assert full.missing == ()
    assert full.is_enough
    assert full.strong[0] == full.strong[1] > 0
    empty = coverage(HashedIdentity(), platform)
    assert empty.present == ()
    assert {missing.name for missing in empty.missing} == set(full.present)
    assert not empty.is_enough
    assert empty.strong == (0, full.strong[1])
    assert empty.minimum
    assert all(missing.cost and missing.field.startswith("user.") for missing in empty.missing)


@pytest.mark.parametrize(
    ("platform", "user", "is_enough"),
    [
        ("meta", {"city": "Paris", "country": "FR", "zip": "75008", "gender": "f"}, False),
        ("meta", {"date_of_birth": "1990-02-03", "client_user_agent": "Mozilla/5.0 (X11)"}, False),
        ("meta", {"first_name": "Jane", "gender": "f"}, False),
        ("meta", {"last_name": "Doe", "gender": "f"}, False),
        ("meta", {"first_name": "Jane", "last_name": "Doe"}, True),
        ("meta", {"first_name": "Jane", "city": "Paris"}, True),
        ("meta", {"fbp": "fb.1.1795132800000.1"}, True),
        ("meta", {"email": "jane@x.com"}, True),
        ("tiktok", {"client_ip_address": "8.8.8.8"}, False),
        ("tiktok", BROWSER, True),
        ("pinterest", {"phone": "+14155552671", "external_id": "c1", "epik": "a"}, False),
        ("pinterest", BROWSER, True),
        ("snapchat", {"sc_click_id": "a", "external_id": "c1", "sc_cookie1": "a"}, False),
        ("snapchat", {"phone": "+14155552671"}, True),
        ("google", BROWSER, False),
        ("google", {"wbraid": "a"}, True),
        ("google", {"email": "jane@x.com"}, True),
    ],
)
def test_the_minimum_of_each_platform(platform: str, user: dict[str, str], is_enough: bool) -> None:
    identity, _ = identity_of(user)
    assert coverage(identity, platform).is_enough is is_enough


def test_keys_of_the_app_count_for_app_events_only() -> None:
    identity, _ = identity_of({"idfa": "EA7583CD-A667-48BC-B806-42ECB2B48606"})
    for platform, key in (
        ("meta", "madid"),
        ("tiktok", "idfa|gaid"),
        ("pinterest", "hashed_maids"),
        ("snapchat", "madid"),
    ):
        in_app = coverage(identity, platform, "app")
        assert in_app.present == (key,)
        assert in_app.is_enough
        assert key not in coverage(identity, platform).present


def test_a_lead_of_meta_counts_by_its_lead_id() -> None:
    identity, _ = identity_of({"lead_id": "123456789012345"})
    assert coverage(identity, "meta", "system_generated").is_enough


def test_every_need_is_a_form_or_a_field_of_the_identity() -> None:
    known = set(Form) | set(HashedIdentity.__struct_fields__)
    for rules in RULES.values():
        names = {key.name for key in rules.keys}
        assert len(names) == len(rules.keys)
        assert all(part in known for key in rules.keys for need in key.needs for part in need.split("|"))
        assert all(combination <= names for combination in rules.enough)


def test_an_unknown_platform_has_no_rules() -> None:
    with pytest.raises(KeyError):
        coverage(HashedIdentity(), "acme")
