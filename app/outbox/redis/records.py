"""What the scripts keep and return, as typed values; `common.lua` names the same bytes.

An event is a small record: a header, a head that never changes, and the end of each delivery that has ended. What only
a pending or dead delivery needs (the hashed event, its money and its budget) is its body, deleted with the last of
them. What a claim changes is a few bytes per delivery of their own. Heads, leads and whys are msgpack arrays: a reader
ignores what a newer version put behind what it knows.
"""

from __future__ import annotations

import struct
from binascii import b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import msgspec

from app.errors import Outcome, Reason
from app.model import Budget
from app.outbox.port import DeliveryState, EventState
from app.outbox.redis.places import from_us
from app.outbox.vault import SEALED

STATE_PENDING = 0
STATES: dict[Outcome, int] = {
    Outcome.RETRYING: STATE_PENDING,
    Outcome.DELIVERED: 1,
    Outcome.DEAD: 2,
    Outcome.EXPIRED: 3,
    Outcome.WITHDRAWN: 4,
    Outcome.ERASED: 5,
}
STATE_PURGED = 6
LIMITED = 16
"""Added to the state of a delivery that goes out limited."""
OUTCOMES: dict[int, Outcome] = {number: outcome for outcome, number in STATES.items() if number} | {
    STATE_PURGED: Outcome.DEAD
}
MILLION = 1_000_000
_EVENT = struct.Struct(">BBQIIH")
_BODY = struct.Struct(">BQII")
_CLAIM = struct.Struct(">QQQHH")
_END = struct.Struct(">BH5sBH")
_ITEM = struct.Struct(">QIBBBQHQqiI")


class EventKey(NamedTuple):
    """The `key` of an `EventState`. A failover may give an event another number; its nonce stays."""

    source: str
    event_id: str
    nonce: int


class Head(msgspec.Struct, array_like=True, frozen=True):
    """Which event it is. `verdicts` has what ingest decided where nothing was queued: outcome, reason, its detail.

    `marks` are those of the persons it is about (`marks_text`), end to end; None in a record older than they are. They
    stand last: a later copy of the event may add to them (`accept.lua`).
    """

    source: str
    event_name: str
    event_id: str
    transaction: str | bool
    occurrence: str | bool
    verdicts: dict[str, tuple[str, str | None, str | None]]
    marks: str | None = None


MARK_CHARS = 11


def marks_text(marks: Iterable[bytes]) -> list[str]:
    """How a head spells marks of persons, `MARK_CHARS` each: the Lua of the servers keeps text only as it is."""
    return [b2a_base64(mark, newline=False)[:MARK_CHARS].decode() for mark in marks]


class Term(msgspec.Struct, array_like=True, frozen=True):
    """A time budget, in microseconds."""

    window_until: int
    pair_until: int | bool
    repeat_for: int

    @property
    def budget(self) -> Budget:
        """As the delivery carries it."""
        return Budget(
            from_us(self.window_until),
            None if isinstance(self.pair_until, bool) else from_us(self.pair_until),
            timedelta(microseconds=self.repeat_for),
        )


class Lead(msgspec.Struct, array_like=True, frozen=True):
    """What one copy of an event queued: (destination, limited, its term) each, and the money they are counted with.

    A destination that an earlier copy had queued is named there too; the first lead that names it counts.
    """

    event_id: str
    currency: str
    units: int
    millionths: int
    deliveries: list[tuple[str, int, int]]
    terms: list[Term]

    @property
    def money(self) -> tuple[str, Decimal] | None:
        """Currency and amount."""
        return money_of(self.currency, self.units, self.millionths)


def money_of(currency: str, units: int, millionths: int) -> tuple[str, Decimal] | None:
    """Currency and amount of what the ledger counts in units and millionths; None where there is no currency."""
    return (currency, Decimal(units) + Decimal(millionths) / MILLION) if currency else None


class _Why(msgspec.Struct, array_like=True, frozen=True):
    reason: str | None
    detail: str | None
    trace_id: str | None
    unsure_us: int = 0
    money: tuple[str, int, int] | None = None


_head = msgspec.msgpack.Decoder(Head)
_lead = msgspec.msgpack.Decoder(Lead)
_leads = msgspec.msgpack.Decoder(list[Lead])
_why = msgspec.msgpack.Decoder(_Why)
_encoder = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class Body:
    """What is kept of an event while a delivery of it is pending or dead.

    `basket` is the hashed event, squeezed and perhaps sealed, of `size` bytes: opened by whoever sends it.
    """

    raw: bytes
    accepted_at: datetime
    nonce: int
    size: int
    basket: bytes
    leads: Sequence[Lead]

    def lead(self, destination: str) -> tuple[Lead, int, Term]:
        """The lead of one delivery, whether it is limited, and its term."""
        for lead in self.leads:
            for name, limited, term in lead.deliveries:
                if name == destination:
                    return lead, limited, lead.terms[term]
        raise LookupError(f"a body has no lead for {destination}")


