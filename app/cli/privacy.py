"""`convey privacy`: what a person may ask for. Consent taken back, all about them deleted, or shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
import typer
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from app.cli.client import DEFAULT_URL, Gateway, GatewayError, Key, Url
from app.cli.output import UNUSABLE, console, fail, printable

privacy_app = typer.Typer(no_args_is_help=True, help="What a person may ask for.")
OK = frozenset({200})
PATIENCE_S = 600.0
"""How long a gateway that is busy is asked again: a scan goes on where it was."""

Email = Annotated[list[str] | None, typer.Option("--email", help="E-mail address, or its SHA-256.")]
Phone = Annotated[list[str] | None, typer.Option("--phone", help="Phone number with country code.")]
ExternalId = Annotated[list[str] | None, typer.Option("--external-id", help="The shop's customer id.")]
Source = Annotated[str | None, typer.Option("--source", help="Another source than the key's own.")]


@privacy_app.command("withdraw")
def withdraw(
    email: Email = None,
    phone: Phone = None,
    external_id: ExternalId = None,
    destination: Annotated[
        list[str] | None, typer.Option("--destination", help="Only this destination; may be given several times.")
    ] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Stop what is queued for a person, and what is posted later without a newer consent.

    Identifiers on a command line are seen by others on the machine; from a script, post to the gateway instead.

    Example: convey privacy withdraw --external-id cust-991
    """
    body = _about(email, phone, external_id, None)
    if destination:
        body["destinations"] = destination
    try:
        with Gateway(url, key) as gateway:
            answer = gateway.ask("POST", "/v1/privacy/withdrawals", body=orjson.dumps(body), takes=OK)
    except GatewayError as error:
        fail(str(error))
    out = console()
    out.print(printable(f"withdrawn at {answer.get('withdrawn_at')} for {', '.join(answer.get('destinations') or ())}"))
    out.print(printable(f"what was being sent then has ended by {answer.get('in_flight_until')}"))


