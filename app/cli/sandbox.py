"""`convey sandbox`: runs the pretend platforms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import fail


def sandbox(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8090,
    port_file: Annotated[Path | None, typer.Option(help="File to write the port to, once it listens.")] = None,
) -> None:
    """Run the pretend platforms, to try a configuration without an account anywhere.

    Point a destination's base_url at it. It forgets everything when it ends. GET / on it lists what it can be asked:
    what it counted (/_counted), which requests came (/_requests), and how to make a platform fail (/_faults).

    Example: convey sandbox --port 8090
    """
    from app.sandbox.server import serve  # noqa: PLC0415 - no other verb waits for the web framework to load

    try:
        serve(host, port, port_file=port_file)
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror or 'address not usable'}")
