"""`convey size`: how much Redis a rate needs, and whether the platforms' quotas bear it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from app.cli.output import UNUSABLE, fail
from app.sizing import GIB, QUOTAS, USABLE, Demand, Load, Sizing, demand
from app.sizing import size as sized
from app.units import parse_duration, parse_size, spell_duration


def size(
    rate: Annotated[float, typer.Option(min=0.001, max=1e6, help="Events per second, at the peak.")],
    outage: Annotated[str, typer.Option(help="How long every platform may be away, such as 6h.")] = "6h",
    destinations: Annotated[int, typer.Option(min=1, max=100, help="Destinations an event goes to.")] = 4,
    server_memory: Annotated[str, typer.Option(help="Memory of one Redis server (its maxmemory).")] = "10GiB",
    journal: Annotated[str, typer.Option(help="store.journal_retention.")] = "7d",
    dedup_window: Annotated[str, typer.Option(help="The sources' dedup_window.")] = "48h",
    proofs: Annotated[str, typer.Option(help="consent.proof_retention; 0s leaves the proofs out.")] = "90d",
    workers: Annotated[int, typer.Option(min=1, max=1000, help="Worker processes.")] = 1,
) -> None:
    """Say what a store on Redis needs for a rate and an outage, from measured constants.

    Exit code 1 means that a quota does not bear the rate.

    Example: convey size --rate 100 --outage 6h --destinations 4 --journal 24h
    """
    try:
        load = Load(
            rate,
            parse_duration(outage),
            destinations,
            parse_size(server_memory),
            parse_duration(journal),
            parse_duration(dedup_window),
            parse_duration(proofs),
        )
    except ValueError as error:
        fail(str(error), UNUSABLE)
    if load.server_bytes < GIB // 4:
        fail("--server-memory must be 256MiB or more", UNUSABLE)
    needs = sized(load)
    for line in _memory_lines(load, needs):
        typer.echo(line)
    demands = [demand(quota, load, workers) for quota in QUOTAS]
    typer.echo("\nQuotas, where the event goes there:")
    for each in demands:
        typer.echo(_quota_line(each))
    typer.echo("\nMeasured on Redis 7.0 with full purchases (19 hashed identifiers); docs/sizing.md says how.")
    if not all(each.fits for each in demands):
        raise typer.Exit(1)


def _memory_lines(load: Load, needs: Sizing) -> list[str]:
    servers = "one server" if needs.servers == 1 else f"a cluster of {needs.servers} masters"
    outage = spell_duration(load.outage)
    lines = [
        f"Memory for {load.rate:g} events/s to {load.destinations} destinations, every platform away for {outage}:",
        f"  waiting      {_amount(needs.waiting_bytes)}",
        f"  journal      {_amount(needs.journal_bytes)}  what became of events, {_span(load.journal_retention)}",
        f"  remembered   {_amount(needs.remembered_bytes)}  ids, for the rest of {_span(load.dedup_window)}",
        f"  proofs       {_amount(needs.proof_bytes)}  of consent decisions, {_span(load.proof_retention)}",
        f"  in all       {_amount(needs.memory_bytes)}",
        "",
        f"Servers: {servers} of {_amount(load.server_bytes).strip()}, filled to {USABLE:.0%} at the most; "
        f"store.partitions: {needs.partitions}; each busy for {needs.busy:.0%} of a core",
    ]
    if needs.survives:
        lines.append(f"One such server holds an outage of {_span(needs.survives)} at this rate.")
    else:
        lines.append(
            "One such server does not hold what is remembered at this rate, without any outage: "
            "shorten store.journal_retention or consent.proof_retention, or add servers."
        )
    return lines


def _quota_line(each: Demand) -> str:
    quota = each.quota
    verdict = "fits" if each.fits else "TOO MUCH"
    catch_up = (
        "it never catches up" if each.catch_up is None else f"it lets the backlog leave in {_span(each.catch_up)}"
    )
    return (
        f"  {quota.platform:9} {verdict:9} {each.per_minute:,.0f} of {quota.per_minute:,} requests a minute, "
        f"{each.per_day:,.0f} of {quota.per_day:,} a day; {catch_up} ({quota.source})"
    )


def _amount(number: int) -> str:
    return f"{number / GIB:8.2f} GiB"


def _span(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds} s"
