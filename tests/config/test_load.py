from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings, Tuning, load, reload_destination
from app.config.consent import DestinationConsentConfig, consent_needs
from app.config.sections import spelled
from app.config.source import HashingConfig
from app.consent.needs import ConsentNeeds
from app.destinations.base import DestinationSettings
from app.destinations.registry import destinations
from app.errors import ConfigError
from app.hashing.options import HashingOptions
from tests.config.support import KEY, OTHER_KEY, SECRET, AcmeSettings, Loader, good


def test_the_smallest_configuration_has_the_documented_defaults(loader):
    settings = loader(good())
    assert (settings.server.host, settings.server.port, settings.server.metrics_port) == ("127.0.0.1", 8000, 9090)
    assert settings.server.max_body_bytes == 8 * 1024 * 1024
    assert settings.server.keep_alive == timedelta(seconds=75)
    assert settings.store.path == Path("data/convey.db")
    assert settings.store.journal_retention == timedelta(days=7)
    assert settings.warnings == ()
    tree = good()
    tree["sources"][0] |= {"receipts": False, "consent_policy": "strict"}
    assert loader(tree) == settings
    [source] = settings.sources
    assert source.keys[0].hash == KEY
    assert source.keys[0].scopes == {"ingest", "read"}
    assert source.dedup_window == timedelta(hours=48)
    assert source.pixel
    assert source.event_id_template == "{event_name}_{transaction}"
    [lane] = settings.destinations
    assert lane.tuning == Tuning()
    assert lane.secret_files == ()
    assert type(lane.settings) is AcmeSettings
    assert lane.settings.access_token.get_secret_value() == SECRET
    assert lane.settings.window_margin == timedelta(minutes=10)


def test_settings_are_frozen(loader):
    settings = loader(good())
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.destinations[0].name = "x"
    with pytest.raises(ValueError, match="frozen"):
        settings.server.port = 1


def test_every_duration_is_spelled_with_its_unit_in_adapters_too(loader):
    tree = good()
    tree["destinations"][0] |= {"window_margin": "1h", "max_age": "28d", "grace": "1500ms", "linger": "2s"}
    lane = loader(tree).destinations[0]
    assert lane.settings.window_margin == timedelta(hours=1)
    assert (lane.settings.max_age, lane.settings.grace) == (timedelta(days=28), timedelta(seconds=1.5))
    assert lane.tuning.linger == timedelta(seconds=2)


def test_scalars_mean_what_the_field_says(loader):
    text = f"""
server: {{port: 08123, docs: off}}
sources: [{{name: shop, keys: ["{KEY}"], default_region: NO}}]
destinations:
  - {{name: acme, type: acme, pixel_id: 0123, access_token: 1e5, event_names: {{Lead: on}}, lease: 40s}}
"""
    settings = loader.text(text)
    assert settings.server.port == 8123
    assert settings.server.docs is False
    assert settings.sources[0].default_region == "NO"
    lane = settings.destinations[0]
    assert lane.settings.pixel_id == "0123"
    assert lane.settings.access_token.get_secret_value() == "1e5"
    assert lane.settings.event_names == {"Lead": "on"}


def test_null_is_the_same_as_absent(loader):
    tree = good() | {"server": None, "logging": {"level": None}}
    tree["sources"][0] |= {"dedup_window": None, "destinations": None}
    settings = loader(tree)
    assert settings.server.port == 8000
    assert settings.sources[0].dedup_window == timedelta(hours=48)
    assert settings.sources[0].destinations is None


def test_a_source_goes_to_the_destinations_it_names_less_the_disabled(loader):
    tree = good()
    tree["destinations"] += [
        {"name": "second", "type": "acme", "pixel_id": "9", "access_token": "t"},
        {"name": "off", "type": "acme", "enabled": False, "access_token": "${NOT_SET}", "anything": 1},
    ]
    tree["sources"] += [{"name": "erp", "keys": [OTHER_KEY], "destinations": ["second", "off"], "pixel": False}]
    settings = loader(tree)
    shop, erp = settings.sources
    assert [lane.name for lane in settings.destinations_of(shop)] == ["acme", "second"]
    assert [lane.name for lane in settings.destinations_of(erp)] == ["second"]
    assert settings.disabled == ("off",)


