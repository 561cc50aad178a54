"""`convey audit match-keys`: which identifiers events carry, and what the missing ones cost."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from app.cli.client import DEFAULT_URL, Key, Url, asked
from app.cli.output import console, printable, tell_answer

COMPARED = ("today", "yesterday", "week_ago", "week_mean", "from_contexts")


def match_keys(
    url: Url = DEFAULT_URL,
    key: Key = None,
    event_name: Annotated[str | None, typer.Option("--event-name", help="Only this event, such as Purchase.")] = None,
    destination: Annotated[str | None, typer.Option("--destination", help="Only this destination.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="Another source; needs the scope admin.")] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=35, help="Days in the JSON, today included (UTC).")] = 9,
    as_json: Annotated[bool, typer.Option("--json", help="Print the gateway's answer as JSON.")] = False,
) -> None:
    """Show which match keys events carry per destination, against yesterday and last week, and what to do.

    Strong keys first, as the platforms rank them. A verdict in words follows the table.

    Example: convey audit match-keys --event-name Purchase --destination meta
    """
    answer = asked(
        url, key, "/v1/audit/match-keys", days=days, event_name=event_name, destination=destination, source=source
    )
    tell_answer(answer, _show, as_json=as_json)


def _show(answer: dict[str, Any]) -> None:
    out = console()
    rows, names = answer.get("rows") or [], answer.get("custom_names") or []
    if not rows:
        out.print("nothing to tell: no event that fits was queued in these days")
        return
    table = Table("source", "event", "destination", "key", "weight", title=printable(answer.get("day")))
    for column in COMPARED:
        table.add_column(column.replace("_", " "), justify="right")
    for row in rows:
        shown = (row["source"], row["event_name"], f"{row['destination']} ({row['events']})")
        for each in row["keys"]:
            shares = [_percent(each.get(column)) for column in COMPARED]
            table.add_row(*map(printable, shown), printable(each["key"]), printable(each["weight"]), *shares)
            shown = ("", "", "")
        table.add_section()
    out.print(table)
    for row in rows:
        out.print(printable(row["words"]))
    for each in names:
        told = f"{each['source']}: {each['events']} events are called {each['event_name']}, a custom name"
        out.print(printable(f"{told}: send {each['use']}"))


def _percent(share: Any) -> str:
    return f"{100 * share:.0f} %" if isinstance(share, int | float) else "–"
