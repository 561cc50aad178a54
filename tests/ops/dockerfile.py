"""A Dockerfile as its instructions, and its build stage run here: the same commands, below a folder instead of `/`."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.ops.tools import ROOT


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction and what follows it, continued lines joined."""

    name: str
    text: str


def stages(path: Path) -> list[list[Instruction]]:
    """The stages, each with its FROM first; what stands before the first FROM is left out."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    found: list[list[Instruction]] = []
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        name, _, text = line.partition(" ")
        if name == "FROM":
            found.append([])
        if name and found:
            found[-1].append(Instruction(name, text))
    return found


def is_sent(path: str, ignore: Path) -> bool:
    """Whether `.dockerignore` lets a file into the build; the last pattern that fits decides."""
    sent = True
    for line in ignore.read_text("utf-8").splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        expression = re.escape(pattern.lstrip("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*\*", ".*")
        if re.match(expression.replace(r"\*", "[^/]*") + r"(/|$)", path):
            sent = pattern.startswith("!")
    return sent


def build(stage: Sequence[Instruction], folder: Path, python: Path, **arguments: str) -> None:
    """Run a stage's COPY and RUN below `folder`. `python` makes the environments, ours has the pip that fills them."""
    shim = folder / "bin" / "python"
    shim.parent.mkdir(parents=True)
    shim.write_text(f'#!/bin/sh\n[ "$2" = venv ] && exec {python} "$@"\nexec {sys.executable} "$@"\n')
    shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    keep = {
        name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTP", "http", "HOME"))
    }
    environ = keep | {"PATH": f"{shim.parent}:/usr/bin:/bin", **arguments}
    here = folder
    for instruction in stage:
        text = re.sub(r"(?<![\w.])(/opt|/src)(?=[/\s]|$)", lambda found: f"{folder}{found[1]}", instruction.text)
        if instruction.name == "WORKDIR":
            here = Path(text)
            here.mkdir(parents=True, exist_ok=True)
        elif instruction.name == "COPY":
            *sources, target = text.split()
            for source in sources:
                _copy(source, here / target)
        elif instruction.name == "RUN":
            subprocess.run(["/bin/sh", "-ec", text], cwd=here, env=environ, check=True, stdout=subprocess.DEVNULL)


def _copy(source: str, target: Path) -> None:
    origin = ROOT / source
    files = [each for each in origin.rglob("*") if each.is_file()] if origin.is_dir() else [origin]
    for file in files:
        path = str(file.relative_to(ROOT))
        if is_sent(path, ROOT / ".dockerignore"):
            place = target / file.relative_to(origin) if origin.is_dir() else target / file.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
