"""Messages requests: what a caller sends, checked; what goes upstream; and the canonical form.

Checks what is known and names the field at fault; unknown fields are ignored and, where upstream
and caller speak alike, kept. What a certain upstream cannot do is not decided here.
"""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import Part, Text
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
from groxy.dialects._base import Asked, ThoughtsShown, conversation_key
from groxy.dialects._bounds import open_body
from groxy.dialects.messages import attribution, sealing
from groxy.dialects.messages.blocks import (
    assistant_parts,
    blocks_of,
    check_block,
    invalid,
    system_texts,
    user_parts,
)
from groxy.dialects.messages.shapes import KNOWN_FIELDS, Body, CountBody, OfferedTool, Turn
from groxy.wire.json import (
    UNREADABLE,
    Fields,
    decode_fields,
    decode_request as decode_json,
    encode,
)

_LOW_BUDGET = 4096
_MEDIUM_BUDGET = 16384
_SEARCHERS = ("messages", "responses")
"""Dialects with a web search of the upstream's own."""

_body_decoder = msgspec.json.Decoder(Body)
_count_decoder = msgspec.json.Decoder(CountBody)
_objects_decoder = msgspec.json.Decoder(list[Fields])
"""Turns, or blocks: opened one level, what is in them stays as it is spelled."""
_text_decoder = msgspec.json.Decoder(str | None)


# ------------------------------------------------------------------------------ what came, checked


def decode_request(body: bytes) -> Asked:
    """Check a caller's body; raise `GroxyError` that names the field at fault."""
    read = decode_json(body, _body_decoder)
    asked = _asked(read, body)
    asked.stream = read.stream
    return asked


def decode_count_request(body: bytes) -> Asked:
    """Check a body of count_tokens, which has neither max_tokens nor stream."""
    return _asked(decode_json(body, _count_decoder), body)


def _asked(read: CountBody, body: bytes) -> Asked:
    fields, max_cost_ticks = open_body(body)
    for index, turn in enumerate(read.messages):
        for at, block in enumerate(blocks_of(turn.content)):
            check_block(block, f"messages.{index}.content.{at}")
    _check_system(read)
    _check_tools(read)
    tools = read.tools or ()
    explicit = read.metadata.user_id if read.metadata else None
    return Asked(
        model=read.model,
        stream=None,
        fields=fields,
        requires=_abilities(read),
        carriers=_SEARCHERS if any(tool.is_web_search for tool in tools) else (),
        conversation=conversation_key(explicit, _system_text(read), _opening(read)),
        tool_names=frozenset(tool.name for tool in tools if tool.is_custom and tool.name),
        thoughts_shown=read.thinking.shown if read.thinking else ThoughtsShown.NONE,
        max_cost_ticks=max_cost_ticks,
    )


def _check_system(read: CountBody) -> None:
    for index, block in enumerate(blocks_of(read.system or "")):
        if block.type != "text" or block.text is None:
            raise invalid(f"system.{index}", "must be a text block")


def _check_tools(read: CountBody) -> None:
    for index, tool in enumerate(read.tools or ()):
        if not tool.is_custom:
            continue
        if not tool.name:
            raise invalid(f"tools.{index}.name", "is required on a tool")
        if tool.input_schema is None:
            raise invalid(f"tools.{index}.input_schema", "is required on a tool")
    choice = read.tool_choice
    if choice is not None and choice.type == "tool" and not choice.name:
        raise invalid("tool_choice.name", "is required when type is tool")


def _abilities(read: CountBody) -> frozenset[str]:
    needed = set()
    if read.tools:
        needed.add("tools")
    if _schema_of(read) is not None:
        needed.add("schema")
    blocks = (block for turn in read.messages for block in blocks_of(turn.content))
    if any(
        block.type == "image"
        or (block.type == "tool_result" and b'"image"' in bytes(block.content))
        for block in blocks
    ):
        needed.add("image")
    return frozenset(needed)


def _schema_of(read: CountBody) -> dict[str, Raw] | None:
    form = (read.output_config.format if read.output_config else None) or read.output_format
    return form.schema if form else None


def _system_text(read: CountBody) -> str:
    return _joined(block.text or "" for block in blocks_of(read.system or ""))


def _joined(texts: Iterable[str]) -> str:
    """Return the texts of a system as one, without the attribution."""
    left = (attribution.without_attribution(text) for text in texts)
    return "\n\n".join(text for text in left if text)


def _opening(read: CountBody) -> str:
    turn = next((turn for turn in read.messages if turn.role == "user"), None)
    return "\n".join(block.text or "" for block in blocks_of(turn.content)) if turn else ""


