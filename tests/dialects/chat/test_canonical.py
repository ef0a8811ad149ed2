"""Chat requests in canonical form: what has its place there, and what has none."""

import json
from typing import Any

import pytest
from msgspec import Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import File, Image, Reasoning, Text, ToolCall, ToolResult
from groxy.core.request import (
    Message,
    Options,
    OutputForm,
    Request,
    Role,
    ServerTool,
    Tool,
    ToolUse,
)
from groxy.dialects._base import Asked
from groxy.dialects.chat.bounds import bounded
from groxy.dialects.chat.canonical import canonical, prompt_text
from groxy.dialects.chat.request import decode_request

HELLO = [{"role": "user", "content": "Hello"}]
LOOK = {
    "type": "function",
    "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}},
}
_DEEP = b"[" * 100_000 + b"]" * 100_000


def _asked(**fields: Any) -> Asked:
    return decode_request(json.dumps({"model": "grok-4", "messages": HELLO} | fields).encode())


def _request(**fields: Any) -> Request:
    return canonical(_asked(**fields))


def _message(**fields: Any) -> Message:
    return _request(messages=[fields]).messages[0]


def _options(**fields: Any) -> Options:
    return _request(**fields).options


# ------------------------------------------------------------------------------- the canonical form


@pytest.mark.parametrize(
    ("role", "canonical_role"),
    [
        ("system", Role.SYSTEM),
        ("developer", Role.SYSTEM),
        ("user", Role.USER),
        ("assistant", Role.ASSISTANT),
    ],
)
def test_text_is_one_part(role, canonical_role):
    expected = Message(role=canonical_role, parts=(Text(text="Hello"),), name="n")
    assert _message(role=role, content="Hello", name="n") == expected


@pytest.mark.parametrize(
    ("part", "canonical_part"),
    [
        ({"type": "text", "text": "a"}, Text(text="a")),
        ({"type": "image_url", "image_url": "https://a/"}, Image(url="https://a/")),
        (
            {"type": "image_url", "image_url": {"url": "data:", "detail": "low"}},
            Image(url="data:", detail="low"),
        ),
        ({"type": "file", "file": {"file_id": "f"}}, File(file_id="f")),
        (
            {"type": "file", "file": {"file_data": "data:", "filename": "a.pdf"}},
            File(url="data:", name="a.pdf"),
        ),
        ({"type": "file", "file": {"file_url": "https://a/"}}, File(url="https://a/")),
    ],
)
def test_every_part_has_its_canonical_form(part, canonical_part):
    assert _message(role="user", content=[part]).parts == (canonical_part,)


def test_a_part_of_an_unknown_type_is_left_out():
    content = [{"type": "input_audio", "input_audio": {}}, {"type": "text", "text": "a"}]
    assert _message(role="user", content=content).parts == (Text(text="a"),)


def test_an_assistants_thoughts_text_and_calls_keep_their_order():
    called = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
    message = _message(role="assistant", content="ok", reasoning_content="hm", tool_calls=[called])
    assert message.parts == (
        Reasoning(text="hm"),
        Text(text="ok"),
        ToolCall(call_id="c", name="look", arguments='{"a":1}'),
    )


def test_an_assistant_that_only_called_has_only_the_call():
    called = {"id": "c", "function": {"name": "look"}}
    message = _message(role="assistant", content=None, tool_calls=[called])
    assert message.parts == (ToolCall(call_id="c", name="look", arguments=""),)


@pytest.mark.parametrize(
    "content", ["a\nb", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]]
)
def test_a_tools_result_is_text(content):
    message = _message(role="tool", content=content, tool_call_id="c")
    assert message == Message(role=Role.TOOL, parts=(ToolResult(call_id="c", text="a\nb"),))


def test_tools_keep_their_schema_as_json():
    parameters = {"type": "object", "properties": {"a": {"enum": [1.5, None]}}}
    tool = {"type": "function", "function": {"name": "look", "parameters": parameters}}
    (got,) = canonical(_asked(tools=[tool])).tools
    assert (got.name, got.description, json.loads(got.parameters)) == ("look", "", parameters)


