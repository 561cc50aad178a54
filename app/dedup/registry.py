"""What a page or a backend may ask the id registry for: the key of an event, checked as an event's own is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from app.dedup.port import IdKey
from app.errors import Fault, InvalidEvent
from app.event_names import canonical_name
from app.hashing.leaks import find_in_id


def faults_of_ids(texts: Iterable[tuple[str, str | None]]) -> Iterator[Fault]:
    """What is wrong with the names and ids of one event, given as (pointer, text)."""
    for pointer, text in texts:
        # A name is trimmed; an id goes out as it came.
        if text and not (text.strip() and (text.strip() if pointer == "/event_name" else text).isprintable()):
            yield Fault(pointer, "invalid_characters", "must not be blank or hold control or invisible characters")
        kind = find_in_id(text) if text else None
        if kind is not None:
            yield Fault(pointer, "personal_data", f"holds what looks like personal data ({kind}); send an id instead")


def key_of(source: str, event_name: str, transaction: str, occurrence: str | None) -> IdKey:
    """The key under which the id of this event is kept; the name may be an alias of a standard one.

    Raises:
        InvalidEvent: It can belong to no event; carries every fault found, with pointers as an event's.
    """
    texts = (("/event_name", event_name), ("/transaction_id", transaction), ("/occurrence", occurrence))
    if faults := list(faults_of_ids(texts)):
        raise InvalidEvent(faults)
    name, _ = canonical_name(event_name)
    return IdKey(source, name, transaction, occurrence)
