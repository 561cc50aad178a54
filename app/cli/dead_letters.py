"""`convey dead-letters`: what ended without arriving, shown, sent again, deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

import orjson
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from app.cli.client import DEFAULT_URL, Gateway, GatewayError, Key, Url
from app.cli.output import UNUSABLE, console, fail, printable

dead_letters_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

PATH = "/v1/dead-letters"
STEP = 1000
TIMEOUT_S = 600.0
"""How long looking at every one of millions may take."""
PATIENCE_S = 3600.0
"""How long a gateway without room for more is waited for at a stretch."""
OK = frozenset({200})

Destination = Annotated[str | None, typer.Option(help="Only of this destination.", metavar="NAME")]
ReasonOption = Annotated[
    str | None,
    typer.Option(
        help="Only those that died of this: rejected_by_platform, attempts_exhausted, outcome_unknown, "
        "purchase_not_delivered, body_unreadable.",
        metavar="REASON",
    ),
]
EventId = Annotated[str | None, typer.Option("--event-id", help="Only of this event.", metavar="ID")]
EventName = Annotated[str | None, typer.Option("--event-name", help="Only of this event name, e.g. Purchase.")]
Source = Annotated[str | None, typer.Option(help="Only of this source; all sources need the scope admin.")]
OlderThan = Annotated[str | None, typer.Option("--older-than", help="Dead for longer than, e.g. 24h.")]
NewerThan = Annotated[str | None, typer.Option("--newer-than", help="Dead for no longer than, e.g. 7d.")]
Everything = Annotated[bool, typer.Option("--all", help="All of them: needed when no other option says which.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing; say what is meant and what would become.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dead_letters_app.callback()
def _dead_letters() -> None:
    """Look at dead letters, send them again, delete them.

    Example: convey dead-letters list --destination meta
    """


@dead_letters_app.command("list")
def list_letters(
    destination: Destination = None,
    reason: ReasonOption = None,
    event_id: EventId = None,
    event_name: EventName = None,
    source: Source = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    limit: Annotated[int, typer.Option(min=0, help="How many to show one by one, oldest first.")] = 20,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Sum dead letters up by destination and reason, and show the oldest of them.

    "unsendable" are those whose time is over or whose event nobody can open: a replay would end them unsent.

    Example: convey dead-letters list --reason attempts_exhausted --older-than 24h
    """
    which = _which(destination, reason, event_id, event_name, source, older_than, newer_than)
    letters: list[Any] = []
    try:
        with Gateway(url, key, timeout_s=TIMEOUT_S) as gateway:
            query: dict[str, Any] = {**which, "summary": "true", "limit": max(1, min(limit, STEP))}
            answer = gateway.ask("GET", f"{PATH}?{urlencode(query)}", takes=OK)
            sums = _list(answer, "summary")
            letters += _list(answer, "dead_letters")[:limit]
            while answer.get("next") and len(letters) < limit:
                query = {**which, "limit": min(limit - len(letters), STEP), "cursor": answer["next"]}
                answer = gateway.ask("GET", f"{PATH}?{urlencode(query)}", takes=OK)
                letters += _list(answer, "dead_letters")
    except GatewayError as error:
        fail(str(error))
    if as_json:
        _print_json({"summary": sums, "dead_letters": letters})
        return
    out = console()
    if not sums:
        out.print("no dead letters" + (" fit" if which else ""))
        return
    out.print(_sum_table(sums))
    if letters:
        out.print(_letter_table(letters))
    hidden = sum(int(each["deliveries"]) for each in sums) - len(letters)
    if hidden > 0:
        out.print(f"{hidden} more not shown (--limit)")


