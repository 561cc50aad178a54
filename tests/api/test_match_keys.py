"""The match-key audit over HTTP, counted by the very events that are posted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.support import ADMIN, POSTER, WEB, Service, bearer, good, open_service, unused_url
from tests.api.test_contexts import CONTEXT, webhook
from tests.outbox.support import DAY

pytestmark = pytest.mark.anyio


async def audited(service: Service, query: str = "", key: str | None = None) -> Any:
    """The rows of the audit by event name and destination."""
    headers = {} if key is None else bearer(key)
    answer = await service.client.get(f"/v1/audit/match-keys{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    return {(row["event_name"], row["destination"]): row for row in answer.json()["rows"]}


async def test_posted_events_are_counted_and_what_contexts_gave(service: Service) -> None:
    await service.client.put("/v1/contexts/ORD-CTX-1", json=CONTEXT)
    await service.post({"events": [webhook("CTX-1"), good(2), good(3, event_name="My Own"), {"event_name": "Lead"}]})
    await service.post(good(2))  # a duplicate is no event more
    rows = await audited(service)
    row = rows["Purchase", "meta"]
    assert row["events"] == 2
    keys = {each["key"]: each for each in row["keys"]}
    assert (keys["em"]["today"], keys["em"]["from_contexts"], keys["em"]["weight"]) == (1.0, 0.0, "strong")
    assert (keys["fbp"]["today"], keys["fbp"]["from_contexts"]) == (0.5, 0.5)
    assert (keys["fbc"]["today"], keys["fbc"]["from_contexts"]) == (0.5, 0.5)  # from the page's URL
    assert (keys["client_ip_address"]["today"], keys["client_ip_address"]["from_contexts"]) == (1.0, 0.5)
    assert keys["em"]["last_seen"] == "2026-11-20T12:00:00+00:00"
    assert row["costliest"][:2] == ["fn+ln", "ph"]
    assert "ph 0 %" in row["words"]
    assert "The contexts of the orders added" in row["words"]
    assert rows["custom", "meta"]["events"] == 1


async def test_days_follow_each_other(service: Service) -> None:
    await service.post(good(1, user={"email": "someone@shop-customer.example"}))
    service.clock.advance(DAY)
    await service.post(good(2, event_time=service.clock.now().timestamp()))
    row = (await audited(service, "?days=2&event_name=Purchase&destination=meta"))["Purchase", "meta"]
    (ip,) = [each for each in row["keys"] if each["key"] == "client_ip_address"]
    assert [(day["day"], day["events"], day["present"]) for day in ip["days"]] == [
        ("2026-11-21", 1, 1),
        ("2026-11-20", 1, 0),
    ]
    assert (ip["today"], ip["yesterday"], ip["week_ago"], ip["week_mean"]) == (1.0, 0.0, None, 0.0)


async def test_a_key_sees_its_own_source_and_filters_are_checked(service: Service) -> None:
    await service.post(good(1))
    assert set(await audited(service, "?destination=meta")) == {("Purchase", "meta")}
    assert await audited(service, "?event_name=Lead") == {}
    assert await audited(service, key=WEB) == {}
    assert await audited(service, "?source=shop", key=ADMIN) != {}
    assert (await service.client.get("/v1/audit/match-keys?source=web")).status_code == 403
    assert (await service.client.get("/v1/audit/match-keys", headers=bearer(POSTER))).status_code == 403
    for query in ("?day=3", "?days=0", "?days=36", "?days=x"):
        refused = await service.client.get(f"/v1/audit/match-keys{query}")
        assert refused.status_code == 400, query
        assert refused.json()["errors"][0]["pointer"] == "/" + query[1:].partition("=")[0]


async def test_counts_are_added_at_the_end(tmp_path: Any, clock: Any) -> None:
    async with open_service(tmp_path, unused_url(), clock) as service:
        await service.post(good(1))
    async with open_service(tmp_path, unused_url(), clock) as again:
        assert (await audited(again))["Purchase", "meta"]["events"] == 1


async def test_a_custom_name_like_a_standard_one_is_told_to_the_caller_and_listed(service: Service) -> None:
    answer = await service.post({"events": [good(1, event_name="Order_Complete"), good(2, event_name="LeadScore")]})
    hints = [
        [warning["detail"] for warning in result["warnings"] if warning["code"] == "event_name_custom"]
        for result in answer.json()["results"]
    ]
    assert [len(each) for each in hints] == [1, 1]
    assert "did you mean Purchase?" in hints[0][0]
    assert "did you mean" not in hints[1][0]
    told = (await service.client.get("/v1/audit/match-keys")).json()
    (name,) = told["custom_names"]
    assert name == {
        "source": "shop",
        "event_name": "Order_Complete",
        "use": "Purchase",
        "events": 1,
        "last_seen": "2026-11-20T12:00:00+00:00",
    }
