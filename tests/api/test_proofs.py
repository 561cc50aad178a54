"""The proof of consent decisions over HTTP: beside the event, and as lines of JSON."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from app.runtime import PROOF_KEY
from tests.api.support import ADMIN, ALLOWED, OTHER, POSTER, READER, Service, bearer, fresh, good

pytestmark = pytest.mark.anyio

TCF = "CQsIOsAQsIOsAEsAHBENAsFgAPLAAELAAAYgF5wAQF5gXnABAXmAAAAA.IF5wAQF5gAAA"


async def lines(service: Service, key: str | None = None, **params: str) -> list[dict[str, Any]]:
    """The proofs exported, one a line."""
    headers = bearer(key) if key else {}
    answer = await service.client.get("/v1/audit/consent", params=params, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_an_event_tells_what_its_consent_was_decided_by(service: Service) -> None:
    consent = {"jurisdiction": "DE", "tcf": TCF, "collected_at": "2026-11-20T11:00:00Z", **ALLOWED}
    await service.post(good(consent=consent))
    state = await service.state("purchase_ORD-1")
    (proof,) = state["consent"]
    key = await service.runtime.store.keep_secret(PROOF_KEY, bytes)
    assert proof == {
        "event_id": "purchase_ORD-1",
        "event_name": "Purchase",
        "source": "shop",
        "decided_at": "2026-11-20T12:00:00Z",
        "policy": service.runtime.policies["shop"].consent_version,
        "regime": "opt_in",
        "place": "DE",
        "collected_at": "2026-11-20T11:00:00Z",
        "signals": {"consent_mode": "valid", "tcf": "valid"},
        "facts": {
            "consent_mode": ["yes", "yes", "yes"],
            "tcf": {
                "cmp_id": 300,
                "cmp_version": 7,
                "vendor_list_version": 44,
                "policy_version": 5,
                "last_updated": "2026-10-15T00:00:00Z",
                "purposes": [1, 2, 3, 4, 7, 9, 10],
                "vendors_consented": [],
                "vendors_disclosed": [],
            },
        },
        "digests": {"tcf": "hmac-sha256:" + hmac.new(key, TCF.encode(), hashlib.sha256).hexdigest()},
        "destinations": {
            name: {"outcome": "queued", "limited": False, "reason": None, "code": "CM_GRANTED"}
            for name in ("meta", "tiktok", "pinterest", "snapchat")
        },
    }
    assert TCF not in json.dumps(state)
    assert TCF.encode() not in service.kept_bytes()


async def test_a_denied_event_is_proven_too(service: Service) -> None:
    await service.post(good(consent={"tcf": TCF}))
    (proof,) = await lines(service)
    assert proof["regime"] == "unknown"
    assert proof["destinations"]["meta"] == {
        "outcome": "denied",
        "limited": False,
        "reason": "consent_vendor_missing",
        "code": "TCF_NO_VENDOR_BASIS",
    }


async def test_the_export_covers_a_time_and_a_source(service: Service) -> None:
    await service.post({"events": [fresh() for _ in range(20)]})
    await service.post(good("other"), headers={**bearer(OTHER), "content-type": "application/json"})
    assert len(await lines(service)) == 20
    assert len(await lines(service, since="2026-11-20T12:00:00Z", until="2026-11-20T12:00:01Z")) == 20
    assert await lines(service, until="2026-11-20T12:00:00Z") == []
    assert await lines(service, since="1795176001") == []
    assert [each["source"] for each in await lines(service, OTHER)] == ["other"]
    assert len(await lines(service, ADMIN, source="*")) == 21
    assert len(await lines(service, ADMIN, source="other")) == 1


async def test_more_than_a_page_is_exported_each_once(service: Service) -> None:
    for _ in range(3):
        await service.post({"events": [fresh(destinations=["meta"]) for _ in range(400)]})
    exported = await lines(service)
    assert len({each["event_id"] for each in exported}) == len(exported) == 1200


@pytest.mark.parametrize(
    ("key", "params", "status"),
    [
        (READER, {}, 200),
        (POSTER, {}, 403),
        (READER, {"source": "other"}, 403),
        (READER, {"source": "*"}, 403),
        (READER, {"since": "yesterday"}, 400),
        (READER, {"until": "jane@example.com"}, 400),
    ],
)
async def test_who_may_export_and_what_is_no_instant(
    service: Service, key: str, params: dict[str, str], status: int
) -> None:
    answer = await service.client.get("/v1/audit/consent", params=params, headers=bearer(key))
    assert answer.status_code == status
    assert "jane" not in answer.text
