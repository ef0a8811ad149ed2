"""Responses requests in canonical form, for upstreams of other dialects.

In: a checked request. Out: a `Request`. Items of one turn of the assistant (thoughts, text, calls)
become one message; records of hosted tools are left out.
"""

from typing import Any

import msgspec
from msgspec import Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import File, Image, Part, Reasoning, Text, ToolCall, ToolResult
from groxy.core.request import Message, Options, OutputForm, Request, Role, ToolUse
from groxy.dialects._base import Asked
from groxy.dialects.responses.items import (
    CALL_OUTPUTS,
    CALLS,
    ContentPart,
    Item,
    is_own_summary,
    output_parts,
    read_items,
)
from groxy.dialects.responses.tools import Offering, offering_of, wrapped_input
from groxy.wire.json import decode_request as decode_json, encode

_READ = frozenset(
    # What canonical form holds, and what the gateway itself sees to or is of no weight.
    {
        "background",
        "client_metadata",
        "conversation",
        "frequency_penalty",
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "metadata",
        "model",
        "parallel_tool_calls",
        "presence_penalty",
        "previous_response_id",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
    }
)
_USUAL = {
    "truncation": ("disabled",),
    "service_tier": ("auto", "default"),
}
"""Values that say no more than leaving the field out."""
_LOGPROBS = "message.output_text.logprobs"
_ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
}


class _Reasoning(msgspec.Struct):
    effort: str | None = None


class _Format(msgspec.Struct):
    type: str = "text"
    name: str | None = None
    schema: Raw = Raw(b"{}")
    strict: bool | None = None


class _Text(msgspec.Struct):
    format: _Format | None = None
    verbosity: str | None = None


class _Wire(msgspec.Struct):
    model: str
    instructions: str | None = None
    include: list[str] | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    top_logprobs: int | None = None
    parallel_tool_calls: bool | None = None
    reasoning: _Reasoning | None = None
    text: _Text | None = None
    tool_choice: Any = None
    user: str | None = None
    safety_identifier: str | None = None


_decoder = msgspec.json.Decoder(_Wire)


def canonical(asked: Asked) -> Request:
    """Decode the request all the way.

    Raises UNSUPPORTED, naming the field, for what only an upstream of this dialect could take.
    """
    fields = asked.fields
    wire = decode_json(
        encode({name: raw for name, raw in fields.items() if name in _READ}), _decoder
    )
    offering = offering_of(fields)
    messages = Messages(offering)
    if wire.instructions:
        messages.say(Role.SYSTEM, [Text(text=wire.instructions)])
    for index, item in enumerate(read_items(fields["input"])):
        messages.take(item, f"input.{index}")
    options = _options(wire, offering)
    tools = [offered.tool for offered in offering.functions.values()]
    allowed = _allowed_names(wire.tool_choice, offering)
    if allowed is not None:
        tools = [tool for tool in tools if tool.name in allowed]
    return Request(
        model=wire.model,
        messages=messages.done(),
        tools=tuple(tools),
        server_tools=offering.server_tools,
        options=options,
        left_out=_left_out(asked, wire),
    )


def _left_out(asked: Asked, wire: _Wire) -> tuple[str, ...]:
    if bytes(asked.fields.get("prompt", Raw(b"null"))) != b"null":
        raise GroxyError(
            ErrorKind.UNSUPPORTED,
            "`prompt` names a template that this upstream does not have. Send its text as `input`.",
            param="prompt",
        )
    names = [
        name
        for name, raw in asked.fields.items()
        if name not in _READ and name != "prompt" and not _is_usual(name, raw)
    ]
    if wire.text and wire.text.verbosity not in (None, "medium"):
        names.append("text.verbosity")
    return tuple(names)


def _is_usual(name: str, raw: Raw) -> bool:
    value = bytes(raw)
    return value == b"null" or any(value == encode(usual) for usual in _USUAL.get(name, ()))


def _options(wire: _Wire, offering: Offering) -> Options:
    use, name = _tool_use(wire.tool_choice, offering)
    form = wire.text.format if wire.text else None
    is_schema = form is not None and form.type == "json_schema"
    return Options(
        max_output_tokens=wire.max_output_tokens,
        temperature=wire.temperature,
        top_p=wire.top_p,
        presence_penalty=wire.presence_penalty or None,
        frequency_penalty=wire.frequency_penalty or None,
        reasoning_effort=wire.reasoning.effort if wire.reasoning else None,
        logprobs=_LOGPROBS in (wire.include or ()) or bool(wire.top_logprobs),
        top_logprobs=wire.top_logprobs or None,
        user=wire.user or wire.safety_identifier or "",
        tool_use=use,
        tool_name=name,
        parallel_tool_calls=wire.parallel_tool_calls is not False,
        output_form=OutputForm(form.type) if form else OutputForm.TEXT,
        output_schema=bytes(form.schema) if form and is_schema else b"{}",
        output_name=(form.name or "") if form and is_schema else "",
        output_strict=form.strict if form and is_schema else None,
        output_field="text.format",
    )


