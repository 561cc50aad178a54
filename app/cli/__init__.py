"""The `convey` command: one module per verb, those about a running gateway speak HTTP to it."""

from __future__ import annotations

from typing import Annotated

import typer

from app import __version__
from app.cli.audit import audit_app
from app.cli.backup import backup, restore
from app.cli.config import config_app
from app.cli.dead_letters import dead_letters_app
from app.cli.destinations import destinations_app
from app.cli.doctor.verb import doctor
from app.cli.events import events_app
from app.cli.explain import explain
from app.cli.imports.verb import import_file
from app.cli.keys import keys_app
from app.cli.ledger import ledger
from app.cli.privacy import privacy_app
from app.cli.reconcile.verb import reconcile
from app.cli.rejects import rejects
from app.cli.sandbox import sandbox
from app.cli.send import send
from app.cli.serve import serve
from app.cli.size import size

app = typer.Typer(
    name="convey",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # help texts are plain words: brackets in them are meant
    pretty_exceptions_enable=False,  # a traceback with local variables would print secrets
)
app.command("serve")(serve)
app.command("sandbox")(sandbox)
app.add_typer(config_app, name="config")
app.command("send")(send)
app.command("explain")(explain)
app.command("import")(import_file)
app.command("ledger")(ledger)
app.command("reconcile")(reconcile)
app.command("rejects")(rejects)
app.command("doctor")(doctor)
app.add_typer(events_app, name="events")
app.add_typer(dead_letters_app, name="dead-letters")
app.add_typer(destinations_app, name="destinations")
app.add_typer(audit_app, name="audit")
app.add_typer(privacy_app, name="privacy")
app.add_typer(keys_app, name="keys")
app.command("backup")(backup)
app.command("restore")(restore)
app.command("size")(size)


@app.command("demo")
def _demo(
    once: Annotated[bool, typer.Option("--once", help="Take free ports, show what became of the orders, end.")] = False,
) -> None:
    """Run gateway, pretend platforms and sample orders, to see it work without an account anywhere.

    Without --once it takes the usual ports and stays up until Ctrl-C. Exit code 1 means that something did not become
    what it should.

    Example: convey demo --once
    """
    from app.cli.demo import run  # noqa: PLC0415 - loads the web framework

    raise typer.Exit(run(once=once))


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"convey {__version__}")
        raise typer.Exit


@app.callback()
def _convey(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Convey: a self-hosted gateway for server-side conversion events.

    Example: convey serve --config convey.yaml
    """


def main() -> None:
    """Run the command line of this process."""
    app(prog_name="convey")
