"""The processes of a measurement: started, told apart, and put away again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson

KEY = "ck_bench"
PATIENCE_S = 120.0
ROOT = Path(__file__).parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A measurement that means nothing: something refused, lost or never came up."""


def python(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """One of this repository's modules as a process."""
    return subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT, text=True, **options)


def put_away(process: subprocess.Popen[str]) -> None:
    """End a process, and see it end."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cpu_seconds(pid: int) -> float:
    """The CPU a running process has used in all its threads, user and kernel, to the clock tick."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextlib.contextmanager
def sink(mode: str = "ok") -> Iterator[str]:
    """The origin of a sink that runs until the block is left and answers as `mode` says."""
    process = python("bench.sink", mode, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        put_away(process)


def configuration(folder: Path, sink_url: str, linger: str) -> Path:
    """A gateway's configuration with its store in `folder` and four destinations at the sink."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    own: dict[str, dict[str, str]] = {
        "meta": {"pixel_id": "1234567890"},
        "tiktok": {"pixel_code": "C4ABCDEFGHIJ"},
        "pinterest": {"ad_account_id": "549"},
        "snapchat": {"pixel_id": "0b1c7e8a-0d4f-4e9c-9550-d6a2f9b1e110"},
    }
    document = {
        "server": {"port": 0, "metrics_port": 0},
        "store": {"url": f"sqlite:///{folder}/convey.db"},
        "sources": [
            {"name": "shop", "keys": [{"hash": f"sha256:{digest}", "name": "bench", "scopes": ["ingest", "read"]}]}
        ],
        "destinations": [
            {"name": name, "type": name, "access_token": "t0ken", "base_url": sink_url, "linger": linger, **fields}
            for name, fields in own.items()
        ],
    }
    path = folder / "convey.yaml"
    path.write_bytes(orjson.dumps(document))
    return path


class Server:
    """A running gateway, or the empty server: both say where they listen in the same log line."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.pid = process.pid
        self.port = self._port(process, log)
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", headers={"authorization": f"Bearer {KEY}"}, trust_env=False
        )

    @staticmethod
    def _port(process: subprocess.Popen[str], log: Path) -> int:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and process.poll() is None:
            for line in log.read_bytes().splitlines():
                if b'"event":"started"' in line:
                    return int(orjson.loads(line)["port"])
            time.sleep(0.05)
        raise BenchError(f"the server did not start: {log.read_text()[-2000:]}")

    def close(self) -> None:
        """Close the connections to it."""
        self._client.close()

    def accounts(self) -> dict[str, dict[str, int]]:
        """The ledger's account of every destination."""
        accounts: dict[str, dict[str, int]] = self._client.get("/v1/ledger").json()["destinations"]
        return accounts

    def until_delivered(self, sink_url: str, events: int) -> None:
        """Return once every destination has settled `events` deliveries, and each as delivered.

        It is the sink that is asked until it has them all, as asking the gateway would be work of the gateway's.
        """
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if min(self._client.get(sink_url).json().values()) >= events:
                accounts = self.accounts().values()
                if all(account["delivered"] == account["queued"] == events for account in accounts):
                    return
            time.sleep(0.05)
        raise BenchError(f"not everything was delivered: {self.accounts()}")


@contextlib.contextmanager
def server(module: str, folder: Path, *arguments: str) -> Iterator[Server]:
    """The server `module` runs, its log in `folder`, until the block is left."""
    log = folder / "log"
    with log.open("wb") as output:
        process = python(module, *arguments, stdout=output, stderr=subprocess.STDOUT)
        running = None
        try:
            running = Server(process, log)
            yield running
        finally:
            if running is not None:
                running.close()
            put_away(process)


class Load:
    """A backend about to post orders; `go` lets it and tells how it went."""

    def __init__(self, port: int, *, first: int, events: int, batch: int, connections: int, rate: int = 0) -> None:
        numbers = {
            "port": port,
            "first": first,
            "events": events,
            "batch": batch,
            "connections": connections,
            "rate": rate,
        }
        arguments = [f"--{name}={value}" for name, value in numbers.items()]
        self._process = python("bench.load", f"--key={KEY}", *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            put_away(self._process)
            raise BenchError("the load generator did not start")

    def go(self) -> dict[str, Any]:
        """Post everything, and see that everything was accepted."""
        output, _ = self._process.communicate("go\n", timeout=PATIENCE_S)
        result: dict[str, Any] = orjson.loads(output)
        if result["faults"]:
            raise BenchError(f"{result['faults']} requests were refused, the first with: {result['fault']}")
        return result
