"""Speaks HTTP to a running gateway, for the verbs that ask one."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

import httpx
import typer

from app.cli.output import UNUSABLE, fail, printable

DEFAULT_URL = "http://127.0.0.1:8000"
PATIENCE = 5
"""How often a busy gateway is asked again."""

PATIENCE_READING = 1
"""The same for a question: nothing is lost by giving up, and whoever asked sits before the screen."""

PATIENCE_AWAY_S = 60.0
"""How long a gateway that does not answer at all is asked again, by a verb that asks a busy one for longer."""

BUSY = frozenset({429, 503})
MAX_WAIT_S = 30.0
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

Url = Annotated[str, typer.Option(envvar="CONVEY_URL", help="Origin of the gateway.", metavar="URL")]
Key = Annotated[
    str | None,
    typer.Option(
        envvar="CONVEY_KEY",
        help="API key. Better set as a variable: the command line is open to others.",
        show_envvar=True,
        metavar="KEY",
    ),
]


class GatewayError(Exception):
    """The gateway could not be asked, or said no; the message is fit for a person. `status` is that of its answer."""

    def __init__(self, words: str, status: int | None = None) -> None:
        super().__init__(words)
        self.status = status

    @property
    def is_refusal(self) -> bool:
        """Whether the gateway will say no to the same request again."""
        return self.status is not None and 400 <= self.status < 500 and self.status not in BUSY


class Gateway:
    """One gateway, asked with one key. Use it as a context manager."""

    def __init__(
        self,
        url: str,
        key: str | None,
        pause: Callable[[float], None] | None = None,
        *,
        persist_s: float = 0.0,
        away_s: float = PATIENCE_AWAY_S,
        timeout_s: float = 60.0,
    ) -> None:
        """`persist_s` is how long a gateway that is busy is asked again, and one that is away, up to `away_s`.

        0: a few times, and only when busy.
        `timeout_s` is how long one answer may take.
        """
        if key is None or not key.strip():
            fail("an API key is needed: set CONVEY_KEY, or give --key", UNUSABLE)
        if not key.isascii() or not key.strip().isprintable():
            fail("the API key holds characters no key has", UNUSABLE)
        origin = _origin(url)
        self._where = f"{origin.scheme}://{origin.netloc.decode()}"
        self._pause = pause or time.sleep
        self.persist_s = persist_s
        self._away_s = away_s
        self.date: str | None = None
        """The Date header of the last answer."""
        self.on_wait: Callable[[str], None] = lambda _why: None
        self._client = httpx.Client(
            base_url=origin,
            headers={"authorization": f"Bearer {key.strip()}"},
            timeout=httpx.Timeout(timeout_s, connect=5.0),
            trust_env=origin.host not in _LOOPBACK,  # a proxy has no way to this machine's own loopback
        )

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def ask(
        self, method: str, path: str, *, body: bytes | None = None, takes: frozenset[int], reads: bool = False
    ) -> dict[str, Any]:
        """The JSON object answered to one request with a status in `takes`; a busy gateway is asked again.

        Whatever has to wait says so on stderr at once. A GET, or whatever else only `reads`, waits less.

        Raises: GatewayError.
        """
        headers = {} if body is None else {"content-type": "application/json"}
        waited_s = away_s = 0.0
        is_question = method == "GET" or reads
        patience = PATIENCE_READING if is_question else PATIENCE
        for attempt in itertools.count():
            failure, reply = None, None
            asked_at = time.monotonic()
            try:
                reply = self._client.request(method, path, content=body, headers=headers)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                failure = GatewayError(f"no gateway answers at {self._where}: is `convey serve` running there?")
            except httpx.HTTPError as error:
                failure = GatewayError(f"the request to {self._where} failed: {type(error).__name__}")
            if reply is not None and (reply.status_code not in BUSY or reply.status_code in takes):
                break
            longest_s = self.persist_s if failure is None else min(self.persist_s, self._away_s)
            away_s = 0.0 if failure is None else away_s + time.monotonic() - asked_at
            spent_s = waited_s if failure is None else away_s
            is_over = spent_s >= longest_s if self.persist_s else failure is not None or attempt == patience
            if is_over:
                if failure is not None:
                    tried = f"; it was asked again for {away_s:.0f} s" if attempt else ""
                    raise GatewayError(f"{failure}{tried}") from None
                break
            wait_s = _wait(reply, attempt)
            if failure is not None:
                away_s += wait_s
            why = str(failure) if reply is None else _refusal(reply, is_question=is_question)
            self.on_wait(why)
            once = "asking once more" if is_question and not self.persist_s else "trying again"
            bound = "" if failure is None else f", for about {longest_s:.0f} s in all"
            typer.echo(f"convey: {why}; {once} in {max(wait_s, 1):.0f} s{bound}", err=True)
            self._pause(wait_s)
            waited_s += wait_s
        assert reply is not None
        self.date = reply.headers.get("date")
        if reply.status_code not in takes:
            raise GatewayError(_refusal(reply, is_question=is_question), reply.status_code)
        answer = _object(reply)
        if answer is None:
            raise GatewayError(f"{self._where} did not answer as a Convey gateway does")
        return answer


def asked(url: str, key: str | None, path: str, **query: object) -> dict[str, Any]:
    """The gateway's answer to a question, with the query parameters that are not None.

    Raises: typer.Exit, once it was said why there is none.
    """
    words = urlencode({name: value for name, value in query.items() if value is not None})
    try:
        with Gateway(url, key) as gateway:
            return gateway.ask("GET", f"{path}?{words}" if words else path, takes=frozenset({200}))
    except GatewayError as error:
        fail(str(error))


def _origin(url: str) -> httpx.URL:
    try:
        port = urlsplit(url).port  # httpx takes a port that does not exist
        origin = httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        origin, port = httpx.URL(), None
    if origin.scheme not in {"http", "https"} or not origin.host or port == 0:
        fail(f"--url is not a URL such as {DEFAULT_URL}", UNUSABLE)
    return origin


def _wait(reply: httpx.Response | None, attempt: int) -> float:
    asked = "" if reply is None else reply.headers.get("retry-after", "")
    seconds = float(asked) if asked.isdecimal() and len(asked) < 8 else 2.0 ** min(attempt, 10)
    return min(max(seconds, 0.1), MAX_WAIT_S)


def _object(reply: httpx.Response) -> dict[str, Any] | None:
    try:
        answer = reply.json()
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _words(answer: dict[str, Any]) -> str:
    """What a problem body says: its detail, or the errors it refers to."""
    errors = answer.get("errors")
    if isinstance(errors, list) and errors and all(isinstance(error, dict) for error in errors):
        return "; ".join(f"{str(error.get('pointer', '')).lstrip('/')}: {error.get('detail')}" for error in errors[:5])
    return str(answer.get("detail") or answer.get("title") or "")


def _refusal(reply: httpx.Response, *, is_question: bool) -> str:
    answer = _object(reply) or {}
    words = printable(_words(answer))[:500]
    hint = {
        401: "the gateway does not know this key",
        403: "this key may not do that",
        404: "the gateway does not know this call",
        405: "the gateway does not know this call",
        503: "the gateway's store does not answer right now"
        if is_question
        else "the gateway cannot keep events right now; nothing of this request was kept",
    }.get(reply.status_code, "the gateway refused")
    return f"{hint} (HTTP {reply.status_code})" + (f": {words}" if words else "")
