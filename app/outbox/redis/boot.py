"""What is asked of a server before it is trusted, and the identity and schema version of the store on it."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Sequence
from typing import Any, Literal

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from app.errors import StoreMismatch, StoreUnavailable
from app.logs import wide_event
from app.outbox.redis.link import META, Durability, Link, tag, talking, unavailable

VERSION = 1
"""Of the keys, the records and the scripts; all change together."""
OLDEST = (6, 2)
WITH_WAITAOF = (7, 2)
ONE_SERVER, CLUSTER = 1, 256
"""Partitions of a new store: more are of use only where several servers share them."""
MOST_PARTITIONS = 4096
Level = Literal["fsync", "replicated", "declared", "memory"]

log = logging.getLogger(__name__)


async def learn_nodes(link: Link) -> None:
    """Get to know the servers.

    Raises:
        StoreUnavailable: None answers.
    """
    try:
        await link.nodes.open()
    except (RedisError, OSError, TimeoutError) as error:
        raise _refusal(error) from error


async def check_servers(link: Link, level: Level, replicas: int, allow_weak: bool, wait_ms: int) -> Durability:
    """What has to be waited for after a change, for `level`.

    Raises:
        StoreMismatch: A server is too old, or its settings are too weak for `level`.
        StoreUnavailable: A server does not answer.
    """
    durability = Durability()
    try:
        for client in link.nodes.all():
            needs_wait, faults = await check_server(client, level)
            for fault in faults:
                if not allow_weak:
                    raise StoreMismatch(fault)
                wide_event(log, "store.weak", level=logging.WARNING, detail=fault)
            if needs_wait:
                durability = Durability(("WAITAOF", 1, 0, wait_ms))
    except (RedisError, OSError, TimeoutError) as error:
        raise _refusal(error) from error
    if level == "replicated":
        durability = Durability(("WAIT", replicas, wait_ms), replicas)
    return durability


def _refusal(error: Exception) -> StoreMismatch | StoreUnavailable:
    """What to make of a server's no: waiting helps against absence, not against a wrong password."""
    if isinstance(error, AuthenticationError):
        return StoreMismatch("the server refuses the user or the password of the configuration")
    if isinstance(error, NoPermissionError):
        return StoreMismatch("the server does not let this user do what a store needs: see the ACL in docs/redis.md")
    return unavailable(error)


async def check_server(client: Any, level: Level) -> tuple[bool, list[str]]:
    """Whether WAITAOF is needed, and what is too weak.

    Raises:
        StoreMismatch: The server is too old.
    """
    info = await _info(client)
    version = tuple(int(part) for part in re.findall(r"\d+", info.get("redis_version", "0"))[:2])
    if version < OLDEST:
        raise StoreMismatch(f"the server's version {info.get('redis_version', 'unknown')} is older than 6.2")
    faults = []
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        faults.append(f"the server's maxmemory-policy is {policy}: it would delete events; set it to noeviction")
    if level != "fsync":
        return False, faults
    if info.get("aof_enabled") != "1":
        faults.append("the server keeps no append-only file: set appendonly yes, or another store.durability")
        return False, faults
    sync = await _setting(client, "appendfsync")
    if sync == "always":
        return False, faults
    if version >= WITH_WAITAOF:
        if sync == "no":
            faults.append("the server's appendfsync is no: set it to everysec or always")
        return True, faults
    faults.append(
        "the server is older than 7.2, and its appendfsync is "
        f"{sync or 'not to be read'}: set it to always, or choose another store.durability"
    )
    return False, faults


async def _info(client: Any) -> dict[str, str]:
    async with talking(client):
        text = await client.execute_command("INFO", "everything")
    if isinstance(text, dict):
        return {str(name): str(value) for name, value in text.items()}
    lines = bytes(text).decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


async def _setting(client: Any, name: str) -> str | None:
    try:
        told: Any = await client.execute_command("CONFIG GET", name)
    except ResponseError:
        return None  # managed services hide it
    if isinstance(told, dict):
        value = told.get(name) or told.get(name.encode())
        return value.decode() if isinstance(value, bytes) else value
    return bytes(told[1]).decode() if told else None


async def memory_of(link: Link) -> int:
    """How many bytes all servers of the store hold.

    Raises:
        StoreUnavailable: A server does not answer.
    """
    try:
        return sum([int((await _info(client)).get("used_memory", "0")) for client in link.nodes.all()])
    except (RedisError, OSError, TimeoutError) as error:
        raise unavailable(error) from error


async def prepare(link: Link, partitions: int | None, default: int, destinations: Sequence[str]) -> None:
    """Give an empty server its schema version, identity and partitions, or learn them from it.

    Raises:
        StoreMismatch: The store there has another schema version or another number of partitions.
        StoreUnavailable: A server does not answer.
    """
    await link.command("HSETNX", META, "schema", VERSION)
    await link.command("HSETNX", META, "partitions", partitions or default)
    await link.command("HSETNX", META, "store", secrets.token_hex(8))
    schema, kept, identity = await link.command("HMGET", META, "schema", "partitions", "store")
    if int(schema) != VERSION:
        raise StoreMismatch(
            f"the store has schema version {int(schema)}, this version of Convey uses {VERSION}: "
            "start the version that wrote it, or use another database"
        )
    if partitions is not None and int(kept) != partitions:
        raise StoreMismatch(f"the store was made with {int(kept)} partitions, the configuration says {partitions}")
    link.partitions, link.identity = int(kept), bytes(identity)
    if destinations:
        await link.command("SADD", f"{META}:destinations", *destinations)
    was_whole = await link.command("HEXISTS", META, "whole")
    made = await _claim_partitions(link)
    await link.command("HSET", META, "whole", 1)
    if made and was_whole:
        words = "partitions of the store were empty and are made anew: what they held is lost"
        wide_event(log, "store.emptied", level=logging.ERROR, count=made, detail=words)
    link.is_gone = False


async def _claim_partitions(link: Link) -> int:
    made = 0
    try:
        for partition in range(link.partitions):
            client = link.nodes.client(tag(partition))
            async with talking(client):
                made += await client.hsetnx(tag(partition), "store", link.identity)
                kept = await client.hget(tag(partition), "store")
            if kept != link.identity:
                raise StoreMismatch("the partitions of the store belong to different stores: data was mixed or lost")
    except (RedisError, OSError, TimeoutError) as error:
        raise unavailable(error) from error
    return made
