"""From the consent object of an event to signals a policy can judge. Pure; nothing here grants anything."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from app.model import Warn
from app.wire import Consent


class Flag(StrEnum):
    """What one boolean of the event says. Anything but true, false and null is MALFORMED, never consent."""

    YES = "yes"
    NO = "no"
    ABSENT = "absent"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class ConsentSignals:
    """The signals of one event."""

    ad_storage: Flag = Flag.ABSENT
    ad_user_data: Flag = Flag.ABSENT
    ad_personalization: Flag = Flag.ABSENT
    gpc: Flag = Flag.ABSENT
    child: Flag = Flag.ABSENT

    @property
    def ad_flags(self) -> tuple[Flag, Flag, Flag]:
        """The three booleans that are a signal together."""
        return self.ad_storage, self.ad_user_data, self.ad_personalization


NO_SIGNALS = ConsentSignals()
_UNREAD = ("purposes", "tcf", "ac", "gpp", "us_privacy", "onetrust_groups", "shopify")


def read_signals(consent: Consent) -> tuple[ConsentSignals, tuple[Warn, ...]]:
    """The signals in a consent object, and a warning for each that this version does not read."""
    signals = ConsentSignals(
        _flag(consent.ad_storage),
        _flag(consent.ad_user_data),
        _flag(consent.ad_personalization),
        _flag(consent.gpc),
        _flag(consent.child),
    )
    warnings = tuple(
        Warn(
            "consent_signal_not_read",
            f"/consent/{name}",
            "this version decides by ad_storage, ad_user_data and ad_personalization; this signal was not read",
        )
        for name in _UNREAD
        if getattr(consent, name) is not None
    )
    malformed = tuple(
        Warn("consent_malformed", f"/consent/{name}", "must be true, false or null: as it is, it permits nothing")
        for name in ("ad_storage", "ad_user_data", "ad_personalization", "gpc", "child")
        if getattr(signals, name) is Flag.MALFORMED
    )
    return signals, warnings + malformed


def _flag(value: Any) -> Flag:
    if value is True:
        return Flag.YES
    if value is False:
        return Flag.NO
    return Flag.ABSENT if value is None else Flag.MALFORMED
