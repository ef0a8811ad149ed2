"""Chat requests: what a caller sends, checked; what goes upstream; and the canonical form.

Checks types and ranges and names the field at fault; everything it does not know it keeps. What a
certain upstream or model cannot do is not decided here.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import File, Image, Part, Reasoning, Text, ToolCall, ToolResult
from groxy.core.request import Message, Options, OutputForm, Request, Role, Tool, ToolUse
from groxy.dialects._base import Asked
from groxy.wire.json import Fields, decode_fields, decode_request as decode_json, encode

_Count = Annotated[int, Meta(ge=1, le=128)]
_Tokens = Annotated[int, Meta(ge=1, le=2**31)]
_Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
_MAX_TOOLS = 200
"""xAI's function calling guide, 2026: 200 tools at most."""


class _Url(msgspec.Struct):
    url: str
    detail: str | None = None


class _FileRef(msgspec.Struct):
    file_id: str | None = None
    file_url: str | None = None
    url: str | None = None
    file_data: str | None = None
    filename: str | None = None


class _Part(msgspec.Struct):
    type: str
    text: str | None = None
    image_url: _Url | str | None = None
    file: _FileRef | None = None


class _Function(msgspec.Struct):
    name: Annotated[str, Meta(min_length=1)]
    arguments: str = ""


class _ToolCall(msgspec.Struct):
    id: str
    function: _Function | None = None
    type: str = "function"


class _Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[_Part] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None


class _ToolFunction(msgspec.Struct):
    name: Annotated[str, Meta(min_length=1)]
    description: str | None = None
    parameters: dict[str, Raw] | None = None


class _Tool(msgspec.Struct):
    type: str
    function: _ToolFunction | None = None


class _JsonSchema(msgspec.Struct):
    schema: dict[str, Raw] | bool | None = None
    name: str | None = None


