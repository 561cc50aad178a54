"""The control endpoints of the sandbox: what arrived, what counts, the clock, the faults. All speak JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.sandbox import checks as c
from app.sandbox.counting import Copy, money_text
from app.sandbox.faults import KINDS, BadScript, Script, parse_script
from app.sandbox.state import PLATFORM_NAMES, State, Taken

INDEX: dict[str, Any] = {
    "name": "Convey sandbox",
    "platforms": {
        "meta": "POST /v{version}/{pixel_id}/events, GET /v{version}/dataset_quality, GET /v{version}/{pixel_id}",
        "tiktok": "POST /open_api/v1.3/event/track/",
        "pinterest": "POST /v5/ad_accounts/{ad_account_id}/events, GET …/conversion_eqs",
        "snapchat": "POST /v3/{asset_id}/events[/validate]",
        "google": "POST /v1/events:ingest, GET /v1/requestStatus:retrieve, POST /token",
    },
    "control": {
        "GET /_received": "accepted events; ?platform account event_name event_id order_id limit bodies",
        "GET /_counted": "what the platforms would have counted; ?platform summary=true",
        "GET /_requests": "totals and the last requests; ?platform unexpected=true limit",
        "POST /_pixel": "a simulated browser event, or {events: [...]}",
        "DELETE /_state": "forget everything but the faults; ?faults=true these, too",
        "GET, PUT /_clock": "{now: epoch seconds or null, offset_s: seconds}",
        "GET, DELETE /_faults": "all fault scripts",
        "GET, PUT /_google": "public keys, revoked credentials, scripted replies of token and status, delays",
        "GET, PUT, DELETE /_faults/{platform}": "{faults: [{kind, times, probability, match, ...options}]}",
    },
    "faults": {kind: sorted(options) for kind, options in KINDS.items()},
    "tokens": "any token is good, but one that begins with DEAD; Google's come from POST /token",
    "poison": "an order_id that begins with POISON-META, POISON-TIKTOK, ... is refused by that platform, "
    "by Meta an event_id with it as well; LATE-GOOGLE by Google afterwards",
}
_FILTERS = ("platform", "account", "event_name", "event_id", "order_id")
_PIXEL: dict[str, c.Check] = {
    "platform": c.one_of(*PLATFORM_NAMES),
    "account": c.text,
    "event_name": c.text,
    "event_id": c.nullable(c.text),
    "event_time": c.nullable(c.number),
    "order_id": c.nullable(c.text),
    "value": c.nullable(c.number_or_text),
    "currency": c.nullable(c.currency),
    "twins": c.strings,
}


class BadRequest(ValueError):
    """A control request that makes no sense; the message says why."""


def as_json(value: object, status: int = 200) -> Response:
    """A JSON response."""
    return Response(orjson.dumps(value), status, media_type="application/json")


def _platform(name: str) -> str:
    if name not in PLATFORM_NAMES:
        raise BadRequest("platform must be one of " + ", ".join(PLATFORM_NAMES))
    return name


def _limit(query: Mapping[str, str], default: int) -> int:
    given = query.get("limit", str(default))
    if not given.isdecimal():
        raise BadRequest("limit must be a number")
    return int(given)


def _flag(query: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    given = query.get(name, "true" if default else "false")
    if given not in ("true", "false"):
        raise BadRequest(f"{name} must be true or false")
    return given == "true"


def _known(query: Mapping[str, str], *names: str) -> None:
    extra = query.keys() - set(names)
    if extra:
        raise BadRequest(f"unknown parameter {min(extra)}")


async def _body(request: Request) -> Any:
    try:
        return orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        raise BadRequest("the body must be JSON") from None


def _shown(taken: Taken, copies: int, *, bodies: bool) -> dict[str, Any]:
    copy = taken.copy
    shown: dict[str, Any] = {
        "platform": taken.platform,
        "account": copy.account,
        "event_name": copy.event_name,
        "event_id": copy.event_id,
        "order_id": copy.order_id,
        "event_time": taken.event_time_s,
        "value": None if copy.value is None else money_text(copy.value),
        "currency": copy.currency,
        "test": copy.test is not None,
        "test_code": copy.test,
        "at": taken.at,
        "trace_id": taken.trace,
        "accepted_copies": copies,
        "unknown_keys": taken.unknown,
    }
    if bodies:
        shown["event"] = orjson.Fragment(taken.body)
    return shown


def _received(state: State, query: Mapping[str, str]) -> dict[str, Any]:
    _known(query, *_FILTERS, "limit", "bodies")
    wanted = {key: query[key] for key in _FILTERS if key in query}
    if "platform" in wanted:
        _platform(wanted["platform"])
    limit, bodies = _limit(query, 1000), _flag(query, "bodies", default=True)
    found = state.find(wanted)
    same = Counter(_same(taken) for taken in found)
    shown = [_shown(taken, same[_same(taken)], bodies=bodies) for taken in (found[-limit:] if limit else [])]
    return {"events": shown, "matched": len(found), "total": state.received, "dropped": state.dropped}


def _same(taken: Taken) -> tuple[object, ...]:
    copy = taken.copy
    if copy.event_id is None:
        return (taken.platform, copy.account, copy.event_name, id(taken))
    return (taken.platform, copy.account, copy.event_name, copy.event_id)


def _counted(state: State, query: Mapping[str, str]) -> dict[str, Any]:
    _known(query, "platform", "summary")
    names = (_platform(query["platform"]),) if "platform" in query else PLATFORM_NAMES
    summary = _flag(query, "summary")
    return {"platforms": {name: state.counted(name, summary=summary) for name in names}}


def _requests(state: State, query: Mapping[str, str]) -> dict[str, Any]:
    _known(query, "platform", "unexpected", "limit")
    limit, unexpected = _limit(query, 1000), _flag(query, "unexpected")
    platform = query.get("platform")
    rows = [
        row
        for row in state.requests
        if (platform is None or (row["platform"] or "other") == platform) and (row["unexpected"] or not unexpected)
    ]
    return {"totals": state.totals(), "requests": rows[-limit:] if limit else []}


def _pixel(state: State, body: Any) -> dict[str, Any]:
    several = type(body) is dict and "events" in body
    events = body["events"] if several else [body]
    if type(events) is not list:
        raise BadRequest("events must be a list")
    copies = [_pixel_copy(event) for event in events]
    at = state.clock.read()
    counted = [state.tallies[event["platform"]].add(copy, at) for event, copy in zip(events, copies, strict=True)]
    return {"counted": counted if several else counted[0]}


def _pixel_copy(event: Any) -> Copy:
    if type(event) is not dict:
        raise BadRequest("a pixel event must be an object")
    unknown: list[str] = []
    names = ("platform", "account", "event_name")
    problem = c.missing(names, event) or c.fields(_PIXEL, event, "", unknown)
    if problem is not None:
        raise BadRequest(f"{problem.where} {problem.what}")
    if unknown:
        raise BadRequest(f"unknown key {unknown[0]}")
    return Copy(
        event["account"],
        event["event_name"],
        event.get("event_id"),
        "pixel",
        event.get("order_id"),
        c.amount(event.get("value")),
        (event.get("currency") or "").upper() or None,
        twins=tuple(event.get("twins", ())),
    )


def _set_clock(state: State, body: Any) -> None:
    if type(body) is not dict or body.keys() - {"now", "offset_s"}:
        raise BadRequest('expected {"now": epoch seconds or null, "offset_s": seconds}')
    now, offset_s = body.get("now"), body.get("offset_s", 0)
    if (now is not None and c.number(now)) or c.number(offset_s):
        raise BadRequest("now and offset_s must be numbers")
    state.clock.now_s, state.clock.offset_s = now, offset_s


def _script(state: State, name: str) -> dict[str, Any]:
    return {"platform": name, "faults": [fault.as_json() for fault in state.scripts[name].faults]}


def _all_scripts(state: State) -> dict[str, Any]:
    return {"platforms": {name: _script(state, name)["faults"] for name in PLATFORM_NAMES}}


def _clear_scripts(state: State, names: tuple[str, ...]) -> None:
    for name in names:
        state.scripts[name] = Script()


def routes(state: State) -> list[Route]:
    """The control routes over one state."""

    async def index(request: Request) -> Response:
        return as_json(INDEX)

    async def received(request: Request) -> Response:
        return as_json(_received(state, request.query_params))

    async def counted(request: Request) -> Response:
        return as_json(_counted(state, request.query_params))

    async def requests(request: Request) -> Response:
        return as_json(_requests(state, request.query_params))

    async def pixel(request: Request) -> Response:
        return as_json(_pixel(state, await _body(request)))

    async def clear(request: Request) -> Response:
        _known(request.query_params, "faults")
        if _flag(request.query_params, "faults"):
            _clear_scripts(state, PLATFORM_NAMES)
        state.reset()
        return as_json({"cleared": True})

    async def clock(request: Request) -> Response:
        if request.method == "PUT":
            _set_clock(state, await _body(request))
        shown = {"now": state.clock.now_s, "offset_s": state.clock.offset_s, "effective": state.clock.read()}
        return as_json(shown)

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            _clear_scripts(state, PLATFORM_NAMES)
        return as_json(_all_scripts(state))

    async def script(request: Request) -> Response:
        name = _platform(request.path_params["platform"])
        if request.method == "PUT":
            state.scripts[name] = parse_script(await _body(request))
        elif request.method == "DELETE":
            _clear_scripts(state, (name,))
        return as_json(_script(state, name))

    table: list[tuple[str, Callable[[Request], Any], list[str]]] = [
        ("/", index, ["GET"]),
        ("/_received", received, ["GET"]),
        ("/_counted", counted, ["GET"]),
        ("/_requests", requests, ["GET"]),
        ("/_pixel", pixel, ["POST"]),
        ("/_state", clear, ["DELETE"]),
        ("/_clock", clock, ["GET", "PUT"]),
        ("/_faults", faults, ["GET", "DELETE"]),
        ("/_faults/{platform}", script, ["GET", "PUT", "DELETE"]),
    ]
    return [Route(path, endpoint, methods=methods) for path, endpoint, methods in table]


async def bad_request(request: Request, exc: Exception) -> Response:
    """The 400 answer to a control request that makes no sense."""
    return as_json({"error": str(exc)}, 400)


HANDLERS = {BadRequest: bad_request, BadScript: bad_request}
