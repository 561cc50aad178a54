from __future__ import annotations

import importlib.util
import re
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from app.config import json_schema
from app.units import parse_duration, parse_size, spell_duration, spell_size
from tests.config.support import KEY

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "seconds"), [("200ms", 0.2), ("10s", 10), ("5m", 300), ("48h", 172_800), ("7d", 604_800), ("0s", 0)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert spell_duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    "value", ["10", "", "s", "1.5s", "-1s", "1 s", "10S", "1h30m", "٣s", "1s\n", 10, 1.5, None, True]
)
def test_what_is_no_duration(value):
    with pytest.raises(ValueError, match="whole number with a unit"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("text", "count"), [("512B", 512), ("512", 512), ("8MiB", 8 << 20), ("2GiB", 2 << 30), ("1KiB", 1024)]
)
def test_sizes(text, count):
    assert parse_size(text) == parse_size(count) == count


@pytest.mark.parametrize("value", ["8MB", "", "-1", "1.5MiB", "8 MiB", True, None, 1.5])
def test_what_is_no_size(value):
    with pytest.raises(ValueError, match="must be a size"):
        parse_size(value)


@given(st.integers(0, 10**9 - 1))
def test_what_is_spelled_is_read_back(number):
    assert parse_duration(spell_duration(timedelta(milliseconds=number))) == timedelta(milliseconds=number)
    assert parse_size(spell_size(number)) == number


def test_the_schema_has_every_section_and_every_type():
    schema = json_schema()
    assert set(schema["properties"]) == {
        "server",
        "logging",
        "store",
        "consent",
        "outbound",
        "sources",
        "destinations",
    }
    [acme] = schema["properties"]["destinations"]["items"]["oneOf"]
    assert acme["properties"]["type"] == {"const": "acme"}
    assert acme["required"] == ["name", "type", "pixel_id", "access_token"]
    assert acme["additionalProperties"] is False
    assert acme["properties"]["access_token"]["$ref"] == "#/$defs/Secret"
    for name, default in (("linger", "200ms"), ("max_age", "7d"), ("window_margin", "10m")):
        assert re.fullmatch(acme["properties"][name]["pattern"], default)
        assert acme["properties"][name]["default"] == default
    bare, _ = schema["$defs"]["KeyConfig"]["anyOf"]
    assert re.fullmatch(bare["pattern"], KEY)


def test_every_reference_in_the_schema_leads_somewhere():
    schema = json_schema()
    names = set(re.findall(r"'#/\$defs/(\w+)'", str(schema)))
    assert names <= set(schema["$defs"])
    assert "'format': 'password'" not in str(schema)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "scripts" / "generate_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_names_every_setting_with_its_meaning(generator):
    page = generator.configuration()
    for path in (
        "server.max_body_bytes",
        "sources[].keys[].scopes",
        "sources[].hashing.idn",
        "destinations[].retry.cap",
    ):
        row = next(line for line in page.splitlines() if line.startswith(f"| `{path}`"))
        assert len(re.split(r"(?<!\\)\|", row)) == 6
    assert "| `server.max_body_bytes` | size, from 1KiB to 256MiB | `8MiB` |" in page
    assert "| `sources[].dedup_window` | duration, from 1m to 30d | `48h` |" in page
    for row in page.splitlines():
        if row.startswith("| `"):
            assert re.search(r"\| [^|]{8,} \|$", row), f"no meaning: {row}"


def test_the_example_on_the_page_is_fine(generator, loader):
    example = re.search(r"```yaml\n(.*?)```", generator.CONFIGURATION_HEAD, re.DOTALL)
    assert example is not None
    tree = yaml.safe_load(example[1])
    tree["destinations"][0]["type"] = "acme"
    assert loader(tree, META_TOKEN="t").server.port == 8000


def test_check_tells_a_stale_page_and_writes_nothing(generator, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(generator, "ROOT", tmp_path)
    monkeypatch.setattr(generator, "PAGES", {"a.md": lambda: "new\n"})
    assert generator.main(["--check"]) == 1
    assert not (tmp_path / "docs").exists()
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0
    (tmp_path / "docs" / "a.md").write_text("old\n")
    capsys.readouterr()
    assert generator.main(["--check"]) == 1
    told = capsys.readouterr()
    assert "-old" in told.out
    assert "+new" in told.out
    assert "make format" in told.err
