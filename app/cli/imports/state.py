"""How far an import got: kept beside the file after every request, and only good for the very same file.

A process that is killed goes on where the state says. The request that was under way may then be posted again, which
changes nothing: its events are recognised by their ids and answered as duplicates.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from app.cli.events_file import FileError
from app.cli.imports.report import Tally

FORMAT = 1
_CHUNK = 1 << 20


class Progress(msgspec.Struct, frozen=True):
    """What is kept: whose progress it is, how many rows are done, how long the file of errors was by then."""

    format: int
    content: str
    """`sha256:` and the hex digest of the file."""
    options: str
    """The same of the options that decide what a row means, and of the gateway."""
    rows: int = 0
    errors_bytes: int = 0
    tally: Tally = msgspec.field(default_factory=Tally)
    is_done: bool = False


def digest_of(file: BinaryIO, read: Callable[[int], None]) -> str:
    """The digest of everything in `file`, which is at its beginning again afterwards; `read` is told how much came."""
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        read(len(chunk))
    file.seek(0)
    return f"sha256:{digest.hexdigest()}"


def digest_of_options(*options: object) -> str:
    """One text for all options, in order. Constants may be personal data: only their digest is kept."""
    return f"sha256:{hashlib.sha256(repr(options).encode()).hexdigest()}"


@dataclass(slots=True)
class State:
    """The progress of one import, and the file it is kept in; None keeps nothing."""

    path: Path | None
    progress: Progress = field(default_factory=lambda: Progress(FORMAT, "", ""))

    def begin(self, content: str, options: str, *, restart: bool) -> bool:
        """Take up what was kept for this content and these options, or begin; returns whether it was begun before.

        Raises: FileError when what was kept is another import's, or cannot be read.
        """
        fresh = Progress(FORMAT, content, options)
        kept = None if restart else self._read()
        if kept is None:
            self.progress = fresh
            return False
        if (kept.content, kept.options) != (content, options):
            what = "the file has changed" if kept.content != content else "the options or the gateway are others"
            raise FileError(
                f"{self.path} was begun after another import: {what}. Give back what was, or begin anew with "
                "--restart: rows that were accepted are not queued again"
            )
        self.progress = kept
        return True

    def _read(self) -> Progress | None:
        if self.path is None or not self.path.exists():
            return None
        try:
            kept = msgspec.json.decode(self.path.read_bytes(), type=Progress)
        except (OSError, msgspec.MsgspecError):
            kept = None
        if kept is None or kept.format != FORMAT:
            raise FileError(f"{self.path} is no progress of an import: give another --state, or begin with --restart")
        return kept

    def save(self, *, rows: int, errors_bytes: int, tally: Tally, is_done: bool = False) -> None:
        """Keep how far it got, durably: wholly or not at all.

        Raises: FileError.
        """
        self.progress = msgspec.structs.replace(
            self.progress, rows=rows, errors_bytes=errors_bytes, tally=tally, is_done=is_done
        )
        if self.path is None:
            return
        part = self.path.with_name(self.path.name + ".part")
        try:
            with part.open("wb") as file:
                file.write(msgspec.json.encode(self.progress))
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
        except OSError as error:
            raise FileError(f"{self.path} cannot be written: {error.strerror}") from None
