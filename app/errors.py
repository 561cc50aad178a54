"""The exception tree and the closed lists of words for what becomes of an event.

    ConveyError
      ConfigError          the configuration cannot be used; carries every fault found
      InvalidEvent         one event cannot be taken; carries its faults as pointers, never values
      StoreUnavailable     nothing can be kept right now: callers answer 503, never 202
        StoreFull          the disk or a limit is reached
        StoreVanished      what the store held is gone; an empty one was begun
      StoreReplaced        it was begun anew by a process with other secrets: this one has to be started again
      StoreMismatch        the store was written by something this version cannot share it with
      DestinationError     an adapter was asked for what it cannot do: a fault of ours

What a platform answers is never an exception: it is a value (`app.model.Result`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What became of a whole event at ingest."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    INVALID = "invalid"


class Outcome(StrEnum):
    """What became of one event at one destination. Every delivery ends in exactly one."""

    QUEUED = "queued"
    DENIED = "denied"
    SKIPPED = "skipped"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    DEAD = "dead"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    ERASED = "erased"


INGEST_OUTCOMES = (Outcome.QUEUED, Outcome.DENIED, Outcome.SKIPPED)
FINAL_OUTCOMES = (Outcome.DELIVERED, Outcome.DEAD, Outcome.EXPIRED, Outcome.WITHDRAWN, Outcome.ERASED)
"""The settled terms of the ledger; with `pending` they add up to what was queued."""


class Reason(StrEnum):
    """Why an outcome is what it is: the same words in answers, metrics, logs and docs."""

    # denied, at ingest
    CONSENT_MISSING = "consent_missing"
    CONSENT_PURPOSE_MISSING = "consent_purpose_missing"
    CONSENT_VENDOR_MISSING = "consent_vendor_missing"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    GPC_OPT_OUT = "gpc_opt_out"
    US_OPT_OUT = "us_opt_out"
    SIGNAL_MALFORMED = "signal_malformed"
    SIGNALS_CONTRADICT = "signals_contradict"
    # skipped, at ingest
    NOT_ROUTED = "not_routed"
    EVENT_NOT_SUPPORTED = "event_not_supported"
    IDENTIFIERS_MISSING = "identifiers_missing"
    TOO_OLD = "too_old"
    IN_FUTURE = "in_future"
    REQUIRED_FIELD_MISSING = "required_field_missing"
    TEST_MODE_MISSING = "test_mode_missing"
    BACKLOG_FULL = "backlog_full"
    # retrying
    RATE_LIMITED = "rate_limited"
    PLATFORM_ERROR = "platform_error"
    TIMEOUT = "timeout"
    NETWORK = "network"
    CREDENTIALS = "credentials"
    # dead
    REJECTED_BY_PLATFORM = "rejected_by_platform"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    OUTCOME_UNKNOWN = "outcome_unknown"
    PURCHASE_NOT_DELIVERED = "purchase_not_delivered"
    BODY_UNREADABLE = "body_unreadable"
    # expired
    PLATFORM_WINDOW_PASSED = "platform_window_passed"
    DEDUP_WINDOW_PASSED = "dedup_window_passed"
    # withdrawn, erased
    CANCELLED = "cancelled"
    ERASURE_REQUEST = "erasure_request"


REASONS: dict[Outcome, tuple[Reason, ...]] = {
    Outcome.QUEUED: (),
    Outcome.DENIED: (
        Reason.CONSENT_MISSING,
        Reason.CONSENT_PURPOSE_MISSING,
        Reason.CONSENT_VENDOR_MISSING,
        Reason.CONSENT_WITHDRAWN,
        Reason.GPC_OPT_OUT,
        Reason.US_OPT_OUT,
        Reason.SIGNAL_MALFORMED,
        Reason.SIGNALS_CONTRADICT,
    ),
    Outcome.SKIPPED: (
        Reason.NOT_ROUTED,
        Reason.EVENT_NOT_SUPPORTED,
        Reason.IDENTIFIERS_MISSING,
        Reason.TOO_OLD,
        Reason.IN_FUTURE,
        Reason.REQUIRED_FIELD_MISSING,
        Reason.TEST_MODE_MISSING,
        Reason.BACKLOG_FULL,
    ),
    Outcome.RETRYING: (
        Reason.RATE_LIMITED,
        Reason.PLATFORM_ERROR,
        Reason.TIMEOUT,
        Reason.NETWORK,
        Reason.CREDENTIALS,
    ),
    Outcome.DELIVERED: (),
    Outcome.DEAD: (
        Reason.REJECTED_BY_PLATFORM,
        Reason.ATTEMPTS_EXHAUSTED,
        Reason.OUTCOME_UNKNOWN,
        Reason.PURCHASE_NOT_DELIVERED,
        Reason.BODY_UNREADABLE,
    ),
    Outcome.EXPIRED: (Reason.PLATFORM_WINDOW_PASSED, Reason.DEDUP_WINDOW_PASSED),
    Outcome.WITHDRAWN: (Reason.CONSENT_WITHDRAWN, Reason.CANCELLED),
    Outcome.ERASED: (Reason.ERASURE_REQUEST,),
}
"""Which reasons an outcome can have; queued and delivered need none."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input: where (a JSON pointer or a config path), which kind, in words.

    `detail` names the field and the remedy. It never holds the value that was sent.
    """

    pointer: str
    code: str
    detail: str


class ConveyError(Exception):
    """The base of everything Convey raises on purpose."""


class ConfigError(ConveyError):
    """The configuration cannot be used; `faults` holds every mistake, with the path of each."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.pointer}: {fault.detail}" for fault in self.faults))


class InvalidEvent(ConveyError):
    """One event of a request cannot be taken; its neighbours can."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.pointer}: {fault.code}" for fault in self.faults))


class StoreUnavailable(ConveyError):
    """Nothing can be kept durably right now. Callers answer 503 with Retry-After."""


class StoreFull(StoreUnavailable):
    """The disk, or a configured limit, is full. `limit` says which: `disk`, `memory`, or the path of a setting."""

    def __init__(self, message: str, *, limit: str = "disk") -> None:
        self.limit = limit
        super().__init__(message)


class StoreVanished(StoreUnavailable):
    """Somebody emptied the server, or a replica without the data took over: what waited there is lost."""


class StoreReplaced(ConveyError):
    """Another process began the store anew, with other secrets than this one goes by. Waiting does not help."""


class StoreMismatch(ConveyError):
    """The store belongs to another schema version, is in use, or holds work nobody would do."""


class DestinationError(ConveyError):
    """An adapter could not do its part: a fault of ours, not of the platform's answer."""