def test_hashing_options_are_mirrored_field_by_field(loader):
    own = {field.name: field.default for field in dataclasses.fields(HashingOptions)}
    del own["default_region"], own["production"]
    assert {name: info.default for name, info in HashingConfig.model_fields.items()} == own
    tree = good()
    tree["sources"][0] |= {"default_region": "US", "production": True, "hashing": {"zip_plus4": "both"}}
    options = loader(tree).sources[0].hashing_options()
    assert options == HashingOptions(default_region="US", production=True, zip_plus4="both")


def test_a_weak_durability_is_allowed_with_a_warning(loader):
    settings = loader(good() | {"store": {"durability": "memory", "url": "sqlite:////var/lib/convey/a.db"}})
    assert settings.store.path == Path("/var/lib/convey/a.db")
    assert [fault.pointer for fault in settings.warnings] == ["store.durability"]


# --- environment ----------------------------------------------------------------------------------------------


def test_the_environment_lies_on_top(loader):
    settings = loader(
        good(),
        CONVEY_SERVER__PORT="8123",
        CONVEY_SERVER__DOCS="false",
        CONVEY_DESTINATIONS__0__PIXEL_ID="0777",
        CONVEY_DESTINATIONS__0__RETRY__CAP="1m",
        CONVEY_DESTINATIONS__0__SKIP_EVENTS="[PageView, Search]",
        CONVEY_SOURCES__0__DESTINATIONS="[acme]",
        HOME="/root",
    )
    assert (settings.server.port, settings.server.docs) == (8123, False)
    lane = settings.destinations[0]
    assert lane.settings.pixel_id == "0777"
    assert lane.settings.skip_events == ("PageView", "Search")
    assert lane.tuning.retry_cap == timedelta(minutes=1)
    assert settings.sources[0].destinations == ("acme",)


def test_a_list_that_cannot_be_read_is_left_to_the_field(loader):
    assert "must be a list" in loader.faults(good(), CONVEY_SOURCES__0__DESTINATIONS="[acme")["sources[0].destinations"]


def test_null_takes_a_setting_back(loader):
    tree = good() | {"store": {"max_bytes": "2GiB"}}
    assert loader(tree).store.max_bytes == 2 << 30
    assert loader(tree, CONVEY_STORE__MAX_BYTES="null").store.max_bytes is None


def test_yaml_anchors_and_merges(loader):
    text = f"""
sources: [{{name: shop, keys: ["{KEY}"]}}]
destinations:
  - &first {{name: acme, type: acme, pixel_id: 1, access_token: t, lease: 30s}}
  - {{<<: *first, name: second}}
"""
    assert [lane.tuning.lease.seconds for lane in loader.text(text).destinations] == [30, 30]


def test_everything_can_come_from_the_environment():
    names = {
        f"CONVEY_DESTINATIONS__{index}__{key}": value for index in range(11) for key, value in _lane(index).items()
    }
    settings = load(None, names | {"CONVEY_SOURCES": f"[{{name: shop, keys: ['{KEY}']}}]"})
    assert [lane.name for lane in settings.destinations] == [f"acme-{index}" for index in range(11)]


def _lane(index: int) -> dict[str, str]:
    return {"NAME": f"acme-{index}", "TYPE": "acme", "PIXEL_ID": "1", "ACCESS_TOKEN": "t"}


@pytest.mark.parametrize(
    "token", ["a: b # c", "[a, b]", "${HOME}", "*x", "{", "[1", "'q", '{"type": "service_account"}']
)
def test_a_secret_from_the_environment_may_hold_any_character(loader, token):
    settings = loader(good(), CONVEY_DESTINATIONS__0__ACCESS_TOKEN=token, HOME="x")
    assert settings.destinations[0].settings.access_token.get_secret_value() == token


