"""Canaries, and the search for them: unique raw values, in every form in which they could be written down."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote, quote_plus

SHORTEST = 7
"""No needle is shorter: it would be found by chance in a database full of digests."""
WINDOW = 90
"""How much of an output around a stem is looked at to tell whose it is, and shown."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A value that must not be written down. `texts` are what of it would give it away, each searched by itself.

    One that `may_travel` is meant for the store and the platforms, and for nobody else: not for logs, metrics, answers.
    """

    name: str
    texts: tuple[str, ...]
    may_travel: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """A canary that was found: in which output, which one, in which form."""

    output: str
    canary: str
    form: str
    around: str


@cache
def forms(text: str) -> dict[str, bytes]:
    """`text` in every form, by the form's name. Case is folded, but in base64, which has none to fold."""
    found: dict[str, bytes] = {}
    lowered = text.lower()
    for case, spelled in (("", text), ("lower ", lowered)):
        once, once_plus = quote(spelled, safe=""), quote_plus(spelled)
        raw = spelled.encode()
        found |= {
            f"{case}plain": raw,
            f"{case}json": json.dumps(spelled)[1:-1].encode(),
            f"{case}url": once.encode(),
            f"{case}url plus": once_plus.encode(),
            f"{case}double url": quote(once, safe="").encode(),
            f"{case}double url plus": quote(once_plus, safe="").encode(),
            f"{case}hex": raw.hex().encode(),
        }
        found |= {f"{case}base64+{shift}": _base64(raw, shift) for shift in range(3)}
        found |= {f"{case}base64url+{shift}": _base64(raw, shift, url=True) for shift in range(3)}
    needles: dict[bytes, str] = {}
    for name, needle in found.items():
        if len(needle) >= SHORTEST:
            needles.setdefault(needle if "base64" in name else needle.lower(), name)
    return {name: needle for needle, name in needles.items()}


def _base64(raw: bytes, shift: int, *, url: bool = False) -> bytes:
    """The characters that `raw` always gives, standing `shift` bytes (modulo three) inside something encoded."""
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    start, end = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
    return encode(bytes(shift) + raw)[start:end]


class Search:
    """Looks for canaries in outputs: first for the stems that many of them share, then for whose stem it is."""

    def __init__(self, canaries: Iterable[Canary], stems: Iterable[str] = ()) -> None:
        """A text that holds one of `stems` is found by it; any other is a stem of its own."""
        self._by_stem: dict[str, list[tuple[Canary, str]]] = {}
        known = sorted(stems, key=len, reverse=True)
        for canary in canaries:
            for text in canary.texts:
                assert len(text.encode()) >= SHORTEST, f"{canary.name}: {text} is too short to be unique"
                stem = next((stem for stem in known if stem.lower() in text.lower()), text)
                self._by_stem.setdefault(stem, []).append((canary, text))
        self._stems = {stem: forms(stem) for stem in self._by_stem}

    def hits(self, outputs: Mapping[str, bytes], *, travels: bool = False) -> list[Hit]:
        """Every canary in these outputs. With `travels`, those that may travel are left alone."""
        return list(dict.fromkeys(hit for name, output in outputs.items() for hit in self._hits(name, output, travels)))

    def _hits(self, name: str, output: bytes, travels: bool) -> Iterator[Hit]:
        folded = output.lower()
        for stem, needles in self._stems.items():
            suspects = [each for each in self._by_stem[stem] if not (travels and each[0].may_travel)]
            for form, needle in needles.items() if suspects else ():
                hay = output if "base64" in form else folded
                start = hay.find(needle)
                while start >= 0:
                    window = slice(max(0, start - WINDOW), start + len(needle) + WINDOW)
                    around = output[window].decode("ascii", "backslashreplace")
                    yield Hit(name, _whose(hay[window], form, suspects) or f"some canary like {stem}", form, around)
                    start = hay.find(needle, start + len(needle))


def _whose(window: bytes, form: str, suspects: Sequence[tuple[Canary, str]]) -> str | None:
    """Whose text stands in `window`; the form of the whole may be another than the form of its stem."""
    folded = window.lower()
    for others in (False, True):
        for canary, text in suspects:
            for name, needle in forms(text).items():
                if (name != form) is others and needle in (window if "base64" in name else folded):
                    return canary.name
    return None


def told(hits: Sequence[Hit], most: int = 40) -> str:
    """The hits in words, one line each."""
    places: dict[str, list[Hit]] = {}
    for hit in hits:
        places.setdefault(hit.canary, []).append(hit)
    lines = []
    for canary, some in list(places.items())[:most]:
        written = ", ".join(sorted({hit.form for hit in some}))
        outputs = ", ".join(sorted({hit.output for hit in some}))
        lines.append(f"  {canary} ({written}) in {outputs}: {some[0].around[:160]!r}")
    return "\n".join([f"{len(places)} canaries were written down:", *lines])
