"""Events as Redis keeps them: smaller, and the same when they come back."""

from __future__ import annotations

import hashlib
import os
from importlib import resources

import pytest

from app.errors import Outcome
from app.model import HashedEvent, encode_event
from app.outbox.redis.squeeze import PROOFS, squeeze, unsqueeze
from app.proof import ConsentProof, ProvenDecision, encode_proof
from tests.factories import START, custom_data, hashed_event, identity


def test_a_purchase_is_much_smaller_and_the_same():
    event = hashed_event()
    kept = squeeze(event)
    assert unsqueeze(kept) == event
    assert len(kept) < 0.75 * len(encode_event(event))


def test_what_would_not_become_smaller_is_kept_as_it_is():
    noise = {f"{number}": os.urandom(40).hex() for number in range(3)}
    empty = HashedEvent("s", "e", hashed_event().event_time)
    for event in (empty, hashed_event(custom_data=custom_data(properties=noise))):
        kept = squeeze(event)
        assert len(kept) <= len(encode_event(event))
        assert unsqueeze(kept) == event
    assert unsqueeze(encode_event(empty)) == empty


def test_an_event_no_frame_could_be_mistaken_for():
    for event in (hashed_event(), hashed_event(identity=identity(digests={}))):
        assert encode_event(event)[0] != 0x28


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("body-1.dict", "dc8bc6bfb3e3b2e129baa47aea0b4df17f45b03f5cc246b917ede1c69721ca9f"),
        ("proof-1.dict", "d7c2a07ad68623e3e03f3fc6f520d1280734a8cc1ed0e6eb1bc7a3cde0bd9c61"),
    ],
)
def test_the_dictionaries_never_change(name: str, digest: str):
    """What is kept was written with them: another one gets another name."""
    kept = (resources.files("app.outbox.redis") / name).read_bytes()
    assert hashlib.sha256(kept).hexdigest() == digest


def test_a_proof_is_much_smaller_and_the_same():
    decision = ProvenDecision(Outcome.QUEUED, None, "CM_GRANTED", limited=False)
    proof = ConsentProof(
        START, "7-35017e54a67b", "opt_in", "FR", facts={"consent_mode": ["yes", "no", "yes"]}, decisions={"a": decision}
    )
    plain = encode_proof(proof)
    kept = PROOFS.squeeze(plain)
    assert PROOFS.unsqueeze(kept) == plain
    assert len(kept) < 0.7 * len(plain)
