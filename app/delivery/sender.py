"""The one place that calls platforms over HTTP. What comes back is always a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from app import __version__
from app.delivery.outbound import Outbound
from app.delivery.tokens import Token, TokenSource
from app.errors import Reason
from app.model import HttpCall, HttpReply, NoReply

MAX_REPLY_BYTES = 8 * 1024 * 1024
SHORTEST_SECRET = 6
"""A shorter token would mask parts of ordinary words."""

MASK = "********"


@dataclass(slots=True)
class Progress:
    """How far one attempt has come. `has_left` says that bytes of the body may have reached the platform."""

    has_left: bool = False

    async def trace(self, event: str, _info: dict[str, Any]) -> None:
        """Follow the transport (httpcore's trace extension)."""
        if event.endswith("send_request_body.started"):
            self.has_left = True


class Sender:
    """Sends calls over one pool of connections. Close it when done."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport | None = None,
        outbound: Outbound | None = None,
        token_expires: Callable[[str, datetime], None] = lambda _destination, _expires_at: None,
    ) -> None:
        """`outbound` is the way out, as the environment says when absent.

        `token_expires` is told, per destination, when the access token in use ends.
        """
        options = (outbound or Outbound()).client_options()
        self._tokens = TokenSource(options=options)
        self._token_expires = token_expires
        # Each lane bounds its own requests. A bound on all of them would let a platform that hangs stop the others.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=200, keepalive_expiry=30)
        if transport is None:
            # Plain http goes to loopback only (base_url allows nothing else): never through a proxy.
            plain = httpx.AsyncHTTPTransport(limits=limits)
            self._client = httpx.AsyncClient(limits=limits, mounts={"http://": plain}, cookies=_no_cookies(), **options)
        else:
            self._client = httpx.AsyncClient(transport=transport, cookies=_no_cookies())

    async def close(self) -> None:
        """Close the connections."""
        await self._tokens.close()
        await self._client.aclose()

    async def send(self, call: HttpCall, timeout_s: float, progress: Progress) -> HttpReply | NoReply:
        """The platform's answer, or how the attempt ended without one.

        Redirects are not followed: a conversion goes to the documented address or nowhere. A cancelled send passes
        the cancellation on; `progress` then tells whether anything had left. A call that needs an access token gets
        one first, and another one if the platform refuses it (once: the next 401 is the answer).
        """
        if call.auth is None:
            return await self._send(call, timeout_s, progress)
        token = await self._tokens.get(call.auth)
        reply = await self._send_with(token, call, timeout_s, progress)
        if isinstance(token, Token) and isinstance(reply, HttpReply) and reply.status == 401:
            self._tokens.refuse(call.auth, token)
            progress.has_left = False
            reply = await self._send_with(await self._tokens.get(call.auth), call, timeout_s, progress)
        return reply

    async def _send_with(
        self, token: Token | NoReply, call: HttpCall, timeout_s: float, progress: Progress
    ) -> HttpReply | NoReply:
        if isinstance(token, NoReply):
            return token
        if call.deliveries:
            self._token_expires(call.deliveries[0].destination, token.expires_at)
        headers = {**call.secret_headers, "authorization": f"Bearer {token.text}"}
        return await self._send(replace(call, secret_headers=headers), timeout_s, progress)

    async def _send(self, call: HttpCall, timeout_s: float, progress: Progress) -> HttpReply | NoReply:
        headers = {
            "content-type": "application/json",
            "user-agent": f"convey/{__version__}",
            "accept-encoding": "identity",  # an answer is small; one that unpacks to hundreds of megabytes is no answer
            **call.headers,
            **call.secret_headers,
        }
        try:
            request = self._client.build_request(
                call.method,
                httpx.URL(call.url).copy_merge_params(dict(call.secret_params)),
                content=call.body,
                headers=headers,
                timeout=timeout_s,
                extensions={"trace": progress.trace},
            )
        except (httpx.InvalidURL, UnicodeError) as error:
            return NoReply(Reason.NETWORK, False, f"this is no request: {type(error).__name__}")
        try:
            response = await self._client.send(request, stream=True)
            try:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_REPLY_BYTES:
                        return NoReply(Reason.PLATFORM_ERROR, True, "the answer is larger than 8 MiB")
            finally:
                await response.aclose()
        except (httpx.ConnectTimeout, httpx.PoolTimeout):
            return NoReply(Reason.TIMEOUT, False, "no connection in time")
        except httpx.TimeoutException:
            return NoReply(Reason.TIMEOUT, progress.has_left, "no answer in time")
        except (httpx.ConnectError, httpx.UnsupportedProtocol, httpx.ProxyError):
            return NoReply(Reason.NETWORK, False, "no connection")
        except httpx.HTTPError as error:
            # The class alone: the text of these errors may hold the URL, and with it a token.
            return NoReply(Reason.NETWORK, progress.has_left, type(error).__name__)
        return _without_secrets(HttpReply(response.status_code, dict(response.headers), bytes(body)), call)


def _no_cookies() -> CookieJar:
    """A jar that keeps nothing: one account's session is no business of the next request."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


def _without_secrets(reply: HttpReply, call: HttpCall) -> HttpReply:
    """The reply with our own secrets masked: platforms quote a token they refuse, and their words are kept."""
    secrets = [
        secret
        for value in (*call.secret_headers.values(), *call.secret_params.values())
        if len(secret := value.removeprefix("Bearer ")) >= SHORTEST_SECRET
    ]
    headers, body = dict(reply.headers), reply.body
    for secret in secrets:
        if secret.encode() in body:
            body = body.replace(secret.encode(), MASK.encode())
        headers = {name: value.replace(secret, MASK) for name, value in headers.items()}
    return HttpReply(reply.status, headers, body)
