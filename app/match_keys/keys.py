"""How the tallies of match keys are named in their book."""

from __future__ import annotations

ANY = "any"
"""The key that stands for all events of a destination."""
PRESENT, ABSENT, GIVEN = "present", "absent", "given"
"""What is counted of a key. `given`: present, and only because the context of the order had it."""
NAME = "name"
"""What is counted of a custom event name that looks like a standard one: the key is the name to use."""


def tally_key(*parts: str) -> str:
    """The key of one tally of the book `app.outbox.tallies.MATCH_KEYS`: source, event name, destination, key, what."""
    return "\t".join(parts)


def split_key(key: str) -> tuple[str, str, str, str, str]:
    """The parts of a key that `tally_key` made."""
    source, event_name, destination, name, what = key.split("\t")
    return source, event_name, destination, name, what
