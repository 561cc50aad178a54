"""From a posted event to a plan: consent, identity, id request, deliveries. Pure.

`plan` is where raw identifiers end: what it returns has no field for them. The clock, the source's policy and the
destinations are arguments; the store is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any, Literal

import msgspec

from app import facts
from app.consent.codes import Code as ConsentCode
from app.consent.codes import Malformed
from app.consent.needs import ConsentNeeds, ConsentOptions, policy_version
from app.consent.policy import ConsentDecision
from app.dedup.event_id import DEFAULT_TEMPLATE, derive, derive_without_key
from app.dedup.registry import faults_of_ids
from app.destinations.base import DEDUP_WINDOW, Admit, Destination
from app.errors import Fault, InvalidEvent, Outcome, Reason
from app.event_names import canonical_name, meant_name
from app.gate import consent_of, decisions_of, prove, strictest
from app.hashing.codes import Code
from app.hashing.identity import hash_identity
from app.hashing.ids import lead_id
from app.hashing.leaks import Guarded, find_in_id, guard_event
from app.hashing.options import HashingOptions
from app.model import (
    Budget,
    ConsentFacts,
    Form,
    HashedContent,
    HashedCustomData,
    HashedEvent,
    HashedIdentity,
    IdRequest,
    Plan,
    PlannedDelivery,
    Verdict,
    Warn,
    canonical_bytes,
)
from app.wire import Event
from app.withdrawal import PERSON_FORMS, person_keys

TWIN_SOURCES = frozenset({"website", "app"})
"""Action sources in which a pixel or an app SDK reports the same event from the shopper's side."""


@dataclass(frozen=True, slots=True)
class Route:
    """One configured destination as a source sees it. `is_routed` is false where the source does not use it.

    `needs` is what consent must allow before it gets an event.
    """

    name: str
    destination: Destination[Any]
    settings: Any
    is_routed: bool = True
    needs: ConsentNeeds = field(default_factory=ConsentNeeds)


@dataclass(frozen=True)
class SourcePolicy:
    """What the operator decided for one source of events.

    Consent strings are digested with `proof_key`, persons are told apart by `person_key`: secrets of the store.
    """

    name: str
    routes: tuple[Route, ...]
    dedup_window: timedelta = DEDUP_WINDOW
    has_pixel: bool = True
    consent: ConsentOptions = field(default_factory=ConsentOptions)
    proof_key: bytes = field(default=b"", repr=False)
    person_key: bytes = field(default=b"", repr=False)
    leak_policy: Literal["redact", "reject", "report"] = "redact"
    sends_conflicts: bool = False
    event_id_template: str = DEFAULT_TEMPLATE
    context_retention: timedelta = timedelta(days=7)
    takes_receipts: bool = False
    receipt_origins: frozenset[str] = frozenset()
    pair_after: timedelta = timedelta(hours=1)
    hashing: HashingOptions = field(default_factory=HashingOptions)

    @cached_property
    def needs(self) -> frozenset[ConsentNeeds]:
        """What the routed destinations need, each once."""
        return frozenset(route.needs for route in self.routes if route.is_routed)

    @cached_property
    def consent_version(self) -> str:
        """The name under which this policy stands in the proof of its decisions."""
        return policy_version(self.consent, [(route.name, route.needs) for route in self.routes])

    @property
    def forms(self) -> frozenset[Form]:
        """The named forms of the identity that some routed destination needs, and those a withdrawal may name it by."""
        return frozenset(PERSON_FORMS).union(*(route.destination.needs for route in self.routes if route.is_routed))


