"""Calls of the scripts: pipelined per server, loaded again when a server does not know them, durable when asked.

Everything that goes wrong with a server comes out as `StoreUnavailable`, at once: nothing is tried again here but a
script that the server had forgotten, which did nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any, TypeVar

import msgspec
from redis.asyncio import Redis
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as LostConnection,
)
from redis.exceptions import (
    TimeoutError as NoAnswer,
)

from app.errors import StoreFull, StoreUnavailable
from app.outbox.redis.nodes import Nodes
from app.outbox.redis.places import to_us

T = TypeVar("T")
ELSEWHERE = (LostConnection, NoAnswer, AskError, ClusterDownError, MasterDownError, MovedError, ReadOnlyError)
"""What says that keys may lie on another server by now."""
META = "{c:meta}"
AT_ONCE = 64
"""How many calls are under way at a time; more wait their turn, as the driver refuses beyond 100 connections."""
_encoder = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script with what all of them share put before it."""

    name: str
    source: str
    sha: str


def _load_scripts() -> dict[str, Script]:
    folder = resources.files("app.outbox.redis") / "scripts"
    texts = {file.name.removesuffix(".lua"): file.read_text("utf-8") for file in folder.iterdir() if file.is_file()}
    common = texts.pop("common")
    return {
        name: Script(name, whole, hashlib.sha1(whole.encode(), usedforsecurity=False).hexdigest())
        for name, whole in ((name, f"{common}\n{text}") for name, text in texts.items() if text)
    }


