"""The same work with no architecture, as one would write it in an afternoon: `python -m bench.floor --help`.

Batches of 100 orders are parsed, their identifiers normalised and hashed in every form one of the four platforms takes
(each distinct text once), and kept with one durable SQLite transaction; every 500 events leave in one request per
platform. There is no validation, no consent beyond its three booleans, no queue, no retry, no ledger: what remains is
what any gateway has to do.
"""

from __future__ import annotations

import argparse
import re
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from time import perf_counter, process_time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import orjson

from bench.orders import order

BATCH = 100
REQUEST = 500
PIXEL = "0b1c7e8a-0d4f-4e9c-9550-d6a2f9b1e110"
_NOT_WORD = re.compile(r"[\W_]+")
_NOT_SPACED = re.compile(r"[^\w\s]+")


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def names(prefix: str, text: str, hashes: dict[str, str]) -> None:
    """Letters only, without punctuation, and as written."""
    lowered = text.strip().lower()
    hashes[prefix + "1"] = hashes[prefix + "2"] = hashes[prefix + "3"] = digest(lowered)
    if not lowered.isalpha():
        hashes[prefix + "1"] = digest(_NOT_WORD.sub("", lowered))
        hashes[prefix + "2"] = digest(_NOT_SPACED.sub("", lowered))


def hash_user(user: dict[str, Any]) -> dict[str, str]:
    """Every form the four platforms take, by a short name."""
    country = user["country"].lower()
    zip_code = user["zip"].strip().lower().replace(" ", "").split("-")[0]
    hashes = {
        "em": digest(user["email"].strip().lower()),
        "ph1": digest(user["phone"][1:]),
        "ph2": digest(user["phone"]),
        "ge": digest(user["gender"].lower()),
        "db": digest(user["date_of_birth"].replace("-", "")),
        "ct": digest(_NOT_WORD.sub("", user["city"].lower())),
        "zp": digest(zip_code),
        "co": digest(country),
    }
    names("fn", user["first_name"], hashes)
    names("ln", user["last_name"], hashes)
    external_id = user["external_id"].strip()
    hashes["xi1"] = hashes["xi2"] = digest(external_id)
    if not external_id.islower():
        hashes["xi1"] = digest(external_id.lower())
    if user["state"]:
        hashes["st"] = digest(user["state"].lower())
    hashes["zp2"] = digest(zip_code[:-2]) if country == "gb" else hashes["zp"]
    if zip_code.isdigit():
        hashes["zp3"] = hashes["zp"]
    return hashes


def kept(event: dict[str, Any]) -> dict[str, Any]:
    """What is kept of an event and sent from: identifiers hashed, the click id read from the URL."""
    user = event["user"]
    seconds = int(datetime.fromisoformat(event["event_time"]).timestamp())
    fbclid = dict(parse_qsl(urlsplit(event["event_source_url"]).query)).get("fbclid")
    return {
        "id": f"purchase_{event['transaction_id']}",
        "time": seconds,
        "url": event["event_source_url"],
        "hashes": hash_user(user),
        "ip": user["client_ip_address"],
        "agent": user["client_user_agent"],
        "locale": user["locale"],
        "fbp": user["fbp"],
        "fbc": f"fb.1.{seconds * 1000}.{fbclid}" if fbclid else None,
        "ttclid": user["ttclid"],
        "ttp": user["ttp"],
        "epik": user["epik"],
        "sc_cookie1": user["sc_cookie1"],
        "custom": event["custom_data"],
    }


def some(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if value is not None}


def listed(hashes: dict[str, str], fields: dict[str, str]) -> dict[str, list[str]]:
    return {field: [hashes[form]] for field, form in fields.items() if form in hashes}