def test_the_config_variable_names_the_file(loader):
    loader(good())
    assert load(None, {"CONVEY_CONFIG": str(loader.file)}).sources[0].name == "shop"


def test_names_of_the_command_line_are_no_settings(loader):
    assert loader(good(), CONVEY_URL="http://x", CONVEY_KEY="k", CONVEY_CONFIG="elsewhere")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("CONVEY_SERVICE_HOST", "not a known setting"),
        ("CONVEY_", "not a known setting"),
        ("CONVEY_DESTINATIONS__2__NAME", "next free index is 1"),
        ("CONVEY_DESTINATIONS__X__NAME", "next free index is 1"),
        ("CONVEY_DESTINATIONS__0__NAME__X", "single value"),
    ],
)
def test_an_unknown_variable_is_an_error(loader, name, words):
    assert words in loader.faults(good(), **{name: SECRET})[name]


def test_a_fault_says_which_variable_set_the_value(loader):
    told = loader.faults(good(), CONVEY_SERVER__PORT=SECRET, CONVEY_SERVER__PROT="1")
    assert told == {
        "server.port": "must be a whole number (set by CONVEY_SERVER__PORT)",
        "server.prot": "is not a known key; did you mean port? (set by CONVEY_SERVER__PROT)",
    }


def test_an_empty_variable_is_an_error(loader):
    assert "is empty" in loader.faults(good(), CONVEY_SERVER__PORT="")["CONVEY_SERVER__PORT"]


# --- references -----------------------------------------------------------------------------------------------


def test_references_to_variables(loader):
    tree = good() | {"server": {"port": "${PORT}"}}
    tree["destinations"][0] |= {"access_token": "pre-${TOKEN}-$${x}", "pixel_id": "${PIXEL}"}
    settings = loader(tree, TOKEN=SECRET, PIXEL="7", PORT="99")
    assert settings.destinations[0].settings.access_token.get_secret_value() == f"pre-{SECRET}-${{x}}"
    assert settings.server.port == 99
    assert settings.summary()["destinations"][0]["pixel_id"] == "********"


def test_a_secret_file_is_read_and_read_again(loader, tmp_path):
    file = tmp_path / "token"
    file.write_text("first\n")
    tree = good()
    tree["destinations"][0]["access_token"] = {"file": str(file)}
    settings = loader(tree)
    lane = settings.destinations[0]
    assert lane.settings.access_token.get_secret_value() == "first"
    assert lane.secret_files == (file,)
    file.write_text("second")
    fresh: Any = reload_destination(settings, "acme")
    assert fresh.settings.access_token.get_secret_value() == "second"
    assert (fresh.name, fresh.tuning, fresh.secret_files) == (lane.name, lane.tuning, lane.secret_files)
    file.unlink()
    with pytest.raises(ConfigError, match=r"destinations\[0\]\.access_token: the file it names cannot be read"):
        reload_destination(settings, "acme")
    with pytest.raises(KeyError):
        reload_destination(settings, "other")


@pytest.mark.parametrize("name", ["CONVEY_DESTINATIONS__0__ACCESS_TOKEN__FILE", "CONVEY_DESTINATIONS__0__ACCESS_TOKEN"])
def test_the_environment_may_name_a_secret_file(loader, tmp_path, name):
    file = tmp_path / "token"
    file.write_text("from file")
    value = str(file) if name.endswith("FILE") else f"{{file: {file}}}"
    settings = loader(good(), **{name: value})
    assert settings.destinations[0].settings.access_token.get_secret_value() == "from file"


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), (b"", "empty"), (b"\n", "empty"), (b"\xff", "UTF-8"), (b"x" * (1 << 21), "1 MiB")],
)
def test_secret_files_that_cannot_be_used(loader, tmp_path, content, words):
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    tree = good()
    tree["destinations"][0]["access_token"] = {"file": str(file)}
    assert words in loader.faults(tree)["destinations[0].access_token"]


