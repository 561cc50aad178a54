"""The verdict on one request as a whole: what to try instead of a batch that was refused, and how it is told. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from app.model import Delivered, Delivery, Park, Result, Retry, Split

Whole = Sequence[Result] | Split | Park | None
"""The verdict on one request: a result per delivery, a word for the batch, or None when it never left."""


def halves(deliveries: Sequence[Delivery]) -> tuple[Sequence[Delivery], Sequence[Delivery]]:
    """The first half of them, the larger one where they are odd, and the rest."""
    middle = (len(deliveries) + 1) // 2
    return deliveries[:middle], deliveries[middle:]


def parts(deliveries: Sequence[Delivery], verdict: Split) -> Sequence[Sequence[Delivery]]:
    """The batches to try instead: the rest without the named suspects and each of those alone, or two halves."""
    suspects = sorted({position for position in verdict.suspects if 0 <= position < len(deliveries)})
    if suspects and len(suspects) < len(deliveries):
        rest = [delivery for position, delivery in enumerate(deliveries) if position not in suspects]
        return [rest, *([deliveries[position]] for position in suspects)]
    return halves(deliveries)


def word_of(verdict: Whole) -> str:
    """The verdict on a whole request, in the metrics' words."""
    if verdict is None:
        return "network"
    if isinstance(verdict, Split):
        return "split"
    if isinstance(verdict, Park):
        return "credentials"
    delivered = sum(isinstance(result, Delivered) for result in verdict)
    if delivered:
        return "delivered" if delivered == len(verdict) else "partial"
    first = next((result for result in verdict if isinstance(result, Retry)), None)
    return str(first.reason) if first is not None else "rejected"


def detail_of(verdict: Whole) -> str | None:
    """The first words of the platform, where it had any to say against the request."""
    if verdict is None or isinstance(verdict, Split | Park):
        return verdict.detail if verdict is not None else None
    return next((result.detail for result in verdict if not isinstance(result, Delivered) and result.detail), None)
