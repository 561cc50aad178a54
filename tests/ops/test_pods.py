"""The rendered workloads, run here: command, environment and files of a container, probed and ended as by a kubelet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.harness import KEY, PLATFORMS, Load, Sandbox, assert_ledger_closes, sandbox_running, wait_until
from tests.ops.chart import Pod, of_kind, render, running
from tests.redis_server import RedisServer

DRAIN = "drain.preStopSeconds=1,drain.gracefulSeconds=10,drain.workerSeconds=5"
SECRETS = {"tokens": {"token": "t0ken"}}
ACCOUNTS = {
    "meta": "pixel_id=1234567890",
    "tiktok": "pixel_code=C4ABCDEFGHIJ",
    "pinterest": "ad_account_id=549755885175",
    "snapchat": "pixel_id=0b1c7e8a-0d4f-4e9c-9550-d6a2f9b1e110",
}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with sandbox_running() as running_sandbox:
        yield running_sandbox


def values(sandbox: Sandbox, **more: str) -> list[str]:
    """The arguments of a release whose platforms are the sandbox."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    arguments = ["--set", f"{DRAIN},secrets.existingSecret=tokens"]
    arguments += [
        "--set-string",
        f"sources[0].name=shop,sources[0].keys[0]=sha256:{digest},sources[0].default_region=US",
    ]
    for name, account in ACCOUNTS.items():
        own = f"destinations.{name}"
        arguments += ["--set", f"{own}.type={name},{own}.base_url={sandbox.url},{own}.secrets.access_token=token"]
        arguments += ["--set-string", f"{own}.{account}"]
    return arguments + [part for key, value in more.items() for part in ("--set", f"{key.replace('__', '.')}={value}")]


def settled(port: int) -> bool:
    ledger = httpx.get(f"http://127.0.0.1:{port}/v1/ledger", headers={"authorization": f"Bearer {KEY}"}).json()
    return all(account["pending"] == 0 for account in ledger["destinations"].values())


def end_under_load(taking: Pod, sandbox: Sandbox, end: Callable[[], object]) -> tuple[set[str], set[str]]:
    """Post until the pod is ended and gone; which orders were answered 202, and which were posted at all.

    A balancer stops sending to a pod when its readiness falls; these clients do not, and still get no 5xx.
    """
    load = Load(f"http://127.0.0.1:{taking.port}", prefix="K", seed=7, clients=3, retries=False, pause_s=0.02)
    try:
        load.start()
        wait_until("some load", lambda: len(load.snapshot()) > 60)
        end()
    finally:
        load.abort()
    assert not load.wrong, load.wrong[:3]
    assert {status for status in load.statuses if isinstance(status, int)} == {202}
    return set(load.accepted), set(load.posted)


def check_counted(taking: Pod, sandbox: Sandbox, accepted: set[str], posted: set[str]) -> None:
    """Everything that was answered 202 arrives, once, and the ledger closes."""
    wait_until("everything to be settled", lambda: settled(taking.port), 60, every_s=0.1)
    ledger = httpx.get(f"http://127.0.0.1:{taking.port}/v1/ledger", headers={"authorization": f"Bearer {KEY}"}).json()
    assert_ledger_closes(ledger["destinations"])
    for name in PLATFORMS:
        counted = sandbox.counted(name)
        assert set(counted.values()) == {1}
        assert accepted <= counted.keys() <= posted


def test_the_statefulset_starts_drains_and_loses_nothing(tmp_path: Path, sandbox: Sandbox) -> None:
    objects = render(*values(sandbox))
    (workload,) = of_kind(objects, "StatefulSet")
    pod = Pod(tmp_path, workload, objects, SECRETS)
    with running(pod):
        accepted, posted = end_under_load(pod, sandbox, pod.terminate)
        assert not pod.probe("readiness")
    with running(pod):  # the next pod finds the volume
        check_counted(pod, sandbox, accepted, posted)
        pod.terminate()


def test_api_and_worker_deployments_start_drain_and_lose_nothing(tmp_path: Path, sandbox: Sandbox) -> None:
    redis = RedisServer()
    try:
        redis.start()
        objects = render(
            *values(sandbox, mode="split", externalRedis__host="127.0.0.1", externalRedis__port=str(redis.port))
        )
        workloads = {each["metadata"]["name"]: each for each in of_kind(objects, "Deployment")}
        api = Pod(tmp_path / "api", workloads["shop-convey-api"], objects, SECRETS)
        next_api = Pod(tmp_path / "next", workloads["shop-convey-api"], objects, SECRETS)
        worker = Pod(tmp_path / "worker", workloads["shop-convey-worker"], objects, SECRETS)
        with running(api, worker, next_api):

            def end() -> None:
                worker.terminate()
                api.terminate()

            accepted, posted = end_under_load(api, sandbox, end)
            worker.start()
            worker.await_probe("readiness")
            check_counted(next_api, sandbox, accepted, posted)
            assert worker.terminate() < 15
            next_api.terminate()
    finally:
        redis.close()