# ------------------------------------------------------------------------- what goes on unchanged


def outgoing(asked: Asked, *, model: str, effort: str | None, stream: bool) -> Fields:
    """Return the body for an upstream: the caller's own, with only what the gateway decides.

    Claude Code's attribution is taken out, and sealed thoughts go back as the upstream sealed them.
    What is opened for that is opened no deeper than needed: numbers keep their spelling.
    """
    fields = dict(asked.fields)
    fields["model"] = Raw(encode(model))
    # Said also where it is not wanted: there are upstreams that stream unless they are told not to.
    fields["stream"] = Raw(b"true" if stream else b"false")
    if effort is not None:
        _set_effort(fields, effort)
    try:
        _strip_attribution(fields)
        _open_tokens(fields)
    except UNREADABLE:  # Only `decode_request`, with less of the stack in use, could read it.
        message = "The request body is nested too deeply. Flatten it and try again."
        raise GroxyError(ErrorKind.BAD_JSON, message) from None
    return fields


def _set_effort(fields: Fields, effort: str) -> None:
    try:
        config = decode_fields(fields["output_config"])
    except (KeyError, *UNREADABLE):
        config = {}
    if effort == "none":
        config.pop("effort", None)
        fields["thinking"] = Raw(b'{"type":"disabled"}')
    else:
        config["effort"] = Raw(encode("low" if effort == "minimal" else effort))
    if config:
        fields["output_config"] = Raw(encode(config))
    else:
        fields.pop("output_config", None)


def _strip_attribution(fields: Fields) -> None:
    mark = attribution.MARK.encode()
    if mark in bytes(fields.get("system", b"")):
        system = _without_attribution(fields["system"])
        if system is None:
            del fields["system"]
        else:
            fields["system"] = system
    if mark not in bytes(fields["messages"]):
        return
    turns: list[Fields] = []
    for turn in _objects_decoder.decode(fields["messages"]):
        content: Raw | None = turn["content"]
        if _text_decoder.decode(turn["role"]) == "system":
            content = _without_attribution(turn["content"])
        if content is not None:
            turns.append(turn | {"content": content})
    if turns:  # Else nobody asks anything, which the upstream may say itself.
        fields["messages"] = Raw(encode(turns))


def _without_attribution(content: Raw) -> Raw | None:
    """Return what a system says without the attribution; None when nothing is left."""
    if not _is_list(content):
        text = attribution.without_attribution(_text_decoder.decode(content) or "")
        return Raw(encode(text)) if text else None
    blocks: list[Fields] = []
    for block in _objects_decoder.decode(content):
        text = _text_decoder.decode(block.get("text", b"null"))
        if text is None:
            blocks.append(block)
        elif left := attribution.without_attribution(text):
            blocks.append(block if left == text else block | {"text": Raw(encode(left))})
    return Raw(encode(blocks)) if blocks else None


def _open_tokens(fields: Fields) -> None:
    """Put back what upstreams sealed; a token of ours would be an invalid signature to them."""
    if sealing.MARK not in bytes(fields["messages"]):
        return
    turns = _objects_decoder.decode(fields["messages"])
    for turn in turns:
        content = turn["content"]
        if sealing.MARK in bytes(content) and _is_list(content):
            blocks = [_with_opened_tokens(block) for block in _objects_decoder.decode(content)]
            turn["content"] = Raw(encode(blocks))
    fields["messages"] = Raw(encode(turns))


def _with_opened_tokens(block: Fields) -> Fields:
    opened = {
        name: sealing.opened_token(_text_decoder.decode(block[name]))
        for name in ("signature", "data")
        if name in block
    }
    return block | {name: Raw(encode(token[0])) for name, token in opened.items() if token}


def _is_list(content: Raw) -> bool:
    return bytes(content)[:1] == b"["


# ------------------------------------------------------------------------- the canonical request


def prompt_text(asked: Asked) -> str:
    """Return all text of the request, a line a piece."""
    try:
        return canonical(asked).text
    except GroxyError:
        return encode(asked.fields).decode()  # More than the text, but the books must have a count.


