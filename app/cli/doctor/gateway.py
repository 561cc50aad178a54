"""Asks a running gateway; what it does not answer is a finding as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import httpx
from prometheus_client.parser import text_string_to_metric_families

from app import facts
from app.cli.client import Gateway, GatewayError
from app.doctor import Finding, Level, unknown
from app.doctor.setup import ClockReading
from app.doctor.traffic import (
    FEWEST,
    Sample,
    judge_consent,
    judge_event_names,
    judge_freshness,
    judge_lanes,
    judge_leaks,
    judge_ledger,
    judge_match_keys,
    judge_pairs,
    judge_rejects,
)

OK = frozenset({200})
WINDOWS = (timedelta(minutes=5), timedelta(hours=1), timedelta(days=1), timedelta(days=7))
"""How far back is looked for orders, one after another, until there are enough."""
MOST_PAGES = 300
ENOUGH = 2000
NEEDS_KEY = ("lanes", "ledger", "freshness", "event_names", "pairs", "consent", "match_keys", "rejects")
"""Checks that only a gateway can answer."""
Metrics = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


def read_clock(gateway: Gateway) -> tuple[dict[str, Any], ClockReading | None]:
    """What /readyz says, and how far the gateway's clock is ahead of this machine's.

    Raises: GatewayError.
    """
    asked_at = datetime.now(UTC)
    answer = gateway.ask("GET", "/readyz", takes=frozenset({200, 503}))
    ahead = ahead_s(gateway.date or "", asked_at, datetime.now(UTC))
    return answer, None if ahead is None else ClockReading("gateway", ahead)


def ahead_s(date: str, asked_at: datetime, answered_at: datetime) -> float | None:
    """How far the clock behind a Date header is ahead of ours, within about a second; None where it says nothing."""
    try:
        told = parsedate_to_datetime(date)
    except ValueError:
        return None
    middle = asked_at + (answered_at - asked_at) / 2
    return (told.replace(tzinfo=told.tzinfo or UTC) - middle).total_seconds() + 0.5  # it has whole seconds, cut off


def read_metrics(url: str) -> Metrics | str:
    """Every sample of the gateway's metrics by name and labels, or why there is none."""
    try:
        reply = httpx.get(f"{url.rstrip('/')}/metrics", timeout=10, trust_env=False)
        if reply.status_code != 200:
            return f"the metrics answer HTTP {reply.status_code}"
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(reply.text)
            for sample in family.samples
        }
    except (httpx.HTTPError, httpx.InvalidURL):
        return "no metrics answer there: give their address with --metrics-url"
    except ValueError:
        return "what answers at --metrics-url is no metrics page"


def ask_all(
    gateway: Gateway, metrics: Metrics | str, unwatched: Sequence[str], source: str, stale_after_s: float
) -> tuple[list[Finding], Sample | None]:
    """Every finding about what goes through the gateway, and the recent orders they are made of, if there are any."""
    queued: list[int] = []

    def judge_accounts(told: Any) -> list[Finding]:
        queued.append(sum(int(account["queued"]) for account in told["destinations"].values()))
        return judge_ledger(told["destinations"], len(told["check"]["differences"]))

    found = [
        *_asked(gateway, "lanes", "/v1/destinations", lambda told: judge_lanes(told["workers"], told["destinations"])),
        *_asked(gateway, "ledger", "/v1/ledger?check=true", judge_accounts),
        *_asked(
            gateway,
            "pairs",
            "/v1/audit/dedup?days=7",
            lambda told: judge_pairs(told["rows"], told["conflicts"], unwatched),
        ),
        *_asked(gateway, "rejects", "/v1/rejects?days=2", lambda told: judge_rejects(told["rejects"])),
        *_asked(gateway, "match_keys", "/v1/audit/match-keys", lambda told: judge_match_keys(told["rows"])),
    ]
    sample: Sample | None = None
    try:
        sample = _sample(gateway)
    except GatewayError as error:
        found += [unknown(check, str(error), step_after(error)) for check in ("freshness", "event_names")]
    if sample is not None:
        found += judge_freshness(source, sample, stale_after_s, is_new=queued == [0])
        found += judge_event_names(sample.names)
    found.append(_consent(metrics, sample))
    found += (
        judge_leaks(_sums(metrics, "convey_leaks_total", "kind", "action"))
        if not isinstance(metrics, str)
        else [unknown("leaks", metrics)]
    )
    return found, sample


