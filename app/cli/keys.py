"""`convey keys`: makes API keys and encryption keys, and gives up what a lost encryption key sealed.

Convey keeps an API key's hash only, and an encryption key not at all, so that either is shown once.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import secrets
from datetime import UTC, datetime
from typing import Annotated

import typer
import yaml

from app.cli.config import ConfigFile, load_or_fail
from app.cli.output import UNUSABLE, fail, printable
from app.config import Settings
from app.config.base import NAME_PATTERN
from app.errors import ConveyError

SCOPES = ("ingest", "read", "admin", "receipts")
DEFAULT_SCOPES = ("ingest", "read")

keys_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@keys_app.callback()
def _keys() -> None:
    """Make API keys and encryption keys.

    Example: convey keys new --name checkout
    """


@keys_app.command("new")
def new(
    name: Annotated[str | None, typer.Option(help="What to call the key in logs.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="What it may do: ingest, read, admin, receipts. Repeat for several.")
    ] = None,
    encryption: Annotated[bool, typer.Option("--encryption", help="Make a key for store.encryption instead.")] = False,
) -> None:
    """Make a new API key: print it once, with its hash and the lines for the configuration.

    Example: convey keys new --name checkout --scope ingest
    """
    if encryption:
        if scope:
            fail("an encryption key has no scopes", UNUSABLE)
        _show_encryption_key(name or f"k{datetime.now(UTC):%Y%m%d}")
        return
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


def _show_encryption_key(name: str) -> None:
    from app.outbox.datakeys import KEY_BYTES  # noqa: PLC0415 - loads the cipher

    if not re.fullmatch(NAME_PATTERN, name):
        fail(f"the name of an encryption key matches {NAME_PATTERN}", UNUSABLE)
    typer.echo("The key, for the secret ENCRYPTION_KEY. It is shown this once and kept nowhere; without it")
    typer.echo("what it sealed cannot be read again, backups included:\n")
    typer.echo(f"  {base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}\n")
    typer.echo("For the configuration, at the top of the list; an earlier key stays below it until every process runs")
    typer.echo("with the new order:\n")
    typer.echo("    store:")
    typer.echo("      encryption:")
    typer.echo("        keys:")
    typer.echo(f'          - {{id: {name}, key: "${{ENCRYPTION_KEY}}"}}')


@keys_app.command("forget")
def forget(
    key_id: Annotated[str, typer.Argument(help="Id of an encryption key that is lost or destroyed.", metavar="ID")],
    config: ConfigFile = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before.")] = False,
) -> None:
    """Give up, for good, what was sealed under an encryption key that is not configured any more.

    Opens the store itself, as the gateway would not start. What waits and was sealed under it ends as a dead letter
    (body_unreadable) when its turn comes; the ledger keeps it. With SQLite no gateway may be running.

    Says how many data keys were deleted. Ends with 1 where nothing is wrapped under the key: the store does not know
    it, or a start after a rotation wrapped all anew.

    Example: convey keys forget k20261125 --config convey.yaml
    """
    settings = load_or_fail(config)
    encryption = settings.store.encryption
    if encryption is not None and key_id in {each.id for each in encryption.keys}:
        fail(f"{printable(key_id)} is configured: take it out of store.encryption.keys first", UNUSABLE)
    if not yes and not typer.confirm(f"Give up for good what was sealed under {printable(key_id)}?"):
        fail("nothing was changed")
    try:
        deleted = asyncio.run(_give_up(settings, key_id))
    except ConveyError as error:
        fail(printable(error))
    typer.echo(f"{printable(key_id)}: data keys deleted: {deleted}; nobody can open what they sealed")


async def _give_up(settings: Settings, key_id: str) -> int:
    """How many data keys are deleted."""
    from app.stores import opened  # noqa: PLC0415 - only this verb opens a store

    names = [destination.name for destination in settings.destinations]
    async with opened(settings.store, names, None, given_up=frozenset({key_id})) as store:
        return store.keys_given_up


def make_key() -> tuple[str, str]:
    """A new key (`ck_` and 43 characters, 256 bits) and the `sha256:` line that stands for it."""
    key = f"ck_{secrets.token_urlsafe(32)}"
    return key, f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
