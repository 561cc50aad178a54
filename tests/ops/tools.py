"""The binaries that prove the chart and the rules: from PATH, else where `scripts/get_tools.sh` puts them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "convey"
RULES = CHART / "files" / "rules"
DASHBOARDS = CHART / "files" / "dashboards"
RUNBOOKS = ROOT / "docs" / "runbooks"


def find(tool: str) -> str | None:
    """The path of a binary; None when it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = cache / "convey" / "tools" / tool
    return shutil.which(tool) or (str(kept) if os.access(kept, os.X_OK) else None)


def require(tool: str) -> str:
    """The path of a binary. Without it the test is skipped, in CI it fails."""
    found = find(tool)
    if found is None:
        missing(tool)
    assert found is not None
    return found


def find_crds() -> Path:
    """The folder of the published schemas of custom resources. Without it the test is skipped, in CI it fails."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "convey" / "tools" / "crds"
    if not (folder / "node_modules").is_dir():
        missing("schemas of custom resources")
    return folder


def missing(what: str) -> None:
    """Skip a test that lacks something; in CI, fail it."""
    words = f"no {what}: run scripts/get_tools.sh, or install it"
    if os.environ.get("CI") == "true":
        pytest.fail(words)
    pytest.skip(words)


def find_node() -> str:
    """The path of a node: from PATH, else the one that came with the schemas. Without it as with the others."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = cache / "convey" / "tools" / "node" / "bin" / "node"
    found = shutil.which("node") or (str(kept) if os.access(kept, os.X_OK) else None)
    if found is None:
        missing("node")
    assert found is not None
    return found


def run(tool: str, *arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """What the tool made of it; the exit code is the caller's to judge."""
    command = [require(tool), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=120)
