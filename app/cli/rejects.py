"""`convey rejects`: what a running gateway refused lately."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from app.cli.client import DEFAULT_URL, Key, Url, asked
from app.cli.output import console, printable, tell_answer


def rejects(
    url: Url = DEFAULT_URL,
    key: Key = None,
    days: Annotated[int, typer.Option("--days", min=1, max=7, help="How many days, today included (UTC).")] = 7,
    source: Annotated[str | None, typer.Option("--source", help="Another source; needs the scope admin.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Most kinds of faults shown.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print the gateway's answer as JSON.")] = False,
) -> None:
    """Show what was refused lately: invalid events by where their fault lies, and whole requests.

    Pointers and codes only, never a value. `*` stands for a position in a list, or for a key that is no field.

    Example: convey rejects --days 1
    """
    answer = asked(url, key, "/v1/rejects", days=days, limit=limit, source=source)
    tell_answer(answer, _show, as_json=as_json)


def _show(answer: dict[str, Any]) -> None:
    out = console()
    events, requests = answer.get("rejects") or [], answer.get("requests") or []
    out.print(printable(f"{answer.get('first_day')} to {answer.get('last_day')}"))
    if not events and not requests:
        out.print("nothing was refused")
    if events:
        table = Table("source", "pointer", "code", "count", "today", "last seen (UTC)", "events")
        for each in events:
            names = ", ".join(f"{name} {number}" for name, number in each["event_names"].items())
            table.add_row(
                *map(printable, (each["source"], each["pointer"] or "/", each["code"])), *_counted(each), names
            )
        out.print(table)
    if answer.get("more"):
        out.print(printable(f"{answer['more']} more kinds of faults: see --limit"))
    if requests:
        table = Table("source", "whole requests", "count", "today", "last seen (UTC)")
        for each in requests:
            table.add_row(printable(each["source"] or "no usable key"), printable(each["title"]), *_counted(each))
        out.print(table)


def _counted(each: dict[str, Any]) -> tuple[str, str, str]:
    last_seen = str(each["last_seen"])[:19].replace("T", " ")
    return printable(each["count"]), printable(each["today"]), printable(last_seen)
