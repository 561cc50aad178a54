"""Judges what a set-up says of itself: configuration, store, clock, tokens, API versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from app.doctor.findings import Finding, Level, counted, span
from app.errors import Fault

CLOCK_WARNING_S, CLOCK_PROBLEM_S = 10.0, 120.0
"""An event counts as clamped from its first second in the future, and as skipped from five minutes on; OAuth assertions
are refused when they seem to come from the future."""
_VERSION_CODES = frozenset({"version_ends", "version_unknown"})


def judge_config(faults: Sequence[Fault], warnings: Sequence[Fault], sources: int, destinations: int) -> list[Finding]:
    """What is wrong with the configuration, else what weakens it; store and API versions have checks of their own."""
    if faults:
        step = "mend the configuration; `convey config check` reports every mistake at once"
        return [Finding("config", Level.PROBLEM, f"{fault.pointer}: {fault.detail}", step) for fault in faults]
    weak = [each for each in warnings if each.code not in _VERSION_CODES and not each.pointer.startswith("store.")]
    found = [
        Finding("config", Level.WARNING, f"{each.pointer}: {each.detail}", "change the setting if this is not meant")
        for each in weak
    ]
    if not destinations:
        step = "add one under `destinations`, or enable one"
        found.append(Finding("config", Level.PROBLEM, "no destination is enabled: events go nowhere", step))
    words = f"readable and whole: {counted(sources, 'source')}, {counted(destinations, 'destination')}"
    return found or [Finding("config", Level.OK, words)]


def judge_store(durability: str, warnings: Sequence[Fault], unready: str | None, *, was_asked: bool) -> list[Finding]:
    """What accepted means. `unready` is why the gateway cannot keep events now; `was_asked` says that it was asked."""
    found = []
    if unready is not None:
        step = "mend the store; until then the gateway answers 503 and callers have to post again"
        found.append(Finding("store", Level.PROBLEM, f"the gateway cannot keep events right now: {unready}", step))
    step = "set store.durability to fsync or replicated: docs/production.md"
    for warning in warnings:
        level = Level.PROBLEM if durability == "memory" else Level.WARNING
        found.append(Finding("store", level, f"{warning.pointer}: {warning.detail}", step))
    if not found:
        kept = {"fsync": "on disk", "replicated": "on as many servers as store.replicas says"}.get(
            durability, durability
        )
        also = ", and the gateway can keep events now" if was_asked else ""
        found.append(Finding("store", Level.OK, f"202 is answered once an event is {kept}{also}"))
    return found


@dataclass(frozen=True, slots=True)
class ClockReading:
    """How far somebody's clock is ahead of this machine's, by the Date header of an answer."""

    who: str
    ahead_s: float


def judge_clock(platforms: Sequence[ClockReading], gateway: ClockReading | None) -> Finding:
    """Whether the gateway's clock (this machine's where no gateway was asked) agrees with the platforms'.

    A Date header has whole seconds: a second more or less is nothing.
    """
    if not platforms:
        return Finding("clock", Level.UNKNOWN, "not checked: no platform was asked for the time")
    true_time = median(reading.ahead_s for reading in platforms)
    ahead = (gateway.ahead_s if gateway is not None else 0.0) - true_time
    whose = "the gateway's clock" if gateway is not None else "this machine's clock"
    size = abs(ahead)
    if size <= CLOCK_WARNING_S:
        return Finding("clock", Level.OK, f"{whose} agrees with that of {counted(len(platforms), 'platform')}")
    words = f"{whose} is {span(size)} {'ahead of' if ahead > 0 else 'behind'} the platforms'"
    level = Level.PROBLEM if size >= CLOCK_PROBLEM_S else Level.WARNING
    return Finding("clock", level, words, "run a time service (chrony, systemd-timesyncd) on its machine")


class Answer(StrEnum):
    """What a platform says of a token."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNSURE = "unsure"
    NOT_ASKED = "not_asked"


@dataclass(frozen=True, slots=True)
class Probe:
    """What one destination's platform said of its token; `detail` in words, or why it was not asked."""

    destination: str
    answer: Answer
    detail: str


def judge_tokens(probes: Sequence[Probe], delivered: Mapping[str, int]) -> list[Finding]:
    """A finding per destination. Where nobody could be asked, what was `delivered` lately tells as much."""
    return [_judge_token(probe, delivered.get(probe.destination, 0)) for probe in probes] or [
        Finding("tokens", Level.UNKNOWN, "not checked: no destination is enabled")
    ]


def _judge_token(probe: Probe, delivered: int) -> Finding:
    name = probe.destination
    if probe.answer is Answer.ACCEPTED:
        return Finding("tokens", Level.OK, f"{name}: {probe.detail}")
    if probe.answer is Answer.REFUSED:
        step = (
            "make a new token at the platform and replace the secret; a secret from a file is taken up within seconds"
        )
        return Finding("tokens", Level.PROBLEM, f"{name}: the platform refuses the token: {probe.detail}", step)
    if probe.answer is Answer.NOT_ASKED and delivered:
        return Finding("tokens", Level.OK, f"{name}: the platform took {counted(delivered, 'order')} lately")
    if probe.answer is Answer.NOT_ASKED:
        return Finding("tokens", Level.UNKNOWN, f"{name}: not checked: {probe.detail}")
    step = "try again; if it stays, look at `convey destinations list` and the gateway's log"
    return Finding("tokens", Level.UNKNOWN, f"{name}: cannot be told: {probe.detail}", step)


def judge_versions(notices: Sequence[Fault], ended: frozenset[str], known: Mapping[str, str]) -> list[Finding]:
    """Whether an API version in use ends soon. `ended` are the paths of those that have, `known` is used by whom."""
    found = []
    for notice in notices:
        if notice.code in _VERSION_CODES:
            level = Level.PROBLEM if notice.pointer in ended else Level.WARNING
            step = "update Convey, or set the newer version after reading its changelog"
            found.append(Finding("versions", level, f"{notice.pointer}: {notice.detail}", step))
    used = ", ".join(f"{name} {version}" for name, version in known.items() if version)
    return found or [Finding("versions", Level.OK, f"none in use ends within 30 days ({used or 'none has a setting'})")]
