"""A caller's chat request in canonical form, for upstreams that speak another dialect.

In: a request that `request` has checked. Out: `core.request.Request`; what has no place there is
named in its `left_out`. Fields that the gateway acts on itself do not count as left out.
"""

import re

import msgspec
from msgspec import Raw

from groxy.core.errors import GroxyError
from groxy.core.parts import File, Image, Part, Reasoning, Text, ToolCall, ToolResult
from groxy.core.request import (
    Message,
    Options,
    OutputForm,
    Request,
    Role,
    ServerTool,
    Tool,
)
from groxy.dialects._base import Asked
from groxy.dialects.chat.choice import mark_of, marks_left, tool_use
from groxy.dialects.chat.hints import SERVER_TOOLS
from groxy.dialects.chat.search import is_on, search_tools
from groxy.dialects.chat.shapes import (
    Chat,
    MessageShape,
    PartShape,
    ReasoningOptions,
    SearchParameters,
    Source,
    ToolChoice,
    ToolFunction,
    chat_decoder,
)
from groxy.dialects.chat.sources import sealed_in
from groxy.wire.json import UNREADABLE, Fields, decode_request, encode

_HAS_A_PLACE = frozenset(
    {
        "frequency_penalty",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning",
        "reasoning_effort",
        "response_format",
        "search_parameters",
        "seed",
        "stop",
        "temperature",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
        "user",
    }
)
_OPTIONS = _HAS_A_PLACE - {"messages", "model", "search_parameters", "tools"}
"""What `_options` reads; most requests have none of it."""
_ACTED_ON = frozenset(
    {
        "deferred",
        "include_reasoning",
        "metadata",
        "models",
        "prompt_cache_key",
        "provider",
        "route",
        "session_id",
        "store",
        "stream",
        "stream_options",
        "usage",
    }
)
_NOT_LEFT_OUT = _HAS_A_PLACE | _ACTED_ON
_NO_OPTIONS = Options()
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_MAX_LEFT_OUT = 16
"""Names come from the caller and go into a header: a bounded number of plain ones."""
_LOW_EFFORT_TOKENS, _MEDIUM_EFFORT_TOKENS = 2_000, 8_000
_ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
    "function": Role.TOOL,
}


class _LiveSearch(msgspec.Struct):
    sources: list[Source] | None = None


_text_decoder = msgspec.json.Decoder(str)
_tools_decoder = msgspec.json.Decoder(list[Fields])
_live_search_decoder = msgspec.json.Decoder(_LiveSearch)


def prompt_text(asked: Asked) -> str:
    """Return all text of the request, a line a piece."""
    try:
        return canonical(asked).text
    except GroxyError:
        return encode(asked.fields).decode()  # More than the text, but the books must have a count.


def canonical(asked: Asked) -> Request:
    """Decode the request all the way.

    Raises UNSUPPORTED for a search that nobody offers any more, and BAD_JSON when the request is
    nested just so deep that only `decode_request`, with less of the stack in use, could read it.
    """
    chat = _decoded(asked)
    server_tools, lost = _server_tools(chat, asked.fields)
    return Request(
        model=chat.model,
        messages=tuple(_message(message) for message in chat.messages),
        tools=_functions(chat),
        server_tools=tuple(server_tools),
        options=_NO_OPTIONS if _OPTIONS.isdisjoint(asked.fields) else _options(chat),
        left_out=tuple((_left_out(asked.fields) + lost + _foreign_parts(chat))[:_MAX_LEFT_OUT]),
    )


def _decoded(asked: Asked) -> Chat:
    if asked.decoded is not None:
        fields, chat = asked.decoded
        if fields is asked.fields and isinstance(chat, Chat):
            return chat
    return decode_request(encode(asked.fields), chat_decoder)


def _left_out(fields: Fields) -> list[str]:
    return [
        name
        for name, value in fields.items()
        if name not in _NOT_LEFT_OUT and bytes(value) != b"null" and _NAME.fullmatch(name)
    ]


def _foreign_parts(chat: Chat) -> list[str]:
    kinds = {
        part.type: None
        for message in chat.messages
        if isinstance(message.content, list)
        for part in message.content
        if _part(part) is None and _NAME.fullmatch(part.type)
    }
    return [f"messages.{kind}" for kind in kinds]


def _options(chat: Chat) -> Options:
    choice, form = chat.tool_choice, chat.response_format
    named = choice.function.name if isinstance(choice, ToolChoice) and choice.function else None
    schema = form.json_schema if form else None
    return Options(
        max_output_tokens=chat.max_completion_tokens or chat.max_tokens,
        temperature=chat.temperature,
        top_p=chat.top_p,
        top_k=chat.top_k,
        presence_penalty=chat.presence_penalty,
        frequency_penalty=chat.frequency_penalty,
        choices=chat.n or 1,
        seed=chat.seed,
        stop=(chat.stop,) if isinstance(chat.stop, str) else tuple(chat.stop or ()),
        reasoning_effort=chat.reasoning_effort or _effort(chat.reasoning),
        logprobs=bool(chat.logprobs),
        top_logprobs=chat.top_logprobs,
        user=chat.user or "",
        tool_use=tool_use(choice),
        tool_name=named,
        parallel_tool_calls=chat.parallel_tool_calls is not False,
        output_form=OutputForm(form.type) if form else OutputForm.TEXT,
        output_schema=encode(schema.schema) if schema and schema.schema is not None else b"{}",
        output_name=(schema.name or "") if schema else "",
        output_strict=schema.strict if schema else None,
    )


