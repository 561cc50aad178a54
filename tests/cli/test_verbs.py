from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml

import app.config.settings
import app.notices
from app import __version__
from app.config import Settings, load
from tests.config.support import ACME, KEY, SECRET, good


@pytest.fixture
def config_file(tmp_path, monkeypatch):
    monkeypatch.setattr(app.config.settings, "known_destinations", lambda: {"acme": ACME})
    told = replace(ACME, has_test_mode=lambda settings: False)
    monkeypatch.setattr(app.notices, "known_destinations", lambda: {"acme": told})
    file = tmp_path / "other.yaml"
    file.write_text(yaml.safe_dump(good()))
    return file


VERBS = [
    ("serve",),
    ("sandbox",),
    ("send",),
    ("ledger",),
    ("reconcile",),
    ("doctor",),
    ("config",),
    ("config", "check"),
    ("config", "show"),
    ("config", "schema"),
    ("keys",),
    ("keys", "new"),
    ("keys", "forget"),
]


@pytest.mark.parametrize("verb", [(), *VERBS])
def test_every_help_text_has_an_example(run, verb):
    done = run(*verb, "--help")
    assert done.exit_code == 0
    assert f"Example: convey {' '.join(verb)}".strip() in done.stdout
    assert "Example" in done.stdout


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("send",), ("sandbox", "--port", "70000"), ("config", "nonsense"), ("serve", "--nope")]
)
def test_a_wrong_command_line_ends_with_2(run, arguments):
    done = run(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "Usage" in done.stderr


def test_the_version(run):
    assert run("--version").stdout == f"convey {__version__}\n"


def test_python_m_app_is_convey():
    done = subprocess.run([sys.executable, "-m", "app", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"convey {__version__}\n"


# --- keys -----------------------------------------------------------------------------------------------------


def test_a_new_key_fits_its_hash_and_its_snippet(run, config_file):
    printed = run("keys", "new").stdout
    [key] = re.findall(r"\bck_[A-Za-z0-9_-]{43}(?=\s)", printed)
    digest = f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
    assert printed.count(key) == 1
    assert printed.count(digest) == 2
    assert yaml.safe_load(printed.split("belongs to:\n")[1]) == {"keys": [digest]}
    assert key not in run("keys", "new").stdout


def test_a_key_with_a_name_and_scopes_is_taken_by_the_configuration(run, config_file):
    printed = run("keys", "new", "--name", "ops", "--scope", "admin", "--scope", "read").stdout
    tree = good()
    tree["sources"][0] |= yaml.safe_load(printed.split("belongs to:\n")[1])
    config_file.write_text(yaml.safe_dump(tree))
    [key] = load(config_file, {}).sources[0].keys
    assert key.name == "ops"
    assert key.scopes == frozenset({"admin", "read"})


def test_an_encryption_key_is_taken_by_the_configuration(run, config_file):
    printed = run("keys", "new", "--encryption", "--name", "k1").stdout
    [key] = re.findall(r"(?<=  )[A-Za-z0-9+/]{43}=(?=\s)", printed)
    assert len(base64.b64decode(key)) == 32
    tree = good() | yaml.safe_load(printed.split("until every process runs\nwith the new order:\n")[1])
    config_file.write_text(yaml.safe_dump(tree))
    encryption = load(config_file, {"ENCRYPTION_KEY": key}).store.encryption
    assert encryption is not None
    [made] = encryption.encryption.masters
    assert (made.id, made.key) == ("k1", base64.b64decode(key))
    assert run("keys", "new", "--encryption", "--name", "No Name").exit_code == 2


def test_a_lost_encryption_key_is_given_up(run, config_file, tmp_path):
    encryption = {"keys": [{"id": "k1", "key": "a" * 64}]}
    store = {"url": f"sqlite:///{tmp_path}/x.db"}

    def configured(**more):
        config_file.write_text(yaml.safe_dump(good() | {"store": {**store, **more}}))
        return run("destinations", "forget", "gone", "--yes", "--config", str(config_file))

    assert "nothing was ever queued" in configured(encryption=encryption).stderr
    refused = run("keys", "forget", "k1", "--yes", "--config", str(config_file))
    assert (refused.exit_code, "is configured" in refused.stderr) == (2, True)
    assert "convey keys forget k1" in configured().stderr
    assert run("keys", "forget", "k1", "--config", str(config_file), stdin="n\n").exit_code == 1
    unknown = run("keys", "forget", "k9", "--yes", "--config", str(config_file))
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "nothing is wrapped under k9, and nothing was deleted" in unknown.stderr
    done = run("keys", "forget", "k1", "--yes", "--config", str(config_file))
    assert (done.exit_code, "k1: data keys deleted: 2;" in done.stdout) == (0, True)
    assert "nothing is wrapped under k1" in run("keys", "forget", "k1", "--yes", "--config", str(config_file)).stderr
    assert "nothing was ever queued" in configured().stderr


def test_an_unknown_scope(run):
    done = run("keys", "new", "--scope", "root")
    assert done.exit_code == 2
    assert "scopes are ingest, read, admin, receipts" in done.stderr


# --- config ---------------------------------------------------------------------------------------------------


def test_config_check(run, config_file):
    done = run("config", "check", "--config", str(config_file), CONVEY_URL="http://x", CONVEY_KEY="k")
    assert (done.exit_code, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == "the configuration is fine: sources shop; destinations acme (acme)"
    assert second.startswith("at rest: events and contexts are kept in clear")


def test_config_check_finds_the_file(run, config_file):
    assert run("config", "check", CONVEY_CONFIG=str(config_file)).exit_code == 0
    assert run("config", "check").exit_code == 2
    config_file.rename(config_file.with_name("convey.yaml"))
    assert run("config", "check").exit_code == 0


def test_config_check_tells_every_mistake_on_stderr(run, config_file):
    done = run("config", "check", "-c", str(config_file), CONVEY_SERVER__PORT="x", CONVEY_SORCES="1")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "error: CONVEY_SORCES: is not a known setting (in Kubernetes, set enableServiceLinks: false)",
        "error: server.port: must be a whole number (set by CONVEY_SERVER__PORT)",
        "convey: the configuration has 2 mistakes",
    ]


def test_config_show_masks_secrets(run, config_file):
    as_yaml = run("config", "show", "-c", str(config_file), CONVEY_STORE__DURABILITY="memory")
    as_json = run("config", "show", "-c", str(config_file), "--json")
    assert as_yaml.stderr.startswith("warning: store.durability: ")
    assert yaml.safe_load(as_yaml.stdout)["store"]["durability"] == "memory"
    assert json.loads(as_json.stdout)["destinations"][0]["access_token"] == "********"
    assert SECRET not in as_yaml.output + as_json.output
    assert KEY not in as_yaml.output + as_json.output


def test_config_schema_is_json(run):
    assert json.loads(run("config", "schema").stdout)["title"] == "Convey configuration"


# --- serve, sandbox -------------------------------------------------------------------------------------------


def test_serve_hands_the_settings_to_the_gateway(run, config_file, monkeypatch):
    given: list[Settings] = []
    roles: list[str] = []

    def serve(settings, role):
        given.append(settings)
        roles.append(role)

    monkeypatch.setitem(sys.modules, "app.main", SimpleNamespace(serve=serve))
    assert run("serve", "--config", str(config_file), CONVEY_SERVER__PORT="0").exit_code == 0
    shared = {"CONVEY_STORE__URL": "redis://cache"}
    for role in ("api", "worker", "all"):
        assert run("serve", "--config", str(config_file), "--role", role, **shared).exit_code == 0
    assert given[0].server.port == 0
    assert roles == ["all", "api", "worker", "all"]


def test_serve_says_what_stopped_it(run, config_file, monkeypatch):
    def locked(settings, role):
        raise app.errors.StoreMismatch("the store is in use by another process")

    monkeypatch.setitem(sys.modules, "app.main", SimpleNamespace(serve=locked))
    done = run("serve", "--config", str(config_file))
    assert done.exit_code == 1
    assert done.stderr == "convey: the store is in use by another process\n"


@pytest.mark.parametrize("role", ["api", "worker"])
def test_an_sqlite_store_has_one_process_for_everything(run, config_file, role):
    done = run("serve", "--config", str(config_file), "--role", role)
    assert done.exit_code == 2
    assert done.stderr.startswith(
        f"error: store.url: names an SQLite file, which one process has for itself: role {role}"
    )


def test_a_role_that_there_is_not(run, config_file):
    done = run("serve", "--config", str(config_file), "--role", "x")
    assert done.exit_code == 2
    assert "'all', 'api', 'worker'" in done.stderr


def test_serve_with_a_broken_configuration(run):
    done = run("serve")
    assert done.exit_code == 2
    assert "error: sources: must have at least one source" in done.stderr


def test_sandbox_passes_on_where_to_listen(run, monkeypatch):
    given: list[object] = []

    def serve(host, port, *, port_file):
        given.append((host, port, str(port_file)))

    monkeypatch.setattr("app.sandbox.server.serve", serve)
    assert run("sandbox", "--port", "0", "--port-file", "p").exit_code == 0
    assert given == [("127.0.0.1", 0, "p")]


def test_sandbox_on_a_taken_port(run, monkeypatch):
    def serve(host, port, *, port_file):
        raise OSError(98, "Address already in use")

    monkeypatch.setattr("app.sandbox.server.serve", serve)
    done = run("sandbox")
    assert done.exit_code == 1
    assert done.stderr == "convey: cannot listen on 127.0.0.1:8090: Address already in use\n"
