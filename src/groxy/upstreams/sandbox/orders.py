"""What the sandbox is asked to draw or film: bodies in xAI's, OpenAI's and OpenRouter's forms.

In: a request's path, content type and body. Out: an `Order`; what cannot be is BAD_REQUEST that
names the field, as a real upstream would answer. References are taken as data URIs or files, told
by their first bytes; a reference by URL is taken, too, but never fetched. Must not draw.
"""

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import Text
from groxy.core.request import Message, Request, Role
from groxy.core.sizes import (
    AUTO,
    KNOWN_FILM_RATIOS,
    KNOWN_FILM_RESOLUTIONS,
    KNOWN_RATIOS,
    KNOWN_RESOLUTIONS,
    film_size_for,
    pixels_of,
    proportion_of,
    read_film_size,
    read_size,
)
from groxy.upstreams._multipart import read_data_uri
from groxy.wire.json import decode_request, encode

FILM_PATHS = frozenset({"/videos", "/videos/generations"})
PICTURE_PATHS = frozenset({"/images", "/images/generations", "/images/edits"})
_MOST_PICTURES = 10
LONGEST_S = 20
_USUAL_S = 8
_PROMPT_CHARS = 32_000
_PIXELS = {"1k": 1024 * 1024, "2k": 2048 * 2048}
_STEP = 16
"""Sides of a picture are multiples of it, as real models have them."""
_TYPES = ("jpeg", "png", "webp")
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF")
_PART_LIMIT = 32 * 1024 * 1024


class _Link(msgspec.Struct):
    """A reference: `url` at xAI, `image_url` at OpenAI."""

    url: str | None = None
    image_url: str | None = None
    file_id: str | None = None


class _OpenRouterLink(msgspec.Struct):
    image_url: _Link


