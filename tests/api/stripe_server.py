"""A stand-in for Stripe's API on this machine, and its signatures."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

SECRET_KEY = "sk_test_of_the_stand_in"
SIGNING = "whsec_of_the_stand_in"


@dataclass
class FakeStripe:
    """What it was asked, and what it answers; `failures` statuses come first."""

    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    keys: list[tuple[str, str]] = field(default_factory=list)
    """Authorization and idempotency key of each request."""
    failures: list[int] = field(default_factory=list)

    def answer(self, form: dict[str, str], keys: tuple[str, str]) -> tuple[int, dict[str, Any]]:
        self.keys.append(keys)
        if self.failures:
            error = {"type": "api_error", "message": f"no, {keys[0]}"}
            return self.failures.pop(0), {"error": error}
        self.asked.append(form)
        name = f"cs_test_{len(self.asked)}"
        return 200, {
            "id": name,
            "object": "checkout.session",
            "url": f"https://checkout.example/{name}",
        }


@contextmanager
def fake_stripe() -> Iterator[FakeStripe]:
    """Run it."""
    stripe = FakeStripe()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            keys = (self.headers["authorization"], self.headers["idempotency-key"])
            status, told = stripe.answer(form | {"path": self.path}, keys)
            content = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stripe.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield stripe
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def event(kind: str, content: dict[str, Any], name: str) -> bytes:
    """Return a message as Stripe writes it."""
    told = {"id": name, "object": "event", "type": kind, "data": {"object": content}}
    return json.dumps(told).encode()


def signed(body: bytes, secret: str = SIGNING, at_s: int | None = None) -> str:
    """Return the header with which Stripe signs a message (docs.stripe.com/webhooks, 2026)."""
    at_s = int(time.time()) if at_s is None else at_s
    digest = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"
