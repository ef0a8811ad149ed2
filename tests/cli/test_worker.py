"""A worker: the application as an ASGI server's factory builds it, with the server's lifespan."""

import asyncio
import gc
from contextlib import asynccontextmanager
from typing import Any

import pytest

from groxy.cli import worker
from groxy.cli.worker import create_app
from groxy.core.errors import ErrorKind, GroxyError
from groxy.observe.metrics import MULTIPROCESS_VARIABLE
from tests.inprocess import KEY, ask


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A worker's application; its settings come from variables, as for any worker."""
    monkeypatch.chdir(tmp_path)
    for name in ("XAI_API_KEY", "OPENROUTER_API_KEY", "COMETAPI_KEY", MULTIPROCESS_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GROXY_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("GROXY_APP__API_KEY", KEY)
    monkeypatch.setenv("GROXY_LOGGING__LEVEL", "error")
    yield create_app()
    gc.unfreeze()
    gc.set_threshold(700, 10, 10)


class Server:
    """A server's side of the lifespan."""

    def __init__(self):
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def send(self, message):
        await self.answers.put(message)


@asynccontextmanager
async def living(app):
    server = Server()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(app({"type": "lifespan"}, server.events.get, server.send))
        await server.events.put({"type": "lifespan.startup"})
        assert (await server.answers.get())["type"] == "lifespan.startup.complete"
        yield
        await server.events.put({"type": "lifespan.shutdown"})
        assert (await server.answers.get())["type"] == "lifespan.shutdown.complete"


async def test_between_start_and_stop_it_serves(made):
    async with living(made):
        answer = await ask(made, "GET", "/v1/models")

    assert answer.status == 200


async def test_a_start_that_fails_is_told_to_the_server(made, monkeypatch):
    @asynccontextmanager
    async def failing(settings, *, is_multiprocess):
        if settings:
            raise GroxyError(ErrorKind.STORE_DOWN, "No database.")
        yield

    monkeypatch.setattr(worker, "running", failing)
    server = Server()
    await server.events.put({"type": "lifespan.startup"})

    await made({"type": "lifespan"}, server.events.get, server.send)

    told = server.answers.get_nowait()
    assert told == {"type": "lifespan.startup.failed", "message": "No database."}


@pytest.mark.parametrize("has_folder", [False, True])
async def test_metrics_are_shared_when_there_is_a_folder_for_them(made, monkeypatch, has_folder):
    seen = []

    @asynccontextmanager
    async def noting(settings, *, is_multiprocess):
        seen.append(is_multiprocess)
        yield None

    monkeypatch.setattr(worker, "running", noting)
    if has_folder:
        monkeypatch.setenv(MULTIPROCESS_VARIABLE, "/nowhere")
    async with living(made):
        pass

    assert seen == [has_folder]
