"""Counts which match keys queued events carried. What an event costs here is a few look-ups; the rest is done later.

On the way of the events only their *shapes* are counted: which parts an identity has, where it was queued. A few times
a minute the shapes become tallies and metrics: then, and not per event, the platforms' rules are asked.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from app.errors import Outcome, Status
from app.event_names import CUSTOM, label, meant_name
from app.hashing.coverage import PARTS, RULES, has_key, keys_of
from app.match_keys.keys import ABSENT, ANY, GIVEN, NAME, PRESENT, tally_key
from app.metrics import Metrics
from app.model import Accepted, HashedIdentity, Plan
from app.outbox.tallies import MATCH_KEYS, Tally
from app.tallying import Tallies
from app.wire import Event

MOST_SHAPES = 5_000
"""Shapes counted in one period; a caller whose events differ in every way makes them tallies sooner."""

MOST_NAMES = 100
"""Custom names like standard ones that one process notes of a source; whoever makes up more is not short of hints."""

Shape = tuple[str, str, str, tuple[str, ...], tuple[str, ...], tuple[bool, ...], frozenset[str]]
"""Source, event name, action source, destinations, forms, which of `FIELDS`, and parts the context gave."""

FIELDS = (
    "client_ip_address",
    "client_user_agent",
    "fbc",
    "fbp",
    "ttclid",
    "ttp",
    "epik",
    "sc_click_id",
    "sc_cookie1",
    "gclid",
    "gbraid",
    "wbraid",
    "idfa",
    "gaid",
    "lead_id",
)
"""The fields of an identity that platforms match by; the rest of what they match by are forms."""


def _flags(of: HashedIdentity) -> tuple[bool, ...]:
    """Which of `FIELDS` are there, in their order; written out, as it takes a third of the time of asking by name."""
    return (
        of.client_ip_address is not None,
        of.client_user_agent is not None,
        of.fbc is not None,
        of.fbp is not None,
        of.ttclid is not None,
        of.ttp is not None,
        of.epik is not None,
        of.sc_click_id is not None,
        of.sc_cookie1 is not None,
        of.gclid is not None,
        of.gbraid is not None,
        of.wbraid is not None,
        of.idfa is not None,
        of.gaid is not None,
        of.lead_id is not None,
    )


_NOTHING: frozenset[str] = frozenset()


class MatchKeys:
    """The count of one process."""

    def __init__(self, tallies: Tallies, metrics: Metrics, platforms: Mapping[str, Mapping[str, str]]) -> None:
        """`platforms` maps each source to its destinations and their types."""
        self._tallies = tallies
        self._metrics = metrics
        self._platforms = platforms
        self._shapes: Counter[Shape] = Counter()
        self._names: defaultdict[str, set[str]] = defaultdict(set)
        self._since: datetime | None = None
        self._last: datetime | None = None
        tallies.before_flush(self.tell)

    def count(
        self,
        source: str,
        plans: Sequence[Plan],
        accepted: Sequence[Accepted | None],
        given: Mapping[int, frozenset[str]],
        now: datetime,
    ) -> None:
        """Count one request's events that were queued somewhere, test events aside.

        `given` is by position in `plans` (`given_parts`).
        """
        shapes, queued, is_accepted = self._shapes, Outcome.QUEUED, Status.ACCEPTED
        if len(shapes) > MOST_SHAPES or (self._last is not None and self._last.date() != now.date()):
            self.tell()
            shapes = self._shapes
        for position, (planned, became) in enumerate(zip(plans, accepted, strict=True)):
            if became is None or became.status is not is_accepted:
                continue
            event = planned.event
            if event.is_test:
                continue
            identity = event.identity
            shapes[
                source,
                event.event_name,
                event.action_source,
                tuple([name for name, verdict in became.destinations.items() if verdict.outcome is queued]),
                tuple(identity.digests),
                _flags(identity),
                given.get(position, _NOTHING),
            ] += 1
        if shapes:
            self._since, self._last = self._since or now, now

    def tell(self) -> None:
        """Turn the shapes counted so far into tallies and metrics."""
        if not self._shapes or self._since is None or self._last is None:
            return
        shapes, since, last = self._shapes, self._since, self._last
        self._shapes, self._since, self._last = Counter(), None, None
        sums: Counter[tuple[str, str, str, str, str]] = Counter()
        for (source, name, action_source, destinations, forms, flags, given), number in shapes.items():
            parts = PARTS & {*forms, *(field for field, is_there in zip(FIELDS, flags, strict=True) if is_there)}
            platforms = self._platforms.get(source, {})
            if destinations and (meant := self._meant(source, name)) is not None:
                sums[source, _shown(name), "", meant, NAME] += number
            for destination in destinations:
                where = (source, label(name), destination)
                sums[*where, ANY, PRESENT] += number
                platform = platforms.get(destination, "")
                for key in keys_of(platform, action_source) if platform in RULES else ():
                    is_there = has_key(parts, key)
                    sums[*where, key.name, PRESENT if is_there else ABSENT] += number
                    if is_there and given and not has_key(parts - given, key):
                        sums[*where, key.name, GIVEN] += number
        for (*place, what), number in sums.items():
            self._tallies.count(MATCH_KEYS, tally_key(*place, what), Tally(number, since, last))
            if what in {PRESENT, ABSENT}:
                # One that no event carried has its zero: a share that falls to nothing must not vanish.
                self._metrics.match_keys.labels(*place).inc(number if what == PRESENT else 0)

    def _meant(self, source: str, name: str) -> str | None:
        """The standard name that a custom one looks like, unless so many are noted already."""
        meant = meant_name(name) if label(name) == CUSTOM else None
        if meant is None:
            return None
        noted = self._names[source]
        if len(noted) < MOST_NAMES:
            noted.add(name)
        return meant if name in noted else None


def _shown(name: str) -> str:
    """A name fit for a key and for a screen."""
    return " ".join("".join(char if char.isprintable() else " " for char in name).split())


def given_parts(posted: Event, completed: Event) -> frozenset[str]:
    """Which fields of the identity only the context of the order can have supplied.

    A click id may also be in a URL: then it is the context's if the URL is, too.
    """
    had, has = posted.user, completed.user
    has_url = posted.event_source_url is None and completed.event_source_url is not None
    return frozenset(
        field
        for field in FIELDS
        if getattr(had, field, None) is None and (getattr(has, field, None) is not None or has_url)
    )
