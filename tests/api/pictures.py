"""An application over the sandbox with the endpoints of pictures, in the test's own process."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groxy.api.errors import ErrorBoundary
from groxy.api.files import StoredMedia
from groxy.api.images import ImagesEndpoint
from groxy.api.media_chat import Forms, MediaChat
from groxy.api.text import call_of, identify, read_asked
from groxy.app import Application
from groxy.cli.http_server import server_of
from groxy.core.media import VideoRequest
from groxy.dialects._base import Dialect
from groxy.dialects.chat import DIALECT as CHAT
from groxy.dialects.responses import DIALECT as RESPONSES
from groxy.gateway.films import Film, FilmProgress
from groxy.gateway.making import Maker
from groxy.gateway.means import Call
from groxy.gateway.references import References
from groxy.gateway.results import Results
from groxy.media.fetch import Fetcher
from groxy.media.links import Links
from groxy.media.shelf import Shelf, ShelfLimits
from groxy.store.entries import RequestEntry, last_requests
from groxy.wire.asgi import AsgiApp, AsgiClient, Receive, Scope, Send, read_body
from tests.inprocess import Answer, application, ask
from tests.servers import free_port

MIB = 1024 * 1024
MODEL = "grok-imagine-image"


class Camera:
    """A filmer that plays what a test gives it."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.asked: list[VideoRequest] = []
        self.script: list[int | Exception | float | asyncio.Event] = []
        """Percents; what is raised; seconds to wait as floats; what is waited for."""
        self.is_closed = self.was_left = False

    async def film(
        self, call: Call, request: VideoRequest, *, has_left: Callable[[], bool]
    ) -> AsyncGenerator[FilmProgress | Film]:
        self.asked.append(request)
        try:
            for step in self.script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, asyncio.Event):
                    await asyncio.wait_for(step.wait(), 10)
                else:
                    yield FilmProgress(percent=step)
            content = b"\0\0\0\x18ftypmp42"
            owner = call.caller.key_id
            stored = await self.shelf.put("video", content, content_type="video/mp4", owner=owner)
            yield Film(stored=stored, duration_s=6.0, cost_ticks=30)
        finally:
            self.is_closed = True
            self.was_left = has_left()


@dataclass
class Studio:
    """The application, and the parts that pictures need."""

    app: Application
    shelf: Shelf
    links: Links
    camera: Camera
    chat: MediaChat
    asgi: AsgiApp
    forms: Forms

    async def post(self, path: str, body: object, **more: Any) -> Answer:
        return await ask(self.asgi, "POST", path, body=body, **more)

    async def draw(self, prompt: str = "a cat", **fields: Any) -> Answer:
        """Ask for pictures."""
        return await self.post(
            "/v1/images/generations", {"model": MODEL, "prompt": prompt} | fields
        )

    async def entry(self) -> RequestEntry:
        """The newest request in the books."""
        return (await last_requests(self.app.database, 1))[0]


@asynccontextmanager
async def studio(folder: Path, **flags: object) -> AsyncIterator[Studio]:
    """Run it with its data in `folder`."""
    async with application(folder, **flags) as app:
        most: Any = {"image": 0, "video": 0, "file": 0}
        each: Any = {"image": 30 * MIB, "video": 30 * MIB, "file": 30 * MIB}
        limits = ShelfLimits(max_total_bytes=most, max_bytes=each)
        shelf = Shelf("", folder, app.database, limits)
        links = Links("", app.secret, 0)
        fetcher = Fetcher()
        maker = Maker(app.gateway, Results(shelf, fetcher, max_image_bytes=2 * MIB))
        references = References(shelf, links, fetcher, max_image_bytes=2 * MIB)
        camera = Camera(shelf)
        made: list[Studio] = []
        chat = MediaChat(
            maker, references, links, app.catalog, lambda: made[0].forms, filmer=camera
        )

        def images(*, is_edit: bool) -> ImagesEndpoint:
            return ImagesEndpoint(
                maker,
                references,
                links,
                app.loader.callers,
                is_edit=is_edit,
                max_body_bytes=32 * MIB,
            )

        asgi = _routed(
            {
                "/v1/images/generations": images(is_edit=False),
                "/v1/images/edits": images(is_edit=True),
                "/v1/files/image": StoredMedia(shelf, links).image,
                "/v1/chat/completions": _handed_over(app, chat, CHAT),
                "/v1/responses": _handed_over(app, chat, RESPONSES),
            },
            app.asgi,
        )
        made.append(Studio(app, shelf, links, camera, chat, asgi, Forms()))
        yield made[0]


def _routed(routes: Mapping[str, AsgiApp], others: AsgiApp) -> AsgiApp:
    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = routes.get(scope["path"]) if scope["type"] == "http" else None
        wrapped = ErrorBoundary(endpoint) if endpoint else others
        await wrapped(scope, receive, send)

    return route


def _handed_over(app: Application, chat: MediaChat, dialect: Dialect) -> AsgiApp:
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        caller = identify(app.loader.callers, scope)
        body = await read_body(scope, receive, limit=32 * MIB)
        asked = read_asked(dialect, body)
        call = call_of(scope, dialect, caller, body, asked)
        if asked is None:
            await app.gateway.answer(call, AsgiClient(receive, send))
            return
        capability = chat.is_media(asked.model)
        assert capability is not None
        await chat.answer(capability, call, scope, receive, send)

    return endpoint


@asynccontextmanager
async def served(asgi: AsgiApp) -> AsyncIterator[str]:
    """Serve an application on loopback, as `groxy serve` does; yield its address."""
    port = free_port()
    server = server_of(asgi, "127.0.0.1", port)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.run_here())
        await _until_open(port)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.stop()
            await serving


async def _until_open(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return
