"""The leak guard: what it finds, what it leaves alone, and what becomes of it under each policy."""

from typing import Any

import pytest

from app.hashing.detectors import Kind, find
from app.hashing.leaks import Guarded, Policy, find_in_id, guard_event
from app.hashing.urls import LONGEST
from app.wire import CustomData

SHOP = "https://shop.example"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
IBAN = "DE89370400440532013000"


def guarded(policy: Policy = "redact", url: str | None = None, referrer: str | None = None, **custom: Any) -> Guarded:
    return guard_event(CustomData.model_validate(custom), url, referrer, policy)


def kinds(text: str) -> list[str]:
    return [match.kind.value for match in find(text)]


@pytest.mark.parametrize(
    "text",
    [
        "purchase_ORD-12345",
        "ORD-4155552671",
        "4155552671",
        "2024-11-20 1001",
        "2024-11-20T10:15:00+01:00",
        "SKU-1234-5678-90",
        "user@2x.png",
        "icon@3x.webp",
        "hero@2x.min.js",
        "icon@2x.png.gz",
        "pkg@1.0.0",
        "pkg@1.0.0-beta.rc",
        "@handle",
        "/@user/",
        "a @ b.com",
        "4006381333931",
        "4012345678901",
        "1795132800000",
        "1234567890123456",
        "550e8400-e29b-41d4-a716-446655440000",
        "A+B",
        "size +40 +41 +42",
        "+1000000000 points",
        "GB29 something else",
        "DE88370400440532013000",
        "4111 1111 1111 1112",
        "+21012345678",
        "AB12CDEF3456GHI",
        "000-12-3456",
        "123-45-67890",
        "111-1234567-1234567",
        "100% cotton",
        "",
    ],
)
def test_what_shops_write_every_day_is_left_alone(text: str) -> None:
    assert kinds(text) == []
    assert find_in_id(text) is None
    assert guarded(content_name=text, properties={"note": text}, order_id=text).findings == ()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("jane.doe+x@shop.co.uk", "email"),
        ("order_jane@x.com_17", "email"),
        ("jane%40x.com", "email"),
        ("jane%2540x.com", "email"),
        ("jané@münchen.de", "email"),
        ("me@163.com", "email"),
        ("call +49 151 12345678 now", "phone"),
        ("+1 (415) 555-2671", "phone"),
        ("4111 1111 1111 1111", "card"),
        ("3782-822463-10005", "card"),
        (IBAN, "iban"),
        ("DE89 3704 0044 0532 0130 00", "iban"),
        ("123-45-6789", "ssn"),
        (JWT, "secret"),
        ("a" * 64, "digest"),
    ],
)
def test_what_is_found(text: str, kind: str) -> None:
    assert kinds(text) == [kind]


def test_an_ungrouped_card_number_and_a_digest_are_weak_evidence() -> None:
    assert [match.is_sure for match in find("4111111111111111")] == [False]
    found = guarded(content_name="4111111111111111", search_string="a" * 64)
    assert found.custom.content_name == "4111111111111111"
    assert [(each.kind, each.action) for each in found.findings] == [("digest", "reported"), ("card", "reported")]
    assert not found.faults
    line = guarded(contents=[{"id": "4111111111111111"}])
    assert [(each.pointer, each.action) for each in line.findings] == [("/custom_data/contents/0/id", "reported")]
    strict = guarded("reject", content_name="4111111111111111")
    assert not strict.faults
    assert [each.code for each in strict.warnings] == ["leak_card"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("jane@x.com", Kind.EMAIL),
        ("order-jane%40x.com", Kind.EMAIL),
        ("jane%2540x.com", Kind.EMAIL),
        ("+4915112345678", Kind.PHONE),
        ("4111 1111 1111 1111", Kind.CARD),
        (IBAN, Kind.IBAN),
        ("4111111111111111", None),
        ("123-45-6789", None),
        ("a" * 64, None),
        ("Purchase", None),
    ],
)
def test_ids_are_judged_by_what_is_beyond_doubt(text: str, kind: Kind | None) -> None:
    assert find_in_id(text) == kind


