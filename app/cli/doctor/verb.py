"""`convey doctor`: the command."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from app.cli.client import DEFAULT_URL, Gateway, GatewayError, Key, Url
from app.cli.config import DEFAULT_FILE, ConfigFile
from app.cli.doctor.gateway import Metrics, ask_all, read_clock, read_metrics, step_after, without_gateway
from app.cli.output import FAILED, UNUSABLE, console, fail, printable
from app.config import Settings, load
from app.doctor import CHECKS, Finding, Level, is_sound, unknown
from app.doctor.findings import counted
from app.doctor.setup import ClockReading, Probe, judge_clock, judge_config, judge_store, judge_tokens, judge_versions
from app.errors import ConfigError
from app.notices import api_version, notices
from app.units import parse_duration

_MARKS = {Level.OK: "ok      ", Level.WARNING: "WARNING ", Level.PROBLEM: "PROBLEM ", Level.UNKNOWN: "unknown "}
_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "bold red", Level.UNKNOWN: "cyan"}


def doctor(
    config: ConfigFile = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    metrics_url: Annotated[
        str | None,
        typer.Option(
            "--metrics-url", metavar="URL", help="Origin of the metrics; as the configuration says if absent."
        ),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no platform: neither tokens nor the time.")] = False,
    stale_after: Annotated[
        str, typer.Option("--stale-after", metavar="TIME", help="How long without an order is worth a warning.")
    ] = "24h",
    strict: Annotated[
        bool, typer.Option("--strict", help="End with 1 also on a warning, and on what could not be checked.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look at everything that has to be right for events to arrive and to count, and say what to do about the rest.

    Reads the configuration where it is run, asks a running gateway (the key needs the scope read) and the platforms.
    Tokens are tried only by calls that count nothing. What could not be looked at is told as unknown, never as fine.
    Ends with 1 when there is a problem.

    Example: convey doctor --config convey.yaml --json
    """
    try:
        stale_after_s = parse_duration(stale_after).total_seconds()
    except ValueError as error:
        fail(f"--stale-after {error}", UNUSABLE)
    settings, found = _configuration(config)
    probes: Sequence[Probe] = ()
    clocks: Sequence[ClockReading] = ()
    if settings is None:
        found.append(unknown("tokens", "the configuration cannot be read here"))
    elif offline:
        found.append(unknown("tokens", "--offline asks no platform"))
    else:
        from app.cli.doctor.probes import probe_all  # noqa: PLC0415 - loads what sends; no other verb waits for it

        probed = asyncio.run(probe_all(settings))
        probes, clocks = probed.probes, probed.clocks
    metrics = _metrics(metrics_url, settings)
    told, delivered = _gateway(url, key, metrics, settings, clocks, stale_after_s)
    found += told
    if settings is not None and not offline:
        found += judge_tokens(probes, delivered)
    order = list(CHECKS)
    found.sort(key=lambda finding: order.index(finding.check))
    if as_json:
        typer.echo(orjson.dumps(_json(found, is_strict=strict), option=orjson.OPT_INDENT_2).decode())
    else:
        _show(found)
    if not is_sound(found, is_strict=strict):
        raise typer.Exit(FAILED)


def _configuration(path: Path | None) -> tuple[Settings | None, list[Finding]]:
    """The settings, as far as they can be read, and what they say of themselves."""
    path = path or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    if path is None:
        why = "there is no configuration here"
        step = "run it where the gateway runs, or give --config"
        return None, [unknown(check, why, step) for check in ("config", "versions")]
    try:
        settings = load(path, os.environ)
    except ConfigError as error:
        return None, [*judge_config(error.faults, (), 0, 0), unknown("versions", "the configuration cannot be used")]
    today = datetime.now(UTC).date()
    noticed = notices(settings.destinations, today)
    sizes = len(settings.sources), len(settings.destinations)
    found = judge_config((), (*settings.warnings, *noticed), *sizes)
    used = {destination.name: api_version(destination) for destination in settings.destinations}
    ended = frozenset(
        f"{destination.path}.api_version"
        for destination in settings.destinations
        if (known := used[destination.name][1]) is not None and known.sunset is not None and known.sunset <= today
    )
    return settings, [*found, *judge_versions(noticed, ended, {name: version for name, (version, _) in used.items()})]


