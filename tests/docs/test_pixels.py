"""The scripts of docs/pixels.md without a browser: a real one runs them in `make browser`."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from examples.checkout_page import thank_you_page
from scripts.pixels_page import EXAMPLES, pixels_page
from tests.api.support import open_service, unused_url
from tests.factories import FrozenClock
from tests.ops import tools


@pytest.mark.anyio
async def test_the_answer_on_the_page_is_the_one_that_is_given(tmp_path: Path) -> None:
    page = pixels_page()
    (asked,) = re.findall(r"curl -X PUT .* -d '(.*?)'\n", page, re.DOTALL)
    (shown,) = re.findall(r"^```json\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    expected = json.loads(shown)
    del expected["pixel_calls"]["google"]  # not among the destinations of this gateway
    async with open_service(tmp_path, unused_url(), FrozenClock()) as service:
        as_curl = {"content-type": "application/x-www-form-urlencoded"}
        path = "/v1/event-ids/Purchase/ORD-12345"
        answer = await service.client.put(path, content=asked.encode(), headers=as_curl)
    assert answer.json() == expected


def test_a_page_is_rendered_without_pixels_where_no_gateway_answers() -> None:
    shopper = {
        "ip": "203.0.113.9",
        "user_agent": "Mozilla/5.0",
        "cookies": {},
        "url": "https://s.example",
        "consent": {},
    }
    order = {"number": "ORD-1", "currency": "EUR", "total": "1.00"}
    convey = {"url": unused_url(), "public_url": "https://convey.example", "key": "k", "receipts_key": "</script>"}
    page = thank_you_page(order, shopper, convey, "<script></script>")
    assert "Thank you for your order" in page
    assert page.count("</script>") == 3, "a key cannot end the script it stands in"
    assert "fbq(" not in page


def test_pixels_that_are_there_are_called_and_reported_and_the_others_keep_nobody_from_it() -> None:
    script = (EXAMPLES / "convey-pixels.js").read_text("utf-8")
    calls = [line for line in pixels_page().splitlines() if '"purchase_ORD-12345"' in line and line.endswith(");")]
    calls += [line for line in pixels_page().splitlines() if line.startswith("gtag(")]
    assert len(calls) == 5
    harness = """
const called = [], sent = [];
const told = (name) => (...call) => called.push([name, call.length]);
globalThis.window = { fbq: told("fbq"), ttq: { track: told("ttq") }, snaptr: told("snaptr"), gtag: told("gtag") };
Object.defineProperty(globalThis, "navigator", { value: { sendBeacon: (url, text) => sent.push([url, text]) } });
{
  const { fbq, ttq, pintrk, snaptr, gtag, send } = conveyPixels({ url: "u", key: "k", eventId: "purchase_ORD-12345" });
  CALLS
  send();
  send();
}
console.log(JSON.stringify({ called, sent }));
"""
    text = f"{script}\n{harness.replace('CALLS', chr(10).join(calls))}"
    ran = subprocess.run([tools.find_node(), "-e", text], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["called"] == [["fbq", 4], ["ttq", 3], ["snaptr", 3], ["gtag", 3]]
    ((url, body),) = told["sent"]
    common = {"event_id": "purchase_ORD-12345", "value": 129.9, "currency": "EUR"}
    assert (url, json.loads(body)) == (
        "u",
        {
            "key": "k",
            "receipts": [
                {"platform": "meta", "event_name": "Purchase", **common},
                {"platform": "tiktok", "event_name": "Purchase", **common},
                {"platform": "snapchat", "event_name": "PURCHASE", **common},
                {"platform": "google", "event_name": "conversion", **common},
            ],
        },
    )
