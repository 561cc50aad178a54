"""Judges what goes through a gateway: lanes, ledger, freshness, names, pairs, consent, match keys, leaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from app.doctor.findings import Finding, Level, counted, percent, span
from app.event_names import canonical_name, meant_name

OLD_S = 3600.0
"""How old the oldest waiting delivery of a lane that runs may be."""
FEWEST = 20
"""Shares of fewer events than so many say nothing."""
GAP_WARNING, GAP_PROBLEM = 0.05, 0.5
"""Shares of events without any consent signal."""
MISMATCH, ONE_SIDED = 0.01, 0.05
MOST_REJECTS = 5
MOST_NAMES = 5
_LEDGER_TERMS = ("delivered", "dead", "expired", "withdrawn", "erased", "pending")


def judge_lanes(workers: int, lanes: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Whether every lane runs, and how long what waits has been waiting; as `GET /v1/destinations` tells them."""
    found = []
    if not workers:
        step = "start a worker: `convey serve`, or `convey serve --role worker` beside API processes"
        found.append(Finding("lanes", Level.PROBLEM, "no process works the lanes: nothing is sent", step))
    for name, lane in lanes.items():
        found += _judge_lane(name, lane)
    return found or [Finding("lanes", Level.OK, f"{counted(len(lanes), 'lane')} running: {', '.join(lanes)}")]


def _judge_lane(name: str, lane: Mapping[str, Any]) -> list[Finding]:
    state, reason = lane["state"], lane.get("reason")
    why = f" ({reason})" if reason else ""
    waiting = f"{counted(lane['ready'] + lane['later'], 'delivery', 'deliveries')} waiting"
    found = []
    if state == "paused":
        step = f"`convey destinations resume {name}` when the reason is gone: what waits too long expires"
        found.append(Finding("lanes", Level.WARNING, f"{name} is paused by a person{why}; {waiting}", step))
    elif state == "parked":
        step = "replace the secret, or grant the permission; the lane then goes on by itself, with nothing lost"
        found.append(Finding("lanes", Level.PROBLEM, f"{name} is parked{why}; {waiting}", step))
    elif state == "open":
        step = f"look at the platform's status page; `convey destinations resume {name}` tries it at once"
        found.append(Finding("lanes", Level.PROBLEM, f"{name} waits because the platform keeps failing{why}", step))
    elif state != "running":
        found.append(Finding("lanes", Level.UNKNOWN, f"{name} is {state}{why}"))
    elif (lane.get("oldest_age_s") or 0) > OLD_S:
        words = f"{name} runs, with {waiting}, the oldest for {span(lane['oldest_age_s'])}"
        found.append(Finding("lanes", Level.WARNING, words, "docs/lanes.md: is it rate limited, or is a cap set?"))
    for held in lane.get("paused_events") or ():
        step = f"`convey destinations resume {name} --event-name {held['event_name']}`"
        found.append(Finding("lanes", Level.WARNING, f"{name}: {held['event_name']} events are held back", step))
    return found


def judge_ledger(destinations: Mapping[str, Mapping[str, Any]], differences: int) -> list[Finding]:
    """Whether what was queued is accounted for, and agrees with what is stored; as `GET /v1/ledger?check=true` says."""
    step = "this is a fault of Convey's: keep a backup of the store, and report it"
    found = [
        Finding("ledger", Level.PROBLEM, f"{name}: the ledger does not close in {unit}", step)
        for name, account in destinations.items()
        for unit, terms in (("events", account), *account.get("money", {}).items())
        if Decimal(terms["queued"]) != sum((Decimal(terms[term]) for term in _LEDGER_TERMS), Decimal(0))
    ]
    if differences:
        words = f"the ledger and the store differ in {counted(differences, 'place')}"
        found.append(Finding("ledger", Level.PROBLEM, words, step))
    total = sum(int(account["queued"]) for account in destinations.values())
    words = f"closes at every destination, and agrees with what is stored ({total:,} deliveries ever queued)"
    return found or [Finding("ledger", Level.OK, words)]


@dataclass(frozen=True, slots=True)
class Sample:
    """Recent events with a transaction, as far as they were looked at.

    `ages_s` is how long ago the newest was accepted, per destination the newest that was queued and that was
    delivered; None for none. `names` counts event names, `without_signal` the events that came without any consent
    signal, `pending` per destination what is not settled. `looked_back_s` is how far it goes back.
    """

    events: int
    newest_age_s: float | None
    looked_back_s: float
    names: Mapping[str, int] = field(default_factory=dict)
    without_signal: int = 0
    denied: int = 0
    queued: Mapping[str, int] = field(default_factory=dict)
    delivered: Mapping[str, int] = field(default_factory=dict)
    pending: Mapping[str, int] = field(default_factory=dict)


