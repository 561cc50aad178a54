"""A gateway in a process of its own, the sandbox as its platforms, orders for it, and an account of their fates.

Everything here goes over real HTTP and real files. What a test claims about the store it reads from the database
file itself, so that a ledger that merely agrees with itself does not pass.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from app.sandbox.server import SandboxServer

ROOT = Path(__file__).parents[2]
KEY = "ck_end-to-end"
META, TIKTOK, PINTEREST, SNAPCHAT = "meta", "tiktok", "pinterest", "snapchat"
PLATFORMS = (META, TIKTOK, PINTEREST, SNAPCHAT)
ACCOUNTS = {
    META: "1234567890",
    TIKTOK: "C4ABCDEFGHIJ",
    PINTEREST: "549755885175",
    SNAPCHAT: "0b1c7e8a-0d4f-4e9c-9550-d6a2f9b1e110",
}
PIXEL_NAMES = {META: "Purchase", TIKTOK: "Purchase", PINTEREST: "checkout", SNAPCHAT: "PURCHASE"}
"""What each platform's own pixel calls a purchase."""
CURRENCY = "EUR"
STATES = ("pending", "delivered", "dead", "expired", "withdrawn", "erased")
STATE_NUMBERS = {0: "pending", 1: "delivered", 2: "dead", 3: "expired", 4: "withdrawn", 5: "erased", 6: "dead"}


def wait_until(what: str, is_so: Callable[[], Any], timeout_s: float = 20.0, every_s: float = 0.02) -> Any:
    """The first true answer of `is_so`; an AssertionError that names `what` when the time is up."""
    deadline = time.monotonic() + timeout_s
    while not (answer := is_so()):
        if time.monotonic() > deadline:
            raise AssertionError(f"still waiting after {timeout_s} s for: {what}")
        time.sleep(every_s)
    return answer


def free_port() -> int:
    """A port nobody listens on, outside the range from which outgoing connections take theirs.

    A client that keeps knocking at a port while nobody listens could otherwise be given that very port, and
    then talks to itself.
    """
    while True:
        port = random.SystemRandom().randrange(15_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def is_listening(port: int) -> bool:
    """Whether somebody takes connections at this port; far cheaper than asking over HTTP."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# --- configuration ----------------------------------------------------------------------------------------------


def destinations(sandbox_url: str, tuning: Mapping[str, Any] | None = None, **secrets: Any) -> list[dict[str, Any]]:
    """The four destinations at the sandbox. `tuning` goes to each, `secrets` replaces a destination's token."""
    own = {
        META: {"pixel_id": ACCOUNTS[META]},
        TIKTOK: {"pixel_code": ACCOUNTS[TIKTOK]},
        PINTEREST: {"ad_account_id": ACCOUNTS[PINTEREST]},
        SNAPCHAT: {"pixel_id": ACCOUNTS[SNAPCHAT]},
    }
    return [
        {
            "name": name,
            "type": name,
            "base_url": sandbox_url,
            "access_token": secrets.get(name, "t0ken"),
            "linger": "20ms",
            **own[name],
            **(tuning or {}),
        }
        for name in PLATFORMS
    ]


def source(name: str = "shop", key: str = KEY, **more: Any) -> dict[str, Any]:
    """A source with one key that may ingest and read."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    return {"name": name, "keys": [f"sha256:{digest}"], "default_region": "US", **more}


def write_config(
    folder: Path,
    sandbox_url: str,
    *,
    port: int = 0,
    tuning: Mapping[str, Any] | None = None,
    store: Mapping[str, Any] | None = None,
    server: Mapping[str, Any] | None = None,
    sources: Sequence[Mapping[str, Any]] | None = None,
    secrets: Mapping[str, Any] | None = None,
) -> Path:
    """A configuration file in `folder`, with its store beside it. JSON is YAML, too."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "server": {"port": port, "metrics_port": 0, **(server or {})},
        "store": {"url": f"sqlite:///{folder / 'convey.db'}", **(store or {})},
        "sources": list(sources or [source()]),
        "destinations": destinations(sandbox_url, tuning, **(secrets or {})),
    }
    path = folder / "convey.yaml"
    path.write_text(json.dumps(settings, indent=1))
    return path


# --- the gateway ------------------------------------------------------------------------------------------------


