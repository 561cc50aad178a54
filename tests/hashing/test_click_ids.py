"""Click ids and browser ids: untouched, or not sent."""

from urllib.parse import quote

import pytest

from app.hashing import click_ids
from app.hashing.codes import Code
from tests.hashing.support import NOW, codes, identity_of

MS = int(NOW.timestamp() * 1000)
SHOP = "https://shop.example/thanks"


def test_ids_of_the_url_are_taken_where_the_event_has_none_with_their_case() -> None:
    url = f"{SHOP}?FBCLID=IwY2_Ab-C&ttclid=E.C.P.aB&epik=dj0yJnU9%3D&ScCid=aB%2D1"
    url += "&gclid=Cj0K&gbraid=0AAA&wbraid=Cn&x=1#gclid=no"
    identity, warnings = identity_of({"gclid": "Sent_1"}, url=url)
    assert identity.fbc == f"fb.1.{MS}.IwY2_Ab-C"
    assert identity.ttclid == "E.C.P.aB"
    assert identity.epik == "dj0yJnU9="
    assert identity.sc_click_id == "aB-1"
    assert (identity.gclid, identity.gbraid, identity.wbraid) == ("Sent_1", "0AAA", "Cn")
    assert not warnings


def test_a_value_of_the_url_is_decoded_once_and_a_plus_stays() -> None:
    assert click_ids.from_url(f"{SHOP}?gclid=a%2525b+c")["gclid"] == "a%25b+c"
    assert click_ids.from_url(f"{SHOP}?gclid=first&gclid=second&epik=")["gclid"] == "first"
    assert "epik" not in click_ids.from_url(f"{SHOP}?epik=&xgclid=1")
    assert click_ids.from_url(SHOP) == {}


@pytest.mark.parametrize(
    "fbc",
    [
        "fb.1.1795000000000.IwY2_Ab-C",
        "fb.2.1795000000000.IwY2_Ab-C.AQMBAQIA",
        "fb.0.1795000000000.IwY2_Ab-C.Bg",
    ],
)
def test_fbc_passes_untouched_in_four_and_in_five_segments(fbc: str) -> None:
    assert identity_of({"fbc": f" {fbc} "})[0].fbc == fbc
    assert identity_of({"fbc": fbc}, url=f"{SHOP}?fbclid=IwY2_Ab-C")[0].fbc == fbc


@pytest.mark.parametrize(
    "fbc", ["x", "fb.1.1795000000.a", "fb.1.1795000000000.", "FB.1.1795000000000.a", "fb.1.1795000000000.a b"]
)
def test_a_malformed_fbc_is_dropped_and_not_the_event(fbc: str) -> None:
    identity, warnings = identity_of({"fbc": fbc, "email": "jane@x.com"})
    assert identity.fbc is None
    assert identity.digests
    assert codes(warnings) == [("fbc_malformed", "/user/fbc")]
    identity, warnings = identity_of({"fbc": fbc}, url=f"{SHOP}?fbclid=Abc")
    assert identity.fbc == f"fb.1.{MS}.Abc"
    assert codes(warnings) == [("fbc_malformed", "/user/fbc")]


def test_a_newer_click_in_the_url_replaces_the_cookie() -> None:
    identity, warnings = identity_of({"fbc": "fb.1.1795000000000.abc"}, url=f"{SHOP}?fbclid=ABC")
    assert identity.fbc == f"fb.1.{MS}.ABC"
    assert codes(warnings) == [("fbc_replaced", "/user/fbc")]


@pytest.mark.parametrize("fbclid", ["", "null", "a b", "a%40b.c", "jane@x.com", "x" * 1001])
def test_an_fbc_is_never_invented(fbclid: str) -> None:
    assert identity_of({}, url=f"{SHOP}?fbclid={fbclid}")[0].fbc is None


def test_a_malformed_fbp_is_dropped() -> None:
    identity, warnings = identity_of({"fbp": "1098115397"})
    assert identity.fbp is None
    assert codes(warnings) == [("fbp_malformed", "/user/fbp")]
    assert not identity_of({"fbp": "  "})[1]


@pytest.mark.parametrize("field", list(click_ids.LONGEST))
def test_limits_junk_and_personal_data_of_every_id(field: str) -> None:
    longest = "a" * click_ids.LONGEST[field]
    assert getattr(identity_of({field: longest})[0], field) == longest
    for value, code in (
        (longest + "a", "click_id_too_long"),
        ("undefined", "junk_click_id"),
        ("__CLICKID__", "junk_click_id"),
        ("{{click_id}}", "junk_click_id"),
        ("jane@x.com", "click_id_malformed"),
        ("a b", "click_id_malformed"),
        ("a\x00b", "click_id_malformed"),
        ("é", "click_id_malformed"),
    ):
        identity, warnings = identity_of({field: value})
        assert getattr(identity, field) is None
        assert codes(warnings) == [(code, f"/user/{field}")]


def test_a_bad_id_of_the_event_gives_way_to_that_of_the_url() -> None:
    identity, warnings = identity_of({"ttclid": "__CLICKID__"}, url=f"{SHOP}?ttclid=E.C.P.a")
    assert identity.ttclid == "E.C.P.a"
    assert codes(warnings) == [("junk_click_id", "/user/ttclid")]
    identity, warnings = identity_of({}, url=f"{SHOP}?ttclid=__CLICKID__")
    assert identity.ttclid is None
    assert codes(warnings) == [("junk_click_id", "/event_source_url")]


def test_cookies_are_read_as_cookies_carry_them() -> None:
    assert click_ids.click_id("ttp", " %32aBc; ") == "2aBc"
    assert click_ids.click_id("epik", quote("a=b")) == "a=b"
    assert click_ids.click_id("epik", "%%EPIK%%") is Code.JUNK_CLICK_ID
    assert click_ids.click_id("gclid", "a%3D") == "a%3D"
    assert click_ids.click_id("sc_cookie1", "_scid=aB") == "aB"
    assert click_ids.click_id("sc_click_id", f"{SHOP}?sccid=aB") == "aB"
    assert click_ids.click_id("sc_click_id", f"{SHOP}?x=1") is Code.JUNK_CLICK_ID
