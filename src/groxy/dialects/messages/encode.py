"""Canonical requests written as Messages, for an upstream.

In: a `Request` of any dialect. Out: the body, and a word for each thing that Messages cannot say.
The system's messages are joined, turns of one role are merged so that user and assistant take
turns, and tool results come first in the user's turn, as Anthropic wants them. The same request
always gives the same bytes. Must not know which upstream it is for.
"""

import base64
import binascii
import re
from hashlib import blake2b
from typing import Any
from urllib.parse import unquote_to_bytes

from msgspec import Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import File, Image, Part, Reasoning, Text, ToolCall, ToolResult
from groxy.core.request import (
    Message,
    Options,
    OutputForm,
    Request,
    Role,
    ServerTool,
    Tool,
    ToolUse,
)
from groxy.wire.json import UNREADABLE, Fields, decode_any, decode_fields, encode

DEFAULT_MAX_TOKENS = 8192
"""Messages must say how long an answer may be; other dialects need not."""
_TOP_TEMPERATURE = 1
_NOT_IN_AN_ID = re.compile(r"[^a-zA-Z0-9_-]")
_SEARCH_SETTINGS = ("filters", "allowed_domains", "excluded_domains", "blocked_domains")

Block = dict[str, Any]


def encode_request(
    request: Request, *, model: str, effort: str | None, stream: bool
) -> tuple[Fields, list[str]]:
    """Return the body, and a word for each thing left out; see `_base.UpstreamsEnd`."""
    options = request.options
    _refuse_what_cannot_be_said(options)
    words = [f"{name} dropped" for name in request.left_out]
    system, turns = _conversation(request.messages)
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": options.max_output_tokens or DEFAULT_MAX_TOKENS,
    }
    if system:
        body["system"] = system
    body["messages"] = turns
    body |= _tools(request, words)
    body |= _sampling(options, words)
    body |= _output(options, effort, words)
    if options.user:
        body["metadata"] = {"user_id": options.user}
    if any(image.detail != "auto" for image in request.images):
        words.append("detail dropped")
    if any(message.name for message in request.messages):
        words.append("name dropped")
    body["stream"] = stream
    return {name: Raw(encode(value)) for name, value in body.items()}, words


def _unsupported(param: str, what: str) -> GroxyError:
    return GroxyError(ErrorKind.UNSUPPORTED, f"`{param}` {what}.", param=param)


def _refuse_what_cannot_be_said(options: Options) -> None:
    if options.choices > 1:
        raise _unsupported("n", "must be 1: the accounts left give one answer to a request")
    if options.output_form is OutputForm.JSON:
        raise _unsupported(
            options.output_field,
            "json_object is not known to the accounts left: give a json_schema instead",
        )


# ---------------------------------------------------------------------------------- settings