def plan(event: Event, policy: SourcePolicy, forms: frozenset[Form], now: datetime) -> Plan:
    """Everything decided about one event before the store is touched.

    `forms` is `policy.forms`, worked out once by the caller. The plan has a verdict for every configured
    destination, in their order, and a delivery for each that is queued.

    Raises:
        InvalidEvent: The event cannot be taken; it holds every fault found, as pointers.
    """
    warnings: list[Warn] = []
    faults: list[Fault] = []
    name, is_custom = canonical_name(event.event_name)
    if not name:
        faults.append(Fault("/event_name", "too_short", "is blank"))
    if name != event.event_name and not is_custom:
        warnings.append(Warn("event_name_alias", "/event_name", f"taken as the standard event {name}"))
    times = facts.event_time(event.event_time, now)
    if isinstance(times, Fault):
        faults.append(times)
        stated = happened = now
    else:
        stated, happened, told = times
        warnings += told
    faults += _faults(event, policy)
    custom_data, guarded = _custom_data(event, policy, faults, warnings)
    if faults:
        raise InvalidEvent(faults)

    given = consent_of(event, policy.consent, now)
    warnings += given.warnings
    gates = _gates(event, policy, decisions_of(given, policy.needs, policy.consent, now))
    transaction = transaction_of(event)
    identity = HashedIdentity()
    if transaction is None or any(decision.outcome is Outcome.QUEUED for decision in gates.values()):
        identity, told_of_identity = hash_identity(
            event.user,
            options=policy.hashing,
            forms=forms,
            event_source_url=event.event_source_url,
            event_time=happened,
            today=now.date(),
        )
        warnings += told_of_identity
    hashed = HashedEvent(
        source=policy.name,
        event_name=name,
        event_time=happened,
        action_source=event.action_source,
        is_custom=is_custom,
        transaction_id=event.transaction_id,
        occurrence=event.occurrence,
        event_source_url=guarded.event_source_url,
        referrer_url=guarded.referrer_url,
        identity=identity,
        custom_data=custom_data,
        app=_app_data(event, warnings),
        is_test=is_test(event),
        test_codes=event.test_event_codes or {},
        consent=_consent_facts(policy, gates, given.signals.collected_at, now),
        place=str(given.place) if given.place and any(gate.limited for gate in gates.values()) else None,
        persons=person_keys(policy.name, identity, policy.person_key),
    )
    warnings += _advice(hashed, transaction, event.event_id is not None)
    verdicts, deliveries = _route(hashed, policy, gates, now, warnings, is_held=event.hold)
    proof = prove(
        event,
        given,
        gates,
        verdicts,
        policy=policy.consent_version,
        needs=policy.needs,
        key=policy.proof_key,
        now=now,
    )
    return Plan(
        event=hashed,
        id_request=_id_request(event, hashed, transaction, stated, policy, _remembered_from(deliveries, now)),
        deliveries=tuple(deliveries),
        verdicts=verdicts,
        accepted_at=now,
        warnings=tuple(warnings),
        proof=proof,
        leaks=tuple((found.kind, found.action) for found in guarded.findings),
    )


def _faults(event: Event, policy: SourcePolicy) -> Iterable[Fault]:
    known = {route.name for route in policy.routes}
    for position, wanted in enumerate(event.destinations or ()):
        if wanted not in known:
            yield Fault(f"/destinations/{position}", "unknown_destination", "no destination of this name is configured")
    if (event.test_event_codes or {}).keys() - known:  # which one is not said: a strange name may be anything
        yield Fault("/test_event_codes", "unknown_destination", "names a destination that is not configured")
    yield from faults_of_ids(
        (
            ("/event_name", event.event_name),
            ("/event_id", event.event_id),
            ("/transaction_id", event.transaction_id),
            ("/occurrence", event.occurrence),
        )
    )


def _custom_data(
    event: Event, policy: SourcePolicy, faults: list[Fault], warnings: list[Warn]
) -> tuple[HashedCustomData, Guarded]:
    guarded = guard_event(event.custom_data, event.event_source_url, event.referrer_url, policy.leak_policy)
    faults += guarded.faults
    warnings += guarded.warnings
    data = guarded.custom
    currency = None
    if data.currency is not None:
        checked = facts.currency(data.currency)
        if isinstance(checked, Fault):
            faults.append(checked)
        else:
            currency = checked
    if data.value is not None and data.currency is None:
        warnings.append(Warn("currency_missing", "/custom_data/currency", "a value without a currency counts nowhere"))
    contents = tuple(
        HashedContent(
            line.id,
            line.quantity,
            line.item_price,
            line.title,
            line.brand,
            line.category,
            line.delivery_category,
        )
        for line in data.contents or ()
    )
    return HashedCustomData(
        currency=currency,
        value=data.value,
        order_id=data.order_id,
        num_items=data.num_items,
        search_string=data.search_string,
        subscription_id=data.subscription_id,
        predicted_ltv=data.predicted_ltv,
        content_name=data.content_name,
        content_category=data.content_category,
        content_type=data.content_type,
        delivery_category=data.delivery_category,
        contents=contents,
        properties=data.properties or {},
    ), guarded


