"""Writes the dictionaries that bodies and proofs on Redis are compressed with, from how typical ones are encoded.

They are part of the store's schema: what is kept is read with the dictionary it was written with. So a released one
never changes; a better one gets another name beside it. Usage: scripts/make_dictionaries.py [folder]
"""

from __future__ import annotations

import hashlib
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec

from app.consent.codes import Code
from app.errors import Outcome, Reason
from app.model import (
    Form,
    HashedContent,
    HashedCustomData,
    HashedEvent,
    HashedIdentity,
    encode_event,
)
from app.proof import ConsentProof, ProvenDecision, encode_proof

FOLDER = Path(__file__).parent.parent / "app" / "outbox" / "redis"
AGENTS = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 "
    "Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.1 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
)
COUNTRIES = "at au be br ca ch cz dk es fi gr hu ie in jp mx nl no nz pl pt ro se sg tr za it gb fr de us".split()


def digest(text: str) -> bytes:
    """The 32 bytes of a normal form."""
    return hashlib.sha256(text.encode()).digest()


def sample(agent: str) -> bytes:
    """An event with every common field, and digests only of what has few values."""
    digests: dict[str, tuple[bytes, ...]] = dict.fromkeys(Form, ())
    for form, text in ((Form.GENDER, "m"), (Form.GENDER_WITH_NEUTRAL, "f"), (Form.COUNTRY, "us")):
        digests[form] = (digest(text),)
    identity = HashedIdentity(
        digests, "us", "ca", client_ip_address="8", client_user_agent=agent, locale="en-US", fbp="fb.1.17",
        fbc="fb.1.17", ttclid="E.C.P.", ttp="t", epik="dj0", sc_click_id="s", sc_cookie1="s", gclid="g", gbraid="g",
        wbraid="w",
    )  # fmt: skip
    content = HashedContent("SKU-", 1, Decimal("9.90"), "T", "B", "C")
    custom_data = HashedCustomData(
        "EUR", Decimal("9.90"), "ORD-", 1, content_name="N", content_category="C", content_type="product",
        contents=(content, content), properties={"coupon": ""},
    )  # fmt: skip
    event = HashedEvent(
        "shop", "Purchase", datetime(2026, 11, 25, tzinfo=UTC), transaction_id="ORD-",
        event_source_url="https://www.shop.example/checkout/thank-you?utm_source=&utm_medium=&utm_campaign=&fbclid=IwY2",
        identity=identity, custom_data=custom_data,
    )  # fmt: skip
    return encode_event(event)


def proof(regime: str, place: str, signals: dict[str, str], facts: dict[str, object], code: str) -> bytes:
    """The proof of an event's decisions, as it is kept; the same decision at each platform."""
    names = ("meta", "tiktok", "pinterest", "snapchat", "google")
    decision = ProvenDecision(Outcome.QUEUED, None, code, limited=False)
    kept = ConsentProof(
        datetime(2026, 11, 25, tzinfo=UTC),
        "1-000000000000",
        regime,
        place,
        signals=signals,
        facts=facts,
        decisions=dict.fromkeys(names, decision),
    )
    return msgspec.msgpack.encode(("shop", "Purchase", "purchase_ORD-", encode_proof(kept)))


def proofs() -> bytes:
    """The words of every decision, then typical proofs, the commonest last."""
    words = b" ".join([code.value.encode() for code in Code] + [reason.value.encode() for reason in Reason])
    yes = ["yes", "yes", "yes"]
    return words + b"".join(
        (
            proof("opt_out", "US-CA", {"gpp": "valid", "gpc": "absent"}, {"gpp": {}}, "US_NOT_OPTED_OUT"),
            proof("opt_in", "DE", {"tcf": "valid"}, {"tcf": {}}, "TCF_GRANTED"),
            proof("opt_in", "DE", {"consent_mode": "valid"}, {"consent_mode": yes}, "CM_GRANTED"),
        )
    )


def bodies() -> bytes:
    """The rarest first: what lies at the end is cheapest to name."""
    names = "ViewContent AddToCart InitiateCheckout AddPaymentInfo CompleteRegistration Subscribe PageView Lead".split()
    shared = b"".join([digest(country) for country in COUNTRIES] + [name.encode() for name in names])
    # How a digest follows its form, which no sample shows.
    forms = b"".join(b"\xa4%b\x91\xc4 " % form.encode() for form in reversed(Form))
    return shared + forms + b"".join(map(sample, AGENTS))


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    (folder / "body-1.dict").write_bytes(bodies())
    (folder / "proof-1.dict").write_bytes(proofs())
