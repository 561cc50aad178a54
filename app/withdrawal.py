"""Consent taken back: whom a withdrawal means, and what it stands against. Pure.

A withdrawal is kept under keys of the person, one for each strong identifier in each of its normal forms: keyed digests
under a secret of the store, so that what is kept tells nobody anything. An event is that person's when it carries one
of them. Keys belong to a source: two shops may both have a customer 991.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from msgspec import structs

from app.consent.codes import Code
from app.errors import Outcome, Reason
from app.model import Delivery, Form, HashedEvent, HashedIdentity, Plan, Settlement, Verdict
from app.proof import ProvenDecision

PERSON_FIELDS: Mapping[bytes, tuple[Form, ...]] = {
    b"em": (Form.EMAIL, Form.EMAIL_GMAIL_FOLDED),
    b"ph": (Form.PHONE_DIGITS, Form.PHONE_E164),
    b"xi": (Form.EXTERNAL_ID_LOWER, Form.EXTERNAL_ID),
}
"""What names one person and no other, in the forms it is known by. A key stands for the digest, whatever its form: a
digest that came ready-made may be of any."""
PERSON_FORMS = tuple(form for forms in PERSON_FIELDS.values() for form in forms)
_KEY_BYTES = 12

BOOK = "withdrawn"
KEPT_FOR = timedelta(days=400)
"""How long a withdrawal stands: past every age at which a platform takes an event, dead letters replayed included."""


def encode_instant(at: datetime) -> bytes:
    """The bytes under which every store engine keeps when consent was taken back."""
    return at.isoformat().encode()


def decode_instant(value: bytes) -> datetime:
    """The instant in `value`, as `encode_instant` wrote it."""
    return datetime.fromisoformat(value.decode())


def mark_of(key: str) -> str:
    """What says that there is a withdrawal of this person, for whatever: the one name asked for in most events."""
    return f"{key}?"


def names_of(key: str, destinations: Collection[str]) -> list[str]:
    """What withdrawals of a person may be kept under: for every destination, then one for each of these."""
    return [key, *(f"{key}:{destination}" for destination in destinations)]


def erasure_of(key: str) -> str:
    """What the erasure of a person is kept under, beside a withdrawal for every destination."""
    return f"{key}!"


def person_keys(source: str, identity: HashedIdentity, secret: bytes) -> tuple[bytes, ...]:
    """The keys of the person an identity is, for one source: 12 bytes each; none where nobody is named.

    `secret` has at most 64 bytes.
    """
    digests = identity.digests
    keys: list[bytes] = []
    for field, (one, other) in PERSON_FIELDS.items():
        found = digests.get(one, ())
        if (more := digests.get(other, ())) != found:
            found += tuple(digest for digest in more if digest not in found)
        for digest in found:
            # The digest has a fixed length, so what follows it cannot be taken for a part of it.
            words = field + digest + source.encode()
            keys.append(hashlib.blake2b(words, key=secret, digest_size=_KEY_BYTES).digest())
    return tuple(keys)


def keys_of(events: Iterable[HashedEvent], secret: bytes) -> list[tuple[str, ...]]:
    """The keys of each event's person, in order, as 24 hex digits each: those it was planned with, if it has any."""
    return [
        tuple(key.hex() for key in event.persons or person_keys(event.source, event.identity, secret))
        for event in events
    ]


def is_withdrawn(
    event: HashedEvent, destination: str, keys: Collection[str], withdrawals: Mapping[str, datetime]
) -> bool:
    """Whether a withdrawal of the person with these keys stands against sending the event there.

    It does unless the event says that its consent was collected later.
    """
    return _stands(event, (name for key in keys for name in names_of(key, (destination,))), withdrawals)


def is_erased(event: HashedEvent, keys: Collection[str], withdrawals: Mapping[str, datetime]) -> bool:
    """Whether the person with these keys was erased, and has not consented anew since."""
    return _stands(event, map(erasure_of, keys), withdrawals)


def _stands(event: HashedEvent, names: Iterable[str], withdrawals: Mapping[str, datetime]) -> bool:
    collected_at = event.consent.collected_at
    found = (withdrawals.get(name) for name in names)
    return any(at is not None and (collected_at is None or collected_at <= at) for at in found)


def denied(plan: Plan, keys: Collection[str], withdrawals: Mapping[str, datetime]) -> Plan:
    """The plan without the destinations its person's withdrawal stands against; the same plan where there is none."""
    refused = {
        each.destination for each in plan.deliveries if is_withdrawn(plan.event, each.destination, keys, withdrawals)
    }
    if not refused:
        return plan
    code = Code.SUBJECT_ERASED if is_erased(plan.event, keys, withdrawals) else Code.CONSENT_WITHDRAWN
    verdict = Verdict(Outcome.DENIED, Reason.CONSENT_WITHDRAWN, code)
    proof = plan.proof
    if proof is not None:
        proven = ProvenDecision(Outcome.DENIED, Reason.CONSENT_WITHDRAWN, code, False)
        proof = structs.replace(proof, decisions={**proof.decisions, **dict.fromkeys(refused, proven)})
    return replace(
        plan,
        deliveries=tuple(each for each in plan.deliveries if each.destination not in refused),
        verdicts={name: verdict if name in refused else told for name, told in plan.verdicts.items()},
        proof=proof,
    )


def ended(
    deliveries: Sequence[Delivery], keys: Sequence[Collection[str]], withdrawals: Mapping[str, datetime]
) -> list[Settlement]:
    """The ends of those deliveries whose person took consent back, or was erased, since it was collected."""
    return [
        Settlement(delivery, *_end(delivery, person, withdrawals), attempted=False)
        for delivery, person in zip(deliveries, keys, strict=True)
        if is_withdrawn(delivery.event, delivery.destination, person, withdrawals)
    ]


def _end(delivery: Delivery, keys: Collection[str], withdrawals: Mapping[str, datetime]) -> tuple[Outcome, Reason]:
    if is_erased(delivery.event, keys, withdrawals):
        return Outcome.ERASED, Reason.ERASURE_REQUEST
    return Outcome.WITHDRAWN, Reason.CONSENT_WITHDRAWN