def _metrics(url: str | None, settings: Settings | None) -> Metrics | str:
    if url is None and settings is not None and settings.server.metrics_port:
        host = settings.server.metrics_host
        host = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - to ask it, not to listen
        url = f"http://{f'[{host}]' if ':' in host else host}:{settings.server.metrics_port}"
    return read_metrics(url) if url is not None else "nobody said where the metrics are: give --metrics-url"


def _gateway(
    url: str,
    key: str | None,
    metrics: Metrics | str,
    settings: Settings | None,
    platforms: Sequence[ClockReading],
    stale_after_s: float,
) -> tuple[list[Finding], Mapping[str, int]]:
    """What the gateway says, what is judged with its help (the store, the clock), and what was delivered lately."""
    unready: str | None = None
    clock: ClockReading | None = None
    was_asked = False
    delivered: Mapping[str, int] = {}
    if key is None or not key.strip():
        found = without_gateway("no API key was given", "set CONVEY_KEY, or give --key")
        found.append(unknown("leaks", "no gateway was asked"))
    else:
        unwatched = (
            [source.name for source in settings.sources if source.pixel and not source.receipts] if settings else []
        )
        try:
            with Gateway(url, key, timeout_s=600.0) as gateway:
                ready, clock = read_clock(gateway)
                was_asked = True
                unready = str(ready.get("reason")) if ready.get("status") == "unready" else None
                found = _about(ready)
                told, sample = ask_all(gateway, metrics, unwatched, _source_of(key, settings), stale_after_s)
                found += told
                delivered = sample.delivered if sample is not None else {}
        except GatewayError as error:
            found = without_gateway(str(error), step_after(error))
            found[0] = Finding("gateway", Level.PROBLEM, str(error), step_after(error) or "start it, or mend --url")
            found.append(unknown("leaks", "the gateway does not answer" if error.status is None else str(error)))
    found.append(judge_clock(platforms, clock))
    if settings is None:
        weak = unknown("store", "the configuration cannot be read here")
        return [*found, *(judge_store("", (), unready, was_asked=True) if unready else [weak])], delivered
    store = settings.store
    return [*found, *judge_store(store.durability, store.warnings, unready, was_asked=was_asked)], delivered


def _about(ready: dict[str, Any]) -> list[Finding]:
    stalled = (ready.get("details") or {}).get("stalled") or []
    found = [
        Finding("gateway", Level.PROBLEM, f"the loop of {name} stands still", "restart the gateway, and report it")
        for name in stalled
    ]
    return found or [Finding("gateway", Level.OK, "answers, and knows the key")]


def _source_of(key: str, settings: Settings | None) -> str:
    digest = f"sha256:{hashlib.sha256(key.strip().encode()).hexdigest()}"
    for source in settings.sources if settings is not None else ():
        if any(each.hash == digest for each in source.keys):
            return source.name
    return "the key's source"


def _json(found: Sequence[Finding], *, is_strict: bool) -> dict[str, Any]:
    return {
        "ok": is_sound(found, is_strict=is_strict),
        "findings": [
            {"check": each.check, "level": each.level, "words": each.words, "next_step": each.next_step}
            for each in found
        ],
    }


def _show(found: Sequence[Finding]) -> None:
    out = console()
    before = None
    for each in found:
        if each.check != before:
            out.print(CHECKS[each.check], style="bold")
            before = each.check
        out.print(f"  {_MARKS[each.level]}", style=_STYLES[each.level], end="")
        out.print(printable(each.words), soft_wrap=True)
        if each.next_step is not None and each.level is not Level.OK:
            out.print(printable(f"            -> {each.next_step}"), soft_wrap=True)
    numbers = {level: sum(each.level is level for each in found) for level in Level}
    out.print(
        f"{counted(numbers[Level.PROBLEM], 'problem')}, {counted(numbers[Level.WARNING], 'warning')}, "
        f"{numbers[Level.UNKNOWN]} not checked, {numbers[Level.OK]} fine"
    )
