"""What a chat request says of its way: which dialects can carry it, whose turn it is, who serves.

In: a checked request. Out: values for `Asked`. Must not decide anything about accounts.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import chain

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.preferences import NONE, Preferences, SortBy
from groxy.dialects._base import conversation_key
from groxy.dialects.chat.search import is_on
from groxy.dialects.chat.shapes import Chat, MessageShape, PartShape, Provider, Sort
from groxy.wire.json import UNREADABLE

SERVER_TOOLS = frozenset(
    {
        "code_interpreter",
        "file_search",
        "image_generation",
        "mcp",
        "web_search",
        "web_search_preview",
        "x_search",
    }
)
"""Tools that an upstream runs itself, by their names in Responses; xAI's chat has none of them
(makecindy/cindy#2927, 2026)."""
_LOCAL_TOOLS = frozenset({"function", "live_search"})
_KNOWN_PARTS = frozenset({"text", "image_url", "file", "refusal"})
_ONLY_CHAT = ("chat",)
_SERVER_TOOL_CARRIERS = ("responses", "chat")


class _Metadata(msgspec.Struct):
    user_id: str | None = None


_decode_metadata = msgspec.json.Decoder(_Metadata).decode


def parts_of(chat: Chat) -> list[PartShape]:
    """Return the parts of all messages whose content is a list of parts."""
    contents = [one.content for one in chat.messages if isinstance(one.content, list)]
    return list(chain.from_iterable(contents))


def may_name_files(parts: Sequence[PartShape]) -> bool:
    """Return whether a part may name a file that is kept here."""
    return any(
        part.file is not None or part.file_id or part.source or part.type not in _KNOWN_PARTS
        for part in parts
    )


def carriers(chat: Chat, parts: Sequence[PartShape]) -> tuple[str, ...]:
    """Return the dialects that can carry this request, best first; () for all of chat's.

    Only chat has several choices, sound, functions from before there were tools, and tools of kinds
    that nobody else knows.
    """
    if (chat.n is not None and chat.n > 1) or _has_old_functions(chat):
        return _ONLY_CHAT
    kinds = {tool.type for tool in chat.tools} - _LOCAL_TOOLS if chat.tools else set()
    if not kinds <= SERVER_TOOLS or any(part.type not in _KNOWN_PARTS for part in parts):
        return _ONLY_CHAT
    if kinds or is_on(chat.search_parameters):
        return _SERVER_TOOL_CARRIERS
    return ()


def _has_old_functions(chat: Chat) -> bool:
    """Return whether functions are offered, or were called, in the form that `tools` replaced.

    Their calls have no ids, which the other dialects need to find the result of each, and the
    reply would need that form too (deprecated since tools: OpenAI's OpenAPI document 2.3.0).
    """
    if chat.functions or chat.function_call is not None:
        return True
    return any(one.function_call is not None or one.role == "function" for one in chat.messages)


def conversation(chat: Chat) -> str:
    """Return what stays the same over the turns of a conversation."""
    explicit = chat.prompt_cache_key or chat.session_id or _user_id(chat.metadata)
    if explicit:
        return conversation_key(explicit)
    system = user = ""
    for message in chat.messages:
        if message.role == "user":
            user = _first_text(message)
            break
        if message.role in ("system", "developer") and not system:
            system = _first_text(message)
    return conversation_key(None, system, user) if system or user else ""


def _user_id(metadata: msgspec.Raw) -> str | None:
    if not metadata:
        return None
    try:
        return _decode_metadata(metadata).user_id
    except UNREADABLE:
        return None  # It is the caller's own note, in whatever shape.


def _first_text(message: MessageShape) -> str:
    content = message.content
    if isinstance(content, list):
        return next((part.text for part in content if part.text), "")
    return content or ""


def preferences(provider: Provider | None) -> Preferences:
    """Return what OpenRouter's `provider` wishes; raise BAD_REQUEST for prices that are none."""
    if provider is None:
        return NONE
    sort = provider.sort.by if isinstance(provider.sort, Sort) else provider.sort
    price = provider.max_price
    return Preferences(
        order=tuple(provider.order or ()),
        only=tuple(provider.only or ()),
        ignore=tuple(provider.ignore or ()),
        allow_fallbacks=provider.allow_fallbacks is not False,
        require_parameters=bool(provider.require_parameters),
        may_collect=provider.data_collection != "deny",
        sort=SortBy(sort) if sort else None,
        max_prompt_usd=_price(price.prompt, "prompt") if price else None,
        max_completion_usd=_price(price.completion, "completion") if price else None,
    )


def _price(amount: Decimal | None, name: str) -> Decimal | None:
    if amount is not None and not (amount.is_finite() and amount >= 0):
        param = f"provider.max_price.{name}"
        message = f"`{param}` must be US dollars per million tokens, 0 or more."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=param)
    return amount