def judge_freshness(source: str, sample: Sample, stale_after_s: float, *, is_new: bool = False) -> list[Finding]:
    """Whether events still arrive, and still reach every destination. `is_new`: the gateway never queued anything."""
    if sample.newest_age_s is None and is_new:
        step = "post a first one: `convey send` or POST /v1/events, docs/quickstart.md"
        return [Finding("freshness", Level.UNKNOWN, f"{source}: no order was ever accepted", step)]
    if sample.newest_age_s is None:
        words = f"{source}: no order was accepted within {span(sample.looked_back_s)}"
        return [Finding("freshness", Level.PROBLEM, words, "look at the backend that posts, and at its answers")]
    found = []
    if sample.newest_age_s > stale_after_s:
        words = f"{source}: the last order was accepted {span(sample.newest_age_s)} ago"
        found.append(Finding("freshness", Level.WARNING, words, "look at the backend that posts, and at its answers"))
    for name, queued in sample.queued.items():
        settled = queued - sample.pending.get(name, 0)
        if settled and not sample.delivered.get(name):
            words = f"{source}: of the last {counted(settled, 'order')} sent to {name}, none was delivered"
            step = f"`convey dead-letters list --destination {name}` says why"
            found.append(Finding("freshness", Level.PROBLEM, words, step))
    words = f"{source}: the last order was accepted {span(sample.newest_age_s)} ago"
    return found or [Finding("freshness", Level.OK, words)]


def judge_event_names(names: Mapping[str, int]) -> list[Finding]:
    """Whether events have standard names: a platform's models for purchases or leads do not learn from others."""
    custom = {name: number for name, number in names.items() if canonical_name(name)[1]}
    if not names:
        return [Finding("event_names", Level.UNKNOWN, "not checked: no recent orders to look at")]
    if not custom:
        return [Finding("event_names", Level.OK, f"all standard: {', '.join(sorted(names))}")]
    biggest = sorted(custom, key=lambda name: (-custom[name], name))
    close = [(name, meant) for name in biggest if (meant := meant_name(name)) is not None]
    words = (
        f"{counted(sum(custom.values()), 'event')} with {counted(len(custom), 'custom name')} (the platforms' "
        f"standard models do not learn from those): {_few([f'{name} {custom[name]:,}' for name in biggest])}"
    )
    steps = [f"rename {_few([f'{name} to {meant}' for name, meant in close])}"] if close else []
    steps += ["use a standard name where one fits: docs/api.md lists them"] if len(close) < len(custom) else []
    return [Finding("event_names", Level.WARNING, words, "; ".join(steps))]


def _few(told: Sequence[str]) -> str:
    """The first of them, and how many there are beside."""
    rest = len(told) - MOST_NAMES
    return ", ".join(told[:MOST_NAMES]) + (f" and {rest:,} more" if rest > 0 else "")


def judge_pairs(
    rows: Sequence[Mapping[str, Any]], conflicts: Sequence[Mapping[str, Any]], unwatched: Sequence[str]
) -> list[Finding]:
    """Whether the pixel's and the server's copies meet; as `GET /v1/audit/dedup` says.

    `unwatched` are the sources whose pixel fires and whose pages are not asked to report.
    """
    found = [
        Finding(
            "pairs",
            Level.UNKNOWN,
            f"{name}: its pages do not report what their pixel fires, so nobody knows whether the two copies pair",
            "set receipts: true for the source, and report from the page: docs/for-callers.md",
        )
        for name in unwatched
    ]
    for row in rows:
        total = int(row["events"])
        if total >= FEWEST:
            found += _judge_row(row, total)
    for each in conflicts:
        where = f"{each['source']}, {each['event_name']}"
        if each["id_reused"]:
            words = f"{where}: {counted(each['id_reused'], 'order')} asked for an id of another order and were not sent"
            step = "give each order an id of its own: leave event_id out and Convey makes one"
            found.append(Finding("pairs", Level.PROBLEM, words, step))
        if each["order_has_another_id"]:
            words = f"{where}: {counted(each['order_has_another_id'], 'order')} came again under another id, not sent"
            found.append(Finding("pairs", Level.WARNING, words, "post an order under the same event_id every time"))
    if not found and not rows:
        return [Finding("pairs", Level.UNKNOWN, "not checked: there is nothing to compare yet")]
    return found or [Finding("pairs", Level.OK, str(row["words"])) for row in rows]


