"""`convey serve`: runs the gateway."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.config import ConfigFile, load_or_fail
from app.cli.output import UNUSABLE, fail
from app.errors import ConveyError

ROLES = ("all", "api", "worker")


def serve(
    config: ConfigFile = None,
    role: Annotated[str, typer.Option(help="What this process does: all, api or worker.")] = "all",
) -> None:
    """Run the gateway until it is told to stop.

    Example: convey serve --config convey.yaml
    """
    if role not in ROLES:
        fail(f"--role must be one of {', '.join(ROLES)}", UNUSABLE)
    if role != "all":
        fail(f"--role {role} needs a store that processes can share; this version runs as one process: all", UNUSABLE)
    settings = load_or_fail(config)
    from app.main import serve as run  # noqa: PLC0415 - no other verb waits for the web framework to load

    try:
        run(settings)
    except ConveyError as error:
        fail(str(error))
