"""Destinations shipped as packages: the one on the page works as it stands, and a bad one is told in words."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.destinations import registry
from app.model import Delivered, Park, Rejected, Retry, Split
from tests.destinations import support as s

ROOT = Path(__file__).parents[2]
PAGE = (s.PAGES / "your-own.md").read_text("utf-8")


def block(kind: str) -> str:
    text: str
    (text,) = re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return text


def install(folder: Path, entries: dict[str, str], modules: dict[str, str], name: str = "convey-beacon") -> None:
    """Put modules and the metadata of an installed package into `folder`, as pip would."""
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(text)
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{entry} = {value}" for entry, value in entries.items()]
    (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n" + "\n".join(lines) + "\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that packages can be installed into; the registry is asked anew, before and after."""
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.found.cache_clear()
    before = set(sys.modules)
    yield tmp_path
    for module in set(sys.modules) - before:
        if str(getattr(sys.modules[module], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[module]
    registry.found.cache_clear()


def entries_of_the_page() -> dict[str, str]:
    entries: dict[str, str] = tomllib.loads(block("toml pyproject"))["project"]["entry-points"][registry.GROUP]
    return entries


def test_the_package_of_the_page_is_found_and_works(site: Path) -> None:
    install(site, entries_of_the_page(), {"convey_beacon": block("python module")})
    own = set(registry.destinations())
    assert "beacon" in own
    assert registry.unusable() == {}
    kind = registry.destinations()["beacon"]
    settings = kind.settings(access_token=s.TOKEN)
    assert kind.admit(s.event(), settings, s.NOW).window_until > s.NOW  # type: ignore[union-attr]
    for of, reason in (
        (s.event(event_name="Lead"), "event_not_supported"),
        (s.event(event_time=s.NOW - timedelta(days=9)), "too_old"),
        (s.event(identity=s.with_digests()), "identifiers_missing"),
    ):
        assert kind.admit(of, settings, s.NOW).reason == reason  # type: ignore[union-attr]
    (call,) = kind.build(s.batch(3), settings)
    assert [item["id"] for item in json.loads(call.body)["events"]] == ["purchase_0", "purchase_1", "purchase_2"]
    assert s.TOKEN not in repr(call)
    answers: list[tuple[Any, Any]] = [
        (s.reply(200, {"taken": 2}), Delivered),
        (s.reply(200, {"taken": 1}), Retry),
        (s.reply(429, {}), Retry),
        (s.reply(400, {"message": "no"}), Split),
        (s.reply(403, {}), Park),
        (s.reply(502, b"<html>"), Retry),
    ]
    for answer, expected in answers:
        verdict = kind.read(answer, s.batch(2))
        assert isinstance(verdict if isinstance(verdict, Split | Park) else verdict[0], expected)
    assert isinstance(kind.read(s.reply(400, {}), s.batch(1))[0], Rejected)  # type: ignore[index]


def check_config(folder: Path, site: Path, kind: str) -> subprocess.CompletedProcess[str]:
    """`convey config check` in a process of its own, with what is installed in `site`."""
    config = folder / "convey.yaml"
    key = "sha256:" + "ab" * 32
    destination = {"name": "mine", "type": kind, "access_token": "t0ken"}
    config.write_text(json.dumps({"sources": [{"name": "shop", "keys": [key]}], "destinations": [destination]}))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CONVEY_")}
    command = [sys.executable, "-m", "app", "config", "check", "--config", str(config)]
    environ |= {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_line_finds_it_in_a_process_of_its_own(
    site: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    install(site, entries_of_the_page(), {"convey_beacon": block("python module")})
    folder = tmp_path_factory.mktemp("config")
    done = check_config(folder, site, "beacon")
    assert (done.returncode, done.stderr) == (0, "")
    assert "mine (beacon)" in done.stdout


MODULES = {
    "no_such_name": "",
    "raises": "raise RuntimeError('needs a licence')",
    "no_destination": "DESTINATION = {'name': 'd_no_destination'}",
    "other_name": block("python module"),
    "bare_settings": block("python module").replace('"beacon"', '"e_settings"')
    + "\nfrom dataclasses import replace\nDESTINATION = replace(DESTINATION, settings=dict)\n",
    "second": block("python module").replace('"beacon"', '"meta"'),
}
BAD = {
    "a_missing": ("nowhere_at_all:DESTINATION", "cannot be loaded (nowhere_at_all:DESTINATION): ModuleNotFoundError: "),
    "b_nothing": ("no_such_name:DESTINATION", "AttributeError"),
    "c_raises": ("raises:DESTINATION", "RuntimeError: needs a licence"),
    "d_no_destination": ("no_destination:DESTINATION", "is no Destination"),
    "e_settings": ("bare_settings:DESTINATION", "settings that are no DestinationSettings"),
    "f_other": ("other_name:DESTINATION", "calls itself 'beacon'"),
    "meta": ("second:DESTINATION", "a second destination of this name"),
    "Not-A-Name": ("other_name:DESTINATION", "a name that is none"),
}


def test_a_bad_package_is_told_in_words_and_stops_nobody_else(site: Path) -> None:
    install(site, {name: value for name, (value, _) in BAD.items()}, MODULES, "convey-bad")
    told = registry.unusable()
    assert set(told) == set(BAD)
    for name, (_, words) in BAD.items():
        assert told[name].startswith("the package convey-bad "), told[name]
        assert words in told[name]
    assert set(registry.destinations()) >= {"meta", "tiktok", "pinterest", "snapchat", "google"}
    assert registry.destinations()["meta"].settings.__module__.startswith("app.destinations.meta")


def test_who_configures_a_bad_one_learns_why(site: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    install(site, {"c_raises": "raises:DESTINATION"}, {"raises": MODULES["raises"]}, "convey-bad")
    done = check_config(tmp_path_factory.mktemp("config"), site, "c_raises")
    assert done.returncode == 2
    assert "destinations[0].type" in done.stderr
    assert "cannot be used: the package convey-bad cannot be loaded" in done.stderr
    assert "needs a licence" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_page_tells_every_reason_in_the_words_of_the_code() -> None:
    code = Path(registry.__file__).read_text("utf-8") + (ROOT / "app/config/settings.py").read_text("utf-8")
    told = re.findall(r"^\| `([^`…(]{6,})", PAGE.partition("## When something is wrong")[2], re.MULTILINE)
    assert len(told) == 7
    assert not [words for words in told if words.strip(" ,") not in code]
