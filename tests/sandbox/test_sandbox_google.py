"""Google: tokens, one valid event, every rule broken once, adjustments, quota, and what became of a request later."""

from __future__ import annotations

import copy
import json
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

pytestmark = pytest.mark.anyio

NOW = 1_795_180_000  # 2026-11-20T13:06:40Z
HASH = "a" * 64
DROP = "<drop>"
DESTINATION = {
    "reference": "buy",
    "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "1234567890"},
    "productDestinationId": "987",
}
EVENT: dict[str, Any] = {
    "destinationReferences": ["buy"],
    "transactionId": "70015",
    "eventTimestamp": "2026-11-20T13:05:00Z",
    "eventSource": "WEB",
    "currency": "EUR",
    "conversionValue": 42.5,
    "adIdentifiers": {"gclid": "Sample_Gclid"},
    "userData": {"userIdentifiers": [{"emailAddress": HASH}, {"phoneNumber": HASH}]},
    "consent": {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_DENIED"},
    "cartData": {"merchantId": "1", "items": [{"merchantProductId": "S", "quantity": "2", "unitPrice": 3}]},
}
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WHO = "convey@shop.example"
SCOPE = "https://www.googleapis.com/auth/datamanager"
AUDIENCE = "https://oauth2.googleapis.com/token"


def pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def assertion(key: rsa.RSAPrivateKey = KEY, **over: Any) -> str:
    claims = {"iss": WHO, "scope": SCOPE, "aud": AUDIENCE, "iat": NOW, "exp": NOW + 3600, **over}
    signed: bytes = jwt.encode(crypt.RSASigner.from_string(pem(key)), claims)
    return signed.decode()


def event(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    made = copy.deepcopy(EVENT)
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        part = made
        for name in parents:
            part = part.setdefault(name, {})
        if value == DROP:
            part.pop(last, None)
        else:
            part[last] = value
    return made


async def token(lab: Any, **form: str) -> httpx.Response:
    given = form or {"grant_type": "refresh_token", "refresh_token": "1//r", "client_id": "c", "client_secret": "s"}
    return await lab.client.post("/token", data=given)  # type: ignore[no-any-return]


async def ingest(lab: Any, events: list[Any], **root: Any) -> httpx.Response:
    bearer = root.pop("bearer", None) or (await token(lab)).json()["access_token"]
    body = {"destinations": [DESTINATION], "events": events, "encoding": "HEX", **root}
    return await lab.client.post(  # type: ignore[no-any-return]
        "/v1/events:ingest", headers={"authorization": f"Bearer {bearer}"}, json=body
    )


async def status(lab: Any, request_id: str) -> httpx.Response:
    bearer = (await token(lab)).json()["access_token"]
    return await lab.client.get(  # type: ignore[no-any-return]
        "/v1/requestStatus:retrieve",
        params={"requestId": request_id},
        headers={"authorization": f"Bearer {bearer}"},
    )


async def test_a_valid_event_is_accepted_with_an_id(lab: Any) -> None:
    reply = await ingest(lab, [event()])
    assert reply.status_code == 200
    assert set(reply.json()) == {"requestId"}
    (received,) = (await lab.get("/_received", platform="google"))["events"]
    assert (received["account"], received["order_id"], received["value"]) == ("987", "70015", "42.50")


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a key nobody knows": ({"eventName": "Purchase"}, "event_name", "INVALID_FORMAT"),
    "no instant": ({"eventTimestamp": DROP}, "event_timestamp", "REQUIRED_FIELD_MISSING"),
    "seconds": ({"eventTimestamp": "1795180000"}, "event_timestamp", "EVENT_TIME_INVALID"),
    "the future": ({"eventTimestamp": "2026-11-20T14:05:00Z"}, "event_timestamp", "EVENT_TIME_INVALID"),
    "no source": ({"eventSource": DROP}, "event_source", "REQUIRED_FIELD_MISSING"),
    "another source": ({"eventSource": "website"}, "event_source", "INVALID_FORMAT"),
    "value as text": ({"conversionValue": "42.5"}, "conversion_value", "INVALID_FORMAT"),
    "value without currency": ({"currency": DROP}, "currency", "REQUIRED_FIELD_MISSING"),
    "small currency": ({"currency": "eur"}, "currency", "INVALID_CURRENCY_CODE"),
    "raw e-mail": ({"userData.userIdentifiers": [{"emailAddress": "a@b.c"}]}, "user_data", "INVALID_SHA256_FORMAT"),
    "two in one": (
        {"userData.userIdentifiers": [{"emailAddress": HASH, "phoneNumber": HASH}]},
        "user_data",
        "INVALID_FORMAT",
    ),
    "half an address": (
        {"userData.userIdentifiers": [{"address": {"givenName": HASH}}]},
        "user_data",
        "REQUIRED_FIELD_MISSING",
    ),
    "eleven": ({"userData.userIdentifiers": [{"emailAddress": HASH}] * 11}, "user_data", "TOO_MANY_USER_IDENTIFIERS"),
    "nobody": ({"userData": DROP, "adIdentifiers": DROP}, "user_data", "NO_IDENTIFIERS_PROVIDED"),
    "both braids": ({"adIdentifiers": {"gbraid": "b", "wbraid": "w"}}, "ad_identifiers", "INVALID_FORMAT"),
    "quantity as number": ({"cartData.items": [{"quantity": 2}]}, "cart_data", "INVALID_FORMAT"),
    "an unknown destination": ({"destinationReferences": ["x"]}, "destination_references", "INVALID_FORMAT"),
    "poison": ({"transactionId": "POISON-GOOGLE-1"}, "transaction_id", "INVALID_FORMAT"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_one_bad_event_refuses_all_and_is_named(lab: Any, case: str) -> None:
    changes, field, reason = REFUSED[case]
    reply = await ingest(lab, [event(), event(changes), event()])
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert error["status"] == "INVALID_ARGUMENT"
    (violations,) = [detail["fieldViolations"] for detail in error["details"] if "fieldViolations" in detail]
    assert [(one["field"], one["reason"]) for one in violations] == [(f"events.events[1].{field}", reason)]
    assert (await lab.get("/_received", platform="google"))["total"] == 0


@pytest.mark.parametrize(
    "root",
    [
        {"events": []},
        {"events": [EVENT] * 2001},
        {"destinations": []},
        {"destinations": [DESTINATION] * 11},
        {"destinations": [DESTINATION] * 2},
        {"destinations": [{**DESTINATION, "product": "x"}]},
        {"destinations": [{"reference": "buy"}]},
        {"encoding": "BASE64"},
        {"validateOnly": "yes"},
        {"data": []},
    ],
)
async def test_a_bad_envelope_is_refused(lab: Any, root: dict[str, Any]) -> None:
    assert (await ingest(lab, root.pop("events", [event()]), **root)).status_code == 400


async def test_validate_only_counts_nothing(lab: Any) -> None:
    reply = await ingest(lab, [event()], validateOnly=True)
    assert reply.status_code == 200
    assert (await lab.counted("google"))["events"] == 0
    assert (await status(lab, reply.json()["requestId"])).status_code == 404


async def test_a_second_arrival_adjusts(lab: Any) -> None:
    await ingest(lab, [event()])
    tag = {"platform": "google", "account": "987", "event_name": "x", "event_id": "70015", "value": 42.5}
    assert (await lab.client.post("/_pixel", json=tag)).json() == {"counted": False}
    await ingest(lab, [event({"conversionValue": 12.5})])
    counted = await lab.counted("google")
    assert (counted["events"], counted["money"]["EUR"]) == (1, "12.50")
    assert sorted(counted["conversions"][0]["sources"]) == ["pixel", "server"]
    await ingest(lab, [event({"transactionId": "70016"}), event({"eventSource": "IN_STORE"})])
    assert (await lab.counted("google"))["events"] == 3


async def test_tokens(lab: Any) -> None:
    for bearer in ("good", "ya29.sandbox-999999"):
        assert (await ingest(lab, [event()], bearer=bearer)).status_code == 401
    given = (await token(lab)).json()
    assert (given["token_type"], given["expires_in"]) == ("Bearer", 3599)
    assert (await ingest(lab, [event()], bearer=given["access_token"])).status_code == 200
    await lab.clock(3600)
    assert (await ingest(lab, [event()], bearer=given["access_token"])).status_code == 401


ASSERTIONS: dict[str, tuple[dict[str, Any], str | None]] = {
    "good": ({}, None),
    "another audience": ({"aud": "https://elsewhere.example"}, "invalid_grant"),
    "another scope": ({"scope": "https://www.googleapis.com/auth/adwords"}, "invalid_scope"),
    "ended": ({"iat": NOW - 7200, "exp": NOW - 3600}, "invalid_grant"),
    "too long": ({"exp": NOW + 7200}, "invalid_grant"),
    "another key": ({"key": OTHER}, "invalid_grant"),
    "a dead account": ({"iss": "dead@shop.example"}, "invalid_grant"),
}


@pytest.mark.parametrize("case", ASSERTIONS)
async def test_the_assertion_of_a_service_account(lab: Any, case: str) -> None:
    over, wrong = ASSERTIONS[case]
    public = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    await lab.client.put("/_google", json={"keys": {WHO: public.decode()}})
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    reply = await token(lab, grant_type=grant, assertion=assertion(**over))
    assert (reply.status_code, reply.json().get("error")) == (400 if wrong else 200, wrong)
    assert (await token(lab, grant_type=grant, assertion="x.y.z")).json()["error"] == "invalid_grant"
    assert (await token(lab, grant_type="password")).json()["error"] == "unsupported_grant_type"


async def test_a_revoked_credential_gets_no_token_and_its_token_dies(lab: Any) -> None:
    bearer = (await token(lab)).json()["access_token"]
    await lab.client.put("/_google", json={"revoked": ["1//r"]})
    assert (await token(lab)).json()["error"] == "invalid_grant"
    assert (await ingest(lab, [event()], bearer=bearer)).status_code == 401


async def test_three_hundred_requests_a_minute(lab: Any) -> None:
    bearer = (await token(lab)).json()["access_token"]
    for _ in range(300):
        assert (await ingest(lab, [event()], bearer=bearer)).status_code == 200
    reply = await ingest(lab, [event()], bearer=bearer)
    assert (reply.status_code, reply.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert "PerMinutePerProject" in json.dumps(reply.json())
    await lab.clock(60)
    assert (await ingest(lab, [event()], bearer=bearer)).status_code == 200


async def test_what_became_of_a_request(lab: Any) -> None:
    events = [event({"transactionId": name}) for name in ("A", "LATE-GOOGLE-1", "B", "LATE-DUPLICATE-GOOGLE-1")]
    request_id = (await ingest(lab, events)).json()["requestId"]
    await lab.client.put("/_google", json={"status_after_s": 60})
    (row,) = (await status(lab, request_id)).json()["requestStatusPerDestination"]
    assert row["requestStatus"] == "PROCESSING"
    await lab.clock(61)
    (row,) = (await status(lab, request_id)).json()["requestStatusPerDestination"]
    assert row["requestStatus"] == "PARTIAL_SUCCESS"
    assert row["destination"] == DESTINATION
    assert row["errorInfo"]["errorCounts"] == [
        {"reason": "PROCESSING_ERROR_REASON_INVALID_EVENT", "recordCount": "1", "recordIndices": ["1"]},
        {"reason": "PROCESSING_ERROR_REASON_DUPLICATE_TRANSACTION_ID", "recordCount": "1", "recordIndices": ["3"]},
    ]
    assert (await status(lab, "nobody")).status_code == 404
    await lab.client.put("/_google", json={"status_replies": [503], "token_replies": [500]})
    assert (await token(lab)).status_code == 500
    assert (await status(lab, request_id)).status_code == 503
    assert (await status(lab, request_id)).status_code == 200
    assert (await lab.client.put("/_google", json={"novelty": 1})).status_code == 400


async def test_scripted_faults_speak_googles_words(lab: Any) -> None:
    await lab.faults("google", {"kind": "dead_token", "times": 1}, {"kind": "429", "retry_after_s": 7}, {"kind": "500"})
    codes = []
    for _ in range(4):
        reply = await ingest(lab, [event()])
        codes.append(reply.json().get("error", {}).get("status"))
    assert codes == ["UNAUTHENTICATED", "RESOURCE_EXHAUSTED", "INTERNAL", None]
