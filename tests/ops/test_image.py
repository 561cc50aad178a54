"""The image without an engine: linted, read, its build stage run into a folder, and the result run as its user."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from app import __version__
from app.config import load
from tests.e2e.harness import free_port, wait_until, write_config
from tests.ops import dockerfile, tools
from tests.ops.dockerfile import Instruction

DOCKERFILE = tools.ROOT / "Dockerfile"
COMPOSE = tools.ROOT / "compose.yaml"
UID = 65532
BUILD, FINAL = dockerfile.stages(DOCKERFILE)


def of_name(stage: list[Instruction], name: str) -> list[str]:
    return [each.text for each in stage if each.name == name]


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if hadolint is None:
        tools.missing("hadolint")
    linted = subprocess.run([str(hadolint), str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout


def test_it_runs_as_nobody_in_particular_and_without_a_shell() -> None:
    assert of_name(FINAL, "USER") == [f"{UID}:{UID}"]
    assert json.loads(of_name(FINAL, "ENTRYPOINT")[0]) == ["python", "-m", "app"]
    assert json.loads(of_name(FINAL, "CMD")[0]) == ["serve"]
    assert of_name(FINAL, "STOPSIGNAL") == ["SIGTERM"]
    assert "8000 9090" in of_name(FINAL, "EXPOSE")
    assert not of_name(FINAL, "VOLUME")
    (check,) = of_name(FINAL, "HEALTHCHECK")
    assert "/livez" in json.loads(check.partition("CMD ")[2])[2]
    assert list(of_name(FINAL, "COPY")) == ["--from=build /opt/convey /opt/convey"]


def test_the_base_is_one_and_can_be_pinned() -> None:
    text = DOCKERFILE.read_text("utf-8")
    assert of_name(BUILD, "FROM") == ["${PYTHON_IMAGE} AS build"]
    assert of_name(FINAL, "FROM") == ["${PYTHON_IMAGE}"]
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.\d+-slim-\w+$", text, re.MULTILINE)
    assert f"ARG VERSION={__version__}" in text


def test_only_what_it_is_made_of_is_sent_to_the_build() -> None:
    ignore = tools.ROOT / ".dockerignore"
    for path in (
        "app/main.py",
        "app/outbox/sqlite/schema.sql",
        "pyproject.toml",
        "requirements/runtime.txt",
        "LICENSE",
    ):
        assert dockerfile.is_sent(path, ignore), path
    for path in (".git/config", ".venv/bin/python", "tests/conftest.py", "data/convey.db", "convey.yaml",
                 "requirements/dev.txt", "app/__pycache__/x.pyc", "app/revision.txt"):  # fmt: skip
        assert not dockerfile.is_sent(path, ignore), path


def reachable_python() -> Path:
    """An interpreter that the image's user can run on this machine."""
    for candidate in (Path(sys.executable).resolve(), Path("/usr/bin/python3")):
        try:
            words = [str(candidate), "-c", "import sys, venv; assert sys.version_info >= (3, 11)"]
            subprocess.run(words, **_as_nobody(), env={}, cwd="/", check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    tools.missing("Python 3.11 or newer that another user can run")
    raise AssertionError


def _as_nobody() -> dict[str, Any]:
    return {"user": UID, "group": UID, "extra_groups": []} if os.geteuid() == 0 else {}


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """The folder that the build stage filled, readable by everybody."""
    folder = Path(tempfile.mkdtemp(prefix="convey-image-"))
    try:
        folder.chmod(0o755)
        dockerfile.build(BUILD, folder, reachable_python(), REVISION="0123abc")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_what_is_built_runs_as_its_user_in_a_read_only_folder(image: Path) -> None:
    python = image / "opt" / "convey" / "bin" / "python"
    assert not (image / "opt" / "convey" / "bin" / "pip").exists()
    data, readonly = image / "data", image / "readonly"
    for folder, mode in ((data, 0o700), (readonly, 0o555)):
        folder.mkdir()
        if os.geteuid() == 0 and folder == data:
            os.chown(folder, UID, UID)
        folder.chmod(mode)
    port, metrics_port = free_port(), free_port()
    config = write_config(image / "etc", "http://127.0.0.1:9", port=port, server={"metrics_port": metrics_port},
                          store={"url": f"sqlite:///{data}/convey.db"})  # fmt: skip
    command = [
        str(python),
        "-B",
        "-m",
        "app",
        "serve",
        "--config",
        str(config),
    ]  # the image sets PYTHONDONTWRITEBYTECODE
    log = (image / "output.log").open("w+b")
    with log, subprocess.Popen(command, cwd=readonly, env={}, stdout=log, stderr=log, **_as_nobody()) as process:
        try:
            check = json.loads(of_name(FINAL, "HEALTHCHECK")[0].partition("CMD ")[2])
            healthy = [str(python), *(word.replace(":8000", f":{port}") for word in check[1:])]
            wait_until("the health check to succeed", lambda: _succeeds(healthy), 30, every_s=0.2)
            scraped = httpx.get(f"http://127.0.0.1:{metrics_port}/metrics", trust_env=False).text
            (info,) = [line for line in scraped.splitlines() if line.startswith("convey_build_info{")]
            assert f'version="{__version__}"' in info
            assert 'revision="0123abc"' in info
        finally:
            process.terminate()
            code = process.wait(timeout=30)
    assert code == 0, (image / "output.log").read_text()
    assert not list(readonly.iterdir())


def _succeeds(words: list[str]) -> bool:
    return subprocess.run(words, env={}, capture_output=True, check=False).returncode == 0


# --- compose ------------------------------------------------------------------------------------------------------


def test_compose_mounts_what_exists_and_publishes_to_the_loopback_only() -> None:
    services = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
    assert set(services) == {"convey", "platforms", "redis", "prometheus", "grafana"}
    for service in services.values():
        assert not service.get("image", ":1").endswith(":latest")
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            assert not source.startswith(".") or (tools.ROOT / source).exists(), source


def test_the_gateway_of_compose_is_configured_well() -> None:
    settings = load(tools.ROOT / "deploy" / "compose" / "convey.yaml", {})
    assert not settings.warnings
    assert len(settings.destinations) == 4


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    config = (tools.ROOT / "deploy" / "compose" / "prometheus.yml").read_text("utf-8")
    path = tmp_path / "prometheus.yml"
    path.write_text(config.replace("/etc/prometheus/rules", str(tools.RULES)))
    checked = tools.run("promtool", "check", "config", path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