class Gateway:
    """`python -m app serve` in a process of its own. It may be started, killed and started again on the same data."""

    def __init__(self, folder: Path, sandbox_url: str, *, role: str = "all", **config: Any) -> None:
        """`config` goes to `write_config`; the gateway listens on one port for all of its lives."""
        self.folder = folder
        self.role = role
        self.port = free_port()
        self.config = write_config(folder, sandbox_url, port=self.port, **config)
        self.database = folder / "convey.db"
        self.output = folder / "gateway.log"
        self.url = f"http://127.0.0.1:{self.port}"
        self.startups: list[float] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._spawned_at = 0.0
        self._http = httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {KEY}"}, timeout=10)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process of the present life."""
        assert self._process is not None, "the gateway was not started"
        return self._process

    def spawn(self) -> None:
        """Start the process and do not wait for it."""
        assert self._process is None or self._process.poll() is not None, "the gateway is already running"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("CONVEY_")}
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "app", "serve", "--config", str(self.config), "--role", self.role],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._spawned_at = time.monotonic()

    def wait_ready(self, timeout_s: float = 90.0) -> None:
        """Return once /readyz answers 200."""
        try:
            wait_until("the gateway to be ready", self._is_ready, timeout_s, every_s=0.01)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None
        self.startups.append(time.monotonic() - self._spawned_at)

    def _is_ready(self) -> bool:
        code = self.process.poll()
        assert code is None, f"the gateway ended with {code}:\n{self.tail()}"
        if not is_listening(self.port):
            return False
        try:
            return self._http.get("/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        self.spawn()
        self.wait_ready()

    def kill(self) -> None:
        """End the process as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)

    def terminate(self) -> None:
        """Ask the process to end."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = 30.0) -> int:
        """The exit code, once it has ended."""
        try:
            return self.process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the gateway did not end within {timeout_s} s:\n{self.tail()}") from None

    def pause(self) -> None:
        """Stop the process where it stands; it may go on later, as if nothing had happened."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def get(self, path: str) -> httpx.Response:
        """The answer to a GET."""
        return self._http.get(path)

    def stop(self) -> int:
        """Ask the process to end and wait for it."""
        self.terminate()
        return self.wait()

    def close(self) -> None:
        """Leave nothing behind, whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self._http.close()

    def log(self) -> list[dict[str, Any]]:
        """Every whole line it has logged, as JSON; other lines as `{"text": ...}`."""
        lines = []
        for line in self.output.read_text(errors="replace").splitlines():
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                lines.append({"text": line})
        return lines

    def logged(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The log lines of this event whose fields have these values."""
        wanted = {"event": event, **fields}.items()
        return [line for line in self.log() if wanted <= {k: v for k, v in line.items() if _is_plain(v)}.items()]

    def tail(self, lines: int = 30) -> str:
        """The end of its log, for a person."""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-lines:])

    def post(self, *orders: Order, **options: Any) -> httpx.Response:
        """The answer to one POST of these orders."""
        return self._http.post("/v1/events", content=body_of(orders), headers=JSON, **options)

    def post_events(self, events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The results of posting these events as they are."""
        reply = self._http.post("/v1/events", json={"events": list(events)})
        assert reply.status_code == 202, reply.text
        results: list[dict[str, Any]] = reply.json()["results"]
        return results

    def accept(self, *orders: Order) -> None:
        """Post these orders; each must be accepted."""
        reply = self.post(*orders)
        assert reply.status_code == 202, reply.text
        statuses = [result["status"] for result in reply.json()["results"]]
        assert statuses == ["accepted"] * len(orders), reply.text

    def fate(self, order: Order) -> dict[str, dict[str, Any]] | None:
        """What became of an order, per destination; None when the gateway does not know it."""
        reply = self._http.get(f"/v1/events/{order.event_id}")
        if reply.status_code == 404:
            return None
        assert reply.status_code == 200, reply.text
        shown: dict[str, dict[str, Any]] = reply.json()["destinations"]
        return shown

    def ledger(self) -> dict[str, Any]:
        """The ledger, as the API tells it."""
        reply = self._http.get("/v1/ledger")
        assert reply.status_code == 200, reply.text
        accounts: dict[str, Any] = reply.json()["destinations"]
        return accounts

    def pending(self, *names: str) -> int:
        """How many deliveries wait for these destinations, for all of them when none is named."""
        return sum(account["pending"] for name, account in self.ledger().items() if name in (names or PLATFORMS))

    def wait_settled(self, *names: str, timeout_s: float = 30.0) -> None:
        """Return when nothing waits for these destinations any more."""
        try:
            wait_until("nothing to be pending", lambda: self.pending(*names) == 0, timeout_s, every_s=0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self.ledger(), indent=1)}\n{self.tail()}") from None


JSON = {"content-type": "application/json"}


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool) or value is None


