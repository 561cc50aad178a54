"""What is kept of signals as proof: the facts that could decide, keyed digests of strings, and nothing else."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import msgspec

from app.consent.facts import digests_of, facts_of
from app.consent.needs import ConsentNeeds
from app.consent.signals import read_signals
from app.errors import Outcome, Reason
from app.proof import ConsentProof, KeptProof, ProvenDecision, decode_proof, encode_proof, proof_json
from app.wire import Consent
from tests.consent.support import vectors

NEEDS = (ConsentNeeds(gvl_id=755), ConsentNeeds(ac_id=89), ConsentNeeds(purposes=("ads", "stats")))
TCF = {vector["name"]: vector["string"] for vector in vectors("tcf")["valid"]}
GPP = {vector["name"]: vector["string"] for vector in vectors("gpp")["valid"]}
FULL = TCF["google_only_consent_v23"]
TCF_FACTS = {
    "cmp_id": 300,
    "cmp_version": 7,
    "vendor_list_version": 44,
    "policy_version": 5,
    "last_updated": "2026-10-15T00:00:00Z",
    "purposes": (1, 2, 3, 4, 7, 9, 10),
    "vendors_consented": [755],
    "vendors_disclosed": [755],
}


def kept(**consent: Any) -> dict[str, Any]:
    """The facts kept of a consent object."""
    return facts_of(read_signals(Consent.model_validate(consent))[0], NEEDS)


def test_the_facts_of_every_signal() -> None:
    assert kept(tcf=FULL) == {"tcf": TCF_FACTS}
    undisclosed = kept(tcf=TCF["v22_policy4_before_deadline_no_disclosed"])
    assert undisclosed["tcf"]["vendors_disclosed"] is None
    assert kept(gpp=GPP["tcfeuv2_plus_uspv1"]) == {"gpp": {"sections": (2, 6), "tcfeuv2": TCF_FACTS, "uspv1": "1YNN"}}
    assert kept(gpp=GPP["usca_gpc_true"]) == {
        "gpp": {
            "sections": (8,),
            "usca": {"SaleOptOut": (2,), "SharingOptOut": (2,), "KnownChildSensitiveDataConsents": (0, 0), "Gpc": True},
        }
    }
    assert kept(us_privacy="1YYN") == {"us_privacy": "1YYN"}
    assert kept(ac="2~89.91~dv.12") == {"ac": [89]}
    assert kept(ad_storage=True, ad_user_data=False) == {"consent_mode": ["yes", "no", "absent"]}
    assert kept(gcd="13t3r3p3l5l1") == {"gcd": ["yes by default", "no by default", "absent"]}
    assert kept(gcs="G110") == {"gcs": ["yes", "absent", "absent"]}
    assert kept(gpc=True, child=False) == {"gpc": True, "child": False}
    assert kept(shopify={"marketingAllowed": True}) == {"shopify": {"marketing": True, "sale_of_data": None}}


def test_of_maps_only_what_a_destination_needs_is_kept() -> None:
    assert kept(purposes={"ads": True, "jane@example.com": True}) == {"purposes": {"ads": True}}
    cookie = "consentId=6f1c-jane&interactionCount=2&groups=C0004%3A1%2CJANE%3A1"
    assert kept(onetrust_groups=cookie) == {"onetrust_groups": {"C0004": True, "interactions": 2}}


def test_what_cannot_be_read_leaves_no_facts() -> None:
    assert kept(purposes="x", tcf="x", gpp="x", ac="x", us_privacy="x", onetrust_groups=4, shopify=4, gpc="x") == {}
    assert kept(ad_storage="x", gcs="x", gcd="x", child="x") == {}


def test_a_digest_proves_a_string_to_whoever_has_it_and_the_key() -> None:
    consent = Consent(tcf=FULL, gpp=" x ", ac=7, onetrust_groups={"C0004": True}, us_privacy="1YNN")
    digests = digests_of(consent, b"key")
    assert digests == {
        "tcf": hmac.new(b"key", FULL.encode(), hashlib.sha256).digest(),
        "gpp": hmac.new(b"key", b" x ", hashlib.sha256).digest(),
    }
    assert digests_of(consent, b"another") != digests
    assert digests_of(Consent(tcf="\ud800"), b"key")["tcf"]


PROOF = ConsentProof(
    decided_at=datetime(2026, 11, 20, 12, tzinfo=UTC),
    policy="1-abc",
    regime="opt_out",
    place="US-CA",
    collected_at=datetime(2026, 11, 1, tzinfo=UTC),
    signals={"tcf": "valid", "gpp": "GPP_TRUNCATED"},
    facts=kept(tcf=FULL, us_privacy="1YYN"),
    digests={"tcf": bytes(32)},
    decisions={
        "meta": ProvenDecision(Outcome.DENIED, Reason.US_OPT_OUT, "US_OPTED_OUT", False),
        "google": ProvenDecision(Outcome.QUEUED, None, "US_OPTED_OUT", True),
    },
)


def test_a_proof_survives_being_kept() -> None:
    back = decode_proof(encode_proof(PROOF))
    plain = {**back.facts, "tcf": {**back.facts["tcf"], "purposes": tuple(back.facts["tcf"]["purposes"])}}
    assert msgspec.structs.replace(back, facts=plain) == PROOF
    bare = ConsentProof(PROOF.decided_at, "1-abc", "unknown")
    assert decode_proof(encode_proof(bare)) == bare
    assert len(encode_proof(PROOF)) < 600


def test_a_proof_as_the_api_shows_it() -> None:
    shown = proof_json(KeptProof("shop", "Purchase", "purchase_A", PROOF))
    assert shown == {
        "event_id": "purchase_A",
        "event_name": "Purchase",
        "source": "shop",
        "decided_at": "2026-11-20T12:00:00Z",
        "policy": "1-abc",
        "regime": "opt_out",
        "place": "US-CA",
        "collected_at": "2026-11-01T00:00:00Z",
        "signals": {"tcf": "valid", "gpp": "GPP_TRUNCATED"},
        "facts": {"tcf": TCF_FACTS, "us_privacy": "1YYN"},
        "digests": {"tcf": "hmac-sha256:" + "00" * 32},
        "destinations": {
            "meta": {"outcome": "denied", "limited": False, "reason": "us_opt_out", "code": "US_OPTED_OUT"},
            "google": {"outcome": "queued", "limited": True, "reason": None, "code": "US_OPTED_OUT"},
        },
    }
    bare = proof_json(KeptProof("shop", "Purchase", "purchase_A", ConsentProof(PROOF.decided_at, "1", "unknown")))
    assert (bare["collected_at"], bare["place"]) == (None, None)
