"""Pictures in OpenAI's form: requests to `/images/generations` and `/images/edits`, and replies.

In: an `ImageRequest`, or the body of a good reply. Out: a `MediaCall`, or `MadeImages`. Replies are
read leniently, because everybody adds to the form: xAI its types and refusals, OpenRouter its
bill. Must not fetch a picture or look into one.
"""

from base64 import b64decode

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import ImageRequest, MadeImage, MadeImages, MediaCall
from groxy.core.sizes import read_size, size_for
from groxy.dialects._base import UsageRules
from groxy.dialects._bills import Billed, bill_of
from groxy.upstreams._errors import safe_message
from groxy.upstreams._multipart import file_of, write_form
from groxy.wire.json import UNREADABLE, encode

MAKE_PATH = "/images/generations"
EDIT_PATH = "/images/edits"
_ALWAYS_INLINE = ("gpt-image", "chatgpt-image")
"""Models that answer `response_format` with an error, and never send URLs."""
_NO_REASON = "The upstream left this picture out and did not say why."
_MODERATED = "The picture was held back by the model's usage policy."
_NOTHING = msgspec.Raw(b"")
_MAX_PICTURES = 64
"""Of one reply: nobody can ask for more than 10."""


class _Picture(msgspec.Struct):
    url: str | None = None
    b64_json: str | None = None
    mime_type: str | None = None
    media_type: str | None = None
    revised_prompt: str | None = None
    respect_moderation: bool | None = None
    error: msgspec.Raw = _NOTHING


class _Reply(msgspec.Struct):
    data: list[_Picture] | None = None
    output_format: str | None = None
    block_reason: str | None = None
    usage: msgspec.Raw = _NOTHING


class _Fault(msgspec.Struct):
    message: str = ""


_reply_decoder = msgspec.json.Decoder(_Reply)
_bill_decoder = msgspec.json.Decoder(Billed)
_fault_decoder = msgspec.json.Decoder(_Fault | str)


def image_call(request: ImageRequest, model_sent: str) -> MediaCall:
    """Return a request in OpenAI's form: JSON, or for an edit a form with the pictures.

    Pictures are asked for inline, so that nothing has to be fetched afterwards.
    """
    size, adjusted = _size_of(request)
    inline = "" if model_sent.startswith(_ALWAYS_INLINE) else "b64_json"
    texts = {
        "model": model_sent,
        "prompt": request.prompt,
        "size": size,
        "quality": request.quality,
        "response_format": inline,
        "user": request.user,
    }
    texts = {name: text for name, text in texts.items() if text}
    if not request.is_edit:
        body = encode(texts | {"n": request.count})
        return MediaCall(path=MAKE_PATH, body=body, adjusted=adjusted)
    # One picture is `image`, as it always was; several are `image[]`, which newer servers know
    # (OpenAI's API description, createImageEdit, 2026).
    field = "image" if len(request.images) == 1 else "image[]"
    files = [file_of(field, f"image_{at}", uri) for at, uri in enumerate(request.images)]
    if request.mask:
        files.append(file_of("mask", "mask", request.mask))
    form, content_type = write_form([*texts.items(), ("n", str(request.count))], files)
    return MediaCall(path=EDIT_PATH, body=form, content_type=content_type, adjusted=adjusted)


def read_images(body: bytes, rules: UsageRules) -> MadeImages | None:
    """Return the pictures of a reply; None for a body that has none, such as an error in a 200.

    Raises BAD_REPLY for a picture that is no base64.
    """
    try:
        reply = _reply_decoder.decode(body)
    except UNREADABLE:
        return None
    if reply.data is None and reply.block_reason is None:
        return None
    usual = f"image/{reply.output_format}" if reply.output_format else ""
    made = tuple(_made(one, usual) for one in (reply.data or ())[:_MAX_PICTURES])
    if not made:
        # Nothing at all, though it says that it went well: whoever asked is told that it did not.
        made = (MadeImage(refused=safe_message(reply.block_reason or "") or _NO_REASON),)
    return MadeImages(images=made, cost_ticks=bill_in(reply.usage, rules))


def bill_in(usage: msgspec.Raw, rules: UsageRules) -> int | None:
    """Return the bill in a usage object in ticks; None for one that is missing or absurd."""
    try:
        return bill_of(_bill_decoder.decode(usage), rules)
    except UNREADABLE:
        return None


def fault_in(raw: msgspec.Raw) -> str:
    """Return the words of an error, which is a text or has a `message`; empty for none."""
    try:
        fault = _fault_decoder.decode(raw)
    except UNREADABLE:
        return ""
    return safe_message(fault if isinstance(fault, str) else fault.message)


def inline_picture(text: str) -> tuple[str, bytes]:
    """Return type and content of base64, which may be a data URI; raise BAD_REPLY for neither."""
    content_type = ""
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        content_type = head.removeprefix("data:").partition(";")[0]
    try:
        return content_type, b64decode(text, validate=True)
    except ValueError:
        message = "The upstream sent a picture that could not be read."
        raise GroxyError(ErrorKind.BAD_REPLY, message, detail="no base64") from None


def _size_of(request: ImageRequest) -> tuple[str, tuple[str, ...]]:
    size = size_for(request.aspect_ratio, request.resolution)
    if not size:
        return "", ("resolution dropped",) if request.resolution else ()
    ratio, resolution = read_size(size)
    is_exact = ratio == request.aspect_ratio and request.resolution in ("", resolution)
    return size, () if is_exact else (f"aspect_ratio sent as size {size}",)


def _made(one: _Picture, usual_type: str) -> MadeImage:
    revised = one.revised_prompt or ""
    if one.respect_moderation is False:
        return MadeImage(refused=fault_in(one.error) or _MODERATED, revised_prompt=revised)
    content_type = one.mime_type or one.media_type or usual_type
    if one.b64_json:
        own, content = inline_picture(one.b64_json)
        return MadeImage(content=content, content_type=own or content_type, revised_prompt=revised)
    if not one.url:
        return MadeImage(refused=fault_in(one.error) or _NO_REASON, revised_prompt=revised)
    if one.url.startswith("data:"):
        own, content = inline_picture(one.url)
        return MadeImage(content=content, content_type=own or content_type, revised_prompt=revised)
    return MadeImage(url=one.url, content_type=content_type, revised_prompt=revised)