# --- orders -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Order:
    """One purchase on the shop's website, or in its store."""

    number: str
    value: Decimal
    action_source: str = "website"
    at: float | None = None
    prefix: str = "purchase_"

    @property
    def event_id(self) -> str:
        """The id it gets, which the page's pixel sends as well."""
        return f"{self.prefix}{self.number}"

    @property
    def event(self) -> dict[str, Any]:
        """The event to post."""
        event: dict[str, Any] = {
            "event_name": "Purchase",
            "event_time": time.time() if self.at is None else self.at,
            "transaction_id": self.number,
            "action_source": self.action_source,
            "user": {
                "email": f"buyer.{self.number.lower()}@example.com",
                "external_id": f"cust-{self.number}",
                "country": "US",
                "client_ip_address": "203.0.113.9",
                "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0",
            },
            "consent": {"ad_storage": True, "ad_user_data": True, "ad_personalization": True},
            "custom_data": {
                "currency": CURRENCY,
                "value": str(self.value),
                "order_id": self.number,
                "contents": [{"id": "SKU-1", "quantity": 1, "item_price": str(self.value)}],
            },
        }
        if self.action_source == "website":
            event["event_source_url"] = "https://shop.example/thanks"
        return event

    def pixel_copies(self, platforms: Iterable[str] = PLATFORMS) -> list[dict[str, Any]]:
        """What the pixels of these platforms send for it."""
        return [
            {
                "platform": platform,
                "account": ACCOUNTS[platform],
                "event_name": PIXEL_NAMES[platform],
                "event_id": self.event_id,
                "order_id": self.number,
                "value": str(self.value),
                "currency": CURRENCY,
            }
            for platform in platforms
        ]


def body_of(orders: Sequence[Order]) -> bytes:
    """The request body: one order as a bare event, several as a batch."""
    events = [order.event for order in orders]
    return json.dumps(events[0] if len(events) == 1 else {"events": events}).encode()


def orders(prefix: str, count: int, start: int = 0, **more: Any) -> list[Order]:
    """Orders with numbers of their own, each with another value."""
    return [Order(f"{prefix}-{n}", Decimal(1000 + n) / 100, **more) for n in range(start, start + count)]


def money(some: Iterable[Order]) -> Decimal:
    """What orders are worth together."""
    return sum((order.value for order in some), Decimal(0))


# --- the sandbox ------------------------------------------------------------------------------------------------


