"""No raw identifier is ever written down: canaries through everything the gateway does, and a search of every byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import app as cli
from app.config import load
from app.ingest import Ingest
from app.logs import JsonFormatter, configure, wide_event
from app.main import run
from app.metrics import Metrics
from app.outbox.port import DeadFilter
from app.outbox.sqlite import SqliteStore
from app.pipeline import plan
from app.stores import utc_now
from tests.canary.flock import LET_GO, STEMS, Flock, digests, put
from tests.canary.search import Canary, Hit, Search, told
from tests.canary.stage import FAULTS, KEYS, MAX_BODY_BYTES, MAX_EVENTS, Client, Platforms, Stage, batches, staged
from tests.e2e.harness import PLATFORMS, assert_ledger_closes, wait_until, write_config

TRAVELS = ("convey.db", "received", "heard")
"""Outputs in which what must travel unhashed may stand."""


def test_nothing_raw_is_written_down_whatever_happens_to_it(tmp_path: Path) -> None:
    flock = Flock()
    outputs: dict[str, bytes] = {}
    with staged(tmp_path) as stage:
        dead_token = f"DEAD{flock.word('dead token')}"
        token = flock.word("token", start="tk-")
        for name, key in KEYS.items():
            flock.keep(f"key of {name}", key)
        stage.write_tokens(dead_token)
        stage.platforms.play({"kind": "dead_token", "times": 1}, *FAULTS)
        stage.gateway.start()

        refuse(stage, flock)
        outputs |= bring_in(stage, flock)
        accept(stage, flock)
        stage.wait_for_log("lane.state", len(PLATFORMS), state="parked")
        stage.scrape()
        outputs["answer of the doctor"] = examined(stage)
        outputs |= stage.files("while parked")
        stage.write_tokens(token)  # whatever is parked goes on, into one trouble after another
        stage.gateway.wait_settled()
        assert stage.platforms.unplayed() == []
        look(stage)
        outputs |= stage.files("while running")
        assert {f"convey.db{end} while running" for end in ("", "-wal", "-shm")} <= outputs.keys()

        stage.gateway.kill()
        outputs |= stage.files("after a crash")
        replayed = asyncio.run(replay(stage.gateway.database))
        assert replayed >= 2 * len(PLATFORMS)  # what a trouble made dead, and the poison
        outputs |= stage.files("after the replay")
        stage.gateway.start()
        stage.gateway.wait_settled()
        look(stage)
        erase(stage)
        assert stage.gateway.stop() == 0
        outputs |= stage.files("after the end")
        outputs |= stage.client.answers | stage.scraper.answers
        outputs["received"] = stage.platforms.received()
        outputs["heard"] = without_secrets(b"".join(stage.platforms.heard), token, dead_token)

    search = Search(flock.canaries, STEMS)
    assert_found_where_they_belong(flock, outputs)
    found = hits(search, outputs)
    assert not found, told(found)
    assert_search_can_fail(search, flock, outputs, tmp_path)


def hits(search: Search, outputs: Mapping[str, bytes]) -> list[Hit]:
    """Every canary where it must not be."""
    meant = {name: output for name, output in outputs.items() if name.startswith(TRAVELS)}
    rest = {name: output for name, output in outputs.items() if name not in meant}
    return search.hits(meant, travels=True) + search.hits(rest)


def without_secrets(heard: bytes, *tokens: str) -> bytes:
    """What the platforms heard, but for the tokens, which are for them."""
    for token in tokens:
        heard = heard.replace(token.encode(), b"")
    return heard


# --- the traffic ------------------------------------------------------------------------------------------------


def accept(stage: Stage, flock: Flock) -> None:
    """Post what is taken: identifiers of every kind, what strayed into other fields, and poison for each platform."""
    taken = [*flock.users(), *flock.unusable(), *flock.strays(), *flock.url_events()]
    for about, event in taken[:1]:
        flock.canaries += [Canary(name, (text,), may_travel=True) for name, text in digests(event["user"])]
        stage.client.post(f"{about}, again", 202, event, event)
    for platform in PLATFORMS:
        event = flock.event(user=flock.user(f"poison for {platform}"), transaction_id=f"POISON-{platform.upper()}-1")
        put(event, "custom_data.order_id", event["transaction_id"])
        taken.append((f"poison for {platform}", event))
        stage.customer = event["user"]["external_id"]
    for number, some in enumerate(batches(taken)):
        results = stage.client.post(f"accepted events {number}", 202, *(event for _, event in some))
        wrong = [about for (about, _), result in zip(some, results, strict=True) if result["status"] == "invalid"]
        assert not wrong, f"not taken: {wrong}"
    # Under the policy `report` what strayed goes on as it is, and still nobody else learns of it.
    let_go = Flock(LET_GO)
    told_of = [event for _, event in [*let_go.strays(", reported"), *let_go.url_events(", reported")][::7]]
    for some in batches(told_of):
        stage.client.post("reported events", 202, *some, source="telling")
    flock.canaries += let_go.canaries


def refuse(stage: Stage, flock: Flock) -> None:
    """Post what is refused, in every way in which a request can be."""
    client, word = stage.client, flock.word
    refused = [*flock.personal_ids(), *flock.wrong_types()]
    for some in batches(refused):
        results = client.post("refused events", 422, *(event for _, event in some))
        taken = [about for (about, _), result in zip(some, results, strict=True) if result["status"] != "invalid"]
        assert not taken, f"not refused: {taken}"
    strict = [event for _, event in [*flock.strays(", refused"), *flock.url_events(", refused")]]
    unknown = [flock.event() for _ in range(2)]
    unknown[0]["user"][flock.email("unknown key, refused")] = word("value of an unknown key, refused")
    put(unknown[1], "remark", word("unknown value, refused"))
    for some in batches(strict):
        client.post("events refused by policy", None, *some, source="strict")
    client.post("unknown fields refused", 422, *unknown, source="strict")
    for about, event in refused[:3]:
        client.ask(f"alone: {about}", 422, "POST", "/v1/events", content=json.dumps(event))
    bad_neighbours = {"event_name": flock.email("a neighbour's name")}, word("a neighbour")
    client.post("neighbours", 202, flock.event(), *bad_neighbours)

    def post(about: str, status: int, content: Any, **more: Any) -> None:
        client.ask(about, status, "POST", "/v1/events", content=content, **more)

    good = json.dumps(flock.event(user=flock.user("refused request"))).encode()
    post("cut JSON", 400, good[:-3])
    post("no JSON", 400, f"email={flock.email('a form')}&name={word('a form')}")
    post("not UTF-8", 400, good.replace(b"Mobile", b"Mobile\xff"))
    post("half a surrogate", 422, good.replace(b"Mobile", b"Mobile\\ud800"), source="strict")
    post("not a number", 422, good.replace(b'"12.50"', b"NaN", 1))
    post("huge number", 400, good.replace(b'"12.50"', b"1" * 5000, 1))
    post("too deep", 400, b"[" * 100_000 + json.dumps(word("nested without end")).encode())
    post("a string", 400, json.dumps(flock.email("a string as body")))
    post("a list", 400, json.dumps([flock.email("a list as body")]))
    post("no list of events", 400, json.dumps({"events": flock.email("events")}))
    post("too many events", 413, json.dumps({"events": [word("too many events")] * (MAX_EVENTS + 1)}))
    large = flock.email("too large a body").encode() * (MAX_BODY_BYTES // 20)
    post("too large", 413, large)
    post("too large, in chunks", 413, (large[start : start + 9000] for start in range(0, len(large), 9000)))
    post("wrong key", 401, good, headers={"authorization": f"Bearer {word('wrong key')}"})
    post("wrong scheme", 401, good, headers={"authorization": f"Basic {flock.email('wrong scheme')}"})
    post("no key", 401, good, source=None)
    post("wrong type", 415, good, headers={"content-type": f"text/{word('media type')}"})
    post("wrong encoding", 415, good, headers={"content-encoding": word("content encoding")})
    headers = {
        name: flock.email(f"header {name}")
        for name in "user-agent cookie referer x-request-id x-forwarded-for traceparent accept from".split()
    }
    client.ask("headers", 200, "GET", "/v1/ledger", headers=headers)
    client.ask("no such event", 404, "GET", f"/v1/events/{flock.email('event id asked for')}")
    client.ask("no such name", 404, "GET", "/v1/events/x", params={"event_name": flock.email("name asked for")})
    for verb in ("release", "cancel"):
        path = f"/v1/events/{flock.email(f'event id to {verb}')}/{verb}"
        client.ask(f"no event to {verb}", 404, "POST", path, params={"event_name": flock.email(f"name to {verb}")})
    client.ask("no such source", 403, "GET", "/v1/events/x", params={"source": flock.email("source asked for")})
    for name in ("since", "until", "source"):
        asked = {name: flock.email(f"proofs' {name}")}
        client.ask(f"consent proofs by {name}", None, "GET", "/v1/audit/consent", source="admin", params=asked)
    letters = "/v1/dead-letters"
    for name in ("destination", "reason", "event_id", "source", "event_name", "older_than", "cursor", flock.email("x")):
        asked = {name: flock.email(f"dead letters' {name}")}
        client.ask(f"dead letters by {name}", None, "GET", letters, source="admin", params=asked)
        client.ask(f"no purge by {name}", None, "DELETE", letters, source="admin", params={**asked, "dry_run": "true"})
        body = json.dumps({**asked, "dry_run": True})
        client.ask(f"no replay by {name}", None, "POST", f"{letters}/replay", source="admin", content=body)
    ids = json.dumps({"transaction_ids": [flock.email("an order looked up"), flock.phone("another one")]})
    client.ask("unknown orders", 200, "POST", "/v1/events/lookup", content=ids)
    ids = json.dumps({"transaction_ids": [{flock.email("a key of no order"): flock.word("no order")}]})
    client.ask("no orders", 400, "POST", "/v1/events/lookup", content=ids)
    for name in ("since", "before", "cursor"):
        asked = {"since": "1790000000", name: flock.email(f"orders' {name}")}
        client.ask(f"no orders by {name}", 400, "GET", "/v1/transactions", params=asked)
    for call, place in (("erasures", "continue_with"), ("access", "cursor")):
        about, path = f"{call} of a person", f"/v1/privacy/{call}"
        person = {"email": flock.email(about), "phone": flock.phone(about), "external_id": flock.word(about)}
        requests: list[tuple[int, Any]] = [
            (200, {"user": person}),
            (400, {"user": person, place: flock.email(f"{about}, going on")}),
            (400, {"user": person, "source": flock.email(f"{about}, source")}),
            (400, {"user": {flock.email(f"{about}, field"): flock.word(f"{about}, value of a field")}}),
            (400, {"user": {"email": flock.word(f"{about}, no address"), "phone": flock.word(f"{about}, no phone")}}),
            (400, {"user": flock.email(f"{about}, no object")}),
        ]
        for status, sent in requests:
            client.ask(about, status, "POST", path, source="admin", content=json.dumps(sent))
        client.ask(f"no {about}", 403, "POST", path, content=json.dumps({"user": person}))
    bulk = {"bulk": flock.email("bulk")}
    client.ask("bulk or not", 400, "POST", "/v1/events", content=good, params=bulk)
    client.ask("check or not", 400, "GET", "/v1/ledger", params={"check": flock.email("check")})
    client.ask("no replay", 400, "POST", f"{letters}/replay", source="admin", content=flock.email("replay"))
    client.ask("no purge", 403, "DELETE", letters, params={"event_id": flock.email("purge")})
    for name in ("event_name", "rate_per_minute", "for", flock.email("pause")):
        body = json.dumps({name: flock.email(f"pause by {name}")})
        client.ask(f"no pause by {name}", 400, "POST", "/v1/destinations/meta/pause", source="admin", content=body)
    reason = json.dumps({"event_name": "Donate", "reason": f"asked by {flock.email('reason of a pause')}"})
    client.ask("a pause", 200, "POST", "/v1/destinations/meta/pause", source="admin", content=reason)
    path = f"/v1/destinations/{flock.email('destination')}/pause"
    client.ask("no such destination", 404, "POST", path, source="admin")
    path = f"/v2/{word('path')}/{flock.email('path')}"
    client.ask("no such path", 404, "GET", path, params={"q": flock.phone("query")})
    client.ask("no such method", 405, "DELETE", "/v1/events", params={"email": flock.email("query of a wrong method")})
    client.ask("odd method", 400, word("method").upper(), "/v1/events")
    stage.scraper.ask("no metrics", 404, "GET", f"/{flock.email('path of the metrics')}", source=None)
    stage.scraper.ask("some metrics", 200, "GET", "/metrics", source=None, params={"name[]": flock.email("metric")})
    for about, request in {
        "no HTTP": f"{flock.email('no HTTP')} {word('no HTTP')}\r\n\r\n",
        "a bad version": f"GET /{flock.email('bad version')} HTTP/9.9\r\nhost: x\r\n\r\n",
        "a bad header": f"GET / HTTP/1.1\r\nhost: x\r\n{word('bad header')} {flock.email('bad header')}\r\n\r\n",
        "a bad length": f"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: {word('bad length')}\r\n\r\n",
        "a cut body": f"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 999\r\n\r\n{flock.email('cut body')}",
    }.items():
        client.send_raw(about, request.encode())


def bring_in(stage: Stage, flock: Flock) -> dict[str, bytes]:
    """Import files of what is taken and of what is not; what the command says and writes."""
    folder = stage.folder / "imports"
    folder.mkdir()
    lines = [json.dumps(event) for _, event in [*flock.wrong_types(), *flock.personal_ids(), *flock.unusable()]]
    (folder / "events.ndjson").write_text("\n".join([*lines, flock.email("no JSON in a file")]))
    header = "event_name,event_time,transaction_id,user.email,custom_data.value,custom_data.currency"
    rows = [
        f"Purchase,{flock.word('time in a cell')},T-1,{flock.email('cell')},1,EUR",
        f"Purchase,1,{flock.email('transaction in a cell')},x,{flock.word('amount in a cell')},{flock.word('money')}",
        f"Purchase,1,T-3,{flock.email('a row too short')}",
        f'Purchase,1,T-4,"{flock.email("stray quote")}"x,1,EUR',
    ]
    (folder / "rows.csv").write_text("\n".join([header, *rows]))
    said: dict[str, bytes] = {}
    for name in ("events.ndjson", "rows.csv"):
        for options in (["--dry-run"], ["--set", f"user.phone={flock.phone('constant')}"]):
            arguments = ["import", str(folder / name), "--url", stage.gateway.url, *options]
            done = CliRunner().invoke(cli, arguments, env={"CONVEY_KEY": KEYS["shop"]})
            assert done.exit_code == 1, done.output
            said[f"answer of an import: {name} {options[0]}"] = done.output.encode()
    written = [path for path in sorted(folder.iterdir()) if path.name not in {"events.ndjson", "rows.csv"}]
    assert len(written) == 6  # errors of both runs, and the state
    said |= compared(stage, flock, folder / "orders.csv")
    return said | {f"answer in {path.name}": path.read_bytes() for path in written}


def examined(stage: Stage) -> bytes:
    """What the doctor says while every lane is parked, and leaks were found; asking platforms would use up faults."""
    options = ["--config", str(stage.gateway.config), "--url", stage.gateway.url, "--offline"]
    done = CliRunner().invoke(cli, ["doctor", *options], env={"CONVEY_KEY": KEYS["shop"]})
    assert done.exit_code == 1, done.output
    assert done.output.count("is parked") == len(PLATFORMS), done.output
    return done.output.encode()


def compared(stage: Stage, flock: Flock, path: Path) -> dict[str, bytes]:
    """Compare a list of orders that holds far more than is compared; what the command says and writes."""
    rows = [
        f"T-1,{flock.email('customer in a list')},{flock.word('total in a list')},EUR",
        f"T-2,{flock.phone('customer in a list')},1.00,{flock.word('currency in a list')}",
        f"T-3,{flock.email('customer that is not in the journal')},1.00,EUR",
    ]
    path.write_text("\n".join(["Order Number,Customer,Total,Currency", *rows]))
    page, listed = path.with_suffix(".html"), path.with_suffix(".rows")
    options = ["--url", stage.gateway.url, "--since", "2026-01-01", "--html", str(page), "--csv", str(listed)]
    done = CliRunner().invoke(cli, ["reconcile", str(path), *options], env={"CONVEY_KEY": KEYS["shop"]})
    assert done.exit_code == 0, done.output
    return {
        "answer of a reconciliation": done.output.encode(),
        "answer in its page": page.read_bytes(),
        "answer in its rows": listed.read_bytes(),
    }


def look(stage: Stage) -> None:
    """Read everything the gateway tells about itself and about a few events."""
    ledger = stage.client.ask("ledger", 200, "GET", "/v1/ledger").json()["destinations"]
    assert_ledger_closes(ledger)
    assert all(account["dead"] and account["delivered"] for account in ledger.values())
    for event_id in ("purchase_POISON-META-1", "purchase_POISON-PINTEREST-1", "purchase_ORD-1"):
        with contextlib.suppress(AssertionError):
            stage.client.ask(f"fate of {event_id}", 200, "GET", f"/v1/events/{event_id}")
    ids = json.dumps({"transaction_ids": [f"POISON-{platform.upper()}-1" for platform in PLATFORMS] + ["ORD-1"]})
    orders = stage.client.ask("orders", 200, "POST", "/v1/events/lookup", content=ids).json()["results"]
    assert all(each["events"][0]["destinations"] for each in orders[: len(PLATFORMS)])
    listed = stage.client.ask("listed orders", 200, "GET", "/v1/transactions", params={"since": "1790000000"}).json()
    assert len(listed["events"]) > len(PLATFORMS)
    lanes = stage.client.ask("lanes", 200, "GET", "/v1/destinations", source="admin").json()["destinations"]
    assert [each["event_name"] for each in lanes["meta"]["paused_events"]] == ["Donate"]
    stage.client.ask("a checked ledger", 200, "GET", "/v1/ledger", params={"check": "true"})
    params: dict[str, Any] = {"summary": "true", "limit": 1000}
    told = stage.client.ask("dead letters", 200, "GET", "/v1/dead-letters", source="admin", params=params).json()
    assert len(told["dead_letters"]) == sum(account["dead"] for account in ledger.values())
    dry = json.dumps({"all": True, "dry_run": True})
    shown = json.dumps({"user": {"external_id": stage.customer}})
    of_person = stage.client.ask("a person", 200, "POST", "/v1/privacy/access", source="admin", content=shown)
    assert of_person.json()["events"], "nobody was found"
    stage.client.ask("a dry replay", 200, "POST", "/v1/dead-letters/replay", source="admin", content=dry)
    proofs = stage.client.ask("consent proofs", 200, "GET", "/v1/audit/consent", source="admin", params={"source": "*"})
    assert proofs.text.count('"decided_at"') > 10
    coverage = stage.client.ask("match keys", 200, "GET", "/v1/audit/match-keys", source="admin").json()["rows"]
    assert {row["destination"] for row in coverage} == set(PLATFORMS)
    refusals = stage.client.ask("rejects", 200, "GET", "/v1/rejects", source="admin").json()
    assert len(refusals["rejects"]) > 10
    assert {each["problem"] for each in refusals["requests"]} >= {"unreadable_body", "unauthorized"}
    for path in ("/livez", "/readyz", "/docs", "/openapi.json"):
        stage.client.ask(path, 200, "GET", path, source=None)
    stage.scrape()


def erase(stage: Stage) -> None:
    """Have somebody forgotten whose order was delivered here and refused there."""
    about, path = "a person erased", "/v1/privacy/erasures"
    body: dict[str, Any] = {"user": {"external_id": stage.customer}}
    first = stage.client.ask(about, 200, "POST", path, source="admin", content=json.dumps(body)).json()
    assert first["delivered"]
    assert first["ended"]
    body["continue_with"] = first["continue_with"]
    last = stage.client.ask(about, 200, "POST", path, source="admin", content=json.dumps(body)).json()
    assert last["complete"]
    assert last["deleted"]["events"] == 1


async def replay(database: Path) -> int:
    """Make every dead letter pending again, and return how many there were."""
    store = await SqliteStore.open(database, destinations=PLATFORMS, now=utc_now)
    try:
        return await store.replay((await store.dead_letters(DeadFilter(), 100_000)).letters)
    finally:
        await store.close()


# --- that the search sees what there is -------------------------------------------------------------------------


def assert_found_where_they_belong(flock: Flock, outputs: Mapping[str, bytes]) -> None:
    """What must travel is in the store and at the platforms, so those outputs are whole and readable to the search."""
    meant: dict[str, list[str]] = {}
    for each in flock.canaries:
        if each.may_travel:
            meant.setdefault(each.name, []).append(each.texts[0])
    for name in ("received", "heard", "convey.db after the end"):
        for wanted in ("user agent", "ttclid", "fbp", "epik", "sc_click_id"):
            assert any(text.encode() in outputs[name] for text in meant[wanted]), f"{wanted} is not in {name}"
    kept = b"".join(output for name, output in outputs.items() if name.startswith("convey.db"))
    for wanted in ("email", "phone", "first_name", "external_id", "gender"):
        (digest,) = meant[f"digest of {wanted}"]
        assert digest.encode() in outputs["received"], f"{wanted} was not received"
        assert bytes.fromhex(digest) in kept, f"{wanted} was not kept"
    log = outputs["gateway.log after the end"]
    for event in (b'"request"', b'"delivery.attempted"', b'"lane.state"', b'"secret.replaced"'):
        assert b'"event":' + event in log


def assert_search_can_fail(search: Search, flock: Flock, outputs: Mapping[str, bytes], folder: Path) -> None:
    """A canary in a copy of each kind of output, written there as such an output is written, is found."""
    victim = next(each for each in flock.canaries if each.name == "single last name")
    text = victim.texts[0]
    planted: dict[str, bytes] = {}
    for name in ("received", "heard"):
        planted[name] = _amid(outputs[name], text)
    planted["gateway.log"] = outputs["gateway.log after the end"] + _log_line(text)
    planted["metrics"] = _metrics(text)
    answer = next(name for name in outputs if name.startswith("answer") and "accepted events" in name)
    planted["answer"] = _amid(outputs[answer], text)
    planted |= _database(outputs["convey.db after the end"], text, folder / "planted.db")
    planted["convey.db-shm"] = _amid(outputs["convey.db-shm while running"], text)
    for name, output in planted.items():
        assert victim.name in {hit.canary for hit in hits(search, {name: output})}, f"missed in {name}"


def _amid(output: bytes, text: str) -> bytes:
    middle = len(output) // 2
    return output[:middle] + text.encode() + output[middle:]


def _log_line(text: str) -> bytes:
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    log = logging.Logger("convey.planted")
    log.addHandler(handler)
    wide_event(log, "planted", detail=f"no such customer: {text}")
    return stream.getvalue().encode()


def _metrics(text: str) -> bytes:
    from prometheus_client.exposition import generate_latest

    metrics = Metrics("1")
    metrics.events.labels(text, "accepted").inc()
    return bytes(generate_latest(metrics.registry))


def _database(content: bytes, text: str, path: Path) -> dict[str, bytes]:
    """The store with the text in a row, once in the file itself, once in the log beside it."""
    path.write_bytes(content)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (number,) = connection.execute("SELECT count(*) FROM deliveries").fetchone()
        assert number > len(PLATFORMS)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        last = "SELECT max(event) FROM deliveries"
        connection.execute(f"UPDATE deliveries SET detail = ? WHERE event = ({last})", (text,))
        log = Path(f"{path}-wal").read_bytes()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return {"convey.db-wal": log, "convey.db": path.read_bytes()}


# --- the search itself ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "written"),
    {
        "plain": "for {0}.",
        "lower case": "for zqbdfghjklmnp o'neil",
        "upper case": "for ZQBDFGHJKLMNP O'NEIL",
        "url": "q=ZqBdfghjklmnp%20O%27Neil",
        "url, as forms do it": "q=ZqBdfghjklmnp+O%27Neil",
        "url twice": "q=ZqBdfghjklmnp%2520O%2527Neil",
        "base64": "WnFCZGZnaGprbG1ucCBPJ05laWw=",
        "base64 after one byte": "LlpxQmRmZ2hqa2xtbnAgTydOZWls",
        "base64 after two bytes": "Li5acUJkZmdoamtsbW5wIE8nTmVpbC4=",
        "base64 of lower case": "enFiZGZnaGprbG1ucCBvJ25laWw=",
        "hex": "5a7142646667686a6b6c6d6e70204f274e65696c",
        "upper hex": "5A7142646667686A6B6C6D6E70204F274E65696C",
    }.items(),
)
def test_a_canary_is_found_in_every_form(form: str, written: str) -> None:
    text = "ZqBdfghjklmnp O'Neil"
    output = f'{{"some": "{written.format(text)}"}}'.encode()
    found = Search([Canary("a name", (text,))]).hits({form: output})
    assert [hit.canary for hit in found]
    assert not Search([Canary("another", ("ZqBdfghjklmnp O'Neal",))]).hits({form: output})


def test_what_may_travel_is_found_everywhere_but_where_it_may() -> None:
    search = Search([Canary("a click id", ("ZqClickIdBdfg",), may_travel=True)])
    outputs = {"convey.db": b"..ZqClickIdBdfg..", "gateway.log": b"..ZqClickIdBdfg.."}
    assert {hit.output for hit in hits(search, outputs)} == {"gateway.log"}


# --- faults of our own, whose messages hold values --------------------------------------------------------------


@pytest.fixture
def log() -> Iterator[StringIO]:
    """What this process logs at debug level, written as `serve` writes it."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, {name: each.level for name, each in _loggers().items()}
    stream = StringIO()
    configure("debug", stream)
    yield stream
    root.handlers[:], level, levels = before
    root.setLevel(level)
    for name, each in _loggers().items():
        each.setLevel(levels.get(name, logging.NOTSET))


