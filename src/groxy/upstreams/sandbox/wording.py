"""What the sandbox says: plain sentences about the request, so that nobody takes it for a model.

In: a canonical request. Out: the text of each choice of the answer, of the thoughts before it, or
the tools it calls. The seed picks the wording. Must not count tokens.
"""

import re
from collections.abc import Mapping

from groxy.core.parts import File, Image, Text, ToolCall, ToolResult
from groxy.core.request import Message, Request, Role, Tool, ToolUse
from groxy.upstreams.sandbox.seal import has_thoughts_back

_MAX_READ = 20_000
"""Characters of a user's text in which names of tools are looked for."""
_QUOTE = 280
_LONGEST_NAME = 64
_OPENINGS = (
    "**This is the Groxy sandbox**, not a real model.",
    "**Hello from the Groxy sandbox**: no real model was asked.",
    "**The Groxy sandbox** answers here in place of a real model.",
    "**You have reached the Groxy sandbox**; a real model would answer here.",
    "**The Groxy sandbox speaking**, with no model behind it.",
)
_CLOSINGS = (
    "Your application and the gateway work. Give Groxy an account, and `{model}` answers instead.",
    "Everything on the way here works. With an account in Groxy, this comes from `{model}`.",
    "So far so good: add an account to Groxy when you want to hear from `{model}` itself.",
)
FILLER = (
    " The sandbox goes on because it was asked for a longer answer.",
    " Nothing that it says here was thought up by a model.",
    " Each sentence was written down in advance, and they come round again.",
)
_THOUGHTS = (
    "No real model is at work here, so there is nothing to look up.",
    "A short answer that says so, and quotes the request, helps most.",
    "It should also say what to do next.",
    "Reading the request once more changes nothing about that.",
    "The answer is ready.",
)
_SENTENCES: Mapping[str, int] = {
    "minimal": 1,
    "low": 1,
    "medium": 2,
    "high": 3,
    "xhigh": 4,
    "max": 5,
}
"""How many thoughts an effort is worth."""


def spoken(request: Request) -> list[str]:
    """Return the answer in words for each choice: what this is, what was asked, what comes next."""
    results = _results(request)
    if results:
        said = "\n".join(f"The tool `{name}` returned: {_quoted(text)}" for name, text in results)
    else:
        said = _about_the_user(request)
    noted = _noted(request)
    first = request.options.seed or 0
    return [
        "\n\n".join(
            (
                _OPENINGS[variant % len(_OPENINGS)],
                *((noted,) if noted else ()),
                said,
                _CLOSINGS[variant // len(_OPENINGS) % len(_CLOSINGS)].format(model=request.model),
            )
        )
        for variant in range(first, first + request.options.choices)
    ]


def thoughts(request: Request) -> str:
    """Return what is thought before the answer; empty when this model and effort do not think."""
    effort = request.options.reasoning_effort
    name = request.model.lower()
    if "non-reasoning" in name or effort == "none":
        return ""
    if effort is None:
        effort = "medium" if "reasoning" in name or "thinking" in name else ""
    count = _SENTENCES.get(effort, 0)
    if not count:
        return ""
    words = len(_said_last(request)[:_MAX_READ].split())
    return " ".join((f"The request has {_counted(words, 'word')}.", *_THOUGHTS[:count]))


def tools_to_call(request: Request) -> list[Tool]:
    """Return the tools that the answer calls, in the order the user's text names them."""
    options = request.options
    if not request.tools or options.tool_use is ToolUse.NONE:
        return []
    if options.tool_name:
        return [tool for tool in request.tools if tool.name == options.tool_name][:1]
    is_required = options.tool_use is ToolUse.REQUIRED
    if not is_required and _results(request):
        return []  # The tools have been called; now their results are told.
    named = _named(request)
    if not named and is_required:
        return [request.tools[0]]
    return named if options.parallel_tool_calls else named[:1]


def _named(request: Request) -> list[Tool]:
    """Return the tools that the user's last text names, as `get_weather` or as `get weather`."""
    text = f" {_plain(_said_last(request)[:_MAX_READ])} "
    places = {tool.name: text.find(f" {_plain(tool.name)} ") for tool in request.tools}
    found = {tool.name: tool for tool in request.tools if places[tool.name] >= 0}
    return sorted(found.values(), key=lambda tool: places[tool.name])


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.lower()).strip()


def _noted(request: Request) -> str:
    """Return what came along unseen: earlier thoughts, and tools that a real model runs itself."""
    lines = ["I got my earlier thoughts back."] if has_thoughts_back(request) else []
    if request.server_tools:
        kinds = dict.fromkeys(tool.kind[:_LONGEST_NAME] for tool in request.server_tools)
        lines.append(f"I was offered {', '.join(kinds)}.")
    return " ".join(lines)


def _about_the_user(request: Request) -> str:
    last = _last_of(request, Role.USER)
    lines = []
    rules = _text_of([message for message in request.messages if message.role is Role.SYSTEM])
    if rules:
        lines.append(f"I was given instructions of {_counted(len(rules.split()), 'word')}.")
    turns = sum(message.role is Role.USER for message in request.messages)
    if turns > 1:
        lines.append(f"This is your message number {turns} of this conversation.")
    parts = last.parts if last else ()
    lines += _seen(sum(isinstance(part, Image) for part in parts), "picture")
    lines += _seen(sum(isinstance(part, File) for part in parts), "file")
    said = _said_last(request)
    lines.append(f"You wrote: {_quoted(said)}" if said.strip() else "You wrote nothing.")
    return " ".join(lines)


def _seen(count: int, what: str) -> list[str]:
    return [f"I see {_counted(count, what)}."] if count else []


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _results(request: Request) -> list[tuple[str, str]]:
    """Return name and text of the tool results that the conversation ends with."""
    called = {
        part.call_id: part.name
        for message in request.messages
        for part in message.parts
        if isinstance(part, ToolCall)
    }
    found: list[tuple[str, str]] = []
    for message in reversed(request.messages):
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        if not results:
            break
        found += [
            (called.get(part.call_id) or message.name or part.call_id, part.text)
            for part in reversed(results)
        ]
    return found[::-1]


def _said_last(request: Request) -> str:
    last = _last_of(request, Role.USER)
    return _text_of([last]) if last else ""


def _last_of(request: Request, role: Role) -> Message | None:
    return next((message for message in reversed(request.messages) if message.role is role), None)


def _text_of(messages: list[Message]) -> str:
    return "\n".join(
        part.text for message in messages for part in message.parts if isinstance(part, Text)
    )


def _quoted(text: str) -> str:
    """Return the beginning of a text on one line, in quotes."""
    line = " ".join(text[: _QUOTE * 4].split())
    return f"“{line}”" if len(line) <= _QUOTE else f"“{line[:_QUOTE].rstrip()}…”"
