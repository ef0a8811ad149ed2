"""Chat requests: what a caller sends, checked, and what goes to an upstream of the same dialect.

Checks types and ranges and names the field at fault; everything it does not know it keeps. What a
certain upstream or model cannot do is not decided here.
"""

from collections.abc import Sequence

from msgspec import Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.request import ToolUse
from groxy.dialects._base import Asked
from groxy.dialects._bounds import open_body
from groxy.dialects.chat import hints
from groxy.dialects.chat.choice import check_allowed
from groxy.dialects.chat.shapes import Chat, MessageShape, PartShape, chat_decoder
from groxy.wire.json import Fields, decode_request as decode_json, encode

_NO_TOOLS: frozenset[str] = frozenset()


def decode_request(body: bytes) -> Asked:
    """Check a caller's body; raise `GroxyError` that names the field at fault."""
    chat = decode_json(body, chat_decoder)
    fields, max_cost_ticks = open_body(body)
    _check_messages(chat.messages)
    _check_tools(chat)
    parts = hints.parts_of(chat)
    if chat.deferred and chat.stream:
        raise _bad("deferred", "cannot go with `stream`: leave one of them out")
    wants_cost = chat.usage is not None and bool(chat.usage.include)
    streams_usage = chat.stream_options is not None and chat.stream_options.include_usage
    return Asked(
        model=chat.model,
        stream=chat.stream,
        fields=fields,
        wants_usage=bool(streams_usage) or wants_cost,
        requires=_abilities(chat, parts),
        carriers=hints.carriers(chat, parts),
        conversation=hints.conversation(chat),
        tool_names=_tool_names(chat) if chat.tools else _NO_TOOLS,
        may_name_files=hints.may_name_files(parts),
        is_deferred=bool(chat.deferred),
        fallbacks=tuple(chat.models or ()),
        preferences=hints.preferences(chat.provider),
        wants_cost=wants_cost,
        max_cost_ticks=max_cost_ticks,
        decoded=(fields, chat),
    )


def _check_messages(messages: list[MessageShape]) -> None:
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        if message.role == "tool" and not message.tool_call_id:
            raise _bad(f"{where}.tool_call_id", "is required on a tool message")
        if message.content is None and message.role in ("user", "system", "developer", "tool"):
            raise _bad(f"{where}.content", f"is required on a {message.role} message")
        if isinstance(message.content, list):
            for at, part in enumerate(message.content):
                _check_part(part, f"{where}.content.{at}")


def _check_part(part: PartShape, where: str) -> None:
    if part.type == "text" and part.text is None:
        raise _bad(f"{where}.text", "is required on a text part")
    if part.type == "image_url" and not part.image_url:
        raise _bad(f"{where}.image_url", "is required on an image_url part")


def _check_tools(chat: Chat) -> None:
    for index, tool in enumerate(chat.tools or ()):
        if tool.type == "function" and tool.function is None:
            raise _bad(f"tools.{index}.function", "is required on a function tool")
    if isinstance(chat.tool_choice, str):
        known = [use.value for use in ToolUse]
        if chat.tool_choice not in known:
            raise _bad("tool_choice", f"must be one of {', '.join(known)}, or name a function")
    check_allowed(chat)
    form = chat.response_format
    if (
        form
        and form.type == "json_schema"
        and (not form.json_schema or not form.json_schema.schema)
    ):
        raise _bad("response_format.json_schema.schema", "is required when type is json_schema")


def _bad(param: str, what: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, f"`{param}` {what}.", param=param)


def _tool_names(chat: Chat) -> frozenset[str]:
    return frozenset(tool.function.name for tool in chat.tools or () if tool.function is not None)


def _abilities(chat: Chat, parts: Sequence[PartShape]) -> frozenset[str]:
    needed = set()
    if chat.tools:
        needed.add("tools")
    if chat.response_format and chat.response_format.type == "json_schema":
        needed.add("schema")
    if any(part.type == "image_url" for part in parts):
        needed.add("image")
    return frozenset(needed)


def outgoing(asked: Asked, *, model: str, effort: str | None, stream: bool) -> Fields:
    """Return the body for an upstream: the caller's own, with only what the gateway decides."""
    fields = dict(asked.fields)
    fields.pop("deferred", None)  # The reply is kept here; a receipt of the upstream's is no use.
    fields["model"] = Raw(encode(model))
    if effort is not None:
        fields["reasoning_effort"] = Raw(encode(effort))
    if stream:
        fields["stream"] = Raw(b"true")
        # Always asked for upstream: the books need it even when the caller does not.
        fields["stream_options"] = Raw(b'{"include_usage":true}')
    else:
        # Said, not left out: there are upstreams that stream unless they are told not to.
        fields["stream"] = Raw(b"false")
        fields.pop("stream_options", None)
    return fields