class Sandbox:
    """The pretend platforms behind real HTTP, and their control API."""

    def __init__(self) -> None:
        self._server = SandboxServer()
        self.url = self._server.start()
        self._http = httpx.Client(base_url=self.url, timeout=60)

    def close(self) -> None:
        """Stop it; open connections are dropped."""
        self._http.close()
        self._server.stop()

    def _get(self, path: str, **params: Any) -> Any:
        reply = self._http.get(path, params=params)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def _put(self, path: str, body: Any) -> None:
        reply = self._http.put(path, json=body)
        assert reply.status_code == 200, reply.text

    def reset(self) -> None:
        """Forget everything: faults, events, counts, clock."""
        assert self._http.delete("/_state", params={"faults": "true"}).status_code == 200

    def script(self, platform: str, *faults: Mapping[str, Any], seed: int = 0) -> None:
        """Play these faults at a platform, instead of any before."""
        self._put(f"/_faults/{platform}", {"faults": list(faults), "seed": seed})

    def script_all(self, *faults: Mapping[str, Any], seed: int = 0) -> None:
        """Play these faults at every platform, each with dice of its own."""
        for number, platform in enumerate(PLATFORMS):
            self.script(platform, *faults, seed=seed * len(PLATFORMS) + number)

    def heal(self) -> None:
        """End every fault."""
        assert self._http.delete("/_faults").status_code == 200

    def set_clock(self, now: float) -> None:
        """Stop the sandbox's clock at `now`."""
        self._put("/_clock", {"now": now})

    def fire_pixels(self, copies: Sequence[Mapping[str, Any]]) -> None:
        """The shoppers' browsers report these events."""
        reply = self._http.post("/_pixel", json={"events": list(copies)})
        assert reply.status_code == 200, reply.text

    def conversions(self, platform: str) -> list[dict[str, Any]]:
        """Every conversion a platform would show."""
        found: list[dict[str, Any]] = self._get("/_counted", platform=platform)["platforms"][platform]["conversions"]
        return found

    def counted(self, platform: str) -> Counter[str]:
        """How many conversions a platform would show, per event id."""
        return Counter(conversion["event_id"] for conversion in self.conversions(platform))

    def counted_money(self, platform: str) -> Decimal:
        """The revenue a platform would show."""
        return Decimal(self._get("/_counted", platform=platform, summary="true")["platforms"][platform]["money"]["EUR"])

    def requests(self, platform: str) -> list[dict[str, Any]]:
        """The requests a platform has seen, oldest first."""
        found: list[dict[str, Any]] = self._get("/_requests", platform=platform, limit=10_000)["requests"]
        return found

    def totals(self) -> dict[str, Any]:
        """Totals of the requests, per platform."""
        found: dict[str, Any] = self._get("/_requests", limit=0)["totals"]
        return found

    def test_codes(self, platform: str) -> dict[str, str]:
        """The test code, or the word test, of every test event a platform took, by event id."""
        found = self._get("/_received", platform=platform, bodies="false", limit=200_000)
        return {event["event_id"]: event["test_code"] for event in found["events"] if event["test"]}

    def events(self, platform: str) -> list[dict[str, Any]]:
        """The events a platform took from the server side, as they came."""
        return [event["event"] for event in self._get("/_received", platform=platform, limit=1_000)["events"]]

    def taken(self, platform: str) -> Counter[str]:
        """How often a platform took each event id from the server side."""
        found = self._get("/_received", platform=platform, bodies="false", limit=200_000)
        assert found["dropped"] == 0
        return Counter(event["event_id"] for event in found["events"])


@contextlib.contextmanager
def sandbox_running() -> Iterator[Sandbox]:
    """A sandbox that is gone afterwards."""
    sandbox = Sandbox()
    try:
        yield sandbox
    finally:
        sandbox.close()


@contextlib.contextmanager
def gateway_running(folder: Path, sandbox: Sandbox, **config: Any) -> Iterator[Gateway]:
    """A gateway that is ready, and gone afterwards."""
    gateway = Gateway(folder, sandbox.url, **config)
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.close()


# --- the ledger and the file ------------------------------------------------------------------------------------


def assert_ledger_closes(ledger: Mapping[str, Any]) -> None:
    """queued = the sum of the states, for every destination, in events and in every currency."""
    assert set(ledger) == set(PLATFORMS), f"the ledger has accounts for {sorted(ledger)}"
    for name, account in ledger.items():
        assert account["queued"] == sum(account[state] for state in STATES), f"{name} does not close: {account}"
        for currency, amounts in account["money"].items():
            total = sum(Decimal(amounts[state]) for state in STATES)
            assert Decimal(amounts["queued"]) == total, f"{name} does not close in {currency}: {amounts}"


class Waiting(NamedTuple):
    """A pending delivery on disk: when it may be claimed, and whether somebody still holds it."""

    event_id: str
    destination: str
    ready_at: float
    is_leased: bool


@dataclass(slots=True)
class Book:
    """What the database file holds: the state of each delivery, and the counts the ledger is told from."""

    states: dict[str, dict[str, str]] = field(default_factory=dict)
    """Event id to destination to state."""
    events: dict[str, int] = field(default_factory=dict)
    """How many events have an id."""
    from_rows: dict[tuple[str, str], tuple[int, Decimal]] = field(default_factory=dict)
    """Destination and state to deliveries and money, added up from the rows."""
    from_counts: dict[tuple[str, str], tuple[int, Decimal]] = field(default_factory=dict)
    """The same as the ledger's own counts say."""
    waiting: list[Waiting] = field(default_factory=list)
    """The deliveries that are pending."""

    def assert_true(self) -> None:
        """The counts are what the rows add up to, and no id belongs to two events."""
        rows, counts = dict(self.from_rows), dict(self.from_counts)
        for name in PLATFORMS:
            terms = [rows.get((name, state), (0, Decimal(0))) for state in STATES]
            rows[name, "queued"] = (sum(term[0] for term in terms), sum((term[1] for term in terms), Decimal(0)))
        for key in rows.keys() | counts.keys():
            nothing = (0, Decimal(0))
            assert rows.get(key, nothing) == counts.get(key, nothing), f"{key}: rows and ledger differ"
        twice = [event_id for event_id, number in self.events.items() if number > 1]
        assert not twice, f"{len(twice)} ids belong to several events, such as {twice[:3]}"

    def missing(self, event_ids: Iterable[str]) -> list[tuple[str, str]]:
        """The deliveries of these events that are not there in any state."""
        return [(event_id, name) for event_id in event_ids for name in PLATFORMS if name not in self._at(event_id)]

    def _at(self, event_id: str) -> Mapping[str, str]:
        return self.states.get(event_id, {})


