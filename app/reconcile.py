"""What became of the shop's orders at each platform: the shop's own list against what the gateway says of it. Pure.

Every order of the list ends in exactly one class per destination. Money is the list's own, never that of several
currencies added together; where a delivery was counted with another amount than the list has, that is told beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

Money = tuple[str, Decimal]
"""An ISO 4217 currency and an amount."""

MOST_IDS = 1000
"""Orders that are named under one figure; the CSV names all of them."""
MOST_DETAILS = 20
"""Kinds of a platform's own words that are told apart for one reason at one destination."""
LONGEST_DETAIL = 120
OTHER_DETAILS = "other words"
_OF_ONE_ORDER = re.compile(r"'[^']*'|\"[^\"]*\"|(?<=[.\[/])\d+(?=[.\]/])")
"""What a platform quotes, and places in its batch: of one order, and no part of why."""


class Fate(StrEnum):
    """What became of one order at one destination."""

    DELIVERED = "delivered"
    PENDING = "pending"
    UNKNOWN = "unknown"
    MISSING = "missing"
    DENIED = "denied"
    SKIPPED = "skipped"
    DEAD = "dead"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    ERASED = "erased"
    REFUSED_LATER = "rejected_after_acceptance"
    EXTRA = "extra"


LOST = (
    Fate.MISSING, Fate.DEAD, Fate.EXPIRED, Fate.REFUSED_LATER, Fate.DENIED, Fate.SKIPPED, Fate.WITHDRAWN, Fate.ERASED,
)  # fmt: skip
"""Did not reach the platform."""
WRONG = frozenset({Fate.MISSING, Fate.DEAD, Fate.EXPIRED, Fate.REFUSED_LATER, Fate.EXTRA})
"""Somebody should look into these. What consent, a route or a person decided is explained."""
HELD, CANCELLED = "held", "cancelled"
"""Why an order is waiting, and why one that was posted is rightly not in the list."""

_OF_OUTCOME = {
    "delivered": Fate.DELIVERED,
    "queued": Fate.PENDING,
    "retrying": Fate.PENDING,
    "denied": Fate.DENIED,
    "skipped": Fate.SKIPPED,
    "dead": Fate.DEAD,
    "expired": Fate.EXPIRED,
    "withdrawn": Fate.WITHDRAWN,
    "erased": Fate.ERASED,
}
_BEST_FIRST = (
    Fate.DELIVERED, Fate.PENDING, Fate.REFUSED_LATER, Fate.DEAD, Fate.EXPIRED, Fate.WITHDRAWN, Fate.ERASED,
    Fate.DENIED, Fate.SKIPPED, Fate.UNKNOWN,
)  # fmt: skip

OLDER_THAN_JOURNAL = "older_than_journal"
NO_TIME = "no_time"
POSTED_AS = "posted_as"
"""The order is known, but by another event name."""
NOT_DECIDED = "not_decided"
"""The order was accepted, but before this destination was one of its source's."""


@dataclass(frozen=True, slots=True)
class Order:
    """One row of the shop's list; `line` is where it begins."""

    order_id: str
    line: int
    money: Money | None = None
    placed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What the gateway says of one event at one destination. `browser` is None where nobody takes receipts."""

    outcome: str
    reason: str | None = None
    detail: str | None = None
    money: Money | None = None
    browser: bool | None = None
    refused: str | None = None
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one order at one destination, and why. `counted` is the money its delivery counts with."""

    destination: str
    fate: Fate
    reason: str | None = None
    detail: str | None = None
    counted: Money | None = None
    browser: bool | None = None
    differs: bool = False


def judge(
    order: Order,
    events: Sequence[Mapping[str, Told]],
    destinations: Sequence[str],
    journal_since: datetime,
    other_names: Sequence[str] = (),
) -> list[Finding]:
    """A finding per destination, in order: of `destinations`, then of others that an event of the order went to.

    `events` are what is kept of the order; where there are several, the one that came furthest at a destination counts.
    An order without any is missing if it was posted as another event (`other_names`), or if the journal goes back to
    when it was placed, and unknown if not.
    """
    names = [*destinations, *dict.fromkeys(name for event in events for name in event if name not in destinations)]
    if not events and other_names:
        return [Finding(name, Fate.MISSING, POSTED_AS, ", ".join(sorted(set(other_names)))) for name in names]
    return [
        _judge(order, name, [event[name] for event in events if name in event], events, journal_since) for name in names
    ]


