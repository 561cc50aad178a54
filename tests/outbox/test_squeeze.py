"""Events as Redis keeps them: smaller, and the same when they come back."""

from __future__ import annotations

import hashlib
import os
from importlib import resources

from app.model import HashedEvent, encode_event
from app.outbox.redis.squeeze import squeeze, unsqueeze
from tests.factories import custom_data, hashed_event, identity


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


def test_the_dictionary_never_changes():
    """Bodies that wait were written with it: another one gets another name."""
    kept = (resources.files("app.outbox.redis") / "body-1.dict").read_bytes()
    assert hashlib.sha256(kept).hexdigest() == "dc8bc6bfb3e3b2e129baa47aea0b4df17f45b03f5cc246b917ede1c69721ca9f"
