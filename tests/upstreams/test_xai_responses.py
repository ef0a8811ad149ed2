"""What xAI's Responses would answer with an error is rewritten or left out, and named."""

from typing import Any

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams._base import ModelFacts
from groxy.upstreams._xai_responses import prepare_responses_for_xai
from groxy.wire.json import decode_any, decode_fields, encode

GROK_4_7 = ModelFacts(
    rejects=frozenset({"stop", "frequency_penalty", "presence_penalty"}),
    efforts=("low", "medium", "high", "xhigh"),
)
NO_EFFORT = ModelFacts(rejects=frozenset({"reasoning_effort"}), efforts=())
FUNCTION = {"type": "function", "name": "look", "parameters": {"type": "object"}}


def prepared(facts: ModelFacts = GROK_4_7, /, **values: Any) -> tuple[dict[str, Any], list[str]]:
    fields = decode_fields(encode({"input": "Hi"} | values))
    words = prepare_responses_for_xai(fields, facts)
    return decode_any(encode(fields)), words


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("web_search", "external_web_access"),
        ("web_search", "search_context_size"),
        ("web_search", "user_location"),
        ("file_search", "filters"),
        ("file_search", "ranking_options"),
        ("code_interpreter", "container"),
    ],
)
def test_options_that_are_refused_are_left_out(kind, option) -> None:
    fields, words = prepared(tools=[{"type": kind, option: {"a": 1}, "kept": 2}])
    assert fields["tools"] == [{"type": kind, "kept": 2}]
    assert words == [f"{option} dropped"]


def test_tools_that_need_nothing_stay_the_same_bytes() -> None:
    raw = b'{"input":"Hi","tools":[ {"type":"web_search"} ,{"name":"f","type":"function"}]}'
    fields = decode_fields(raw)
    before = bytes(fields["tools"])
    assert prepare_responses_for_xai(fields, GROK_4_7) == []
    assert bytes(fields["tools"]) == before


def test_a_custom_tool_and_its_history_become_functions() -> None:
    items = [
        {"type": "custom_tool_call", "id": "x", "call_id": "c1", "name": "patch", "input": "a\nb"},
        {"type": "custom_tool_call_output", "id": "y", "call_id": "c1", "output": "done"},
    ]
    fields, words = prepared(tools=[{"type": "custom", "name": "patch"}], input=items)
    (tool,) = fields["tools"]
    assert (tool["type"], tool["name"]) == ("function", "patch")
    assert tool["parameters"]["required"] == ["input"]
    call, output = fields["input"]
    assert (call["type"], call["name"], call["call_id"]) == ("function_call", "patch", "c1")
    assert decode_any(call["arguments"].encode()) == {"input": "a\nb"}
    assert output == {"type": "function_call_output", "call_id": "c1", "output": "done"}
    assert "custom tool patch sent as function" in words


def test_namespaces_are_flattened() -> None:
    space = {"type": "namespace", "name": "files", "tools": [FUNCTION]}
    fields, words = prepared(tools=[space])
    assert [tool["name"] for tool in fields["tools"]] == ["look"]
    assert words == ["namespace files sent as functions"]


def test_tools_inside_the_input_move_to_the_tools() -> None:
    item = {"type": "additional_tools", "tools": [FUNCTION]}
    fields, _ = prepared(input=[item, {"role": "user", "content": "Hi"}])
    assert [tool["name"] for tool in fields["tools"]] == ["look"]
    assert fields["input"] == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("kind", ["tool_search_call", "local_shell_call", "computer_call"])
def test_items_that_xai_does_not_read_are_left_out(kind) -> None:
    user = {"type": "message", "role": "user", "content": "Hi"}
    fields, words = prepared(input=[{"type": kind, "id": "x"}, user])
    assert fields["input"] == [user]
    assert words == [f"{kind} dropped"]


def test_a_hosted_tool_that_xai_has_not_is_left_out() -> None:
    fields, words = prepared(tools=[{"type": "computer_use"}, FUNCTION])
    assert [tool["type"] for tool in fields["tools"]] == ["function"]
    assert words == ["tool computer_use dropped"]


def test_the_preview_of_search_is_search() -> None:
    fields, _ = prepared(tools=[{"type": "web_search_preview", "search_context_size": "low"}])
    assert fields["tools"] == [{"type": "web_search"}]


@pytest.mark.parametrize("tools", [{}, {"tools": []}, {"tools": None}])
def test_choices_about_tools_go_where_there_are_none(tools) -> None:
    fields, words = prepared(tool_choice="auto", parallel_tool_calls=False, **tools)
    assert fields == {"input": "Hi"}
    assert words == ["parallel_tool_calls dropped", "tool_choice dropped"]


@pytest.mark.parametrize(
    ("choice", "kept"),
    [
        ("required", "required"),
        ({"type": "function", "name": "look"}, {"type": "function", "name": "look"}),
        ({"type": "custom", "name": "look"}, {"type": "function", "name": "look"}),
        ({"type": "web_search"}, None),
        ({"type": "allowed_tools", "tools": []}, None),
    ],
)
def test_only_functions_can_be_forced(choice, kept) -> None:
    fields, _ = prepared(tools=[FUNCTION], tool_choice=choice)
    assert fields.get("tool_choice") == kept


