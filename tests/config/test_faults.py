from __future__ import annotations

from typing import Any

import pytest

from app.config import load
from app.config.sections import spelled
from app.errors import ConfigError
from tests.config.support import KEY, OTHER_KEY, SECRET, AcmeSettings, good

LANE = {"name": "second", "type": "acme", "pixel_id": "1", "access_token": SECRET}


def _with(path: str, value: Any) -> dict[str, Any]:
    tree = good()
    node: Any = tree
    parts = path.split(".")
    for part in parts[:-1]:
        node = node[int(part)] if part.isdecimal() else node.setdefault(part, {})
    last = parts[-1]
    if isinstance(node, list):
        node.append(value)
    else:
        node[last] = value
    return tree


@pytest.mark.parametrize(
    ("path", "value", "pointer", "words"),
    [
        ("servr", {}, "servr", "did you mean server?"),
        ("server", [1], "server", "section"),
        ("server.port", "eighty", "server.port", "whole number"),
        ("server.port", 70000, "server.port", "at most 65535"),
        ("server.port", -1, "server.port", "at least 0"),
        ("server.docs", "perhaps", "server.docs", "true or false"),
        ("server.host", ["x"], "server.host", "text"),
        ("server.host", "", "server.host", "is empty"),
        ("server.keep_alive", 75, "server.keep_alive", "with a unit"),
        ("server.keep_alive", "2h", "server.keep_alive", "at most 1 hour"),
        ("server.max_body_bytes", "8 MB", "server.max_body_bytes", "8MiB"),
        ("logging.level", "loud", "logging.level", "'debug'"),
        ("store.url", "sqlite://", "store.url", "sqlite:////absolute"),
        ("store.url", "sqlite:///:x?mode=ro", "store.url", "sqlite:////absolute"),
        ("sources", {}, "sources", "list"),
        ("sources.1", "shop", "sources[1]", "section"),
        ("sources.0.receipts", True, "sources[0].receipt_origins", "must name the pages"),
        ("sources.0.receipt_origins", ["shop.example"], "sources[0].receipt_origins", "origins such as"),
        ("sources.0.consent_policy", "lax", "sources[0].consent_policy", "strict"),
        (
            "sources.0.consent",
            {"default_jurisdiction": "Bavaria"},
            "sources[0].consent.default_jurisdiction",
            "country",
        ),
        ("destinations.0.consent", {"purposes": []}, "destinations[0].consent.purposes", "not be gated"),
        ("destinations.0.consent", {"onetrust_groups": []}, "destinations[0].consent.onetrust_groups", "not be gated"),
        ("destinations.0.consent", {"gvl_id": 0}, "destinations[0].consent.gvl_id", "1"),
        (
            "destinations.0.consent",
            {"gvl_id": 755, "tcf_purposes_only": True},
            "destinations[0].consent",
            "contradicts gvl_id",
        ),
        ("consent", {"opt_out": ["US", "DE"]}, "consent", "DE, where consent is always needed"),
        ("consent", {"opt_out": ["US", "BR"]}, "consent", "both name BR"),
        ("consent", {"notice_default": "send"}, "consent.notice_default", "deny"),
        ("sources.0.name", "Shop", "sources[0].name", "must match"),
        ("sources.0.keys", ["sha256:ABC"], "sources[0].keys[0].hash", "64 lower-case hex"),
        ("sources.0.keys", [SECRET], "sources[0].keys[0].hash", "64 lower-case hex"),
        ("sources.0.keys", [{"hash": KEY, "scopes": ["root"]}], "sources[0].keys[0].scopes[0]", "must be one of"),
        ("sources.0.keys", [{"hash": KEY, "scopes": []}], "sources[0].keys[0].scopes", "at least 1"),
        ("sources.0.keys", [{"hash": KEY, "expires": "soon"}], "sources[0].keys[0].expires", "instant"),
        ("sources.0.keys", [{"hash": KEY, "expires": "2027-01-01T00:00:00"}], "sources[0].keys[0].expires", "offset"),
        ("sources.0.keys", [KEY, KEY], "sources[0].keys[1]", "same key as sources[0].keys[0]"),
        ("sources.0.destinations", ["acme", "nowhere"], "sources[0].destinations[1]", "no configured destination"),
        ("sources.0.destinations", "acme", "sources[0].destinations", "list"),
        ("sources.0.default_region", "usa", "sources[0].default_region", "must match"),
        ("sources.0.event_id_template", "{order}", "sources[0].event_id_template", "{transaction}"),
        ("sources.0.event_id_template", "fixed", "sources[0].event_id_template", "{transaction}"),
        ("sources.0.hashing", {"idn": "no"}, "sources[0].hashing.idn", "must be one of"),
        ("sources.0.hashing", {"salt": "x"}, "sources[0].hashing.salt", "not a known key"),
        ("sources.1", {"name": "shop", "keys": [OTHER_KEY], "pixel": False}, "sources[1].name", "also the name of"),
        ("sources.1", {"name": "erp", "keys": [KEY], "pixel": False}, "sources[1].keys[0]", "belongs to one source"),
        ("sources.1", {"name": "erp", "keys": []}, "sources[1].event_id_template", "add {source}"),
        ("destinations", "acme", "destinations", "list"),
        ("destinations.1", "acme", "destinations[1]", "section"),
        ("destinations.1", LANE | {"name": "acme"}, "destinations[1].name", "also the name of destinations[0]"),
        ("destinations.0.name", "9lives", "destinations[0].name", "must match"),
        ("destinations.0.name", "a" * 32, "destinations[0].name", "must match"),
        ("destinations.0.type", "facebook", "destinations[0].type", "known are acme"),
        ("destinations.0.pixel_id", "x y", "destinations[0].pixel_id", "must match"),
        ("destinations.0.pixl_id", "1", "destinations[0].pixl_id", "did you mean pixel_id?"),
        ("destinations.0.timout", "1s", "destinations[0].timout", "did you mean timeout?"),
        ("destinations.0.max_age", "7", "destinations[0].max_age", "with a unit"),
        ("destinations.0.max_age", 7, "destinations[0].max_age", "with a unit"),
        ("destinations.0.max_age", "0s", "destinations[0].max_age", "more than 0 seconds"),
        ("destinations.0.base_url", "https://x/y", "destinations[0].base_url", "origin"),
        ("destinations.0.timeout", "15s", "destinations[0].lease", "longer than timeout + 5s"),
        ("destinations.0.lease", "15s", "destinations[0].lease", "longer than timeout + 5s"),
        ("destinations.0.max_batch", 501, "destinations[0].max_batch", "at most 500"),
        ("destinations.0.retry", {"first": "6s"}, "destinations[0].retry.first", "at most 5 seconds"),
        ("destinations.0.event_names", {"Lead": ["x"]}, "destinations[0].event_names.Lead", "text"),
        ("destinations.0.account", SECRET, "destinations[0].account", "is not valid"),
        ("destinations.0.account", "13", "destinations[0]", "is not valid"),
        ("destinations.0.since", SECRET, "destinations[0].since", "is not valid (date"),
        ("destinations.0.access_token", [SECRET], "destinations[0].access_token", "text"),
    ],
)
def test_every_kind_of_mistake_has_its_path_and_words(loader, path, value, pointer, words):
    told = loader.faults(_with(path, value))
    assert words in told.get(pointer, ""), told


