"""A film studio on loopback: an xAI-like server whose every step waits for the test's word.

It runs in a thread of its own. What is asked of it decides, by words in the prompt, where a film
stops until `go_on` is called: `hold-order`, `hold-film`, `hold-content`; `fails`, `refused` and
`expires` say how it ends, `busy` that the account is at its limit.
"""

import asyncio
import json
import threading
from collections import Counter
from typing import Any, Self

from aiohttp import web

from tests.gateway.film_set import FILM

TICKS_PER_S = 700


class Studio:
    """The server. `orders` has the prompt of each order that arrived, as often as it did."""

    def __init__(self) -> None:
        self.orders: Counter[str] = Counter()
        self.looks: Counter[str] = Counter()
        self.fetches: Counter[str] = Counter()
        self.deleted: list[str] = []
        self.port = 0
        self._going_on = threading.Event()
        self._bodies: list[dict[str, Any]] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._going_on.set()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def go_on(self) -> None:
        """Let everything go on that was held."""
        self._going_on.set()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._open())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())
        self._loop.close()

    async def _open(self) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/videos/generations", self._order)
        app.router.add_get("/v1/videos/{id}", self._state)
        app.router.add_delete("/v1/videos/{id}", self._delete)
        app.router.add_get("/v1/content/{id}", self._content)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _held(self) -> None:
        while not self._going_on.is_set():
            await asyncio.sleep(0.02)

    async def _order(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        prompt = body["prompt"]
        self.orders[prompt] += 1
        if "busy" in prompt and not self._going_on.is_set():
            return web.json_response({"error": "busy"}, status=429, headers={"retry-after": "60"})
        self._bodies.append(body)
        number = len(self._bodies) - 1
        if "hold-order" in prompt:
            await self._held()
        return web.json_response({"request_id": f"film-{number}"})

    def _body(self, request: web.Request) -> dict[str, Any]:
        return self._bodies[int(request.match_info["id"].removeprefix("film-"))]

    async def _state(self, request: web.Request) -> web.StreamResponse:
        body = self._body(request)
        prompt = body["prompt"]
        self.looks[prompt] += 1
        if "hold-film" in prompt and not self._going_on.is_set():
            return web.json_response({"status": "pending", "progress": 40}, status=202)
        if "fails" in prompt:
            fault = {"code": "internal_error", "message": "The film tore."}
            return web.json_response({"status": "failed", "error": fault})
        if "expires" in prompt:
            return web.json_response({"status": "expired"})
        url = f"/content/{request.match_info['id']}"
        film = {"url": url, "duration": body["duration"]}
        film["respect_moderation"] = "refused" not in prompt
        usage = {"cost_in_usd_ticks": TICKS_PER_S * body["duration"]}
        return web.json_response({"status": "done", "video": film, "usage": usage})

    async def _content(self, request: web.Request) -> web.StreamResponse:
        prompt = self._body(request)["prompt"]
        self.fetches[prompt] += 1
        if "hold-content" in prompt:
            await self._held()
        return web.Response(body=FILM, content_type="video/mp4")

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        self.deleted.append(self._body(request)["prompt"])
        return web.json_response({"deleted": True})

    async def _models(self, request: web.Request) -> web.StreamResponse:
        models = [{"id": "grok-imagine-video", "object": "model"}]
        return web.json_response({"object": "list", "data": models})