SCRIPTS = _load_scripts()


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a script on one partition."""

    script: str
    partition: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Durability:
    """What is waited for after a change: a command of the server and the number its answer must begin with."""

    command: tuple[str | int, ...] = ()
    at_least: int = 1


def tag(partition: int) -> str:
    """The key of a partition, which every other key of it begins with."""
    return f"{{c:{partition}}}"


def encode(value: Any) -> bytes:
    """A payload. Raises what msgspec raises for what cannot be kept."""
    return _encoder.encode(value)


def unavailable(error: Exception) -> StoreUnavailable:
    """What the caller is told of a failing server."""
    if isinstance(error, StoreUnavailable):
        return error
    text = str(error)
    if isinstance(error, OutOfMemoryError) or "OOM command not allowed" in text:
        wrapped: StoreUnavailable = StoreFull("the store is full: the server's maxmemory is reached", limit="memory")
    elif text.startswith("GONE"):
        wrapped = StoreUnavailable("the data of the store has vanished from the server")
    else:
        what = text.split(" ", 1)[0] if isinstance(error, ResponseError) else ""
        wrapped = StoreUnavailable(f"the store does not answer: {type(error).__name__} {what}".rstrip())
    wrapped.__cause__ = error
    return wrapped


@asynccontextmanager
async def talking(client: Redis) -> AsyncIterator[None]:
    """Makes what uvloop says of a connection that was reset under it what it is, and drops that connection.

    The driver lets the RuntimeError pass and puts the dead connection back, for the next call to fail on.
    """
    try:
        yield
    except RuntimeError as error:
        if "closed" not in str(error):
            raise
        await client.connection_pool.disconnect(inuse_connections=False)
        raise LostConnection("the connection was reset") from error


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Link:
    """The servers of one store, and what every script call carries.

    `wall` is the clock of this machine, by which its callers reckon; `clock`, where given, stands for the servers' own.
    What passes between the two is a span, never an instant, so that they may differ.
    """

    def __init__(
        self, nodes: Nodes, clock: Callable[[], datetime] | None, wall: Callable[[], datetime] | None = None
    ) -> None:
        self.nodes = nodes
        self.wall = wall or clock or _utc_now
        self.durability = Durability()
        self.partitions = 1
        self.proof_retention = timedelta(0)
        self.identity = b""
        self.is_gone = False
        self.weakness: str | None = None
        """Why the servers keep less than the durability promises, since one of them was replaced."""
        self._clock = clock
        self._is_closed = False
        self._busy = 0
        self._lines = asyncio.Semaphore(AT_ONCE)
        self._idle = asyncio.Event()

    def promise(self) -> None:
        """Return if what is kept now is kept as durably as promised.

        Raises:
            StoreUnavailable: A server that took over is set up too weakly.
        """
        if self.weakness is not None:
            raise StoreUnavailable(self.weakness)

    def now_us(self) -> int | None:
        """The instant by the clock of a test; None where the server's own is used."""
        return None if self._clock is None else to_us(self._clock())

    async def close(self) -> None:
        """Let what is under way end, which takes no longer than an answer may, and close every connection."""
        self._is_closed = True
        while self._busy:
            self._idle.clear()
            await self._idle.wait()
        with suppress(RedisError, OSError):
            await self.nodes.close()

    @asynccontextmanager
    async def _pipe(self, client: Redis) -> AsyncIterator[Any]:
        if self._is_closed:
            raise StoreUnavailable("the store is closed")
        self._busy += 1
        try:
            async with self._lines, talking(client), client.pipeline(transaction=False) as pipe:
                yield pipe
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    async def run(self, calls: Sequence[Call], *, durable: bool = False) -> list[Any]:
        """The answer of each call, or the `StoreUnavailable` it failed with, in order.

        With `durable` an answer comes only once everything the server did before it is durable.
        """
        groups: defaultdict[int, list[int]] = defaultdict(list)
        clients: dict[int, Redis] = {}
        try:
            for position, call in enumerate(calls):
                client = self.nodes.client(tag(call.partition))
                clients[id(client)] = client
                groups[id(client)].append(position)
        except RedisError as error:
            return [unavailable(error)] * len(calls)
        answers: list[Any] = [None] * len(calls)

        async def on(client: Redis, positions: list[int]) -> None:
            told = await self._on_server(client, [calls[position] for position in positions], durable)
            for position, answer in zip(positions, told, strict=True):
                answers[position] = answer

        await asyncio.gather(*(on(clients[key], positions) for key, positions in groups.items()))
        return answers

    async def all(self, calls: Sequence[Call], *, durable: bool = False) -> list[Any]:
        """The answer of each call.

        Raises:
            StoreUnavailable: At least one failed.
        """
        answers = await self.run(calls, durable=durable)
        for answer in answers:
            if isinstance(answer, StoreUnavailable):
                raise answer
        return answers

    async def everywhere(self, script: str, value: Any, *, durable: bool = False) -> list[Any]:
        """The answer of every partition to the same call."""
        payload = encode(value)
        calls = [Call(script, partition, payload) for partition in range(self.partitions)]
        return await self.all(calls, durable=durable)

    async def scatter(
        self,
        script: str,
        items: Sequence[tuple[int, Any]],
        unpack: Callable[[Any], Sequence[T]],
        *,
        durable: bool = False,
    ) -> list[T | StoreUnavailable]:
        """The answer to each item (partition, value), where one call takes all items of a partition in order."""
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for position, (partition, _) in enumerate(items):
            groups[partition].append(position)
        calls = [
            Call(script, partition, encode([items[position][1] for position in positions]))
            for partition, positions in groups.items()
        ]
        answers: dict[int, T | StoreUnavailable] = {}
        told = await self.run(calls, durable=durable)
        for positions, answer in zip(groups.values(), told, strict=True):
            if isinstance(answer, StoreUnavailable):
                answers |= dict.fromkeys(positions, answer)
            else:
                answers |= zip(positions, unpack(answer), strict=True)
        return [answers[position] for position in range(len(items))]

    async def command(self, *words: str | bytes | int, durable: bool = False) -> Any:
        """The answer to one command about the store as a whole.

        Raises:
            StoreUnavailable: There is none.
        """
        try:
            async with self._pipe(self.nodes.client(META)) as pipe:
                pipe.execute_command(*words)
                self._then_wait(pipe, META, durable)
                told = await pipe.execute()
            return self._waited(told, durable)[0]
        except (RedisError, OSError, TimeoutError) as error:
            if isinstance(error, ELSEWHERE):
                await self.renew()
            raise unavailable(error) from error

    async def load(self) -> None:
        """Give every server the scripts.

        Raises:
            StoreUnavailable: It could not be done.
        """
        try:
            for client in self.nodes.all():
                await self._load(client)
        except (RedisError, OSError, TimeoutError) as error:
            raise unavailable(error) from error

    async def _load(self, client: Redis) -> None:
        async with self._pipe(client) as pipe:
            for script in SCRIPTS.values():
                pipe.execute_command("SCRIPT LOAD", script.source)
            await pipe.execute()

    async def _on_server(self, client: Redis, calls: Sequence[Call], durable: bool) -> list[Any]:
        try:
            answers = await self._pipeline(client, calls, durable)
            unknown = [position for position, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if unknown:
                await self._load(client)
                again = await self._pipeline(client, [calls[position] for position in unknown], durable)
                for position, answer in zip(unknown, again, strict=True):
                    answers[position] = answer
        except (RedisError, OSError, TimeoutError, StoreUnavailable) as error:
            if isinstance(error, ELSEWHERE):
                await self.renew()
            return [unavailable(error)] * len(calls)
        has_moved = False
        for position, answer in enumerate(answers):
            if isinstance(answer, Exception):
                self.is_gone |= str(answer).startswith("GONE")
                has_moved |= isinstance(answer, ELSEWHERE)
                answers[position] = unavailable(answer)
        if has_moved:
            await self.renew()
        return answers

    async def renew(self) -> None:
        """Keys may have moved: look again, if that can be done."""
        try:
            await self.nodes.renew()
        except (RedisError, OSError, TimeoutError, StoreUnavailable):
            return  # whoever asks next finds out

    async def _pipeline(self, client: Redis, calls: Sequence[Call], durable: bool) -> list[Any]:
        now = b"" if self._clock is None else b"%d" % to_us(self._clock())
        async with self._pipe(client) as pipe:
            for call in calls:
                sha = SCRIPTS[call.script].sha
                pipe.execute_command("EVALSHA", sha, 1, tag(call.partition), self.identity, now, call.payload)
            self._then_wait(pipe, tag(calls[0].partition), durable)
            return self._waited(await pipe.execute(raise_on_error=False), durable)

    def _then_wait(self, pipe: Any, key: str, durable: bool) -> None:
        if durable and self.durability.command:
            # A change of this connection, so that what others did before is waited for too: a duplicate's answer
            # waits for its first copy.
            pipe.execute_command("HSET", key, "touched", 1)
            pipe.execute_command(*self.durability.command)

    def _waited(self, told: list[Any], durable: bool) -> list[Any]:
        if not (durable and self.durability.command):
            return told
        *answers, touched, waited = told
        for answer in (touched, waited):  # a server that is no longer the master says so in the first
            if isinstance(answer, Exception):
                raise answer
        reached = waited[0] if isinstance(waited, list) else waited
        if int(reached) < self.durability.at_least:
            raise StoreUnavailable("the store could not make it durable in time")
        return answers