@pytest.mark.parametrize("missing", ["name", "type", "pixel_id", "access_token"])
def test_required_settings_of_a_destination(loader, missing):
    tree = good()
    del tree["destinations"][0][missing]
    assert loader.faults(tree) == {f"destinations[0].{missing}": "is required"}


def test_an_empty_file_is_read_as_no_settings(loader):
    assert set(loader.faults("# nothing yet\n")) == {"sources", "destinations"}


def test_an_adapter_that_redefines_a_common_setting_is_a_fault_of_ours():
    class Clash(AcmeSettings):
        timeout: int = 1

    with pytest.raises(TypeError, match="timeout"):
        spelled(Clash)


def test_at_least_one_source_and_one_destination():
    with pytest.raises(ConfigError) as caught:
        load(None, {})
    assert [fault.pointer for fault in caught.value.faults] == ["sources", "destinations"]


def test_all_mistakes_are_told_at_once(loader):
    tree = {
        "server": {"port": "x", "nonsense": 1},
        "stroe": {},
        "sources": [{"name": "shop", "keys": ["nope"], "destinations": ["gone"]}, {"keys": []}],
        "destinations": [
            {"name": "acme", "type": "acme", "timeout": "1m", "access_token": "${NOPE}"},
            {"name": "acme", "type": "nope"},
        ],
    }
    told = loader.faults(tree, CONVEY_PORT="1")
    assert set(told) == {
        "CONVEY_PORT",
        "server.port",
        "server.nonsense",
        "stroe",
        "sources[0].keys[0].hash",
        "sources[1].name",
        "destinations[0].lease",
        "destinations[0].access_token",
        "destinations[0].pixel_id",
        "destinations[1].type",
        "destinations[1].name",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"pixel": False},
        {"destinations": []},
        {"destinations": ["second"]},
        {"event_id_template": "{source}_{event_name}_{transaction}"},
        {"event_id_template": "b2b_{event_name}_{transaction}"},
    ],
)
def test_two_sources_that_cannot_mix_up_their_ids(loader, change):
    tree = good()
    tree["destinations"].append(dict(LANE))
    tree["sources"][0]["destinations"] = ["acme"]
    tree["sources"].append({"name": "erp", "keys": [OTHER_KEY]} | change)
    assert len(loader(tree).sources) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("server: {port: 1\nstore: x", "line 2"),
        (f"a: *{SECRET}", "line 1, column 4"),
        (f'a: "{SECRET}\n', "not valid YAML"),
        ("server: {}\nserver: {}", "stands twice"),
        ("- 1", "mapping of sections"),
        ("x: \x00", "not valid YAML"),
        ("sources: &all [*all]", "refers to itself"),
        ("x: !secret y", "line 1, column 4"),
    ],
)
def test_yaml_that_cannot_be_read(loader, text, words):
    assert words in loader.faults(text)[str(loader.file)]


def test_a_file_that_cannot_be_read(loader, tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "absent.yaml", {})
    loader.file.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(loader.file, {})
