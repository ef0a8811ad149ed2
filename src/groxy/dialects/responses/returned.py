"""Calls on their way back: tools that went upstream as functions are what their caller named them.

In: items and events of an upstream of the same dialect. Out: the same, with custom tools and
namespaces restored. xAI knows neither (router-for-me/CLIProxyAPI#3704, #4434, 2026).
"""

from typing import Any

from msgspec import Raw

from groxy.dialects.responses.reading import read_item
from groxy.dialects.responses.tools import Offered, Offering, call_item, unwrapped_input
from groxy.wire.json import UNREADABLE, decode_any, encode

_CALL = b'"function_call"'


def changed_by(raw: Raw, offering: Offering) -> Offered | None:
    """Return the tool that an item calls, if its caller knows it otherwise."""
    if not offering.functions or _CALL not in bytes(raw):
        return None
    item = read_item(raw)
    return offering.changed(item.name) if item.type == "function_call" else None


def returned_item(raw: Raw, offering: Offering) -> Raw:
    """Return an output item as its caller knows it."""
    offered = changed_by(raw, offering)
    if offered is None:
        return raw
    item = read_item(raw)
    try:
        status = decode_any(raw).get("status")
    except UNREADABLE:
        status = None
    written = call_item(
        offered,
        item_id=item.id or "ctc_" + (item.call_id or ""),
        call_id=item.call_id or "",
        name=item.name or "",
        arguments=item.arguments or "",
        status=status if isinstance(status, str) else "completed",
    )
    return Raw(encode(written))


def returned_event(kind: str, fields: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Return an event about a custom tool's arguments as one about its input.

    None for one that is to be held back: fragments of JSON are no fragments of the input.
    """
    if kind == "response.function_call_arguments.delta":
        return None
    arguments = fields.pop("arguments", "")
    fields.pop("name", None)
    text = unwrapped_input(arguments) if isinstance(arguments, str) else ""
    kind = "response.custom_tool_call_input.done"
    return kind, fields | {"type": kind, "input": text}