def _judge(
    order: Order, name: str, told: Sequence[Told], events: Sequence[Mapping[str, Told]], journal_since: datetime
) -> Finding:
    if told:
        return min((_finding(order, name, each) for each in told), key=lambda found: _BEST_FIRST.index(found.fate))
    if events:
        return Finding(name, Fate.SKIPPED, NOT_DECIDED)
    if order.placed_at is None:
        return Finding(name, Fate.UNKNOWN, NO_TIME)
    if order.placed_at < journal_since:
        return Finding(name, Fate.UNKNOWN, OLDER_THAN_JOURNAL)
    return Finding(name, Fate.MISSING)


def _finding(order: Order, name: str, told: Told) -> Finding:
    fate = _OF_OUTCOME.get(told.outcome, Fate.UNKNOWN)
    reason, detail = told.reason, told.detail
    if fate is Fate.UNKNOWN:
        reason = told.outcome
    elif fate is Fate.DELIVERED and told.refused is not None:
        fate, detail = Fate.REFUSED_LATER, told.refused
    elif fate is Fate.PENDING and told.is_held:
        reason = HELD
    is_counted = fate in {Fate.DELIVERED, Fate.PENDING}
    differs = is_counted and None not in {order.money, told.money} and order.money != told.money
    return Finding(name, fate, reason, detail, told.money, told.browser, differs)


def extras(told: Mapping[str, Told]) -> list[Finding]:
    """The findings about an event that was accepted although the list has no such order; the reason is its outcome.

    Of an order that was cancelled or is held back, that is the reason, also where consent or a route kept it anyway.
    """
    explained = next(filter(None, map(_explanation, told.values())), None)
    return [
        Finding(name, Fate.EXTRA, _why_extra(each, explained), each.reason, each.money, each.browser)
        for name, each in told.items()
    ]


def _explanation(told: Told) -> str | None:
    if told.outcome == "withdrawn" and told.reason == CANCELLED:
        return CANCELLED
    return HELD if told.is_held and _OF_OUTCOME.get(told.outcome) is Fate.PENDING else None


def _why_extra(told: Told, explained: str | None) -> str:
    never_went = _OF_OUTCOME.get(told.outcome) in {Fate.DENIED, Fate.SKIPPED}
    return _explanation(told) or (explained if explained is not None and never_went else told.outcome)


@dataclass(slots=True)
class Figure:
    """How many orders, what they are worth by the list, and which; `browser`: how many of them a pixel reported."""

    orders: int = 0
    money: dict[str, Decimal] = field(default_factory=dict)
    browser: int = 0
    order_ids: list[str] = field(default_factory=list)

    def add(self, order_id: str, money: Money | None, browser: bool | None = None) -> None:
        """Count one order."""
        self.orders += 1
        self.browser += browser is True
        if money is not None:
            self.money[money[0]] = self.money.get(money[0], Decimal(0)) + money[1]
        if len(self.order_ids) < MOST_IDS:
            self.order_ids.append(order_id)


Why = tuple[Fate, str | None, str | None]
"""A fate, its reason, and a platform's own words."""


def is_wrong(why: Why) -> bool:
    """Whether somebody should look into it: `WRONG`, but for orders that are rightly not in the list."""
    fate, reason, _ = why
    return fate in WRONG and not (fate is Fate.EXTRA and reason in {HELD, CANCELLED})


