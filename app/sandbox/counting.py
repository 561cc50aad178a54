"""What a platform would have counted: deduplication of server and pixel copies, one rule set each.

Sources (read 2026-11): Meta developers.facebook.com/docs/marketing-api/conversions-api/
deduplicate-pixel-and-server-events and .../offline-events; TikTok business-api.tiktok.com/portal/docs/
event-deduplication/v1.3; Pinterest developers.pinterest.com/docs/track-conversions/
track-conversions-in-the-api and the v5 OpenAPI description; Snapchat developers.snap.com/marketing-api/
Conversions-API/Deduplication; Google developers.google.com/data-manager/api/devguides/events/google-ads/
conversion-adjustments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Literal, NamedTuple

Source = Literal["server", "pixel"]
Key = tuple[str | None, ...]

MINUTE_S = 60.0
DAY_S = 86_400.0
WINDOW_S = 48 * 3600.0  # Meta, TikTok, Snapchat documented; Pinterest documented, read second-hand
PAIR_S = 5 * MINUTE_S  # Meta and TikTok documented: a browser and a server copy this close are one story
META_OFFLINE_S = 7 * DAY_S  # documented
SNAP_ORDER_S = 30 * DAY_S  # documented
GOOGLE_ADJUST_S = 55 * DAY_S  # seen in peers

NO_CURRENCY = "none"
_EXACT = Context(prec=800)  # wider than any sum of doubles, so that adding never rounds


class Copy(NamedTuple):
    """One arrival of an event, by its server call or its pixel, as far as counting looks at it.

    `test` is the test code that keeps a copy apart from live ones. `twins` are cookie or customer ids that
    may stand in for a missing event_id. `fingerprint` stands for all of an offline event's content.
    """

    account: str
    event_name: str
    event_id: str | None
    source: Source = "server"
    order_id: str | None = None
    value: Decimal | None = None
    currency: str | None = None
    offline: bool = False
    test: str | None = None
    counts: bool = True
    twins: tuple[str, ...] = ()
    fingerprint: str | None = None


class Facts(NamedTuple):
    """What a counted conversion is worth, and whose copy said so."""

    source: Source
    order_id: str | None
    value: Decimal | None
    currency: str | None


class Keys(NamedTuple):
    """Under which keys a copy looks for an earlier one (each with its window), and which it leaves behind."""

    find: tuple[tuple[Key, float], ...] = ()
    keep: tuple[Key, ...] = ()


def _both(*pairs: tuple[Key, float]) -> Keys:
    return Keys(pairs, tuple(key for key, _ in pairs))


def meta_keys(copy: Copy) -> Keys:
    """Keys of a Meta copy.

    Online: event_id with event_name on one pixel within 48 h (documented for browser and server copies;
    inferred for two server copies). Without ids: event_name with external_id or fbp, browser first and
    server second only (documented; its 48 h are inferred). Offline: against offline events only, by
    order_id, else by the whole content, for 7 days (documented; that the name belongs to the order key is
    inferred). A copy with a test code is kept apart (seen in a public thread).
    """
    if copy.offline:
        if copy.order_id:
            return _both((("order", copy.account, copy.event_name, copy.order_id, copy.test), META_OFFLINE_S))
        return _both((("same", copy.account, copy.event_name, copy.fingerprint, copy.test), META_OFFLINE_S))
    if copy.event_id:
        return _both((("id", copy.account, copy.event_name, copy.event_id, copy.test), WINDOW_S))
    twins: tuple[Key, ...] = tuple(("twin", copy.account, copy.event_name, t, copy.test) for t in copy.twins)
    return Keys(keep=twins) if copy.source == "pixel" else Keys(tuple((key, WINDOW_S) for key in twins))


def tiktok_keys(copy: Copy) -> Keys:
    """Keys of a TikTok copy.

    event_source_id, event and event_id within 48 h, between channels and within one (documented). Without
    ids on both sides: the _ttp cookie within 5 minutes, dropping server copies only (documented, read
    second-hand).
    """
    if copy.event_id:
        return _both((("id", copy.account, copy.event_name, copy.event_id), WINDOW_S))
    twins: tuple[Key, ...] = tuple(("twin", copy.account, copy.event_name, t) for t in copy.twins)
    return Keys(keep=twins) if copy.source == "pixel" else Keys(tuple((key, PAIR_S) for key in twins))


def pinterest_keys(copy: Copy) -> Keys:
    """Keys of a Pinterest copy.

    event_id with event_name within 48 h (documented, read second-hand; inferred for two server copies).
    Offline events are not deduplicated at all (documented).
    """
    if copy.offline or not copy.event_id:
        return Keys()
    return _both((("id", copy.account, copy.event_name, copy.event_id), WINDOW_S))


def snapchat_keys(copy: Copy) -> Keys:
    """Keys of a Snapchat copy.

    event_id on one asset within 48 h (documented; that the name must match, too, is inferred) and, for
    PURCHASE, the order id for 30 days (documented).
    """
    pairs: list[tuple[Key, float]] = []
    if copy.event_id:
        pairs.append((("id", copy.account, copy.event_name, copy.event_id), WINDOW_S))
    if copy.order_id and copy.event_name == "PURCHASE":
        pairs.append((("order", copy.account, copy.order_id), SNAP_ORDER_S))
    return _both(*pairs)


def google_keys(copy: Copy) -> Keys:
    """Keys of a Google copy.

    Conversion action and transaction id, of the tag and of the server alike (documented; the 55 days are seen in
    peers). Store sales and calls are not recognised again (documented).
    """
    transaction = copy.order_id or copy.event_id
    if copy.offline or not transaction:
        return Keys()
    return _both((("transaction", copy.account, transaction), GOOGLE_ADJUST_S))


KEYS: dict[str, Callable[[Copy], Keys]] = {
    "meta": meta_keys,
    "tiktok": tiktok_keys,
    "pinterest": pinterest_keys,
    "snapchat": snapchat_keys,
    "google": google_keys,
}


def survivor(platform: str, held: Facts, copy: Copy, age_s: float) -> Facts:
    """What stands after a later copy of a counted conversion, `age_s` after the first one.

    Meta: the browser's copy replaces a server copy that came up to 5 minutes earlier (documented), else
    the first stands. TikTok: within 5 minutes a copy from the other channel fills what was missing
    (documented). Snapchat: any later copy fills what was missing (documented). Pinterest: the first stands. Google:
    a later value overwrites, everything else of it is ignored (documented).
    """
    if platform == "google":
        if copy.value is None:
            return held
        return Facts(held.source, held.order_id, copy.value, copy.currency)
    if platform == "meta" and copy.source == "pixel" and held.source == "server" and age_s <= PAIR_S:
        return Facts("pixel", copy.order_id, copy.value, copy.currency)
    fills = platform == "snapchat" or (platform == "tiktok" and copy.source != held.source and age_s <= PAIR_S)
    if not fills:
        return held
    value, currency = (held.value, held.currency) if held.value is not None else (copy.value, copy.currency)
    return Facts(held.source, held.order_id or copy.order_id, value, currency)


@dataclass(slots=True)
class Conversion:
    """One counted conversion and the copies that were taken for it."""

    account: str
    event_name: str
    event_id: str | None
    facts: Facts
    first_at: float
    test: bool
    copies: int = 1
    sources: tuple[Source, ...] = ()
    keys: tuple[Key, ...] = ()


class Tally:
    """The running count of one platform: no clock, no input or output.

    At most `keep` conversions are remembered. An older one leaves its share in `events` and `money`, but
    a further copy of it would count again; `forgotten` says how many were let go.
    """

    def __init__(self, platform: str, keep: int) -> None:
        self.platform = platform
        self.events = 0
        self.forgotten = 0
        self.money: dict[str, Decimal] = {}
        self._keys_of = KEYS[platform]
        self._keep = keep
        self._by_key: dict[Key, Conversion] = {}
        self._kept: dict[int, Conversion] = {}

    @property
    def conversions(self) -> Iterable[Conversion]:
        """The remembered conversions, oldest first."""
        return self._kept.values()

    def add(self, copy: Copy, at: float) -> bool:
        """Whether this copy counts as a new conversion. `at` is the instant of arrival."""
        if not copy.counts:
            return False
        keys = self._keys_of(copy)
        for key, window_s in keys.find:
            earlier = self._by_key.get(key)
            if earlier is not None and at - earlier.first_at <= window_s:
                self._merge(earlier, copy, keys, at)
                return False
        self._count(copy, keys, at)
        return True

    def _count(self, copy: Copy, keys: Keys, at: float) -> None:
        facts = Facts(copy.source, copy.order_id, copy.value, copy.currency)
        new = Conversion(copy.account, copy.event_name, copy.event_id, facts, at, copy.test is not None)
        new.sources = (copy.source,)
        self._kept[self.events] = new
        self.events += 1
        self._book(facts, 1)
        for key in keys.keep:
            self._by_key[key] = new
        new.keys = keys.keep
        if len(self._kept) > self._keep:
            oldest = self._kept.pop(next(iter(self._kept)))
            self.forgotten += 1
            for key in oldest.keys:
                if self._by_key.get(key) is oldest:
                    del self._by_key[key]

    def _merge(self, held: Conversion, copy: Copy, keys: Keys, at: float) -> None:
        held.copies += 1
        if copy.source not in held.sources:
            held.sources += (copy.source,)
        facts = survivor(self.platform, held.facts, copy, at - held.first_at)
        if facts != held.facts:
            self._book(held.facts, -1)
            self._book(facts, 1)
            held.facts = facts
        for key in keys.keep:
            if self._by_key.setdefault(key, held) is held and key not in held.keys:
                held.keys += (key,)

    def _book(self, facts: Facts, sign: int) -> None:
        if facts.value is None:
            return
        currency = facts.currency or NO_CURRENCY
        held = self.money.get(currency, Decimal(0))
        add = _EXACT.add if sign > 0 else _EXACT.subtract
        self.money[currency] = add(held, facts.value)


def money_text(value: Decimal) -> str:
    """A decimal string, exact, with at least two decimals."""
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent > -2:
        value = value.quantize(Decimal("0.01"), context=_EXACT)
    return f"{value:f}"
