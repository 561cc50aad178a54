"""What a server keeps much of, in few bytes: Zstandard with a dictionary of what one kind of value has in common.

Field names, user agents and digests that stand under several forms make up more than half of a purchase; of the proof
of a consent decision nearly everything is said in every other. Taking that out costs microseconds. Nothing is kept
compressed that would not become smaller.
"""

from __future__ import annotations

from importlib import resources

import zstandard

from app.model import HashedEvent, decode_event, encode_event

_FRAME = b"\x28"
"""The first byte of every Zstandard frame. What is kept as it is begins with that of a msgpack map or array."""


class Squeezer:
    """For one kind of value. Its dictionary is part of the schema and never changes: `scripts/make_dictionaries.py`."""

    def __init__(self, dictionary: str, level: int) -> None:
        raw = (resources.files("app.outbox.redis") / dictionary).read_bytes()
        shared = zstandard.ZstdCompressionDict(raw, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        shared.precompute_compress(level=level)
        self._compressor = zstandard.ZstdCompressor(
            level=level, dict_data=shared, write_checksum=False, write_content_size=True, write_dict_id=False
        )
        self._decompressor = zstandard.ZstdDecompressor(dict_data=shared)

    def squeeze(self, plain: bytes) -> bytes:
        """The bytes to be kept for `plain`."""
        frame = self._compressor.compress(plain)
        return frame if len(frame) < len(plain) else plain

    def unsqueeze(self, kept: bytes) -> bytes:
        """What `kept` was made of."""
        return self._decompressor.decompress(kept) if kept[:1] == _FRAME else kept


_events = Squeezer("body-1.dict", level=-1)  # higher levels take three times as long and save one per cent
PROOFS = Squeezer("proof-1.dict", level=3)


def squeeze(event: HashedEvent) -> bytes:
    """The bytes of an event, in as few as can be had quickly.

    Raises what `encode_event` raises for what cannot be kept.
    """
    return _events.squeeze(encode_event(event))


def unsqueeze(kept: bytes) -> HashedEvent:
    """The event in `kept`."""
    return decode_event(_events.unsqueeze(kept))
