"""The proof of a consent decision: what was seen, under which policy, and what was decided, for one event.

One value holds the decisions for every destination of an event, since what was seen is the same for all. It has no
consent string, no id of a consent platform's record, no address and no identifier: of a string it keeps the facts that
decided and a keyed digest, with which the shop, who has the string, can prove that it was this one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from app.errors import Outcome, Reason


class ProvenDecision(msgspec.Struct, frozen=True, array_like=True):
    """What was decided about one destination. `code` is the decision table's own word for why."""

    outcome: Outcome
    reason: Reason | None
    code: str | None
    limited: bool


class ConsentProof(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one event's consent was decided by.

    `policy` names the policy in effect, settings included; `regime` is what held in `place`. `signals` has the state of
    each signal that was sent: `valid`, or what was wrong with it; `facts` what the valid ones say, as plain values;
    `digests` HMAC-SHA256 of each string, under a key that the store keeps.
    """

    decided_at: datetime
    policy: str
    regime: str
    place: str | None = None
    collected_at: datetime | None = None
    signals: dict[str, str] = {}
    facts: dict[str, Any] = {}
    digests: dict[str, bytes] = {}
    decisions: dict[str, ProvenDecision] = {}


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ConsentProof)


def encode_proof(proof: ConsentProof) -> bytes:
    """The bytes under which every store engine keeps a proof (msgpack)."""
    return _encoder.encode(proof)


def decode_proof(body: bytes) -> ConsentProof:
    """The proof in `body`, as `encode_proof` wrote it, also in the neighbouring versions."""
    return _decoder.decode(body)


class KeptProof(msgspec.Struct, frozen=True):
    """A proof as a store gives it back, with the event it belongs to."""

    source: str
    event_name: str
    event_id: str
    proof: ConsentProof


def proof_json(kept: KeptProof) -> dict[str, Any]:
    """A kept proof in the words of the API: one object, digests in hex."""
    proof = kept.proof
    return {
        "event_id": kept.event_id,
        "event_name": kept.event_name,
        "source": kept.source,
        "decided_at": proof.decided_at.isoformat().replace("+00:00", "Z"),
        "policy": proof.policy,
        "regime": proof.regime,
        "place": proof.place,
        "collected_at": proof.collected_at and proof.collected_at.isoformat().replace("+00:00", "Z"),
        "signals": proof.signals,
        "facts": proof.facts,
        "digests": {name: f"hmac-sha256:{digest.hex()}" for name, digest in proof.digests.items()},
        "destinations": {
            name: {
                "outcome": decision.outcome,
                "limited": decision.limited,
                "reason": decision.reason,
                "code": decision.code,
            }
            for name, decision in proof.decisions.items()
        },
    }
