"""Requests made fit for xAI's models, whichever upstream stands in front of them.

In: a request's fields and what the catalog knows of the model. Out: the fields changed in place,
and a word for each change. What xAI would answer with an error is taken out when it only tunes
the answer, and refused when the answer would not be what was asked for without it.
"""

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams._base import EFFORTS, ModelFacts, drop_fields, drop_rejected, fit_effort
from groxy.upstreams._xai_responses import prepare_responses_for_xai
from groxy.wire.json import Fields, encode

_NEVER_TAKEN = frozenset(
    {
        # "unsupported" (xAI's OpenAPI document, ChatRequest, 2026-08)
        "logit_bias",
        # 400 from every model since grok-3, even as 0 (miaoxworld/NativeTavern#83, 2026-09)
        "presence_penalty",
        # steers live search, which is gone (vercel/ai#15713, 2026)
        "web_search_options",
    }
)
_OPENROUTER_ONLY = frozenset(
    # What OpenRouter adds to a chat request (OpenRouterTeam/docs, openapi.yaml, 2026-08).
    {
        "cache_control",
        "debug",
        "image_config",
        "include_reasoning",
        "max_tool_calls",
        "min_p",
        "models",
        "plugins",
        "preset",
        "prompt_cache_options",
        "provider",
        "repetition_penalty",
        "route",
        "session_id",
        "stop_server_tools_when",
        "top_a",
        "top_k",
        "trace",
        "transforms",
        "usage",
        "x_search_filter",
    }
)

_NO_COMPLETIONS = frozenset(
    # "unsupported" there (xAI's OpenAPI document, SampleRequest, 2026-08)
    {"best_of", "frequency_penalty", "logit_bias", "presence_penalty", "suffix"}
)
_LEFT_OUT = _NEVER_TAKEN | _OPENROUTER_ONLY


class _Search(msgspec.Struct):
    mode: str | None = None


class _Reasoning(msgspec.Struct):
    effort: str | None = None
    enabled: bool | None = None


class _Function(msgspec.Struct):
    name: str = ""


class _Tool(msgspec.Struct):
    type: str = "function"
    function: _Function | None = None


class _Allowed(msgspec.Struct):
    mode: str | None = None
    tools: list[_Tool] | None = None


class _Choice(msgspec.Struct):
    type: str | None = None
    allowed_tools: _Allowed | None = None


_search_decoder = msgspec.json.Decoder(_Search)
_reasoning_decoder = msgspec.json.Decoder(_Reasoning)
_tools_decoder = msgspec.json.Decoder(list[_Tool] | None)
_choice_decoder = msgspec.json.Decoder(str | _Choice | None)
_raw_tools_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_messages_decoder = msgspec.json.Decoder(list[Fields])


def prepare_for_xai(fields: Fields, facts: ModelFacts, dialect: str = "chat") -> list[str]:
    """Change a request to what xAI takes; return a word for each change.

    Raises UNSUPPORTED for what an answer without it would be a lie about.
    """
    match dialect:
        case "chat":
            return _prepare_chat(fields, facts)
        case "responses":
            return prepare_responses_for_xai(fields, facts)
        case "completions":
            return drop_fields(fields, _NO_COMPLETIONS) + drop_rejected(fields, facts)
        case _:
            return []


def stay_together(fields: Fields, conversation: str, dialect: str) -> dict[str, str]:
    """Name the conversation the way xAI reads it, so that its prompts are found in the cache.

    A header on chat; on Responses `prompt_cache_key`, which it turns into that header
    (docs.x.ai/developers/advanced-api-usage/prompt-caching, 2026).
    """
    if dialect == "chat":
        return {"x-grok-conv-id": conversation}
    if dialect == "responses":
        fields["prompt_cache_key"] = msgspec.Raw(encode(conversation))
    return {}


def _prepare_chat(fields: Fields, facts: ModelFacts) -> list[str]:
    """Search and tools that only Responses has are refused here: routing prefers that dialect."""
    words = _without_search(fields)
    words += _only_allowed(fields)
    words += _checked_tools(fields)
    words += _flat_reasoning(fields, facts)
    words += drop_fields(fields, _LEFT_OUT)
    words += drop_rejected(fields, facts)
    words += fit_effort(fields, facts.efforts)
    words += _known_roles(fields)
    return words


