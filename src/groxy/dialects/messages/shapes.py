"""What a Messages request looks like: types for decoding, and nothing else.

As of anthropic 2.11.0 (autumn 2026) and xAI's OpenAPI document (2026-08). Fields that nobody here
reads are not listed: unknown ones are ignored, as Claude Code sends new ones with every release
(anthropics/claude-code#21612). Where one name has several shapes it stays raw.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from groxy.dialects._base import ThoughtsShown

MAX_TOOLS = 200
"""xAI's function calling guide, 2026: 200 tools at most."""
NOTHING = Raw(b"")

_Tokens = Annotated[int, Meta(ge=1, le=2**31)]
_Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Source(msgspec.Struct):
    """Where a picture or document is: `type` is base64, text, url, file or content."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: Raw = NOTHING


class Block(msgspec.Struct):
    """A content block of any type; each type has some of these fields."""

    type: str
    text: str | None = None
    source: Raw = NOTHING
    """An object on image and document, text on search_result."""
    title: str | None = None
    context: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = NOTHING
    tool_use_id: str | None = None
    content: Raw = NOTHING
    """Text or blocks."""
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None


Content = str | list[Block]


class Turn(msgspec.Struct):
    """One turn; the role `system` is not Anthropic's, but xAI takes it and clients send it."""

    role: Literal["user", "assistant", "system"]
    content: Content


class OfferedTool(msgspec.Struct):
    """A tool: the caller's own (no type, or `custom`), or one of the upstream's."""

    type: str | None = None
    name: str | None = None
    description: str | None = None
    input_schema: dict[str, Raw] | None = None
    strict: bool | None = None
    allowed_domains: list[str] | None = None
    blocked_domains: list[str] | None = None
    max_uses: int | None = None
    user_location: Raw = NOTHING

    @property
    def is_custom(self) -> bool:
        """True when the caller runs it."""
        return self.type in (None, "custom")

    @property
    def is_web_search(self) -> bool:
        """True for any release of Anthropic's web search, such as web_search_20250305."""
        return self.type is not None and self.type.startswith("web_search")


class ToolChoice(msgspec.Struct):
    """How freely tools may be called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct):
    """How much to think: `type` is enabled, adaptive or disabled."""

    type: str
    budget_tokens: int | None = None
    display: str | None = None
    """What to show of it: summarized, or omitted (platform.claude.com, autumn 2026)."""

    @property
    def shown(self) -> ThoughtsShown:
        """How much of it the caller wants to see."""
        if self.type not in ("enabled", "adaptive"):
            return ThoughtsShown.NONE
        return ThoughtsShown.SEALED if self.display == "omitted" else ThoughtsShown.ALL


class OutputFormat(msgspec.Struct):
    """What the answer must look like."""

    type: Literal["json_schema"]
    schema: dict[str, Raw]


class OutputConfig(msgspec.Struct):
    """How to answer."""

    effort: _Effort | None = None
    format: OutputFormat | None = None


class Metadata(msgspec.Struct):
    """Who asks."""

    user_id: str | None = None


class CountBody(msgspec.Struct, kw_only=True):
    """A body of `POST /v1/messages/count_tokens`."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    messages: Annotated[list[Turn], Meta(min_length=1)]
    system: Content | None = None
    tools: Annotated[list[OfferedTool], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    """The beta's name for `output_config.format`."""
    metadata: Metadata | None = None
    mcp_servers: list[Raw] | None = None


class Body(CountBody, kw_only=True):
    """A body of `POST /v1/messages`."""

    max_tokens: _Tokens
    stream: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=2**31)] | None = None
    stop_sequences: list[str] | None = None


KNOWN_FIELDS = frozenset(Body.__struct_fields__) | {"cache_control"}
"""What crosses to other dialects, and a hint to a cache that they need not be told."""