META = {"em": "em", "ph": "ph1", "external_id": "xi1", "fn": "fn1", "ln": "ln1", "db": "db", "ge": "ge"}
META |= {"ct": "ct", "st": "st", "zp": "zp", "country": "co"}
PINTEREST = {"em": "em", "ph": "ph1", "external_id": "xi2", "fn": "fn3", "ln": "ln3", "db": "db", "ge": "ge"}
PINTEREST |= {"ct": "ct", "st": "st", "zp": "zp3", "country": "co"}
SNAPCHAT = {"em": "em", "ph": "ph1", "external_id": "xi1", "fn": "fn1", "ln": "ln1", "ge": "ge"}
SNAPCHAT |= {"ct": "ct", "st": "st", "zp": "zp2", "country": "co"}


def meta(event: dict[str, Any]) -> dict[str, Any]:
    custom = event["custom"]
    return {
        "event_name": "Purchase",
        "event_time": event["time"],
        "event_id": event["id"],
        "action_source": "website",
        "event_source_url": event["url"],
        "user_data": some(
            {
                **listed(event["hashes"], META),
                "client_ip_address": event["ip"],
                "client_user_agent": event["agent"],
                "fbc": event["fbc"],
                "fbp": event["fbp"],
            }
        ),
        "custom_data": {
            **custom["properties"],
            "value": orjson.Fragment(custom["value"]),
            "currency": custom["currency"],
            "order_id": custom["order_id"],
            "num_items": custom["num_items"],
            "content_type": custom["content_type"],
            "contents": [
                {"id": line["id"], "quantity": line["quantity"], "item_price": orjson.Fragment(line["item_price"])}
                for line in custom["contents"]
            ],
        },
    }


def tiktok(event: dict[str, Any]) -> dict[str, Any]:
    custom, hashes = event["custom"], event["hashes"]
    return {
        "event": "Purchase",
        "event_time": event["time"],
        "event_id": event["id"],
        "user": some(
            {
                "email": [hashes["em"]],
                "phone": [hashes["ph2"]],
                "external_id": [hashes["xi2"]],
                "ttclid": event["ttclid"],
                "ttp": event["ttp"],
                "first_name": hashes["fn2"],
                "last_name": hashes["ln2"],
                "zip_code": hashes["zp"],
                "ip": event["ip"],
                "user_agent": event["agent"],
                "locale": event["locale"],
            }
        ),
        "properties": {
            "currency": custom["currency"],
            "value": orjson.Fragment(custom["value"]),
            "content_type": custom["content_type"],
            "order_id": custom["order_id"],
            "contents": [
                {
                    "content_id": line["id"],
                    "content_name": line["title"],
                    "content_category": line["category"],
                    "brand": line["brand"],
                    "price": orjson.Fragment(line["item_price"]),
                    "quantity": line["quantity"],
                }
                for line in custom["contents"]
            ],
        },
        "page": {"url": event["url"]},
    }


def pinterest(event: dict[str, Any]) -> dict[str, Any]:
    custom = event["custom"]
    return {
        "event_name": "checkout",
        "action_source": "web",
        "event_time": event["time"],
        "event_id": event["id"],
        "event_source_url": event["url"],
        "user_data": some(
            {
                **listed(event["hashes"], PINTEREST),
                "client_ip_address": event["ip"],
                "client_user_agent": event["agent"],
                "click_id": event["epik"],
            }
        ),
        "custom_data": {
            "currency": custom["currency"],
            "value": custom["value"],
            "content_ids": [line["id"] for line in custom["contents"]],
            "contents": [
                {
                    "id": line["id"],
                    "item_name": line["title"],
                    "item_category": line["category"],
                    "item_brand": line["brand"],
                    "item_price": line["item_price"],
                    "quantity": line["quantity"],
                }
                for line in custom["contents"]
            ],
            "num_items": custom["num_items"],
            "order_id": custom["order_id"],
        },
        "language": event["locale"][:2],
    }