def test_a_tool_without_parameters_takes_none():
    tool = {"type": "function", "function": {"name": "look"}}
    assert canonical(_asked(tools=[tool])).tools == (Tool(name="look"),)


def test_what_was_not_asked_for_is_the_upstreams_choice():
    assert _options() == Options()


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"max_tokens": 5}, "max_output_tokens", 5),
        ({"max_tokens": 5, "max_completion_tokens": 7}, "max_output_tokens", 7),
        ({"temperature": 0}, "temperature", 0.0),
        ({"top_p": 0.5}, "top_p", 0.5),
        ({"n": 3}, "choices", 3),
        ({"seed": 0}, "seed", 0),
        ({"stop": "a"}, "stop", ("a",)),
        ({"stop": ["a", "b"]}, "stop", ("a", "b")),
        ({"reasoning_effort": "none"}, "reasoning_effort", "none"),
        ({"logprobs": True}, "logprobs", True),
        ({"tool_choice": "required"}, "tool_use", ToolUse.REQUIRED),
        ({"tool_choice": "none"}, "tool_use", ToolUse.NONE),
        ({"tool_choice": {"type": "function", "function": {"name": "a"}}}, "tool_name", "a"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls", False),
        ({"parallel_tool_calls": None}, "parallel_tool_calls", True),
        ({"response_format": {"type": "json_object"}}, "output_form", OutputForm.JSON),
    ],
)
def test_every_option_has_its_canonical_form(fields, name, value):
    assert getattr(_options(**fields), name) == value


def test_a_schema_is_kept_as_json():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    options = _options(response_format=form)
    assert options.output_form is OutputForm.SCHEMA
    assert json.loads(options.output_schema) == schema


# ---------------------------------------------------------------------------------- what is counted


def test_all_text_of_a_request_is_counted():
    called = {"id": "c", "function": {"name": "fetch", "arguments": '{"q":1}'}}
    asked = _asked(
        messages=[
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "Part"}]},
            {"role": "assistant", "reasoning_content": "Hm.", "tool_calls": [called]},
            {"role": "tool", "content": "Result", "tool_call_id": "c"},
        ],
        tools=[LOOK],
    )
    pieces = ['lookLooks.{"type":"object"}', "Be kind.", "Part", "Hm.", 'fetch{"q":1}', "Result"]
    assert prompt_text(asked).split("\n") == pieces


def test_pictures_are_not_counted_as_text():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1000}}
    assert prompt_text(_asked(messages=[{"role": "user", "content": [image]}])) == ""


def _too_deep_to_read_again() -> Asked:
    """A request that could be read when it came, with more of the stack to spare than now."""
    asked = _asked()
    asked.fields["unknown"] = Raw(_DEEP)
    asked.decoded = None
    return asked


def test_a_request_too_deep_to_read_again_is_counted_all_the_same():
    assert "Hello" in prompt_text(_too_deep_to_read_again())


def test_a_request_too_deep_to_read_again_is_refused():
    with pytest.raises(GroxyError) as caught:
        canonical(_too_deep_to_read_again())
    assert caught.value.kind is ErrorKind.BAD_JSON


def test_a_request_that_was_bounded_is_decoded_as_it_is_now():
    asked = _asked(max_tokens=100)
    assert canonical(asked).options.max_output_tokens == 100
    assert canonical(bounded(asked, 7)).options.max_output_tokens == 7


def test_a_request_is_the_same_whether_it_is_decoded_again_or_not():
    asked = _asked(tools=[LOOK], temperature=0.5, seed=7)
    first = canonical(asked)
    asked.decoded = None
    assert canonical(asked) == first


def test_a_schema_is_counted():
    form = {"type": "json_schema", "json_schema": {"schema": {"title": "Weather"}}}
    assert "Weather" in prompt_text(_asked(response_format=form))