def _judge_row(row: Mapping[str, Any], total: int) -> list[Finding]:
    verdicts = row["verdicts"]
    words = f"{row['source']}, {row['destination']}: {row['words']}"
    shares = {
        name: verdicts.get(name, 0) / total
        for name in ("name_mismatch", "browser_only", "server_only", "value_mismatch")
    }
    if shares["name_mismatch"] > MISMATCH:
        step = "let the pixel fire the name the server sends: the answer to POST /v1/events/explain shows it"
        return [Finding("pairs", Level.PROBLEM, words, step)]
    if shares["server_only"] > 1 - ONE_SIDED:
        step = "is the pixel there, does it report, and does it carry the event_id? docs/for-callers.md"
        return [Finding("pairs", Level.WARNING, words, step)]
    if shares["browser_only"] > ONE_SIDED:
        return [Finding("pairs", Level.WARNING, words, "post every order, and in time: `convey reconcile` names them")]
    if shares["value_mismatch"] > ONE_SIDED:
        return [Finding("pairs", Level.WARNING, words, "let page and backend report the same amount")]
    return []


def judge_consent(without_signal: int, events: int, since: str) -> Finding:
    """How many events came without any consent signal. `since` says of which time, in words."""
    if events < FEWEST:
        return Finding("consent", Level.UNKNOWN, f"not checked: only {counted(events, 'event')} {since}")
    share = without_signal / events
    words = f"{percent(without_signal, events)} of {counted(events, 'event')} {since} came without any consent signal"
    step = "pass what the consent banner said with each order: docs/consent.md. Without a signal nothing is sent"
    if share >= GAP_PROBLEM:
        return Finding("consent", Level.PROBLEM, words, step)
    return (
        Finding("consent", Level.WARNING, words, step) if share > GAP_WARNING else Finding("consent", Level.OK, words)
    )


def judge_leaks(found: Mapping[tuple[str, ...], int]) -> list[Finding]:
    """Whether personal data came in fields that are not for it: counts by kind and action, since the process began."""
    told = []
    for wanted in dict.fromkeys(action for (_, action), number in sorted(found.items()) if number):
        kinds = [
            f"{kind} {number:,}" for (kind, action), number in sorted(found.items()) if action == wanted and number
        ]
        words = f"found outside `user` since the gateway started, and {wanted}: {', '.join(kinds)}"
        step = "the warnings in the answers to POST /v1/events name the field; stop sending it there"
        if wanted == "reported":
            told.append(Finding("leaks", Level.PROBLEM, words, f"{step}, or set leak_policy: redact"))
        else:
            told.append(Finding("leaks", Level.WARNING, words, step))
    return told or [Finding("leaks", Level.OK, "none found since the gateway started")]


def judge_match_keys(rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Whether the identifiers that match customers are there; as `GET /v1/audit/match-keys` says."""
    if not rows:
        return [Finding("match_keys", Level.UNKNOWN, "not checked: no events were counted today")]
    found = [
        Finding(
            "match_keys",
            Level.WARNING,
            f"{row['destination']}, {row['event_name']}: fewer events carry {', '.join(row['dropped'])} than before",
            "look at what changed in the checkout or the backend: `convey audit match-keys`",
        )
        for row in rows
        if row.get("dropped")
    ]
    return found or [Finding("match_keys", Level.OK, "no identifier is carried by fewer events than before")]


def judge_rejects(rejects: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Whether events were refused as invalid; as `GET /v1/rejects` says, by pointer and code."""
    step = "`convey rejects` lists them; the answer to each request says more: mend the backend, and post them again"
    found = [
        Finding(
            "rejects",
            Level.WARNING,
            f"{counted(int(each['count']), 'event')} refused: {each['pointer'] or 'the whole event'} {each['code']}",
            step,
        )
        for each in rejects[:MOST_REJECTS]
    ]
    if len(rejects) > MOST_REJECTS:
        words = f"and {counted(len(rejects) - MOST_REJECTS, 'other kind')} of mistakes"
        found.append(Finding("rejects", Level.WARNING, words, "`convey rejects` lists them all"))
    return found or [Finding("rejects", Level.OK, "no event was refused as invalid since yesterday")]
