"""The README's quickstart, run as it stands: same configuration, same commands, only the ports are free ones."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
BIN = Path(sys.executable).parent


def block(language: str, containing: str) -> str:
    """The one fenced block of the README that holds `containing`."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if containing in text]
    return str(found)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(arguments: list[str], folder: Path, environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    log = folder / f"{arguments[0]}.log"
    with log.open("wb") as output:
        process = subprocess.Popen([BIN / "convey", *arguments], cwd=folder, env=environ, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def answers(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "it ended instead of serving"
        try:
            if httpx.get(url, trust_env=False).status_code < 500:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    pytest.fail(f"nothing answers at {url}")


def test_the_quickstart(tmp_path: Path) -> None:
    api, metrics, sandbox = free_port(), free_port(), free_port()
    config = block("yaml", "sources:").replace("127.0.0.1:8090", f"127.0.0.1:{sandbox}")
    printed = subprocess.check_output([BIN / "convey", "keys", "new"], cwd=tmp_path, text=True)
    key, digest = re.search(r"ck_[\w-]{43}", printed), re.search(r"sha256:[0-9a-f]{64}", printed)
    assert key is not None
    assert digest is not None
    config = config.replace("sha256:PASTE-YOURS-HERE", digest[0])
    (tmp_path / "convey.yaml").write_text(config)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CONVEY_")} | {
        "META_TOKEN": "try-me",
        "TIKTOK_TOKEN": "try-me",
        "CONVEY_KEY": key[0],
        "CONVEY_SERVER__PORT": str(api),
        "CONVEY_SERVER__METRICS_PORT": str(metrics),
    }
    subprocess.run([BIN / "convey", "config", "check"], cwd=tmp_path, env=environ, check=True, capture_output=True)
    curl = block("sh", "curl -s http://127.0.0.1:8000/v1/events -H").replace("127.0.0.1:8000", f"127.0.0.1:{api}")
    _export, post, read, ledger = re.split(r"\n\n|\n(?=curl)", curl.strip())
    with ExitStack() as stack:
        platforms = stack.enter_context(running(["sandbox", "--port", str(sandbox)], tmp_path, environ))
        answers(f"http://127.0.0.1:{sandbox}/", platforms)
        gateway = stack.enter_context(running(["serve", "--config", "convey.yaml"], tmp_path, environ))
        answers(f"http://127.0.0.1:{api}/readyz", gateway)
        posted = json.loads(subprocess.check_output(["bash", "-c", post], env=environ))
        assert posted["results"][0]["event_id"] == "purchase_ORD-12345"
        assert set(posted["results"][0]["destinations"]) == {"meta", "tiktok"}
        deadline = time.monotonic() + 30
        while True:
            event = json.loads(subprocess.check_output(["bash", "-c", read], env=environ))
            outcomes = {name: each["outcome"] for name, each in event["destinations"].items()}
            if outcomes == {"meta": "delivered", "tiktok": "delivered"} or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        assert outcomes == {"meta": "delivered", "tiktok": "delivered"}
        accounts = json.loads(subprocess.check_output(["bash", "-c", ledger], env=environ))["destinations"]
        assert accounts["meta"]["money"]["USD"]["delivered"] == "129.90"


def test_every_link_leads_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_versions_agree() -> None:
    from app import __version__

    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == __version__
