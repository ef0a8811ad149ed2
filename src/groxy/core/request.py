"""The canonical request: what a caller asked, freed of the dialect it was asked in."""

from enum import Enum

import msgspec

from groxy.core.parts import File, Image, Part, Reasoning, Text, ToolCall, ToolResult


class Role(Enum):
    """Who speaks. `system` covers the developer role too: no upstream tells them apart."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a conversation."""

    role: Role
    parts: tuple[Part, ...]
    name: str = ""


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call; `parameters` is its JSON Schema as JSON text."""

    name: str
    description: str = ""
    parameters: bytes = b"{}"
    strict: bool | None = None


class ServerTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the upstream runs itself, such as `web_search`, in the words of Responses."""

    kind: str
    settings: bytes = b"{}"
    """Its other fields as a JSON object."""


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


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to answer. None means: not asked for, the upstream's default applies."""

    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    choices: int = 1
    seed: int | None = None
    stop: tuple[str, ...] = ()
    reasoning_effort: str | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    user: str = ""
    tool_use: ToolUse = ToolUse.AUTO
    tool_name: str | None = None
    parallel_tool_calls: bool = True
    output_form: OutputForm = OutputForm.TEXT
    output_schema: bytes = b"{}"
    output_name: str = ""
    """What the schema is called; empty when the caller gave no name."""
    output_strict: bool | None = None
    """Whether the answer must keep to the schema in all of it; None: not said."""
    output_field: str = "response_format"
    """Where the caller's dialect says all this of the output, for errors that name it."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A whole request in canonical form."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    server_tools: tuple[ServerTool, ...] = ()
    options: Options = msgspec.field(default_factory=Options)
    left_out: tuple[str, ...] = ()
    """What the caller's body held beyond this form, by field name: it cannot cross dialects."""

    @property
    def text(self) -> str:
        """All text that a model would read, a line a piece."""
        pieces = [tool.name + tool.description + tool.parameters.decode() for tool in self.tools]
        if self.options.output_form is OutputForm.SCHEMA:
            pieces.append(self.options.output_schema.decode())
        for message in self.messages:
            for part in message.parts:
                match part:
                    case Text(text=text) | ToolResult(text=text) | Reasoning(text=text):
                        pieces.append(text)
                    case ToolCall(name=name, arguments=arguments):
                        pieces.append(name + arguments)
                    case Image() | File():
                        pass
        return "\n".join(pieces)

    @property
    def images(self) -> tuple[Image, ...]:
        """Every picture, those in tool results too."""
        found: list[Image] = []
        for message in self.messages:
            for part in message.parts:
                if isinstance(part, Image):
                    found.append(part)
                elif isinstance(part, ToolResult):
                    found += part.images
        return tuple(found)
