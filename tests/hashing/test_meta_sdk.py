"""Our forms for Meta against Meta's own SDK: the same digest, or a known reason why not."""

from __future__ import annotations

import os
from functools import cache

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.hashing.sdk_reference import DISAGREEMENTS, FIELDS, Disagreement, Sdk, compare, explanation

EXAMPLES = int(os.environ.get("CONVEY_SDK_EXAMPLES", "250"))


@cache
def _load() -> Sdk | None:
    try:
        return Sdk()
    except ImportError:
        return None


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    """The SDK; where it is not installed the tests are skipped, but never in CI."""
    loaded = _load()
    if loaded is None:
        if os.environ.get("CI") == "true":
            pytest.fail("facebook-business is not installed, and CI must compare with it")
        pytest.skip("facebook-business is not installed; it comes with the dev dependencies")
    return loaded


# --- values -----------------------------------------------------------------------------------------------------

CHARACTERS = st.characters(exclude_categories=["Cs"])
BLANKS = st.sampled_from(["", "", " ", "\t", "\u00a0", "\u200b", " \n", "\ufeff"])
WORDS = st.sampled_from(
    "Jane mary O'Brien Jean-Pierre María José von der Straße İpek ΣΊΣΥΦΟΣ 정 Valéry Vale\u0301ry Łukasz Mc.Kay "
    "ｊｏｈｎ Smith, Jr. n/a null test John3 ﬁona Ⅷ 北京 مريم नमस्ते".split()
)
CITIES = st.sampled_from(
    "San Francisco St. Louis L'Aquila 's-Hertogenbosch Zürich 北京 Paris 12 New-York Köln (Mitte)".split()
)
STATES = st.sampled_from(
    "CA ca California New York us-ca US-TX CA-ON Bayern Côte-d'Or N.Y. NSW Ontario D.C. Île-de-France 75 AU-NSW".split()
)
COUNTRY_TEXTS = st.sampled_from(
    "US us USA DE deu Germany Deutschland UK GB England United States u.s. d1e XK NA Namibia Türkiye Côte d'Ivoire "
    "Korea XX".split()
)
COUNTRIES = st.sampled_from([None, "us", "de", "gb", "jp", "ca", "mx", "it", "fr", "au"])
TEXTS = st.text(CHARACTERS, max_size=40)
DIGESTS = st.sampled_from([32, 40, 56, 64, 96, 128]).flatmap(
    lambda size: st.text("0123456789abcdefABCDEF", min_size=size, max_size=size)
)


def joined(parts: st.SearchStrategy[str], separators: str, most: int = 4) -> st.SearchStrategy[str]:
    """Several parts with separators between them, and blanks around."""
    between = st.sampled_from([*separators, ""])
    return st.builds(
        lambda lead, first, rest, trail: lead + first + "".join(a + b for a, b in rest) + trail,
        BLANKS,
        parts,
        st.lists(st.tuples(between, parts), max_size=most - 1),
        BLANKS,
    )


LOCALS = st.text("abcXYZ0129.+_-'%", min_size=1, max_size=12)
DOMAINS = st.sampled_from(
    "shop.de Gmail.com googlemail.com example.com münchen.de xn--mnchen-3ya.de a.shop.co.uk shop a..b.de ｅ.de".split()
)
NUMBERS = st.text("0123456789", min_size=4, max_size=13)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "em": st.builds(
        lambda lead, before, local, at, domain, after, trail: lead + before + local + at + domain + after + trail,
        BLANKS,
        st.sampled_from(["", "", "", "mailto:", "Jane <", "<", "a "]),
        LOCALS,
        st.sampled_from(["@", "@", "@", "@", "＠", "@@", " @", ""]),
        DOMAINS,
        st.sampled_from(["", "", "", ">", ".", ";", ",", " (home)"]),
        BLANKS,
    ),
    "ph": st.one_of(
        joined(NUMBERS, " -./()x+"),
        st.builds(
            lambda plus, code, gap, number, tail: plus + code + gap + number + tail,
            st.sampled_from(["+", "00", "", "011", "tel:+", "＋", "(+"]),
            st.sampled_from(["1", "49", "44", "39", "52", "521", "81", "33", "61", "7"]),
            st.sampled_from(["", " ", "-", " (0)", "0", ") ", "."]),
            st.sampled_from(
                ["4155552671", "1512 3456789", "7911 123456", "06 698 12345", "55 1234 5678", "90-1234-5678"]
            )
            | NUMBERS,
            st.sampled_from(["", "", " ext. 12", " (mobile)", "x5", " "]),
        ),
    ),
    "fn": joined(WORDS, " -.,'’/"),
    "ln": joined(WORDS, " -.,'’/"),
    "ct": joined(CITIES, " -.,'’/0"),
    "st": joined(STATES, " -.,'", 2),
    "zp": joined(st.text("0123456789ABCabc", min_size=1, max_size=6), " -.", 3),
    "country": joined(COUNTRY_TEXTS, " .-", 2),
    "db": st.one_of(
        st.dates().map(str),
        st.dates().map(lambda day: day.strftime("%Y%m%d")),
        joined(st.integers(0, 2030).map(str) | st.integers(1, 31).map(str), "-/. ", 3),
        st.builds(
            "{}{}{}{}{}".format,
            st.integers(1, 32),
            st.sampled_from("/.-"),
            st.integers(1, 13),
            st.sampled_from("/.-"),
            st.integers(1890, 2030),
        ),
    ),
    "ge": joined(st.sampled_from("f m F M female Male woman herr männlich x n divers unknown 1".split()), " .-", 2),
    "external_id": joined(st.text("abcXYZ019-_:@ é", min_size=1, max_size=12), " -"),
}


@pytest.mark.parametrize("field", FIELDS)
def test_the_digests_are_those_of_the_sdk_or_differ_for_a_known_reason(field: str, sdk: Sdk) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, derandomize="CONVEY_SDK_EXAMPLES" not in os.environ)
    @given(st.one_of(VALUES[field], VALUES[field], TEXTS, DIGESTS), COUNTRIES)
    def differ_for_a_reason(text: str, country: str | None) -> None:
        case = compare(sdk, field, text, country)
        if case.agrees:
            event("the same")
            return
        reason = explanation(case)
        assert reason is not None, f"{field} {text!r} with country {country}: SDK {case.theirs}, ours {case.ours}"
        event(reason.name)

    differ_for_a_reason()


@pytest.mark.parametrize("known", DISAGREEMENTS, ids=lambda known: known.name)
def test_every_class_of_disagreement_exists(known: Disagreement, sdk: Sdk) -> None:
    case = compare(sdk, *known.example)
    assert not case.agrees
    assert explanation(case) is known


@pytest.mark.parametrize(
    ("field", "text"),
    {
        "em": "John_Smith@gmail.com",
        "ph": "+1 (650) 555-1212",
        "fn": "Mary",
        "ln": "정",
        "ct": "San Francisco",
        "st": "CA",
        "zp": "94107-1234",
        "country": "US",
        "db": "19970216",
        "ge": "f",
    }.items(),
)
def test_plain_values_agree(field: str, text: str, sdk: Sdk) -> None:
    case = compare(sdk, field, text, "us")
    assert case.agrees
    assert case.ours is not None
