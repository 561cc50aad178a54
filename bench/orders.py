"""Orders as a shop's backend posts them: full identities, baskets, consent. The same number gives the same order."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

FIRST_NAMES = "Jane John Maria Luca Emma Noah Sofia Paul Anna Max Laura Tom Jürgen Zoë Mary-Ann José".split()
LAST_NAMES = "Doe Smith Rossi Weber Brown Miller Garcia Dubois Novak Meyer Taylor Moore Müller O'Brien Núñez".split()
PLACES = (
    ("US", "CA", "San Francisco", "94107", "+1415555", 4),
    ("US", "NY", "New York", "10001", "+1212555", 4),
    ("DE", "BE", "Berlin", "10115", "+4915112", 6),
    ("FR", "", "Paris", "75001", "+336123", 5),
    ("GB", "", "London", "SW1A 1AA", "+447911", 6),
    ("IT", "", "Milano", "20121", "+393471", 6),
)
GOODS = (
    ("Shoe", "Acme", "Footwear", 9990),
    ("Rain jacket", "Norden", "Outdoor", 14900),
    ("Cotton shirt", "Acme", "Clothing", 2995),
    ("Backpack 20 l", "Norden", "Bags", 7950),
    ("Wool socks", "Lana", "Clothing", 1290),
)
AGENTS = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.0 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SOFT = str.maketrans({"ü": "ue", "ë": "e", "é": "e", "ú": "u", "ñ": "n", "'": "", "-": ""})


def order(number: int, now: datetime) -> dict[str, Any]:
    """Order `number`, placed within the hour before `now`; every number is another order of another customer."""
    pick = random.Random(number)
    first, last = pick.choice(FIRST_NAMES), pick.choice(LAST_NAMES)
    country, state, city, zip_code, phone, digits = pick.choice(PLACES)
    placed = now - timedelta(seconds=pick.randrange(60, 3600))
    placed_ms = int(placed.timestamp()) * 1000
    click = "".join(pick.choices(LETTERS, k=24))
    lines = []
    cents = 0
    for title, brand, category, price in pick.sample(GOODS, pick.choice((1, 1, 2, 3))):
        quantity = pick.choice((1, 1, 2))
        cents += quantity * price
        lines.append(
            {
                "id": f"SKU-{title[:4].upper().strip()}-{pick.randrange(10, 99)}",
                "quantity": quantity,
                "item_price": f"{price / 100:.2f}",
                "title": title,
                "brand": brand,
                "category": category,
            }
        )
    transaction = f"ORD-{number}"
    address = f"{first}.{last}.{number}@shop-mail.com".translate(_SOFT)
    return {
        "event_name": "Purchase",
        "event_time": placed.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "transaction_id": transaction,
        "action_source": "website",
        "event_source_url": f"https://shop.example/thanks?utm_source=ads&fbclid=IwY2{click}",
        "user": {
            "email": address,
            "phone": phone + str(number % 10**digits).zfill(digits),
            "first_name": first,
            "last_name": last,
            "gender": pick.choice("fm"),
            "date_of_birth": f"{pick.randrange(1950, 2005)}-{pick.randrange(1, 13):02}-{pick.randrange(1, 29):02}",
            "city": city,
            "state": state or None,
            "zip": zip_code,
            "country": country,
            "external_id": f"cust-{number}",
            "client_ip_address": f"81.{pick.randrange(1, 200)}.{pick.randrange(1, 250)}.{pick.randrange(1, 250)}",
            "client_user_agent": pick.choice(AGENTS),
            "locale": "en-US",
            "fbp": f"fb.1.{placed_ms - 60_000}.{pick.randrange(10**9, 10**10)}",
            "ttclid": f"E.C.P.{click}",
            "ttp": click.lower(),
            "epik": f"dj0{click}",
            "sc_cookie1": f"{pick.getrandbits(32):08x}-0d4f-4e9c-9550-d6a2f9b1e110",
        },
        "consent": {"ad_storage": True, "ad_user_data": True, "ad_personalization": True},
        "custom_data": {
            "currency": "USD" if country == "US" else "EUR",
            "value": f"{cents / 100:.2f}",
            "order_id": transaction,
            "num_items": sum(int(str(line["quantity"])) for line in lines),
            "content_type": "product",
            "contents": lines,
            "properties": {"coupon": "BF26"},
        },
    }
