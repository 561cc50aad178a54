"""What hashing an identity costs, beside its bare SHA-256 calls: `python -m bench.hashing`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from hashlib import sha256
from time import perf_counter

from app.hashing.identity import hash_identity
from app.hashing.options import HashingOptions
from app.model import Form
from app.wire import UserData

FORMS = frozenset(Form)
NOW = datetime(2026, 11, 20, 10, 15, tzinfo=UTC)
TODAY = date(2026, 11, 20)
URL = "https://shop.example/thanks?utm_source=meta&fbclid=IwY2Sample_Click-ID_0aB1cD2eF3gH4"
BROWSER = {
    "client_ip_address": "8.8.8.8",
    "client_user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "fbp": "fb.1.1795132800000.1098115397",
}
PERSON = {
    "email": "Jane.Doe@shop-mail.com",
    "phone": "+14155552671",
    "first_name": "Jane",
    "last_name": "O'Brien",
    "gender": "f",
    "date_of_birth": "1990-02-03",
    "city": "San Francisco",
    "state": "CA",
    "zip": "94107",
    "country": "US",
    "external_id": "cust-991",
}
CASES: dict[str, tuple[UserData, str | None]] = {
    "identity, E.164 phone": (UserData.model_validate(PERSON), None),
    "with IP, user agent, fbp and fbclid": (UserData.model_validate({**PERSON, **BROWSER}), URL),
    "with a national phone number": (UserData.model_validate({**PERSON, "phone": "(415) 555-2671"}), None),
    "already hashed": (
        UserData.model_validate({key: sha256(value.encode()).hexdigest() for key, value in PERSON.items()}),
        None,
    ),
    "e-mail only": (UserData.model_validate({"email": PERSON["email"]}), None),
}


def best_us(call: Callable[[], object], rounds: int, number: int) -> float:
    """Microseconds per call: the best of several rounds."""
    best = float("inf")
    for _ in range(rounds):
        started = perf_counter()
        for _ in range(number):
            call()
        best = min(best, perf_counter() - started)
    return best / number * 1e6


def texts_of(user: UserData) -> list[str]:
    """The normal forms behind the digests of this identity, one text per digest, by hand-written forms."""
    known = {
        "co": ["us"],
        "em": ["jane.doe@shop-mail.com"],
        "ph": ["14155552671", "+14155552671"],
        "fn": ["jane"],
        "ln": ["obrien", "o'brien"],
        "ge": ["f"],
        "db": ["19900203"],
        "ct": ["sanfrancisco"],
        "st": ["ca"],
        "zp": ["94107"],
        "xi": ["cust-991"],
    }
    identity, _ = hash_identity(user, forms=FORMS, event_time=NOW, today=TODAY)
    text_of = {sha256(text.encode()).digest(): text for texts in known.values() for text in texts}
    return [text_of.get(digest, "x" * 64) for digests in identity.digests.values() for digest in digests]


def main(rounds: int = 7, number: int = 5000) -> None:
    """Print µs per event, and the ratio to the bare SHA-256 calls of the same forms."""
    options = HashingOptions()
    print(f"{'case':<38}{'µs/event':>10}{'forms':>7}{'bare µs':>9}{'ratio':>7}")
    for name, (user, url) in CASES.items():
        texts = texts_of(user)

        def call(user: UserData = user, url: str | None = url) -> object:
            return hash_identity(user, options=options, forms=FORMS, event_source_url=url, event_time=NOW, today=TODAY)

        def bare(texts: list[str] = texts) -> None:
            for text in texts:
                sha256(text.encode()).digest()

        floor = best_us(bare, rounds, number)
        spent = best_us(call, rounds, number)
        print(f"{name:<38}{spent:>10.1f}{len(texts):>7}{floor:>9.1f}{spent / floor:>7.1f}")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
