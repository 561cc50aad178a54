"""`convey events`: what was posted with `hold: true` let go, or ended unsent."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote, urlencode

import orjson
import typer
from rich.table import Table

from app.cli.client import DEFAULT_URL, Gateway, GatewayError, Key, Url
from app.cli.output import console, fail, printable

events_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

EventId = Annotated[str, typer.Argument(help="The event_id, as it was answered.", metavar="ID")]
EventName = Annotated[
    str | None, typer.Option("--event-name", help="Only this event, where several share the id.", metavar="EVENT")
]
Source = Annotated[str | None, typer.Option("--source", help="Another source; needs the scope admin.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the gateway's answer as JSON.")]


@events_app.callback()
def _events() -> None:
    """Let go what is held back, or end it unsent.

    Example: convey events release purchase_ORD-12345
    """


@events_app.command("release")
def release(
    event_id: EventId,
    event_name: EventName = None,
    source: Source = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Let go an event that was posted with `hold: true`: the order is paid. Doing it again changes nothing.

    Example: convey events release purchase_ORD-12345
    """
    _end_hold(event_id, "release", {"event_name": event_name, "source": source}, url, key, as_json)


@events_app.command("cancel")
def cancel(
    event_id: EventId,
    event_name: EventName = None,
    source: Source = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """End an event that was posted with `hold: true`, unsent: the order came to nothing.

    Example: convey events cancel purchase_ORD-12345
    """
    _end_hold(event_id, "cancel", {"event_name": event_name, "source": source}, url, key, as_json)


def _end_hold(event_id: str, verb: str, asked: dict[str, str | None], url: str, key: str | None, as_json: bool) -> None:
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    path = f"/v1/events/{quote(event_id, safe='')}/{verb}" + (f"?{query}" if query else "")
    try:
        with Gateway(url, key) as gateway:
            answer = gateway.ask("POST", path, takes=frozenset({200, 404, 409}))
    except GatewayError as error:
        fail(str(error))
    if "type" in answer:  # a problem: of an event, not of the call
        fail(printable(answer.get("detail") or answer.get("title")))
    if as_json:
        typer.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
    else:
        console().print(_table(answer))


def _table(answer: dict[str, Any]) -> Table:
    table = Table("event", "event_id", "status", "destinations")
    for result in answer.get("results") or ():
        fates = (result.get("destinations") or {}).items()
        told = "\n".join(f"{printable(name)} {printable(fate.get('outcome'))}" for name, fate in fates)
        names = (result.get("event_name"), result.get("event_id"), result.get("status"))
        table.add_row(*map(printable, names), told or "-")
    return table
