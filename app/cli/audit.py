"""`convey audit`: the audits of a running gateway; here whether the page's and the server's copies of events meet."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from app.cli.client import DEFAULT_URL, Key, Url, asked
from app.cli.match_keys import match_keys
from app.cli.output import console, printable, tell_answer
from app.dedup.pairs import MOST_CONFLICTS

audit_app = typer.Typer(no_args_is_help=True, help="Audits of a running gateway.")

audit_app.command("match-keys")(match_keys)

VERDICTS = ("paired", "server_only", "browser_only", "name_mismatch", "value_mismatch")


@audit_app.command("dedup")
def dedup(
    url: Url = DEFAULT_URL,
    key: Key = None,
    days: Annotated[int, typer.Option("--days", min=1, max=400, help="How many days, today included (UTC).")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print the gateway's answer as JSON.")] = False,
) -> None:
    """Show whether the two copies of events meet, per event name and destination, with a verdict in words.

    Example: convey audit dedup --days 1
    """
    tell_answer(asked(url, key, "/v1/audit/dedup", days=days), _show, as_json=as_json)


def _show(answer: dict[str, Any]) -> None:
    out = console()
    rows, conflicts = answer.get("rows") or [], answer.get("conflicts") or []
    out.print(printable(f"{answer.get('first_day')} to {answer.get('last_day')}"))
    if not rows:
        out.print("nothing to compare: no page reported receipts, or its events are not due yet")
    else:
        table = Table("source", "event", "destination", *(verdict.replace("_", " ") for verdict in VERDICTS))
        for row in rows:
            counts = [str(row["verdicts"].get(verdict, 0)) for verdict in VERDICTS]
            table.add_row(*(printable(row[part]) for part in ("source", "event_name", "destination")), *counts)
        out.print(table)
        for row in rows:
            out.print(printable(row["words"]))
    for each in conflicts:
        name = f"{each['source']}, {each['event_name']}"
        if each["id_reused"]:
            out.print(
                printable(f"{name}: {_told(each['id_reused'])} orders asked for the id of another order; none was sent")
            )
        if each["order_has_another_id"]:
            out.print(
                printable(f"{name}: {_told(each['order_has_another_id'])} orders came again under another id; not sent")
            )


def _told(conflicts: int) -> str:
    """A number of conflicts; of one id no more than so many are counted."""
    return f"{conflicts} or more" if conflicts >= MOST_CONFLICTS else str(conflicts)
