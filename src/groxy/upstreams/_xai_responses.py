"""Responses requests made fit for xAI's models, whichever upstream stands in front of them.

In: a request's fields and what the catalog knows of the model. Out: the fields changed in place,
and a word for each change. What xAI would answer with an error is rewritten where it has another
form for it, and else taken out: its `input` is read as a closed set of items, and one that it does
not know costs the whole request a 422 (router-for-me/CLIProxyAPI#3704, #4434, 2026).
"""

from typing import Any

import msgspec
from msgspec import Raw

from groxy.dialects.responses.tools import CUSTOM_PARAMETERS, offering_of, wrapped_input
from groxy.upstreams._base import EFFORTS, ModelFacts, drop_fields, drop_rejected, fit_effort
from groxy.wire.json import UNREADABLE, Fields, decode_any, encode

_REJECTED_OPTIONS = {
    # "Request will be rejected" (xAI's OpenAPI document, ModelRequest, 2026-08); Codex sends the
    # first (lidge-jun/opencodex#2240, 2026)
    "web_search": ("external_web_access", "search_context_size", "user_location"),
    "web_search_preview": ("external_web_access", "search_context_size", "user_location"),
    "file_search": ("filters", "ranking_options"),
    "code_interpreter": ("container",),
}
_OTHER_NAMES = {"web_search_preview": "web_search"}
_HOSTED = frozenset(
    {
        "code_interpreter",
        "file_search",
        "image_generation",
        "mcp",
        "shell",
        "web_search",
        "x_search",
    }
)
"""Tools that xAI knows beside functions (its OpenAPI document and xai-sdk 1.19, 2026)."""
_ITEMS = frozenset(
    {
        "code_interpreter_call",
        "compaction",
        "file_search_call",
        "function_call",
        "function_call_output",
        "mcp_call",
        "message",
        "reasoning",
        "shell_call",
        "shell_call_output",
        "web_search_call",
    }
)
"""Items that xAI reads (the same document); it writes custom_tool_call but does not read it."""
_NEVER_TAKEN = frozenset(
    # Of chat, and unknown to Responses everywhere, or unsupported at xAI.
    {"frequency_penalty", "logit_bias", "presence_penalty", "safety_identifier", "stop"}
)
_CUSTOM_CALL = "custom_tool_call"
_CUSTOM_OUTPUT = "custom_tool_call_output"
_OUTPUTS = frozenset({"function_call_output", _CUSTOM_OUTPUT})
_items_decoder = msgspec.json.Decoder(list[Fields])


def prepare_responses_for_xai(fields: Fields, facts: ModelFacts) -> list[str]:
    """Change a Responses request to what xAI takes; return a word for each change."""
    words = _known_tools(fields)
    words += _known_items(fields)
    words += _known_choice(fields)
    words += drop_fields(fields, _NEVER_TAKEN)
    words += drop_rejected(fields, _without_effort(facts))
    words += _fitting_effort(fields, facts)
    return words


def _without_effort(facts: ModelFacts) -> ModelFacts:
    """The effort stands in `reasoning` here."""
    rejects = facts.rejects - {"reasoning_effort"}
    return ModelFacts(rejects=rejects, efforts=facts.efforts, reasons=facts.reasons)


# ---------------------------------------------------------------------------------------- tools


def _known_tools(fields: Fields) -> list[str]:
    """Make custom tools and namespaces flat functions, and leave out options that are refused."""
    if not _says_tools(fields):
        fields.pop("tools", None)
        return []
    offering = offering_of(fields)
    words: list[str] = []
    tools: list[dict[str, Any]] = []
    for offered in offering.functions.values():
        if offered.is_custom:
            words.append(f"custom tool {_safe(offered.name)} sent as function")
        elif offered.namespace:
            words.append(f"namespace {_safe(offered.namespace)} sent as functions")
        tool: dict[str, Any] = {"type": "function", "name": offered.sent}
        if offered.description:
            tool["description"] = offered.description
        parameters = CUSTOM_PARAMETERS if offered.is_custom else offered.parameters
        tool["parameters"] = Raw(parameters)
        if offered.strict is not None:
            tool["strict"] = offered.strict
        tools.append(tool)
    for hosted in offering.hosted:
        tools += _hosted(hosted, words)
    if not tools:
        fields.pop("tools", None)
    elif words or b"additional_tools" in bytes(fields.get("input", b"")):
        # Only then: the same tools must stay the same bytes, for the sake of the prompt cache.
        fields["tools"] = Raw(encode(tools))
    return list(dict.fromkeys(words))


