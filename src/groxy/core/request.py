"""The canonical request: what a caller asked, freed of the dialect it was asked in."""

from dataclasses import dataclass, field
from enum import Enum

from groxy.core.parts import Part


class Role(Enum):
    """Who speaks. `system` covers the developer role too: no upstream tells them apart."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Role
    parts: tuple[Part, ...]
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that the model may call; `parameters` is its JSON Schema as JSON text."""

    name: str
    description: str = ""
    parameters: bytes = b"{}"


class ToolUse(Enum):
    """How freely the model may call tools; a named tool is `Options.tool_name`."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


class OutputForm(Enum):
    """What the answer must look like; a schema is `Options.output_schema`."""

    TEXT = "text"
    JSON = "json_object"
    SCHEMA = "json_schema"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to answer. None means: not asked for, the upstream's default applies."""

    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    choices: int = 1
    seed: int | None = None
    stop: tuple[str, ...] = ()
    reasoning_effort: str | None = None
    logprobs: bool = False
    tool_use: ToolUse = ToolUse.AUTO
    tool_name: str | None = None
    parallel_tool_calls: bool = True
    output_form: OutputForm = OutputForm.TEXT
    output_schema: bytes = b"{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A whole request in canonical form."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    options: Options = field(default_factory=Options)
