"""Input items: what they are, whether they are sound, and how they are kept.

In: a request's `input`. Out: checked items, each with the path that an error about it names. Which
items mean what in canonical form is `canonical`'s business.
"""

import binascii
from typing import Any

import msgspec
from msgspec import Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.ids import new_id
from groxy.dialects._base import OWN_SUMMARY
from groxy.wire.json import UNREADABLE, Fields, decode_any, decode_fields, decode_request, encode

HOSTED_CALLS = frozenset(
    # Records of what ran elsewhere: a model reads on without them. OpenAI and xAI, 2026.
    {
        "apply_patch_call",
        "apply_patch_call_output",
        "code_interpreter_call",
        "computer_call",
        "computer_call_output",
        "file_search_call",
        "image_generation_call",
        "local_shell_call",
        "local_shell_call_output",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "mcp_list_tools",
        "program",
        "program_output",
        "shell_call",
        "shell_call_output",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
        "x_search_call",
    }
)
CALLS = frozenset({"function_call", "custom_tool_call"})
CALL_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output"})
_KNOWN = (
    HOSTED_CALLS
    | CALLS
    | CALL_OUTPUTS
    | {"message", "reasoning", "compaction", "compaction_summary", "additional_tools"}
)
_CONTENT = frozenset(
    {
        "input_text",
        "output_text",
        "text",
        "refusal",
        "input_image",
        "input_file",
        "input_audio",
        "summary_text",
        "reasoning_text",
        "encrypted_content",
    }
)
_ROLES = frozenset({"user", "assistant", "system", "developer"})
_PREFIXES = {
    "message": "msg_",
    "reasoning": "rs_",
    "function_call": "fc_",
    "function_call_output": "fco_",
    "custom_tool_call": "ctc_",
    "custom_tool_call_output": "ctco_",
    "compaction": "cmp_",
}