def _sampling(options: Options, words: list[str]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if options.temperature is not None:
        body["temperature"] = min(options.temperature, _TOP_TEMPERATURE)
        if options.temperature > _TOP_TEMPERATURE:
            words.append(f"temperature capped at {_TOP_TEMPERATURE}")
    if options.top_p is not None:
        body["top_p"] = options.top_p
    if options.top_k is not None:
        body["top_k"] = options.top_k
    unsaid = {
        "presence_penalty": options.presence_penalty is not None,
        "frequency_penalty": options.frequency_penalty is not None,
        "seed": options.seed is not None,
        "logprobs": options.logprobs,
        "top_logprobs": options.top_logprobs is not None,
    }
    words += [f"{name} dropped" for name, is_set in unsaid.items() if is_set]
    return body


def _output(options: Options, effort: str | None, words: list[str]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    config: dict[str, Any] = {}
    effort = effort if effort is not None else options.reasoning_effort
    if effort == "none":
        body["thinking"] = {"type": "disabled"}
    elif effort == "minimal":
        config["effort"] = "low"
        words.append("reasoning_effort minimal sent as low")
    elif effort is not None:
        config["effort"] = effort
    if options.output_form is OutputForm.SCHEMA:
        config["format"] = {"type": "json_schema", "schema": Raw(options.output_schema)}
    if config:
        body["output_config"] = config
    return body


# ------------------------------------------------------------------------------------- tools


def _tools(request: Request, words: list[str]) -> dict[str, Any]:
    tools = [_tool(tool) for tool in request.tools]
    tools += [_server_tool(tool, words) for tool in request.server_tools]
    if not tools:
        return {}
    choice = _tool_choice(request.options)
    return {"tools": tools} | ({"tool_choice": choice} if choice else {})


def _tool(tool: Tool) -> Block:
    try:
        schema = decode_fields(tool.parameters)
    except UNREADABLE:
        schema = {}
    if "type" not in schema:
        schema = {"type": Raw(b'"object"'), **schema}
    written: Block = {
        "name": tool.name,
        "description": tool.description,  # xAI requires one (OpenAPI document, 2026-08).
        "input_schema": schema,
    }
    return written | {"strict": True} if tool.strict else written


def _server_tool(tool: ServerTool, words: list[str]) -> Block:
    if tool.kind != "web_search":
        raise _unsupported("tools", f"of type {tool.kind[:64]} run on none of the accounts left")
    settings = decode_any(tool.settings)
    filters = settings.get("filters")
    domains = settings | (filters if isinstance(filters, dict) else {})
    written: Block = {"type": "web_search_20250305", "name": "web_search"}
    if allowed := domains.get("allowed_domains"):
        written["allowed_domains"] = allowed
    if blocked := domains.get("excluded_domains") or domains.get("blocked_domains"):
        written["blocked_domains"] = blocked
    for name, value in settings.items():
        if name == "user_location" and value:
            written[name] = value
        elif name not in _SEARCH_SETTINGS and value is not None:
            words.append(f"{name} dropped")
    return written


def _tool_choice(options: Options) -> Block | None:
    if options.tool_use is ToolUse.NONE:
        return {"type": "none"}
    choice: Block = {"type": "auto"}
    if options.tool_name is not None:
        choice = {"type": "tool", "name": options.tool_name}
    elif options.tool_use is ToolUse.REQUIRED:
        choice = {"type": "any"}
    if not options.parallel_tool_calls:
        choice["disable_parallel_tool_use"] = True
    return choice if choice != {"type": "auto"} else None


# ------------------------------------------------------------------------------ conversation


def _conversation(messages: tuple[Message, ...]) -> tuple[str, list[Block]]:
    """Return the system text, and the turns of the others."""
    rules: list[str] = []
    turns: list[tuple[str, list[Block], list[Block]]] = []
    for message in messages:
        if message.role is Role.SYSTEM:
            rules += [part.text for part in message.parts if isinstance(part, Text) and part.text]
            continue
        role = "assistant" if message.role is Role.ASSISTANT else "user"
        for part in message.parts:
            blocks = _blocks(part)
            if not blocks:
                continue
            if not turns or turns[-1][0] != role:
                turns.append((role, [], []))
            _, results, others = turns[-1]
            (results if isinstance(part, ToolResult) else others).extend(blocks)
    written = [
        {"role": role, "content": _brief(results + others)} for role, results, others in turns
    ]
    system = "\n\n".join(rules)
    # Messages must have a turn of the user; elsewhere a system text alone may ask.
    return (system, written) if written else ("", [{"role": "user", "content": system}])


def _brief(blocks: list[Block]) -> str | list[Block]:
    if len(blocks) == 1 and blocks[0]["type"] == "text":
        text: str = blocks[0]["text"]
        return text
    return blocks


def _blocks(part: Part) -> list[Block]:
    """Return the blocks of a part; none for empty text, which Anthropic refuses."""
    match part:
        case Text(text=text):
            return [{"type": "text", "text": text}] if text else []
        case Image():
            return [_image(part.url)]
        case File():
            return [_file(part)]
        case Reasoning():
            return _thoughts(part)
        case ToolCall():
            return [
                {
                    "type": "tool_use",
                    "id": _id(part.call_id),
                    "name": part.name,
                    "input": _input(part.arguments),
                }
            ]
        case ToolResult():
            return [_result(part)]


def _thoughts(part: Reasoning) -> list[Block]:
    """Return thoughts that are sealed; without their seal Anthropic refuses them."""
    if not part.encrypted:
        return []
    if part.text:
        return [{"type": "thinking", "thinking": part.text, "signature": part.encrypted}]
    return [{"type": "redacted_thinking", "data": part.encrypted}]


def _id(call_id: str) -> str:
    """Return a call's id in the characters that Anthropic takes, and no other call's.

    Ids that differ in other characters alone must not become the same.
    """
    spelled = _NOT_IN_AN_ID.sub("_", call_id)
    if spelled == call_id:
        return spelled
    digest = blake2b(call_id.encode(errors="replace"), digest_size=4).hexdigest()
    return f"{spelled}_{digest}"


def _input(arguments: str) -> Fields:
    """Return arguments as an object; those that were cut off are none."""
    try:
        return decode_fields(arguments.encode())
    except (*UNREADABLE, UnicodeEncodeError):
        return {}


def _result(part: ToolResult) -> Block:
    content: str | list[Block] = part.text
    if part.images:
        text: list[Block] = [{"type": "text", "text": part.text}] if part.text else []
        content = text + [_image(image.url) for image in part.images]
    block: Block = {"type": "tool_result", "tool_use_id": _id(part.call_id), "content": content}
    return block | {"is_error": True} if part.is_error else block


def _image(url: str) -> Block:
    held = _data_of(url)
    if held is None:
        return {"type": "image", "source": {"type": "url", "url": url}}
    media_type, data = held
    return {
        "type": "image",
        "source": {"type": "base64", "media_type": media_type, "data": data},
    }


def _file(part: File) -> Block:
    title = {"title": part.name} if part.name else {}
    if part.file_id:
        source: Block = {"type": "file", "file_id": part.file_id}
    elif (held := _data_of(part.url)) is None:
        source = {"type": "url", "url": part.url}
    else:
        media_type, data = held
        if media_type.startswith("image/"):
            return _image(part.url)
        source = _document_source(media_type, data)
    return {"type": "document", "source": source} | title


def _document_source(media_type: str, data: str) -> Block:
    if media_type == "application/pdf":
        return {"type": "base64", "media_type": media_type, "data": data}
    try:
        text = base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        message = "holds a file that is neither a PDF nor text: the accounts left take no other"
        raise _unsupported("messages", message) from None
    return {"type": "text", "media_type": "text/plain", "data": text}


def _data_of(url: str) -> tuple[str, str] | None:
    """Return the media type and base64 of a data URI; None for any other address."""
    if url[:5].lower() != "data:":
        return None
    head, _, data = url[5:].partition(",")
    media_type, *extras = (piece.strip().lower() for piece in head.split(";"))
    if "base64" not in extras:
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return media_type or "text/plain", data
