"""What a chat or Responses request asks of a model that makes pictures or film.

In: a request, decoded, with its conversation. Out: an `ImageRequest` or a `VideoRequest` whose
pictures are references still. The last message of the user is the prompt; pictures in it are what
to start from. Facts: the image_config and video_config of grok2api, and OpenRouter's image_config,
as of August 2026. Must not fetch anything.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import ImageRequest, VideoRequest
from groxy.core.parts import Image, Text
from groxy.core.request import Message, Request, Role
from groxy.core.shapes import FILM_SHAPES, PICTURE_SHAPES
from groxy.dialects import videos
from groxy.dialects._base import Asked
from groxy.dialects.images import MAX_COUNT, MAX_REFERENCES, quality_of
from groxy.wire.json import decode_request

_MOST_LOOKED_AT = 200_000
"""Characters of an answer in which a picture of ours is looked for."""
_SHOWN = re.compile(r"!\[[^\]]{0,200}\]\(([^()\s]{1,2048})\)")
"""A picture in Markdown, as the gateway itself shows what it made."""

T = TypeVar("T")


class ImageConfig(msgspec.Struct):
    """How pictures are to be."""

    n: Annotated[int, Meta(ge=1, le=MAX_COUNT)] | None = None
    size: str | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    image_size: str | None = None
    """OpenRouter's word for the resolution: 1K or 2K."""
    quality: str | None = None
    response_format: Literal["url", "b64_json", "base64", "markdown"] | None = None


class VideoConfig(msgspec.Struct):
    """How a film is to be."""

    seconds: float | str | None = None
    size: str | None = None
    aspect_ratio: str | None = None
    resolution_name: str | None = None
    resolution: str | None = None
    preset: str | None = None


_image_decoder = msgspec.json.Decoder(ImageConfig | None)
_video_decoder = msgspec.json.Decoder(VideoConfig | None)


class ImageWish(msgspec.Struct, frozen=True, kw_only=True):
    """Pictures that are asked for in a conversation."""

    request: ImageRequest
    form: str = ""
    """url, markdown or base64 where the request says how pictures are to be shown."""


def image_wish(asked: Asked, request: Request, *, param: str, is_edit: bool) -> ImageWish:
    """Return the pictures that a request asks for; `param` is the field of its conversation.

    `is_edit` is true for a model that only changes pictures: without one in the last message it
    changes the newest one of the conversation. Raises BAD_REQUEST.
    """
    config = _config(asked, "image_config", _image_decoder) or ImageConfig()
    prompt, images = _last_words(request, param)
    if is_edit and not images:
        images = _earlier_pictures(request.messages)
        if not images:
            said = "holds no picture to change; send one with the message"
            raise _bad(param, said)
    where = "image_config."
    ratio, resolution = PICTURE_SHAPES.read(
        config.size, config.aspect_ratio, config.resolution or config.image_size, where=where
    )
    form = config.response_format or ""
    return ImageWish(
        request=ImageRequest(
            model=asked.model,
            prompt=prompt,
            count=config.n or 1,
            aspect_ratio=ratio,
            resolution=resolution,
            quality=quality_of(config.quality, where=where),
            images=images,
            user=request.options.user,
            max_cost_ticks=asked.max_cost_ticks,
        ),
        form="base64" if form == "b64_json" else form,
    )


def video_wish(asked: Asked, request: Request, *, param: str) -> VideoRequest:
    """Return the film that a request asks for; raise BAD_REQUEST."""
    config = _config(asked, "video_config", _video_decoder) or VideoConfig()
    prompt, images = _last_words(request, param)
    where = "video_config."
    named = config.resolution_name or config.resolution
    ratio, resolution = FILM_SHAPES.read(config.size, config.aspect_ratio, named, where=where)
    return VideoRequest(
        model=asked.model,
        prompt=prompt,
        duration_s=videos.seconds_of(config.seconds, param=f"{where}seconds"),
        aspect_ratio=ratio,
        resolution=resolution,
        preset=videos.preset_of(config.preset, where=where),
        images=images,
        user=request.options.user,
        max_cost_ticks=asked.max_cost_ticks,
    )


def _config(asked: Asked, name: str, read: msgspec.json.Decoder[T]) -> T | None:
    raw = asked.fields.get(name)
    if raw is None:
        return None
    try:
        return decode_request(bytes(raw), read)
    except GroxyError as error:
        inner = error.param
        param = f"{name}.{inner}" if inner else name
        message = error.message.replace(f"`{inner}`", f"`{param}`") if inner else error.message
        raise GroxyError(error.kind, message, param=param) from None


def _last_words(request: Request, param: str) -> tuple[str, tuple[str, ...]]:
    """Return the text and the pictures of the user's last message."""
    mine = [message for message in request.messages if message.role is Role.USER]
    if not mine:
        raise _bad(param, "has no message of the user; it is what the picture is to show")
    parts = mine[-1].parts
    prompt = "\n".join(part.text for part in parts if isinstance(part, Text)).strip()
    if not prompt:
        raise _bad(param, "has no text in the last message; it is what the picture is to show")
    images = tuple(part.url for part in parts if isinstance(part, Image))
    if len(images) > MAX_REFERENCES:
        raise _bad(param, f"has {len(images)} pictures; send at most {MAX_REFERENCES}")
    return prompt, images


def _earlier_pictures(messages: Sequence[Message]) -> tuple[str, ...]:
    """Return the pictures of the newest message that has any."""
    for message in reversed(messages):
        found: list[str] = []
        for part in message.parts:
            if isinstance(part, Image):
                found.append(part.url)
            elif isinstance(part, Text) and message.role is Role.ASSISTANT:
                found += _SHOWN.findall(part.text[:_MOST_LOOKED_AT])
        if found:
            return tuple(found[-MAX_REFERENCES:])
    return ()


def _bad(param: str, what: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, f"`{param}` {what}.", param=param)


def param_of(dialect_name: str) -> str:
    """Return the field of a conversation in a dialect, for errors that name it."""
    return "input" if dialect_name == "responses" else "messages"
