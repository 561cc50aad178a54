"""Proofs of consent decisions: kept with the event, found by its id, exported by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from app.errors import Outcome, Reason, Status
from app.model import Plan
from app.proof import ConsentProof, KeptProof, ProvenDecision
from tests.factories import START, FrozenClock, plan
from tests.outbox.support import DAY, SECOND, Bounded, Engine, Reopen, accept


def proven(transaction: str, *, at: Any = START, code: str = "CM_GRANTED", **over: Any) -> Plan:
    """A plan with the proof of its decision."""
    proof = ConsentProof(
        at,
        "1-abc",
        "opt_in",
        place="DE",
        signals={"consent_mode": "valid"},
        facts={"consent_mode": ["yes", "yes", "yes"]},
        digests={"tcf": bytes(32)},
        decisions={
            "meta": ProvenDecision(Outcome.QUEUED, None, code, False),
            "google": ProvenDecision(Outcome.DENIED, Reason.CONSENT_VENDOR_MISSING, "TCF_NO_VENDOR_BASIS", False),
        },
    )
    return replace(plan(transaction, accepted_at=at, **over), proof=proof)


async def exported(store: Engine, since: Any, until: Any, source: str | None = None) -> list[KeptProof]:
    """Every proof of a span of time, all pages of it."""
    page = await store.proofs.page(since, until, None, source)
    found = list(page.proofs)
    while page.next is not None:
        page = await store.proofs.page(since, until, page.next, source)
        found += page.proofs
    return found


def ids(kept: Sequence[KeptProof]) -> list[str]:
    return sorted(each.event_id for each in kept)


class Proving(Bounded):
    """What `ProofStore` promises."""

    async def test_a_proof_is_kept_with_its_event(self, store: Engine) -> None:
        one = proven("ORD-1")
        await store.accept([one, plan("ORD-2")])
        assert one.proof is not None
        assert await store.proofs.of("purchase_ORD-1", "shop", START) == [
            KeptProof("shop", "Purchase", "purchase_ORD-1", one.proof)
        ]
        assert await store.proofs.of("purchase_ORD-2", "shop", START) == []
        assert await store.proofs.of("purchase_ORD-1", "other", START) == []
        assert await store.proofs.of("purchase_ORD-1", "shop", START + SECOND) == []

    async def test_an_event_denied_everywhere_has_a_proof_too(self, store: Engine) -> None:
        await accept(store, proven("ORD-1", destinations=(), refused={"meta": Reason.CONSENT_MISSING}))
        assert len(await store.proofs.of("purchase_ORD-1", "shop", START)) == 1

    async def test_a_repeat_has_a_proof_of_its_own_only_if_it_queued_something(
        self, store: Engine, clock: FrozenClock
    ) -> None:
        await accept(store, proven("ORD-1", destinations=("meta",)))
        again = await accept(store, proven("ORD-1", destinations=("meta",), code="MAP_GRANTED"))
        assert again.status is Status.DUPLICATE
        assert len(await store.proofs.of("purchase_ORD-1", "shop", START)) == 1
        later = clock.advance(DAY)
        await accept(store, proven("ORD-1", destinations=("meta", "tiktok"), at=later, code="OT_GRANTED"))
        kept = await store.proofs.of("purchase_ORD-1", "shop", START)
        assert [each.proof.decisions["meta"].code for each in kept] == ["OT_GRANTED", "CM_GRANTED"]

    async def test_a_conflict_has_none(self, store: Engine) -> None:
        await accept(store, proven("ORD-1"))
        conflict = await accept(store, proven("ORD-2", asked="purchase_ORD-1"))
        assert conflict.status is Status.CONFLICT
        assert len(await store.proofs.of("purchase_ORD-1", "shop", START)) == 1

    async def test_proofs_are_exported_by_time_and_source_each_once(self, store: Engine, clock: FrozenClock) -> None:
        await store.accept([proven(f"A-{number}") for number in range(30)])
        later = clock.advance(DAY)
        await store.accept([proven(f"B-{number}", at=later) for number in range(30)])
        await accept(store, proven("C", at=later, source="other"))
        first = sorted(f"purchase_A-{number}" for number in range(30))
        second = sorted(f"purchase_B-{number}" for number in range(30))
        assert ids(await exported(store, START, START + SECOND)) == first
        assert ids(await exported(store, START + SECOND, later + SECOND)) == sorted([*second, "purchase_C"])
        assert ids(await exported(store, START, later + SECOND, "shop")) == sorted([*first, *second])
        assert ids(await exported(store, START, later + SECOND, "other")) == ["purchase_C"]
        assert await exported(store, START - DAY, START) == []
        assert await exported(store, later + SECOND, later + timedelta(days=3)) == []

    async def test_what_was_written_a_little_late_is_exported_too(self, store: Engine) -> None:
        midnight = START + SECOND
        await store.accept([proven(f"A-{number}", destinations=()) for number in range(499)])
        await accept(store, proven("B", at=midnight, destinations=()))
        await accept(store, proven("LATE", destinations=()))
        assert "purchase_LATE" in ids(await exported(store, START, midnight))
        assert ids(await exported(store, midnight, midnight + DAY)) == ["purchase_B"]

    async def test_proofs_survive_a_crash(self, store: Engine, reopen: Reopen) -> None:
        await accept(store, proven("ORD-1"))
        store = await reopen()
        assert len(await store.proofs.of("purchase_ORD-1", "shop", START)) == 1

    async def test_proofs_outlive_the_journal(self, store: Engine, clock: FrozenClock) -> None:
        await accept(store, proven("ORD-1", destinations=(), refused={"meta": Reason.CONSENT_MISSING}))
        clock.advance(timedelta(days=60))
        await store.sweep()
        assert await store.event("purchase_ORD-1") == []
        assert ids(await exported(store, START, START + SECOND)) == ["purchase_ORD-1"]
