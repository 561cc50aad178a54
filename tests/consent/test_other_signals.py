"""The signals that are no TC or GPP string: what each shape says, and what is none of it."""

from __future__ import annotations

from typing import Any

import pytest

from app.consent.additional import AdditionalConsent, decode_additional
from app.consent.codes import Code, Malformed
from app.consent.consent_mode import ABSENT, ConsentMode, State, decode_gcd, decode_gcs
from app.consent.flags import MAX_KEYS, Flag, PurposeMap, decode_purposes
from app.consent.onetrust import MAX_GROUPS, OneTrustGroups, decode_onetrust
from app.consent.shopify import ShopifyPrivacy, decode_shopify

YES, NO = State(Flag.YES), State(Flag.NO)
YES_BY_DEFAULT, NO_BY_DEFAULT = State(Flag.YES, True), State(Flag.NO, True)
CM = Malformed(Code.CM_MALFORMED)
OT = Malformed(Code.OT_MALFORMED)


@pytest.mark.parametrize("sent", [{}, {"ads": True}, {"ads": False, "analytics": True}])
def test_a_map_of_purposes(sent: dict[str, bool]) -> None:
    assert decode_purposes(sent) == PurposeMap(sent)


@pytest.mark.parametrize(
    "sent",
    [
        *({"ads": "true"}, {"ads": 1}, {"ads": None}, {"ads": 0}, {"ads": []}, {"ads": {"a": True}}),
        {"analytics": True, "ads": "true"},
        {3: True},
        {"k" * 65: True},
        {str(number): True for number in range(MAX_KEYS + 1)},
        ["ads"],
        "ads",
        True,
    ],
)
def test_no_map_of_purposes(sent: Any) -> None:
    assert decode_purposes(sent) == Malformed(Code.MAP_MALFORMED)


@pytest.mark.parametrize(
    ("sent", "said"), [("G111", YES), ("G110", YES), ("G101", NO), ("G100", NO), ("G1--", ABSENT), (" G1-1 ", ABSENT)]
)
def test_gcs_speaks_of_storage_for_ads_first(sent: str, said: State) -> None:
    assert decode_gcs(sent) == ConsentMode(ad_storage=said, is_storage_only=True)


@pytest.mark.parametrize(
    "sent", ["", "G1", "G11", "G1111", "G211", "g111", "G11x", "111", 111, None, ["G111"], "G1１1"]
)
def test_no_gcs(sent: Any) -> None:
    assert decode_gcs(sent) == CM


LETTERS = {
    "l": ABSENT,
    "p": NO_BY_DEFAULT,
    "t": YES_BY_DEFAULT,
    "m": NO,
    "n": YES,
    "q": NO,
    "r": YES,
    "u": NO,
    "v": YES,
}


@pytest.mark.parametrize("letter", LETTERS)
def test_each_letter_of_gcd(letter: str) -> None:
    said = LETTERS[letter]
    assert decode_gcd(f"13{letter}3l3{letter}3{letter}5l1") == ConsentMode(said, said, said)
    assert decode_gcd(f"11{letter}1l1r1v5") == ConsentMode(said, YES, YES)
    assert decode_gcd(f"13r3{letter}3r3r5l1") == ConsentMode(YES, YES, YES)  # analytics_storage is not asked for


@pytest.mark.parametrize("letter", sorted(set("ghijkosw0AZ_-b") - set(LETTERS)))
def test_a_letter_of_gcd_nobody_knows(letter: str) -> None:
    assert decode_gcd(f"13r3r3{letter}3r5l1") == CM


@pytest.mark.parametrize("sent", ["", "1", "13r3r3r", "23r3r3r3r5l1", "13r3r3r3 r5l1", "13r3r3r3r5l1 x", 13, None])
def test_no_gcd(sent: Any) -> None:
    assert decode_gcd(sent) == CM


@pytest.mark.parametrize(
    ("sent", "consented", "disclosed"),
    [
        ("2~1.35.41.101~dv.9.21.81", {1, 35, 41, 101}, {9, 21, 81}),
        ("2~~dv.1.2", set(), {1, 2}),
        ("2~1.2~dv.", {1, 2}, set()),
        ("2~1.2~dv", {1, 2}, set()),
        ("1~89.3100", {89, 3100}, set()),
        ("1~", set(), set()),
        (" 2~65535~dv. ", {65535}, set()),
    ],
)
def test_an_additional_consent_string(sent: str, consented: set[int], disclosed: set[int]) -> None:
    assert decode_additional(sent) == AdditionalConsent(frozenset(consented), frozenset(disclosed))


@pytest.mark.parametrize(
    "sent",
    [
        *("", "2", "2~1", "2~1~", "2~1~9", "3~1~dv.", "2~01~dv.", "2~1..2~dv.", "2~.1~dv.", "2~1.~dv.", "2~a~dv."),
        *(
            "2~65536~dv.",
            "2~123456~dv.",
            "2~1~dv.1",
            "2~1~dv.2.",
            "1~1~dv.2",
            "2~1~dv1",
            "2~１~dv.",
            "2~" + "1." * 9000,
        ),
        *(None, 2, ["2~1~dv."]),
    ],
)
def test_no_additional_consent_string(sent: Any) -> None:
    assert decode_additional(sent) == Malformed(Code.AC_MALFORMED)


