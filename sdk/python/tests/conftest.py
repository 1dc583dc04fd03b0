"""A real server on loopback that answers as it is told, request by request, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

KEY = "acme-secret-key-7d1c"
#: How long a request that is on its way may take to arrive.
PATIENCE_S = 20.0


@dataclass
class Asked:
    method: str
    url: str
    headers: dict[str, str]
    body: Any
    at: float

    def __str__(self) -> str:
        return f"{self.method} {self.url}" + (f" {json.dumps(self.body)}" if self.body is not None else "")


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


def enveloped(data: Any, **metadata: Any) -> Answer:
    return Answer(200, {"success": True, "data": data, "metadata": {"requestId": "r-1", **metadata}})


def refused(status: int, code: str, context: Any = None, headers: dict[str, str] | None = None) -> Answer:
    error = {"code": code, "message": f"{code} it is", "context": context}
    body = {"success": False, "error": error, "metadata": {"requestId": "r-2"}}
    return Answer(status, body, headers or {})


def limited(retry_after: int) -> Answer:
    """429 as the gateway words it."""
    headers = {"Retry-After": str(retry_after), "X-RateLimit-Limit": "5", "X-RateLimit-Remaining": "0"}
    body = {"success": False, "error": "Rate limit exceeded", "code": "RATE_LIMITED", "retryAfter": retry_after}
    return Answer(429, {**body, "message": "5 in 60 s"}, headers)


#: "hang" never answers, "trickle" never ends, "cut" breaks off.
Step = Answer | str | Callable[[Asked], Answer]


class Misbehaving:
    """Answers each request with the next of its steps, and all further ones with the last."""

    def __init__(self, *steps: Step) -> None:
        self.steps = steps
        self.requests: list[Asked] = []
        self.ended = threading.Event()
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                server.handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        text = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        body = json.loads(text) if text else None
        asked = Asked(handler.command, handler.path, headers, body, time.monotonic())
        with self._lock:
            step = self.steps[min(len(self.requests), len(self.steps) - 1)]
            self.requests.append(asked)
        if isinstance(step, str):
            self.misbehave(handler, step)
        else:
            self.answer(handler, step(asked) if callable(step) else step)

    def misbehave(self, handler: BaseHTTPRequestHandler, how: str) -> None:
        handler.close_connection = True
        if how == "hang":
            self.ended.wait(PATIENCE_S)
            return
        handler.send_response(200)
        handler.send_header("content-length", "100000")
        handler.end_headers()
        handler.wfile.write(b'{"success":')
        handler.wfile.flush()
        while how == "trickle" and not self.ended.wait(0.01):
            try:
                handler.wfile.write(b" ")
                handler.wfile.flush()
            except OSError:
                return

    @staticmethod
    def answer(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        body = (answer.body if isinstance(answer.body, str) else json.dumps(answer.body)).encode()
        handler.send_response(answer.status)
        for name, value in {"content-type": "application/json", **answer.headers}.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve():
    """Starts servers that end with the test."""
    servers: list[Misbehaving] = []

    def start(*steps: Step) -> Misbehaving:
        servers.append(Misbehaving(*steps))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine reaches a client."""
    for prefix in ("BULKHEAD", "CONNECTORS"):
        for name in ("BASE_URL", "API_KEY", "TENANT_ID", "ADMIN_KEY"):
            monkeypatch.delenv(f"{prefix}_{name}", raising=False)
    monkeypatch.delenv("ADMIN_API_KEY", raising=False)
