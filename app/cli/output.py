"""How the verbs speak: answers on stdout, everything else on stderr, plain words, exit codes 0, 1 and 2.

0: done. 1: it ran, and the answer is no (an invalid event, a ledger that does not close, a gateway out of reach).
2: the command line, a file or the configuration cannot be used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import orjson
import typer
from rich.console import Console

from app.errors import ConfigError, Fault

FAILED = 1
UNUSABLE = 2
PIPE_WIDTH = 160
"""Columns of a table that goes into a pipe or a file, where nobody knows a width."""


def console(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr that takes text as it is: brackets are no markup, numbers no highlights."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def printable(value: Any) -> str:
    """`value` as text without control characters, which a terminal would obey."""
    return "".join(char if char.isprintable() else "\ufffd" for char in str(value))


def tell_answer(answer: dict[str, Any], show: Callable[[dict[str, Any]], None], *, as_json: bool) -> None:
    """Print a gateway's answer: as JSON for programs, or as `show` does for people."""
    if as_json:
        typer.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
    else:
        show(answer)


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Say why on stderr and end with `code`.

    Raises: typer.Exit, always.
    """
    typer.echo(f"convey: {message}", err=True)
    raise typer.Exit(code)


def tell(faults: Iterable[Fault], kind: str) -> None:
    """Print each fault on stderr, one line each, as `kind: path: words`."""
    for fault in faults:
        typer.echo(f"{kind}: {printable(fault.pointer)}: {printable(fault.detail)}", err=True)


def fail_config(error: ConfigError) -> NoReturn:
    """Print every mistake of the configuration and end with 2.

    Raises: typer.Exit, always.
    """
    tell(error.faults, "error")
    count = len(error.faults)
    fail(f"the configuration has {count} mistake{'' if count == 1 else 's'}", UNUSABLE)
