"""Writes the three stubs of a new destination: its module, its page and its test.

    python scripts/new_destination.py acme

The stubs are a small working destination for a made-up platform. They pass the conformance tests from the start;
change them rule by rule, the page first: its examples are the tests.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

MODULE = '''\
"""__TITLE__: what it is, in one sentence.

Documented at https://developers.__HOST__.example, read YYYY-MM-DD; the tables are in `docs/destinations/__NAME__.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import orjson
from pydantic import Field

from app.destinations.base import (
    Admission,
    Admit,
    ApiVersion,
    Destination,
    Duration,
    Limits,
    MappedSettings,
    Skip,
    Token,
    described,
    each,
    gate_age,
    hashed,
    isolate,
    json_object,
    number,
    pack,
    platform_name,
    retry_after,
    tidy,
    unix_seconds,
    unreadable,
)
from app.errors import DestinationError, Reason
from app.model import Delivered, Delivery, Form, HashedEvent, HttpCall, HttpReply, Park, Result, Retry, Split

LIMITS = Limits(max_items=100, max_bytes=1_000_000)  # where it is documented
VERSIONS = {"v1": ApiVersion(date(2026, 1, 1), "https://developers.__HOST__.example")}  # when and where it was read
EVENT_NAMES = {"Purchase": "purchase", "Lead": "lead"}  # where it is documented
KEYS = {"email": Form.EMAIL}  # keys of hashed values, where they are documented


class __TITLE__Settings(MappedSettings):
    """One account at __TITLE__."""

    base_url: str = Field("https://api.__HOST__.example", description="Origin of the API.")
    api_version: str = Field("v1", pattern="^v[0-9]{1,2}$", description="API version.")
    account_id: str = Field(pattern="^[0-9]{1,20}$", description="Account id.")
    access_token: Token = Field(description="Token of the account.")
    max_age: Duration = Field(timedelta(days=7), gt=timedelta(0), description="Oldest event to send.")


def admit(event: HashedEvent, settings: __TITLE__Settings, now: datetime) -> Admission:
    """Whether and until when __TITLE__ takes this event."""
    if not platform_name(event, settings, EVENT_NAMES, None):
        return Skip(Reason.EVENT_NOT_SUPPORTED, "__TITLE__ has no name for this event")
    until = gate_age(event, settings.max_age, settings.window_margin, now)
    if isinstance(until, Skip):
        return until
    if not event.identity.digests.get(Form.EMAIL):
        return Skip(Reason.IDENTIFIERS_MISSING, "__TITLE__ needs an e-mail address")
    return Admit(until)


def build(deliveries: Sequence[Delivery], settings: __TITLE__Settings) -> list[HttpCall]:
    """The requests that carry these deliveries."""
    if any(delivery.event.is_test for delivery in deliveries):
        raise DestinationError("__TITLE__ has no test mode")
    items = [(delivery, orjson.dumps(_event(delivery, settings))) for delivery in deliveries]
    return [
        HttpCall(
            url=f"{settings.base_url}/{settings.api_version}/accounts/{settings.account_id}/events",
            body=body,
            deliveries=batch,
            headers={"content-type": "application/json"},
            secret_headers={"authorization": f"Bearer {settings.access_token.get_secret_value()}"},
        )
        for batch, body in pack(items, LIMITS, b'{"events":[', b"]}")
    ]


def _event(delivery: Delivery, settings: __TITLE__Settings) -> dict[str, Any]:
    event = delivery.event
    return tidy(
        {
            "name": platform_name(event, settings, EVENT_NAMES, None) or event.event_name,
            "id": delivery.event_id,
            "time": unix_seconds(event),
            "url": event.event_source_url,
            "user": tidy({key: hashed(event.identity, form) for key, form in KEYS.items()}),
            "value": number(event.custom_data.value),
            "currency": event.custom_data.currency,
        }
    )


def read(reply: HttpReply, deliveries: Sequence[Delivery]) -> Sequence[Result] | Split | Park:
    """What the answer means for each of these deliveries, in order: the body decides."""
    size = len(deliveries)
    body = json_object(reply)
    if body is None:
        return unreadable(reply, size)
    if 200 <= reply.status < 300 and body.get("status") == "accepted":
        return each(Delivered(), size)
    detail = described(reply.status, body.get("message"))
    after = retry_after(reply.headers)
    if reply.status in (401, 403):
        return Park(Reason.CREDENTIALS, detail)
    if reply.status == 429:
        return each(Retry(Reason.RATE_LIMITED, after, detail), size)
    if reply.status in (400, 413, 422):
        return isolate(size, detail)
    return each(Retry(Reason.PLATFORM_ERROR, after, detail, is_ambiguous=reply.status < 300), size)


