"""The servers behind a store's URL: one, the master of a Sentinel group, or the masters of a cluster."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from app.errors import StoreUnavailable

CONNECT_TIMEOUT_S = 2.0
SCHEMES = ("redis://", "rediss://", "redis+sentinel://", "redis+cluster://")


class Nodes(Protocol):
    """Which server holds a key."""

    async def open(self) -> None:
        """Get to know the servers."""

    def client(self, key: str) -> Redis:
        """The client of the server that holds `key`."""

    def all(self) -> list[Redis]:
        """A client for each server that holds keys."""

    async def renew(self) -> None:
        """Keys may have moved: look again."""

    async def close(self) -> None:
        """Close every connection."""


@dataclass(frozen=True, slots=True)
class Address:
    """A store's URL, taken apart."""

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    master: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    options: Mapping[str, str] = field(default_factory=dict)


def parse_url(url: str) -> Address:
    """The parts of `redis://`, `rediss://`, `redis+sentinel://host:port,host:port/master` or `redis+cluster://` URLs.

    Options after `?`: `tls=true` for the composed schemes, `ca=<file>` for any.

    Raises:
        ValueError: It is none of these.
    """
    match = re.fullmatch(r"(?P<scheme>rediss?|redis\+sentinel|redis\+cluster)://(?P<rest>.+)", url)
    if match is None:
        raise ValueError(f"must begin with one of {', '.join(SCHEMES)}")
    parts = urlsplit("//" + match["rest"])
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    scheme = match["scheme"]
    default_port = 26379 if scheme == "redis+sentinel" else 6379
    path = [unquote(part) for part in parts.path.strip("/").split("/") if part]
    master = path.pop(0) if scheme == "redis+sentinel" and path else None
    if scheme == "redis+sentinel" and master is None:
        raise ValueError("must name the master: redis+sentinel://host:port,host:port/master")
    if len(path) > 1 or (path and not path[0].isdigit()):
        raise ValueError("may end with the number of a database")
    return Address(
        scheme,
        tuple(_host(host, default_port) for host in hosts.split(",")),
        master,
        unquote(username) or None,
        unquote(password) or None,
        int(path[0]) if path else 0,
        {name: values[-1] for name, values in parse_qs(parts.query).items()},
    )


def _host(text: str, default_port: int) -> tuple[str, int]:
    match = re.fullmatch(r"(?P<host>\[[^\]]+\]|[^:\[\]]+)(:(?P<port>\d{1,5}))?", text)
    if match is None:
        raise ValueError("must name a host, as host or host:port")
    return match["host"].strip("[]"), int(match["port"] or default_port)


def nodes_of(address: Address, timeout_s: float) -> Nodes:
    """The servers of an address; `timeout_s` bounds every answer."""
    options: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": min(CONNECT_TIMEOUT_S, timeout_s),
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    is_tls = address.scheme == "rediss" or address.options.get("tls") == "true"
    if is_tls:
        options |= {"ssl": True}
        if "ca" in address.options:
            options["ssl_ca_certs"] = address.options["ca"]
    if address.scheme == "redis+sentinel":
        return _SentinelNodes(address, options)
    if address.scheme == "redis+cluster":
        return _ClusterNodes(address, options)
    host, port = address.hosts[0]
    return _OneNode(Redis(host=host, port=port, db=address.database, **options))


class _OneNode:
    """One server, or whichever one a Sentinel group says is the master."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def open(self) -> None:
        """Nothing to learn."""

    def client(self, key: str) -> Redis:
        """The one client."""
        return self._client

    def all(self) -> list[Redis]:
        """The one client."""
        return [self._client]

    async def renew(self) -> None:
        """Drop connections: to a former master, or to a server that was restarted."""
        await self._client.connection_pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()


class _SentinelNodes(_OneNode):
    """The master of a Sentinel group: its pool asks the sentinels again for each new connection."""

    def __init__(self, address: Address, options: dict[str, Any]) -> None:
        assert address.master is not None
        asking = {"socket_timeout": CONNECT_TIMEOUT_S, "socket_connect_timeout": CONNECT_TIMEOUT_S, "protocol": 2}
        self._sentinel = Sentinel(list(address.hosts), sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
        super().__init__(self._sentinel.master_for(address.master, db=address.database, **options))

    async def close(self) -> None:
        """Close every connection."""
        await super().close()
        for sentinel in self._sentinel.sentinels:
            await sentinel.aclose()


class _ClusterNodes:
    """The masters of a cluster. The library's cluster client tells who holds a slot; calls go to clients of our own."""

    def __init__(self, address: Address, options: dict[str, Any]) -> None:
        seeds = [ClusterNode(host, port, **options) for host, port in address.hosts]
        self._options = options
        self._map = RedisCluster(startup_nodes=seeds, **options)
        self._clients: dict[tuple[str, int], Redis] = {}

    async def open(self) -> None:
        """Read the map of slots."""
        await self._map.initialize()

    def client(self, key: str) -> Redis:
        """The client of the master of the slot of `key`."""
        node = self._map.get_node_from_key(key)
        if node is None:
            raise StoreUnavailable("no server of the cluster holds a part of the store")
        return self._at(str(node.host), int(node.port))

    def all(self) -> list[Redis]:
        """A client for each master."""
        return [self._at(str(node.host), int(node.port)) for node in self._map.get_primaries()]

    def _at(self, host: str, port: int) -> Redis:
        if (host, port) not in self._clients:
            self._clients[host, port] = Redis(host=host, port=port, **self._options)
        return self._clients[host, port]

    async def renew(self) -> None:
        """Read the map of slots again."""
        await self._map.aclose()
        await self._map.initialize()

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()
        await self._map.aclose()
