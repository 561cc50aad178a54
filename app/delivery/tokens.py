"""OAuth access tokens for the sender: fetched once for all who ask, renewed before they end.

The two grants are google-auth's: a service account's signed assertion and a user's refresh token, both in the JSON
that Google's own tools write. The library is synchronous, so it runs in threads of this module; a token endpoint that
hangs holds up nobody else. What comes back is a value: the token, or why there is none.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import google.auth.exceptions
import google.auth.transport
import httpx
from google.oauth2 import credentials as user_account
from google.oauth2 import service_account

from app.errors import Reason
from app.model import NoReply, TokenFor

EARLY = timedelta(minutes=5)
"""How long before its end a token is renewed, while the old one is still used."""
UNSTATED_LIFE = timedelta(minutes=10)
"""How long a token is used whose answer does not say when it ends."""
CALL_TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 1 << 20
MAX_CREDENTIALS = 64
_CODE = re.compile(r"[A-Za-z_]{1,60}")


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and the instant it ends."""

    text: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Token(expires_at={self.expires_at!r})"


@dataclass(slots=True)
class _Held:
    """What is known of one credential: its token, and the fetch that is under way."""

    token: Token | None = None
    fetch: asyncio.Task[Token | NoReply] | None = None


class TokenSource:
    """The tokens of every credential in use. A replaced secret is another credential, and gets its own token."""

    def __init__(
        self,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """`options` go to the HTTP client: `app.delivery.outbound` makes them."""
        self._now = now
        self._held: OrderedDict[TokenFor, _Held] = OrderedDict()
        plain = httpx.HTTPTransport()  # plain http goes to loopback only: never through a proxy
        self._client = httpx.Client(timeout=CALL_TIMEOUT_S, mounts={"http://": plain}, **(options or {}))
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="convey-token")

    async def get(self, auth: TokenFor) -> Token | NoReply:
        """A token that holds for now, or why there is none: CREDENTIALS when the credential itself is refused.

        Callers at the same time share one fetch. A cancelled caller does not cancel it.
        """
        held = self._held.setdefault(auth, _Held())
        self._held.move_to_end(auth)
        while len(self._held) > MAX_CREDENTIALS:
            self._held.popitem(last=False)
        now = self._now()
        token = held.token
        if token is not None and now < token.expires_at - EARLY:
            return token
        if held.fetch is None:
            held.fetch = asyncio.create_task(self._fetch(auth, held), name="token")
        if token is not None and now < token.expires_at - EARLY / 5:
            return token
        return await asyncio.shield(held.fetch)

    def refuse(self, auth: TokenFor, token: Token) -> None:
        """The platform refused `token`: the next caller gets another one."""
        held = self._held.get(auth)
        if held is not None and held.token == token:
            held.token = None

    async def close(self) -> None:
        """Stop. A fetch that still runs ends with its own timeout, and nobody waits for it."""
        fetches = [held.fetch for held in self._held.values() if held.fetch is not None]
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    async def _fetch(self, auth: TokenFor, held: _Held) -> Token | NoReply:
        try:
            loop = asyncio.get_running_loop()
            fetched = await loop.run_in_executor(self._threads, _fetch, auth, _Exchange(self._client), self._now)
            if isinstance(fetched, Token):
                held.token = fetched
            return fetched
        finally:
            held.fetch = None


def _fetch(auth: TokenFor, exchange: _Exchange, now: Callable[[], datetime]) -> Token | NoReply:
    """One fetch, from start to end, in a thread. No text of an exception is kept: it may quote the credential."""
    try:
        credential = _credential(auth)
    except Exception as error:
        return NoReply(Reason.CREDENTIALS, False, f"the credential cannot be used: {type(error).__name__}")
    try:
        credential.refresh(exchange)
    except google.auth.exceptions.TransportError:
        return NoReply(Reason.NETWORK, False, "the token endpoint cannot be reached")
    except google.auth.exceptions.RefreshError as error:
        return _refusal(error, exchange.status)
    except Exception as error:
        return NoReply(
            Reason.PLATFORM_ERROR, False, f"the token endpoint's answer is not usable: {type(error).__name__}"
        )
    if not isinstance(credential.token, str) or not credential.token.isascii() or not credential.token.isprintable():
        return NoReply(Reason.PLATFORM_ERROR, False, "the token endpoint gave no token")
    expires_at = now() + UNSTATED_LIFE if credential.expiry is None else credential.expiry.replace(tzinfo=UTC)
    return Token(credential.token, expires_at)


def _credential(auth: TokenFor) -> Any:
    info = json.loads(auth.credential)
    if info["type"] == "service_account":
        return service_account.Credentials.from_service_account_info(info, scopes=[auth.scope])  # type: ignore[no-untyped-call]
    return user_account.Credentials(  # type: ignore[no-untyped-call]
        None,
        refresh_token=info["refresh_token"],
        token_uri=info["token_uri"],
        client_id=info["client_id"],
        client_secret=info["client_secret"],
        scopes=[auth.scope],
    )


def _refusal(error: google.auth.exceptions.RefreshError, status: int | None) -> NoReply:
    """What a token endpoint's no means. An error code of OAuth's own is about the credential, all else an outage.

    Source: RFC 6749, 5.2 (a 400 or 401 with `error`); Google answers `invalid_grant` for a revoked token, a deleted
    account, and a clock that is wrong.
    """
    answer = error.args[1] if len(error.args) > 1 else None
    code = answer.get("error") if isinstance(answer, Mapping) else None
    if status == 429:
        return NoReply(Reason.RATE_LIMITED, False, "the token endpoint asks for patience: HTTP 429")
    if error.retryable or not isinstance(code, str) or not _CODE.fullmatch(code) or (status or 0) >= 500:
        return NoReply(Reason.PLATFORM_ERROR, False, f"the token endpoint failed: HTTP {status}")
    return NoReply(Reason.CREDENTIALS, False, f"the token endpoint refuses the credential: {code}")


@dataclass(frozen=True, slots=True)
class _Answer:
    """What google-auth wants to know of an answer."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class _Exchange(google.auth.transport.Request):
    """google-auth's way to the network, over httpx. `status` is that of the last answer."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self.status: int | None = None

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> _Answer:
        """The answer to one request; redirects are not followed."""
        try:
            with self._client.stream(method, url, content=body, headers=headers) as response:
                data = bytearray()
                for chunk in response.iter_bytes():
                    data += chunk
                    if len(data) > MAX_ANSWER_BYTES:
                        break
        except (httpx.HTTPError, httpx.InvalidURL):
            raise google.auth.exceptions.TransportError("no answer") from None  # type: ignore[no-untyped-call]
        self.status = response.status_code
        return _Answer(response.status_code, response.headers, bytes(data))