COOKIE = (
    "isGpcEnabled=0&datestamp=Fri+Nov+20+2026+11%3A50%3A00+GMT%2B0100&version=202309.1.0&isIABGlobal=false&hosts=&"
    "consentId=6f1c&interactionCount=2&landingPath=NotLandingPage&groups=C0001%3A1%2CC0002%3A0%2CC0004%3A1&geolocation=DE%3BBY"
)
GROUPS = {"C0001": True, "C0002": False, "C0004": True}


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (COOKIE, OneTrustGroups(GROUPS, 2)),
        (COOKIE.replace("isGpcEnabled=0", "isGpcEnabled=1"), OneTrustGroups(GROUPS, 2, is_gpc=True)),
        ("groups=C0004%3A1", OneTrustGroups({"C0004": True})),
        ("C0001:1,C0004:0", OneTrustGroups({"C0001": True, "C0004": False})),
        ("C0001%3A1%2CC0004%3A0", OneTrustGroups({"C0001": True, "C0004": False})),
        ("C0004:1,C0004:1,", OneTrustGroups({"C0004": True})),
        (",C0001,C0004,", OneTrustGroups({"C0001": True, "C0004": True}, is_active_list=True)),
        (["C0001", "STACK42"], OneTrustGroups({"C0001": True, "STACK42": True}, is_active_list=True)),
        ([], OneTrustGroups({}, is_active_list=True)),
        ({"C0004": True, "C0002": False}, OneTrustGroups({"C0004": True, "C0002": False})),
        ({"groups": "C0004:1", "interactionCount": 0}, OneTrustGroups({"C0004": True}, 0)),
        ({"groups": {"C0004": True}, "interactionCount": "3"}, OneTrustGroups({"C0004": True}, 3)),
        ({"groups": {"C0004": True}, "isGpcEnabled": True}, OneTrustGroups({"C0004": True}, is_gpc=True)),
    ],
)
def test_the_shapes_of_onetrust(sent: Any, said: OneTrustGroups) -> None:
    assert decode_onetrust(sent) == said


@pytest.mark.parametrize(
    "sent",
    [
        *(
            "",
            " ",
            "C0004:2",
            "C0004:",
            ":1",
            "C0004:1,,C0002:0",
            "C0004:1,C0004:0",
            "C 4",
            "groups=C0004%3A1&groups=x",
        ),
        *(
            "groups=",
            "groups=C0004%3Atrue",
            "groups=C0004%3A1&interactionCount=x",
            "groups=C0004%3A1&isGpcEnabled=maybe",
        ),
        *("groups=C0004%3A1&x", "&".join(["groups=C0004%3A1"] * 200), "C" * 17_000, "C" * 65),
        *({}, {"groups": {}}, {"groups": 4}, {"C0004": "1"}, {"C0004": 1}, {3: True}, {"C 4": True}),
        *({"groups": "C0004:1", "interactionCount": -1}, {"groups": "C0004:1", "interactionCount": True}),
        *({"groups": "C0004:1", "interactionCount": 1.5}, {"groups": "C0004:1", "isGpcEnabled": []}),
        *(
            [4],
            ["C 4"],
            [f"C{number}" for number in range(MAX_GROUPS + 1)],
            {f"C{n}": True for n in range(MAX_GROUPS + 1)},
        ),
        *(4, True),
    ],
)
def test_no_shape_of_onetrust(sent: Any) -> None:
    assert decode_onetrust(sent) == OT


def test_a_list_of_active_groups_says_no_to_the_others() -> None:
    active = OneTrustGroups({"C0001": True}, is_active_list=True)
    assert (active.get("C0001"), active.get("C0004")) == (True, False)
    spoken = OneTrustGroups({"C0001": True})
    assert (spoken.get("C0001"), spoken.get("C0004")) == (True, None)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"marketingAllowed": True, "saleOfDataAllowed": False}, ShopifyPrivacy(None, True, None, False)),
        (
            {
                "analyticsProcessingAllowed": False,
                "marketingAllowed": True,
                "preferencesProcessingAllowed": True,
                "saleOfDataAllowed": True,
                "shopRegion": "DE",
            },
            ShopifyPrivacy(False, True, True, True),
        ),
    ],
)
def test_shopify_s_flags(sent: dict[str, Any], said: ShopifyPrivacy) -> None:
    assert decode_shopify(sent) == said


@pytest.mark.parametrize(
    "sent",
    [{}, {"marketingAllowed": "true"}, {"marketingAllowed": True, "saleOfDataAllowed": 1}, {"x": True}, [], "yes"],
)
def test_none_of_shopify_s_flags(sent: Any) -> None:
    assert decode_shopify(sent) == Malformed(Code.SHOPIFY_MALFORMED)