def _app_data(event: Event, warnings: list[Warn]) -> dict[str, Any] | None:
    """What is known of the app, without what looks like personal data."""
    if event.app is None:
        return None
    kept: dict[str, Any] = {}
    for name in type(event.app).model_fields:
        value = getattr(event.app, name)
        if value is None:
            continue
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and find_in_id(text) for text in texts):
            warnings.append(Warn("personal_data", f"/app/{name}", "holds what looks like personal data; dropped"))
        else:
            kept[name] = value
    return kept or None


def _gates(
    event: Event, policy: SourcePolicy, decided: Mapping[ConsentNeeds, ConsentDecision]
) -> Mapping[str, ConsentDecision]:
    """What routing, test mode and consent say, by destination: the reasons that come before the adapter's own."""
    gates = {}
    for route in policy.routes:
        if not route.is_routed or (event.destinations is not None and route.name not in event.destinations):
            gates[route.name] = ConsentDecision(Outcome.SKIPPED, Reason.NOT_ROUTED)
        elif is_test(event) and not _has_test_mode(event, route):
            gates[route.name] = ConsentDecision(Outcome.SKIPPED, Reason.TEST_MODE_MISSING)
        elif decided[route.needs].limited and not route.destination.is_limited_supported:
            gates[route.name] = ConsentDecision(Outcome.DENIED, Reason.US_OPT_OUT, ConsentCode.LIMITED_UNSUPPORTED)
        else:
            gates[route.name] = decided[route.needs]
    return gates


def is_test(event: Event) -> bool:
    """Whether the event is a test: said to be one, or given test codes."""
    return event.test or bool(event.test_event_codes)


def _has_test_mode(event: Event, route: Route) -> bool:
    brings_code = route.destination.takes_test_codes and route.name in (event.test_event_codes or {})
    return brings_code or route.destination.has_test_mode(route.settings)


def _consent_facts(
    policy: SourcePolicy, gates: Mapping[str, ConsentDecision], collected_at: datetime | Malformed | None, now: datetime
) -> ConsentFacts:
    """What a platform that asks for consent states is told: the strictest of what was decided for such platforms."""
    told = strictest(
        [
            gates[route.name].facts
            for route in policy.routes
            if route.destination.has_consent_states and gates[route.name].outcome is Outcome.QUEUED
        ]
    )
    at = min(collected_at, now) if isinstance(collected_at, datetime) else None
    return msgspec.structs.replace(told, collected_at=at)


_TOO_LATE = Warn(
    "dedup_window_passed",
    "/event_time",
    "so old that platforms can no longer pair it with the pixel's copy: it will expire unsent; if this source has no "
    "pixel, set pixel: false",
)
_TOO_LATE_IF_SEEN = Warn(
    "dedup_window_passed",
    "/event_time",
    "so old that platforms can no longer pair it with the pixel's copy: it goes only to those whose pixel no page "
    "reported (receipts: true), and counts twice where a pixel fired unreported",
)


def _route(
    hashed: HashedEvent,
    policy: SourcePolicy,
    gates: Mapping[str, ConsentDecision],
    now: datetime,
    warnings: list[Warn],
    *,
    is_held: bool,
) -> tuple[dict[str, Verdict], list[PlannedDelivery]]:
    verdicts: dict[str, Verdict] = {}
    deliveries: list[PlannedDelivery] = []
    for route in policy.routes:
        gate = gates[route.name]
        if gate.outcome is not Outcome.QUEUED:
            verdicts[route.name] = Verdict(gate.outcome, gate.reason, gate.detail)
            continue
        if gate.limited and not route.destination.can_limit(hashed, route.settings):
            verdicts[route.name] = Verdict(Outcome.DENIED, Reason.US_OPT_OUT, ConsentCode.LIMITED_UNSUPPORTED)
            continue
        admission = route.destination.admit(hashed, route.settings, now)
        if not isinstance(admission, Admit):
            verdicts[route.name] = Verdict(Outcome.SKIPPED, admission.reason, admission.detail)
            continue
        warnings += [warn for warn in admission.warnings if warn not in warnings]
        budget = _budget(hashed, policy, admission)
        held_until = _release_by(budget, policy) if is_held else None
        verdicts[route.name] = Verdict(Outcome.QUEUED, limited=gate.limited, held_until=held_until)
        too_late = _TOO_LATE_IF_SEEN if policy.takes_receipts else _TOO_LATE
        if budget.pair_until is not None and budget.pair_until <= now and too_late not in warnings:
            warnings.append(too_late)
        deliveries.append(PlannedDelivery(route.name, budget, gate.limited, held_until))
    return verdicts, deliveries


