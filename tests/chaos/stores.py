"""The stores that chaos is played on: one server behind a proxy, a Sentinel group, a cluster of six nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from tests.chaos.proxy import TcpProxy
from tests.e2e.harness import wait_until
from tests.redis_server import RedisServer, free_port

NODE_TIMEOUT_MS = 1500
ANSWER_WITHIN = "1s"


class RedisStores(Protocol):
    """Servers that together hold one store."""

    settings: dict[str, Any]
    """The `store` section that names them."""

    servers: list[RedisServer]

    def start(self) -> None:
        """Start them and wait until they can be used."""

    def close(self) -> None:
        """End them and delete their files."""

    def primary(self) -> RedisServer:
        """One that takes writes now."""

    def fail_over(self) -> str:
        """Lose a primary to kill -9, wait until another one has taken over, bring the old one back; what was done."""


class Standalone:
    """One server that writes its append-only file before each answer, reached through a proxy."""

    def __init__(self) -> None:
        self.servers = [RedisServer()]
        self.proxy = TcpProxy(self.servers[0].port)
        self.settings: dict[str, Any] = {}

    def start(self) -> None:
        """Start server and proxy."""
        self.servers[0].start()
        self.proxy.start()
        self.settings = {"url": f"redis://127.0.0.1:{self.proxy.port}/0", "answer_within": ANSWER_WITHIN}

    def close(self) -> None:
        """End both."""
        self.proxy.close()
        self.servers[0].close()

    def primary(self) -> RedisServer:
        """The one server."""
        return self.servers[0]

    def fail_over(self) -> str:
        """There is nobody to take over: it is killed and started again."""
        self.servers[0].kill()
        self.servers[0].start()
        return "kill -9 of Redis"


class SentinelGroup:
    """A primary and two replicas, watched by three Sentinels of which two must agree."""

    def __init__(self) -> None:
        first = RedisServer()
        self.servers = [first, *(RedisServer({"replicaof": f"127.0.0.1 {first.port}"}) for _ in range(2))]
        self.sentinels = [Sentinel(first.port) for _ in range(3)]
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        self.settings: dict[str, Any] = {"url": f"redis+sentinel://{hosts}/main/0", "answer_within": ANSWER_WITHIN}

    def start(self) -> None:
        """Start all of them and wait until everybody knows everybody."""
        for server in [*self.servers, *self.sentinels]:
            server.start()
        wait_until("the replicas to follow", lambda: self._replicas_of(self.servers[0]) == 2)
        for sentinel in self.sentinels:
            wait_until("the sentinels to know everybody", sentinel.knows_all, 60)

    def close(self) -> None:
        """End all of them."""
        for server in [*self.sentinels, *self.servers]:
            server.close()

    def primary(self) -> RedisServer:
        """The server that most Sentinels name."""
        named = [sentinel.master_port() for sentinel in self.sentinels]
        port = max(named, key=named.count)
        return next(server for server in self.servers if server.port == port)

    def fail_over(self) -> str:
        """Kill the primary, wait for the Sentinels to name another, bring it back as a replica."""
        return self._replace(self.primary())

    def fail_over_behind(self, lag: Callable[[], None]) -> str:
        """The same, but the replicas have received nothing since `lag` began."""
        old = self.primary()
        replicas = [server for server in self.servers if server is not old]
        for replica in replicas:
            replica.pause()
        old.command("CLIENT", "KILL", "TYPE", "replica")  # else what is under way to them would still arrive
        try:
            lag()
            old.kill()
        finally:
            for replica in replicas:
                replica.resume()
        return f"{self._replace(old)} without the last writes"

    def _replace(self, old: RedisServer) -> str:
        old.kill()
        wait_until("a failover", lambda: self.primary() is not old and self._is_master(self.primary()), 60)
        old.start()
        wait_until("the old primary to follow", lambda: self._replicas_of(self.primary()) == 2, 60)
        return f"kill -9 of the primary, port {self.primary().port} took over"

    @staticmethod
    def _is_master(server: RedisServer) -> bool:
        return "role:master" in server.command_text("INFO", "replication")

    @staticmethod
    def _replicas_of(server: RedisServer) -> int:
        return server.command_text("INFO", "replication").count("state=online")


class Sentinel(RedisServer):
    """A sentinel that watches `main` and asks one of the others before it acts."""

    def __init__(self, master_port: int) -> None:
        super().__init__()
        self.settings = {}
        self._config = self.folder / "sentinel.conf"
        lines = [
            f"sentinel monitor main 127.0.0.1 {master_port} 2",
            f"sentinel down-after-milliseconds main {NODE_TIMEOUT_MS}",
            "sentinel failover-timeout main 6000",
            "sentinel parallel-syncs main 2",
        ]
        self._config.write_text("\n".join(lines) + "\n")

    def _words(self) -> list[str]:
        return [self._binary, str(self._config), "--sentinel"]

    def master_port(self) -> int:
        """Whom it takes for the primary; 0 when it does not answer."""
        words = self.command_text("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main").split("\r\n")
        return int(words[4]) if len(words) > 4 else 0

    def knows_all(self) -> bool:
        """Whether it knows two replicas and two other Sentinels."""
        words = self.command_text("SENTINEL", "MASTER", "main").split("\r\n")
        return all(
            name in words and words[words.index(name) + 2] == "2" for name in ("num-slaves", "num-other-sentinels")
        )


class Cluster:
    """Three masters that share the slots, and a replica for each."""

    def __init__(self) -> None:
        self.servers = [
            RedisServer(
                {
                    "cluster-enabled": "yes",
                    "cluster-port": str(free_port()),
                    "cluster-node-timeout": str(NODE_TIMEOUT_MS),
                    "cluster-replica-validity-factor": "0",
                }
            )
            for _ in range(6)
        ]
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        self.settings: dict[str, Any] = {"url": f"redis+cluster://{hosts}", "answer_within": ANSWER_WITHIN}

    def start(self) -> None:
        """Start all six, give the first three the slots and each of them a replica."""
        for server in self.servers:
            server.start()
        for number, server in enumerate(self.servers[:3]):
            first, last = number * 16384 // 3, (number + 1) * 16384 // 3 - 1
            assert server.command("CLUSTER", "ADDSLOTSRANGE", str(first), str(last)) == "+OK"
        for server in self.servers[1:]:
            words = ("CLUSTER", "MEET", "127.0.0.1", str(server.port), server.settings["cluster-port"])
            assert self.servers[0].command(*words) == "+OK"
        wait_until("the nodes to meet", lambda: all(self._known(server) == 6 for server in self.servers), 60)
        for master, replica in zip(self.servers[:3], self.servers[3:], strict=True):
            identity = self._identity(master)
            wait_until("a replica", lambda r=replica, i=identity: r.command("CLUSTER", "REPLICATE", i) == "+OK", 30)  # type: ignore[misc]
        wait_until("the cluster to be whole", self._is_whole, 60)

    def close(self) -> None:
        """End all six."""
        for server in self.servers:
            server.close()

    def primary(self) -> RedisServer:
        """One of the masters."""
        return self._masters()[0]

    def fail_over(self) -> str:
        """Kill a master, wait until its replica has its slots, bring it back as a replica."""
        old = self.primary()
        identity = self._identity(old)
        others = [server for server in self.servers if server is not old]
        old.kill()
        wait_until("a replica to take over", lambda: self._is_replaced(identity, others), 60)
        old.start()
        wait_until("the cluster to be whole", self._is_whole, 60)
        return "kill -9 of a master of the cluster, its replica took over"

    def _masters(self) -> list[RedisServer]:
        return [server for server in self.servers if "role:master" in server.command_text("INFO", "replication")]

    def _is_whole(self) -> bool:
        states = [server.command_text("CLUSTER", "INFO") for server in self.servers]
        masters = self._masters()
        followed = sum("state=online" in server.command_text("INFO", "replication") for server in masters)
        return all("cluster_state:ok" in state for state in states) and len(masters) == followed == 3

    def _is_replaced(self, identity: str, others: list[RedisServer]) -> bool:
        if any("cluster_state:ok" not in server.command_text("CLUSTER", "INFO") for server in others):
            return False
        return sum("role:master" in server.command_text("INFO", "replication") for server in others) == 3

    @staticmethod
    def _known(server: RedisServer) -> int:
        told = server.command_text("CLUSTER", "INFO")
        return int(told.split("cluster_known_nodes:")[1].split("\r\n")[0]) if "cluster_known_nodes:" in told else 0

    @staticmethod
    def _identity(server: RedisServer) -> str:
        return server.command_text("CLUSTER", "MYID").split("\r\n")[1]
