"""Parts: what a message is made of, whatever dialect it came in."""

import msgspec


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """Plain text."""

    text: str


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """A picture, by URL or data URI; `detail` is low, high or auto."""

    url: str
    detail: str = "auto"


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A document, by its id at the upstream or by URL or data URI."""

    file_id: str = ""
    url: str = ""
    name: str = ""


class Reasoning(msgspec.Struct, frozen=True, kw_only=True):
    """What a model thought before it answered; `encrypted` is opaque and goes back unread."""

    text: str
    encrypted: str = ""
    item_id: str = ""
    """The id of the Responses item it was, where it was one."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call the model wants made; `arguments` is the JSON text as the model wrote it."""

    call_id: str
    name: str
    arguments: str


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a call returned: text, and pictures where the caller's dialect has them."""

    call_id: str
    text: str
    images: tuple[Image, ...] = ()
    is_error: bool = False


Part = Text | Image | File | Reasoning | ToolCall | ToolResult