def _tool_use(choice: object, offering: Offering) -> tuple[ToolUse, str | None]:
    if isinstance(choice, str):
        return ToolUse(choice), None
    if not isinstance(choice, dict):
        return ToolUse.AUTO, None
    name = choice.get("name")
    if choice.get("type") in ("function", "custom") and isinstance(name, str):
        return ToolUse.AUTO, offering.sent_name(name, None)
    if choice.get("type") == "allowed_tools":
        return ToolUse(choice.get("mode") or "auto"), None
    return ToolUse.REQUIRED, None


def _allowed_names(choice: object, offering: Offering) -> set[str] | None:
    """Return the functions that `allowed_tools` leaves; None when all are."""
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return None
    named = [tool for tool in choice.get("tools") or () if isinstance(tool, dict)]
    names = {str(tool.get("name")) for tool in named if tool.get("name")}
    return {offering.sent_name(name, None) for name in names}


class Messages:
    """Collects items into messages."""

    def __init__(self, offering: Offering) -> None:
        self._offering = offering
        self._messages: list[Message] = []
        self._turn: list[Part] = []
        """Of the assistant, so far."""

    def done(self) -> tuple[Message, ...]:
        """Return the messages."""
        self._end_turn()
        return tuple(self._messages)

    def say(self, role: Role, parts: list[Part]) -> None:
        """Add a message; one of the assistant goes on with its turn."""
        if role is Role.ASSISTANT:
            self._turn += parts
            return
        self._end_turn()
        self._messages.append(Message(role=role, parts=tuple(parts)))

    def take(self, item: Item, where: str) -> None:
        """Add an item; raise UNSUPPORTED for one that only Responses could carry."""
        kind = item.kind
        if kind == "message":
            content = item.content or ""
            self.say(_ROLES.get(item.role or "", Role.USER), parts_of(content, where))
        elif kind == "reasoning":
            self._turn.append(_reasoning(item))
        elif kind in CALLS:
            self._turn.append(self._call(item))
        elif kind in CALL_OUTPUTS:
            self._end_turn()
            self._messages.append(Message(role=Role.TOOL, parts=(_result(item, where),)))
        elif kind.startswith("compaction") and not is_own_summary(item):
            raise GroxyError(
                ErrorKind.UNSUPPORTED,
                f"`{where}` is a compaction that only the upstream which made it can read. "
                "Send the items themselves.",
                param=where,
            )

    def _call(self, item: Item) -> ToolCall:
        is_custom = item.kind == "custom_tool_call"
        written = item.input if is_custom else item.arguments
        text = written if isinstance(written, str) else ""
        return ToolCall(
            call_id=item.call_id or "",
            name=self._offering.sent_name(item.name or "", item.namespace),
            arguments=wrapped_input(text) if is_custom else text,
        )

    def _end_turn(self) -> None:
        if self._turn:
            self._messages.append(Message(role=Role.ASSISTANT, parts=tuple(self._turn)))
            self._turn = []


def _reasoning(item: Item) -> Reasoning:
    said = [part.text for part in item.summary or () if part.text]
    if not said and isinstance(item.content, list):
        said = [part.text for part in item.content if part.text]
    return Reasoning(
        text="\n\n".join(said), encrypted=item.encrypted_content or "", item_id=item.id or ""
    )


def _result(item: Item, where: str) -> ToolResult:
    output = output_parts(item, where)
    if isinstance(output, str):
        return ToolResult(call_id=item.call_id or "", text=output)
    parts = parts_of(output, f"{where}.output")
    for part in parts:
        if isinstance(part, File):
            raise _not_carried(f"{where}.output", "a file as a tool's output")
    return ToolResult(
        call_id=item.call_id or "",
        text="\n".join(part.text for part in parts if isinstance(part, Text)),
        images=tuple(part for part in parts if isinstance(part, Image)),
    )


def parts_of(content: str | list[ContentPart], where: str) -> list[Part]:
    """Return content in canonical form; raise UNSUPPORTED for what has none."""
    if isinstance(content, str):
        return [Text(text=content)]
    parts: list[Part] = []
    for index, part in enumerate(content):
        if part.type == "input_image":
            parts.append(_image(part, f"{where}.content.{index}"))
        elif part.type == "input_file":
            parts.append(_file(part))
        elif part.type == "input_audio":
            raise _not_carried(f"{where}.content.{index}", "sound")
        else:
            parts.append(Text(text=part.text or part.refusal or ""))
    return parts


def _image(part: ContentPart, where: str) -> Image:
    if not part.image_url:
        raise _not_carried(where, "a picture by its file_id")
    return Image(url=part.image_url, detail=part.detail or "auto")


def _file(part: ContentPart) -> File:
    data = part.file_data or ""
    if data and not data.startswith("data:"):
        data = "data:application/pdf;base64," + data
    return File(file_id=part.file_id or "", url=part.file_url or data, name=part.filename or "")


def _not_carried(where: str, what: str) -> GroxyError:
    message = f"`{where}` is {what}, which this upstream cannot be sent. Send it in another form."
    return GroxyError(ErrorKind.UNSUPPORTED, message, param=where)


def prompt_text(asked: Asked) -> str:
    """Return all text of the request, a line a piece."""
    try:
        return canonical(asked).text
    except GroxyError:
        # More than the text, but the books must have a count.
        return encode(asked.fields).decode(errors="replace")
