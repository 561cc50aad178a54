"""What a store promises about the proofs of consent decisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.proof import KeptProof


@dataclass(frozen=True, slots=True)
class ProofPage:
    """Some proofs, and where to go on; `next` is None at the end."""

    proofs: Sequence[KeptProof]
    next: str | None


class ProofStore(Protocol):
    """Keeps the proof of each accepted event's consent decision, in the step that accepts it, for a time of its own.

    A repeat for which something new is queued keeps a second proof; a duplicate and a conflict keep none.
    """

    async def of(self, event_id: str, source: str, since: datetime) -> Sequence[KeptProof]:
        """Every proof kept under this id that was decided since then, newest first, at most 100."""

    async def page(self, since: datetime, until: datetime, after: str | None, source: str | None) -> ProofPage:
        """Proofs decided from `since` and before `until`, of one source or of all, in no certain order.

        `after` is the `next` of the page before. Each proof is in exactly one page. A page may be empty without being
        the last.
        """