def _effort(reasoning: ReasoningOptions | None) -> str | None:
    """Return OpenRouter's wish as an effort; a number of tokens becomes the next word for it."""
    if reasoning is None:
        return None
    if reasoning.enabled is False:
        return "none"
    if reasoning.effort or reasoning.max_tokens is None:
        return reasoning.effort
    if reasoning.max_tokens <= _LOW_EFFORT_TOKENS:
        return "low"
    return "medium" if reasoning.max_tokens <= _MEDIUM_EFFORT_TOKENS else "high"


# ------------------------------------------------------------------------------------------ tools


def _functions(chat: Chat) -> tuple[Tool, ...]:
    """Return the functions that may be called; the others are not offered, so that it holds."""
    left = marks_left(chat.tool_choice)
    return tuple(
        _tool(tool.function)
        for tool in chat.tools or ()
        if tool.function and (left is None or mark_of(tool) in left)
    )


def _tool(function: ToolFunction) -> Tool:
    return Tool(
        name=function.name,
        description=function.description or "",
        parameters=encode(function.parameters or {}),
        strict=function.strict,
    )


def _server_tools(chat: Chat, fields: Fields) -> tuple[list[ServerTool], list[str]]:
    """Return the tools that the upstream runs, and the names of those it could not know."""
    tools: list[ServerTool] = []
    lost: list[str] = []
    search = chat.search_parameters
    if search is not None and is_on(search):
        tools, lost = search_tools(search)
    if all(tool.type == "function" for tool in chat.tools or ()):
        return tools, lost
    left = marks_left(chat.tool_choice)
    for shape, raw in zip(chat.tools or (), _tools_decoder.decode(fields["tools"]), strict=True):
        if left is not None and mark_of(shape) not in left:
            continue
        if shape.type in SERVER_TOOLS:
            settings = {name: value for name, value in raw.items() if name != "type"}
            tools.append(ServerTool(kind=shape.type, settings=encode(settings)))
        elif shape.type == "live_search":
            live = decode_request(encode(raw), _live_search_decoder)
            tools += search_tools(SearchParameters(sources=live.sources))[0]
        elif shape.function is None and _NAME.fullmatch(shape.type):
            lost.append(f"tools.{shape.type}")
    return tools, lost


# --------------------------------------------------------------------------------------- messages


def _message(message: MessageShape) -> Message:
    parts: list[Part] = _thoughts(message)
    if message.role in ("tool", "function"):
        parts.append(_result(message))
    elif isinstance(message.content, str):
        parts.append(Text(text=message.content))
    else:
        parts.extend(filter(None, (_part(part) for part in message.content or ())))
    parts.extend(
        ToolCall(call_id=call.id, name=call.function.name, arguments=call.function.arguments)
        for call in message.tool_calls or ()
        if call.function
    )
    return Message(role=_ROLES[message.role], parts=tuple(parts), name=message.name or "")


def _thoughts(message: MessageShape) -> list[Part]:
    """Return what an assistant thought: as text, and as OpenRouter's sealed details."""
    text = message.reasoning_content or _text_in(message.reasoning)
    parts: list[Part] = [Reasoning(text=text)] if text else []
    if message.reasoning_details:
        parts += [
            Reasoning(text="", encrypted=sealed, item_id=item_id)
            for sealed, item_id in sealed_in(message.reasoning_details)
        ]
    return parts


def _text_in(raw: Raw) -> str:
    """Return a text that a reply held and a caller sends back; anything else was not ours."""
    if not raw:
        return ""
    try:
        return _text_decoder.decode(raw)
    except UNREADABLE:
        return ""


def _result(message: MessageShape) -> ToolResult:
    content = message.content
    if not isinstance(content, list):
        return ToolResult(call_id=message.tool_call_id or "", text=content or "")
    parts = [_part(part) for part in content]
    return ToolResult(
        call_id=message.tool_call_id or "",
        text="\n".join(part.text for part in content if part.text),
        images=tuple(part for part in parts if isinstance(part, Image)),
    )


def _part(part: PartShape) -> Part | None:
    if part.type == "text":
        return Text(text=part.text or "")
    if part.type == "refusal":
        return Text(text=part.refusal or "")
    if part.type == "image_url" and part.image_url:
        image = part.image_url
        if isinstance(image, str):
            return Image(url=image)
        return Image(url=image.url, detail=image.detail or "auto")
    if part.file:
        file = part.file
        return File(
            file_id=file.file_id or "",
            url=file.file_url or file.url or file.file_data or "",
            name=file.filename or "",
        )
    return None