def test_an_order_id_with_personal_data_is_refused_and_never_redacted() -> None:
    found = guarded(order_id="jane@x.com", subscription_id="ok-1")
    assert found.custom.order_id == "jane@x.com"
    assert [(fault.pointer, fault.code) for fault in found.faults] == [("/custom_data/order_id", "leak_email")]
    assert not found.warnings
    assert not guarded("report", order_id="jane@x.com").faults
    assert [fault.pointer for fault in guarded("reject", subscription_id="jane@x.com").faults] == [
        "/custom_data/subscription_id"
    ]


def test_texts_are_redacted_in_place() -> None:
    found = guarded(
        content_name="Voucher for jane@x.com, +49 151 12345678!",
        search_string="123-45-6789",
        contents=[{"id": "SKU-1", "title": "Shoe"}, {"id": "SKU-2", "title": "For jane@x.com", "brand": "A"}],
    )
    assert found.custom.content_name == "Voucher for redacted, redacted!"
    assert found.custom.search_string == "redacted"
    assert found.custom.contents is not None
    assert [content.title for content in found.custom.contents] == ["Shoe", "For redacted"]
    assert [warning.pointer for warning in found.warnings] == [
        "/custom_data/search_string",
        "/custom_data/content_name",
        "/custom_data/content_name",
        "/custom_data/contents/1/title",
    ]


def test_overlapping_findings_are_redacted_as_one() -> None:
    assert guarded(content_name="x +4111 1111 1111 1111 y").custom.content_name in ("x redacted y", "x +redacted y")
    assert guarded(content_name="+49151.12345678@x.com").custom.content_name == "redacted"


def test_keys_of_persons_and_secrets_are_dropped_and_products_keep_their_names() -> None:
    found = guarded(
        properties={
            "firstName": "Jane",
            "Last-Name": "Doe",
            "dob": "1990-02-03",
            "access_token": "x",
            "product_name": "Shoe",
            "content_name": "Shoe",
            "campaign_name": "BF",
            "promo_code": "BF26",
            "coupon": "BF26",
            "name": "Jane",
            "password": True,
            "street": "",
            "items": [{"name": "Shoe", "price": 3}, {"name": "Jane"}],
        }
    )
    assert found.custom.properties == {
        "product_name": "Shoe",
        "content_name": "Shoe",
        "campaign_name": "BF",
        "promo_code": "BF26",
        "coupon": "BF26",
        "password": True,
        "street": "",
        "items": [{"name": "Shoe", "price": 3}, {}],
    }
    assert {each.action for each in found.findings} == {"dropped"}
    assert "/custom_data/properties/items/1/name" in [each.pointer for each in found.findings]


def test_digits_under_a_telling_key() -> None:
    found = guarded(
        properties={
            "phone": "415-555-2671",
            "tel": 4155552671,
            "mobile": "+14155552671",
            "card_number": 4111111111111111,
            "card": "4111111111111111",
            "pan": "1234",
            "order": 4111111111111111,
            "cell": "yes",
        }
    )
    assert found.custom.properties == {
        "phone": "415-555-2671",
        "tel": 4155552671,
        "mobile": "redacted",
        "card_number": "redacted",
        "card": "redacted",
        "pan": "1234",
        "order": 4111111111111111,
        "cell": "yes",
    }
    assert [(each.pointer.rpartition("/")[2], each.action) for each in found.findings] == [
        ("phone", "reported"),
        ("tel", "reported"),
        ("mobile", "redacted"),
        ("card_number", "redacted"),
        ("card", "redacted"),
    ]


def test_a_key_that_is_personal_data_itself_is_dropped_and_never_shown() -> None:
    found = guarded(properties={"jane@x.com": 1, "Gift for Jane Doe 1990": "jane@x.com"})
    assert found.custom.properties == {"Gift for Jane Doe 1990": "redacted"}
    assert "jane" not in repr(found.findings).lower()
    assert all(each.pointer.startswith("/custom_data/properties/…") for each in found.findings)


