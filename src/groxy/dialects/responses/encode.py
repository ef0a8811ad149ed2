"""The upstream's end of a request: the canonical form becomes a Responses body.

In: a request. Out: fields, and a word for each thing that Responses cannot say. The same request
always gives the same bytes, for the sake of upstreams' prompt caches.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from msgspec import Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import File, Image, Reasoning, Text, ToolCall, ToolResult
from groxy.core.request import Message, Options, OutputForm, Request, Role, Tool, ToolUse
from groxy.dialects.responses.tools import NO_PARAMETERS
from groxy.wire.json import Fields, decode_fields, encode

_DEFAULT_NAME = "answer"
"""Responses wants a name for a schema."""


def encode_request(
    request: Request, *, model: str, effort: str | None, stream: bool
) -> tuple[Fields, list[str]]:
    """Return the body for an upstream, and a word for each thing that it cannot say.

    Raises UNSUPPORTED, naming `n`, for more than one choice.
    """
    options = request.options
    if options.choices > 1:
        message = "This model gives one answer per request here. Leave `n` out, or ask `n` times."
        raise GroxyError(ErrorKind.UNSUPPORTED, message, param="n")
    body: dict[str, Any] = {"model": model}
    body["input"] = [item for message in request.messages for item in _items(message)]
    body |= _tools(request)
    body |= _settings(options, effort)
    body["store"] = False
    body["include"] = ["reasoning.encrypted_content"]
    body["stream"] = stream
    fields = {name: Raw(encode(value)) for name, value in body.items()}
    return fields, [f"{name} dropped" for name in _unsaid(options) + list(request.left_out)]


def _unsaid(options: Options) -> list[str]:
    """Return what was asked for and has no place in Responses."""
    asked = {
        "presence_penalty": options.presence_penalty,
        "frequency_penalty": options.frequency_penalty,
        "seed": options.seed,
        "top_k": options.top_k,
        "logprobs": options.logprobs or None,
        "top_logprobs": options.top_logprobs or None,
    }
    return [name for name, value in asked.items() if value is not None]


def _settings(options: Options, effort: str | None) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "max_output_tokens": options.max_output_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "user": options.user or None,
    }
    effort = effort or options.reasoning_effort
    if effort is not None:
        has_thoughts = effort != "none"
        settings["reasoning"] = {"effort": effort} | ({"summary": "auto"} if has_thoughts else {})
    match options.output_form:
        case OutputForm.TEXT:
            pass
        case OutputForm.JSON:
            settings["text"] = {"format": {"type": "json_object"}}
        case OutputForm.SCHEMA:
            settings["text"] = {"format": _schema_format(options)}
    return {name: value for name, value in settings.items() if value is not None}


def _schema_format(options: Options) -> dict[str, Any]:
    name, schema = options.output_name or _DEFAULT_NAME, Raw(options.output_schema)
    written: dict[str, Any] = {"type": "json_schema", "name": name, "schema": schema}
    if options.output_strict is not None:
        written["strict"] = options.output_strict
    return written


def _tools(request: Request) -> dict[str, Any]:
    tools = [_function(tool) for tool in request.tools]
    tools += [{"type": tool.kind, **decode_fields(tool.settings)} for tool in request.server_tools]
    if not tools:
        return {}
    said: dict[str, Any] = {"tools": tools}
    options = request.options
    if options.tool_name:
        said["tool_choice"] = {"type": "function", "name": options.tool_name}
    elif options.tool_use is not ToolUse.AUTO:
        said["tool_choice"] = options.tool_use.value
    if not options.parallel_tool_calls:
        said["parallel_tool_calls"] = False
    return said


def _function(tool: Tool) -> dict[str, Any]:
    written: dict[str, Any] = {"type": "function", "name": tool.name}
    if tool.description:
        written["description"] = tool.description
    written["parameters"] = Raw(tool.parameters if tool.parameters != b"{}" else NO_PARAMETERS)
    # Left out it would mean true at OpenAI, which other dialects' callers did not ask for.
    written["strict"] = bool(tool.strict)
    return written


def _items(message: Message) -> Iterator[dict[str, Any]]:
    """Yield the items of a message: its content in messages, calls and thoughts beside them."""
    content: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, Text | Image | File):
            content += _content(part, message.role)
            continue
        if content:
            yield _message(message.role, content)
            content = []
        yield from _item(part)
    if content:
        yield _message(message.role, content)


def _message(role: Role, content: list[dict[str, Any]]) -> dict[str, Any]:
    speaker = "user" if role is Role.TOOL else role.value
    is_plain = len(content) == 1 and content[0]["type"] == "input_text"
    said: Any = content[0]["text"] if is_plain else content
    return {"type": "message", "role": speaker, "content": said}


def _content(part: Text | Image | File, role: Role) -> list[dict[str, Any]]:
    match part:
        case Text():
            kind = "output_text" if role is Role.ASSISTANT else "input_text"
            return [{"type": kind, "text": part.text}] if part.text else []
        case Image():
            return [{"type": "input_image", "image_url": part.url, "detail": part.detail}]
        case File():
            return [_file(part)]


def _file(file: File) -> dict[str, Any]:
    written: dict[str, Any] = {"type": "input_file"}
    if file.file_id:
        written["file_id"] = file.file_id
    elif file.url.startswith("data:"):
        written |= {"filename": file.name or "document", "file_data": file.url}
    else:
        written["file_url"] = file.url
    return written


def _item(part: Reasoning | ToolCall | ToolResult) -> Iterator[dict[str, Any]]:
    match part:
        case Reasoning():
            # Without the seal it is of no use to an upstream, which knows nothing by its id.
            if part.encrypted:
                yield _thoughts(part)
        case ToolCall():
            call = {"type": "function_call", "call_id": part.call_id, "name": part.name}
            yield call | {"arguments": part.arguments or "{}"}
        case ToolResult():
            output: Any = part.text
            if part.images:
                shown = [one for image in part.images for one in _content(image, Role.TOOL)]
                output = _content(Text(text=part.text), Role.TOOL) + shown
            yield {"type": "function_call_output", "call_id": part.call_id, "output": output}


def _thoughts(part: Reasoning) -> dict[str, Any]:
    digest = blake2b(part.encrypted.encode(errors="replace"), digest_size=12).hexdigest()
    return {
        "type": "reasoning",
        "id": part.item_id or f"rs_{digest}",
        "summary": [{"type": "summary_text", "text": part.text}] if part.text else [],
        "encrypted_content": part.encrypted,
    }
