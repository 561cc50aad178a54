"""`convey config`: checks, shows and describes the configuration without starting anything."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer
import yaml

from app.cli.output import fail_config, tell
from app.config import Settings, json_schema, load
from app.errors import ConfigError
from app.notices import notices

DEFAULT_FILE = Path("convey.yaml")

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="CONVEY_CONFIG",
        help="The YAML file; ./convey.yaml when there is one.",
        metavar="FILE",
    ),
]

config_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@config_app.callback()
def _config() -> None:
    """Check, show and describe the configuration.

    Example: convey config check --config convey.yaml
    """


def load_or_fail(path: Path | None) -> Settings:
    """The settings, with their warnings told; ends the command with 2 when they cannot be used.

    Raises: typer.Exit.
    """
    if path is None and DEFAULT_FILE.is_file():
        path = DEFAULT_FILE
    try:
        settings = load(path, os.environ)
    except ConfigError as error:
        fail_config(error)
    tell((*settings.warnings, *notices(settings.destinations, datetime.now(UTC).date())), "warning")
    return settings


@config_app.command("check")
def check(config: ConfigFile = None) -> None:
    """Read the configuration as `serve` would and report every mistake at once. Ends with 2 when there is one.

    Example: convey config check --config convey.yaml
    """
    settings = load_or_fail(config)
    typer.echo(f"the configuration is fine: {_counted(settings)}")
    typer.echo(f"at rest: {_at_rest(settings)}")


@config_app.command("show")
def show(
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of YAML.")] = False,
) -> None:
    """Print the settings in effect, secrets masked, and what they decide about consent.

    Example: convey config show --json
    """
    settings = load_or_fail(config)
    summary = {**settings.summary(), "consent_table": settings.consent_table()}
    if as_json:
        typer.echo(orjson.dumps(summary, option=orjson.OPT_INDENT_2).decode())
    else:
        typer.echo(yaml.safe_dump(summary, sort_keys=False, allow_unicode=True, width=120), nl=False)


@config_app.command("schema")
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors.

    Example: convey config schema > convey.schema.json
    """
    typer.echo(orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2).decode())


def _at_rest(settings: Settings) -> str:
    encryption = settings.store.encryption
    if encryption is None:
        return "events and contexts are kept in clear (hashed identifiers, addresses, click ids): no store.encryption"
    ids = ", ".join(each.id for each in encryption.keys)
    if not encryption.seal:
        return f"nothing new is sealed (store.encryption.seal is false); keys that still open: {ids}"
    return f"events and contexts are sealed; keys, the first wraps: {ids}"


def _counted(settings: Settings) -> str:
    lanes = ", ".join(f"{lane.name} ({lane.type})" for lane in settings.destinations) or "none enabled"
    sources = ", ".join(source.name for source in settings.sources)
    return f"sources {sources}; destinations {lanes}"
