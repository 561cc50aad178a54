"""What the live runs play on: gateways in processes of their own, the sandbox, callers that behave and misbehave."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.harness import JSON, KEY, Gateway, Order, Sandbox, free_port, sandbox_running

FAST = {"timeout": "2s", "lease": "8s", "retry": {"first": "200ms", "cap": "2s"}}
"""Retries that fit into minutes."""


class Stage:
    """Gateways, a sandbox and a clock of callers; everything ends with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self.sandbox: Sandbox = self._stack.enter_context(sandbox_running())
        self.ports: dict[str, int] = {}
        self._stopping = threading.Event()
        self._numbers = itertools.count()

    def gateway(self, name: str, **config: Any) -> Gateway:
        """A gateway that is not started yet; its metrics are at `ports[name]`."""
        self.ports[name] = free_port()
        server = {"metrics_port": self.ports[name], **config.pop("server", {})}
        gateway = Gateway(self._folder / name, self.sandbox.url, server=server, tuning=FAST, **config)
        self._stack.callback(gateway.close)
        return gateway

    def order(self, **changes: Any) -> dict[str, Any]:
        """The body of one order with a number nobody else has; `changes` replace or, when None, remove fields."""
        number = next(self._numbers)
        event = Order(f"L-{number}", Decimal(1000 + number % 5000) / 100).event
        event["custom_data"]["order_id"] = changes.get("transaction_id", event["transaction_id"])
        return {name: value for name, value in (event | changes).items() if value is not None}

    def every(self, seconds: float, gateway: Gateway, make: Callable[[], Sequence[dict[str, Any]]]) -> None:
        """Post what `make` returns, over and over, until the stage ends; answers and refusals are all one."""

        def post() -> None:
            with httpx.Client(headers={"authorization": f"Bearer {KEY}", **JSON}, timeout=5, trust_env=False) as http:
                while not self._stopping.wait(seconds):
                    events = list(make())
                    with contextlib.suppress(httpx.TransportError):
                        if events:
                            http.post(f"{gateway.url}/v1/events", json={"events": events})

        thread = threading.Thread(target=post, daemon=True)
        thread.start()
        self._stack.callback(thread.join, 10)

    def close(self) -> None:
        """End the callers, then everything else."""
        self._stopping.set()
        self._stack.close()


@contextlib.contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """A stage that is gone afterwards."""
    made = Stage(folder)
    try:
        yield made
    finally:
        made.close()