class _ResponseFormat(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _NamedFunction(msgspec.Struct):
    name: str


class _NamedTool(msgspec.Struct):
    type: str = "function"
    function: _NamedFunction | None = None


class _Chat(msgspec.Struct):
    model: Annotated[str, Meta(min_length=1, max_length=256)]
    messages: Annotated[list[_Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    n: _Count | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    max_tokens: _Tokens | None = None
    max_completion_tokens: _Tokens | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    reasoning_effort: _Effort | None = None
    response_format: _ResponseFormat | None = None
    tools: Annotated[list[_Tool], Meta(max_length=_MAX_TOOLS)] | None = None
    tool_choice: str | _NamedTool | None = None
    parallel_tool_calls: bool | None = None
    user: str | None = None


_decoder = msgspec.json.Decoder(_Chat)


def decode_request(body: bytes) -> Asked:
    """Check a caller's body; raise `GroxyError` that names the field at fault."""
    chat = decode_json(body, _decoder)
    _check_messages(chat.messages)
    _check_tools(chat)
    streams_usage = chat.stream_options is not None and chat.stream_options.include_usage
    return Asked(
        model=chat.model,
        stream=chat.stream,
        fields=decode_fields(body),
        wants_usage=bool(streams_usage),
        requires=_abilities(chat),
    )


def _check_messages(messages: list[_Message]) -> None:
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        if message.role == "tool" and not message.tool_call_id:
            raise _bad(f"{where}.tool_call_id", "is required on a tool message")
        if message.content is None and message.role in ("user", "system", "developer", "tool"):
            raise _bad(f"{where}.content", f"is required on a {message.role} message")
        if isinstance(message.content, list):
            for at, part in enumerate(message.content):
                _check_part(part, f"{where}.content.{at}")


def _check_part(part: _Part, where: str) -> None:
    if part.type == "text" and part.text is None:
        raise _bad(f"{where}.text", "is required on a text part")
    if part.type == "image_url" and not part.image_url:
        raise _bad(f"{where}.image_url", "is required on an image_url part")


def _check_tools(chat: _Chat) -> None:
    for index, tool in enumerate(chat.tools or ()):
        if tool.type == "function" and tool.function is None:
            raise _bad(f"tools.{index}.function", "is required on a function tool")
    if isinstance(chat.tool_choice, str):
        known = [use.value for use in ToolUse]
        if chat.tool_choice not in known:
            raise _bad("tool_choice", f"must be one of {', '.join(known)}, or name a function")
    form = chat.response_format
    if (
        form
        and form.type == "json_schema"
        and (not form.json_schema or not form.json_schema.schema)
    ):
        raise _bad("response_format.json_schema.schema", "is required when type is json_schema")


def _bad(param: str, what: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, f"`{param}` {what}.", param=param)


def _abilities(chat: _Chat) -> frozenset[str]:
    needed = set()
    if chat.tools:
        needed.add("tools")
    if chat.response_format and chat.response_format.type == "json_schema":
        needed.add("schema")
    if any(
        part.type == "image_url"
        for message in chat.messages
        if isinstance(message.content, list)
        for part in message.content
    ):
        needed.add("image")
    return frozenset(needed)


def outgoing(asked: Asked, *, model: str, effort: str | None, stream: bool) -> Fields:
    """Return the body for an upstream: the caller's own, with only what the gateway decides."""
    fields = dict(asked.fields)
    fields["model"] = Raw(encode(model))
    if effort is not None:
        fields["reasoning_effort"] = Raw(encode(effort))
    if stream:
        fields["stream"] = Raw(b"true")
        # Always asked for upstream: the books need it even when the caller does not.
        fields["stream_options"] = Raw(b'{"include_usage":true}')
    else:
        fields.pop("stream", None)
        fields.pop("stream_options", None)
    return fields


def prompt_text(asked: Asked) -> str:
    """Return all text of the request, a line a piece."""
    try:
        request = canonical(asked)
    except GroxyError:
        return encode(asked.fields).decode()  # More than the text, but the books must have a count.
    pieces = [tool.name + tool.description + tool.parameters.decode() for tool in request.tools]
    for message in request.messages:
        for part in message.parts:
            match part:
                case Text(text=text) | ToolResult(text=text) | Reasoning(text=text):
                    pieces.append(text)
                case ToolCall(name=name, arguments=arguments):
                    pieces.append(name + arguments)
                case Image() | File():
                    pass
    return "\n".join(pieces)


def canonical(asked: Asked) -> Request:
    """Decode the request all the way.

    Raises BAD_JSON when it is nested just so deep that only `decode_request`, with less of the
    stack in use, could read it.
    """
    chat = decode_json(encode(asked.fields), _decoder)
    return Request(
        model=chat.model,
        messages=tuple(_message(message) for message in chat.messages),
        tools=tuple(_tool(tool.function) for tool in chat.tools or () if tool.function),
        options=_options(chat),
    )


def _options(chat: _Chat) -> Options:
    choice, form = chat.tool_choice, chat.response_format
    named = choice.function.name if isinstance(choice, _NamedTool) and choice.function else None
    schema = form.json_schema.schema if form and form.json_schema else None
    return Options(
        max_output_tokens=chat.max_completion_tokens or chat.max_tokens,
        temperature=chat.temperature,
        top_p=chat.top_p,
        choices=chat.n or 1,
        seed=chat.seed,
        stop=(chat.stop,) if isinstance(chat.stop, str) else tuple(chat.stop or ()),
        reasoning_effort=chat.reasoning_effort,
        logprobs=bool(chat.logprobs),
        tool_use=ToolUse(choice) if isinstance(choice, str) else ToolUse.AUTO,
        tool_name=named,
        parallel_tool_calls=chat.parallel_tool_calls is not False,
        output_form=OutputForm(form.type) if form else OutputForm.TEXT,
        output_schema=encode(schema) if schema is not None else b"{}",
    )


def _tool(function: _ToolFunction) -> Tool:
    return Tool(
        name=function.name,
        description=function.description or "",
        parameters=encode(function.parameters or {}),
    )


_ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
    "function": Role.TOOL,
}


def _message(message: _Message) -> Message:
    parts: list[Part] = []
    if message.reasoning_content:
        parts.append(Reasoning(text=message.reasoning_content))
    if message.role in ("tool", "function"):
        parts.append(ToolResult(call_id=message.tool_call_id or "", text=_plain(message.content)))
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


def _plain(content: str | list[_Part] | None) -> str:
    if isinstance(content, list):
        return "\n".join(part.text for part in content if part.text)
    return content or ""


def _part(part: _Part) -> Part | None:
    if part.type == "text":
        return Text(text=part.text or "")
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
