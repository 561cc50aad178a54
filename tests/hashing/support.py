"""What the tests of one field share: an identity from a few fields, digests of texts, codes of warnings."""

from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

from app.hashing.identity import hash_identity
from app.hashing.options import HashingOptions
from app.model import HashedIdentity, Warn
from app.wire import UserData

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TODAY = date(2026, 11, 20)


def identity_of(
    user: dict[str, Any], *, url: str | None = None, **options: Any
) -> tuple[HashedIdentity, tuple[Warn, ...]]:
    """The identity and the warnings for these fields."""
    return hash_identity(
        UserData.model_validate(user),
        options=HashingOptions(**options),
        event_source_url=url,
        event_time=NOW,
        today=TODAY,
    )


def of(*texts: str) -> list[str]:
    """The digests of these texts in hexadecimal."""
    return [sha256(text.encode()).hexdigest() for text in texts]


def codes(warnings: tuple[Warn, ...]) -> list[tuple[str, str]]:
    """Code and pointer of each warning."""
    return [(warning.code, warning.pointer) for warning in warnings]