# ------------------------------------------------------------------------------- further options


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"top_k": 40}, "top_k", 40),
        ({"presence_penalty": 1}, "presence_penalty", 1.0),
        ({"frequency_penalty": -1}, "frequency_penalty", -1.0),
        ({"top_logprobs": 3}, "top_logprobs", 3),
        ({"user": "u"}, "user", "u"),
        ({"reasoning": {"effort": "high"}}, "reasoning_effort", "high"),
        ({"reasoning": {"enabled": False}}, "reasoning_effort", "none"),
        ({"reasoning": {"enabled": True}}, "reasoning_effort", None),
        ({"reasoning": {}}, "reasoning_effort", None),
        ({"reasoning": {"max_tokens": 2000}}, "reasoning_effort", "low"),
        ({"reasoning": {"max_tokens": 2001}}, "reasoning_effort", "medium"),
        ({"reasoning": {"max_tokens": 8000}}, "reasoning_effort", "medium"),
        ({"reasoning": {"max_tokens": 8001}}, "reasoning_effort", "high"),
        ({"reasoning": {"effort": "low", "max_tokens": 9000}}, "reasoning_effort", "low"),
        (
            {"reasoning": {"effort": "low"}, "reasoning_effort": "high"},
            "reasoning_effort",
            "high",
        ),
    ],
)
def test_every_further_option_has_its_canonical_form(fields, name, value):
    assert getattr(_options(**fields), name) == value


def test_a_schemas_name_is_kept():
    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": {"a": 1}}}
    assert _options(response_format=form).output_name == "weather"


@pytest.mark.parametrize("strict", [True, False, None])
def test_a_schemas_strictness_is_kept(strict):
    form = {"type": "json_schema", "json_schema": {"schema": {"a": 1}, "strict": strict}}
    assert _options(response_format=form).output_strict is strict


@pytest.mark.parametrize("strict", [True, False, None])
def test_a_tools_strictness_is_kept(strict):
    tool = {"type": "function", "function": {"name": "look", "strict": strict}}
    assert _request(tools=[tool]).tools == (Tool(name="look", strict=strict),)


# ---------------------------------------------------------------------------------------- messages


def test_openrouters_sealed_thoughts_are_kept():
    details = [
        {"type": "reasoning.text", "text": "hm"},
        {"type": "reasoning.encrypted", "data": "sealed", "id": "rs_1"},
        {"type": "reasoning.encrypted", "data": "more", "id": None},
    ]
    message = _message(role="assistant", content="ok", reasoning="hm", reasoning_details=details)
    assert message.parts == (
        Reasoning(text="hm"),
        Reasoning(text="", encrypted="sealed", item_id="rs_1"),
        Reasoning(text="", encrypted="more"),
        Text(text="ok"),
    )


@pytest.mark.parametrize("odd", [None, 5, "text", {}, [5], [{"type": "reasoning.encrypted"}]])
def test_details_that_cannot_be_read_are_passed_over(odd):
    message = _message(role="assistant", content="ok", reasoning=odd and [], reasoning_details=odd)
    assert message.parts == (Text(text="ok"),)


def test_thoughts_given_both_ways_are_kept_once():
    message = _message(role="assistant", content="ok", reasoning="a", reasoning_content="a")
    assert message.parts == (Reasoning(text="a"), Text(text="ok"))


def test_a_tools_pictures_are_kept_beside_its_text():
    content = [
        {"type": "text", "text": "Seen:"},
        {"type": "image_url", "image_url": {"url": "data:,"}},
    ]
    message = _message(role="tool", content=content, tool_call_id="c")
    expected = ToolResult(call_id="c", text="Seen:", images=(Image(url="data:,"),))
    assert message.parts == (expected,)


def test_a_refusal_is_what_the_assistant_said():
    message = _message(role="assistant", content=[{"type": "refusal", "refusal": "No."}])
    assert message.parts == (Text(text="No."),)


# -------------------------------------------------------------------------------- allowed tools


def _allowing(*names: str, **mode: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"tools": tools, **mode}}


def test_only_the_tools_that_are_allowed_are_offered():
    jump = {"type": "function", "function": {"name": "jump"}}
    request = _request(tools=[LOOK, jump, {"type": "web_search"}], tool_choice=_allowing("jump"))
    assert (request.tools, request.server_tools) == ((Tool(name="jump"),), ())


