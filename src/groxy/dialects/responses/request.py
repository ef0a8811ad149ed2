"""Responses requests: what a caller sends, checked, and what goes to an upstream that speaks it.

Checks types and ranges and names the field at fault; everything it does not know it keeps. What a
certain upstream or model cannot do is not decided here.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw

from groxy.core.errors import GroxyError
from groxy.dialects._base import Asked, conversation_key
from groxy.dialects._bounds import open_body
from groxy.dialects.responses.items import (
    CALL_OUTPUTS,
    ContentPart,
    Item,
    bad,
    check_items,
    output_parts,
    raw_items,
    read_items,
    resent,
)
from groxy.dialects.responses.tools import Offering, offering_of
from groxy.wire.json import (
    UNREADABLE,
    Fields,
    decode_any,
    decode_fields,
    decode_request as decode_json,
    encode,
)

_Tokens = Annotated[int, Meta(ge=1, le=2**31)]
_Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
_Choice = Literal["auto", "none", "required"]
MAX_TOOLS = 200
"""xAI's function calling guide, 2026: 200 tools at most."""
SEALED = "reasoning.encrypted_content"
"""The word in `include` for sealed thoughts."""


class _Reasoning(msgspec.Struct):
    effort: _Effort | None = None
    summary: str | None = None


class _Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema: dict[str, Raw] | None = None
    strict: bool | None = None


class _Text(msgspec.Struct):
    format: _Format | None = None


class _Tool(msgspec.Struct):
    type: Annotated[str, Meta(min_length=1)]
    name: str | None = None
    parameters: dict[str, Raw] | msgspec.UnsetType | None = msgspec.UNSET
    tools: list[Raw] | None = None


class _ToolChoice(msgspec.Struct):
    type: Annotated[str, Meta(min_length=1)]
    name: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[Raw] | None = None


class _Request(msgspec.Struct):
    model: Annotated[str, Meta(min_length=1, max_length=256)]
    input: Raw
    instructions: str | None = None
    tools: list[Raw] | None = None
    tool_choice: Raw = Raw(b"null")
    parallel_tool_calls: bool | None = None
    reasoning: _Reasoning | None = None
    text: _Text | None = None
    include: list[str] | None = None
    max_output_tokens: _Tokens | None = None
    metadata: dict[str, str] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    background: bool | None = None
    conversation: Raw = Raw(b"null")
    stream: bool | None = None
    user: str | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


_decoder = msgspec.json.Decoder(_Request)
_tool_decoder = msgspec.json.Decoder(_Tool)
_choice_decoder = msgspec.json.Decoder(_Choice | _ToolChoice | None)
_names_decoder = msgspec.json.Decoder(list[str])
_raw_items_decoder = msgspec.json.Decoder(list[Raw])


def decode_request(body: bytes) -> Asked:
    """Check a caller's body; raise `GroxyError` that names the field at fault."""
    wire = decode_json(body, _decoder)
    fields, max_cost_ticks = open_body(body)
    items = _checked_input(wire)
    _check_tools(wire)
    _check_settings(wire)
    offering = offering_of(fields)
    return Asked(
        model=wire.model,
        stream=wire.stream,
        fields=fields,
        wants_usage=True,
        requires=_abilities(wire, items, offering),
        carriers=("responses",) if offering.hosted else (),
        conversation=_conversation(fields, items),
        tool_names=frozenset(offering.functions),
        keeps=wire.store is not False,
        continues=wire.previous_response_id or "",
        max_cost_ticks=max_cost_ticks,
    )


def _checked_input(wire: _Request) -> list[Item]:
    if bytes(wire.input) in (b'""', b"[]", b"null"):
        raise bad("input", "is empty; send text or at least one item")
    items = read_items(wire.input)
    check_items(items)
    return items


def _check_settings(wire: _Request) -> None:
    if wire.background:
        raise bad("background", "is not offered; leave it out")
    if bytes(wire.conversation) != b"null":
        raise bad("conversation", "is not offered; use previous_response_id")
    form = wire.text.format if wire.text else None
    if form is not None and form.type == "json_schema" and form.schema is None:
        raise bad("text.format.schema", "is required when type is json_schema")


def _check_tools(wire: _Request) -> None:
    count = 0
    for index, raw in enumerate(wire.tools or ()):
        count += _check_tool(raw, f"tools.{index}")
    if count > MAX_TOOLS:
        raise bad("tools", f"holds {count} tools; {MAX_TOOLS} is the most that models take")
    choice = _decoded(wire.tool_choice, _choice_decoder, "tool_choice")
    if isinstance(choice, _ToolChoice):
        if choice.type in ("function", "custom") and not choice.name:
            raise bad("tool_choice.name", f"is required when type is {choice.type}")
        if choice.type == "allowed_tools" and not choice.tools:
            raise bad("tool_choice.tools", "is required when type is allowed_tools")


