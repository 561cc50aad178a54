"""IP address, user agent and locale."""

import pytest

from app.hashing import browser
from app.hashing.codes import Code
from tests.hashing.support import codes, identity_of

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("192.0.66.2", "192.0.66.2"),
        ("198.41.0.4", "198.41.0.4"),
        ("10.0.0.1, 8.8.8.8", "8.8.8.8"),
        ("[2606:4700:4700::1111]", "2606:4700:4700::1111"),
        ("[2606:4700:4700::1111]:443", "2606:4700:4700::1111"),
        ("2606:4700:4700::1111%eth0", "2606:4700:4700::1111"),
        ("8.8.8.8:99999", "8.8.8.8"),
        ("2001:db8::1", "2001:db8::1"),
        ("192.168.1.1", Code.IP_NOT_PUBLIC),
        ("172.16.0.1", Code.IP_NOT_PUBLIC),
        ("169.254.1.1", Code.IP_NOT_PUBLIC),
        ("100.64.0.1", Code.IP_NOT_PUBLIC),
        ("127.0.0.1", Code.IP_NOT_PUBLIC),
        ("224.0.0.1", Code.IP_NOT_PUBLIC),
        ("255.255.255.255", Code.IP_NOT_PUBLIC),
        ("fe80::1", Code.IP_NOT_PUBLIC),
        ("fd00::1", Code.IP_NOT_PUBLIC),
        ("ff02::1", Code.IP_NOT_PUBLIC),
        ("::", Code.IP_NOT_PUBLIC),
        ("::ffff:10.0.0.1", Code.IP_NOT_PUBLIC),
        ("8.8.8", Code.IP_INVALID),
        ("8.8.8.8.", Code.IP_INVALID),
        ("008.8.8.8", Code.IP_INVALID),
        ("256.1.1.1", Code.IP_INVALID),
        ("8.8.8.8\n", "8.8.8.8"),
        ("shop.example", Code.IP_INVALID),
    ],
)
def test_ip(text: str, expected: str | Code) -> None:
    assert browser.ip(text) == expected


@pytest.mark.parametrize("address", ["203.0.113.9", "192.0.2.1", "198.51.100.7", "2001:db8::1", "3fff::1"])
def test_documentation_addresses_are_suspects(address: str) -> None:
    identity, warnings = identity_of({"client_ip_address": address})
    assert identity.client_ip_address == address
    assert codes(warnings) == [("suspect_ip", "/user/client_ip_address")]
    identity, warnings = identity_of({"client_ip_address": address}, production=True)
    assert identity.client_ip_address is None
    assert codes(warnings) == [("suspect_ip", "/user/client_ip_address")]


def test_addresses_in_use_are_no_suspects() -> None:
    for address in ("8.8.8.8", "192.0.66.2", "2606:4700:4700::1111"):
        assert not browser.is_suspect(address)


def test_a_private_address_is_dropped_with_a_warning() -> None:
    identity, warnings = identity_of({"client_ip_address": "10.0.0.5"})
    assert identity.client_ip_address is None
    assert codes(warnings) == [("ip_not_public", "/user/client_ip_address")]


@pytest.mark.parametrize(
    "text",
    [
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/120",
        "python-httpx/0.28",
        "curl/8.5.0",
        "Go-http-client/1.1",
        "Other",
        "null",
        "{{user_agent}}",
        "jane@x.com",
        "a\r\nX: 1",
    ],
)
def test_what_is_no_shoppers_user_agent_is_dropped(text: str) -> None:
    assert browser.user_agent(text) is Code.USER_AGENT_UNUSABLE


@pytest.mark.parametrize(
    "text", [IPHONE, "MyShop/1.0 (iPhone; é)", "Mozilla/5.0 (Linux; Android 14; CUBOT X90)", "Dalvik/2.1.0 (Linux)"]
)
def test_a_shoppers_user_agent_passes_untouched(text: str) -> None:
    assert browser.user_agent(f" {text}\r\n") == text


def test_a_user_agent_is_bounded() -> None:
    assert browser.user_agent("M" * 1100) is Code.TOO_LONG
    assert browser.user_agent("My\ud800Shop/1.0") is Code.TEXT_INVALID
    assert browser.user_agent("Mozilla/5.0 (Linux; CUBOT) bot") is Code.USER_AGENT_UNUSABLE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("de", "de"),
        ("de-DE", "de-DE"),
        ("EN_us", "en-US"),
        ("sr_latn_rs", "sr-Latn-RS"),
        ("de_DE@euro", "de-DE"),
        ("es-419", "es-419"),
        ("nan", Code.LOCALE_INVALID),
        ("english please", Code.LOCALE_INVALID),
    ],
)
def test_locale(text: str, expected: str | Code) -> None:
    assert browser.locale(text) == expected
