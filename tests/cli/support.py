from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Answer = tuple[int, dict[str, str], bytes]
KEY = "ck_" + "k" * 43


class Gateway:
    """A gateway that answers from a script, or with `answer` once the script is over, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.script: list[Answer] = []
        self.answer: Callable[[Any], Answer] = accepted
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                read = json.loads(body) if body else None
                headers = {name.lower(): value for name, value in self.headers.items()}
                gateway.asked.append((self.command, self.path, headers, read))
                status, extra, answer = gateway.script.pop(0) if gateway.script else gateway.answer(read)
                self.send_response(status)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_DELETE = do_POST

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def accepted(read: Any) -> Answer:
    results = [
        {
            "index": index,
            "event_id": f"purchase_{event.get('transaction_id', index)}",
            "status": "accepted",
            "destinations": {
                "meta": {"outcome": "queued", "limited": False},
                "tiktok": {"outcome": "denied", "reason": "consent_purpose_missing", "reason_detail": "MAP_DENIED"},
            },
            "warnings": [],
            "errors": [],
        }
        for index, event in enumerate(read["events"])
    ]
    return 202, {}, json.dumps({"results": results}).encode()
