"""Pictures for tests: real ones, upstreams' replies that hold them, and a shelf of our own."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from groxy.core.ids import new_request_id
from groxy.core.media import ImageRequest
from groxy.dialects.images import DIALECT
from groxy.gateway import Call
from groxy.gateway.making import Made, Maker, Making, Order
from groxy.gateway.results import Results
from groxy.media.fetch import Fetcher
from groxy.media.links import Links
from groxy.media.shelf import Shelf, ShelfLimits
from groxy.policy.keys import Caller
from groxy.store.database import Database
from tests.gateway.stage import SECRET, Reply, Stage

MODEL = "grok-imagine-image"
MIB = 1024 * 1024


def picture(kind: str = "PNG", size: tuple[int, int] = (8, 6), colour: str = "red") -> bytes:
    """A small picture."""
    written = BytesIO()
    Image.new("RGB", size, colour).save(written, kind)
    return written.getvalue()


PNG = picture()
JPEG = picture("JPEG")
PNG_URI = "data:image/png;base64," + base64.b64encode(PNG).decode()
REFUSED = {"url": "", "respect_moderation": False}


def inline(content: bytes = PNG, **more: object) -> dict[str, Any]:
    """A picture in a reply."""
    return {"b64_json": base64.b64encode(content).decode(), **more}


def made(*entries: dict[str, Any], ticks: int | None = 400) -> Reply:
    """An upstream's reply with pictures."""
    usage = {} if ticks is None else {"usage": {"cost_in_usd_ticks": ticks}}
    body = json.dumps({"data": entries or (inline(),)} | usage).encode()
    return Reply(script=[body], content_type="application/json")


class NoShelf:
    """A shelf that nothing is to be put on."""

    async def put(self, *arguments: object, **more: object) -> None:
        raise AssertionError("nothing was to be kept")


@asynccontextmanager
async def shelf_in(folder: Path, url: str = "memory:///") -> AsyncIterator[Shelf]:
    """A shelf whose index is a database in `folder`."""
    database = await Database.open("sqlite+aiosqlite:///groxy.db", folder)
    most = {"image": 0, "video": 0, "file": 0}
    each = {"image": 30 * MIB, "video": 30 * MIB, "file": 30 * MIB}
    limits = ShelfLimits(max_total_bytes=most, max_bytes=each)  # type: ignore[arg-type]
    yield Shelf(url, folder, database, limits)
    await database.close()


def links(app_url: str = "", ttl_s: int = 0) -> Links:
    """Links of the test's own installation."""
    return Links(app_url, SECRET, ttl_s)


def maker(stage: Stage, shelf: Any = None, fetcher: Fetcher | None = None) -> Maker:
    """A maker in front of the stage's seats."""
    given: Any = shelf or NoShelf()
    results = Results(given, fetcher or Fetcher(), max_image_bytes=30 * MIB)
    return Maker(stage.gateway, results)


def call(**more: Any) -> Call:
    """A caller's request; its body does not matter."""
    caller = Caller(key_id="key-1", name="test")
    usual: dict[str, Any] = {"dialect": DIALECT, "body": b"", "caller": caller}
    return Call(**({"request_id": new_request_id()} | usual | more))


async def make(making: Making, stage: Stage, *, keeps: bool = False, **fields: Any) -> Made:
    """Make pictures of a request with these fields."""
    asked = {"model": MODEL, "prompt": "a cat"}

    async def read() -> Order:
        return Order(request=ImageRequest(**(asked | fields)), keeps=keeps)

    return await making.make(read, stage.client)
