"""A Prometheus of our own: a process on a free port of the loopback, its data in a folder that is gone afterwards."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.e2e.harness import free_port, wait_until
from tests.ops import tools


class Prometheus:
    """Scrapes the metrics ports of gateways. `jobs` maps a job to its ports; all are in the namespace `live`."""

    def __init__(self, jobs: Mapping[str, Sequence[int]], rules: Sequence[str], interval_s: int = 1) -> None:
        """`rules` are the texts of rule files."""
        self._folder = tempfile.TemporaryDirectory(prefix="convey-prometheus-")
        folder = Path(self._folder.name)
        self.url = f"http://127.0.0.1:{free_port()}"
        for number, text in enumerate(rules):
            (folder / f"rules-{number}.yaml").write_text(text)
        every = f"{interval_s}s"
        config = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": [f"{folder}/rules-*.yaml"],
            "scrape_configs": [
                {
                    "job_name": job,
                    "static_configs": [
                        {"targets": [f"127.0.0.1:{port}" for port in ports], "labels": {"namespace": "live"}}
                    ],
                }
                for job, ports in jobs.items()
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._log = (folder / "output.log").open("w+b")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it is ready."""
        folder = self._folder.name
        command = [
            tools.require("prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--enable-feature=exemplar-storage",
        ]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        wait_until("Prometheus to be ready", self._is_ready, 60, every_s=0.2)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, Path(self._folder.name, "output.log").read_text()[-2000:]
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=2, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def ask(self, path: str, **parameters: Any) -> Any:
        """The data of one call of its API."""
        answer = httpx.post(f"{self.url}/api/v1/{path}", data=parameters, timeout=30, trust_env=False)
        answer.raise_for_status()
        return answer.json()["data"]

    def firing(self) -> list[dict[str, str]]:
        """The labels of every alert that fires."""
        answer = httpx.get(f"{self.url}/api/v1/alerts", timeout=30, trust_env=False)
        return [alert["labels"] for alert in answer.json()["data"]["alerts"] if alert["state"] == "firing"]

    def close(self) -> None:
        """End it and delete its data."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)
        self._log.close()
        self._folder.cleanup()
