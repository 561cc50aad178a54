"""The servers behind a store's URL: one, the master of a Sentinel group, or the masters of a cluster."""

from __future__ import annotations

from typing import Any, Protocol

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from app.outbox.address import Address
from app.outbox.redis.slots import SlotMap

CONNECT_TIMEOUT_S = 2.0


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

    async def follow(self) -> None:
        """Leave a server that others hold for replaced, though it still answers."""

    async def close(self) -> None:
        """Close every connection."""


def nodes_of(address: Address, timeout_s: float) -> Nodes:
    """The servers of an address; `timeout_s` bounds every answer."""
    options: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": min(CONNECT_TIMEOUT_S, timeout_s),
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        **_tls_options(address),
    }
    if address.is_sentinel:
        return _SentinelNodes(address, options)
    if address.is_cluster:
        return _ClusterNodes(address, options)
    host, port = address.hosts[0]
    return _OneNode(Redis(host=host, port=port, db=address.database, **options))


def _tls_options(address: Address) -> dict[str, Any]:
    if address.tls is None:
        return {}
    files = {
        "ssl_ca_certs": address.tls.ca,
        "ssl_certfile": address.tls.certificate,
        "ssl_keyfile": address.tls.key,
    }
    return {"ssl": True, **{name: str(file) for name, file in files.items() if file is not None}}


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

    async def follow(self) -> None:
        """Nobody else to ask."""

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
        asking = {
            "username": address.sentinel_username,
            "password": address.sentinel_password,
            "socket_timeout": CONNECT_TIMEOUT_S,
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            "protocol": 2,
            **_tls_options(address),
        }
        self._sentinel = Sentinel(list(address.hosts), sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
        super().__init__(self._sentinel.master_for(address.master, db=address.database, **options))
        self._name = address.master
        self._master: tuple[str, int] | None = None

    async def follow(self) -> None:
        """Ask the sentinels: a master cut off from them goes on answering, and would lose what it is told."""
        master = await self._sentinel.discover_master(self._name)
        if self._master not in {None, master}:
            await self.renew()
        self._master = master

    async def close(self) -> None:
        """Close every connection."""
        await super().close()
        for sentinel in self._sentinel.sentinels:
            await sentinel.aclose()


class _ClusterNodes:
    """The masters of a cluster."""

    def __init__(self, address: Address, options: dict[str, Any]) -> None:
        self._options = options
        self._slots = SlotMap(address.hosts, self._at)
        self._clients: dict[tuple[str, int], Redis] = {}

    async def open(self) -> None:
        """Read the map of slots."""
        await self._slots.read()

    def client(self, key: str) -> Redis:
        """The client of the master of the slot of `key`."""
        return self._at(*self._slots.place_of(key))

    def all(self) -> list[Redis]:
        """A client for each master."""
        return [self._at(*place) for place in self._slots.masters()]

    def _at(self, host: str, port: int) -> Redis:
        if (host, port) not in self._clients:
            self._clients[host, port] = Redis(host=host, port=port, **self._options)
        return self._clients[host, port]

    async def follow(self) -> None:
        """A master that was replaced says so."""

    async def renew(self) -> None:
        """Read the map of slots again."""
        await self._slots.read()

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            await client.aclose()
