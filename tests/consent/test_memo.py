"""Decoded strings are remembered within a bound, by digest."""

from __future__ import annotations

import gc

from app.consent.memo import LONGEST_CHARS, Memo
from app.consent.signals import forget_strings, read_signals
from app.wire import Consent


def test_a_string_is_decoded_once_while_it_is_remembered() -> None:
    asked: list[str] = []

    def decode(text: str) -> int:
        asked.append(text)
        return len(text)

    memo = Memo(decode, capacity=2)
    assert [memo(text) for text in ("a", "bb", "a", "ccc", "bb", "a", "a")] == [1, 2, 1, 3, 2, 1, 1]
    assert asked == ["a", "bb", "ccc", "a"]  # the third string drove the first out
    assert len(memo) == 2


def test_everything_can_be_forgotten() -> None:
    memo = Memo(len)
    memo("a")
    memo.clear()
    assert len(memo) == 0
    read_signals(Consent(tcf="CQ", gpp="DB"))
    forget_strings()
    assert read_signals(Consent(tcf="CQ"))[0].tcf is not None


def test_a_long_string_is_never_remembered() -> None:
    memo = Memo(len)
    assert memo("x" * (LONGEST_CHARS + 1)) == LONGEST_CHARS + 1
    assert len(memo) == 0


def test_no_string_stays_in_memory() -> None:
    memo = Memo(len)
    memo("".join(("personal", "-", "string")))
    gc.collect()
    assert not [kept for kept in gc.get_referents(memo._kept) if isinstance(kept, str)]


def test_text_that_is_no_unicode_is_remembered_too() -> None:
    memo = Memo(len)
    assert (memo("\ud800"), memo("\ud800")) == (1, 1)
    assert len(memo) == 1
