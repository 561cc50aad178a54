"""Rate limits that many workers share, as values: one token bucket per window. Pure.

A platform allows so many requests in any span of some length, and often several such windows hold at once (Google: a
minute's and a day's). A bucket that holds a tenth of the window's amount and is refilled with the rest over the
window lets no span of that length pass more than the amount, and does not hand out a whole day's at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil

import msgspec

from app.destinations.base import Rate

BURST_SHARE = 10
"""A bucket holds this part of its window's amount."""


class Bucket(msgspec.Struct, frozen=True):
    """What is left in each window, in the order of the rates, as of one instant."""

    tokens: tuple[float, ...]
    at: datetime


def capacity(rate: Rate) -> int:
    """How much may go at once."""
    return max(1, rate.amount // BURST_SHARE)


def refill_per_s(rate: Rate) -> float:
    """What comes back per second: with the capacity, never more than the amount in any span of the window."""
    return (rate.amount - capacity(rate) + 1) / rate.per.total_seconds()


def refilled(bucket: Bucket | None, rates: Sequence[Rate], now: datetime) -> Bucket:
    """The bucket as it is now; a new one, or one of other windows, is full.

    A clock behind that of the last writer adds nothing: between machines the budget gets smaller, not larger.
    """
    if bucket is None or len(bucket.tokens) != len(rates):
        return Bucket(tuple(float(capacity(rate)) for rate in rates), now)
    seconds = max(0.0, (now - bucket.at).total_seconds())
    return Bucket(
        tuple(
            min(float(capacity(rate)), tokens + seconds * refill_per_s(rate))
            for tokens, rate in zip(bucket.tokens, rates, strict=True)
        ),
        max(now, bucket.at),
    )


def room(bucket: Bucket) -> int:
    """How many may go now."""
    return max(0, int(min(bucket.tokens) + 1e-9))


def spent(bucket: Bucket, number: int) -> Bucket:
    """The bucket after `number` went; below zero something came back."""
    return Bucket(tuple(tokens - number for tokens in bucket.tokens), bucket.at)


def wait(bucket: Bucket, rates: Sequence[Rate]) -> timedelta:
    """How long until one may go, rounded up to milliseconds."""
    seconds = max(
        (1 - tokens) / refill_per_s(rate) if tokens < 1 else 0.0
        for tokens, rate in zip(bucket.tokens, rates, strict=True)
    )
    return timedelta(milliseconds=ceil(seconds * 1000))


def keep_for(rates: Sequence[Rate]) -> timedelta:
    """After this long without a word a bucket is full again."""
    return 2 * max(rate.per for rate in rates)
