"""Writes the dictionary that bodies on Redis are compressed with, from how a typical event is encoded.

It is part of the store's schema: bodies that wait are read with the dictionary they were written with. So a released
one never changes; a better one gets another name beside it. Usage: scripts/make_dictionary.py [file]
"""

from __future__ import annotations

import hashlib
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from app.model import (
    Form,
    HashedContent,
    HashedCustomData,
    HashedEvent,
    HashedIdentity,
    encode_event,
)

FILE = Path(__file__).parent.parent / "app" / "outbox" / "redis" / "body-1.dict"
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


def dictionary() -> bytes:
    """The rarest first: what lies at the end is cheapest to name."""
    names = "ViewContent AddToCart InitiateCheckout AddPaymentInfo CompleteRegistration Subscribe PageView Lead".split()
    shared = b"".join([digest(country) for country in COUNTRIES] + [name.encode() for name in names])
    # How a digest follows its form, which no sample shows.
    forms = b"".join(b"\xa4%b\x91\xc4 " % form.encode() for form in reversed(Form))
    return shared + forms + b"".join(map(sample, AGENTS))


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else FILE).write_bytes(dictionary())
