import json
from typing import Any

import pytest

from groxy.core.errors import GroxyError
from groxy.core.request import ToolUse
from groxy.dialects.chat.choice import check_allowed, marks_left, tool_use
from groxy.dialects.chat.shapes import Chat, chat_decoder

F: dict[str, Any] = {"type": "function", "function": {"name": "f"}}
G: dict[str, Any] = {"type": "function", "function": {"name": "g"}}
SEARCH = {"type": "web_search"}


def chat(tool_choice: Any, *tools: Any) -> Chat:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    return chat_decoder.decode(
        json.dumps(body | {"tools": list(tools), "tool_choice": tool_choice}).encode()
    )


def allowed(*tools: Any, **more: Any) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"tools": list(tools), **more}}


def test_without_a_list_all_tools_may_be_called():
    for choice in (None, "auto", "required", F):
        assert marks_left(chat(choice, F, G).tool_choice) is None


def test_functions_are_told_apart_by_name_and_other_tools_by_type():
    asked = chat(allowed(F, SEARCH), F, G, SEARCH)

    check_allowed(asked)
    left = marks_left(asked.tool_choice)
    assert left == frozenset({("function", "f"), ("web_search", None)})


@pytest.mark.parametrize(
    ("choice", "use"),
    [
        (allowed(F, mode="required"), ToolUse.REQUIRED),
        (allowed(F, mode="auto"), ToolUse.AUTO),
        (allowed(F), ToolUse.AUTO),
        ("required", ToolUse.REQUIRED),
        ("none", ToolUse.NONE),
        (F, ToolUse.AUTO),
        (None, ToolUse.AUTO),
    ],
)
def test_the_mode_says_whether_one_must_be_called(choice, use):
    assert tool_use(chat(choice, F).tool_choice) is use


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        ({"type": "allowed_tools"}, "tool_choice.allowed_tools"),
        (allowed(), "tool_choice.allowed_tools.tools"),
        (allowed(F, G), "tool_choice.allowed_tools.tools.1"),
        (allowed({"type": "function"}), "tool_choice.allowed_tools.tools.0.function"),
    ],
)
def test_a_list_that_allows_nothing_or_what_is_not_offered_is_refused_by_name(choice, param):
    with pytest.raises(GroxyError) as caught:
        check_allowed(chat(choice, F))

    assert caught.value.param == param