class ContentPart(msgspec.Struct):
    """A piece of a message, of a tool's output or of a summary."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    file_data: str | None = None
    filename: str | None = None


class Item(msgspec.Struct):
    """An input item, with the fields of all kinds that are read here."""

    type: str | None = None
    role: str | None = None
    id: str | None = None
    content: str | list[ContentPart] | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: Any = None
    input: Any = None
    output: Any = None
    summary: list[ContentPart] | None = None
    encrypted_content: str | None = None

    @property
    def kind(self) -> str:
        """Its type; messages may leave it out."""
        return self.type or ("message" if self.role else "")


_item_decoder = msgspec.json.Decoder(Item)
_items_decoder = msgspec.json.Decoder(list[Item])
_raw_items_decoder = msgspec.json.Decoder(list[Raw])
_text_decoder = msgspec.json.Decoder(str)


def bad(param: str, what: str) -> GroxyError:
    """Return the error that says what is wrong with a field."""
    return GroxyError(ErrorKind.BAD_REQUEST, f"`{param}` {what}.", param=param)


def raw_items(held: bytes | Raw) -> list[Raw]:
    """Return `input` as items; text is a message of the user. Raises BAD_REQUEST for others."""
    try:
        if bytes(held).lstrip()[:1] != b'"':
            return _raw_items_decoder.decode(held)
        text = _text_decoder.decode(held)
    except UNREADABLE:
        raise bad("input", "must be text or a list of items") from None
    return [Raw(encode({"type": "message", "role": "user", "content": text}))]


def read_items(held: bytes | Raw) -> list[Item]:
    """Return the items of `input`, decoded; the error for a broken one names its place."""
    if bytes(held).lstrip()[:1] == b"[":
        try:
            return _items_decoder.decode(held)
        except UNREADABLE:
            pass  # One by one, to say which.
    items = []
    for index, raw in enumerate(raw_items(held)):
        try:
            items.append(decode_request(bytes(raw), _item_decoder))
        except GroxyError as error:
            where = f"input.{index}" + (f".{error.param}" if error.param else "")
            raise bad(where, f"cannot be read: {_reason(error)}") from None
    return items


def _reason(error: GroxyError) -> str:
    return error.message.partition(": ")[2].rstrip(".") or "it is malformed"


def input_items(held: bytes | Raw) -> list[Raw]:
    """Return the items of `input` the way they are kept and listed: each with type and id."""
    return [Raw(encode(_listed(raw))) for raw in raw_items(held)]


def _listed(raw: Raw) -> dict[str, Any]:
    try:
        fields: dict[str, Any] = dict(decode_fields(raw))
        item = _item_decoder.decode(raw)
    except UNREADABLE:
        return {"type": "message", "id": new_id("msg_"), "role": "user", "content": []}
    kind = item.kind or "message"
    fields["type"] = kind
    if not item.id:
        fields["id"] = new_id(_PREFIXES.get(kind, "item_"))
    if kind == "message":
        fields.setdefault("status", "completed")
        if isinstance(item.content, str):
            is_ours = item.role == "assistant"
            part: dict[str, Any] = {"type": "output_text" if is_ours else "input_text"}
            part["text"] = item.content
            fields["content"] = [part | {"annotations": []} if is_ours else part]
    return fields


def resent(raw: Raw) -> Raw:
    """Return a kept item as it goes upstream: ids that only we gave are unknown there."""
    try:
        fields = decode_fields(raw)
        item = _item_decoder.decode(raw)
    except UNREADABLE:
        return raw
    if (item.kind == "message" and item.role != "assistant") or item.kind in CALL_OUTPUTS:
        return Raw(encode(_without(fields, "id", "status")))
    return raw


def _without(fields: Fields, *names: str) -> Fields:
    return {name: raw for name, raw in fields.items() if name not in names}


def is_own_summary(item: Item) -> bool:
    """True for a compaction item that this gateway made."""
    return item.kind == "compaction" and (item.encrypted_content or "").startswith(OWN_SUMMARY)


def check_items(items: list[Item]) -> None:
    """Raise BAD_REQUEST that names the first thing wrong with the items of a request."""
    if not items:
        raise bad("input", "is empty; send text or at least one item")
    for index, item in enumerate(items):
        _check_item(item, f"input.{index}")


def _check_item(item: Item, where: str) -> None:
    kind = item.kind
    if kind == "item_reference" or (not kind and item.id):
        raise bad(where, "refers to an item by its id, which is not offered; send the item itself")
    if kind not in _KNOWN:
        known = "message, function_call, function_call_output, reasoning and the like"
        raise bad(f"{where}.type", f"is not a known item type; send {known}")
    if kind == "message":
        _check_message(item, where)
    elif kind in CALLS:
        _check_call(item, where)
    elif kind in CALL_OUTPUTS:
        if not item.call_id:
            raise bad(f"{where}.call_id", "is required; it is the call_id of the call answered")
        if not isinstance(item.output, str | list):
            raise bad(f"{where}.output", "must be text or a list of content parts")
        check_content(output_parts(item, where), f"{where}.output")
    elif kind == "compaction" and not item.encrypted_content:
        raise bad(f"{where}.encrypted_content", "is required on a compaction item")


def _check_message(item: Item, where: str) -> None:
    if item.role not in _ROLES:
        raise bad(f"{where}.role", f"must be one of {', '.join(sorted(_ROLES))}")
    if item.content is None:
        raise bad(f"{where}.content", "is required on a message")
    check_content(item.content, f"{where}.content")


def _check_call(item: Item, where: str) -> None:
    if not item.call_id:
        raise bad(f"{where}.call_id", f"is required on a {item.kind}")
    if not item.name:
        raise bad(f"{where}.name", f"is required on a {item.kind}")
    written = "arguments" if item.kind == "function_call" else "input"
    if not isinstance(getattr(item, written), str):
        raise bad(f"{where}.{written}", "must be text")


def output_parts(item: Item, where: str) -> str | list[ContentPart]:
    """Return what a tool gave back; raise BAD_REQUEST when it cannot be read."""
    if isinstance(item.output, str):
        return item.output
    try:
        return msgspec.convert(item.output or [], list[ContentPart])
    except msgspec.ValidationError:
        raise bad(f"{where}.output", "must be text or a list of content parts") from None


def check_content(content: str | list[ContentPart], where: str) -> None:
    """Raise BAD_REQUEST that names the first thing wrong with content."""
    if isinstance(content, str):
        return
    for index, part in enumerate(content):
        _check_part(part, f"{where}.{index}")


def _check_part(part: ContentPart, where: str) -> None:
    if part.type not in _CONTENT:
        raise bad(f"{where}.type", "is not a known content type, such as input_text")
    if part.type in ("input_text", "output_text", "text") and part.text is None:
        raise bad(f"{where}.text", f"is required on {part.type}")
    if part.type == "input_image":
        if not part.image_url and not part.file_id:
            raise bad(f"{where}.image_url", "is required on input_image, or a file_id")
        check_data(part.image_url, f"{where}.image_url")
    if part.type == "input_file":
        if not (part.file_id or part.file_url or part.file_data):
            raise bad(f"{where}.file_data", "is required on input_file, or file_url or file_id")
        check_data(part.file_url, f"{where}.file_url")
        check_data(part.file_data, f"{where}.file_data", may_be_bare=True)


def check_data(url: str | None, where: str, *, may_be_bare: bool = False) -> None:
    """Raise BAD_REQUEST when a data URI, or bare base64 where that may stand, holds none."""
    if not url or not (url.startswith("data:") or may_be_bare):
        return
    held = url
    if url.startswith("data:"):
        head, comma, held = url.partition(",")
        if not comma or not head.endswith(";base64"):
            raise bad(where, "is not a data URI such as data:image/png;base64,…")
    try:
        is_empty = not binascii.a2b_base64(held, strict_mode=True)
    except (binascii.Error, ValueError):
        raise bad(where, "holds invalid base64") from None
    if is_empty:
        raise bad(where, "is empty")


def kept_value(fields: Fields, name: str) -> Any:  # noqa: ANN401  JSON of unknown shape
    """Return a field's value, None when it is not there or cannot be read."""
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return decode_any(raw)
    except UNREADABLE:
        return None
