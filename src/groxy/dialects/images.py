"""Pictures as OpenAI and xAI ask for them: the caller's end of generations and edits.

In: a JSON body, or the fields of a form. Out: what is asked for as values, and the reply as bytes.
Facts: OpenAI's API reference and xAI's OpenAPI document, as of August 2026. What goes upstream is
written by each upstream, for no two of them take the same. Must not look into pictures, fetch them
or know who makes them.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NoReturn

import msgspec
from msgspec import Meta, Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import ImageRequest
from groxy.core.shapes import PICTURE_SHAPES
from groxy.dialects import _openai
from groxy.dialects._base import Asked, Frame, OutputBound, UsageRules
from groxy.dialects._bounds import open_body, read_max_cost
from groxy.wire.json import Fields, decode_fields, decode_request as decode_json, encode
from groxy.wire.sse import KEEPALIVE

MAX_COUNT = 10
"""Pictures of one request (xAI's OpenAPI document, 2026-08)."""
MAX_REFERENCES = 16
"""Pictures to start from (OpenAI's API reference, images/edits, 2026-08); upstreams take fewer."""
MAX_PROMPT_CHARS = 100_000
_MAX_REFERENCE_CHARS = 64 * 1024 * 1024
_QUALITIES = {
    "auto": "",
    "low": "low",
    "medium": "medium",
    "high": "high",
    # dall-e-3's words, which old clients send (OpenAI's API reference, 2026-08).
    "standard": "medium",
    "hd": "high",
}
_IGNORED = (
    "background",
    "input_fidelity",
    "moderation",
    "output_compression",
    "output_format",
    "partial_images",
    "seed",
    "style",
)
"""Fields of OpenAI's that no Grok model has; they are named in `x-groxy-adjusted`."""
_FORM_NUMBERS = ("n",)
_FORM_FLAGS = {"true": True, "false": False}
_FORMS = "a data URI, an http(s) URL or the id of an uploaded file"

ModelName = Annotated[str, Meta(min_length=1, max_length=256)]
_Text = Annotated[str, Meta(max_length=_MAX_REFERENCE_CHARS)]


class _Url(msgspec.Struct):
    url: _Text


class _Reference(msgspec.Struct):
    """A picture to start from; which field says so depends on the vendor."""

    url: _Text | None = None
    image_url: _Text | _Url | None = None
    file_id: _Text | None = None


class _Body(msgspec.Struct):
    model: ModelName
    prompt: Annotated[str, Meta(max_length=MAX_PROMPT_CHARS)]
    n: Annotated[int, Meta(ge=1, le=MAX_COUNT)] | None = None
    size: str | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    quality: str | None = None
    response_format: Literal["url", "b64_json"] | None = None
    user: Annotated[str, Meta(max_length=1024)] | None = None
    stream: bool | None = None
    image: _Text | _Reference | list[_Text | _Reference] | None = None
    images: list[_Text | _Reference] | None = None
    mask: _Text | _Reference | None = None
    max_cost: Raw = Raw(b"null")


_decoder = msgspec.json.Decoder(_Body)


class ImagesAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks for. The request's pictures are references still, as the caller wrote."""

    request: ImageRequest
    wants_content: bool = False
    """True for pictures as base64, false for links to them."""
    params: tuple[str, ...] = ()
    """The field that each of the request's pictures stands in."""
    ignored: tuple[str, ...] = ()
    """Words for `x-groxy-adjusted`: what was sent and has no effect."""


class ShownPicture(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One picture of a reply: a link, or the bytes themselves, which go out as base64."""

    url: str = ""
    b64_json: bytes = b""
    mime_type: str = ""
    """As xAI tells it beside."""
    revised_prompt: str = ""


class _Reply(msgspec.Struct, omit_defaults=True):
    created: int
    data: Sequence[ShownPicture]
    usage: Mapping[str, Any] | None = None
    refused: int = 0
    refusals: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------- requests


def read_images(body: bytes, *, is_edit: bool) -> ImagesAsked:
    """Check a JSON body; raise `GroxyError` (a 400) that names the field at fault."""
    wire = decode_json(body, _decoder)
    _check_prompt(wire.prompt)
    if wire.stream:
        raise _bad("stream", "is not offered for pictures; leave it out")
    references = _references(wire)
    if is_edit and not references:
        raise _bad("image", f"is required: {_FORMS}, or a file of a multipart form")
    if not is_edit and (references or wire.mask is not None):
        field = references[0][0] if references else "mask"
        raise _bad(field, "is not for making pictures from words; send it to /v1/images/edits")
    ratio, resolution = PICTURE_SHAPES.read(wire.size, wire.aspect_ratio, wire.resolution)
    request = ImageRequest(
        model=wire.model,
        prompt=wire.prompt,
        count=wire.n or 1,
        aspect_ratio=ratio,
        resolution=resolution,
        quality=quality_of(wire.quality),
        images=tuple(reference for _, reference in references),
        mask="" if wire.mask is None else _reference(wire.mask, "mask"),
        user=wire.user or "",
        max_cost_ticks=read_max_cost(wire.max_cost),
    )
    return ImagesAsked(
        request=request,
        wants_content=wire.response_format == "b64_json",
        params=tuple(param for param, _ in references),
        ignored=_ignored(decode_fields(body)),
    )


def form_body(fields: Mapping[str, Sequence[str]]) -> bytes:
    """Return the fields of a form as the JSON body that says the same, for `read_images`.

    Of a field that is repeated the last counts, but `image`, which may be there several times.
    """
    body: dict[str, Any] = {}
    images: list[str] = []
    for name, values in fields.items():
        plain = name.removesuffix("[]")
        if plain in ("image", "images"):
            images += values
        else:
            body[plain] = _form_value(plain, values[-1])
    if images:
        body["image"] = images if len(images) > 1 else images[0]
    return encode(body)


def _form_value(name: str, text: str) -> str | int | bool:
    if name in _FORM_NUMBERS and text.isascii() and text.isdecimal():
        return int(text[:9])
    if name == "stream":
        return _FORM_FLAGS.get(text.lower(), text)
    return text


def quality_of(quality: str | None, *, where: str = "") -> str:
    """Return low, medium or high, or nothing where the model is to choose."""
    if not quality:
        return ""
    if quality not in _QUALITIES:
        raise _bad(f"{where}quality", f"must be one of {', '.join(_QUALITIES)}")
    return _QUALITIES[quality]


def _check_prompt(prompt: str) -> None:
    if not prompt.strip():
        raise _bad("prompt", "is empty; say what the picture is to show")


def _references(wire: _Body) -> list[tuple[str, str]]:
    """Return the pictures to start from, each with the field that it stands in."""
    named: list[tuple[str, str | _Reference]] = []
    if isinstance(wire.image, list):
        named += [(f"image.{at}", one) for at, one in enumerate(wire.image)]
    elif wire.image is not None:
        named.append(("image", wire.image))
    if wire.images:
        if named:
            raise _bad("images", "cannot go with `image`; send one of them")
        named += [(f"images.{at}", one) for at, one in enumerate(wire.images)]
    if len(named) > MAX_REFERENCES:
        raise _bad("image", f"has {len(named)} pictures; send at most {MAX_REFERENCES}")
    return [(param, _reference(one, param)) for param, one in named]


def _reference(given: str | _Reference, param: str) -> str:
    if isinstance(given, str):
        found: str | None = given
    else:
        link = given.image_url
        found = given.url or (link.url if isinstance(link, _Url) else link) or given.file_id
    if not found:
        raise _bad(param, f"is empty; send {_FORMS}")
    if not found.startswith(("data:", "http://", "https://", "file-", "file_")):
        raise _bad(param, f"must be {_FORMS}")
    return found


def _ignored(fields: Fields) -> tuple[str, ...]:
    return tuple(
        f"{name} dropped" for name in _IGNORED if bytes(fields.get(name, b"null")) != b"null"
    )


def _bad(param: str, what: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, f"`{param}` {what}.", param=param)


# -------------------------------------------------------------------------------------- replies


def encode_reply(
    pictures: Sequence[ShownPicture],
    *,
    created: int,
    refusals: Sequence[str] = (),
    cost_ticks: int | None = None,
) -> bytes:
    """Return the reply. `refusals` has a reason for each picture asked for that is not there.

    `cost_ticks` is what the pictures cost, as xAI tells it; pictures are not counted in tokens, but
    OpenAI's clients want to find the numbers.
    """
    usage = None if cost_ticks is None else _usage(cost_ticks)
    told = tuple(refusals)
    reply = _Reply(created=created, data=pictures, usage=usage, refused=len(told), refusals=told)
    return encode(reply)


def _usage(cost_ticks: int) -> dict[str, Any]:
    details = {"image_tokens": 0, "text_tokens": 0}
    tokens = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    return {**tokens, "input_tokens_details": details, "cost_in_usd_ticks": cost_ticks}


class ImagesDialect:
    """What the gateway asks of every dialect; see `dialects._base.Dialect`.

    Pictures do not pass through the pipeline of text: `gateway.making` makes them.
    """

    name = "images"
    upstream_path = "/images/generations"
    carriers: tuple[str, ...] = ("images",)
    keepalive = KEEPALIVE
    carries_sealed = False

    def decode_request(self, body: bytes) -> Asked:
        """Check a caller's body; raise `GroxyError` that names the field at fault."""
        read = read_images(body, is_edit=False)
        fields, max_cost_ticks = open_body(body)
        return Asked(
            model=read.request.model, stream=False, fields=fields, max_cost_ticks=max_cost_ticks
        )

    def bound_of(self, asked: Asked) -> OutputBound:
        """Return that pictures have no tokens of output: they are paid by the piece."""
        del asked
        return OutputBound(max_tokens=0)

    def bounded(self, asked: Asked, max_tokens: int) -> Asked:
        """Return the request as it is: there is nothing to bound."""
        del max_tokens
        return asked

    def prompt_text(self, asked: Asked) -> str:
        """Return what the pictures are to show."""
        return decode_json(encode(asked.fields), _decoder).prompt

    def outgoing(self, asked: Asked, *, model: str, effort: str | None, stream: bool) -> NoReturn:
        """Raise INTERNAL: upstreams write requests for pictures themselves."""
        del asked, model, effort, stream
        raise _not_text()

    def relay(self, asked: Asked, rules: UsageRules, frame: Frame) -> NoReturn:
        """Raise INTERNAL: pictures are not streamed."""
        del asked, rules, frame
        raise _not_text()

    def read_whole(self, body: bytes, asked: Asked, rules: UsageRules, frame: Frame) -> NoReturn:
        """Raise INTERNAL: upstreams read pictures themselves."""
        del body, asked, rules, frame
        raise _not_text()

    def encode_error(self, error: GroxyError) -> bytes:
        """Return the body of an error reply, in OpenAI's envelope."""
        return _openai.encode_error(error)

    def encode_stream_error(self, error: GroxyError) -> bytes:
        """Return the same as an event; nobody gets to see it, as nothing is streamed."""
        return _openai.encode_stream_error(error)


def _not_text() -> GroxyError:
    return GroxyError(ErrorKind.INTERNAL, "Pictures do not travel as text does.")


DIALECT = ImagesDialect()
