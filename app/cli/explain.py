"""`convey explain`: what would become of the events of a file, without keeping or sending anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Annotated, Any

import orjson
import typer
from rich.table import Table

from app.cli.client import DEFAULT_URL, Gateway, GatewayError, Key, Url
from app.cli.events_file import FileError, batches, read_events
from app.cli.output import FAILED, UNUSABLE, console, fail, printable
from app.errors import Status

AT_ONCE = 100
"""Events one request may have explained."""


def explain(
    file: Annotated[str, typer.Argument(help="A JSON object, a list, {'events': []} or NDJSON; - is standard input.")],
    url: Url = DEFAULT_URL,
    key: Key = None,
    requests: Annotated[
        bool, typer.Option("--requests", help="Print the requests to the platforms too, secrets masked.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the gateway's answers as JSON.")] = False,
) -> None:
    """Explain what would become of events: consent, event_id, identifiers, the requests. Keeps and sends nothing.

    Ends with 1 when an event is invalid.

    Example: convey explain order.json --requests
    """
    try:
        events = read_events(file)
    except FileError as error:
        fail(str(error), UNUSABLE)
    results: list[dict[str, Any]] = []
    try:
        with Gateway(url, key) as gateway:
            for body in _bodies(iter(events)):
                answer = gateway.ask("POST", "/v1/events/explain", body=body, takes=frozenset({200}))
                found = enumerate(answer.get("results") or (), len(results))
                results += [{**result, "index": index} for index, result in found]
    except GatewayError as error:
        fail(str(error))
    if as_json:
        typer.echo(orjson.dumps({"results": results}, option=orjson.OPT_INDENT_2).decode())
    else:
        for result in results:
            _show(result, with_requests=requests)
    if any(result.get("status") == Status.INVALID for result in results):
        raise typer.Exit(FAILED)


def _bodies(events: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    while few := list(islice(events, AT_ONCE)):
        yield from (body for _, body in batches(few))


def _show(result: Mapping[str, Any], *, with_requests: bool) -> None:
    out = console()
    event = result.get("event") or {}
    name = f"{event['event_name']}, " if event else ""
    whose = f" (from {result['event_id_from']})" if result.get("event_id_from") else ""
    out.print(
        printable(f"event {result['index']}: {name}{result.get('status')}, {result.get('event_id') or '-'}{whose}")
    )
    for kind in ("errors", "warnings"):
        for note in result.get(kind) or ():
            out.print(printable(f"  {kind[:-1]}: {note['pointer']} {note['code']}: {note['detail']}"))
    digests = event.get("identity", {}).get("digests", {})
    if digests:
        out.print(printable(f"  hashed as {', '.join(sorted(digests))}"))
    lanes = result.get("destinations") or {}
    if lanes:
        table = Table("destination", "outcome", "match keys", "missing, strongest first", title_justify="left")
        for where, lane in lanes.items():
            table.add_row(printable(where), _outcome(lane), *_keys(lane.get("match_keys")))
        out.print(table)
    for where, lane in lanes.items():
        for request in lane.get("requests") or () if with_requests else ():
            out.print(printable(f"{where}: {request['method']} {request['url']}"))
            for header, value in request["headers"].items():
                out.print(printable(f"{header}: {value}"))
            typer.echo(orjson.dumps(request["body"], option=orjson.OPT_INDENT_2).decode())


def _outcome(lane: Mapping[str, Any]) -> str:
    reason = ": ".join(printable(lane[part]) for part in ("reason", "reason_detail") if lane.get(part))
    limited = " (limited)" if lane.get("limited") else ""
    return f"{printable(lane.get('outcome'))}{limited}" + (f" ({reason})" if reason else "")


def _keys(keys: Mapping[str, Any] | None) -> tuple[str, str]:
    if keys is None:
        return "-", "-"
    enough = "" if keys["is_enough"] else "not enough; needs " + keys["minimum"]
    missing = [f"{each['key']} ({each['field']})" for each in keys["missing"] if each["weight"] == "strong"]
    present = ", ".join(keys["present"]) or "none"
    return printable(f"{present}{'; ' + enough if enough else ''}"), printable(", ".join(missing) or "-")
