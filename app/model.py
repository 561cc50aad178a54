"""The values that travel: the event as kept, the plan, a delivery, and what becomes of it.

Everything here is frozen. The event as posted, with its raw identifiers, is another kind of value (`app.wire`); the two
never mix, and the hashed event (msgspec) has no field a raw e-mail address, phone number or name could stand in.

Instants are aware UTC, durations are `timedelta`, money is `Decimal` with an ISO 4217 currency beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from app.errors import Outcome, Reason, Status
from app.proof import ConsentProof

# --- the hashed event -----------------------------------------------------------------------------------------


class Form(StrEnum):
    """The named forms of an identifier: one normal form each, hashed with SHA-256.

    Platforms disagree on normal forms, so one field may have several; each destination picks its own.
    """

    EMAIL = "em.1"
    EMAIL_GMAIL_FOLDED = "em.2"
    PHONE_DIGITS = "ph.1"
    PHONE_E164 = "ph.2"
    FIRST_NAME_LETTERS = "fn.1"
    FIRST_NAME_SPACED = "fn.2"
    FIRST_NAME_PUNCTUATED = "fn.3"
    LAST_NAME_LETTERS = "ln.1"
    LAST_NAME_SPACED = "ln.2"
    LAST_NAME_PUNCTUATED = "ln.3"
    CITY = "ct.1"
    STATE = "st.1"
    STATE_TWO_LETTER = "st.2"
    ZIP = "zp.1"
    ZIP_GB_SECTOR = "zp.2"
    ZIP_DIGITS = "zp.3"
    COUNTRY = "co.1"
    BIRTH_DATE = "db.1"
    GENDER = "ge.1"
    GENDER_WITH_NEUTRAL = "ge.2"
    EXTERNAL_ID_LOWER = "xi.1"
    EXTERNAL_ID = "xi.2"
    AD_ID = "ma.1"


class HashedIdentity(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who did it, as it may be kept: digests by named form, and the identifiers that must travel unhashed.

    `digests[form]` is a tuple of 32-byte SHA-256 digests, in the caller's order, without repeats.
    """

    digests: dict[str, tuple[bytes, ...]] = {}
    country: str | None = None
    """ISO 3166-1 alpha-2, lower case: needed in plain by privacy flags and by TikTok."""
    state: str | None = None
    """Lower-case subdivision code, for US, CA and AU only."""
    lead_id: str | None = None
    customer_type: str | None = None
    client_ip_address: str | None = None
    client_user_agent: str | None = None
    locale: str | None = None
    fbp: str | None = None
    fbc: str | None = None
    ttclid: str | None = None
    ttp: str | None = None
    epik: str | None = None
    sc_click_id: str | None = None
    sc_cookie1: str | None = None
    gclid: str | None = None
    gbraid: str | None = None
    wbraid: str | None = None
    ctwa_clid: str | None = None
    idfa: str | None = None
    gaid: str | None = None
    idfv: str | None = None
    anon_id: str | None = None
    download_id: str | None = None
    fb_login_id: str | None = None
    page_scoped_user_id: str | None = None
    ig_sid: str | None = None

    def hex(self, form: Form) -> list[str]:
        """The digests of one form as lower-case hex, in order; empty when there are none."""
        return [digest.hex() for digest in self.digests.get(form, ())]


class HashedContent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the basket, as kept."""

    id: str | None = None
    quantity: int | None = None
    item_price: Decimal | None = None
    title: str | None = None
    brand: str | None = None
    category: str | None = None
    delivery_category: str | None = None


class HashedCustomData(msgspec.Struct, frozen=True, omit_defaults=True):
    """What it was worth and what it was about, as kept."""

    currency: str | None = None
    value: Decimal | None = None
    order_id: str | None = None
    num_items: int | None = None
    search_string: str | None = None
    subscription_id: str | None = None
    predicted_ltv: Decimal | None = None
    content_name: str | None = None
    content_category: str | None = None
    content_type: str | None = None
    delivery_category: str | None = None
    contents: tuple[HashedContent, ...] = ()
    properties: dict[str, Any] = {}


class ConsentFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the signals say of the two states Google asks for beside an event.

    True: granted. False: refused. None: no signal speaks of it, as where no consent has to be asked for. Of a
    delivery sent with `limited`, personalisation counts as refused whatever stands here.
    """

    ad_user_data: bool | None = None
    ad_personalization: bool | None = None
    collected_at: datetime | None = None
    """When the shopper chose, as stated: a withdrawal since then stands against it."""


class HashedEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """The event as it is kept and delivered. No field of it can hold a raw e-mail address, phone number or name.

    `event_name` is canonical (`Purchase`), or the caller's own where `is_custom`. `test_codes` are a test event's own
    test codes, by the name of the destination. Unknown keys of a newer
    version are ignored on reading, absent ones take their default, so that versions can run side by side.
    """

    source: str
    event_name: str
    event_time: datetime
    action_source: str = "website"
    is_custom: bool = False
    transaction_id: str | None = None
    occurrence: str | None = None
    event_source_url: str | None = None
    referrer_url: str | None = None
    identity: HashedIdentity = HashedIdentity()
    custom_data: HashedCustomData = HashedCustomData()
    app: dict[str, Any] | None = None
    is_test: bool = False
    consent: ConsentFacts = ConsentFacts()
    """As decided for the destinations that `has_consent_states`."""
    place: str | None = None
    """Where the shopper is, as US-CA, of an event that some destination gets limited: its law is what limits."""
    test_codes: dict[str, str] = {}
    persons: tuple[bytes, ...] = ()
    """Keys of the person it is about (`app.withdrawal.person_keys`): worked out once, asked for before every send."""

    @property
    def money(self) -> tuple[str, Decimal] | None:
        """Currency and value, when both are known: what the ledger counts."""
        data = self.custom_data
        if data.currency is None or data.value is None:
            return None
        return data.currency, data.value

    @property
    def transaction(self) -> str | None:
        """The transaction key: the order, lead or subscription this event belongs to, in that order; else None."""
        data = self.custom_data
        return self.transaction_id or data.order_id or self.identity.lead_id or data.subscription_id


def from_epoch(seconds: float) -> datetime:
    """The aware UTC instant of a Unix time in seconds."""
    return datetime.fromtimestamp(seconds, UTC)


_encoder = msgspec.msgpack.Encoder()
_canonical_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(HashedEvent)


def encode_event(event: HashedEvent) -> bytes:
    """The bytes under which every store engine keeps a hashed event (msgpack; digests stay binary)."""
    return _encoder.encode(event)


def canonical_bytes(event: HashedEvent) -> bytes:
    """The same bytes for equal events in every process: what an id is derived from when there is no key."""
    return _canonical_encoder.encode(event)


def decode_event(body: bytes) -> HashedEvent:
    """The hashed event in `body`, as `encode_event` wrote it, also in the neighbouring versions."""
    return _decoder.decode(body)


# --- planning -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Warn:
    """Something the caller should know about an event that was taken all the same. Never holds a value."""

    code: str
    pointer: str
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What ingest decided about one event at one destination."""

    outcome: Outcome
    reason: Reason | None = None
    reason_detail: str | None = None
    limited: bool = False
    held_until: datetime | None = None
    """Until when it waits for its release, of a queued delivery that is held back."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a delivery may go on, fixed at ingest.

    `window_until`: the platform takes events of this age until then.
    `pair_until`: until then the platform pairs this copy with the pixel's; None when there is no pixel copy.
    `repeat_for`: how long after a first receipt the platform recognises a repeat; zero when it never does.
    """

    window_until: datetime
    pair_until: datetime | None
    repeat_for: timedelta


@dataclass(frozen=True, slots=True)
class PlannedDelivery:
    """One event for one destination, about to be queued.

    `held_until` is the end of the time in which it may be released, None of one that nobody holds back. All deliveries
    of a plan are held, or none.
    """

    destination: str
    budget: Budget
    limited: bool = False
    held_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class IdRequest:
    """What is asked of the id registry for one event.

    `transaction` is None when the event has no transaction key. `asked` is the caller's own event_id;
    `derived` is the id to use when none was asked for and none was minted earlier.
    """

    source: str
    event_name: str
    transaction: str | None
    occurrence: str | None
    asked: str | None
    derived: str
    remember_until: datetime
    send_conflicts: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything decided about one event before the store is touched.

    `verdicts` has every configured destination, those to be queued included. `leaks` are the kind and the fate of each
    piece of personal data found outside `user`. `is_bulk` says that its deliveries may wait while live ones have their
    share of the lane (an import).
    """

    event: HashedEvent
    id_request: IdRequest
    deliveries: tuple[PlannedDelivery, ...]
    verdicts: Mapping[str, Verdict]
    accepted_at: datetime
    warnings: tuple[Warn, ...] = ()
    proof: ConsentProof | None = None
    leaks: tuple[tuple[str, str], ...] = ()
    is_bulk: bool = False

    @property
    def is_held(self) -> bool:
        """Whether its deliveries wait for their release."""
        return any(planned.held_until is not None for planned in self.deliveries)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the store made of one plan: the id that counts and the outcome per destination.

    `destinations` is empty for a conflict. A duplicate shows what each destination's delivery is by now.
    """

    event_id: str
    status: Status
    destinations: Mapping[str, Verdict]


# --- delivering -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One claimed event x destination: what to send, and the fence that proves the claim.

    `key` and `token` belong to the store engine and are opaque. `attempts` counts the tries before this one.
    `unsure_since` is the instant of the first try whose end nobody knows (a lease that ran out, an answer that
    was lost); None when every earlier try surely did not count. `unknown_answers` counts the tries that got an answer
    nobody knows. `claimed_until` is when the lease ends. `is_held` says that it was never released: its time is over,
    and it must not be sent.
    """

    key: Any
    token: bytes
    destination: str
    event_id: str
    event: HashedEvent
    accepted_at: datetime
    budget: Budget
    limited: bool = False
    attempts: int = 0
    unsure_since: datetime | None = None
    unknown_answers: int = 0
    claimed_until: datetime | None = None
    is_held: bool = False


