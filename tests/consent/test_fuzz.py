"""Broken and hostile strings: no exception, no hang, and never more permission than the string they were made of.

These formats have no check sum: a flipped bit may turn a refusal into a valid consent, for every reader of them. So of
flipped bits only this is asked, that they neither raise nor permit what the string does not speak of; that nothing more
is permitted is asked of all damage a reader can notice. A segment cut off exactly at its dot is noticed only where the
date demands the segment: a test says so.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.consent.additional import decode_additional
from app.consent.bits import MAX_CHARS
from app.consent.codes import Code, Malformed
from app.consent.consent_mode import decode_gcd, decode_gcs
from app.consent.flags import decode_purposes
from app.consent.gpp import GppString, decode_gpp
from app.consent.jurisdiction import Regime
from app.consent.needs import ConsentNeeds, ConsentOptions
from app.consent.onetrust import decode_onetrust
from app.consent.policy import decide
from app.consent.shopify import decode_shopify
from app.consent.signals import read_signals
from app.consent.tcf import TcString, decode_tcf
from app.consent.us_privacy import UsPrivacy, decode_us_privacy
from app.errors import Outcome
from app.wire import Consent
from tests.consent.support import vectors

NOW = datetime(2026, 11, 20, tzinfo=UTC)
NEEDS = [
    ConsentNeeds(gvl_id=755, has_consent_states=True),
    ConsentNeeds(gvl_id=804),
    ConsentNeeds(purposes_only=True),
    ConsentNeeds(),
]
WHERE = [Regime.OPT_IN, Regime.OPT_OUT, Regime.NOTICE, Regime.UNKNOWN]
STRICT, REGIONAL = ConsentOptions(), ConsentOptions(policy="regional")

TCF = [vector["string"] for vector in vectors("tcf")["valid"]]
GPP = [vector["string"] for vector in vectors("gpp")["valid"]]
GRANTED = [
    v["string"] for v in vectors("tcf")["valid"] if v["evaluate_at_2026_11_20"]["google_755_action"] == "forward"
]
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def permission(field: str, text: Any, needs: ConsentNeeds, options: ConsentOptions, regime: Regime) -> int:
    """How much a string permits: 0 nothing, 1 limited, 2 all."""
    signals, _ = read_signals(Consent.model_validate({field: text}))
    decision = decide(signals, needs, options, (regime, None), NOW)
    if decision.outcome is Outcome.DENIED:
        return 0
    return 1 if decision.limited else 2


def permissions(field: str, text: Any) -> tuple[int, ...]:
    """The same for every destination, policy and regime of this file."""
    return tuple(
        permission(field, text, needs, options, regime)
        for needs in NEEDS
        for options, regimes in ((STRICT, WHERE[:1]), (REGIONAL, WHERE))
        for regime in regimes
    )


def flipped(text: str, place: int, bit: int) -> str:
    """`text` with one bit of one character changed."""
    if text[place] not in ALPHABET:
        return text[:place] + "A" + text[place + 1 :]
    return text[:place] + ALPHABET[ALPHABET.index(text[place]) ^ 1 << bit] + text[place + 1 :]


def damaged(text: str, chance: random.Random) -> Iterator[str]:
    """Damage that a reader can notice: cuts within a segment, characters of no alphabet, doubled or lost dots."""
    cut = chance.randrange(1, len(text))
    if text[cut] not in ".~" and text[cut - 1] not in ".~":
        yield text[:cut]
    for foreign in "=+/ %.~\x00é�＿":
        yield text + foreign if foreign != " " else text[:cut] + foreign + text[cut:]
        yield foreign + text if foreign != " " else text[:cut] + "\n" + text[cut:]
    yield text + "=="
    yield text.replace(".", "%2E").replace("~", "%7E") + "%"
    yield text.lower() if text.lower() != text else text + "!"
    yield text + "." + "A" * MAX_CHARS
    yield text.replace(".", "..") if "." in text else text + ".."


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("field", "corpus"), [("tcf", TCF), ("gpp", GPP)])
def test_damage_never_permits_more(field: str, corpus: list[str], seed: int) -> None:
    chance = random.Random(seed)
    for text in corpus:
        allowed = permissions(field, text)
        for broken in damaged(text, chance):
            found = permissions(field, broken)
            # An unreadable string counts as an opt-out where people opt out: limited, as nothing said is.
            assert all(
                new <= max(old, _floor(index)) for index, (new, old) in enumerate(zip(found, allowed, strict=True))
            )


def _floor(index: int) -> int:
    """What a string that is unreadable permits: nothing, or limited use where people opt out."""
    return 1 if index % 5 == 1 + WHERE.index(Regime.OPT_OUT) else 0


@pytest.mark.parametrize("field", ["tcf", "gpp"])
def test_a_cut_anywhere_never_permits_more(field: str) -> None:
    text = next(text for text in GRANTED if len(text) < 100)
    text = text if field == "tcf" else "DBABMA~" + text
    allowed = permissions(field, text)
    for cut in range(1, len(text)):
        found = permissions(field, text[:cut])
        assert all(new <= max(old, _floor(index)) for index, (new, old) in enumerate(zip(found, allowed, strict=True)))


def test_a_cut_at_the_dot_is_noticed_by_the_date() -> None:
    core = next(text for text in GRANTED if len(text) < 100 and "." in text).split(".")[0]
    assert permission("tcf", core, NEEDS[0], STRICT, Regime.OPT_IN) == 0


@pytest.mark.parametrize("seed", range(3))
def test_flipped_bits_give_nothing_to_a_destination_the_string_does_not_name(seed: int) -> None:
    chance = random.Random(seed)
    for text in GRANTED:
        for _ in range(40):
            broken = text
            for _ in range(chance.choice((1, 1, 2, 8))):
                broken = flipped(broken, chance.randrange(len(broken)), chance.randrange(6))
            found = permissions("tcf", broken)[-5:]
            assert all(new <= _floor(index) for index, new in enumerate(found))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("decode", "corpus"), [(decode_tcf, TCF), (decode_gpp, GPP)])
def test_flipped_bits_are_read_or_malformed(decode: Callable[[str], Any], corpus: list[str], seed: int) -> None:
    chance = random.Random(seed)
    for text in corpus:
        for _ in range(20):
            broken = text
            for _ in range(chance.choice((1, 2, 5, 20))):
                broken = flipped(broken, chance.randrange(len(broken)), chance.randrange(6))
            assert isinstance(decode(broken), TcString | GppString | Malformed)


@pytest.mark.parametrize(
    "text",
    [
        "A" * MAX_CHARS,
        "C" + "A" * (MAX_CHARS - 1),
        "C" + "_" * (MAX_CHARS - 1),
        ("C" + "A" * 70 + "." * 10) * 200,
        "DBAA" + "~A" * 8000,
        "DBAA" + "_" * 16_000,
        "DBAB" + "A" * 16_000 + "~",
        "." * MAX_CHARS,
        "~" * MAX_CHARS,
        "\ud800" * 16,
        "C" * (MAX_CHARS + 1),
    ],
)
def test_long_strings_are_settled_by_their_length_alone(text: str) -> None:
    assert isinstance(decode_tcf(text), TcString | Malformed)
    assert isinstance(decode_gpp(text), GppString | Malformed)
    for field in ("tcf", "gpp"):
        assert not any(permissions(field, text)[::5])


@given(st.text(max_size=300) | st.text(ALPHABET + ".~", max_size=300) | st.binary(max_size=64).map(repr))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_malformed(text: str) -> None:
    assert isinstance(decode_tcf(text), TcString | Malformed)
    assert isinstance(decode_gpp(text), GppString | Malformed)
    assert isinstance(decode_us_privacy(text), UsPrivacy | Malformed)
    for decode in (decode_additional, decode_gcs, decode_gcd, decode_onetrust, decode_purposes, decode_shopify):
        decode(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=12), children, max_size=4),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional={name: JSON for name in Consent.model_fields if name != "jurisdiction"}))
@settings(max_examples=300, deadline=None)
def test_any_consent_object_is_judged_and_only_an_answer_permits(sent: dict[str, Any]) -> None:
    signals, warnings = read_signals(Consent.model_validate(sent))
    for needs in NEEDS:
        decision = decide(signals, needs, STRICT, (Regime.UNKNOWN, None), NOW)
        if decision.outcome is Outcome.QUEUED:
            assert decision.detail is not None
            assert decision.detail.endswith("GRANTED") or decision.detail is Code.TCF_GRANTED_NO_PERSONALIZATION
            assert any(value is not None for value in sent.values())
    assert all(warning.code == "consent_malformed" for warning in warnings)
