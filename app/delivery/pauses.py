"""What people hold back: a whole lane, event names of it, or its rate; as a value. Pure."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Hold(msgspec.Struct, frozen=True, omit_defaults=True):
    """Since when something is held back, until when if that was said, and the person's own words why."""

    since: datetime
    until: datetime | None = None
    reason: str | None = None

    def is_over(self, now: datetime) -> bool:
        """Whether its time has passed."""
        return self.until is not None and now >= self.until


class Cap(Hold, frozen=True):
    """A bound on the rate, in events a minute."""

    rate_per_minute: int = 1


class Pauses(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is held back of one lane. `names` are standard event names, or `custom` for all others."""

    whole: Hold | None = None
    names: dict[str, Hold] = {}
    cap: Cap | None = None

    def at(self, now: datetime) -> Pauses:
        """What of it still holds at the instant `now`."""
        return Pauses(
            None if self.whole is None or self.whole.is_over(now) else self.whole,
            {name: hold for name, hold in self.names.items() if not hold.is_over(now)},
            None if self.cap is None or self.cap.is_over(now) else self.cap,
        )


NOTHING = Pauses()


def held(pauses: Pauses, hold: Hold, event_name: str | None = None) -> Pauses:
    """The pauses with one more: of one event name, of the rate where `hold` is a cap, else of the whole lane."""
    if isinstance(hold, Cap):
        return msgspec.structs.replace(pauses, cap=hold)
    if event_name is not None:
        return msgspec.structs.replace(pauses, names={**pauses.names, event_name: hold})
    return msgspec.structs.replace(pauses, whole=hold)


def lifted(pauses: Pauses, event_name: str | None = None) -> Pauses:
    """The pauses without that of one event name, or none at all."""
    if event_name is None:
        return NOTHING
    return msgspec.structs.replace(
        pauses, names={name: hold for name, hold in pauses.names.items() if name != event_name}
    )