def sealed_in(bodies: Iterable[bytes]) -> list[bytes]:
    """The hashed events in these bodies that are sealed, as they are kept."""
    at = _BODY.size
    return [raw[at : at + _BODY.unpack_from(raw)[3]] for raw in bodies if raw.startswith(SEALED, at)]


def decode_body(raw: bytes) -> Body:
    """The body in `raw`."""
    count, accepted_at, nonce, size = _BODY.unpack_from(raw)
    start = _BODY.size + size
    leads = [_lead.decode(raw[start:])] if count == 1 else _leads.decode(b"\xdc\0%c" % count + raw[start:])
    return Body(raw, from_us(accepted_at), nonce, size, raw[_BODY.size : start], leads)


@dataclass(frozen=True, slots=True)
class Why:
    """The last word on a delivery: reason, the platform's words, its trace."""

    reason: Reason | None = None
    detail: str | None = None
    trace_id: str | None = None


_NOTHING = _Why(None, None, None)


def encode_why(
    reason: Reason | None,
    detail: str | None,
    trace_id: str | None,
    unsure_us: int = 0,
    money: tuple[str, int, int] | None = None,
) -> bytes:
    """The bytes of a `Why`, and for a dead letter since when its end is unsure: a replay is as unsure as it was.

    `money` (currency, units, millionths) is what an ended delivery counts with: its body may be gone.

    Raises:
        UnicodeEncodeError: There is text in it that cannot be kept.
    """
    if money is not None and money[0]:
        return _encoder.encode((reason, detail, trace_id, unsure_us, money))
    if reason is None and detail is None and trace_id is None:
        return b""
    return _encoder.encode((reason, detail, trace_id, unsure_us) if unsure_us else (reason, detail, trace_id))


def _decode_why(raw: bytes) -> _Why:
    return _why.decode(raw) if raw else _NOTHING


def _told(kept: _Why) -> Why:
    return Why(None if kept.reason is None else Reason(kept.reason), kept.detail, kept.trace_id)


@dataclass(frozen=True, slots=True)
class Claim:
    """What was tried so far. `token` 0 is one that nobody holds; instants in microseconds, 0 for none."""

    token: int
    claimed_at: int
    unsure_since: int
    attempts: int
    unknown_answers: int
    why: Why


def decode_claim(raw: bytes) -> Claim:
    """The claim in `raw`."""
    token, claimed_us, unsure_us, attempts, unknown_answers = _CLAIM.unpack_from(raw)
    return Claim(token, claimed_us, unsure_us, attempts, unknown_answers, _told(_decode_why(raw[_CLAIM.size :])))


def unpack_claim(raw: bytes) -> tuple[int, int, int, int, int]:
    """Token, start, unsure since, attempts, unknown answers."""
    return _CLAIM.unpack_from(raw)


@dataclass(frozen=True, slots=True)
class End:
    """How a delivery ended. `unsure_since` is told of dead letters only."""

    state: int
    limited: bool
    attempts: int
    settled_at: datetime
    why: Why
    unsure_since: datetime | None
    money: tuple[str, Decimal] | None


@dataclass(frozen=True, slots=True)
class Story:
    """All that is kept of one event: its record, its body if it has one, the claims of what is pending.

    `held` has until when each delivery waits that is held back.
    """

    seq: int
    head: Head
    accepted_at: datetime
    remember_until_s: int
    pending: int
    ends: Mapping[str, End]
    body: Body | None
    claims: Mapping[str, Claim]
    held: Mapping[str, datetime]
    nonce: int

    def is_live(self, now_s: int) -> bool:
        """Whether its id is remembered: for its window, and in any case until its last delivery is settled."""
        return self.remember_until_s > now_s or self.pending > 0

    def is_of(self, source: str, event_name: str, event_id: str) -> bool:
        """Whether it has this id."""
        return (self.head.source, self.head.event_name, self.head.event_id) == (source, event_name, event_id)

    def belongs_to(self, transaction: str | None, occurrence: str | None) -> bool:
        """Whether it is the event of this transaction."""
        return (self.head.transaction or None, self.head.occurrence or None) == (transaction, occurrence)

    def states(self) -> dict[str, DeliveryState]:
        """What became of each delivery."""
        told = {name: _ended(end) for name, end in self.ends.items()}
        for lead in self.body.leads if self.body else ():
            for name, limited, _ in lead.deliveries:
                if name not in told:
                    told[name] = _pending(self.claims.get(name), bool(limited), lead.money, self.held.get(name))
        return told

    def event_state(self) -> EventState:
        """As the journal tells it."""
        destinations = {
            name: DeliveryState(Outcome(outcome), Reason(reason) if reason else None, detail)
            for name, (outcome, reason, detail) in self.head.verdicts.items()
        }
        head = self.head
        transaction = head.transaction if isinstance(head.transaction, str) else None
        return EventState(
            head.event_id,
            head.event_name,
            head.source,
            self.accepted_at,
            transaction,
            destinations | self.states(),
            EventKey(head.source, head.event_id, self.nonce),
        )