def test_what_is_too_deep_too_much_or_too_long_to_search_is_dropped() -> None:
    deep: Any = "jane@x.com"
    for _ in range(6):
        deep = {"a": deep}
    found = guarded(properties={"deep": deep, "flat": 1})
    assert found.custom.properties == {"deep": {"a": {"a": {"a": None}}}, "flat": 1}
    many = guarded(properties={"list": [f"text {index}" for index in range(300)]})
    assert many.custom.properties is not None
    assert many.custom.properties["list"][199:202] == ["text 199", None, None]
    assert len(many.findings) <= 101
    long = guarded(properties={"text": "x" * 5000 + " jane@x.com"})
    assert long.custom.properties == {"text": "x" * 4096}
    kept = guarded("report", properties={"deep": deep, "text": "x" * 5000})
    assert kept.custom.properties == {"deep": deep, "text": "x" * 5000}


def test_nothing_found_gives_the_very_same_values() -> None:
    custom = CustomData.model_validate(
        {"content_name": "Shoe", "contents": [{"id": "1"}], "properties": {"a": [{"b": "c"}]}}
    )
    found = guard_event(custom, f"{SHOP}/?a=b", None)
    assert found.custom is custom
    assert found.event_source_url == f"{SHOP}/?a=b"
    assert found.referrer_url is None
    assert found.findings == ()


@pytest.mark.parametrize("policy", ["reject", "report"])
def test_reject_and_report_change_nothing(policy: Policy) -> None:
    custom: dict[str, Any] = {
        "content_name": "jane@x.com",
        "properties": {"first_name": "Jane", "jane@x.com": 1, "card": 4111111111111111},
    }
    url = f"{SHOP}/?email=jane@x.com"
    found = guarded(policy, url=url, **custom)
    assert found.custom.model_dump(exclude_none=True) == custom
    assert found.event_source_url == url
    assert {each.action for each in found.findings} == {"rejected" if policy == "reject" else "reported"}
    assert bool(found.faults) == (policy == "reject")
    assert len(found.faults) + len(found.warnings) == len(found.findings) == 5
    assert "jane" not in repr((found.faults, found.warnings)).lower().replace("first_name", "")


CLICKS = "fbclid=IwY2%2BAb_c-D@x.com&gclid=Cj0K+aB&ScCid=aB%2D1&epik=dj0%3D&ttclid=E.C.P.a&wbraid=4111111111111111"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"{SHOP}/thanks?{CLICKS}", f"{SHOP}/thanks?{CLICKS}"),
        (f"{SHOP}/thanks?{CLICKS}&email=jane@x.com", f"{SHOP}/thanks?{CLICKS}&email="),
        (f"{SHOP}/?utm_source=a&utm_campaign=b%20c", f"{SHOP}/?utm_source=a&utm_campaign=b%20c"),
        (f"{SHOP}/?utm_term=jane@x.com", f"{SHOP}/?utm_term=redacted"),
        (f"{SHOP}/?q=jane%40x.com", f"{SHOP}/?q=redacted"),
        (f"{SHOP}/?q=jane%2540x.com", f"{SHOP}/?q=redacted"),
        (f"{SHOP}/?q=%2B4915112345678", f"{SHOP}/?q=redacted"),
        (f"{SHOP}/?user[email]=jane@x.com&a[b]=c", f"{SHOP}/?user[email]=&a[b]=c"),
        (
            f"{SHOP}/?E-Mail=jane&first_name=Jane&fn=J&ph=1&zip=1&tel=1",
            f"{SHOP}/?E-Mail=&first_name=&fn=&ph=&zip=&tel=",
        ),
        (f"{SHOP}/?token=a&code=b&sid=c&promo_code=BF", f"{SHOP}/?token=&code=&sid=&promo_code=BF"),
        (f"{SHOP}/?%65mail=jane", f"{SHOP}/?%65mail="),
        (f"{SHOP}/?email=", f"{SHOP}/?email="),
        (f"{SHOP}/?jane@x.com", f"{SHOP}/?redacted"),
        (f"{SHOP}/?jane@x.com=1", f"{SHOP}/?redacted"),
        (f"{SHOP}/?x=1&flag", f"{SHOP}/?x=1&flag"),
        (f"{SHOP}/u/jane@x.com/orders", f"{SHOP}/u/redacted/orders"),
        (f"{SHOP}/u/jane%40x.com?a=b", f"{SHOP}/u/redacted?a=b"),
        (f"{SHOP}/u/+4915112345678", f"{SHOP}/u/redacted"),
        (f"{SHOP}/@user/img/user@2x.png", f"{SHOP}/@user/img/user@2x.png"),
        (f"{SHOP}/o/4155552671?o=4155552671&ean=4006381333931", f"{SHOP}/o/4155552671?o=4155552671&ean=4006381333931"),
        (f"{SHOP}/#jane@x.com", f"{SHOP}/#redacted"),
        (f"{SHOP}/#email=jane@x.com&a=b", f"{SHOP}/#email=&a=b"),
        (f"{SHOP}/#/reset/jane@x.com?token=1&a=b", f"{SHOP}/#/reset/redacted?token=&a=b"),
        ("https://jane:secret@shop.example/a?b=c", f"{SHOP}/a?b=c"),
        (f"{SHOP}/?r=https%3A%2F%2Fx.de%2F%3Fe%3Djane%40x.com", f"{SHOP}/?r=redacted"),
        ("/relative?email=a@b.co", "/relative?email="),
        (f"{SHOP}/?order={'a' * 64}", f"{SHOP}/?order={'a' * 64}"),
        (f"{SHOP}/?card=4111111111111111&n=4111111111111111", f"{SHOP}/?card=&n=4111111111111111"),
        ("", ""),
    ],
)
def test_urls(url: str, expected: str) -> None:
    found = guarded(url=url, referrer=url)
    assert found.event_source_url == expected
    assert found.referrer_url == expected


