"""The chart as Helm renders it, and a pod of it run here: its command, its environment, its files, its probes."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.e2e.harness import free_port
from tests.ops import tools

VALUE_SETS = sorted((tools.CHART / "ci").glob("*-values.yaml"))
RELEASE = "shop"
Object = dict[str, Any]


@functools.cache
def render(*arguments: str) -> tuple[Object, ...]:
    """Every object of a release with these arguments to `helm template`."""
    made = tools.run("helm", "template", RELEASE, tools.CHART, "--namespace", "ads", *arguments)
    assert made.returncode == 0, made.stderr
    return tuple(document for document in yaml.safe_load_all(made.stdout) if document)


def refused(*arguments: str) -> str:
    """What Helm says against values."""
    made = tools.run("helm", "template", RELEASE, tools.CHART, *arguments)
    assert made.returncode != 0, "these values were accepted"
    return made.stderr


def of_kind(objects: Sequence[Object], *kinds: str) -> list[Object]:
    """The objects of these kinds."""
    return [each for each in objects if each["kind"] in kinds]


def pods(objects: Sequence[Object]) -> list[Object]:
    """The pod templates of the workloads, `helm test` left out."""
    return [each["spec"]["template"] for each in of_kind(objects, "Deployment", "StatefulSet")]


def config_text(objects: Sequence[Object]) -> str:
    """The configuration file."""
    data: list[dict[str, str]] = [each.get("data", {}) for each in of_kind(objects, "ConfigMap")]
    (text,) = [files["convey.yaml"] for files in data if "convey.yaml" in files]
    return text


class Pod:
    """One pod of a workload, as a process here. What is mounted lies below `folder`; the ports are free ones."""

    def __init__(
        self, folder: Path, workload: Object, objects: Sequence[Object], secrets: Mapping[str, Mapping[str, str]]
    ) -> None:
        """`secrets` are the Secrets of the cluster, by name, with their keys."""
        self.spec = workload["spec"]["template"]["spec"]
        (self.container,) = [each for each in self.spec["containers"] if each["name"] == "convey"]
        self.folder = folder
        self.port, self.metrics_port = free_port(), free_port()
        self.output = folder / "output.log"
        self._mounts = {mount["name"]: mount["mountPath"] for mount in self.container["volumeMounts"]}
        self._fill(objects, secrets)
        self._process: subprocess.Popen[bytes] | None = None

    def _fill(self, objects: Sequence[Object], secrets: Mapping[str, Mapping[str, str]]) -> None:
        for path in self._mounts.values():
            self.place(path).mkdir(parents=True, exist_ok=True)
        files = {"config": {"convey.yaml": self.here(config_text(objects))}}
        for volume in self.spec["volumes"]:
            if "secret" in volume:
                files[volume["name"]] = dict(secrets[volume["secret"]["secretName"]])
        for name, contents in files.items():
            for key, text in contents.items():
                (self.place(self._mounts[name]) / key).write_text(text)

    def place(self, path: str) -> Path:
        """Where a path of the container lies here."""
        return self.folder / path.lstrip("/")

    def here(self, text: str) -> str:
        """`text` with the container's mount paths as they are here."""
        paths = "|".join(map(re.escape, sorted(self._mounts.values(), key=len, reverse=True)))
        return re.sub(rf"({paths})(?![\w.-])", lambda found: str(self.place(found[1])), text)

    def start(self) -> None:
        """Run the container's command with its environment, plus the ports that are free here."""
        image_command = [sys.executable, "-m", "app"]  # the image's ENTRYPOINT
        environ = {each["name"]: self.here(each["value"]) for each in self.container["env"]} | {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(tools.ROOT),
            "CONVEY_SERVER__HOST": "127.0.0.1",
            "CONVEY_SERVER__METRICS_HOST": "127.0.0.1",
            "CONVEY_SERVER__PORT": str(self.port),
            "CONVEY_SERVER__METRICS_PORT": str(self.metrics_port),
        }
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [*image_command, *self.container["args"]], cwd=self.folder, env=environ, stdout=output, stderr=output
            )

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The container's process."""
        assert self._process is not None
        return self._process

    def probe(self, kind: str) -> bool:
        """One probe as the kubelet makes it: only an answer from 200 to 399 in time is a success."""
        probe = self.container[f"{kind}Probe"]
        assert probe["httpGet"]["port"] == "http"
        try:
            url = f"http://127.0.0.1:{self.port}{probe['httpGet']['path']}"
            return 200 <= httpx.get(url, timeout=probe["timeoutSeconds"], trust_env=False).status_code < 400
        except httpx.TransportError:
            return False

    def await_probe(self, kind: str) -> None:
        """Probe at the probe's own period until it succeeds; fail when the kubelet would give up on the container."""
        probe = self.container[f"{kind}Probe"]
        for _ in range(max(60, probe["failureThreshold"])):
            if self.probe(kind):
                return
            assert self.process.poll() is None, self.tail()
            time.sleep(probe["periodSeconds"])
        raise AssertionError(f"the {kind} probe never succeeded:\n{self.tail()}")

    def terminate(self) -> float:
        """End the pod as the kubelet does, with the rendered grace; returns the seconds it took after SIGTERM."""
        time.sleep(self.container["lifecycle"]["preStop"]["sleep"]["seconds"])
        grace_s = (
            self.spec["terminationGracePeriodSeconds"] - self.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        )
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=grace_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"SIGKILL: it did not end within the grace of {grace_s} s\n{self.tail()}") from None
        assert code == 0, self.tail()
        return time.monotonic() - began

    def close(self) -> None:
        """Leave nothing running."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=10)

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-20:])


@contextmanager
def running(*pods: Pod) -> Iterator[None]:
    """Every pod started and ready; gone afterwards."""
    try:
        for pod in pods:
            pod.start()
        for pod in pods:
            pod.await_probe("startup")
            pod.await_probe("readiness")
            assert pod.probe("liveness")
        yield
    finally:
        for pod in pods:
            pod.close()