def _asked(gateway: Gateway, check: str, path: str, judge: Callable[[Any], list[Finding]]) -> list[Finding]:
    """What is judged of one answer; a call that an older gateway does not know is unknown."""
    try:
        told = gateway.ask("GET", path, takes=frozenset({200, 404}))
        if told.get("status") == 404:
            return [unknown(check, "the gateway does not know this call: it is of an older version", "update it")]
        return judge(told)
    except GatewayError as error:
        return [unknown(check, str(error), step_after(error))]
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
        return [unknown(check, "the gateway's answer makes no sense here: is it of another version?")]


def step_after(error: GatewayError) -> str | None:
    """What to do about a key that was refused; None where the error says it all."""
    return {
        401: "give a key of this gateway (CONVEY_KEY, or --key): its configuration lists their hashes, under sources",
        403: "give a key with the scope read: this one is known, and lacks it",
    }.get(error.status or 0)


def _sample(gateway: Gateway) -> Sample:
    """Recent orders of the key's source, from ever further back until there are enough.

    Raises: GatewayError.
    """
    for window in WINDOWS:
        now = datetime.now(UTC)
        events = _accepted(gateway, now - window)
        if len(events) >= FEWEST or window == WINDOWS[-1]:
            return sample_of(events, now, window)
    raise AssertionError("the last window gives a sample")


def _accepted(gateway: Gateway, since: datetime) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    query = {"since": since.isoformat()}
    for _ in range(MOST_PAGES):
        told = gateway.ask("GET", f"/v1/transactions?{urlencode(query)}", takes=OK)
        if not isinstance(told.get("events"), list):
            raise GatewayError("the gateway did not answer with the orders it accepted")
        events += told["events"]
        if told.get("next") is None or len(events) >= ENOUGH:
            break
        query["cursor"] = str(told["next"])
    return events


def sample_of(events: Sequence[Mapping[str, Any]], now: datetime, window: timedelta) -> Sample:
    """What these events, as `GET /v1/transactions` tells them, amount to."""
    names, queued, delivered, pending = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    without_signal = denied = 0
    newest: datetime | None = None
    for event in events:
        names[str(event["event_name"])] += 1
        at = facts.instant(event["accepted_at"])
        newest = at if newest is None or (at is not None and at > newest) else newest
        told = event["destinations"]
        without_signal += any(each["reason"] == "consent_missing" for each in told.values())
        denied += any(each["outcome"] == "denied" for each in told.values())
        for name, each in told.items():
            if each["outcome"] not in {"denied", "skipped"}:
                queued[name] += 1
                delivered[name] += each["outcome"] == "delivered"
                pending[name] += each["outcome"] in {"queued", "retrying"}
    age_s = None if newest is None else max(0.0, (now - newest).total_seconds())
    return Sample(len(events), age_s, window.total_seconds(), names, without_signal, denied, queued, delivered, pending)


def _consent(metrics: Metrics | str, sample: Sample | None) -> Finding:
    """From the metrics, which know every event, or else from recent orders."""
    if not isinstance(metrics, str):
        came = _sums(metrics, "convey_consent_signals_total", "signal", "state")
        absent = came["any", "absent"]
        if (events := absent + came["any", "valid"]) >= FEWEST:
            return judge_consent(absent, events, "since the gateway started")
    if sample is None:
        return unknown("consent", "neither metrics nor recent orders could be read")
    return judge_consent(sample.without_signal, sample.events, "among the last orders")


def _sums(metrics: Metrics, name: str, *labels: str) -> Counter[tuple[str, ...]]:
    """One counter summed up by some of its labels."""
    sums = Counter[tuple[str, ...]]()
    for (sample, of), value in metrics.items():
        if sample == name:
            told = dict(of)
            sums[tuple(told[label] for label in labels)] += int(value)
    return sums


def without_gateway(why: str, step: str | None) -> list[Finding]:
    """The findings where no gateway could be asked."""
    found = [unknown(check, why, step) for check in NEEDS_KEY]
    return [Finding("gateway", Level.UNKNOWN, f"not asked: {why}", step), *found]
