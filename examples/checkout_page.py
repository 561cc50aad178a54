"""A thank-you page made by a shop's server: it asks for the id, keeps the context, fires the pixels."""

import json
from typing import Any
from urllib.parse import quote

import httpx

COOKIES = {"fbp": "_fbp", "fbc": "_fbc", "ttp": "_ttp", "epik": "_epik", "sc_cookie1": "_scid"}
PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Thank you</title>
<!-- the base code of each pixel, as the platform gives it -->
{base_codes}
<h1>Thank you for your order</h1>
<script src="/convey-pixels.js"></script>
<script>
{{
  const {{ fbq, ttq, pintrk, snaptr, gtag, send }} = conveyPixels({options});
  {pixel_calls}
  send();
}}
</script>
"""


def thank_you_page(order: dict[str, str], shopper: dict[str, Any], convey: dict[str, str], base_codes: str) -> str:
    """The page with its pixel calls. Without an answer from Convey it has none, and the server's copy counts alone."""
    cookies = {field: shopper["cookies"].get(name) for field, name in COOKIES.items()}
    asked = {
        "currency": order["currency"],
        "value": order["total"],
        "context": {
            "user": {
                "client_ip_address": shopper["ip"],
                "client_user_agent": shopper["user_agent"],
                **cookies,
            },
            "event_source_url": shopper["url"],
            "consent": shopper["consent"],
        },
    }
    try:
        answer = httpx.put(
            f"{convey['url']}/v1/event-ids/Purchase/{quote(order['number'], safe='')}",
            json=asked,
            headers={"Authorization": f"Bearer {convey['key']}"},
            timeout=1,  # a page does not wait longer for a pixel
        )
        answer.raise_for_status()
        told = answer.json()
    except httpx.HTTPError:
        told = {"event_id": None, "pixel_calls": {}}
    options = {
        "url": f"{convey['public_url']}/v1/browser-receipts",
        "key": convey["receipts_key"],
        "eventId": told["event_id"],
    }
    return PAGE.format(
        base_codes=base_codes,
        options=json.dumps(options).replace("<", "\\u003c"),
        pixel_calls="\n  ".join(dict.fromkeys(told["pixel_calls"].values())),
    )
