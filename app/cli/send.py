"""`convey send`: posts the events of a file and shows what became of each."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import orjson
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from app.cli.client import DEFAULT_URL, Gateway, GatewayError, Key, Url
from app.cli.events_file import FileError, batches, read_events
from app.cli.output import FAILED, UNUSABLE, console, fail, printable
from app.errors import Status

FEW = 50
"""Up to so many events the table has them all; beyond, only those worth a look."""


def send(
    file: Annotated[str, typer.Argument(help="A JSON object, a list, {'events': []} or NDJSON; - is standard input.")],
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the raw results as JSON.")] = False,
) -> None:
    """Post the events of a file and show what became of each.

    Sending a file again is safe: what was queued before is not queued again. Ends with 1 when an event is invalid.

    Example: convey send orders.ndjson --url http://127.0.0.1:8000
    """
    try:
        events = read_events(file)
    except FileError as error:
        fail(str(error), UNUSABLE)
    results: list[dict[str, Any]] = []
    refusal: str | None = None
    with Gateway(url, key) as gateway, _progress(len(events)) as progress:
        task = progress.add_task("sending", total=len(events))
        offset = 0
        for count, body in batches(events):
            try:
                results += _post(gateway, body, offset, count)
            except GatewayError as error:
                refusal = str(error)
                break
            offset += count
            progress.advance(task, count)
    if as_json:
        typer.echo(orjson.dumps({"results": results}, option=orjson.OPT_INDENT_2).decode())
    elif results:
        _show(results)
    if refusal is not None:
        sent = f"; {len(results)} of {len(events)} events were sent before, sending all again is safe"
        fail(refusal + (sent if results else ""))
    if any(result.get("status") == Status.INVALID for result in results):
        raise typer.Exit(FAILED)


def _post(gateway: Gateway, body: bytes, offset: int, count: int) -> list[dict[str, Any]]:
    """The results of one request, their `index` counted over the whole file."""
    answer = gateway.ask("POST", "/v1/events", body=body, takes=frozenset({202, 422}))
    results = answer.get("results")
    if not isinstance(results, list) or len(results) != count or not all(isinstance(item, dict) for item in results):
        raise GatewayError("the gateway did not answer with one result per event")
    return [{**result, "index": offset + position} for position, result in enumerate(results)]


def _progress(total: int) -> Progress:
    out = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal or total <= FEW)


def _show(results: list[dict[str, Any]]) -> None:
    shown = results if len(results) <= FEW else [result for result in results if _is_notable(result)]
    out = console()
    if shown:
        table = Table("#", "event_id", "status", "destinations", "notes", title_justify="left")
        for column in table.columns:
            column.overflow = "fold"
        for result in shown[: 10 * FEW]:
            table.add_row(
                str(result["index"]),
                printable(result.get("event_id") or "-"),
                printable(result.get("status")),
                "\n".join(_fate(name, verdict) for name, verdict in (result.get("destinations") or {}).items()) or "-",
                "\n".join(_note(note) for part in ("errors", "warnings") for note in result.get(part) or ()) or "-",
            )
        out.print(table)
    counts = Counter(printable(result.get("status")) for result in results)
    told = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
    hidden = len(results) - len(shown[: 10 * FEW])
    out.print(f"{len(results)} event(s): {told}" + (f"; {hidden} not shown (--json has all)" if hidden else ""))


def _is_notable(result: dict[str, Any]) -> bool:
    return result.get("status") in {Status.INVALID, Status.CONFLICT} or bool(result.get("warnings"))


def _fate(name: str, verdict: Any) -> str:
    verdict = verdict if isinstance(verdict, dict) else {}
    text = f"{printable(name)} {printable(verdict.get('outcome', '?'))}"
    if verdict.get("limited"):
        text += " (limited)"
    if verdict.get("held_until"):
        text += " (held)"
    reason = ": ".join(printable(verdict[part]) for part in ("reason", "reason_detail") if verdict.get(part))
    return f"{text} ({reason})" if reason else text


def _note(note: Any) -> str:
    if not isinstance(note, dict):
        return printable(note)
    return " ".join(printable(note[part]) for part in ("code", "pointer", "detail") if note.get(part))