@dataclass(slots=True)
class Account:
    """What became of the orders at one destination.

    `counted` is what those that differ are counted with, `uncompared` how many have no money on one of the two sides.
    `hears_pages` says that pixels are asked to report.
    """

    figures: dict[Why, Figure] = field(default_factory=dict)
    differing: Figure = field(default_factory=Figure)
    counted: dict[str, Decimal] = field(default_factory=dict)
    uncompared: int = 0
    hears_pages: bool = False

    def add(self, order_id: str, money: Money | None, finding: Finding) -> None:
        """Count one finding; `money` is the list's, of an extra order what it is counted with."""
        self._figure(finding).add(order_id, money, finding.browser)
        self.hears_pages = self.hears_pages or finding.browser is not None
        if finding.fate in {Fate.DELIVERED, Fate.PENDING} and (money is None or finding.counted is None):
            self.uncompared += 1
        if finding.differs and finding.counted is not None:
            self.differing.add(order_id, money)
            currency, amount = finding.counted
            self.counted[currency] = self.counted.get(currency, Decimal(0)) + amount

    def _figure(self, finding: Finding) -> Figure:
        detail = None
        if finding.fate in {Fate.DEAD, Fate.REFUSED_LATER, Fate.MISSING} and finding.detail is not None:
            detail = _OF_ONE_ORDER.sub("…", finding.detail)[:LONGEST_DETAIL]
        why = (finding.fate, finding.reason, detail)
        if why not in self.figures and detail is not None:
            known = sum(each[:2] == why[:2] for each in self.figures)
            why = why if known < MOST_DETAILS else (finding.fate, finding.reason, OTHER_DETAILS)
        return self.figures.setdefault(why, Figure())

    def total(self, *fates: Fate) -> Figure:
        """The figures of these fates together, without the orders' ids."""
        sums = Figure()
        for (fate, _, _), figure in self.figures.items():
            if fate in fates:
                sums.orders += figure.orders
                sums.browser += figure.browser
                for currency, amount in figure.money.items():
                    sums.money[currency] = sums.money.get(currency, Decimal(0)) + amount
        return sums

    @property
    def is_right(self) -> bool:
        """Whether every order reached the platform, or it is explained why not."""
        return not self.differing.orders and not any(map(is_wrong, self.figures))

    def sorted(self) -> list[tuple[Why, Figure]]:
        """The figures, by fate, the largest first."""
        order = list(Fate)
        return sorted(self.figures.items(), key=lambda each: (order.index(each[0][0]), -each[1].orders, str(each[0])))


@dataclass(slots=True)
class Report:
    """Everything that was found, per destination."""

    listed: Figure = field(default_factory=Figure)
    accounts: dict[str, Account] = field(default_factory=dict)

    def add(self, order: Order, findings: Iterable[Finding]) -> None:
        """Count one order of the list."""
        self.listed.add(order.order_id, order.money)
        for finding in findings:
            self.account(finding.destination).add(order.order_id, order.money, finding)

    def add_extra(self, order_id: str, findings: Iterable[Finding]) -> None:
        """Count one order that the list does not have."""
        for finding in findings:
            self.account(finding.destination).add(order_id, finding.counted, finding)

    def account(self, destination: str) -> Account:
        """The account of a destination, begun if it has none."""
        return self.accounts.setdefault(destination, Account())

    @property
    def is_right(self) -> bool:
        """Whether nothing has to be looked into."""
        return all(account.is_right for account in self.accounts.values())


# --- words ------------------------------------------------------------------------------------------------------

