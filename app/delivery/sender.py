"""The one place that calls platforms over HTTP. What comes back is always a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from app.errors import Reason
from app.model import HttpCall, HttpReply, NoReply

MAX_REPLY_BYTES = 8 * 1024 * 1024


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

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=50, keepalive_expiry=30)
        if transport is None:
            # Plain http goes to loopback only (base_url allows nothing else): never through a proxy.
            plain = httpx.AsyncHTTPTransport(limits=limits)
            self._client = httpx.AsyncClient(limits=limits, mounts={"http://": plain})
        else:
            self._client = httpx.AsyncClient(transport=transport)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(self, call: HttpCall, timeout_s: float, progress: Progress) -> HttpReply | NoReply:
        """The platform's answer, or how the attempt ended without one.

        Redirects are not followed: a conversion goes to the documented address or nowhere. A cancelled send passes
        the cancellation on; `progress` then tells whether anything had left.
        """
        headers = {"content-type": "application/json", **call.headers, **call.secret_headers}
        request = self._client.build_request(
            call.method,
            call.url,
            params=dict(call.secret_params) or None,
            content=call.body,
            headers=headers,
            timeout=timeout_s,
            extensions={"trace": progress.trace},
        )
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
        return HttpReply(response.status_code, dict(response.headers), bytes(body))