class _Body(msgspec.Struct):
    """Every field of the three forms; none has two meanings."""

    prompt: str
    model: str = "grok-imagine-image"
    n: int = 1
    size: str | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    quality: str | None = None
    response_format: str | None = None
    output_format: str | None = None
    image: _Link | str | None = None
    images: list[_Link | str] | None = None
    reference_images: list[_Link | str] | None = None
    input_reference: _Link | str | None = None
    input_references: list[_OpenRouterLink] | None = None
    frame_images: list[_OpenRouterLink] | None = None
    duration: int | None = None
    seconds: int | str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Pictures or a film to be made, checked."""

    model: str
    prompt: str
    count: int = 1
    width: int
    height: int
    resolution: str
    duration_s: int = 0
    """0 for pictures."""
    content_type: str = "image/jpeg"
    is_inline: bool = False
    is_openai: bool = False
    """True when a film is told of in OpenAI's words, and not in xAI's."""
    references: tuple[bytes, ...] = field(default=(), repr=False)
    digest: bytes = b""
    """Stands for everything that was asked for."""

    @property
    def request(self) -> Request:
        """The prompt as a message of a user, for the script that may stand in it."""
        spoken = Message(role=Role.USER, parts=(Text(text=self.prompt),))
        return Request(model=self.model, messages=(spoken,))


_decoder = msgspec.json.Decoder(_Body)


def read_order(path: str, content_type: str, body: bytes) -> Order:
    """Return what is asked for at one of the paths above; raise BAD_REQUEST, BAD_JSON."""
    files: tuple[bytes, ...] = ()
    is_form = content_type.lower().startswith("multipart/form-data")
    if is_form:
        fields, files = _read_form(content_type, body)
        body = encode(fields)
    asked = decode_request(body, _decoder)
    if not asked.prompt.strip():
        raise _bad("prompt", "must not be empty")
    if len(asked.prompt) > _PROMPT_CHARS:
        raise _bad("prompt", f"may have {_PROMPT_CHARS} characters")
    references = (*files, *_references(asked))
    digest = blake2b(body, digest_size=12)
    for reference in references:
        digest.update(reference)
    is_film = path in FILM_PATHS
    order = _film(asked, references) if is_film else _pictures(asked, references, is_form=is_form)
    if path == "/images/edits" and not references:
        raise _bad("image", "is required for an edit")
    is_openai = path == "/videos"
    return replace(order, digest=digest.digest(), is_openai=is_openai)


def _pictures(asked: _Body, references: tuple[bytes, ...], *, is_form: bool) -> Order:
    if not 1 <= asked.n <= _MOST_PICTURES:
        raise _bad("n", f"must be 1 to {_MOST_PICTURES}")
    if asked.response_format not in (None, "", "url", "b64_json"):
        raise _bad("response_format", "must be url or b64_json")
    ending = asked.output_format or ("png" if is_form else "jpeg")
    if ending not in _TYPES:
        raise _bad("output_format", f"must be one of {', '.join(_TYPES)}")
    width, height, resolution = _picture_size(asked)
    return Order(
        model=asked.model,
        prompt=asked.prompt,
        count=asked.n,
        width=width,
        height=height,
        resolution=resolution,
        content_type=f"image/{ending}",
        is_inline=asked.response_format == "b64_json",
        references=references,
    )


def _picture_size(asked: _Body) -> tuple[int, int, str]:
    ratio, resolution = asked.aspect_ratio or "", (asked.resolution or "").lower()
    if asked.size and asked.size != AUTO:
        try:
            _, resolution = read_size(asked.size)
            return (*pixels_of(asked.size), resolution)
        except ValueError as error:
            raise _bad("size", f"is not known: {error}") from None
    if ratio and ratio not in KNOWN_RATIOS:
        raise _bad("aspect_ratio", f"must be one of {', '.join(KNOWN_RATIOS)}")
    if resolution and resolution not in KNOWN_RESOLUTIONS:
        raise _bad("resolution", f"must be one of {', '.join(KNOWN_RESOLUTIONS)}")
    proportion = proportion_of("1:1" if ratio in ("", AUTO) else ratio)
    resolution = resolution or KNOWN_RESOLUTIONS[0]
    height = (_PIXELS[resolution] / proportion) ** 0.5
    return _stepped(height * proportion), _stepped(height), resolution


def _film(asked: _Body, references: tuple[bytes, ...]) -> Order:
    if asked.size and asked.size != AUTO:
        try:
            ratio, resolution = read_film_size(asked.size)
        except ValueError as error:
            raise _bad("size", f"is not known: {error}") from None
        size = asked.size
    else:
        ratio, resolution = asked.aspect_ratio or "", asked.resolution or ""
        if ratio and ratio not in KNOWN_FILM_RATIOS:
            raise _bad("aspect_ratio", f"must be one of {', '.join(KNOWN_FILM_RATIOS)}")
        if resolution and resolution not in KNOWN_FILM_RESOLUTIONS:
            raise _bad("resolution", f"must be one of {', '.join(KNOWN_FILM_RESOLUTIONS)}")
        resolution = resolution or "480p"
        size = film_size_for(ratio, resolution)
    width, height = pixels_of(size)
    return Order(
        model=asked.model,
        prompt=asked.prompt,
        width=width,
        height=height,
        resolution=resolution,
        duration_s=_seconds(asked),
        references=references,
    )


def _seconds(asked: _Body) -> int:
    text = str(asked.duration if asked.seconds is None else asked.seconds)
    if text == "None":
        return _USUAL_S
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LONGEST_S:
        raise _bad("seconds", f"must be 1 to {LONGEST_S}")
    return int(text)


def _stepped(side: float) -> int:
    return max(_STEP, round(side / _STEP) * _STEP)


def _references(asked: _Body) -> tuple[bytes, ...]:
    named: list[tuple[str, object]] = [("image", asked.image)]
    named += [("images", one) for one in asked.images or ()]
    named += [("reference_images", one) for one in asked.reference_images or ()]
    named.append(("input_reference", asked.input_reference))
    named += [("input_references", one.image_url) for one in asked.input_references or ()]
    named += [("frame_images", one.image_url) for one in asked.frame_images or ()]
    return tuple(_reference(name, one) for name, one in named if one is not None)


def _reference(param: str, one: object) -> bytes:
    if isinstance(one, _Link):
        one = one.url or one.image_url
    if not isinstance(one, str):
        raise _bad(param, "must have a `url`: the sandbox keeps no files")
    if one.startswith(("http://", "https://")):
        return one.encode()
    return _checked(param, read_data_uri(one, param)[1])


def _checked(param: str, content: bytes) -> bytes:
    if not content.startswith(_MAGIC):
        raise _bad(param, "is no picture: send JPEG, PNG, WebP or GIF")
    return content


def _read_form(content_type: str, body: bytes) -> tuple[dict[str, Any], tuple[bytes, ...]]:
    """Read a form as OpenAI's clients send it; a mask is taken and not used."""
    from python_multipart import parse_form  # noqa: PLC0415 - only tests and tools send forms here

    fields: dict[str, Any] = {}
    files: list[bytes] = []

    def on_field(part: Any) -> None:  # noqa: ANN401  a type of the library
        name = (part.field_name or b"").decode(errors="replace")
        value = (part.value or b"").decode(errors="replace")
        fields[name] = int(value) if name == "n" and value.isdigit() else value

    def on_file(part: Any) -> None:  # noqa: ANN401  a type of the library
        name = (part.field_name or b"").decode(errors="replace")
        part.file_object.seek(0)
        content = part.file_object.read(_PART_LIMIT)
        part.close()
        if name != "mask":
            files.append(_checked(name, content))

    from io import BytesIO  # noqa: PLC0415 - with the above

    headers = {"Content-Type": content_type.encode(), "Content-Length": str(len(body)).encode()}
    try:
        parse_form(headers, BytesIO(body), on_field, on_file)
    except ValueError as error:
        raise _bad("file", f"is in a form that cannot be read: {error}") from None
    return fields, tuple(files)


def _bad(param: str, what: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, f"`{param}` {what}.", param=param)
