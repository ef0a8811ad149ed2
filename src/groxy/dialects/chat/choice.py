"""Which of the tools that are offered may be called, where `tool_choice` says it.

In: a chat request of the right shape. Out: the choice in canonical terms and what tells the tools
apart that it leaves. Must not know upstreams. The form is ChatCompletionAllowedToolChoiceParam of
OpenAI's SDKs, 2026.
"""

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.request import ToolUse
from groxy.dialects.chat.shapes import AllowedTools, Chat, NamedTool, ToolChoice, ToolShape

Mark = tuple[str, str | None]
"""What tells a tool from others: functions have a name, all others their type."""
_ALLOWED = "allowed_tools"


def mark_of(tool: ToolShape | NamedTool) -> Mark:
    """Return what tells a tool from others."""
    return tool.type, tool.function.name if tool.function else None


def marks_left(choice: str | ToolChoice | None) -> frozenset[Mark] | None:
    """Return the marks of the tools that may be called; None when all may be."""
    allowed = _allowed_in(choice)
    if allowed is None:
        return None
    return frozenset(mark_of(tool) for tool in allowed.tools or ())


def tool_use(choice: str | ToolChoice | None) -> ToolUse:
    """Return whether tools must be called, may be, or must not be."""
    allowed = _allowed_in(choice)
    if allowed is not None:
        return ToolUse(allowed.mode or "auto")
    return ToolUse(choice) if isinstance(choice, str) else ToolUse.AUTO


def check_allowed(chat: Chat) -> None:
    """Raise BAD_REQUEST for a choice that allows nothing, or what is not offered."""
    choice = chat.tool_choice
    if not isinstance(choice, ToolChoice) or choice.type != _ALLOWED:
        return
    where = f"tool_choice.{_ALLOWED}"
    if choice.allowed_tools is None:
        raise _bad(where, f"is required when type is {_ALLOWED}")
    if not choice.allowed_tools.tools:
        raise _bad(f"{where}.tools", f"is required when type is {_ALLOWED}")
    offered = {mark_of(tool) for tool in chat.tools or ()}
    for index, tool in enumerate(choice.allowed_tools.tools):
        if tool.type == "function" and tool.function is None:
            raise _bad(f"{where}.tools.{index}.function", "is required on a function tool")
        if mark_of(tool) not in offered:
            raise _bad(f"{where}.tools.{index}", "is not among `tools`; offer it there too")


def _allowed_in(choice: str | ToolChoice | None) -> AllowedTools | None:
    if isinstance(choice, ToolChoice) and choice.type == _ALLOWED:
        return choice.allowed_tools
    return None


def _bad(param: str, what: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, f"`{param}` {what}.", param=param)
