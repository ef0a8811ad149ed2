"""Short ways to ask the sandbox for pictures and films, for its tests."""

import json
from base64 import b64encode
from io import BytesIO

from PIL import Image


def jpeg(width=64, height=48, colour=(200, 30, 60)):
    """A small real JPEG."""
    out = BytesIO()
    Image.new("RGB", (width, height), colour).save(out, "JPEG")
    return out.getvalue()


JPEG = jpeg()
JPEG_URI = f"data:image/jpeg;base64,{b64encode(JPEG).decode()}"


async def ask(sandbox, method, path, body=b"", headers=None):
    """Status, headers and content of a reply; the body may be a value for JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = sandbox.answer(method, path, headers or {}, content)
    return reply.status, reply.headers, b"".join([chunk async for chunk in reply.body])


async def picture_data(sandbox, path="/v1/images/generations", **fields):
    """The reply to a request for pictures, read."""
    asked = {"model": "grok-imagine-image", "prompt": "a red panda"} | fields
    status, _, content = await ask(sandbox, "POST", path, asked)
    return status, json.loads(content)


async def begin_film(sandbox, path="/v1/videos/generations", headers=None, **fields):
    """The id of a film that was begun."""
    asked = {"model": "grok-imagine-video", "prompt": "a red panda"} | fields
    status, _, content = await ask(sandbox, "POST", path, asked, headers)
    assert status == 200, content
    told = json.loads(content)
    return told.get("request_id") or told["id"]


async def film_state(sandbox, film_id):
    """Status and body of a poll."""
    status, _, content = await ask(sandbox, "GET", f"/v1/videos/{film_id}")
    return status, json.loads(content)


def path_of(url):
    """The path of a link."""
    return "/" + url.partition("://")[2].partition("/")[2]
