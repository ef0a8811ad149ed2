"""A canonical request written as chat, for upstreams that speak it.

In: a request that came in another dialect. Out: the body's fields, and a word for each thing that
chat cannot say. The same request always gives the same bytes. Stop texts are not sent, see
`dialects._base.UpstreamsEnd`; pictures of a tool's result follow in a user's message, because a
tool's message is text only.
"""

from typing import Any

from msgspec import Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import File, Image, Part, Reasoning, Text, ToolCall, ToolResult
from groxy.core.request import Message, Options, OutputForm, Request, Role, Tool, ToolUse
from groxy.wire.json import Fields, encode

_ERROR_MARK = "Error: "
_SEE_PICTURES = "The result is the picture in the next message."
_USUAL_SCHEMA_NAME = "answer"


def encode_request(
    request: Request, *, model: str, effort: str | None, stream: bool
) -> tuple[Fields, list[str]]:
    """Return the body for an upstream, and a word for each thing that it cannot say.

    Raises UNSUPPORTED, naming `tools`, for tools that the upstream would have to run itself.
    """
    _check_server_tools(request)
    body: dict[str, Any] = {"model": model, "messages": _messages(request.messages)}
    body |= _tool_fields(request)
    body |= _option_fields(request.options)
    effort = effort if effort is not None else request.options.reasoning_effort
    if effort is not None:
        body["reasoning_effort"] = effort
    body["stream"] = stream
    if stream:
        body["stream_options"] = {"include_usage": True}
    return {name: Raw(encode(value)) for name, value in body.items()}, _lost(request)


def _check_server_tools(request: Request) -> None:
    if request.server_tools:
        kind = request.server_tools[0].kind
        message = (
            f"No account that serves this model runs `{kind}` itself. Leave the tool out, or "
            "offer it as a function and run it yourself."
        )
        raise GroxyError(ErrorKind.UNSUPPORTED, message, param="tools")


def _lost(request: Request) -> list[str]:
    options = request.options
    words = ["top_k dropped"] if options.top_k is not None else []
    if options.logprobs or options.top_logprobs is not None:
        words.append("logprobs dropped")
    return words + [f"{name} dropped" for name in request.left_out]


# ---------------------------------------------------------------------------------- tools, options


def _tool_fields(request: Request) -> dict[str, Any]:
    if not request.tools:
        return {}  # xAI refuses a tool_choice without tools (CLIProxyAPI#3704, 2026).
    options = request.options
    fields: dict[str, Any] = {"tools": [_tool(tool) for tool in request.tools]}
    if options.tool_name is not None:
        fields["tool_choice"] = {"type": "function", "function": {"name": options.tool_name}}
    elif options.tool_use is not ToolUse.AUTO:
        fields["tool_choice"] = options.tool_use.value
    if not options.parallel_tool_calls:
        fields["parallel_tool_calls"] = False
    return fields


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = Raw(tool.parameters)
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _option_fields(options: Options) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "response_format": _response_format(options),
        "max_completion_tokens": options.max_output_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "presence_penalty": options.presence_penalty,
        "frequency_penalty": options.frequency_penalty,
        "n": options.choices if options.choices > 1 else None,
        # Written by hand: a caller's seed may have more bits than the encoder takes.
        "seed": Raw(str(options.seed).encode()) if options.seed is not None else None,
        "user": options.user or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _response_format(options: Options) -> dict[str, Any] | None:
    if options.output_form is OutputForm.TEXT:
        return None
    if options.output_form is OutputForm.JSON:
        return {"type": "json_object"}
    schema: dict[str, Any] = {
        "name": options.output_name or _USUAL_SCHEMA_NAME,
        "schema": Raw(options.output_schema),
    }
    if options.output_strict is not None:
        schema["strict"] = options.output_strict
    return {"type": "json_schema", "json_schema": schema}


# --------------------------------------------------------------------------------------- messages


def _messages(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = []
    pictures: list[Image] = []
    for message in messages:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        rest = tuple(part for part in message.parts if not isinstance(part, ToolResult))
        written += [_result(result) for result in results]
        pictures += [image for result in results for image in result.images]
        if not results or rest:
            # Only now: all results of a turn must follow their calls without anything between.
            written += _shown(pictures)
            pictures = []
            written += _spoken(message, rest)
    return written + _shown(pictures)


def _result(result: ToolResult) -> dict[str, Any]:
    text = result.text or (_SEE_PICTURES if result.images else "")
    if result.is_error and not text.startswith(_ERROR_MARK):
        text = _ERROR_MARK + text
    return {"role": "tool", "tool_call_id": result.call_id, "content": text}


def _shown(pictures: list[Image]) -> list[dict[str, Any]]:
    """Return the message that shows what tools returned as pictures, if they did."""
    if not pictures:
        return []
    return [{"role": "user", "content": [_image(picture) for picture in pictures]}]


def _spoken(message: Message, parts: tuple[Part, ...]) -> list[dict[str, Any]]:
    role = Role.USER if message.role is Role.TOOL else message.role
    written: dict[str, Any] = {"role": role.value, "content": _content(parts)}
    if message.name:
        written["name"] = message.name
    if role is not Role.ASSISTANT:
        return [written]
    thoughts = [part.text for part in parts if isinstance(part, Reasoning) and part.text]
    if thoughts:
        written["reasoning_content"] = "\n".join(thoughts)
    calls = [part for part in parts if isinstance(part, ToolCall)]
    if calls:
        written["content"] = written["content"] or None
        written["tool_calls"] = [_call(call) for call in calls]
    is_only_sealed = bool(parts) and all(isinstance(part, Reasoning) for part in parts)
    return [] if is_only_sealed and not thoughts else [written]


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.call_id, "type": "function", "function": function}


def _content(parts: tuple[Part, ...]) -> str | list[dict[str, Any]]:
    """Return one text as it is: not every upstream takes a list where text would do."""
    said = [written for part in parts if (written := _part(part)) is not None]
    if not said:
        return ""
    if len(said) == 1 and said[0]["type"] == "text":
        text: str = said[0]["text"]
        return text
    return said


def _part(part: Part) -> dict[str, Any] | None:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Image():
            return _image(part)
        case File():
            return {"type": "file", "file": _file(part)}
        case Reasoning() | ToolCall() | ToolResult():
            return None


def _image(image: Image) -> dict[str, Any]:
    url = {"url": image.url}
    if image.detail != "auto":
        url["detail"] = image.detail
    return {"type": "image_url", "image_url": url}


def _file(file: File) -> dict[str, str]:
    """Return a file by its id, held in the request, or by URL, the way xAI takes one."""
    held = "file_data" if file.url.startswith("data:") else "url"
    fields = {"file_id": file.file_id, held: file.url, "filename": file.name}
    return {name: value for name, value in fields.items() if value}
