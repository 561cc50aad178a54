"""A runbook per alert, in commands that work: every verb, every option, every metric it names exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from app.cli import app
from app.errors import Reason
from tests.ops import promql, tools
from tests.ops.test_rules import ALERTS, RECORDED

PAGES = sorted(tools.RUNBOOKS.glob("*.md"))
DOCS = [tools.ROOT / "docs" / f"{name}.md" for name in ("quickstart", "production", "troubleshooting", "for-callers")]
LEVERS = ("pause-", "cap-", "after-")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    alerts = {rule["alert"] for rule in ALERTS}
    pages = {page.stem for page in PAGES if page.stem != "README" and not page.stem.startswith(LEVERS)}
    assert pages == alerts
    overview = (tools.RUNBOOKS / "README.md").read_text("utf-8")
    assert {name for name in (page.name for page in PAGES) if f"({name})" not in overview} == {"README.md"}


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "README"], ids=lambda page: page.stem)
def test_a_page_says_what_it_means_how_to_look_and_what_to_do(page: Path) -> None:
    headings = re.findall(r"^##? (.+)$", page.read_text("utf-8"), re.MULTILINE)
    if page.stem.startswith(LEVERS):
        assert headings[1:] == ["What it does", "How to pull it", "How to let it go"]
    else:
        assert headings == [page.stem, "What it means", "How to look", "What to do"]


def commands(page: Path) -> Iterator[list[str]]:
    """Every `convey …` of a page, in blocks and in the text, as words."""
    text = page.read_text("utf-8")
    found = [line.strip() for block in blocks(page, "sh") for line in block.splitlines()]
    found += re.findall(r"`(convey [^`\n]+)`", text)
    for line in found:
        if line.startswith("convey "):
            yield shlex.split(line.partition(" #")[0].rstrip("& "))[1:]


@pytest.mark.parametrize("page", [*PAGES, *DOCS], ids=lambda page: page.stem)
def test_every_command_exists_with_its_options(page: Path) -> None:
    for words in commands(page):
        command = typer.main.get_command(app)
        rest = list(words)
        while hasattr(command, "commands") and rest:
            assert rest[0] in command.commands, f"convey {' '.join(words)}"
            command = command.commands[rest.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, f"convey {' '.join(words)}"


@pytest.mark.parametrize("page", [*PAGES, *DOCS], ids=lambda page: page.stem)
def test_every_metric_and_reason_it_names_exists(page: Path, tmp_path: Path) -> None:
    text = page.read_text("utf-8")
    assert promql.faults(text, RECORDED) == []
    reasons = set(re.findall(r'reason="(\w+)"', text))
    assert reasons <= {reason.value for reason in Reason}
    queries = [line for block in blocks(page, "promql") for line in block.splitlines() if line.strip()]
    if queries:
        path = tmp_path / "page.yaml"
        rules = [{"record": f"page:{number}", "expr": query} for number, query in enumerate(queries)]
        path.write_text(yaml.safe_dump({"groups": [{"name": "page", "rules": rules}]}))
        checked = tools.run("promtool", "check", "rules", path)
        assert checked.returncode == 0, checked.stdout + checked.stderr
