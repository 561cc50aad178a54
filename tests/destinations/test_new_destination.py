"""The stubs of a new destination are a working destination: nothing else is edited, and every check passes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.new_destination import write

ROOT = Path(__file__).parents[2]
NAME = "acme_ads"
PARTS = ("app", "tests", "docs", "scripts", "pyproject.toml")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole project in a folder of its own, with the stubs of one more destination in it."""
    folder = tmp_path_factory.mktemp("project")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        else:
            shutil.copy(ROOT / part, folder / part)
    run(folder, "scripts/new_destination.py", NAME)
    return folder


def run(folder: Path, *arguments: str) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    return done.stdout


def test_the_stubs_pass_their_test_and_what_holds_for_every_destination(copy: Path) -> None:
    tests = [f"tests/destinations/test_{name}.py" for name in (NAME, "conformance", "versions")]
    told = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", "-k", NAME, *tests)
    passed = re.search(r"(\d+) passed", told)
    assert passed is not None
    assert int(passed[1]) > 200, "the conformance tests ran over the new one"
    assert "skipped" not in told


def test_the_stubs_are_in_the_projects_style(copy: Path) -> None:
    stubs = [f"app/destinations/{NAME}.py", f"tests/destinations/test_{NAME}.py"]
    run(copy, "-m", "ruff", "format", "--check", *stubs)
    run(copy, "-m", "ruff", "check", *stubs)


@pytest.mark.parametrize("name", ["Acme", "a", "9x", "a-b", "../x", ""])
def test_names_that_are_none(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lower-case"):
        write(name, tmp_path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    write(NAME, tmp_path)
    with pytest.raises(ValueError, match="exists"):
        write(NAME, tmp_path)
