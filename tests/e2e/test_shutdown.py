"""SIGTERM while orders come in and go out: the end is in time and clean, and the next process finds everything."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.backing import Backing
from tests.e2e.harness import (
    KEY,
    META,
    PLATFORMS,
    Gateway,
    Load,
    Order,
    Sandbox,
    assert_ledger_closes,
    body_of,
    gateway_running,
    orders,
    read_book,
    wait_until,
)

GRACE_S = 20.0
MARGIN_S = 5.0
SERVER = {"graceful_shutdown": "5s", "drain": "3s"}
SHORT = {"timeout": "2s", "lease": "8s", "retry": {"first": "200ms", "cap": "1s"}}
LONG = {"timeout": "60s", "lease": "70s", "retry": {"first": "200ms", "cap": "1s"}}


def pending_and_free(backing: Backing, within: timedelta) -> int:
    """How many deliveries an ended process left pending; each must be nobody's, and ready `within` from now."""
    waiting = backing.waiting(datetime.now(UTC) + within)
    assert waiting.ready == waiting.pending
    return waiting.pending


def stop_in_time(gateway: Gateway) -> float:
    """Ask the gateway to end; returns how long it took, all within the grace."""
    began = time.monotonic()
    gateway.terminate()
    code = gateway.wait(GRACE_S + MARGIN_S)
    took = time.monotonic() - began
    assert code == 0, gateway.tail()
    assert gateway.logged("stopped"), gateway.tail()
    return took


def restart_and_deliver(gateway: Gateway, sandbox: Sandbox, expected: set[str], *, at_most: set[str]) -> None:
    """A new process on the same data delivers all of `expected`, once; `at_most` is all there may be."""
    sandbox.heal()
    gateway.start()
    gateway.wait_settled(timeout_s=60)
    ledger = gateway.ledger()
    assert_ledger_closes(ledger)
    for name in PLATFORMS:
        counted = sandbox.counted(name)
        assert set(counted.values()) <= {1}
        assert expected <= counted.keys() <= at_most
        assert ledger[name]["delivered"] == ledger[name]["queued"] == len(counted)
    assert gateway.stop() == 0


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "slow", "times": None, "delay_s": 0.5},
        {"kind": "hang", "times": None, "max_s": 120},
        {"kind": "hang", "times": None, "max_s": 120, "process": True},
    ],
    ids=["slow", "hang", "hang-after-taking"],
)
def test_sigterm_under_load_loses_nothing_and_answers_nothing_but_202(
    fault: dict[str, Any], tmp_path: Path, sandbox: Sandbox, backing: Backing, figures: Callable[[str], None]
) -> None:
    sandbox.script_all(fault)
    with gateway_running(tmp_path / "gateway", sandbox, tuning=SHORT, server=SERVER, store=backing.settings) as gateway:
        load = Load(gateway.url, prefix="T", seed=1, retries=False, pause_s=0.01)
        try:
            load.start()
            wait_until("some load", lambda: len(load.snapshot()) > 100)
            wait_until("sends under way", lambda: all(sandbox.requests(name) for name in PLATFORMS))
            took = stop_in_time(gateway)
        finally:
            load.abort()
        assert not load.wrong, load.wrong[:3]
        assert {status for status in load.statuses if isinstance(status, int)} == {202}
        refused = {status for status in load.statuses if isinstance(status, str)}
        assert refused <= {"ConnectError", "RemoteProtocolError", "ReadError", "WriteError"}, refused
        book = backing.book(load.posted)
        assert not book.missing(load.accepted)
        pending = pending_and_free(backing, within=timedelta(seconds=8))
        if fault["kind"] == "hang":
            assert pending == len(book.events) * len(PLATFORMS)
        figures(f"ended after {took:.1f} s, {len(load.accepted)} orders accepted, {pending} deliveries pending")
        restart_and_deliver(gateway, sandbox, set(load.accepted), at_most=set(load.posted))


