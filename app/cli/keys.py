"""`convey keys`: makes API keys. Convey keeps a key's hash only, so the key itself is shown once."""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated

import typer
import yaml

from app.cli.output import UNUSABLE, fail

SCOPES = ("ingest", "read", "admin", "receipts")
DEFAULT_SCOPES = ("ingest", "read")

keys_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@keys_app.callback()
def _keys() -> None:
    """Make API keys.

    Example: convey keys new --name checkout
    """


@keys_app.command("new")
def new(
    name: Annotated[str | None, typer.Option(help="What to call the key in logs.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="What it may do: ingest, read, admin, receipts. Repeat for several.")
    ] = None,
) -> None:
    """Make a new API key: print it once, with its hash and the lines for the configuration.

    Example: convey keys new --name checkout --scope ingest
    """
    scopes = tuple(dict.fromkeys(scope or DEFAULT_SCOPES))
    if unknown := [word for word in scopes if word not in SCOPES]:
        fail(f"{', '.join(unknown)}: not a scope; scopes are {', '.join(SCOPES)}", UNUSABLE)
    key, digest = make_key()
    entry: object = digest
    if name is not None or scopes != DEFAULT_SCOPES:
        entry = {"hash": digest, **({"name": name} if name is not None else {}), "scopes": list(scopes)}
    snippet = yaml.safe_dump({"keys": [entry]}, sort_keys=False, width=200)
    typer.echo("The key, for the system that posts events. It is shown this once and kept nowhere:\n")
    typer.echo(f"  {key}\n")
    typer.echo("Its hash, for the configuration:\n")
    typer.echo(f"  {digest}\n")
    typer.echo("To paste below the source it belongs to:\n")
    typer.echo("".join(f"    {line}\n" for line in snippet.splitlines()), nl=False)


def make_key() -> tuple[str, str]:
    """A new key (`ck_` and 43 characters, 256 bits) and the `sha256:` line that stands for it."""
    key = f"ck_{secrets.token_urlsafe(32)}"
    return key, f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
