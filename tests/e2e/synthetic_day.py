"""A day of a shop's traffic made from a seed, with faults planted on purpose, and what an audit of it must say.

What is expected follows from the kind of each order alone; nothing here knows how the audit works.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

DAY = datetime(2026, 11, 20, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
PLATFORMS = ("meta", "tiktok")
PIXEL_NAMES = {"Purchase": "Purchase", "Lead": "Lead"}
"""Alike at both platforms."""
RENAMED = {"Purchase": "CompletePayment", "Lead": "SubmitForm"}
"""What a page of another release calls the same at TikTok."""


class Kind(StrEnum):
    """What happens to an order between page and backend."""

    GOOD = "both copies within minutes"
    REPEATED = "the page is reloaded and the webhook comes twice"
    LATE = "the backend posts hours after the pixel fired"
    RENAMED = "the page calls the event something else at TikTok"
    OTHER_VALUE = "page and backend disagree on the value"
    BROWSER_ONLY = "the backend never posts"
    SERVER_ONLY = "the pixels are blocked"
    HALF_BLOCKED = "TikTok's pixel alone is blocked"
    SPLIT = "the page makes up an id of its own"
    REUSED_ID = "the backend posts it under the id of an earlier order"
    SEVERAL_IDS = "the backend posts it again under another id"


PLANTED = {
    "Purchase": {
        Kind.GOOD: 40,
        Kind.REPEATED: 4,
        Kind.LATE: 9,
        Kind.RENAMED: 7,
        Kind.OTHER_VALUE: 5,
        Kind.BROWSER_ONLY: 6,
        Kind.SERVER_ONLY: 12,
        Kind.HALF_BLOCKED: 4,
        Kind.SPLIT: 2,
        Kind.REUSED_ID: 4,
        Kind.SEVERAL_IDS: 3,
    },
    "Lead": {Kind.GOOD: 10, Kind.RENAMED: 3, Kind.SERVER_ONLY: 4, Kind.BROWSER_ONLY: 2, Kind.SEVERAL_IDS: 1},
}


@dataclass(frozen=True, slots=True)
class Step:
    """Something that page or backend does. An `event_id` is used instead of the one that would be told or derived."""

    at: datetime
    event_name: str
    number: str
    value: Decimal
    is_page: bool = False
    event_id: str | None = None
    names: dict[str, str] = field(default_factory=dict)
    """Of a page: what it calls the event at each platform whose pixel is not blocked."""

    @property
    def event(self) -> dict[str, Any]:
        """What a backend posts."""
        return {
            "event_name": self.event_name,
            "event_time": self.at.timestamp(),
            "transaction_id": self.number,
            "event_id": self.event_id,
            "event_source_url": "https://shop.example/thanks",
            "user": {"email": f"buyer.{self.number.lower()}@example.com", "client_user_agent": "Mozilla/5.0"},
            "consent": {"ad_storage": True, "ad_user_data": True, "ad_personalization": True},
            "custom_data": {"currency": "EUR", "value": str(self.value)},
        }


@dataclass(frozen=True, slots=True)
class Day:
    """What happens, in order of time, and what has to be found: verdicts by event name and platform, and conflicts."""

    steps: Sequence[Step]
    verdicts: dict[tuple[str, str], Counter[str]]
    delays: dict[tuple[str, str], Counter[str]]
    conflicts: dict[str, Counter[str]]


def day(seed: int) -> Day:
    """The day of this seed: the same counts of each fault, other orders, instants and values."""
    dice = random.Random(seed)
    steps: list[Step] = []
    verdicts: dict[tuple[str, str], Counter[str]] = {}
    delays: dict[tuple[str, str], Counter[str]] = {}
    conflicts: dict[str, Counter[str]] = {}
    for event_name, planted in PLANTED.items():
        holders: list[Step] = []
        kinds = [kind for kind, number in planted.items() for _ in range(number)]
        for position, kind in enumerate(kinds):  # reused ids last: by then there are orders whose id can be reused
            number = f"{event_name[0]}-{seed}-{position}"
            made = list(_order(kind, event_name, number, dice, holders))
            steps += made
            if kind is Kind.GOOD:
                holders += [step for step in made if not step.is_page]
        for platform in PLATFORMS:
            where = event_name, platform
            verdicts[where], delays[where] = Counter(), Counter()
            for kind in kinds:
                found = _VERDICTS[kind][PLATFORMS.index(platform)]
                verdicts[where].update(found)
                if not {"browser_only", "server_only"} & set(found) and found:
                    delays[where]["24h" if kind is Kind.LATE else "5m"] += 1
        conflicts[event_name] = Counter(
            id_reused=planted.get(Kind.REUSED_ID, 0), order_has_another_id=planted.get(Kind.SEVERAL_IDS, 0)
        )
    return Day(sorted(steps, key=lambda step: step.at), verdicts, delays, conflicts)


_PAIRED = (["paired"], ["paired"])
_VERDICTS: dict[Kind, tuple[list[str], list[str]]] = {
    Kind.GOOD: _PAIRED,
    Kind.REPEATED: _PAIRED,
    Kind.LATE: _PAIRED,
    Kind.RENAMED: (["paired"], ["name_mismatch"]),
    Kind.OTHER_VALUE: (["value_mismatch"], ["value_mismatch"]),
    Kind.BROWSER_ONLY: (["browser_only"], ["browser_only"]),
    Kind.SERVER_ONLY: (["server_only"], ["server_only"]),
    Kind.HALF_BLOCKED: (["paired"], ["server_only"]),
    Kind.SPLIT: (["browser_only", "server_only"], ["browser_only", "server_only"]),
    Kind.REUSED_ID: ([], []),
    Kind.SEVERAL_IDS: _PAIRED,
}
"""What becomes of an order of each kind at Meta and at TikTok."""


def _order(kind: Kind, event_name: str, number: str, dice: random.Random, holders: Sequence[Step]) -> Iterator[Step]:
    at = DAY + dice.random() * 23 * HOUR
    value = Decimal(dice.randrange(500, 50_000)) / 100
    apart = dice.uniform(-4, 4) * MINUTE  # either copy may be the first
    names = dict.fromkeys(PLATFORMS, PIXEL_NAMES[event_name])
    page = Step(at, event_name, number, value, is_page=True, names=names)
    post = Step(at + apart, event_name, number, value)
    if kind is Kind.LATE:
        post = Step(at + dice.uniform(2, 20) * HOUR, event_name, number, value)
    elif kind is Kind.RENAMED:
        page = Step(at, event_name, number, value, is_page=True, names={**names, "tiktok": RENAMED[event_name]})
    elif kind is Kind.OTHER_VALUE:
        page = Step(at, event_name, number, value + Decimal("4.90"), is_page=True, names=names)
    elif kind is Kind.HALF_BLOCKED:
        page = Step(at, event_name, number, value, is_page=True, names={"meta": names["meta"]})
    elif kind is Kind.SPLIT:
        page = Step(at, event_name, number, value, is_page=True, names=names, event_id=f"page-{number}")
    elif kind is Kind.REUSED_ID:
        holder = dice.choice(holders)
        taken = f"{event_name.lower()}_{holder.number}"
        post = Step(holder.at + dice.uniform(10, 60) * MINUTE, event_name, number, value, event_id=taken)
        page = Step(post.at, event_name, number, value, is_page=True, names=names, event_id=taken)
    if kind is not Kind.SERVER_ONLY:
        yield page
    if kind is not Kind.BROWSER_ONLY:
        yield post
    later = max(page.at, post.at) + dice.uniform(5, 90) * MINUTE
    if kind is Kind.REPEATED:
        yield Step(later, event_name, number, value)
        yield Step(later, event_name, number, value, is_page=True, names=names)
    elif kind is Kind.SEVERAL_IDS:
        yield Step(later, event_name, number, value, event_id=f"other-{number}")
