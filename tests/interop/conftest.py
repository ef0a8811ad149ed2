"""A gateway for each upstream dialect: the real pipeline, over a sandbox that speaks it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from groxy.app import Application
from groxy.store.entries import AttemptEntry, RequestEntry, attempts_of, last_requests
from tests.inprocess import Answer, application, ask
from tests.interop.asking import PATHS
from tests.interop.reading import Read, read

UPSTREAMS = ("chat", "responses", "messages")
CALLERS = ("chat", "responses", "messages", "completions")


@dataclass
class Bridge:
    """A gateway whose one account speaks one dialect."""

    app: Application
    speaks: str

    async def send(self, dialect: str, body: dict[str, Any], *, stream: bool) -> Answer:
        """Ask in a dialect; return the reply as it came."""
        body = body | {"stream": stream}
        if stream and dialect in ("chat", "completions"):
            body["stream_options"] = {"include_usage": True}
        return await ask(self.app, "POST", PATHS[dialect], body=json.dumps(body).encode())

    async def ask(self, dialect: str, body: dict[str, Any], *, stream: bool) -> Read:
        """Ask in a dialect; return what its client reads."""
        answer = await self.send(dialect, body, stream=stream)
        is_stream = "text/event-stream" in answer.headers["content-type"]
        return read(dialect, answer.body, stream=is_stream)

    async def booked(self) -> tuple[RequestEntry, list[AttemptEntry]]:
        """Return the newest request in the books, and its attempts."""
        (request,) = await last_requests(self.app.database, 1)
        return request, await attempts_of(self.app.database, request.id)


@asynccontextmanager
async def bridge_to(folder: Path, speaks: str, **flags: object) -> AsyncIterator[Bridge]:
    """Run a gateway whose account speaks `speaks`."""
    account = {"name": "only", "upstream": "sandbox", "options": {"dialects": speaks}}
    async with application(folder, accounts=[account], **flags) as app:
        yield Bridge(app, speaks)


@pytest.fixture(params=UPSTREAMS)
async def bridge(request, tmp_path) -> AsyncIterator[Bridge]:
    """A gateway to each upstream dialect."""
    async with bridge_to(tmp_path, request.param) as found:
        yield found


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def stream(request) -> bool:
    """Both ways to be answered."""
    chosen: bool = request.param
    return chosen


async def until(check: Any, within_s: float = 5.0) -> Any:
    """Return the first true result of `check`, an async function."""
    async with asyncio.timeout(within_s):
        while not (found := await check()):
            await asyncio.sleep(0.01)
    return found