def read_book(database: Path, scratch: Path) -> Book:
    """What the store's file holds on disk while no process has it, read from a copy: the original stays as it is."""
    scratch.mkdir(parents=True, exist_ok=True)
    for suffix in ("", "-wal"):
        original, copy = Path(f"{database}{suffix}"), scratch / f"copy.db{suffix}"
        copy.unlink(missing_ok=True)
        if original.exists():
            shutil.copyfile(original, copy)
    (scratch / "copy.db-shm").unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(scratch / "copy.db")) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        book = Book()
        names = dict(connection.execute("SELECT id, name FROM lanes").fetchall())
        book.events = dict(Counter(row[0] for row in connection.execute("SELECT event_id FROM events")))
        sums: dict[tuple[str, str], tuple[int, Decimal]] = {}
        for event_id, lane, number, amount, ready_at_us, token in connection.execute(
            "SELECT e.event_id, d.lane, d.state, d.amount, d.ready_at, d.token "
            "FROM deliveries AS d JOIN events AS e ON e.id = d.event"
        ):
            name, state = names[lane], STATE_NUMBERS[number]
            if state == "pending":
                book.waiting.append(Waiting(event_id, name, ready_at_us / 1e6, token is not None))
            book.states.setdefault(event_id, {})[name] = state
            count, total = sums.get((name, state), (0, Decimal(0)))
            sums[name, state] = (count + 1, total + Decimal(amount or 0))
        book.from_rows = sums
        for lane, state, _currency, count, amount in connection.execute(
            "SELECT lane, state, currency, deliveries, amount FROM counts WHERE state <> 'purged'"
        ):
            held, total = book.from_counts.get((names[lane], state), (0, Decimal(0)))
            book.from_counts[names[lane], state] = (held + count, total + Decimal(amount or 0))
        return book


# --- load -------------------------------------------------------------------------------------------------------