def _without_search(fields: Fields) -> list[str]:
    """Any `search_parameters` meets a 410 at xAI, even mode off (vercel/ai#15713, 2026)."""
    raw = fields.get("search_parameters")
    if raw is None:
        return []
    try:
        is_off = bytes(raw) == b"null" or _search_decoder.decode(raw).mode == "off"
    except msgspec.MsgspecError:
        is_off = False
    if not is_off:
        message = (
            "Live search has ended at the official API. Leave `search_parameters` out, or set its "
            "mode to off; some upstreams search with `plugins` or tools of their own instead."
        )
        raise GroxyError(ErrorKind.UNSUPPORTED, message, param="search_parameters")
    return drop_fields(fields, {"search_parameters"})


def _only_allowed(fields: Fields) -> list[str]:
    """Send the tools that `allowed_tools` leaves, and its mode as the choice: it must hold.

    xAI knows none, auto, required and a function (its OpenAPI document, 2026-08).
    """
    raw = fields.get("tool_choice")
    if raw is None:
        return []
    try:
        choice = _choice_decoder.decode(raw)
        if not isinstance(choice, _Choice) or choice.type != "allowed_tools":
            return []
        tools = _tools_decoder.decode(fields.get("tools", b"null")) or []
        raw_tools = _raw_tools_decoder.decode(fields.get("tools", b"[]")) if tools else []
    except msgspec.MsgspecError:
        return []  # The upstream will say what is wrong with them.
    allowed = choice.allowed_tools or _Allowed()
    left = {_mark(tool) for tool in allowed.tools or ()}
    kept = [one for tool, one in zip(tools, raw_tools, strict=True) if _mark(tool) in left]
    if not kept:
        return drop_fields(fields, {"tools", "tool_choice", "parallel_tool_calls"})
    fields["tools"] = msgspec.Raw(encode(kept))
    fields["tool_choice"] = msgspec.Raw(encode(allowed.mode or "auto"))
    return ["allowed_tools sent as tools"]


def _mark(tool: _Tool) -> tuple[str, str | None]:
    """Return what tells a tool from others: functions have a name, all others their type."""
    return tool.type, tool.function.name if tool.function else None


def _checked_tools(fields: Fields) -> list[str]:
    """Refuse tools that are no functions, and drop what is said about tools where there are none.

    xAI: 422 `unknown variant 'x_search', expected 'function' or 'live_search'`
    (makecindy/cindy#2927, 2026); 400 `A tool_choice was set on the request but no tools were
    specified` (router-for-me/CLIProxyAPI#3704, 2026).
    """
    try:
        tools = _tools_decoder.decode(fields.get("tools", b"null"))
    except msgspec.MsgspecError:
        return []  # The upstream will say what is wrong with them.
    for index, tool in enumerate(tools or ()):
        if tool.type != "function":
            message = (
                "Chat completions take tools of type function only here; server-side tools such "
                f"as web_search and x_search do not run on them. Take `tools.{index}` out."
            )
            raise GroxyError(ErrorKind.UNSUPPORTED, message, param=f"tools.{index}.type")
    if tools:
        return []
    fields.pop("tools", None)
    return drop_fields(fields, {"tool_choice", "parallel_tool_calls"})


def _flat_reasoning(fields: Fields, facts: ModelFacts) -> list[str]:
    """Turn OpenRouter's `reasoning: {effort}` into `reasoning_effort` (Zoo-Code#866, 2026)."""
    raw = fields.pop("reasoning", None)
    if raw is None or bytes(raw) == b"null":
        return []
    try:
        reasoning = _reasoning_decoder.decode(raw)
    except msgspec.MsgspecError:
        reasoning = _Reasoning()
    effort = "none" if reasoning.enabled is False else reasoning.effort
    has_own = bytes(fields.get("reasoning_effort", b"null")) != b"null"
    if effort not in EFFORTS or has_own or facts.efforts == ():
        return ["reasoning dropped"]
    fields["reasoning_effort"] = msgspec.Raw(encode(effort))
    return ["reasoning sent as reasoning_effort"]


def _known_roles(fields: Fields) -> list[str]:
    """Send the role developer as system, which xAI's chat knows (its OpenAPI document, 2026-08)."""
    raw = fields.get("messages")
    # Not `in`, which looks for a number first, and for that raises and catches an exception.
    if raw is None or bytes(raw).find(b'"developer"') < 0:
        return []
    try:
        messages = _messages_decoder.decode(raw)
    except msgspec.MsgspecError:
        return []
    instructions = [one for one in messages if bytes(one.get("role", b"")) == b'"developer"']
    if not instructions:
        return []
    for message in instructions:
        message["role"] = msgspec.Raw(b'"system"')
    fields["messages"] = msgspec.Raw(encode(messages))
    return ["developer role sent as system"]