def snapchat(event: dict[str, Any]) -> dict[str, Any]:
    custom = event["custom"]
    return {
        "event_name": "PURCHASE",
        "event_time": event["time"],
        "action_source": "WEB",
        "event_source_url": event["url"],
        "event_id": event["id"],
        "integration": "convey",
        "user_data": some(
            {
                **listed(event["hashes"], SNAPCHAT),
                "client_ip_address": event["ip"],
                "client_user_agent": event["agent"],
                "sc_cookie1": event["sc_cookie1"],
            }
        ),
        "custom_data": {
            "currency": custom["currency"],
            "value": orjson.Fragment(custom["value"]),
            "order_id": custom["order_id"],
            "content_ids": [line["id"] for line in custom["contents"]],
            "content_type": custom["content_type"],
            "contents": [
                {
                    "id": line["id"],
                    "quantity": line["quantity"],
                    "item_price": orjson.Fragment(line["item_price"]),
                    "brand": line["brand"],
                }
                for line in custom["contents"]
            ],
            "num_items": custom["num_items"],
            "custom_fields": custom["properties"],
        },
    }


PLATFORMS = (
    (meta, "/v26.0/1234567890/events", lambda reply, size: reply["events_received"] == size),
    (tiktok, "/open_api/v1.3/event/track/", lambda reply, size: reply["code"] == 0),
    (
        pinterest,
        "/v5/ad_accounts/549/events",
        lambda reply, size: [one["status"] for one in reply["events"]] == ["processed"] * size,
    ),
    (snapchat, f"/v3/{PIXEL}/events?access_token=t0ken", lambda reply, size: reply["status"] == "VALID"),
)


def deliver(client: httpx.Client, events: Sequence[dict[str, Any]]) -> None:
    """One request to each platform with all of `events`."""
    for build, path, is_taken in PLATFORMS:
        body: dict[str, Any] = {"data": [build(event) for event in events]}
        if build is tiktok:
            body = {"event_source": "web", "event_source_id": "C4ABCDEFGHIJ", **body}
        reply = client.post(
            path,
            content=orjson.dumps(body),
            headers={"content-type": "application/json", "authorization": "Bearer t0ken"},
        )
        if reply.status_code != 200 or not is_taken(orjson.loads(reply.content), len(events)):
            raise SystemExit(f"{build.__name__} refused a batch: HTTP {reply.status_code}")


def work(connection: sqlite3.Connection, client: httpx.Client, bodies: Sequence[bytes]) -> None:
    """All of it, one line after another."""
    waiting: list[dict[str, Any]] = []
    for body in bodies:
        events = []
        for event in orjson.loads(body)["events"]:
            consent = event["consent"]
            if consent["ad_storage"] and consent["ad_user_data"] and consent["ad_personalization"]:
                events.append(kept(event))
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT OR IGNORE INTO events VALUES (?, ?)", [(event["id"], orjson.dumps(event)) for event in events]
        )
        connection.execute("COMMIT")
        waiting += events
        while len(waiting) >= REQUEST:
            deliver(client, waiting[:REQUEST])
            del waiting[:REQUEST]
    if waiting:
        deliver(client, waiting)


def bodies_of(first: int, events: int) -> list[bytes]:
    now = datetime.now(UTC)
    return [
        orjson.dumps({"events": [order(number, now) for number in range(start, min(start + BATCH, first + events))]})
        for start in range(first, first + events, BATCH)
    ]


def main() -> None:
    """Do the work for a number of orders and print what it cost as one JSON line."""
    parser = argparse.ArgumentParser(prog="python -m bench.floor", description=main.__doc__)
    parser.add_argument("--sink", required=True, help="origin of the sink")
    parser.add_argument("--file", type=Path, required=True, help="the SQLite file to make")
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--warm-up", type=int, default=REQUEST, help="orders done before the clock starts")
    options = parser.parse_args()
    connection = sqlite3.connect(options.file, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE events (id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID")
    with httpx.Client(base_url=options.sink, trust_env=False) as client:
        work(connection, client, bodies_of(1, options.warm_up))
        bodies = bodies_of(1 + options.warm_up, options.events)
        began, cpu = perf_counter(), process_time()
        work(connection, client, bodies)
        cpu, elapsed = process_time() - cpu, perf_counter() - began
    connection.close()
    print(orjson.dumps({"events": options.events, "cpu_seconds": cpu, "seconds": elapsed}).decode())


if __name__ == "__main__":
    main()
