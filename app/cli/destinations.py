"""`convey destinations`: the lanes shown, held back, let go again; a removed one retired."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import orjson
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from app.cli.client import DEFAULT_URL, Gateway, GatewayError, Key, Url
from app.cli.config import ConfigFile, load_or_fail
from app.cli.output import UNUSABLE, console, fail, printable
from app.config import Settings
from app.errors import ConveyError

if TYPE_CHECKING:
    from app.delivery.retire import Estate

destinations_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

PATH = "/v1/destinations"
OK = frozenset({200})

Name = Annotated[str, typer.Argument(help="Name of the destination, as configured.", metavar="NAME")]
EventName = Annotated[
    str | None,
    typer.Option("--event-name", help="Only events of this standard name; `custom` for all others.", metavar="EVENT"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the gateway's answer as JSON.")]


@destinations_app.callback()
def _destinations() -> None:
    """Look at the lanes, hold them back, let them go again; retire a destination that is no more.

    Example: convey destinations list
    """


@destinations_app.command("list")
def list_destinations(url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False) -> None:
    """Show each lane: whether it runs, and if not why; what waits, and how old the oldest is.

    Example: convey destinations list --url http://127.0.0.1:8000
    """
    answer = _ask(url, key, "GET", PATH)
    if as_json:
        _print_json(answer)
        return
    lanes = answer.get("destinations")
    if not isinstance(lanes, dict):
        fail("the gateway's answer names no destinations")
    out = console()
    out.print(_table(lanes))
    workers = answer.get("workers")
    out.print(f"{workers} worker{'' if workers == 1 else 's'}")


@destinations_app.command("pause")
def pause(
    name: Name,
    event_name: EventName = None,
    rate_per_minute: Annotated[
        int | None,
        typer.Option("--rate-per-minute", min=1, max=10_000_000, help="Do not hold it, but cap it: events a minute."),
    ] = None,
    duration: Annotated[str | None, typer.Option("--for", help="Until it ends by itself, e.g. 30m.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for those who look later.")] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Hold back a destination, one event name of it, or what goes beyond a rate. Needs the scope admin.

    Nothing is lost: what is held back waits, within its time.

    Example: convey destinations pause meta --event-name PageView --for 2h --reason "incident 7"
    """
    wanted = {"event_name": event_name, "rate_per_minute": rate_per_minute, "for": duration, "reason": reason}
    body = orjson.dumps({field: value for field, value in wanted.items() if value is not None})
    _steer(url, key, name, "pause", body, as_json)


@destinations_app.command("resume")
def resume(
    name: Name, event_name: EventName = None, url: Url = DEFAULT_URL, key: Key = None, as_json: AsJson = False
) -> None:
    """Lift every pause and cap of a destination, or that of one event name. Needs the scope admin.

    A lane that is parked or open is tried at once.

    Example: convey destinations resume meta
    """
    body = orjson.dumps({} if event_name is None else {"event_name": event_name})
    _steer(url, key, name, "resume", body, as_json)


@destinations_app.command("forget")
def forget(
    name: Annotated[str, typer.Argument(help="Name of a destination that is no longer configured.", metavar="NAME")],
    config: ConfigFile = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before.")] = False,
) -> None:
    """End everything that waits for a destination that was removed from the configuration, for good.

    Opens the store itself, as the gateway would not start. Deliveries end as withdrawn (cancelled) and stay in the
    ledger; dead letters lose their events. With SQLite no gateway may be running.

    Example: convey destinations forget old-pixel --config convey.yaml
    """
    settings = load_or_fail(config)
    if name in {destination.name for destination in settings.destinations} | set(settings.disabled):
        fail(f"{printable(name)} is configured: take it out of the configuration first", UNUSABLE)
    try:
        asyncio.run(_forget(settings, name, yes=yes))
    except ConveyError as error:
        fail(str(error))


async def _forget(settings: Settings, name: str, *, yes: bool) -> None:
    from app.delivery.board import Board  # noqa: PLC0415 - only this verb opens a store
    from app.delivery.retire import estate, retire  # noqa: PLC0415
    from app.stores import opened, utc_now  # noqa: PLC0415

    names = [destination.name for destination in settings.destinations]
    async with opened(settings.store, names, None) as store:
        left = await estate(store, name)
        if not left.is_known:
            fail(f"nothing was ever queued for {printable(name)}")
        typer.echo(_words(name, left))
        if not yes and not typer.confirm("End it for good?"):
            fail("nothing was changed")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console(stderr=True), transient=True) as progress:
            bar = progress.add_task("ending", total=left.pending)
            ended = await retire(store, Board(store, utc_now), name, lambda number: progress.advance(bar, number))
        typer.echo(f"{printable(name)}: {ended} deliveries ended as withdrawn; the ledger keeps them")


def _words(name: str, left: Estate) -> str:
    money = ", ".join(f"{amount:f} {currency}" for currency, amount in sorted(left.money.items()))
    worth = f" worth {money}" if money else ""
    ends = "1 delivery" + worth + " ends" if left.pending == 1 else f"{left.pending} deliveries{worth} end"
    letters = "1 dead letter loses its event" if left.dead == 1 else f"{left.dead} dead letters lose their events"
    return f"{printable(name)}: {ends} unsent" + (f", and {letters}" if left.dead else "")


def _ask(url: str, key: str | None, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
    try:
        with Gateway(url, key) as gateway:
            return gateway.ask(method, path, body=body, takes=OK)
    except GatewayError as error:
        fail(str(error))


def _steer(url: str, key: str | None, name: str, verb: str, body: bytes, as_json: bool) -> None:
    answer = _ask(url, key, "POST", f"{PATH}/{quote(name, safe='')}/{verb}", body)
    if as_json:
        _print_json(answer)
    else:
        console().print(_table({name: answer}))


def _print_json(answer: Any) -> None:
    typer.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())


def _table(lanes: Mapping[str, Any]) -> Table:
    table = Table("destination", "state", "since", "until", "reason")
    for heading in ("ready", "later", "held", "in flight", "oldest", "cap / min"):
        table.add_column(heading, justify="right")
    table.add_column("paused events")
    for name, lane in lanes.items():
        paused = ", ".join(str(each.get("event_name")) for each in lane.get("paused_events") or ())
        cells = [
            name,
            lane.get("state"),
            _instant(lane.get("since")),
            _instant(lane.get("until")),
            lane.get("reason") or "",
            lane.get("ready"),
            lane.get("later"),
            lane.get("held"),
            lane.get("in_flight"),
            _age(lane.get("oldest_age_s")),
            lane.get("rate_per_minute") or "",
            paused,
        ]
        table.add_row(*(printable(cell) for cell in cells))
    return table


def _instant(text: Any) -> str:
    """To the second, as it is."""
    return f"{str(text)[:19]}Z" if text else ""


def _age(seconds: Any) -> str:
    """In the largest unit that fits."""
    if not isinstance(seconds, int | float):
        return ""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"