class Load:
    """Clients that post orders, singly and in batches, each again with the very same body until it is answered.

    It keeps exact books: `posted` were sent at least once, `accepted` got a 202, `given_up` were sent and never
    answered, as by a client that crashed itself. `wrong` lists answers that should not exist.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        prefix: str,
        seed: int,
        clients: int = 4,
        largest_batch: int = 20,
        pause_s: float = 0.03,
        give_up: float = 0.0,
        retries: bool = True,
        fire_pixels: Callable[[Sequence[Mapping[str, Any]]], None] | None = None,
    ) -> None:
        """`urls`: each attempt goes to any of them. `give_up` is the share of requests without an answer that are not
        repeated. Half the orders have pixels.
        """
        self._urls = [urls] if isinstance(urls, str) else list(urls)
        self._ports = [httpx.URL(url).port or 80 for url in self._urls]
        self._prefix = prefix
        self._seed = seed
        self._largest_batch = largest_batch
        self._pause_s = pause_s
        self._give_up = give_up
        self._retries = retries
        self._fire_pixels = fire_pixels
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._cut_off = threading.Event()
        self._next = 0
        self.posted: dict[str, Order] = {}
        self.accepted: dict[str, Order] = {}
        self.given_up: dict[str, Order] = {}
        self.pixeled: dict[str, Order] = {}
        self.statuses: Counter[int | str] = Counter()
        self.wrong: list[str] = []
        self._threads = [threading.Thread(target=self._guarded, args=(n,), daemon=True) for n in range(clients)]

    def start(self) -> None:
        """Let the clients go."""
        for thread in self._threads:
            thread.start()

    def finish(self, timeout_s: float = 30.0) -> None:
        """Start nothing new, let every client get the answer it waits for."""
        self._stopping.set()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.1, deadline - time.monotonic()))
        is_late = any(thread.is_alive() for thread in self._threads)
        self._cut_off.set()
        assert not is_late, f"clients still wait for an answer after {timeout_s} s"

    def abort(self) -> None:
        """Stop at once, whatever a client waits for."""
        self._stopping.set()
        self._cut_off.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(15)

    def snapshot(self) -> list[str]:
        """The event ids that have a 202 by now."""
        with self._lock:
            return list(self.accepted)

    def all_posted(self) -> dict[str, Order]:
        """The orders that were sent at least once, by now."""
        with self._lock:
            return dict(self.posted)

    def _guarded(self, client: int) -> None:
        try:
            self._run(client)
        except Exception as error:
            with self._lock:
                self.wrong.append(f"client {client} failed: {error!r}")

    def _run(self, client: int) -> None:
        dice = random.Random(f"{self._seed}-client-{client}")
        with httpx.Client(headers={"authorization": f"Bearer {KEY}", **JSON}, timeout=15) as http:
            while not self._stopping.is_set():
                batch = self._take(1 if dice.random() < 0.5 else dice.randint(2, self._largest_batch))
                early, late = self._pixels(batch, dice)
                self._fire(early)
                self._deliver(http, batch, dice)
                self._fire(late)
                self._stopping.wait(self._pause_s * dice.random() * 2)

    def _take(self, count: int) -> list[Order]:
        with self._lock:
            batch = orders(self._prefix, count, self._next)
            self._next += count
            self.posted |= {order.event_id: order for order in batch}
        return batch

    def _pixels(self, batch: Sequence[Order], dice: random.Random) -> tuple[list[Order], list[Order]]:
        """The orders whose pixel fires before the server's copy, and those whose pixel fires after it."""
        if self._fire_pixels is None:
            return [], []
        early: list[Order] = []
        late: list[Order] = []
        for order in batch:
            place = dice.random()
            if place < 0.5:
                (early if place < 0.25 else late).append(order)
        return early, late

    def _fire(self, some: Sequence[Order]) -> None:
        if some and self._fire_pixels is not None:
            self._fire_pixels([copy for order in some for copy in order.pixel_copies()])
            with self._lock:
                self.pixeled |= {order.event_id: order for order in some}

    def _deliver(self, http: httpx.Client, batch: Sequence[Order], dice: random.Random) -> None:
        body = body_of(batch)
        while not self._cut_off.is_set():
            try:
                url = self._urls[0] if len(self._urls) == 1 else dice.choice(self._urls)
                reply = http.post(f"{url}/v1/events", content=body)
            except httpx.TransportError as error:
                self._note(type(error).__name__)
                has_left = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if not self._retries or (has_left and dice.random() < self._give_up):
                    break
            else:
                self._note(reply.status_code)
                if reply.status_code == 202:
                    self._accepted(batch, reply)
                    return
                if reply.status_code != 503 or "retry-after" not in reply.headers:
                    with self._lock:
                        self.wrong.append(f"{reply.status_code}: {reply.text[:300]}")
                    break
            self._cut_off.wait(0.02 + 0.03 * dice.random())
            while not (any(map(is_listening, self._ports)) or self._cut_off.is_set()):
                self._cut_off.wait(0.02)
        with self._lock:
            self.given_up |= {order.event_id: order for order in batch}

    def _note(self, status: int | str) -> None:
        with self._lock:
            self.statuses[status] += 1

    def _accepted(self, batch: Sequence[Order], reply: httpx.Response) -> None:
        results = reply.json()["results"]
        with self._lock:
            if len(results) != len(batch):
                self.wrong.append(f"{len(results)} results for {len(batch)} orders")
            for order, result in zip(batch, results, strict=False):
                is_good = result["status"] in {"accepted", "duplicate"} and result["event_id"] == order.event_id
                if is_good and result["destinations"].keys() == set(PLATFORMS):
                    self.accepted[order.event_id] = order
                else:
                    self.wrong.append(f"{order.number}: {result}")


def epoch(instant: datetime) -> float:
    """Seconds since the Unix epoch."""
    return instant.astimezone(UTC).timestamp()