UNREADABLE = HashedEvent("", "", from_epoch(0))
"""Stands for an event whose body nobody can open any more: its data key is gone, or it is damaged."""
LOCKED = HashedEvent("", "", from_epoch(0))
"""Stands for an event whose body a process with other keys could open."""


@dataclass(frozen=True, slots=True)
class TokenFor:
    """Says that a call needs an OAuth access token; `app.delivery.sender` gets it.

    `credential` is the JSON text of a service account's key or of a user's refresh token, as Google writes it, with
    its `token_uri`: a secret.
    """

    credential: str = field(repr=False)
    scope: str


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One HTTP request to a platform and the deliveries it carries.

    `deliveries` are those of the batch, in the order of their events in `body`. `secret_params` are query
    parameters that must never be shown (Snapchat's token has no other place).
    """

    url: str
    body: bytes
    deliveries: tuple[Delivery, ...]
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    secret_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_params: Mapping[str, str] = field(default_factory=dict, repr=False)
    auth: TokenFor | None = None


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What a platform answered. Header names are lower case; `body` is whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class NoReply:
    """No answer came. `is_ambiguous` says that the platform may have got the request all the same."""

    reason: Reason
    is_ambiguous: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """The platform's body says that it took the event."""

    trace_id: str | None = None
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The platform refuses this event for good. `detail` is its own words, scrubbed."""

    reason: Reason = Reason.REJECTED_BY_PLATFORM
    detail: str | None = None
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now. `after` is the platform's own hint, None when it gave none.

    `max_attempts` bounds the tries of an answer nobody knows; None leaves the budget to time.
    """

    reason: Reason
    after: timedelta | None = None
    detail: str | None = None
    max_attempts: int | None = None
    is_ambiguous: bool = False


@dataclass(frozen=True, slots=True)
class Split:
    """The batch failed as a whole and nobody knows whose fault it is: halve it.

    `suspects` are positions in the batch that the platform named; empty when it named none.
    """

    detail: str | None = None
    suspects: tuple[int, ...] = ()
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class Park:
    """The whole lane must wait for a person: a dead token, a missing permission, a retired API."""

    reason: Reason = Reason.CREDENTIALS
    detail: str | None = None


Result = Delivered | Rejected | Retry
"""What one reply means for one delivery."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of one claim.

    `outcome` RETRYING puts the delivery back, ready at `ready_at`; any final outcome settles it. `attempted`
    says whether the try counts: a send that never left does not. `unknown_answers` is the new total.
    """

    delivery: Delivery
    outcome: Outcome
    reason: Reason | None = None
    detail: str | None = None
    trace_id: str | None = None
    ready_at: datetime | None = None
    attempted: bool = True
    unsure_since: datetime | None = None
    unknown_answers: int = 0