DESTINATION = Destination(
    name="__NAME__",
    settings=__TITLE__Settings,
    limits=LIMITS,
    needs=frozenset(KEYS.values()),
    is_limited_supported=False,
    has_test_mode=lambda settings: False,
    admit=admit,
    build=build,
    read=read,
    versions=VERSIONS,
)
'''

PAGE = """\
# __TITLE__

What it is, in two sentences, and how sure the statements below are: documented, second-hand, measured, seen in peers,
inferred. Read on YYYY-MM-DD.

## Limits

| What | Value | Source |
|---|---|---|
| Request | `POST {base_url}/v1/accounts/{account_id}/events` | link, date |
| Events per request | 100 | link, date |
| Age of an event | 7 days | link, date |
| Deduplication | same id within 48 hours | link, date |

## Settings

| Setting | Default | Meaning |
|---|---|---|
| `account_id` | required | account id |
| `api_version` | `v1` | API version |
| `access_token` | required | token of the account |
| `max_age` | `7d` | oldest event sent, less `window_margin` (`10m`) |

## Event names

| Event | __TITLE__ |
|---|---|
| Purchase, Lead | purchase, lead |
| every other | skipped |

## Fields

| __TITLE__ | From | Type |
|---|---|---|
| `user.email` | em.1 | list of lower-case hex |

## What is skipped, and why

| Reason | When |
|---|---|
| `event_not_supported` | no name for it |
| `identifiers_missing` | no e-mail address |

## Answers

| Answer | What happens |
|---|---|
| 2xx with `status: accepted` | delivered |
| 401, 403 | the lane parks |
| 429 | `rate_limited` |
| 400, 413, 422 | split; a lone event is `rejected_by_platform` |
| any other | retried |

## Could not be established

Say it here.

## Examples

```json settings
{"account_id": "123", "access_token": "not-a-token"}
```

```json event
{
  "event_name": "Purchase", "event_time": "2026-11-20T10:15:00Z", "event_id": "purchase_ORD-1",
  "event_source_url": "https://shop.example/thanks", "user": {"email": "Jane.Doe@example.com"},
  "custom_data": {"value": "129.90", "currency": "USD"}
}
```

```json request
{
  "method": "POST",
  "url": "https://api.__HOST__.example/v1/accounts/123/events",
  "headers": {"content-type": "application/json", "authorization": "***"},
  "body": {
    "events": [
      {
        "name": "purchase",
        "id": "purchase_ORD-1",
        "time": 1795169700,
        "url": "https://shop.example/thanks",
        "user": {"email": ["86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d"]},
        "value": 129.90,
        "currency": "USD"
      }
    ]
  }
}
```

```json reply
{"status": 200, "events": 1, "body": {"status": "accepted"}}
```

```json results
[{"outcome": "delivered"}]
```
"""

TEST = '''\
"""__TITLE__: its page, and the odd cases no page shows."""

from __future__ import annotations

from tests.destinations.pages import check_page


def test_page():
    check_page("__NAME__")
'''


def write(name: str, root: Path = ROOT) -> list[Path]:
    """Write the stubs below `root`; returns their paths.

    Raises:
        ValueError: The name is no module's name, or one of the files exists.
    """
    if not re.fullmatch("[a-z][a-z0-9_]{1,30}", name):
        raise ValueError("a destination's name is lower-case letters, digits and underscores, such as acme")
    title = "".join(part.capitalize() for part in name.split("_"))
    stubs = {
        root / "app" / "destinations" / f"{name}.py": MODULE,
        root / "docs" / "destinations" / f"{name}.md": PAGE,
        root / "tests" / "destinations" / f"test_{name}.py": TEST,
    }
    for path in stubs:
        if path.exists():
            raise ValueError(f"{path.relative_to(root)} exists")
    for path, text in stubs.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        filled = text.replace("__TITLE__", title).replace("__NAME__", name).replace("__HOST__", name.replace("_", "-"))
        path.write_text(filled, "utf-8")
    return list(stubs)


def main() -> int:
    """Write the stubs for the name on the command line."""
    parser = argparse.ArgumentParser(description="Write the stubs of a new destination.")
    parser.add_argument("name", help="name of the destination, such as acme")
    try:
        written = write(parser.parse_args().name)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    for path in written:
        print(path.relative_to(ROOT))
    print("Next: the limits and the field table of the page, then its examples, then the module.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