def _says_tools(fields: Fields) -> bool:
    has_own = bytes(fields.get("tools", b"null")) not in (b"null", b"[]")
    return has_own or b'"additional_tools"' in bytes(fields.get("input", b""))


def _hosted(tool: Fields, words: list[str]) -> list[dict[str, Any]]:
    """Return a tool that xAI runs itself, as it takes it; nothing for one that it has not."""
    read: dict[str, Any] = {name: decode_any(raw) for name, raw in tool.items()}
    kind = str(read.get("type"))
    for option in _REJECTED_OPTIONS.get(kind, ()):
        if option in read:
            del read[option]
            words.append(f"{option} dropped")
    kind = _OTHER_NAMES.get(kind, kind)
    if kind not in _HOSTED:
        words.append(f"tool {_safe(kind)} dropped")
        return []
    return [read | {"type": kind}]


def _known_choice(fields: Fields) -> list[str]:
    """xAI: 400 `A tool_choice was set on the request but no tools were specified` (trap 3)."""
    if "tools" not in fields:
        return drop_fields(fields, {"tool_choice", "parallel_tool_calls"})
    try:
        choice = decode_any(fields.get("tool_choice", b"null"))
    except UNREADABLE:
        return []
    if not isinstance(choice, dict) or choice.get("type") == "function":
        return []
    if choice.get("type") == "custom":
        choice["type"] = "function"
        fields["tool_choice"] = Raw(encode(choice))
        return []
    if choice.get("type") == "allowed_tools" and choice.get("tools"):
        return _only_allowed(fields, choice)
    # Server tools cannot be forced there (docs.x.ai, tools/advanced-usage, 2026).
    return drop_fields(fields, {"tool_choice"})


def _only_allowed(fields: Fields, choice: dict[str, Any]) -> list[str]:
    """Send the tools that `allowed_tools` leaves: xAI has no such choice, and it must hold."""
    try:
        tools = _items_decoder.decode(fields["tools"])
    except UNREADABLE:
        return []
    allowed = {
        (kind if kind not in ("function", "custom") else "function", one.get("name"))
        for one in choice["tools"]
        if isinstance(one, dict) and (kind := one.get("type"))
    }
    kept = [tool for tool in tools if _marks(tool) in allowed]
    if not kept:
        return drop_fields(fields, {"tools", "tool_choice", "parallel_tool_calls"})
    fields["tools"] = Raw(encode(kept))
    fields["tool_choice"] = Raw(encode(choice.get("mode") or "auto"))
    return ["allowed_tools sent as tools"]


def _marks(tool: Fields) -> tuple[str, str | None]:
    """Return what tells a tool from others: functions have a name, hosted ones their type."""
    kind = _text(tool, "type")
    return kind, _text(tool, "name") if kind == "function" else None


# ---------------------------------------------------------------------------------------- items


def _known_items(fields: Fields) -> list[str]:
    """Rewrite what xAI has another form for, and leave out items that it does not read."""
    try:
        items = _items_decoder.decode(fields.get("input", b"null"))
    except UNREADABLE:
        return []  # A text, or something that the upstream will name.
    answered = {_text(one, "call_id") for one in items if _text(one, "type") == _CUSTOM_OUTPUT}
    words: list[str] = []
    sent: list[Fields] = []
    shown: list[Any] = []
    for item in items:
        kind = _text(item, "type") or "message"
        if shown and kind not in _OUTPUTS:
            sent.append(_pictures(shown))
            shown = []
        known, word = _known_item(item, kind, fields, answered)
        if known is not None and kind in _OUTPUTS:
            known, seen = _plain_output(known)
            shown += seen
            words += ["pictures of tools sent as a user message"] if seen else []
        words += [word] if word else []
        sent += [known] if known is not None else []
    if shown:
        sent.append(_pictures(shown))
    if len(sent) != len(items) or any(new is not old for new, old in zip(sent, items, strict=True)):
        fields["input"] = Raw(encode(sent))
    return list(dict.fromkeys(words))


