"""Access tokens: fetched once for many, renewed early, and a dead credential told from an outage."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import respx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from app.delivery import tokens
from app.delivery.sender import Progress, Sender
from app.delivery.tokens import EARLY, Token, TokenSource
from app.errors import Reason
from app.model import HttpCall, HttpReply, NoReply, TokenFor

pytestmark = pytest.mark.anyio

TOKEN_URL = "https://token.example/token"
API = "https://platform.example/v1/events"
SCOPE = "https://platform.example/auth/events"
REFRESH = "1//refresh-do-not-show"
ACCESS = "ya29.access-do-not-show"

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
PUBLIC = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
SERVICE_ACCOUNT = {
    "type": "service_account",
    "client_email": "convey@project.example",
    "private_key": PEM,
    "private_key_id": "key-1",
    "token_uri": TOKEN_URL,
}
USER = {
    "type": "authorized_user",
    "client_id": "client-1",
    "client_secret": "secret-do-not-show",
    "refresh_token": REFRESH,
    "token_uri": TOKEN_URL,
}


def auth(info: dict[str, Any] | None = None) -> TokenFor:
    return TokenFor(json.dumps(info or USER), SCOPE)


def grant(token: str = ACCESS, seconds: int = 3600) -> httpx.Response:
    return httpx.Response(200, json={"access_token": token, "expires_in": seconds, "token_type": "Bearer"})


@pytest.fixture
def web() -> Iterator[respx.MockRouter]:
    """The web: nobody else can be reached."""
    with respx.mock(assert_all_called=False) as router:
        yield router


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """google-auth tries an outage three times, with seconds between."""
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda _seconds: None)


@pytest.fixture
async def source() -> AsyncIterator[TokenSource]:
    made = TokenSource()
    yield made
    await made.close()


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    made = Sender()
    yield made
    await made.close()


async def test_a_service_account_signs_for_its_token(source: TokenSource, web: respx.MockRouter) -> None:
    route = web.post(TOKEN_URL).mock(return_value=grant())
    token = await source.get(auth(SERVICE_ACCOUNT))
    assert isinstance(token, Token)
    assert token.text == ACCESS
    assert token.expires_at > datetime.now(UTC) + timedelta(minutes=55)
    form = parse_qs(route.calls.last.request.content.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    claims = jwt.decode(form["assertion"][0], certs=PUBLIC, audience="https://oauth2.googleapis.com/token")
    assert (claims["iss"], claims["scope"]) == ("convey@project.example", SCOPE)


async def test_a_refresh_token_is_traded_for_a_token(source: TokenSource, web: respx.MockRouter) -> None:
    route = web.post(TOKEN_URL).mock(return_value=grant())
    token = await source.get(auth())
    assert isinstance(token, Token)
    form = parse_qs(route.calls.last.request.content.decode())
    assert form["grant_type"] == ["refresh_token"]
    assert form["refresh_token"] == [REFRESH]
    assert form["client_id"] == ["client-1"]


async def test_many_who_ask_share_one_fetch(source: TokenSource, web: respx.MockRouter) -> None:
    route = web.post(TOKEN_URL).mock(return_value=grant())
    got = await asyncio.gather(*(source.get(auth()) for _ in range(50)))
    assert len({token.text for token in got if isinstance(token, Token)}) == 1
    assert route.call_count == 1
    await source.get(auth())
    assert route.call_count == 1
    await source.get(auth({**USER, "refresh_token": "1//another"}))
    assert route.call_count == 2


async def test_a_cancelled_caller_takes_nobodys_token_away(source: TokenSource, web: respx.MockRouter) -> None:
    web.post(TOKEN_URL).mock(return_value=grant())
    first, second = (asyncio.create_task(source.get(auth())) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert isinstance(await second, Token)


async def test_a_token_is_renewed_while_the_old_one_is_used(web: respx.MockRouter) -> None:
    ahead = timedelta(0)
    source = TokenSource(lambda: datetime.now(UTC) + ahead)
    route = web.post(TOKEN_URL).mock(
        side_effect=[grant("old"), httpx.Response(503), httpx.Response(503), *[httpx.Response(503)], grant("new")]
    )
    token = await source.get(auth())
    assert isinstance(token, Token)
    ahead = token.expires_at - datetime.now(UTC) - EARLY / 2
    assert (await source.get(auth())) == token  # at once, and the renewal fails behind it
    held = source._held[auth()]
    assert held.fetch is not None
    assert isinstance(await held.fetch, NoReply)
    assert route.call_count == 4
    assert (await source.get(auth())) == token
    assert held.fetch is not None
    await held.fetch
    renewed = await source.get(auth())
    assert isinstance(renewed, Token)
    assert renewed.text == "new"
    await source.close()


async def test_a_token_past_its_end_is_not_used(web: respx.MockRouter) -> None:
    ahead = timedelta(0)
    source = TokenSource(lambda: datetime.now(UTC) + ahead)
    web.post(TOKEN_URL).mock(side_effect=[grant("old"), httpx.Response(400, json={"error": "invalid_grant"})])
    await source.get(auth())
    ahead = timedelta(hours=1)
    refused = await source.get(auth())
    assert isinstance(refused, NoReply)
    assert refused.reason is Reason.CREDENTIALS
    await source.close()


DEAD = {
    "revoked": httpx.Response(400, json={"error": "invalid_grant", "error_description": f"Bad {REFRESH}"}),
    "wrong client": httpx.Response(401, json={"error": "invalid_client"}),
    "wrong scope": httpx.Response(400, json={"error": "invalid_scope"}),
    "unknown code": httpx.Response(403, json={"error": "org_internal"}),
}
OUTAGE: dict[str, tuple[httpx.Response | Exception, Reason]] = {
    "500": (httpx.Response(500, text="oops"), Reason.PLATFORM_ERROR),
    "a proxy's page": (httpx.Response(403, html="<h1>no</h1>"), Reason.PLATFORM_ERROR),
    "503 with a code": (httpx.Response(503, json={"error": "invalid_grant"}), Reason.PLATFORM_ERROR),
    "server_error": (httpx.Response(400, json={"error": "server_error"}), Reason.PLATFORM_ERROR),
    "429": (httpx.Response(429, json={"error": "rate_limit_exceeded"}), Reason.RATE_LIMITED),
    "a redirect": (httpx.Response(302, headers={"location": "https://elsewhere.example"}), Reason.PLATFORM_ERROR),
    "no token": (httpx.Response(200, json={"expires_in": 3599}), Reason.PLATFORM_ERROR),
    "no JSON": (httpx.Response(200, html="<h1>hello</h1>"), Reason.PLATFORM_ERROR),
    "odd token": (httpx.Response(200, json={"access_token": 7}), Reason.PLATFORM_ERROR),
    "odd life": (httpx.Response(200, json={"access_token": "x", "expires_in": "soon"}), Reason.PLATFORM_ERROR),
    "nobody": (httpx.ConnectError("refused"), Reason.NETWORK),
    "silence": (httpx.ReadTimeout("silence"), Reason.NETWORK),
}


@pytest.mark.parametrize("case", DEAD)
async def test_a_dead_credential_is_told_as_such(source: TokenSource, web: respx.MockRouter, case: str) -> None:
    web.post(TOKEN_URL).mock(return_value=DEAD[case])
    refused = await source.get(auth())
    assert isinstance(refused, NoReply)
    assert (refused.reason, refused.is_ambiguous) == (Reason.CREDENTIALS, False)
    assert REFRESH not in repr(refused)


@pytest.mark.parametrize("case", OUTAGE)
async def test_an_outage_of_the_token_endpoint_parks_nothing(
    source: TokenSource, web: respx.MockRouter, case: str
) -> None:
    answer, reason = OUTAGE[case]
    if isinstance(answer, Exception):
        web.post(TOKEN_URL).mock(side_effect=answer)
    else:
        web.post(TOKEN_URL).mock(return_value=answer)
    refused = await source.get(auth())
    assert isinstance(refused, NoReply)
    assert (refused.reason, refused.is_ambiguous) == (reason, False)
    web.post(TOKEN_URL).mock(return_value=grant())
    assert isinstance(await source.get(auth()), Token)


@pytest.mark.parametrize("info", [{**SERVICE_ACCOUNT, "private_key": "no key"}, {"type": "authorized_user"}])
async def test_a_credential_that_is_none_is_dead(source: TokenSource, info: dict[str, Any]) -> None:
    refused = await source.get(auth(info))
    assert isinstance(refused, NoReply)
    assert refused.reason is Reason.CREDENTIALS
    assert "no key" not in repr(refused)


async def test_a_token_without_a_stated_end_is_used_for_a_while(source: TokenSource, web: respx.MockRouter) -> None:
    web.post(TOKEN_URL).mock(return_value=httpx.Response(200, json={"access_token": ACCESS}))
    token = await source.get(auth())
    assert isinstance(token, Token)
    assert timedelta(0) < token.expires_at - datetime.now(UTC) <= tokens.UNSTATED_LIFE


async def test_the_credentials_in_memory_are_bounded(source: TokenSource, web: respx.MockRouter) -> None:
    web.post(TOKEN_URL).mock(side_effect=lambda _request: grant())
    for number in range(tokens.MAX_CREDENTIALS + 5):
        await source.get(auth({**USER, "refresh_token": f"1//{number}"}))
    assert len(source._held) == tokens.MAX_CREDENTIALS


def test_nothing_shows_the_secrets() -> None:
    token = Token(ACCESS, datetime.now(UTC))
    call = HttpCall(url=API, body=b"", deliveries=(), auth=auth(SERVICE_ACCOUNT))
    for text in (repr(token), repr(call), repr(call.auth)):
        assert ACCESS not in text
        assert "PRIVATE KEY" not in text


def call() -> HttpCall:
    return HttpCall(url=API, body=b"{}", deliveries=(), auth=auth())


async def test_the_sender_shows_the_token_and_hides_it(sender: Sender, web: respx.MockRouter) -> None:
    web.post(TOKEN_URL).mock(return_value=grant())
    route = web.post(API).mock(return_value=httpx.Response(200, json={"echo": ACCESS}))
    reply = await sender.send(call(), 1, Progress())
    assert isinstance(reply, HttpReply)
    assert route.calls.last.request.headers["authorization"] == f"Bearer {ACCESS}"
    assert ACCESS.encode() not in reply.body


async def test_a_refused_token_is_replaced_once(sender: Sender, web: respx.MockRouter) -> None:
    granted = web.post(TOKEN_URL).mock(side_effect=[grant("first"), grant("second"), grant("third")])
    platform = web.post(API).mock(side_effect=[httpx.Response(401), httpx.Response(200)])
    reply = await sender.send(call(), 1, Progress())
    assert isinstance(reply, HttpReply)
    assert reply.status == 200
    assert [one.request.headers["authorization"] for one in platform.calls] == ["Bearer first", "Bearer second"]
    platform.mock(return_value=httpx.Response(401))
    reply = await sender.send(call(), 1, Progress())
    assert isinstance(reply, HttpReply)
    assert (reply.status, granted.call_count, platform.call_count) == (401, 3, 4)


async def test_without_a_token_nothing_is_sent(
    sender: Sender, web: respx.MockRouter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    web.post(TOKEN_URL).mock(return_value=DEAD["revoked"])
    platform = web.post(API).mock(return_value=httpx.Response(200))
    progress = Progress()
    reply = await sender.send(call(), 1, progress)
    assert isinstance(reply, NoReply)
    assert reply.reason is Reason.CREDENTIALS
    assert not progress.has_left
    assert not platform.called
    for secret in (REFRESH, "secret-do-not-show", ACCESS):
        assert secret not in caplog.text
