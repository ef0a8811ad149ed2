"""POST /v1/vision/analyze: a question about pictures, a convenience over chat.

In: JSON `{"image": URL or data URI, "prompt"?, "model"?, "detail"?, "max_tokens"?}` (`image_url`
and a list `images` work too), or multipart with one or more files `image` and the same fields. Out:
`{"id", "object": "vision.analysis", "created", "model", "analysis", "finish_reason", "usage"}`.
"""

import base64
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from groxy.api.text import call_of, identify
from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import Dialect
from groxy.gateway import Gateway
from groxy.gateway.collected import CollectedReply
from groxy.policy.keys import Keyring
from groxy.wire.asgi import Receive, Scope, Send, header, read_body
from groxy.wire.json import decode_any, decode_request, encode

_USUAL_MODEL = "grok-4"
_USUAL_PROMPT = "Describe this image in detail."
_MAX_IMAGES = 20
_MAX_FIELD_BYTES = 1024 * 1024
_OK_STATUS = 200
_MAGIC = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


class _Ask(msgspec.Struct, kw_only=True):
    image: str | None = None
    image_url: str | dict[str, str] | None = None
    images: Annotated[list[str], Meta(max_length=_MAX_IMAGES)] = []
    prompt: Annotated[str, Meta(min_length=1)] = _USUAL_PROMPT
    model: Annotated[str, Meta(min_length=1, max_length=256)] = _USUAL_MODEL
    detail: Annotated[str, Meta(pattern="^(low|high|auto)$")] = "auto"
    max_tokens: Annotated[int, Meta(ge=1)] | None = None


_decoder = msgspec.json.Decoder(_Ask)


class VisionEndpoint:
    """Answers one question about some pictures."""

    def __init__(
        self, gateway: Gateway, keyring: Keyring, chat: Dialect, *, max_body_bytes: int
    ) -> None:
        self._gateway = gateway
        self._keyring = keyring
        self._chat = chat
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        caller = identify(self._keyring, scope)
        body = await read_body(scope, receive, limit=self._max_body_bytes)
        is_form = (header(scope, b"content-type") or "").lower().startswith("multipart/form-data")
        ask = await _read_form(scope, body) if is_form else decode_request(body, _decoder)
        client = CollectedReply()
        await self._gateway.answer(call_of(scope, self._chat, caller, _as_chat(ask)), client)
        headers = [one for one in client.headers if one[0] != b"content-length"]
        written = _as_analysis(client.body) if client.status == _OK_STATUS else client.body
        headers.append((b"content-length", b"%d" % len(written)))
        await send(
            {"type": "http.response.start", "status": client.status or 499, "headers": headers}
        )
        await send({"type": "http.response.body", "body": written})


def _pictures(ask: _Ask) -> list[str]:
    named = ask.image_url.get("url") if isinstance(ask.image_url, dict) else ask.image_url
    found = [one for one in (ask.image, named, *ask.images) if one]
    if not found:
        message = "`image` is required: a URL, a data URI, or a file of a multipart form."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="image")
    for picture in found:
        if not picture.startswith(("http://", "https://", "data:image/")):
            message = "`image` must be an http(s) URL or a data URI such as data:image/png;base64,…"
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="image")
    return found


def _as_chat(ask: _Ask) -> bytes:
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": url, "detail": ask.detail}}
        for url in _pictures(ask)
    ]
    parts.append({"type": "text", "text": ask.prompt})
    fields: dict[str, Any] = {
        "model": ask.model,
        "messages": [{"role": "user", "content": parts}],
        "stream": False,
    }
    if ask.max_tokens is not None:
        fields["max_completion_tokens"] = ask.max_tokens
    return encode(fields)


def _as_analysis(body: bytes) -> bytes:
    reply = decode_any(body)
    choice = reply["choices"][0]
    written = {
        "id": reply.get("id"),
        "object": "vision.analysis",
        "created": reply.get("created"),
        "model": reply.get("model"),
        "analysis": choice["message"].get("content") or "",
        "finish_reason": choice.get("finish_reason"),
        "usage": reply.get("usage"),
    }
    return encode(written)


async def _read_form(scope: Scope, body: bytes) -> _Ask:
    """Read a multipart form; what a file holds tells its type, not its name."""

    async def stream() -> Any:  # noqa: ANN401 - an async generator of bytes
        yield body

    parser = MultiPartParser(
        Headers(scope=scope),
        stream(),
        max_files=_MAX_IMAGES,
        max_fields=20,
        max_part_size=_MAX_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError, UnicodeDecodeError) as error:
        message = f"The multipart form could not be read: {error}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message) from None
    try:
        fields, pictures = await _values_of(form)
    finally:
        await form.close()
    return decode_request(encode(fields | {"images": pictures}), _decoder)


async def _values_of(form: FormData) -> tuple[dict[str, Any], list[str]]:
    """Return what a form says, and its pictures as URLs."""
    fields: dict[str, Any] = {}
    pictures: list[str] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            pictures.append(_data_uri(name, await value.read()))
        elif name.removesuffix("[]") in ("image", "image_url", "images"):
            pictures.append(value)
        elif name in ("prompt", "model", "detail"):
            fields[name] = value
        elif name == "max_tokens":
            fields[name] = int(value) if value.isascii() and value.isdecimal() else value
    return fields, pictures


def _data_uri(name: str, content: bytes) -> str:
    kind = next((kind for magic, kind in _MAGIC.items() if content.startswith(magic)), "")
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        kind = "image/webp"
    if not kind:
        message = f"The file `{name[:64]}` is no JPEG, PNG, GIF or WebP picture."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="image")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