def _known_item(
    item: Fields, kind: str, fields: Fields, answered: set[str]
) -> tuple[Fields | None, str]:
    """Return an item as xAI reads it, or None, and the word for what was changed."""
    if kind in (_CUSTOM_CALL, _CUSTOM_OUTPUT):
        name = _text(item, "name")
        if (
            kind == _CUSTOM_CALL
            and _text(item, "call_id") not in answered
            and name not in offering_of(fields).functions
        ):
            # What x_search did inside comes as such calls, which nobody answers (its docs, 2026).
            return None, ""
        word = f"{kind} sent as {kind.replace('custom_tool', 'function')}"
        return _as_function(item, kind), word
    if kind == "function_call" and "namespace" in item:
        name = offering_of(fields).sent_name(_text(item, "name"), _text(item, "namespace"))
        plain = {key: raw for key, raw in item.items() if key != "namespace"}
        return plain | {"name": Raw(encode(name))}, ""
    if kind == "message" and b'"refusal"' in bytes(item.get("content", b"")):
        return _without_refusals(item), ""
    if kind in _ITEMS:
        return item, ""
    # Additional tools stand among the tools now.
    return None, "" if kind == "additional_tools" else f"{_safe(kind)} dropped"


def _without_refusals(item: Fields) -> Fields:
    """Tell a refusal as text; xAI reads no such content (its OpenAPI document, 2026-08)."""
    try:
        parts = decode_any(item["content"])
    except UNREADABLE:
        return item
    if not isinstance(parts, list):
        return item
    said = [
        {"type": "output_text", "text": part.get("refusal") or ""}
        if isinstance(part, dict) and part.get("type") == "refusal"
        else part
        for part in parts
    ]
    return item | {"content": Raw(encode(said))}


def _plain_output(item: Fields) -> tuple[Fields, list[Any]]:
    """Return a tool's output as the text that xAI reads, and what it held beside text.

    xAI's OpenAPI document, 2026-08: `output` is a string there.
    """
    try:
        parts = decode_any(item.get("output", b"null"))
    except UNREADABLE:
        return item, []
    if not isinstance(parts, list):
        return item, []
    read = [part for part in parts if isinstance(part, dict)]
    texts = [part["text"] for part in read if isinstance(part.get("text"), str)]
    seen = [part for part in read if part.get("type") in ("input_image", "input_file")]
    return item | {"output": Raw(encode("\n".join(texts)))}, seen


def _pictures(shown: list[Any]) -> Fields:
    head = [{"type": "input_text", "text": "What the tools above showed:"}]
    said = {"type": "message", "role": "user", "content": head + shown}
    return {name: Raw(encode(value)) for name, value in said.items()}


def _as_function(item: Fields, kind: str) -> Fields:
    written: Fields = {"type": Raw(encode(kind.replace("custom_tool", "function")))}
    for name in ("call_id", "name", "status"):
        if name in item and not (kind.endswith("_output") and name != "call_id"):
            written[name] = item[name]
    if kind.endswith("_output"):
        written["output"] = item.get("output", Raw(b'""'))
    else:
        written["arguments"] = Raw(encode(wrapped_input(_text(item, "input"))))
    return written


def _text(item: Fields, name: str) -> str:
    try:
        value = decode_any(item.get(name, b'""'))
    except UNREADABLE:
        return ""
    return value if isinstance(value, str) else ""


# ------------------------------------------------------------------------------------ reasoning


def _fitting_effort(fields: Fields, facts: ModelFacts) -> list[str]:
    """Fit `reasoning.effort` to what the model takes; models without efforts take no such field."""
    try:
        reasoning = decode_any(fields.get("reasoning", b"null"))
    except UNREADABLE:
        return []
    if not isinstance(reasoning, dict) or reasoning.get("effort") not in EFFORTS:
        return []
    flat: Fields = {"reasoning_effort": Raw(encode(reasoning.pop("effort")))}
    words = fit_effort(flat, facts.efforts)
    if "reasoning_effort" in flat:
        reasoning["effort"] = flat["reasoning_effort"]
    if words:
        fields["reasoning"] = Raw(encode(reasoning))
    if not reasoning:
        fields.pop("reasoning", None)
    return [word.replace("reasoning_effort", "reasoning.effort") for word in words]


def _safe(name: str) -> str:
    """Return a caller's name as it may stand in a header."""
    return "".join(
        letter for letter in name[:64] if (letter.isascii() and letter.isalnum()) or letter in "._-"
    )