def _budget(hashed: HashedEvent, policy: SourcePolicy, admission: Admit) -> Budget:
    pair_until = None
    if policy.has_pixel and hashed.action_source in TWIN_SOURCES:
        # A platform that pairs by another key for longer does so whatever this source's window is.
        window = admission.pair_for
        if window <= DEDUP_WINDOW:
            window = min(window, policy.dedup_window)
        pair_until = hashed.event_time + window
    return Budget(admission.window_until, pair_until, admission.repeat_for)


def _release_by(budget: Budget, policy: SourcePolicy) -> datetime:
    """Until when what is held back may be released and still be sent.

    Where pages report, what no pixel reported goes out after the pairing window, too: the release may come as late.
    """
    if budget.pair_until is None or policy.takes_receipts:
        return budget.window_until
    return min(budget.pair_until, budget.window_until)


def transaction_of(event: Event) -> str | None:
    """The transaction key of an event: what its id and its context are kept under; None when it has none."""
    lead = lead_id(event.user.lead_id) if event.user.lead_id else None
    return (
        event.transaction_id
        or event.custom_data.order_id
        or (None if isinstance(lead, Code) else lead)  # what is no lead id is no key either, and may be anything
        or event.custom_data.subscription_id
        or None
    )


def _remembered_from(deliveries: Sequence[PlannedDelivery], now: datetime) -> datetime:
    """The instant from which the dedup window of the id is reckoned: the latest at which the event may be let go.

    What is released or cancelled late must be recognised when it is posted again, like everything else.
    """
    return max((each.held_until for each in deliveries if each.held_until is not None), default=now)


def _id_request(
    event: Event,
    hashed: HashedEvent,
    transaction: str | None,
    stated: datetime,
    policy: SourcePolicy,
    remembered_from: datetime,
) -> IdRequest:
    if transaction is not None:
        derived = derive(policy.event_id_template, policy.name, hashed.event_name, transaction, event.occurrence)
    elif event.event_id is not None:
        derived = event.event_id
    else:
        # As it was stated, not as it was clamped: the same event posted again must give the same id.
        # And without an fbc made here, which holds the time of the making.
        identity = hashed.identity if event.user.fbc else msgspec.structs.replace(hashed.identity, fbc=None)
        # Nor by what the shopper allowed meanwhile.
        plain = msgspec.structs.replace(
            hashed, event_time=stated, identity=identity, consent=ConsentFacts(), place=None, persons=()
        )
        canonical = canonical_bytes(plain)
        derived = derive_without_key(policy.name, hashed.event_name, canonical)
    return IdRequest(
        source=policy.name,
        event_name=hashed.event_name,
        transaction=transaction,
        occurrence=event.occurrence,
        asked=event.event_id,
        derived=derived,
        remember_until=remembered_from + policy.dedup_window,
        send_conflicts=policy.sends_conflicts,
    )


_PLACEHOLDERS = frozenset({"undefined", "null", "none", "nan", "n/a", "[object object]", "0", "-"})


@lru_cache(maxsize=1024)
def _custom_words(name: str) -> str:
    """That a name is none of the standard ones, and which of them it resembles."""
    meant = meant_name(name)
    hint = f"; did you mean {meant}?" if meant else ""
    return f"is no standard event: sent as a custom event, which platforms do not optimise for{hint}"


def _advice(hashed: HashedEvent, transaction: str | None, has_id: bool) -> Sequence[Warn]:
    """What usually goes wrong with events like this one."""
    warnings = []
    if transaction is None and not has_id:
        warnings.append(
            Warn("transaction_id_missing", "/transaction_id", "the event_id was derived from the event's content")
        )
    if transaction is not None and transaction.strip().lower() in _PLACEHOLDERS:
        warnings.append(
            Warn("transaction_id_placeholder", "/transaction_id", "looks like a missing value: every such order is one")
        )
    if hashed.is_custom:
        warnings.append(Warn("event_name_custom", "/event_name", _custom_words(hashed.event_name)))
    if hashed.event_name == "Purchase" and not hashed.custom_data.contents:
        warnings.append(
            Warn("contents_missing", "/custom_data/contents", "a Purchase without contents serves no catalogue ads")
        )
    return warnings