def test_a_long_url_is_cut_between_parameters_under_every_policy() -> None:
    url = f"{SHOP}/?" + "&".join(f"p{index}=abcdefgh" for index in range(400))
    for policy in ("redact", "reject", "report"):
        cut = guarded(policy, url=url).event_source_url
        assert cut is not None
        assert LONGEST - 20 < len(cut) <= LONGEST
        assert cut.endswith("=abcdefgh")
    assert guarded(url="x" * 3000).event_source_url == "x" * LONGEST


def test_the_shops_own_addresses_may_stay() -> None:
    custom = CustomData.model_validate({"content_name": "Write to Help@shop.example or jane@x.com"})
    found = guard_event(custom, f"{SHOP}/?q=help@shop.example", None, allowed=frozenset({"help@shop.example"}))
    assert found.custom.content_name == "Write to Help@shop.example or redacted"
    assert found.event_source_url == f"{SHOP}/?q=help@shop.example"


def test_a_finding_says_what_and_what_was_done_but_not_the_value() -> None:
    (finding,) = guarded(content_name="jane@x.com").findings
    assert finding.code == "leak_email"
    assert finding.detail.startswith("an e-mail address does not belong here; it was replaced.")
    (fault,) = guarded("reject", url=f"{SHOP}/?token=abc123").faults
    assert fault.pointer == "/event_source_url"
    assert "abc123" not in fault.detail


def test_what_two_readings_of_a_link_agree_on_is_found_once() -> None:
    """A plus sign may be itself or a blank: `jane+x@…` is an address either way."""
    guarded = guard_event(CustomData(), "https://shop.example/?q=jane+x%40mail.example", None)
    assert guarded.event_source_url == "https://shop.example/?q=redacted"
    assert [(finding.pointer, finding.kind) for finding in guarded.findings] == [("/event_source_url", Kind.EMAIL)]


@pytest.mark.parametrize(
    "query",
    [
        "q=%2B49+1512+3456789",
        "q=4111+1111+1111+1111",
        "q=%252B49%2B1512%2B3456789",
        "q=4111%2B1111%2B1111%2B1111",
        "q=4111%252B1111%252B1111%252B1111",
    ],
)
def test_blanks_written_as_plus_signs_hide_nothing(query: str) -> None:
    assert guard_event(CustomData(), f"https://shop.example/?{query}", None).event_source_url == (
        "https://shop.example/?q=redacted"
    )


@pytest.mark.parametrize("name", ["user%5Bfirst_name%5D", "user%255Bfirst_name%255D"])
def test_an_encoded_name_of_a_parameter_is_read(name: str) -> None:
    cleaned = guard_event(CustomData(), f"https://shop.example/?{name}=Jane&size=9", None).event_source_url
    assert cleaned == f"https://shop.example/?{name}=&size=9"