def test_a_send_that_will_not_end_is_put_back_at_the_end_of_the_grace(
    tmp_path: Path, sandbox: Sandbox, backing: Backing, figures: Callable[[str], None]
) -> None:
    sandbox.script(META, {"kind": "hang", "times": None, "max_s": 120, "process": True})
    with gateway_running(tmp_path / "gateway", sandbox, tuning=LONG, server=SERVER, store=backing.settings) as gateway:
        some = orders("G", 40)
        gateway.accept(*some)
        gateway.wait_settled(*(name for name in PLATFORMS if name != META))
        wait_until("a send to be under way", lambda: sandbox.requests(META))
        took = stop_in_time(gateway)
        assert gateway.logged("delivery.attempted", destination=META, detail="cut short by shutdown")
        # What was cut short was put back: only its retry's wait is left, not its lease of 70 s.
        assert pending_and_free(backing, within=timedelta(seconds=2)) == len(some)
        figures(f"ended after {took:.1f} s with a request that would have lasted 60 s")
        ids = {order.event_id for order in some}
        restart_and_deliver(gateway, sandbox, ids, at_most=ids)
        assert sandbox.taken(META) == dict.fromkeys(ids, 2), "it was sent once before and once after the restart"


def test_a_request_under_way_is_finished(tmp_path: Path, sandbox: Sandbox) -> None:
    with gateway_running(tmp_path / "gateway", sandbox, tuning=SHORT, server=SERVER) as gateway:
        (order,) = orders("U", 1)
        with half_posted(gateway, order) as finish:
            gateway.terminate()
            wait_until("the gateway to have heard", lambda: gateway.logged("stopping"))
            head = finish()
        assert head.startswith(b"HTTP/1.1 202 "), head
        assert gateway.wait() == 0
        restart_and_deliver(gateway, sandbox, {order.event_id}, at_most={order.event_id})


def test_a_request_that_is_never_finished_does_not_hold_the_end_up(tmp_path: Path, sandbox: Sandbox) -> None:
    with gateway_running(tmp_path / "gateway", sandbox, tuning=SHORT, server={"graceful_shutdown": "1s"}) as gateway:
        (order,) = orders("V", 1)
        with half_posted(gateway, order):
            assert stop_in_time(gateway) < 10
        assert order.event_id not in read_book(gateway.database, tmp_path / "scratch").events


@contextlib.contextmanager
def half_posted(gateway: Gateway, order: Order) -> Any:
    """A connection with half a POST on it; what it yields sends the rest and returns the answer's beginning."""
    body = body_of([order])
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        head = (
            f"POST /v1/events HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {KEY}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body[: len(body) // 2])

        def finish() -> bytes:
            connection.sendall(body[len(body) // 2 :])
            return connection.recv(4096)

        yield finish


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once_and_still_loses_nothing(
    first: signal.Signals, tmp_path: Path, sandbox: Sandbox, figures: Callable[[str], None]
) -> None:
    sandbox.script_all({"kind": "hang", "times": None, "max_s": 120})
    with gateway_running(tmp_path / "gateway", sandbox, tuning=LONG, server=SERVER) as gateway:
        some = orders("N", 40)
        gateway.accept(*some)
        wait_until("sends under way", lambda: all(sandbox.requests(name) for name in PLATFORMS))
        gateway.process.send_signal(first)
        wait_until("the gateway to have heard", lambda: gateway.logged("stopping"))
        began = time.monotonic()
        gateway.terminate()
        code = gateway.wait(GRACE_S + MARGIN_S)
        took = time.monotonic() - began
        figures(f"ended {took:.2f} s after the second signal with code {code}")
        assert took < 3, gateway.tail()
        assert code in {128 + signal.SIGTERM, -signal.SIGTERM}, gateway.tail()
        ids = {order.event_id for order in some}
        restart_and_deliver(gateway, sandbox, ids, at_most=ids)