def canonical(asked: Asked) -> Request:
    """Decode the request all the way; also one that asks only to be counted.

    Raises UNSUPPORTED, naming the field, for what no other dialect has.
    """
    body = encode(asked.fields)
    read: CountBody
    if "max_tokens" in asked.fields:
        read = decode_json(body, _body_decoder)
    else:
        read = decode_json(body, _count_decoder)
    if read.mcp_servers:
        message = "`mcp_servers` cannot be carried to any account here. Offer their tools yourself."
        raise GroxyError(ErrorKind.UNSUPPORTED, message, param="mcp_servers")
    system = _system_text(read)
    messages = [Message(role=Role.SYSTEM, parts=(Text(text=system),))] if system else []
    for index, turn in enumerate(read.messages):
        messages.extend(_messages(turn, f"messages.{index}"))
    tools, server_tools, left_out = _tools(read.tools or ())
    unknown = [
        name
        for name, raw in asked.fields.items()
        if name not in KNOWN_FIELDS and bytes(raw) != b"null"
    ]
    return Request(
        model=read.model,
        messages=tuple(messages),
        tools=tools,
        server_tools=server_tools,
        options=_options(read),
        left_out=(*unknown, *left_out),
    )


def _messages(turn: Turn, where: str) -> list[Message]:
    if turn.role == "assistant":
        return [Message(role=Role.ASSISTANT, parts=tuple(assistant_parts(turn.content)))]
    if turn.role == "system":
        text = _joined(system_texts(turn.content, where))
        return [Message(role=Role.SYSTEM, parts=(Text(text=text),))] if text else []
    results, parts = user_parts(turn.content, where)
    # Elsewhere a result stands alone, and right behind the turn that asked for it.
    messages = [Message(role=Role.TOOL, parts=(result,)) for result in results]
    if parts or not results:
        messages.append(Message(role=Role.USER, parts=tuple[Part, ...](parts)))
    return messages


def _tools(
    tools: Sequence[OfferedTool],
) -> tuple[tuple[Tool, ...], tuple[ServerTool, ...], list[str]]:
    own: list[Tool] = []
    theirs: list[ServerTool] = []
    left_out: list[str] = []
    for index, tool in enumerate(tools):
        if tool.is_web_search:
            theirs.append(_web_search(tool))
            left_out += [f"tools.{index}.max_uses"] if tool.max_uses is not None else []
        elif tool.is_custom:
            own.append(
                Tool(
                    name=tool.name or "",
                    description=tool.description or "",
                    parameters=encode(tool.input_schema or {}),
                    strict=tool.strict,
                )
            )
        else:
            param = f"tools.{index}.type"
            message = (
                f"`{param}`: no account here can run the tool {(tool.type or '')[:64]!r}. "
                "Offer it as a tool of your own, with a name and an input_schema."
            )
            raise GroxyError(ErrorKind.UNSUPPORTED, message, param=param)
    return tuple(own), tuple(theirs), left_out


def _web_search(tool: OfferedTool) -> ServerTool:
    settings: dict[str, object] = {}
    if tool.allowed_domains:
        settings["allowed_domains"] = tool.allowed_domains
    elif tool.blocked_domains:
        settings["excluded_domains"] = tool.blocked_domains
    if bytes(tool.user_location) not in (b"", b"null"):
        settings["user_location"] = tool.user_location
    return ServerTool(kind="web_search", settings=encode(settings))


def _options(read: CountBody) -> Options:
    schema = _schema_of(read)
    choice = read.tool_choice if read.tools else None
    uses = {"any": ToolUse.REQUIRED, "none": ToolUse.NONE}
    asked = read if isinstance(read, Body) else None
    return Options(
        max_output_tokens=asked.max_tokens if asked else None,
        temperature=asked.temperature if asked else None,
        top_p=asked.top_p if asked else None,
        top_k=asked.top_k if asked else None,
        stop=tuple((asked.stop_sequences if asked else None) or ()),
        reasoning_effort=_effort_of(read),
        user=(read.metadata.user_id if read.metadata else None) or "",
        tool_use=uses.get(choice.type, ToolUse.AUTO) if choice else ToolUse.AUTO,
        tool_name=choice.name if choice and choice.type == "tool" else None,
        parallel_tool_calls=not (choice and choice.disable_parallel_tool_use),
        output_form=OutputForm.TEXT if schema is None else OutputForm.SCHEMA,
        output_schema=b"{}" if schema is None else encode(schema),
    )


def _effort_of(read: CountBody) -> str | None:
    """Return how hard to think: what the caller says of effort, else what its budget comes to."""
    if read.output_config and read.output_config.effort:
        return read.output_config.effort
    thinking = read.thinking
    if thinking is None:
        return None
    if thinking.type == "disabled":
        return "none"
    if thinking.type != "enabled" or thinking.budget_tokens is None:
        return None
    if thinking.budget_tokens <= _LOW_BUDGET:
        return "low"
    return "medium" if thinking.budget_tokens <= _MEDIUM_BUDGET else "high"