def test_references_to_nothing(loader):
    tree = good()
    tree["destinations"][0] |= {"access_token": "${TOKEN}", "pixel_id": "${PIXEL}"}
    assert loader.faults(tree, PIXEL="") == {
        "destinations[0].access_token": "the environment variable TOKEN is not set",
        "destinations[0].pixel_id": "the environment variable PIXEL is empty",
    }


# --- what is shown --------------------------------------------------------------------------------------------


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]


def test_the_summary_is_plain_and_masked(loader: Loader, tmp_path: Path):
    file = tmp_path / "second"
    file.write_text("another-secret")
    tree = good()
    tree["destinations"][0]["fallback_token"] = {"file": str(file)}
    tree["sources"][0]["keys"].append({"hash": OTHER_KEY, "name": "erp", "expires": "2027-01-31T00:00:00Z"})
    settings: Settings = loader(tree)
    summary = settings.summary()
    assert all(isinstance(leaf, str | int | bool | None) for leaf in _leaves(summary))
    shown = str(summary) + repr(settings)
    assert SECRET not in shown
    assert "another-secret" not in shown
    assert KEY not in str(summary)
    assert summary["destinations"][0]["access_token"] == "********"
    assert summary["sources"][0]["keys"][0]["hash"] == "sha256:abababab…"
    assert summary["sources"][0]["dedup_window"] == "48h"
    assert summary["destinations"][0]["retry"] == {"first": "2s", "cap": "5m", "max_attempts": 1000}


def test_every_shipped_adapter_can_be_configured():
    for kind in destinations().values():
        assert issubclass(kind.settings, DestinationSettings)
        read = spelled(kind.settings)
        assert set(read.model_fields) == set(kind.settings.model_fields)
        undescribed = [name for name, info in read.model_fields.items() if not info.description]
        assert not undescribed, f"{kind.name}: every field says what it means"


def test_the_consent_settings_reach_each_source_and_destination(loader):
    tree = good()
    tree["consent"] = {"opt_in": ["JP"], "opt_out_action": "deny", "max_age": "30d"}
    own = {"default_jurisdiction": "us-ca", "shopify_banner": ["EEA", "CH"]}
    tree["sources"][0] |= {"consent_policy": "regional", "consent": own}
    lane = tree["destinations"][0]
    first = {"purposes": ["stats"], "gvl_id": 7, "limited": "deny", "policy": "strict"}
    needs = (first, {"ac_id": 89, "onetrust_groups": ["C2", "C4"]}, {"tcf_purposes_only": True})
    tree["destinations"] = [{**lane, "name": f"acme{number}", "consent": each} for number, each in enumerate(needs)]
    settings = loader(tree)
    options = settings.consent_of(settings.sources[0])
    assert (options.policy, options.opt_in, options.opt_out_action) == ("regional", frozenset({"JP"}), "deny")
    assert (options.max_age, str(options.default_place)) == (timedelta(days=30), "US-CA")
    assert {"DE", "IS", "CH"} <= options.shopify_banner
    assert "EEA" not in options.shopify_banner
    first, second, third = (lane.consent for lane in settings.destinations)
    assert first == ConsentNeeds(purposes=("stats",), gvl_id=7, uses_limited=False, policy="strict")
    assert second == ConsentNeeds(ac_id=89, onetrust_groups=("C2", "C4"))
    assert third == ConsentNeeds(purposes_only=True)
    table = settings.consent_table()["shop"]
    assert set(table) == {lane.name for lane in settings.destinations}
    cells = table[settings.destinations[1].name]
    assert cells["opt-out (US)"]["US Privacy: opted out"] == "denied: us_opt_out (US_OPTED_OUT)"
    assert cells["notice (elsewhere)"]["nothing said"] == "denied: consent_missing (NO_SIGNAL)"  # Japan, by opt_in


def test_a_platform_on_a_list_needs_its_vendor_unless_it_is_mapped_otherwise():
    for settings, gvl_id in (({}, 755), ({"ac_id": 3}, None), ({"tcf_purposes_only": True}, None), ({"gvl_id": 9}, 9)):
        config = DestinationConsentConfig.model_validate(settings)
        assert consent_needs("google", config, has_consent_states=True).gvl_id == gvl_id