def _loggers() -> dict[str, logging.Logger]:
    known = logging.getLogger().manager.loggerDict
    return {name: each for name, each in known.items() if isinstance(each, logging.Logger)}


@pytest.fixture
def platforms() -> Iterator[Platforms]:
    running = Platforms()
    yield running
    running.close()


def test_an_exception_that_holds_a_value_tells_nobody(
    tmp_path: Path, log: StringIO, platforms: Platforms, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = Flock()
    planned, taken = plan, Ingest.take

    def fail(place: str) -> Callable[..., Any]:
        def failing(*arguments: Any, **more: Any) -> Any:
            try:
                raise KeyError(flock.email(f"cause in {place}"))
            except KeyError as error:
                raise ValueError(f"bad value {flock.email(f'message in {place}')}: {arguments!r}") from error

        return failing

    def plan_or_fail(event: Any, *rest: Any) -> Any:
        return fail("planning")(event) if event.event_name == "NoPlan" else planned(event, *rest)

    async def take_or_fail(ingest: Ingest, source: str, items: Any, **how: Any) -> Any:
        if items[0].event is not None and items[0].event.event_name == "NoTake":
            fail("taking")(items)
        return await taken(ingest, source, items, **how)

    monkeypatch.setattr("app.ingest.plan", plan_or_fail)
    monkeypatch.setattr(Ingest, "take", take_or_fail)
    monkeypatch.setattr("app.destinations.meta.exchange.pack", fail("building"))
    monkeypatch.setattr("app.destinations.tiktok.exchange.json_object", fail("reading"))
    settings = load(write_config(tmp_path, platforms.url), {})
    answers: dict[str, bytes] = {}

    def is_logged(name: str) -> bool:
        return f'"event":"{name}"' in log.getvalue()

    def talk(port: int, metrics_port: int) -> None:
        with contextlib.closing(Client(f"http://127.0.0.1:{port}")) as client:
            client.post("planning", 422, flock.event(event_name="NoPlan", user=flock.user("planning")))
            taking = json.dumps(flock.event(event_name="NoTake", user=flock.user("taking")))
            client.ask("taking", 500, "POST", "/v1/events", content=taking)
            answers.update(client.answers)
        with contextlib.closing(Client(f"http://127.0.0.1:{port}")) as client:  # a crash costs its connection
            client.post("delivering", 202, flock.event(user=flock.user("delivering")))
            for event in ("event.plan_failed", "request.failed", "delivery.build_failed", "delivery.read_failed"):
                wait_until(f"a line {event}", partial(is_logged, event))
            answers.update({f"second {name}": answer for name, answer in client.answers.items()})
        with contextlib.closing(Client(f"http://127.0.0.1:{metrics_port}")) as scraper:
            scraper.ask("metrics", 200, "GET", "/metrics", source=None)
            answers.update({f"metrics, {name}": answer for name, answer in scraper.answers.items()})

    async def serve_and_talk() -> None:
        stop = asyncio.Event()
        ports: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(run(settings, stop, lambda *both: ports.set_result(both)))
        try:
            async with asyncio.timeout(20):
                await asyncio.to_thread(talk, *await ports)
        finally:
            stop.set()
            await serving

    asyncio.run(serve_and_talk())
    outputs = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name.startswith("convey.db")}
    outputs |= answers | {"gateway.log": log.getvalue().encode(), "heard": b"".join(platforms.heard)}
    assert '"type":"ValueError"' in log.getvalue()
    assert '"type":"KeyError"' in log.getvalue()
    found = hits(Search(flock.canaries, STEMS), outputs)
    assert not found, told(found)
