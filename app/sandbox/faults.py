"""Scripts of faults: which request meets which trouble, in order, as often as told."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.sandbox.base import Label

MAX_HANG_S = 120.0
MATCH_KEYS = frozenset(["account", "token", "event_name", "event_id", "order_id"])
_ERROR = frozenset(["status", "code", "subcode", "headers"])

# The options of each kind. `times` is 1 when absent, but for the kinds that last until they are deleted.
KINDS: dict[str, frozenset[str]] = {
    "ok": frozenset(),
    "429": _ERROR | {"retry_after_s"},
    "500": _ERROR,
    "slow": frozenset(["delay_s"]),
    "hang": frozenset(["max_s", "process"]),
    "reset": frozenset(),
    "html": frozenset(["status"]),
    "dead_token": frozenset(),
    "partial": _ERROR | {"share", "indexes"},
    "lost_answer": frozenset(),
    "half_body": frozenset(),
    "error_200": _ERROR,
    "down": frozenset(),
}
LASTING = frozenset(["dead_token", "down"])


class BadScript(ValueError):
    """A fault script that cannot be followed; the message says what is wrong."""


@dataclass(slots=True)
class Fault:
    """One entry of a script. `left` counts down to 0; None means until it is deleted."""

    kind: str
    left: int | None
    probability: float = 1.0
    match: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    used: int = 0

    def as_json(self) -> dict[str, Any]:
        """The entry with its options, how often it will still be used and how often it was."""
        shown: dict[str, Any] = {"kind": self.kind, "left": self.left, "used": self.used}
        if self.probability < 1:
            shown["probability"] = self.probability
        if self.match:
            shown["match"] = self.match
        return {**shown, **self.options}

    def hits(self, label: Label) -> bool:
        """Whether one event fits the parts of `match` that are about events."""
        return all(getattr(label, key) == wanted for key, wanted in self.match.items() if key in Label._fields)


class Script:
    """The faults of one platform."""

    def __init__(self, faults: Sequence[Fault] = (), seed: int = 0) -> None:
        self.faults = list(faults)
        self._random = random.Random(seed)

    def pick(self, account: str, token: str | None, labels: Callable[[], Sequence[Label]]) -> Fault | None:
        """The first entry that is not used up, fits the request and wins its throw; it is used once.

        An entry with `match` fits when the account and the token fit and one event fits all the rest.
        """
        for fault in self.faults:
            if fault.left == 0 or not _fits(fault, account, token, labels):
                continue
            if fault.probability < 1 and self._random.random() >= fault.probability:
                continue
            fault.used += 1
            if fault.left is not None:
                fault.left -= 1
            return fault
        return None


def _fits(fault: Fault, account: str, token: str | None, labels: Callable[[], Sequence[Label]]) -> bool:
    if not fault.match:
        return True
    if fault.match.get("account", account) != account or fault.match.get("token", token) != token:
        return False
    if not fault.match.keys() & set(Label._fields):
        return True
    return any(fault.hits(label) for label in labels())


def failing_indexes(fault: Fault, labels: Sequence[Label]) -> frozenset[int]:
    """Which events of a batch a `partial` fault makes fail.

    `indexes` names them. Else those that fit `match`, all of them or the `share`; else the `share` (0.5 when
    absent) of the batch, at least one, spread evenly.
    """
    options = fault.options
    if "indexes" in options:
        return frozenset(index for index in options["indexes"] if index < len(labels))
    candidates = [index for index, label in enumerate(labels) if fault.hits(label)]
    by_event = fault.match.keys() & set(Label._fields)
    share = options.get("share", 1.0 if by_event else 0.5)
    count = min(len(candidates), max(1, round(len(candidates) * share)))
    return frozenset(candidates[n * len(candidates) // count] for n in range(count))


def parse_script(body: object) -> Script:
    """The script of a `PUT /_faults/{platform}` body.

    Raises:
        BadScript: for an unknown kind, key or option, or a value of the wrong type.
    """
    if not isinstance(body, dict) or not isinstance(body.get("faults"), list) or body.keys() - {"faults", "seed"}:
        raise BadScript('expected {"faults": [...], "seed": integer or absent}')
    seed = body.get("seed", 0)
    if type(seed) is not int:
        raise BadScript("seed must be an integer")
    return Script([_entry(entry) for entry in body["faults"]], seed)


def _entry(entry: object) -> Fault:
    if not isinstance(entry, dict) or entry.get("kind") not in KINDS:
        raise BadScript("kind must be one of " + ", ".join(KINDS))
    kind = entry["kind"]
    options = {key: entry[key] for key in entry.keys() - {"kind", "times", "probability", "match"}}
    if options.keys() - KINDS[kind]:
        raise BadScript(f"{kind} takes no option {min(options.keys() - KINDS[kind])}")
    for name, value in options.items():
        if not _OPTION_TYPES[name](value):
            raise BadScript(f"option {name} of {kind} has a bad value")
    times = entry.get("times", None if kind in LASTING else 1)
    if times is not None and (type(times) is not int or times < 1):
        raise BadScript("times must be a positive integer or null")
    probability = entry.get("probability", 1.0)
    if type(probability) not in (int, float) or not 0 <= probability <= 1:
        raise BadScript("probability must lie between 0 and 1")
    match = entry.get("match", {})
    if not isinstance(match, dict) or match.keys() - MATCH_KEYS or not all(type(v) is str for v in match.values()):
        raise BadScript("match takes strings for " + ", ".join(sorted(MATCH_KEYS)))
    return Fault(kind, times, float(probability), dict(match), options)


def _is_amount(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= 86_400  # type: ignore[operator]


def _is_headers(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    return all(type(v) is str and (name + v).isascii() and (name + v).isprintable() for name, v in value.items())


_OPTION_TYPES: dict[str, Callable[[Any], bool]] = {
    "status": lambda v: type(v) is int and 200 <= v <= 599,
    "code": lambda v: type(v) is int,
    "subcode": lambda v: v is None or type(v) is int,
    "headers": _is_headers,
    "retry_after_s": _is_amount,
    "delay_s": _is_amount,
    "max_s": lambda v: _is_amount(v) and v <= MAX_HANG_S,
    "process": lambda v: type(v) is bool,
    "share": lambda v: type(v) in (int, float) and 0 < v <= 1,
    "indexes": lambda v: type(v) is list and all(type(i) is int and i >= 0 for i in v),
}
