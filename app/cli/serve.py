"""`convey serve`: runs the gateway."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.config import ConfigFile, load_or_fail
from app.cli.output import fail, fail_config
from app.config import Role, check_role
from app.errors import ConfigError, ConveyError


def serve(
    config: ConfigFile = None,
    role: Annotated[
        Role,
        typer.Option(
            help="What this process does: api takes events, worker delivers them, all does both. Any number of "
            "processes may share one Redis store; an SQLite store belongs to one process, role all.",
        ),
    ] = Role.ALL,
) -> None:
    """Run the gateway until it is told to stop.

    A worker serves nothing but /livez and /readyz on the API port, and /metrics on the metrics port.

    Example: convey serve --config convey.yaml --role worker
    """
    settings = load_or_fail(config)
    try:
        check_role(settings, role)
    except ConfigError as error:
        fail_config(error)
    from app.main import serve as run  # noqa: PLC0415 - no other verb waits for the web framework to load

    try:
        run(settings, role)
    except ConveyError as error:
        fail(str(error))