def _ended(end: End) -> DeliveryState:
    why = end.why
    return DeliveryState(
        OUTCOMES[end.state], why.reason, why.detail, end.attempts, why.trace_id, end.limited, end.settled_at, end.money
    )


def _pending(
    claim: Claim | None, limited: bool, money: tuple[str, Decimal] | None, held_until: datetime | None
) -> DeliveryState:
    if claim is None:
        return DeliveryState(Outcome.QUEUED, limited=limited, money=money, held_until=held_until)
    why = claim.why
    outcome = Outcome.RETRYING if why.reason else Outcome.QUEUED
    return DeliveryState(
        outcome, why.reason, why.detail, claim.attempts, why.trace_id, limited, money=money, held_until=held_until
    )


def story_of(row: Sequence[bytes | Sequence[bytes]]) -> Story:
    """The event that a script told: number, event, body, [destination, claim, ...], [destination, held until, ...]."""
    seq, event, body, claims, held = row
    assert isinstance(seq, bytes) and isinstance(event, bytes) and isinstance(body, bytes)
    pending, _, accepted_us, nonce, until_s, head_size = _EVENT.unpack_from(event)
    head = _head.decode(event[_EVENT.size : _EVENT.size + head_size])
    accepted_at = from_us(accepted_us)
    return Story(
        int(seq),
        head,
        accepted_at,
        until_s,
        pending,
        dict(_ends_of(event, _EVENT.size + head_size, accepted_at)),
        decode_body(body) if body else None,
        {
            name.decode(): decode_claim(claim)
            for name, claim in zip(claims[::2], claims[1::2], strict=True)
            if isinstance(name, bytes) and isinstance(claim, bytes)
        },
        {
            name.decode(): from_us(int(until))
            for name, until in zip(held[::2], held[1::2], strict=True)
            if isinstance(name, bytes) and isinstance(until, bytes)
        },
        nonce,
    )


def _ends_of(event: bytes, position: int, accepted_at: datetime) -> list[tuple[str, End]]:
    found = []
    while position < len(event):
        state, attempts, ms, name_size, why_size = _END.unpack_from(event, position)
        name_at = position + _END.size
        why_at = name_at + name_size
        position = why_at + why_size
        settled_at = accepted_at + timedelta(milliseconds=int.from_bytes(ms, "big"))
        why = _decode_why(event[why_at:position])
        unsure_since = from_us(why.unsure_us) if why.unsure_us else None
        money = money_of(*why.money) if why.money is not None else None
        end = End(state % LIMITED, state >= LIMITED, attempts, settled_at, _told(why), unsure_since, money)
        found.append((event[name_at:why_at].decode(), end))
    return found


def forgotten_states(row: Sequence[bytes]) -> dict[str, DeliveryState]:
    """What became of the deliveries of an event whose record is gone: [destination, state, ...]."""
    pairs = zip(row[::2], row[1::2], strict=True)
    return {name.decode(): DeliveryState(OUTCOMES[int(state)]) for name, state in pairs}


def pack_end(
    token: int,
    nonce: int,
    state: int,
    attempted: bool,
    limited: bool,
    unsure_us: int,
    unknown_answers: int,
    delay_us: int,
    money: tuple[str, int, int],
    size: int,
    why: bytes,
) -> bytes:
    """What `settle.lua` is told of one claim's end."""
    currency, units, millionths = money
    fixed = _ITEM.pack(
        token, nonce, state, attempted, limited, unsure_us, unknown_answers, delay_us, units, millionths, size
    )
    return b"%b%b\0%b" % (fixed, currency.encode(), why)
