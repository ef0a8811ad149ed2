"""The shape of a chat request, as far as it is checked: types and ranges, nothing else.

Fields that are not named here are kept as bytes, and so are parts of those that are. Sources:
OpenAI's API reference, xAI's OpenAPI document and OpenRouter's openapi.yaml, as of August 2026.
"""

from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from groxy.wire.json import Fields

Count = Annotated[int, Meta(ge=1, le=128)]
Tokens = Annotated[int, Meta(ge=1, le=2**31)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
ModelName = Annotated[str, Meta(min_length=1, max_length=256)]
ProviderNames = Annotated[list[Annotated[str, Meta(max_length=256)]], Meta(max_length=100)]
MAX_TOOLS = 200
"""xAI's function calling guide, 2026: 200 tools at most."""
MAX_FALLBACKS = 10


class Url(msgspec.Struct):
    """Where a picture is."""

    url: str
    detail: str | None = None


class FileRef(msgspec.Struct):
    """Where a file is; which field says so depends on the vendor."""

    file_id: str | None = None
    file_url: str | None = None
    url: str | None = None
    file_data: str | None = None
    filename: str | None = None


class PartShape(msgspec.Struct):
    """A part of a message's content."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: Url | str | None = None
    file: FileRef | None = None
    file_id: Raw = Raw(b"")
    source: Raw = Raw(b"")


class Function(msgspec.Struct):
    """The function part of a tool call."""

    name: Annotated[str, Meta(min_length=1)]
    arguments: str = ""


class CallShape(msgspec.Struct):
    """A tool call that an assistant made."""

    id: str
    function: Function | None = None
    type: str = "function"


class MessageShape(msgspec.Struct):
    """One message."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[PartShape] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    reasoning: Raw = Raw(b"")
    reasoning_details: Raw = Raw(b"")
    tool_calls: list[CallShape] | None = None
    tool_call_id: str | None = None
    function_call: Fields | None = None


class ToolFunction(msgspec.Struct):
    """A function that is offered."""

    name: Annotated[str, Meta(min_length=1)]
    description: str | None = None
    parameters: dict[str, Raw] | None = None
    strict: bool | None = None


class ToolShape(msgspec.Struct):
    """A tool that is offered; without a function it is one that the upstream runs itself."""

    type: str
    function: ToolFunction | None = None


class JsonSchema(msgspec.Struct):
    """The schema of an answer."""

    schema: dict[str, Raw] | bool | None = None
    name: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    """What the answer must look like."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(msgspec.Struct):
    """What a stream is to have."""

    include_usage: bool | None = None


class UsageOptions(msgspec.Struct):
    """OpenRouter's way to ask for usage and its cost."""

    include: bool | None = None


class NamedFunction(msgspec.Struct):
    """A function by its name."""

    name: str


class NamedTool(msgspec.Struct):
    """A tool by its name; without a function by its type."""

    type: str = "function"
    function: NamedFunction | None = None


class AllowedTools(msgspec.Struct):
    """The tools that may be called, of all that are offered."""

    tools: Annotated[list[NamedTool], Meta(max_length=MAX_TOOLS)] | None = None
    mode: Literal["auto", "required"] | None = None


class ToolChoice(NamedTool):
    """The tool that must be called, or those that may be."""

    allowed_tools: AllowedTools | None = None


class ReasoningOptions(msgspec.Struct):
    """OpenRouter's `reasoning` object."""

    effort: Effort | None = None
    enabled: bool | None = None
    max_tokens: int | None = None


class Source(msgspec.Struct):
    """A source of xAI's live search."""

    type: str
    allowed_websites: list[str] | None = None
    excluded_websites: list[str] | None = None
    included_x_handles: list[str] | None = None
    x_handles: list[str] | None = None
    excluded_x_handles: list[str] | None = None


class SearchParameters(msgspec.Struct):
    """xAI's live search."""

    mode: str | None = None
    sources: list[Source] | None = None
    from_date: str | None = None
    to_date: str | None = None
    max_search_results: int | None = None


class Sort(msgspec.Struct):
    """OpenRouter's longer way to say how accounts are sorted."""

    by: Literal["price", "throughput", "latency"] | None = None


class MaxPrice(msgspec.Struct):
    """US dollars per million tokens, at most."""

    prompt: Decimal | None = None
    completion: Decimal | None = None


class Provider(msgspec.Struct):
    """OpenRouter's wishes of routing (provider-selection.mdx, August 2026)."""

    order: ProviderNames | None = None
    only: ProviderNames | None = None
    ignore: ProviderNames | None = None
    allow_fallbacks: bool | None = None
    require_parameters: bool | None = None
    data_collection: Literal["allow", "deny"] | None = None
    sort: Literal["price", "throughput", "latency"] | Sort | None = None
    max_price: MaxPrice | None = None


class Chat(msgspec.Struct):
    """A chat request."""

    model: ModelName
    messages: Annotated[list[MessageShape], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=2**31)] | None = None
    n: Count | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    reasoning_effort: Effort | None = None
    reasoning: ReasoningOptions | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[ToolShape], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Raw] | None = None
    function_call: str | Fields | None = None
    search_parameters: SearchParameters | None = None
    user: str | None = None
    prompt_cache_key: str | None = None
    session_id: str | None = None
    metadata: Raw = Raw(b"")
    deferred: bool | None = None
    models: Annotated[list[ModelName], Meta(max_length=MAX_FALLBACKS)] | None = None
    provider: Provider | None = None
    usage: UsageOptions | None = None


chat_decoder = msgspec.json.Decoder(Chat)