_WORDS: Mapping[str, str] = {
    "consent_missing": "no consent signal",
    "consent_purpose_missing": "no consent",
    "consent_vendor_missing": "no consent for this platform",
    "consent_withdrawn": "consent withdrawn",
    "gpc_opt_out": "opted out by Global Privacy Control",
    "us_opt_out": "opted out under US law",
    "signal_malformed": "consent signal unreadable",
    "signals_contradict": "consent signals contradict each other",
    "not_routed": "not meant to go there",
    "event_not_supported": "the platform takes no such event",
    "identifiers_missing": "nothing to match the customer by",
    "too_old": "posted too late for the platform",
    "in_future": "dated in the future",
    "required_field_missing": "a field the platform needs is missing",
    "test_mode_missing": "a test, and the destination has no test mode",
    "backlog_full": "no room in the queue",
    NOT_DECIDED: "not meant to go there when it was accepted",
    "rejected_by_platform": "rejected",
    "attempts_exhausted": "given up after many tries",
    "outcome_unknown": "nobody knows whether it arrived",
    "body_unreadable": "the stored event could not be read any more",
    "purchase_not_delivered": "its purchase was not delivered",
    "platform_window_passed": "not sent in time for the platform",
    "dedup_window_passed": "not sent in time to be paired with the pixel's copy",
    "cancelled": "cancelled",
    "erasure_request": "erased on request",
    OLDER_THAN_JOURNAL: "older than the journal",
    NO_TIME: "not found, and the list does not say when it was placed",
}
_WORDS_OF_FATE = {
    Fate.DELIVERED: "delivered",
    Fate.PENDING: "on the way",
    Fate.MISSING: "never posted, or refused as invalid",
    Fate.REFUSED_LATER: "taken and refused afterwards",
    Fate.EXTRA: "posted, but not in the list",
}


_WITHOUT_CENTS = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split())
"""ISO 4217: currencies whose minor unit is none (list one of 2026-01-01)."""


def why_in_words(why: Why) -> str:
    """A fate and its reason as a person would say it."""
    fate, reason, detail = why
    if fate is Fate.EXTRA:
        return f"{_WORDS_OF_FATE[fate]} ({reason})"
    if fate is Fate.MISSING and reason == POSTED_AS:
        return f"posted as {detail if detail != OTHER_DETAILS else 'another event'}"
    if fate is Fate.PENDING and reason == HELD:
        return HELD
    if fate is Fate.PENDING and reason is not None:
        return f"{_WORDS_OF_FATE[fate]}, after {reason.replace('_', ' ')}"
    plain = f"{fate}: {reason or 'no reason told'}".replace("_", " ")
    words = _WORDS_OF_FATE.get(fate) or _WORDS.get(reason or "") or plain
    return f"{words}: {detail}" if detail is not None else words


def money_in_words(money: Mapping[str, Decimal]) -> str:
    """Amounts per currency, `12,340.00 EUR and 99.00 USD`; empty without any."""
    return " and ".join(f"{_amount(amount, currency)} {currency}" for currency, amount in sorted(money.items()))


def _amount(amount: Decimal, currency: str) -> str:
    exponent = amount.as_tuple().exponent
    is_round = isinstance(exponent, int) and exponent > -2 and currency not in _WITHOUT_CENTS
    return f"{amount:,.2f}" if is_round else f"{amount:,f}"


def figure_in_words(figure: Figure) -> str:
    """`214 orders, 12,340.00 EUR`."""
    number = f"{figure.orders:,} order{'' if figure.orders == 1 else 's'}"
    return f"{number}, {worth}" if (worth := money_in_words(figure.money)) else number


def sentences(name: str, account: Account) -> list[str]:
    """What became of the orders at one destination, in whole sentences."""
    told = [f"{figure_in_words(account.total(Fate.DELIVERED))}, reached {name}."]
    lost = account.total(*LOST)
    if lost.orders:
        parts = [
            f"{money_in_words(figure.money) or figure_in_words(figure)} {why_in_words(why)}"
            for why, figure in sorted(account.figures.items(), key=lambda each: (-each[1].orders, str(each[0])))
            if why[0] in LOST
        ]
        told.append(f"{figure_in_words(lost)}, did not reach {name}: {', '.join(parts)}.")
    for fate in (Fate.PENDING, Fate.UNKNOWN):
        if (figure := account.total(fate)).orders:
            reasons = [why_in_words(why) for why, _ in account.sorted() if why[0] is fate]
            told.append(f"{figure_in_words(figure)}: {', '.join(reasons)}.")
    if account.differing.orders:
        told.append(
            f"{figure_in_words(account.differing)} in the list, counted with another value: "
            f"{money_in_words(account.counted)}."
        )
    if (extra := account.total(Fate.EXTRA)).orders:
        told.append(f"{figure_in_words(extra)}, posted but not in the list.")
    return told
