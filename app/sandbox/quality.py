"""What Meta and Pinterest say of the events they got: the Dataset Quality API, and the event quality score.

Sources (read 2026-11): developers.facebook.com/docs/marketing-api/conversions-api/dataset-quality-api;
developers.pinterest.com/docs/track-conversions/get-event-quality-score and the models of Pinterest's generated client
2.1. The figures are those of the events this sandbox holds. How the platforms weigh identifiers is not known: the score
and the status here are the sandbox's own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.sandbox.base import bearer
from app.sandbox.state import State

META_KEYS = {  # names of identifiers as an answer has them: the page's example, the rest by its pattern
    "em": "email",
    "ph": "phone",
    "external_id": "external_id",
    "client_ip_address": "ip_address",
    "client_user_agent": "user_agent",
    "fbc": "fbc",
    "fbp": "fbp",
    "fn": "first_name",
    "ln": "last_name",
    "ct": "city",
    "st": "state",
    "zp": "zip_code",
    "country": "country",
    "db": "date_of_birth",
    "ge": "gender",
}
META_STRONG = ("email", "phone", "external_id", "ip_address", "fbc", "fbp")
META_GOAL = 75  # documented
PINTEREST_KEYS = {  # components by where they stand in an event
    "advertiser_external_id": ("user_data", "external_id"),
    "click_id_epik": ("user_data", "click_id"),
    "external_event_id": ("event_id",),
    "hashed_email": ("user_data", "em"),
    "hashed_maid": ("user_data", "hashed_maids"),
    "ip_address": ("user_data", "client_ip_address"),
    "order_id": ("custom_data", "order_id"),
    "order_value": ("custom_data", "value"),
    "source_url": ("event_source_url",),
    "user_agent": ("user_data", "client_user_agent"),
}
LOOKBACKS = ("1d", "14d")  # documented


def routes(state: State) -> list[Route]:
    """Both questions, at the platforms' own paths."""

    async def dataset_quality(request: Request) -> Response:
        token = bearer(request.headers) or request.query_params.get("access_token")
        if not token or token.upper().startswith("DEAD"):
            error = {"message": "Invalid OAuth access token.", "type": "OAuthException", "code": 190}
            return JSONResponse({"error": error}, 401 if token is None else 400)
        dataset, fields = request.query_params.get("dataset_id"), request.query_params.get("fields", "")
        if not dataset or not fields.startswith("web{"):
            error = {"message": "(#100) Missing parameter", "type": "OAuthException", "code": 100}
            return JSONResponse({"error": error}, 400)
        return JSONResponse({"web": dataset_rows(state, dataset)})

    async def conversion_eqs(request: Request) -> Response:
        token = bearer(request.headers)
        if not token or token.upper().startswith("DEAD"):
            return JSONResponse({"code": 2, "message": "Authentication failed."}, 401)
        if request.query_params.get("lookback_period") not in LOOKBACKS:
            return JSONResponse({"code": 1, "message": "lookback_period is required"}, 400)
        account = request.path_params["account"]
        return JSONResponse(account_rows(state, account, request.query_params["lookback_period"]))

    return [
        Route("/{version}/dataset_quality", dataset_quality, methods=["GET"]),
        Route("/{version}/ad_accounts/{account}/conversion_eqs", conversion_eqs, methods=["GET"]),
    ]


def dataset_rows(state: State, dataset: str) -> list[dict[str, Any]]:
    """Meta's row for each event name of one dataset's web events."""
    rows = []
    for name, events in _events(state, "meta", dataset, lambda event: event.get("action_source") == "website").items():
        users = [event.get("user_data", {}) for event in events]
        coverage = {word: _percentage(bool(user.get(key)) for user in users) for key, word in META_KEYS.items()}
        browser, paired = _sides(state, "meta", dataset, name)
        rows.append(
            {
                "event_name": name,
                "event_match_quality": {
                    "composite_score": round(sum(coverage[word] for word in META_STRONG) / len(META_STRONG) / 10, 1),
                    "match_key_feedback": [
                        {"identifier": word, "coverage": {"percentage": figure}} for word, figure in coverage.items()
                    ],
                },
                "event_coverage": {
                    "percentage": round(100 * len(events) / browser, 1) if browser else 0,
                    "goal_percentage": META_GOAL,
                },
                "dedupe_key_feedback": [
                    {
                        "dedupe_key": "event_id",
                        "overall_browser_coverage_from_dedupe_key": {
                            "percentage": round(100 * paired / browser, 1) if browser else 0
                        },
                    }
                ],
            }
        )
    return rows


def account_rows(state: State, account: str, lookback: str) -> list[dict[str, Any]]:
    """Pinterest's row for one ad account's web events; none where it got none."""
    by_name = _events(state, "pinterest", account, lambda event: event.get("action_source") == "web")
    if not by_name:
        return []
    components: dict[str, dict[str, Any]] = {}
    for component, path in PINTEREST_KEYS.items():
        components[component] = {
            name: {"coverage": _percentage(_has(event, path) for event in events), "overlap": None, "issues": []}
            for name, events in by_name.items()
        }
    for name in by_name:
        browser, paired = _sides(state, "pinterest", account, name)
        if browser:
            components["external_event_id"][name]["overlap"] = round(100 * paired / browser, 1)
    figures = [details["coverage"] for details in components["hashed_email"].values()]
    status = "GOOD" if min(figures) >= 80 else "FAIR" if min(figures) >= 40 else "NEEDS_IMPROVEMENT"
    return [
        {
            "source_platform": "WEB",
            "ingestion_source": "CONVERSIONS_API",
            "lookback_period": lookback,
            "overall_status": status,
            "quality_components": components,
        }
    ]


def _events(
    state: State, platform: str, account: str, is_meant: Callable[[Mapping[str, Any]], bool]
) -> Mapping[str, list[dict[str, Any]]]:
    """The kept server events by name, as they came."""
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for taken in state.find({"platform": platform, "account": account}):
        event = orjson.loads(taken.body)
        if is_meant(event):
            found[taken.copy.event_name].append(event)
    return found


def _sides(state: State, platform: str, account: str, name: str) -> tuple[int, int]:
    """How many conversions the browser reported, and how many of those the server as well."""
    sides = Counter(
        ("pixel" in conversion.sources, "server" in conversion.sources)
        for conversion in state.tallies[platform].conversions
        if (conversion.account, conversion.event_name) == (account, name)
    )
    return sides[True, True] + sides[True, False], sides[True, True]


def _has(event: Mapping[str, Any], path: Iterable[str]) -> bool:
    value: Any = event
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return bool(value)


def _percentage(present: Iterable[bool]) -> float:
    flags = list(present)
    return round(100 * sum(flags) / len(flags), 1)
