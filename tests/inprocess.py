"""A whole application in the test's own process: requests go in as ASGI, without a socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from groxy.app import Application, running
from groxy.settings import load_settings

KEY = "sk-in-process"
ADMIN_KEY = "adm-in-process"


@dataclass
class Answer:
    """A response as it was sent."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["error"]
        return found


@asynccontextmanager
async def application(folder: Path, **flags: object) -> AsyncIterator[Application]:
    """Run an application whose data is in `folder`; `flags` are settings with __ for dots."""
    given: dict[str, object] = {
        "app.api_key": KEY,
        "app.app_key": ADMIN_KEY,
        "logging.level": "error",
    }
    for name, value in flags.items():
        given[name.replace("__", ".")] = value
    loaded = load_settings(data_dir=folder, flags=given, environ={"HOME": str(folder)})
    async with running(loaded) as app:
        yield app


async def nothing_happens() -> None:
    """Return at once."""


async def ask(
    app: Any,
    method: str,
    path: str,
    *,
    body: bytes | object = b"",
    key: str | None = KEY,
    headers: Mapping[str, str] | None = None,
    query: str = "",
    meanwhile: Callable[[], Awaitable[object]] = nothing_happens,
) -> Answer:
    """Send one request and return the whole response.

    The body comes only after what happens `meanwhile`.
    """
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"host": "testserver", "content-length": str(len(content)), **(headers or {})}
    if key is not None:
        sent["authorization"] = f"Bearer {key}"
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }
    answer = Answer()
    bodies = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not bodies:
            await asyncio.Event().wait()  # this client never leaves
        await meanwhile()
        return bodies.pop()

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message["body"]

    await app(scope, receive, send)
    return answer
