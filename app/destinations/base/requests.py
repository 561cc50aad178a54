"""Requests: deliveries that may share one, and bodies within a platform's limits."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from app.destinations.base.contract import Limits
from app.model import Delivery

K = TypeVar("K", bound=Hashable)


def grouped(deliveries: Sequence[Delivery], key: Callable[[Delivery], K]) -> dict[K, list[Delivery]]:
    """The deliveries that may share a request, by `key`, each group and the groups in the given order."""
    groups: dict[K, list[Delivery]] = {}
    for delivery in deliveries:
        groups.setdefault(key(delivery), []).append(delivery)
    return groups


def pack(
    items: Sequence[tuple[Delivery, bytes]], limits: Limits, head: bytes, tail: bytes
) -> list[tuple[tuple[Delivery, ...], bytes]]:
    """Bodies `head + item,item,… + tail` with the deliveries each holds, in order, within count and byte limits.

    Every item lands in exactly one body. An item that alone passes `max_bytes` gets a body of its own: the
    platform's verdict on it costs no neighbour.
    """
    packed: list[tuple[tuple[Delivery, ...], bytes]] = []
    room = limits.max_bytes - len(head) - len(tail)
    batch: list[Delivery] = []
    parts: list[bytes] = []
    size = 0
    for delivery, part in items:
        if parts and (len(parts) >= limits.max_items or size + len(part) + 1 > room):
            packed.append((tuple(batch), head + b",".join(parts) + tail))
            batch, parts, size = [], [], 0
        batch.append(delivery)
        parts.append(part)
        size += len(part) + 1
    if parts:
        packed.append((tuple(batch), head + b",".join(parts) + tail))
    return packed
