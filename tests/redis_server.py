"""A real Redis server for tests: on a free port of the loopback, with a folder of its own, durable as production is."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import pytest

HOW_TO_GET_IT = "no redis-server: run scripts/get_redis.sh, or install Redis 6.2 or later"
HOW_TO_GET_VALKEY = "no valkey-server: run scripts/get_valkey.sh, or install Valkey"
START_TIMEOUT_S = 60


def find_binary(name: str = "redis-server", folder: str = "redis") -> str | None:
    """The server's path: from PATH, else where `scripts/get_redis.sh` or `get_valkey.sh` puts it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = cache / "convey" / folder / name
    return shutil.which(name) or (str(kept) if os.access(kept, os.X_OK) else None)


def is_optional() -> bool:
    """Whether tests may go without a server that is not there."""
    return os.environ.get("CI") != "true"


def require_binary(found: str | None, how_to_get_it: str) -> str:
    """The server's path. Without one the test is skipped, in CI it fails."""
    if found is None:
        if not is_optional():
            pytest.fail(how_to_get_it)
        pytest.skip(how_to_get_it)
    return found


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """One server process; `settings` are added to its command line and may be replaced at a restart."""

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        self._binary = self._find()
        self._folder = tempfile.TemporaryDirectory(prefix="convey-redis-")
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.settings = {
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "repl-diskless-sync-delay": "0",
            **(settings or {}),
        }

    @staticmethod
    def _find() -> str:
        return require_binary(find_binary(), HOW_TO_GET_IT)

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def folder(self) -> Path:
        """Where it keeps its files."""
        return Path(self._folder.name)

    def _words(self) -> list[str]:
        return [self._binary]

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = [*self._words(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._folder.name]
        for name, value in self.settings.items():
            words += [f"--{name}", value]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log)
        until = time.monotonic() + START_TIMEOUT_S
        while not self.command("PING").startswith(("+PONG", "-NOAUTH")):
            if time.monotonic() > until or self._process.poll() is not None:
                raise RuntimeError((self.folder / "server.log").read_text()[-2000:])
            time.sleep(0.02)

    def command(self, *words: str) -> str:
        """The first line of its answer to one command, over a connection of its own; empty when there is none."""
        return self.command_text(*words).split("\r\n", 1)[0]

    def command_text(self, *words: str) -> str:
        """The beginning of its answer to one command; empty when there is none."""
        text = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(text.encode())
                return connection.recv(4096).decode()
        except OSError:
            return ""

    def pause(self) -> None:
        """Make it hang: connections stay, answers do not come."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End it and delete its files."""
        self.kill()
        self._folder.cleanup()


class ValkeyServer(RedisServer):
    """The same of Valkey, which can be waited for until the disk has it (WAITAOF)."""

    @staticmethod
    def _find() -> str:
        return require_binary(find_binary("valkey-server", "valkey"), HOW_TO_GET_VALKEY)


_shared: list[RedisServer] = []


def shared_server() -> RedisServer:
    """One server for all tests of this process that do not end it; it stops with the process."""
    if not _shared:
        server = RedisServer()
        server.start()
        atexit.register(server.close)
        _shared.append(server)
    return _shared[0]


class RedisCluster:
    """Masters that share the slots between them, and replicas of the first one."""

    def __init__(self, masters: int = 2, replicas: int = 0) -> None:
        self.servers = [self._server() for _ in range(masters)]
        self.replicas = [self._server() for _ in range(replicas)]

    @staticmethod
    def _server() -> RedisServer:
        return RedisServer({"cluster-enabled": "yes", "cluster-port": str(free_port()), "cluster-node-timeout": "1000"})

    @property
    def url(self) -> str:
        """The URL that names all masters."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def start(self) -> None:
        """Start all and wait until they agree."""
        bounds = [16384 * each // len(self.servers) for each in range(len(self.servers) + 1)]
        for server, first, after in zip(self.servers, bounds, bounds[1:], strict=False):
            server.start()
            assert server.command("CLUSTER", "ADDSLOTS", *map(str, range(first, after))) == "+OK"
        first_server = self.servers[0]
        for server in self.replicas:
            server.start()
        for server in (*self.servers[1:], *self.replicas):
            first_server.command("CLUSTER", "MEET", "127.0.0.1", str(server.port), server.settings["cluster-port"])
        self._wait(lambda: all(self._is_whole(server) for server in self.servers))
        master = first_server.command_text("CLUSTER", "MYID").split("\r\n")[1]
        for server in self.replicas:
            self._wait(partial(self._follows, server, master))

    @staticmethod
    def _follows(replica: RedisServer, master: str) -> bool:
        replica.command("CLUSTER", "REPLICATE", master)
        return "master_link_status:up" in replica.command_text("INFO", "replication")

    async def until_copied(self) -> None:
        """Return once the replicas have every key of their master."""
        while any(each.command("DBSIZE") != self.servers[0].command("DBSIZE") for each in self.replicas):
            await anyio.sleep(0.05)

    @staticmethod
    def _wait(condition: Callable[[], bool]) -> None:
        until = time.monotonic() + START_TIMEOUT_S
        while not condition():
            if time.monotonic() > until:
                raise RuntimeError("the cluster did not come together")
            time.sleep(0.05)

    def _is_whole(self, server: RedisServer) -> bool:
        # A slot of another one is answered with where it lies, not with an error of the whole cluster.
        return all(
            server.command("GET", key) == "$-1" or server.command("GET", key).startswith("-MOVED")
            for key in ("a", "b", "c", "d", "e", "f")
        )

    def close(self) -> None:
        """End all and delete their files."""
        for server in (*self.servers, *self.replicas):
            server.close()


class RedisSentinel(RedisServer):
    """A sentinel that watches one master under the name `main`."""

    def __init__(self, master: RedisServer) -> None:
        super().__init__()
        self.settings = {}
        self._config = self.folder / "sentinel.conf"
        lines = [
            f"sentinel monitor main 127.0.0.1 {master.port} 1",
            "sentinel down-after-milliseconds main 500",
            "sentinel failover-timeout main 1000",
        ]
        self._config.write_text("\n".join(lines) + "\n")

    @property
    def url(self) -> str:
        """The URL of the master's first database, by way of this sentinel."""
        return f"redis+sentinel://127.0.0.1:{self.port}/main/0"

    async def until_known(self) -> None:
        """Return once it knows the master's replica."""
        while "num-slaves\r\n$1\r\n1" not in self.command_text("SENTINEL", "MASTERS"):
            await anyio.sleep(0.1)

    def _words(self) -> list[str]:
        return [self._binary, str(self._config), "--sentinel"]
