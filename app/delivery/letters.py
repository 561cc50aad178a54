"""What a person does about dead letters: sum them up, send them again, delete them. In small steps, however many.

A walk begins at an instant and leaves alone what dies later, so that what dies again at once is not met twice. The
place at which it stopped holds that instant, and another walk goes on from there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from app.delivery.retry import spent
from app.errors import Reason, StoreFull
from app.model import from_epoch
from app.outbox.port import DeadFilter, DeadLetter, DeadPage, Outbox, Store
from app.outbox.room import NO_LIMITS, Limits

STEP = 250
"""How many dead letters one durable step ends: what everybody else waits for meanwhile."""
LOOK = 1000
"""How many are read at once where nothing is ended."""


ROOM = Fraction(1, 2)
"""What of the room for waiting deliveries a replay may fill up: the rest is for what comes new meanwhile."""


@dataclass(slots=True)
class Tally:
    """How many deliveries, and how much money per currency."""

    deliveries: int = 0
    money: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    def add(self, letter: DeadLetter) -> None:
        """Count one letter in."""
        self.deliveries += 1
        if letter.money is not None:
            currency, amount = letter.money
            self.money[currency] += amount


@dataclass(slots=True)
class Walk:
    """What became of the letters a walk met.

    `fitted` is how many fit the filter; `met` counts those it ended, or would have ended if it was dry. `hopeless`
    are those that fit and would not be sent any more, by why: a replay settles them unsent. `done` is how many ended,
    which is less than were met where another walk was quicker. `after` is where to go on; None at the end.
    """

    fitted: int = 0
    met: Tally = field(default_factory=Tally)
    hopeless: defaultdict[Reason, Tally] = field(default_factory=lambda: defaultdict(Tally))
    done: int = 0
    after: str | None = None

    def judge(self, letter: DeadLetter, now: datetime) -> None:
        """Count a letter that fits, and where it would not be sent at `now` why."""
        self.fitted += 1
        why = unsendable(letter, now)
        if why is not None:
            self.hopeless[why].add(letter)


def unsendable(letter: DeadLetter, now: datetime) -> Reason | None:
    """Why a replay at `now` would end unsent, or None where it would be sent.

    What could not be opened is taken for lost. Where its key came back with a backup, a replay opens it nonetheless.
    """
    if letter.reason is Reason.BODY_UNREADABLE:
        return Reason.BODY_UNREADABLE
    return spent(letter.budget, letter.unsure_since, now)


async def replay(
    store: Store,
    which: DeadFilter,
    now: datetime,
    limit: int,
    after: str | None = None,
    *,
    limits: Limits = NO_LIMITS,
    is_dry: bool = False,
    only_sendable: bool = False,
) -> Walk:
    """Send dead letters again, oldest first, until `limit` fitted; with `only_sendable`, none that would not be sent.

    Stops early rather than fill more than `ROOM` of what may wait. Dry, nothing is changed, and all that fit are met,
    whatever the limit.

    Raises: ValueError when `after` is no place of a walk; StoreFull when there is no room for the first of them, and
        it has to wait for deliveries to make some; StoreUnavailable.
    """
    walk = Walk()
    place = after
    async for letters, following in _walk(store, which, now, None if is_dry else limit, after):
        chosen = [letter for letter in letters if not only_sendable or unsendable(letter, now) is None]
        full = None if is_dry else await _crowded(limits, store, chosen)
        if full is not None:
            if place == after:
                raise full
            break
        for letter in letters:
            walk.judge(letter, now)
        for letter in chosen:
            walk.met.add(letter)
        if not is_dry:
            walk.done += await store.replay(chosen)
        place = following
    walk.after = place
    return walk


async def _crowded(limits: Limits, store: Store, letters: Sequence[DeadLetter]) -> StoreFull | None:
    """Why these may not be sent again now, if they may not."""
    await store.ledger()  # what a process that accepts nothing knows of what waits
    full = limits.part(ROOM).full(store.waiting())
    if full.store is not None and letters:
        return StoreFull("replays would fill the store", limit="store.max_waiting")
    for name in sorted({letter.destination for letter in letters} & set(full.destinations)):
        return StoreFull(f"replays would fill {name}", limit=f"destinations.{name}.{full.destinations[name]}")
    return None


async def purge(
    outbox: Outbox, which: DeadFilter, now: datetime, limit: int, after: str | None = None, *, is_dry: bool = False
) -> Walk:
    """Delete dead letters, oldest first, until `limit` fitted; dry as for `replay`.

    Raises: ValueError when `after` is no place of a walk; StoreUnavailable.
    """
    walk = Walk()
    async for letters, walk.after in _walk(outbox, which, now, None if is_dry else limit, after):
        for letter in letters:
            walk.judge(letter, now)
            walk.met.add(letter)
        if not is_dry:
            walk.done += await outbox.purge(letters)
    return walk


async def summary(outbox: Outbox, which: DeadFilter, now: datetime) -> dict[tuple[str, Reason], Walk]:
    """What a dry replay of all that fit would say, by destination and reason of death, in that order."""
    sums: defaultdict[tuple[str, Reason], Walk] = defaultdict(Walk)
    async for letters, _ in _walk(outbox, which, now, None, None):
        for letter in letters:
            walk = sums[letter.destination, letter.reason]
            walk.judge(letter, now)
            walk.met.add(letter)
    return dict(sorted(sums.items()))


async def listed(outbox: Outbox, which: DeadFilter, limit: int, after: str | None) -> DeadPage:
    """Up to `limit` letters that fit, oldest first; fewer only at the end.

    Raises: ValueError when `after` is no place of the store; StoreUnavailable.
    """
    letters: list[DeadLetter] = []
    while True:
        page = await outbox.dead_letters(which, limit - len(letters), after)
        letters += page.letters
        after = page.after
        if after is None or len(letters) == limit:
            return DeadPage(letters, after)


async def _walk(
    outbox: Outbox, which: DeadFilter, now: datetime, limit: int | None, after: str | None
) -> AsyncIterator[tuple[Sequence[DeadLetter], str | None]]:
    """Steps of letters that fit, each with the place after it."""
    began, place = (now, None) if after is None else _parse(after)
    meant = replace(which, died_before=began if which.died_before is None else min(began, which.died_before))
    left = limit
    while left is None or left > 0:
        page = await outbox.dead_letters(meant, LOOK if left is None else min(STEP, left), place, is_brief=True)
        place = page.after
        if left is not None:
            left -= len(page.letters)
        yield page.letters, None if place is None else _spell(began, place)
        if place is None:
            return


_EPOCH = from_epoch(0)
_MICROSECOND = timedelta(microseconds=1)


def _spell(began: datetime, place: str) -> str:
    return f"{(began - _EPOCH) // _MICROSECOND}.{place}"


def _parse(after: str) -> tuple[datetime, str]:
    """The instant at which the walk began, and the store's place.

    Raises: ValueError.
    """
    instant, found, place = after.partition(".")
    if not found or not instant.isascii() or not instant.isdigit() or len(instant) > 17:
        raise ValueError("no place of a walk")
    return _EPOCH + int(instant) * _MICROSECOND, place