def test_a_tool_of_the_upstream_that_is_allowed_is_offered():
    search = {"type": "web_search"}
    choice = {"type": "allowed_tools", "allowed_tools": {"tools": [search]}}
    request = _request(tools=[LOOK, {"type": "x_search"}, search], tool_choice=choice)
    assert (request.tools, request.server_tools) == ((), (ServerTool(kind="web_search"),))


@pytest.mark.parametrize(
    ("mode", "use"),
    [
        ({}, ToolUse.AUTO),
        ({"mode": "auto"}, ToolUse.AUTO),
        ({"mode": "required"}, ToolUse.REQUIRED),
    ],
)
def test_the_mode_of_allowed_tools_is_the_choice(mode, use):
    assert _options(tools=[LOOK], tool_choice=_allowing("look", **mode)).tool_use is use


# -------------------------------------------------------------------------------- server tools


def test_tools_that_the_upstream_runs_keep_their_settings():
    mcp = {"type": "mcp", "server_url": "https://a/", "headers": {"x": "1"}}
    request = _request(tools=[LOOK, {"type": "web_search"}, mcp])
    assert [tool.name for tool in request.tools] == ["look"]
    assert [tool.kind for tool in request.server_tools] == ["web_search", "mcp"]
    settings = json.loads(request.server_tools[1].settings)
    assert settings == {"server_url": "https://a/", "headers": {"x": "1"}}


def test_live_search_becomes_the_tools_that_took_its_place():
    request = _request(search_parameters={"mode": "auto", "sources": [{"type": "web"}]})
    assert request.server_tools == (ServerTool(kind="web_search", settings=b"{}"),)


def test_a_live_search_tool_becomes_the_tools_that_took_its_place():
    request = _request(tools=[{"type": "live_search", "sources": [{"type": "x"}]}])
    assert request.server_tools == (ServerTool(kind="x_search", settings=b"{}"),)


@pytest.mark.parametrize("search", [None, {"mode": "off"}])
def test_a_search_that_is_off_is_no_tool(search):
    assert _request(search_parameters=search).server_tools == ()


def test_feeds_are_refused():
    with pytest.raises(GroxyError) as caught:
        _request(search_parameters={"sources": [{"type": "rss"}]})
    assert caught.value.kind is ErrorKind.UNSUPPORTED


def test_a_request_with_feeds_is_counted_all_the_same():
    assert "Hello" in prompt_text(_asked(search_parameters={"sources": [{"type": "rss"}]}))


# ------------------------------------------------------------------------------------ left out


def test_what_has_no_place_is_named():
    request = _request(logit_bias={"1": 2}, verbosity="low", min_p=0)
    assert request.left_out == ("logit_bias", "verbosity", "min_p")


@pytest.mark.parametrize(
    "fields",
    [
        {"logit_bias": None},
        {"stream": True, "stream_options": {}},
        {"deferred": True},
        {"models": ["a"], "provider": {}, "usage": {"include": True}},
        {"metadata": {"a": "b"}, "store": True, "session_id": "s", "prompt_cache_key": "k"},
        {"user": "u", "seed": 1, "top_k": 1},
    ],
)
def test_what_is_null_or_acted_on_here_is_not_left_out(fields):
    assert _request(**fields).left_out == ()


@pytest.mark.parametrize("name", ["a b", "x\r\nset-cookie: a", "", "é", "n" * 65])
def test_a_name_that_fits_no_header_is_not_repeated(name):
    assert _request(**{name: 1}).left_out == ()


def test_only_so_many_names_are_repeated():
    assert len(_request(**{f"x{at}": 1 for at in range(100)}).left_out) == 16


def test_parts_and_tools_of_unknown_kinds_are_named():
    content = [{"type": "input_audio", "input_audio": {}}]
    request = _request(messages=[{"role": "user", "content": content}], tools=[{"type": "custom"}])
    assert request.left_out == ("tools.custom", "messages.input_audio")


def test_what_a_search_cannot_say_is_named():
    search = {"sources": [{"type": "web"}], "from_date": "2026-01-01", "max_search_results": 5}
    left_out = _request(search_parameters=search).left_out
    assert left_out == ("search_parameters.from_date", "search_parameters.max_search_results")