@privacy_app.command("erase")
def erase(
    email: Email = None,
    phone: Phone = None,
    external_id: ExternalId = None,
    source: Source = None,
    keep_proofs: Annotated[
        bool, typer.Option("--keep-proofs", help="Leave the proof of what consent was decided by, as evidence.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Delete what is stored about a person, and take nothing more. Needs the scope admin.

    Prints what the platforms have had of this person, with event ids, so that you can ask them to delete it, too: keep
    it, it is told once. Exits with 1 where something was being sent, or it was broken off: run it again then.

    Identifiers on a command line are seen by others on the machine; from a script, post to the gateway instead.

    Example: convey privacy erase --email jane.doe@example.com --external-id cust-991
    """
    body = {**_about(email, phone, external_id, source), "keep_proofs": keep_proofs}
    if not yes:
        _confirm()
    sums: dict[str, Counter[str]] = {name: Counter() for name in ("ended", "deleted", "in_flight")}
    delivered: list[Any] = []
    answer: dict[str, Any] = {}
    looked_at = left = 0
    try:
        with Gateway(url, key, persist_s=PATIENCE_S) as gateway, _scanning() as progress:
            task = progress.add_task("scanning")
            while not answer.get("complete"):
                more = {"continue_with": answer["continue_with"]} if answer else {}
                answer = gateway.ask("POST", "/v1/privacy/erasures", body=orjson.dumps(body | more), takes=OK)
                delivered += answer["delivered"]
                looked_at += answer["looked_at"]
                left += answer["left"]
                sums["ended"].update({name: sum(each.values()) for name, each in answer["ended"].items()})
                sums["deleted"].update(answer["deleted"])
                if answer["phase"] == "delete" or answer["complete"]:
                    sums["in_flight"].update(answer["in_flight"])
                words = "ending what waits" if answer["phase"] == "stop" else "deleting"
                progress.update(task, description=f"{words}: {looked_at} records looked at")
    except GatewayError as error:
        _tell_delivered(delivered)
        if error.is_refusal and not answer:
            fail(f"{error}; nothing was erased")
        fail(f"{error}; not finished: it may be run again, which takes up what is left")
    told = {
        "erased_at": answer["erased_at"],
        "kept_until": answer["kept_until"],
        **{name: dict(+counts) for name, counts in sums.items()},
        "left": left,
        "delivered": delivered,
        "in_flight_until": answer["in_flight_until"],
    }
    if as_json:
        typer.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    else:
        _tell_erased(told)
        _tell_delivered(delivered)
    if left:
        until = printable(answer["in_flight_until"])
        fail(f"events left, as they were being sent: {left}; run it again after {until}")


@privacy_app.command("access")
def access(
    email: Email = None,
    phone: Phone = None,
    external_id: ExternalId = None,
    source: Source = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Print what is stored about a person, as lines of JSON. Needs the scope admin.

    First the withdrawals, then every event with what became of it and the proof of consent. It names the forms of
    identifiers that are kept, never a value. Every record is looked at, which takes some seconds for each million.

    Example: convey privacy access --email jane.doe@example.com > jane.ndjson
    """
    body = _about(email, phone, external_id, source)
    found = looked_at = 0
    answer: dict[str, Any] = {}
    cursor: str | None = None
    try:
        with Gateway(url, key, persist_s=PATIENCE_S) as gateway, _scanning() as progress:
            task = progress.add_task("scanning")
            while True:
                more = {} if cursor is None else {"cursor": cursor}
                answer = gateway.ask("POST", "/v1/privacy/access", body=orjson.dumps(body | more), takes=OK)
                for kind in ("withdrawals", "events"):
                    for each in answer[kind]:
                        typer.echo(orjson.dumps({"record": kind.removesuffix("s"), **each}))
                found += len(answer["events"])
                looked_at += answer["looked_at"]
                progress.update(task, description=f"scanning: {looked_at} records looked at, {found} found")
                cursor = answer["next"]
                if cursor is None:
                    break
    except GatewayError as error:
        fail(f"{error}; what was printed is not all" if answer else str(error))
    typer.echo(f"convey: events found: {found}; records looked at: {looked_at}", err=True)


def _about(
    email: list[str] | None, phone: list[str] | None, external_id: list[str] | None, source: str | None
) -> dict[str, Any]:
    """The body that says whom a request is about."""
    person = {"email": email, "phone": phone, "external_id": external_id}
    user = {field: values for field, values in person.items() if values}
    if not user:
        fail("name the person with --email, --phone or --external-id", UNUSABLE)
    return {"user": user, **({} if source is None else {"source": source})}


def _confirm() -> None:
    try:
        is_meant = typer.confirm("delete all that is stored about this person, for good?", err=True)
    except typer.Abort:
        fail("nothing was done: answer, or give --yes to erase without being asked", UNUSABLE)
    if not is_meant:
        fail("nothing was done")


def _scanning() -> Progress:
    """Says that a scan goes on, and how far it is; nothing where stderr is no terminal."""
    out = console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)


def _tell_erased(told: Mapping[str, Any]) -> None:
    out = console()
    ended, deleted = told["ended"], told["deleted"]
    out.print(f"deliveries ended as erased: {sum(ended.values())}" + _each(ended))
    beside = {name: number for name, number in deleted.items() if name != "events"}
    out.print(f"events deleted: {deleted.get('events', 0)}" + _each(beside))
    out.print(printable(f"nothing of this person is taken until {told['kept_until']}, but with a newer consent"))


def _each(counts: Mapping[str, int]) -> str:
    words = ", ".join(f"{number} {printable(name).replace('_', ' ')}" for name, number in sorted(counts.items()))
    return f" ({words})" if words else ""


def _tell_delivered(delivered: list[Any]) -> None:
    """What the platforms have had, for whoever asks them to delete it."""
    if not delivered:
        return
    table = Table("destination", "event_name", "event_id", "delivered at", "trace id")
    for each in delivered:
        columns = ("destination", "event_name", "event_id", "delivered_at", "trace_id")
        shown = {**each, "delivered_at": each["delivered_at"] if each.get("certain", True) else "perhaps"}
        table.add_row(*(printable(shown[name] or "") for name in columns))
    out = console()
    out.print("the platforms have had these, or may have; Convey cannot take them back:")
    out.print(table)
