"""Judges pairs of sightings as they fall due, and counts what became of each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import msgspec

from app.dedup.pairs import Pair, PairVerdict, decode_sighting, split_key, tally
from app.dedup.port import DuePair, JudgedPair, PairStore
from app.logs import wide_event
from app.metrics import Metrics
from app.pipeline import SourcePolicy

log = logging.getLogger("convey.audit")

AT_ONCE = 500
"""Pairs judged in one step of the store."""


class Auditor:
    """The audit of one process; several may run over one store, and each pair is counted by one of them."""

    def __init__(self, pairs: PairStore, platforms: Mapping[str, Mapping[str, str]], metrics: Metrics) -> None:
        """`platforms` maps each source to its destinations and their types."""
        self._pairs = pairs
        self._platforms = platforms
        self._metrics = metrics

    async def turn(self) -> None:
        """Judge whatever is due. A pair that cannot be read is told once, and counts as it did before.

        Raises: StoreUnavailable.
        """
        while due := await self._pairs.due_pairs(AT_ONCE):
            told = [(pair, self._tally(pair)) for pair in due]
            judged = [JudgedPair(pair, pair.counted if counts is None else counts) for pair, counts in told]
            counted = await self._pairs.count_pairs(judged)
            for each, (pair, counts), is_counted in zip(judged, told, counted, strict=True):
                if is_counted and counts is None:
                    wide_event(log, "pair.unreadable", level=logging.ERROR, source=pair.source, event_id=pair.event_id)
                elif is_counted:
                    self._observe(each)
            if not any(counted):
                return  # somebody else is at it
            await asyncio.sleep(0)

    def _tally(self, pair: DuePair) -> Mapping[str, int] | None:
        """What it is counted as; None where what is kept of it makes no sense, which must not stop all others."""
        try:
            return tally(_pair(pair), self._platforms.get(pair.source, {}))
        except (msgspec.MsgspecError, ValueError, KeyError):
            return None

    def _observe(self, judged: JudgedPair) -> None:
        for key in judged.counts:
            _, source, event_name, destination, what = split_key(key)
            if what in _VERDICTS and key not in judged.pair.counted:
                self._metrics.pairs.labels(source, event_name, destination, what).inc()


def platforms_of(policies: Mapping[str, SourcePolicy]) -> Mapping[str, Mapping[str, str]]:
    """The destinations of each source and their types."""
    return {
        name: {route.name: route.destination.name for route in policy.routes if route.is_routed}
        for name, policy in policies.items()
    }


_VERDICTS = frozenset(PairVerdict)


def _pair(due: DuePair) -> Pair:
    sides = {name: decode_sighting(body) for name, body in due.sides.items()}
    return Pair(due.source, due.event_id, sides, due.counted)
