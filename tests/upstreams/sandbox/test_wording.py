"""What the sandbox says, thinks and calls."""

import pytest

from groxy.core.parts import Reasoning, Text, ToolCall, ToolResult
from groxy.core.request import Message, Request, Role, ServerTool
from groxy.upstreams.sandbox.seal import sealed
from groxy.upstreams.sandbox.wording import spoken, thoughts, tools_to_call
from tests.upstreams.sandbox.asking import request, tool


def test_it_says_what_it_is_and_quotes_the_user():
    text = spoken(request("What is\n the weather?"))[0]
    assert "Groxy sandbox" in text
    assert "“What is the weather?”" in text
    assert "`grok-4.7`" in text


def test_a_long_text_is_quoted_by_its_beginning():
    text = spoken(request("word " * 10_000))[0]
    assert "word…”" in text
    assert len(text) < 700


def test_it_tells_what_else_it_was_given():
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    (text,) = spoken(
        request(
            messages=[
                {"role": "system", "content": "Be kind and brief."},
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Hello"},
                {"role": "user", "content": [{"type": "text", "text": "See:"}, picture, picture]},
            ]
        )
    )
    assert "instructions of 4 words" in text
    assert "message number 2" in text
    assert "I see 2 pictures." in text
    assert "“See:”" in text


def test_one_picture_is_not_two():
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    text = spoken(request(messages=[{"role": "user", "content": [part]}]))[0]
    assert "I see 1 picture." in text
    assert "You wrote nothing." in text


def test_files_are_seen():
    part = {"type": "file", "file": {"file_id": "file-1"}}
    assert "I see 1 file." in spoken(request(messages=[{"role": "user", "content": [part]}]))[0]


def test_no_user_at_all_is_no_trouble():
    assert "You wrote nothing." in spoken(request(messages=[{"role": "system", "content": "x"}]))[0]


def test_seeds_and_choices_change_the_wording():
    texts = {spoken(request(seed=seed))[0] for seed in range(15)}
    assert len(texts) == 15
    assert len(set(spoken(request(n=15)))) == 15
    assert spoken(request(seed=-1)) == spoken(request(seed=-1))


@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high", "xhigh", "max"])
def test_an_effort_makes_it_think(effort):
    assert "1 word." in thoughts(request("Hi", reasoning_effort=effort))


def test_more_effort_makes_more_thoughts():
    lengths = [
        len(thoughts(request(reasoning_effort=effort)))
        for effort in ("low", "medium", "high", "xhigh", "max")
    ]
    assert lengths == sorted(set(lengths))


def test_who_thinks_without_being_asked():
    assert thoughts(request(model="grok-4.20-reasoning"))
    assert not thoughts(request())
    assert not thoughts(request(reasoning_effort="none", model="grok-4.20-reasoning"))
    assert not thoughts(request(reasoning_effort="high", model="grok-4.20-non-reasoning"))


def _called(text, names, **fields):
    tools = [tool(name) for name in names]
    return [each.name for each in tools_to_call(request(text, tools=tools, **fields))]


def test_a_tool_is_called_when_the_text_names_it():
    names = ["get_weather", "get_time"]
    assert _called("Use get_weather for Oslo", names) == ["get_weather"]
    assert _called("Please GET WEATHER.", names) == ["get_weather"]
    assert _called("call get-time, then get_weather", names) == ["get_time", "get_weather"]
    assert _called("forget_weather and weather", names) == []
    assert _called("", names) == []


def test_tool_choice_is_kept_to():
    names = ["one", "two"]
    named = {"type": "function", "function": {"name": "two"}}
    assert _called("hello", names, tool_choice="required") == ["one"]
    assert _called("two", names, tool_choice="required") == ["two"]
    assert _called("one", names, tool_choice=named) == ["two"]
    assert _called("one", names, tool_choice="none") == []


def test_calls_come_one_at_a_time_when_asked_so():
    assert _called("two one", ["one", "two"], parallel_tool_calls=False) == ["two"]


def test_results_are_told_and_not_called_for_again():
    call = {"id": "call_1", "type": "function", "function": {"name": "one", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "call one"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "42 degrees"},
    ]
    asked = request(messages=messages, tools=[tool("one")])
    assert tools_to_call(asked) == []
    assert "The tool `one` returned: “42 degrees”" in spoken(asked)[0]
    forced = request(messages=messages, tools=[tool("one")], tool_choice="required")
    assert [each.name for each in tools_to_call(forced)] == ["one"]


def test_the_result_of_a_call_nobody_made_has_its_id_as_name():
    messages = [{"role": "tool", "tool_call_id": "call_9", "content": "x"}]
    assert "The tool `call_9` returned" in spoken(request(messages=messages))[0]


def _canonical(*messages, **fields):
    return Request(model="m", messages=messages, **fields)


def _said(asked):
    return spoken(asked)[0]


def test_thoughts_that_came_back_are_noted():
    user = Message(role=Role.USER, parts=(Text(text="Hi"),))
    back = Reasoning(text="Hm.", encrypted=sealed("Hm.", b"one"))
    asked = _canonical(user, Message(role=Role.ASSISTANT, parts=(back,)), user)
    assert "I got my earlier thoughts back." in _said(asked)
    foreign = Reasoning(text="Hm.", encrypted="gAAAA")
    assert "thoughts" not in _said(_canonical(Message(role=Role.ASSISTANT, parts=(foreign,)), user))


def test_tools_that_the_upstream_runs_are_named_once():
    user = Message(role=Role.USER, parts=(Text(text="Hi"),))
    kinds = ("web_search", "x_search", "web_search")
    tools = tuple(ServerTool(kind=kind) for kind in kinds)
    assert "I was offered web_search, x_search." in _said(_canonical(user, server_tools=tools))


def test_results_in_a_message_of_the_user_are_told_in_order():
    call = ToolCall(call_id="a", name="one", arguments="{}")
    results = (ToolResult(call_id="a", text="1"), ToolResult(call_id="b", text="2"))
    asked = _canonical(
        Message(role=Role.ASSISTANT, parts=(call,)),
        Message(role=Role.USER, parts=(*results, Text(text="Well?"))),
    )
    assert "`one` returned: “1”\nThe tool `b` returned: “2”" in _said(asked)