def test_allowed_tools_are_the_only_ones_sent() -> None:
    others = [{"type": "function", "name": "jump", "parameters": {}}, {"type": "x_search"}]
    search = {"type": "web_search"}
    choice = {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "function", "name": "look"}, search],
    }
    fields, words = prepared(tools=[FUNCTION, *others, search], tool_choice=choice)
    assert fields["tools"] == [FUNCTION, search]
    assert fields["tool_choice"] == "required"
    assert words == ["allowed_tools sent as tools"]


def test_no_tool_is_sent_when_none_of_those_allowed_is_there() -> None:
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "x_search"}]}
    fields, _ = prepared(tools=[FUNCTION], tool_choice=choice)
    assert fields == {"input": "Hi"}


def test_what_x_search_did_inside_is_not_sent_back() -> None:
    inner = {"type": "custom_tool_call", "call_id": "xs", "name": "x_keyword_search", "input": "{}"}
    user = {"type": "message", "role": "user", "content": "Hi"}
    fields, words = prepared(input=[inner, user], tools=[{"type": "x_search"}])
    assert fields["input"] == [user]
    assert words == []


def test_a_call_of_a_custom_tool_stays_before_it_is_answered() -> None:
    call = {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "x"}
    fields, _ = prepared(input=[call], tools=[{"type": "custom", "name": "patch"}])
    assert fields["input"][0]["type"] == "function_call"


def test_pictures_of_tools_follow_their_outputs_as_a_message() -> None:
    picture = {"type": "input_image", "image_url": "https://x.ai/a.png"}
    first = {"type": "function_call_output", "call_id": "1"}
    second = {"type": "function_call_output", "call_id": "2", "output": "two"}
    output = [{"type": "input_text", "text": "a"}, picture, {"type": "input_text", "text": "b"}]
    user = {"role": "user", "content": "Well?"}
    fields, words = prepared(input=[first | {"output": output}, second, user])
    one, two, shown, asked = fields["input"]
    assert (one, two, asked) == (first | {"output": "a\nb"}, second, user)
    assert shown["role"] == "user"
    assert shown["content"][1:] == [picture]
    assert words == ["pictures of tools sent as a user message"]


def test_a_refusal_is_told_as_text() -> None:
    said = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "refusal", "refusal": "No"}],
    }
    fields, words = prepared(input=[said])
    assert fields["input"][0]["content"] == [{"type": "output_text", "text": "No"}]
    assert words == []


def test_input_that_needs_nothing_stays_the_same_bytes() -> None:
    raw = b'{"input":[ {"role":"user","content":"Hi"} ]}'
    fields = decode_fields(raw)
    before = bytes(fields["input"])
    assert prepare_responses_for_xai(fields, GROK_4_7) == []
    assert bytes(fields["input"]) == before


@pytest.mark.parametrize(
    ("facts", "asked", "sent"),
    [
        (GROK_4_7, "high", {"effort": "high", "summary": "auto"}),
        (GROK_4_7, "minimal", {"effort": "low", "summary": "auto"}),
        (GROK_4_7, "max", {"effort": "xhigh", "summary": "auto"}),
        (NO_EFFORT, "high", {"summary": "auto"}),
        (ModelFacts(), "max", {"effort": "max", "summary": "auto"}),
    ],
)
def test_an_effort_is_fitted_to_the_model(facts, asked, sent) -> None:
    fields, words = prepared(facts, reasoning={"effort": asked, "summary": "auto"})
    assert fields["reasoning"] == sent
    assert bool(words) is (sent.get("effort") != asked)


def test_an_effort_alone_leaves_no_empty_object() -> None:
    assert prepared(NO_EFFORT, reasoning={"effort": "low"}) == (
        {"input": "Hi"},
        ["reasoning.effort dropped"],
    )


def test_settings_of_chat_are_left_out() -> None:
    fields, words = prepared(stop=["x"], presence_penalty=1, temperature=0.5)
    assert fields == {"input": "Hi", "temperature": 0.5}
    assert words == ["presence_penalty dropped", "stop dropped"]


def test_functions_are_refused_where_the_model_calls_none() -> None:
    with pytest.raises(GroxyError) as caught:
        prepared(ModelFacts(rejects=frozenset({"tools"})), tools=[FUNCTION])
    assert caught.value.kind is ErrorKind.UNSUPPORTED


@pytest.mark.parametrize("value", [7, "x", [7], [{"type": 7}], {"a": 1}, [[]]])
@pytest.mark.parametrize("name", ["tools", "input", "reasoning", "tool_choice"])
def test_what_cannot_be_read_is_left_to_the_upstream(name, value) -> None:
    prepared(**{name: value})


def test_a_name_cannot_break_out_of_its_header() -> None:
    _, words = prepared(tools=[{"type": "custom", "name": "a\r\nset-cookie: x"}])
    assert words == ["custom tool aset-cookiex sent as function"]
