"""What sealing at rest costs: microseconds per event, and beside the encoding that happens anyway.

python -m bench.rest
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from app.model import HashedEvent, decode_event, encode_event
from app.outbox.datakeys import Encryption, Master
from app.outbox.redis.squeeze import squeeze, unsqueeze
from app.outbox.vault import BODY, Vault
from bench.stores import Clock, Planner

EVENTS = 2_000
ROUNDS = 15


class _Book:
    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    async def entries(self) -> Mapping[str, bytes]:
        return self._kept

    async def keep(self, name: str, value: bytes) -> None:
        self._kept[name] = value

    async def drop(self, names: Sequence[str]) -> None:
        for name in names:
            self._kept.pop(name, None)


def best_us(step: Callable[[], object]) -> float:
    """Microseconds per event of the fastest round."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return min(times) / EVENTS * 1e6


def over(do: Callable[[Any], object], values: Sequence[Any]) -> None:
    """Do it to each."""
    for value in values:
        do(value)


def measure(events: list[HashedEvent], vault: Vault) -> None:
    """Print both engines' figures."""
    head = ("", "bytes", "encode", "seal", "decode", "open", "seal+open / encode+decode")
    print("{:8}{:>7}{:>9}{:>8}{:>9}{:>8}{:>28}   us per event".format(*head))
    for name, encode, decode in (("SQLite", encode_event, decode_event), ("Redis", squeeze, unsqueeze)):
        plain = [encode(event) for event in events]
        kept = [vault.seal(each, BODY) for each in plain]
        coding = best_us(partial(over, encode, events))
        sealing = best_us(partial(over, partial(vault.seal, kind=BODY), plain))
        opening = best_us(partial(over, partial(vault.open, kind=BODY), kept))
        decoding = best_us(partial(over, decode, plain))
        size = sum(map(len, plain)) // len(plain)
        ratio = (sealing + opening) / (coding + decoding)
        print(f"{name:8}{size:7}{coding:9.2f}{sealing:8.2f}{decoding:9.2f}{opening:8.2f}{ratio:28.2f}")


def main() -> None:
    """Plan a few thousand orders and seal them."""

    async def begun() -> Vault:
        vault = Vault(Encryption([Master("bench", bytes(32))]), _Book(), lambda: datetime.now(UTC))
        await vault.begin()
        return vault

    with tempfile.TemporaryDirectory() as folder:
        events = [plan.event for plan in Planner(Path(folder), Clock()).plans(0, EVENTS)]
    measure(events, asyncio.run(begun()))


if __name__ == "__main__":
    main()
