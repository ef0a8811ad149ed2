"""The tools of a request: functions, custom tools, namespaces of both, and hosted ones.

In: a request's fields. Out: an `Offering`, in which every function has the one flat name that goes
upstream, and can be found by it again when the model calls it. Custom tools become functions with
one text parameter `input`, as no other dialect, and not xAI, has them.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Raw

from groxy.core.request import ServerTool, Tool
from groxy.wire.json import UNREADABLE, Fields, decode_any, encode

CUSTOM_PARAMETERS = (
    b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],'
    b'"additionalProperties":false}'
)
"""What a custom tool takes when it is told as a function."""
NO_PARAMETERS = b'{"type":"object","properties":{}}'
_EMPTY = (b"", b"null", b"{}")


class _Definition(msgspec.Struct):
    type: str = ""
    name: str | None = None
    description: str | None = None
    parameters: Raw = Raw(b"")
    strict: bool | None = None
    tools: list[Raw] | None = None


class _ItemWithTools(msgspec.Struct):
    type: str | None = None
    tools: list[Raw] | None = None


_definition_decoder = msgspec.json.Decoder(_Definition)
_list_decoder = msgspec.json.Decoder(list[Raw])
_fields_decoder = msgspec.json.Decoder(Fields)
_items_decoder = msgspec.json.Decoder(list[_ItemWithTools])


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A function or custom tool that the model may call."""

    sent: str
    """Its name upstream."""
    name: str
    """Its name as the caller has it."""
    namespace: str = ""
    is_custom: bool = False
    description: str = ""
    parameters: bytes = NO_PARAMETERS
    strict: bool | None = None

    @property
    def is_changed(self) -> bool:
        """True when the caller knows it otherwise than the upstream."""
        return self.is_custom or bool(self.namespace)

    @property
    def tool(self) -> Tool:
        """It in canonical form."""
        return Tool(
            name=self.sent,
            description=self.description,
            parameters=self.parameters,
            strict=self.strict,
        )


@dataclass(slots=True)
class Offering:
    """All tools of a request."""

    functions: dict[str, Offered] = field(default_factory=dict)
    """By the name they have upstream."""
    hosted: list[Fields] = field(default_factory=list)
    """Tools that an upstream runs, as they came."""

    @property
    def server_tools(self) -> tuple[ServerTool, ...]:
        """The hosted ones in canonical form."""
        return tuple(
            ServerTool(
                kind=kind_of(tool),
                settings=encode({name: raw for name, raw in tool.items() if name != "type"}),
            )
            for tool in self.hosted
        )

    def changed(self, name: object) -> Offered | None:
        """Return the tool of that name upstream, if its caller knows it otherwise."""
        offered = self.functions.get(name) if isinstance(name, str) else None
        return offered if offered is not None and offered.is_changed else None

    def sent_name(self, name: str, namespace: str | None) -> str:
        """Return the name upstream of a tool that its caller calls so."""
        for offered in self.functions.values():
            if offered.name == name and (not namespace or offered.namespace == namespace):
                return offered.sent
        return name


def kind_of(fields: Fields) -> str:
    """Return the `type` of an object; empty when it has none."""
    try:
        kind = decode_any(fields.get("type", Raw(b'""')))
    except UNREADABLE:
        return ""
    return kind if isinstance(kind, str) else ""


def offering_of(fields: Fields) -> Offering:
    """Return the tools of a request; what cannot be read is left out."""
    offering = Offering()
    for raw in _definitions(fields):
        try:
            _add(offering, raw)
        except UNREADABLE:
            continue
    return offering


def _definitions(fields: Fields) -> Iterator[Raw]:
    """Yield the definitions in `tools`, then those in `additional_tools` items (Codex, 2026)."""
    with suppress(*UNREADABLE):
        yield from _list_decoder.decode(fields.get("tools", Raw(b"[]")))
    held = fields.get("input", Raw(b""))
    if b'"additional_tools"' not in bytes(held):
        return
    try:
        items = _items_decoder.decode(held)
    except UNREADABLE:
        return
    for item in items:
        if item.type == "additional_tools":
            yield from item.tools or ()


def _add(offering: Offering, raw: Raw, namespace: str = "") -> None:
    tool = _definition_decoder.decode(raw)
    if tool.type == "namespace":
        for inner in tool.tools or ():
            _add(offering, inner, tool.name or "")
        return
    if tool.type not in ("function", "custom") or not tool.name:
        offering.hosted.append(_fields_decoder.decode(raw))
        return
    sent = tool.name
    if sent in offering.functions and namespace:
        sent = f"{namespace}__{sent}"
    parameters = bytes(tool.parameters)
    offering.functions[sent] = Offered(
        sent=sent,
        name=tool.name,
        namespace=namespace,
        is_custom=tool.type == "custom",
        description=tool.description or "",
        parameters=_parameters(tool.type, parameters),
        strict=tool.strict,
    )


def _parameters(kind: str, written: bytes) -> bytes:
    if kind == "custom":
        return CUSTOM_PARAMETERS
    return NO_PARAMETERS if written in _EMPTY else written


def wrapped_input(text: str) -> str:
    """Return a custom tool's input as the arguments of a function."""
    return encode({"input": text}).decode()


def unwrapped_input(arguments: str) -> str:
    """Return a custom tool's input from the arguments a model wrote; as they are if it erred."""
    try:
        read = decode_any(arguments.encode())
    except (*UNREADABLE, UnicodeEncodeError):
        return arguments
    value = read.get("input") if isinstance(read, dict) else None
    return value if isinstance(value, str) else arguments


def call_item(
    offered: Offered | None, *, item_id: str, call_id: str, name: str, arguments: str, status: str
) -> dict[str, Any]:
    """Return the item of a call, the way its caller knows the tool."""
    item: dict[str, Any] = {"id": item_id, "type": "function_call", "status": status}
    item |= {"call_id": call_id, "name": offered.name if offered else name}
    if offered is not None and offered.namespace:
        item["namespace"] = offered.namespace
    if offered is not None and offered.is_custom:
        item["type"] = "custom_tool_call"
        item["input"] = unwrapped_input(arguments) if arguments else ""
    else:
        item["arguments"] = arguments
    return item