def _check_tool(raw: Raw, where: str) -> int:
    """Raise for what is wrong with a tool; return how many it stands for."""
    tool = _decoded(raw, _tool_decoder, where)
    if tool.type == "namespace":
        inner = tool.tools or ()
        return sum(_check_tool(one, f"{where}.tools.{at}") for at, one in enumerate(inner))
    if tool.type not in ("function", "custom"):
        return 1
    if not tool.name:
        raise bad(f"{where}.name", "is required: name and parameters stand beside the type here")
    if tool.type == "function" and tool.parameters is msgspec.UNSET:
        raise bad(f"{where}.parameters", "is required; it is the JSON Schema of the arguments")
    return 1


def _decoded(raw: Raw, decoder: msgspec.json.Decoder[Any], where: str) -> Any:  # noqa: ANN401
    """Decode a part of the body; an error names its place in the whole."""
    try:
        return decode_json(bytes(raw), decoder)
    except GroxyError as error:
        place = f"{where}.{error.param}" if error.param else where
        reason = error.message.partition(": ")[2].rstrip(".") or "it is required"
        raise bad(place, f"is invalid: {reason}") from None


def _abilities(wire: _Request, items: list[Item], offering: Offering) -> frozenset[str]:
    needed = set()
    if offering.functions or offering.hosted:
        needed.add("tools")
    if wire.text and wire.text.format and wire.text.format.type == "json_schema":
        needed.add("schema")
    if any(part.type == "input_image" for item in items for part in _parts_of(item)):
        needed.add("image")
    return frozenset(needed)


def _parts_of(item: Item) -> list[ContentPart]:
    held = output_parts(item, "input") if item.kind in CALL_OUTPUTS else item.content
    return held if isinstance(held, list) else []


def conversation_of(fields: Fields) -> str:
    """Return what stays the same from turn to turn of a conversation; empty when nothing does."""
    return _conversation(fields, read_items(fields["input"]))


def _conversation(fields: Fields, items: list[Item]) -> str:
    explicit = _text_of(fields.get("prompt_cache_key"))
    if explicit:
        return conversation_key(explicit)
    opening = [_text_of(fields.get("instructions"))]
    for item in items:
        if item.kind != "message" or item.role == "assistant":
            continue
        content = item.content
        if isinstance(content, list):
            content = "\n".join(part.text or part.image_url or "" for part in content)
        opening.append(content or "")
        if item.role == "user":
            break
    return conversation_key(None, *opening) if any(opening) else ""


def _text_of(raw: Raw | None) -> str:
    try:
        value = decode_any(raw) if raw is not None else ""
    except UNREADABLE:
        return ""
    return value if isinstance(value, str) else ""


def outgoing(asked: Asked, *, model: str, effort: str | None, stream: bool) -> Fields:
    """Return the body for an upstream: the caller's own, with only what the gateway decides.

    State is kept by the gateway, so the upstream stores nothing; thoughts come back sealed, for
    the turns that follow.
    """
    fields = dict(asked.fields)
    fields["model"] = Raw(encode(model))
    fields["store"] = Raw(b"false")
    fields["include"] = _with_sealed(fields.get("include"))
    fields.pop("previous_response_id", None)
    fields.pop("background", None)
    if effort is not None:
        fields["reasoning"] = _with_effort(fields.get("reasoning"), effort)
    if asked.continues:
        fields["input"] = Raw(encode([resent(raw) for raw in raw_items(fields["input"])]))
    if b'"reasoning"' in bytes(fields["input"]):
        fields["input"] = _without_open_thoughts(fields["input"])
    if stream:
        fields["stream"] = Raw(b"true")
    else:
        # Said, not left out: there are upstreams that stream unless they are told not to.
        fields["stream"] = Raw(b"false")
        fields.pop("stream_options", None)
    return fields


def _with_sealed(raw: Raw | None) -> Raw:
    try:
        names = _names_decoder.decode(raw) if raw is not None else []
    except UNREADABLE:  # It was null.
        names = []
    return Raw(encode(names if SEALED in names else [*names, SEALED]))


def _with_effort(raw: Raw | None, effort: str) -> Raw:
    try:
        reasoning = decode_fields(raw) if raw is not None else {}
    except UNREADABLE:  # It was null.
        reasoning = {}
    return Raw(encode(reasoning | {"effort": Raw(encode(effort))}))


class _Thought(msgspec.Struct):
    type: str | None = None
    encrypted_content: str | None = None


_thoughts_decoder = msgspec.json.Decoder(list[_Thought])


def _without_open_thoughts(held: Raw) -> Raw:
    """Leave out thoughts that are not sealed.

    They refer by their id to what an upstream keeps; as it keeps nothing, OpenAI answers 404
    `Item with id 'rs_…' not found` (openai-agents-python#919, 2025).
    """
    try:
        thoughts, items = _thoughts_decoder.decode(held), _raw_items_decoder.decode(held)
    except UNREADABLE:
        return held
    kept = [
        item
        for thought, item in zip(thoughts, items, strict=True)
        if thought.type != "reasoning" or thought.encrypted_content
    ]
    return Raw(encode(kept)) if len(kept) < len(items) else held