@dead_letters_app.command("replay")
def replay(
    destination: Destination = None,
    reason: ReasonOption = None,
    event_id: EventId = None,
    event_name: EventName = None,
    source: Source = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    everything: Everything = False,
    only_sendable: Annotated[
        bool, typer.Option("--only-sendable", help="Leave alone those that would only end unsent.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Send dead letters again, under the same event_id, in the bulk share of their lanes. Needs the scope admin.

    Says first how many they are, what they are worth and how many would only end unsent, and asks. Stopped midway, it
    can be started again: what is pending is no dead letter any more.

    Example: convey dead-letters replay --destination meta --reason attempts_exhausted --dry-run
    """
    which = _which(destination, reason, event_id, event_name, source, older_than, newer_than)
    body: dict[str, Any] = {**which, **({"all": True} if everything else {}), "only_sendable": only_sendable}

    def ask(gateway: Gateway, more: Mapping[str, Any]) -> dict[str, Any]:
        return gateway.ask("POST", f"{PATH}/replay", body=orjson.dumps(body | dict(more)), takes=OK)

    _end("replay", "replayed", which, everything, ask, url, key, dry_run=dry_run, yes=yes, as_json=as_json)


@dead_letters_app.command("purge")
def purge(
    destination: Destination = None,
    reason: ReasonOption = None,
    event_id: EventId = None,
    event_name: EventName = None,
    source: Source = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Delete dead letters with their events, for good; the ledger keeps their counts. Needs the scope admin.

    Example: convey dead-letters purge --older-than 30d
    """
    which = _which(destination, reason, event_id, event_name, source, older_than, newer_than)

    def ask(gateway: Gateway, more: Mapping[str, Any]) -> dict[str, Any]:
        query = {**which, **({"all": "true"} if everything else {}), **more}
        if "dry_run" in query:
            query["dry_run"] = "true"
        return gateway.ask("DELETE", f"{PATH}?{urlencode(query)}", takes=OK)

    _end("purge", "purged", which, everything, ask, url, key, dry_run=dry_run, yes=yes, as_json=as_json)


def _which(*values: str | None) -> dict[str, str]:
    names = ("destination", "reason", "event_id", "event_name", "source", "older_than", "newer_than")
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def _end(
    verb: str,
    done: str,
    which: Mapping[str, str],
    everything: bool,
    ask: Callable[[Gateway, Mapping[str, Any]], dict[str, Any]],
    url: str,
    key: str | None,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Say what is meant, ask, and go through it step by step."""
    if not which and not everything:
        fail(f"say which to {verb}: --destination, --reason, --event-id, …, or --all", UNUSABLE)
    ended = 0
    try:
        with Gateway(url, key, timeout_s=TIMEOUT_S) as gateway:
            meant = ask(gateway, {"dry_run": True})
            total = int(meant["deliveries"])
            if dry_run and as_json:
                _print_json(meant)
                return
            if dry_run or not as_json:
                console(stderr=not dry_run).print(_told(verb, meant))
            if dry_run or not total:
                if as_json:
                    _print_json({done: 0})
                return
            if not yes:
                _confirm(verb, total)
            with _progress(done) as progress:
                task = progress.add_task(done, total=total)
                gateway.persist_s = PATIENCE_S
                gateway.on_wait = lambda why: progress.update(task, description=f"waiting: {why}")
                cursor = None
                while True:
                    step = ask(gateway, {"limit": STEP, **({} if cursor is None else {"cursor": cursor})})
                    ended += int(step["ended"])
                    progress.update(task, completed=ended, description=done)
                    cursor = step.get("next")
                    if cursor is None:
                        break
    except (GatewayError, AttributeError, KeyError, TypeError, ValueError) as error:
        words = str(error) if isinstance(error, GatewayError) else "the gateway's answer cannot be read"
        fail(f"{words}; {ended} were {done} before" if ended else words)
    if as_json:
        _print_json({done: ended})
    else:
        console().print(f"{ended} {done}")


def _confirm(verb: str, total: int) -> None:
    try:
        is_meant = typer.confirm(f"{verb} {total}?", err=True)
    except typer.Abort:
        fail(f"nothing was done: answer, or give --yes to {verb} without being asked", UNUSABLE)
    if not is_meant:
        fail("nothing was done")


def _told(verb: str, meant: Mapping[str, Any]) -> str:
    """What a dry run says, for a person."""
    lines = [f"{meant['deliveries']} to {verb}{_worth(meant)}"]
    for reason, tally in meant["unsendable"].items():
        words = {
            "outcome_unknown": "an earlier answer was lost and the platform would not recognise a repeat",
            "dedup_window_passed": "the platform could not pair them with the pixel's copy any more",
            "platform_window_passed": "too old for the platform",
            "body_unreadable": "the event was sealed under a key that is gone",
        }.get(reason, "")
        lines.append(f"  unsendable: {tally['deliveries']}{_worth(tally)}, {printable(reason)}: {words}")
    if meant["unsendable"]:
        lines.append(f"  that is {meant['unsendable_share']:.1%} of those that fit")
    return "\n".join(lines)


def _worth(tally: Mapping[str, Any]) -> str:
    amounts = ", ".join(f"{printable(amount)} {printable(currency)}" for currency, amount in tally["money"].items())
    return f" ({amounts})" if amounts else ""


def _progress(verb: str) -> Progress:
    out = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)


def _sum_table(sums: list[Any]) -> Table:
    table = Table("destination", "reason", "dead", "money", "unsendable")
    for each in sums:
        lost = sum(int(tally["deliveries"]) for tally in each["unsendable"].values())
        table.add_row(
            printable(each["destination"]),
            printable(each["reason"]),
            str(each["deliveries"]),
            ", ".join(f"{printable(amount)} {printable(name)}" for name, amount in each["money"].items()) or "-",
            str(lost),
        )
    return table


def _letter_table(letters: list[Any]) -> Table:
    table = Table("died", "destination", "event_id", "reason", "tries", "unsendable", "the platform's words")
    for column in table.columns:
        column.overflow = "fold"
    for each in letters:
        cells = (each.get(name) for name in ("destination", "event_id", "reason", "attempts", "unsendable", "detail"))
        died = printable(each.get("died_at"))[:19]
        table.add_row(died, *("-" if cell is None else printable(cell) for cell in cells))
    return table


def _list(answer: Mapping[str, Any], name: str) -> list[Any]:
    found = answer.get(name)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise GatewayError("the gateway's answer is not a list of dead letters")
    return found


def _print_json(value: Any) -> None:
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
