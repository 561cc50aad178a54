"""Walks through the list and asks the gateway about it, a thousand orders at a time."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlencode

import orjson

from app import facts
from app.cli.client import Gateway, GatewayError
from app.cli.reconcile.orders import BadRow
from app.reconcile import Finding, Money, Order, Report, Told, extras, judge

AT_ONCE = 1000
OK = frozenset({200})
EDGE = timedelta(hours=1)
"""How long after it was placed an order may be accepted, at the beginning of a list: no extra one is told before."""

Note = Callable[[str, int | None, Money | None, Sequence[Finding]], None]
"""Told of every order: its id, its line in the list (None: it has none), its money there, and what was found."""


@dataclass(frozen=True, slots=True)
class Span:
    """When the orders of the list were placed, as far as somebody said so; `before` is the first instant after."""

    since: datetime | None = None
    before: datetime | None = None


@dataclass(slots=True)
class Comparison:
    """One list against one source of a gateway. `event_name` is the event that stands for an order.

    `repeated` rows have an order that stood in an earlier one. `looked_for_extra` is the time in which orders were
    looked for that the list does not have; None where none were, for which `why_not_looked` says the reason.
    """

    gateway: Gateway
    event_name: str
    span: Span
    note: Note
    report: Report = field(default_factory=Report)
    bad_rows: list[BadRow] = field(default_factory=list)
    repeated: int = 0
    looked_for_extra: tuple[datetime, datetime] | None = None
    why_not_looked: str = "give --since, or a column of times"
    _seen: set[int] = field(default_factory=set)
    _first: datetime | None = None
    _last: datetime | None = None
    _journal_since: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the list could be compared."""
        return not self.report.listed.orders

    @property
    def is_right(self) -> bool:
        """Whether everything was compared, and nothing has to be looked into."""
        return not self.is_empty and not self.bad_rows and self.report.is_right

    def run(self, rows: Iterator[Order | BadRow], moved: Callable[[], None]) -> None:
        """Compare every order; `moved` is called after each request.

        Raises: GatewayError.
        """
        orders = self._fresh(rows)
        while some := list(itertools.islice(orders, AT_ONCE)):
            self._compare(some)
            moved()
        self._look_for_extra(moved)

    def _fresh(self, rows: Iterator[Order | BadRow]) -> Iterator[Order]:
        for row in rows:
            if isinstance(row, BadRow):
                self.bad_rows.append(row)
                if row.order_id is not None:
                    self._seen.add(_digest(row.order_id))
                continue
            digest = _digest(row.order_id)
            if digest in self._seen:
                self.repeated += 1
                continue
            self._seen.add(digest)
            if row.placed_at is not None:
                self._first = min(self._first or row.placed_at, row.placed_at)
                self._last = max(self._last or row.placed_at, row.placed_at)
            yield row

    def _compare(self, orders: Sequence[Order]) -> None:
        body = orjson.dumps({"transaction_ids": [order.order_id for order in orders]})
        answer = self.gateway.ask("POST", "/v1/events/lookup", body=body, takes=OK, reads=True)
        try:
            results = answer["results"]
            destinations = [str(name) for name in answer["destinations"]]
            journal_since = self._journal_since = _instant(answer["journal_since"])
            told = [self._told(result["events"]) for result in results]
            names = [[str(event["event_name"]) for event in result["events"]] for result in results]
        except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation):
            raise GatewayError("the gateway did not answer with what became of each order") from None
        if len(told) != len(orders):
            raise GatewayError("the gateway did not answer with one result per order")
        for order, events, other_names in zip(orders, told, names, strict=True):
            placed_at = order.placed_at or self.span.since
            dated = Order(order.order_id, order.line, order.money, placed_at)
            findings = judge(dated, events, destinations, journal_since, other_names)
            self.report.add(dated, findings)
            self.note(order.order_id, order.line, order.money, findings)

    def _told(self, events: Sequence[Mapping[str, Any]]) -> list[dict[str, Told]]:
        return [_deliveries(event["destinations"]) for event in events if event["event_name"] == self.event_name]

    def _look_for_extra(self, moved: Callable[[], None]) -> None:
        since = self.span.since or (self._first + EDGE if self._first is not None else None)
        before = self.span.before or (datetime.now(UTC) if self.span.since is not None else self._last)
        if since is None or before is None:
            return
        if since >= before:
            is_given = self.span.since is not None
            self.why_not_looked = (
                "--since is not past yet" if is_given else "the list spans too little time: give --since"
            )
            return
        since = max(since, self._journal_since or since)
        if since >= before:
            self.why_not_looked = "the journal does not go back to that time"
            return
        self.looked_for_extra = (since, before)
        query = {"since": since.isoformat(), "before": before.isoformat()}
        cursor: dict[str, Any] = {}
        while True:
            answer = self.gateway.ask("GET", f"/v1/transactions?{urlencode(query | cursor)}", takes=OK)
            try:
                for event in answer["events"]:
                    order_id = str(event["transaction_id"])
                    if event["event_name"] == self.event_name and _digest(order_id) not in self._seen:
                        findings = extras(_deliveries(event["destinations"]))
                        self.report.add_extra(order_id, findings)
                        self.note(order_id, None, None, findings)
                following = answer["next"]
            except (KeyError, TypeError, AttributeError, InvalidOperation):
                raise GatewayError("the gateway did not answer with the orders it accepted") from None
            moved()
            if following is None:
                return
            cursor = {"cursor": following}


def _digest(order_id: str) -> int:
    """Stands for an order in memory: two of a million have the same once in ten million lists."""
    return int.from_bytes(hashlib.blake2b(order_id.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def _instant(text: Any) -> datetime:
    instant = facts.instant(text)
    if instant is None:
        raise ValueError("no instant")
    return instant


def _deliveries(told: Mapping[str, Mapping[str, Any]]) -> dict[str, Told]:
    return {
        str(name): Told(
            each["outcome"],
            each.get("reason"),
            each.get("reason_detail"),
            (each["money"]["currency"], Decimal(each["money"]["value"])) if each.get("money") else None,
            each.get("browser"),
            each.get("rejected_after_acceptance"),
            each.get("held_until") is not None,
        )
        for name, each in told.items()
    }
