"""Parts: what a message is made of, whatever dialect it came in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Plain text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture, by URL or data URI; `detail` is low, high or auto."""

    url: str
    detail: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A document, by its id at the upstream or by URL or data URI."""

    file_id: str = ""
    url: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoning:
    """What a model thought before it answered; `encrypted` is opaque and goes back unread."""

    text: str
    encrypted: str = ""
    item_id: str = ""
    """The id of the Responses item it was, where it was one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call the model wants made; `arguments` is the JSON text as the model wrote it."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a call returned: text, and pictures where the caller's dialect has them."""

    call_id: str
    text: str
    images: tuple[Image, ...] = ()
    is_error: bool = False


Part = Text | Image | File | Reasoning | ToolCall | ToolResult
