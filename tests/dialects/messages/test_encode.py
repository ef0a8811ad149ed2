"""Requests of other dialects, written for an upstream that speaks Messages."""

import base64
import json
from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from hypothesis import given, strategies as st
from pydantic import TypeAdapter

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import File, Image, Part, Reasoning, Text, ToolCall, ToolResult
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
from groxy.dialects.messages import DIALECT
from groxy.wire.json import encode
from tests.dialects.messages.streams import PIXEL, decoded

_BODY: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsNonStreaming)
LOOK = Tool(name="look", description="Looks.", parameters=b'{"type":"object","properties":{}}')


def _message(role: Role, *parts: Part | str) -> Message:
    return Message(
        role=role, parts=tuple(Text(text=one) if isinstance(one, str) else one for one in parts)
    )


def _user(*parts: Part | str) -> Message:
    return _message(Role.USER, *parts)


def _written(
    *messages: Message, effort: str | None = None, **fields: Any
) -> tuple[dict[str, Any], list[str]]:
    request = Request(model="asked", messages=messages or (_user("Hello"),), **fields)
    body, words = DIALECT.encode_request(request, model="sent", effort=effort, stream=False)
    read = decoded(body)
    _BODY.validate_python(read)
    return read, words


def _body(*messages: Message, **fields: Any) -> dict[str, Any]:
    return _written(*messages, **fields)[0]


def _option(**fields: Any) -> tuple[dict[str, Any], list[str]]:
    return _written(options=Options(**fields))


def _content(*parts: Part | str) -> Any:
    return _body(_user(*parts))["messages"][0]["content"]


def _unsupported(**fields: Any) -> str | None:
    with pytest.raises(GroxyError) as raised:
        _written(**fields)
    assert raised.value.kind is ErrorKind.UNSUPPORTED
    return raised.value.param


# ---------------------------------------------------------------------------------- conversation


def test_a_plain_question():
    assert _written() == (
        {
            "stream": False,
            "model": "sent",
            "max_tokens": 8192,
            "messages": [{"role": "user", "content": "Hello"}],
        },
        [],
    )


def test_a_stream_is_asked_for():
    request = Request(model="m", messages=(_user("a"),))
    body, _ = DIALECT.encode_request(request, model="m", effort=None, stream=True)
    assert decoded(body)["stream"] is True


def test_system_texts_are_joined():
    body = _body(_message(Role.SYSTEM, "a"), _user("b"), _message(Role.SYSTEM, "c", "d"))
    assert body["system"] == "a\n\nc\n\nd"
    assert body["messages"] == [{"role": "user", "content": "b"}]


def test_a_system_text_alone_asks():
    body = _body(_message(Role.SYSTEM, "Tell a joke."))
    assert body["messages"] == [{"role": "user", "content": "Tell a joke."}]
    assert "system" not in body


def test_user_and_assistant_take_turns_and_results_come_first():
    call = ToolCall(call_id="a", name="look", arguments='{"x":1}')
    other = ToolCall(call_id="b", name="look", arguments="")
    body = _body(
        _user("1"),
        _user("2"),
        _message(Role.ASSISTANT, "3"),
        _message(Role.ASSISTANT, call, other),
        _user("Sorry."),
        _message(Role.TOOL, ToolResult(call_id="a", text="ok")),
        _message(Role.TOOL, ToolResult(call_id="b", text="no", is_error=True)),
        _user("Go on."),
    )
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][1]["content"] == [
        {"type": "text", "text": "3"},
        {"type": "tool_use", "id": "a", "name": "look", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "look", "input": {}},
    ]
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": "ok"},
        {"type": "tool_result", "tool_use_id": "b", "content": "no", "is_error": True},
        {"type": "text", "text": "Sorry."},
        {"type": "text", "text": "Go on."},
    ]


@pytest.mark.parametrize("arguments", ["", "{", "[1]", "7", '{"a":1} x', "[" * 5000])
def test_arguments_that_are_no_object_become_an_empty_one(arguments):
    body = _body(_message(Role.ASSISTANT, ToolCall(call_id="a", name="b", arguments=arguments)))
    assert body["messages"][0]["content"][0]["input"] == {}


def test_ids_of_calls_are_spelled_as_anthropic_takes_them_and_still_match():
    call = ToolCall(call_id="functions.look:0", name="look", arguments="{}")
    body = _body(
        _message(Role.ASSISTANT, call),
        _message(Role.TOOL, ToolResult(call_id="functions.look:0", text="ok")),
    )
    spelled = body["messages"][0]["content"][0]["id"]
    assert spelled.startswith("functions_look_0_")
    assert body["messages"][1]["content"][0]["tool_use_id"] == spelled


def test_ids_that_differ_in_odd_characters_stay_apart():
    calls = [ToolCall(call_id=name, name="look", arguments="{}") for name in ("a.b", "a:b", "a_b")]
    body = _body(_message(Role.ASSISTANT, *calls))
    assert len({block["id"] for block in body["messages"][0]["content"]}) == 3


def test_empty_text_and_empty_turns_are_left_out():
    body = _body(_user("a"), _message(Role.ASSISTANT, ""), _user("", "b"))
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    ]


def test_a_name_is_dropped_with_a_word():
    message = Message(role=Role.USER, parts=(Text(text="a"),), name="Ann")
    assert _written(message)[1] == ["name dropped"]


# ------------------------------------------------------------------------------------------ parts


@pytest.mark.parametrize(
    ("part", "source"),
    [
        (Image(url="https://x.test/a.png"), {"type": "url", "url": "https://x.test/a.png"}),
        (
            Image(url=f"data:image/png;base64,{PIXEL}"),
            {"type": "base64", "media_type": "image/png", "data": PIXEL},
        ),
        (
            Image(url="data:image/svg+xml,%3Csvg%2F%3E"),
            {
                "type": "base64",
                "media_type": "image/svg+xml",
                "data": base64.b64encode(b"<svg/>").decode(),
            },
        ),
        (
            File(url=f"data:image/png;base64,{PIXEL}"),
            {"type": "base64", "media_type": "image/png", "data": PIXEL},
        ),
    ],
)
def test_pictures(part, source):
    request = Request(model="m", messages=(_user(part),))
    body, _ = DIALECT.encode_request(request, model="m", effort=None, stream=False)
    assert decoded(body)["messages"][0]["content"] == [{"type": "image", "source": source}]


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (File(file_id="f"), {"source": {"type": "file", "file_id": "f"}}),
        (
            File(url="https://x.test/a.pdf", name="a.pdf"),
            {"source": {"type": "url", "url": "https://x.test/a.pdf"}, "title": "a.pdf"},
        ),
        (
            File(url=f"data:application/pdf;base64,{PIXEL}"),
            {"source": {"type": "base64", "media_type": "application/pdf", "data": PIXEL}},
        ),
        (
            File(url="data:text/markdown;charset=utf-8;base64,SGnDqQ=="),
            {"source": {"type": "text", "media_type": "text/plain", "data": "Hié"}},
        ),
        (
            File(url="data:,Hi"),
            {"source": {"type": "text", "media_type": "text/plain", "data": "Hi"}},
        ),
    ],
)
def test_documents(part, block):
    assert _content(part) == [{"type": "document"} | block]


@pytest.mark.parametrize("data", ["data:application/zip;base64,//79", "data:text/plain;base64,!!"])
def test_a_file_that_is_neither_pdf_nor_text_is_refused(data):
    with pytest.raises(GroxyError) as raised:
        _content(File(url=data))
    assert (raised.value.kind, raised.value.param) == (ErrorKind.UNSUPPORTED, "messages")


def test_thoughts_go_back_only_sealed():
    body = _body(
        _message(
            Role.ASSISTANT,
            Reasoning(text="Hm.", encrypted="sig"),
            Reasoning(text="", encrypted="enc", item_id="rs_1"),
            Reasoning(text="lost"),
            "Yes.",
        )
    )
    assert body["messages"][0]["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "redacted_thinking", "data": "enc"},
        {"type": "text", "text": "Yes."},
    ]


def test_a_result_with_pictures():
    result = ToolResult(call_id="a", text="Seen", images=(Image(url="https://x.test/a.png"),))
    (block,) = _body(_message(Role.TOOL, result))["messages"][0]["content"]
    assert block["content"] == [
        {"type": "text", "text": "Seen"},
        {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
    ]


# --------------------------------------------------------------------------------------- settings


def test_settings_that_messages_has():
    body, words = _option(max_output_tokens=5, temperature=0.5, top_p=0.9, top_k=3, user="u")
    assert words == []
    assert {name: body[name] for name in ("max_tokens", "temperature", "top_p", "top_k")} == {
        "max_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 3,
    }
    assert body["metadata"] == {"user_id": "u"}


def test_temperature_is_capped_with_a_word():
    body, words = _option(temperature=1.7)
    assert (body["temperature"], words) == (1, ["temperature capped at 1"])


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"presence_penalty": 0.5}, "presence_penalty dropped"),
        ({"frequency_penalty": 0.0}, "frequency_penalty dropped"),
        ({"seed": 0}, "seed dropped"),
        ({"logprobs": True}, "logprobs dropped"),
        ({"top_logprobs": 2}, "top_logprobs dropped"),
    ],
)
def test_a_setting_that_messages_lacks_is_dropped_with_a_word(options, word):
    body, words = _option(**options)
    assert words == [word]
    assert set(body) == {"model", "max_tokens", "messages", "stream"}


def test_what_the_callers_dialect_could_not_say_has_its_word():
    assert _written(left_out=("logit_bias",))[1] == ["logit_bias dropped"]


def test_stop_texts_are_not_sent():
    assert "stop_sequences" not in _option(stop=("END",))[0]


def test_several_answers_are_refused():
    assert _unsupported(options=Options(choices=2)) == "n"


def test_json_without_a_schema_is_refused():
    assert _unsupported(options=Options(output_form=OutputForm.JSON)) == "response_format"


def test_what_is_refused_is_called_as_its_caller_calls_it():
    options = Options(output_form=OutputForm.JSON, output_field="text.format")
    assert _unsupported(options=options) == "text.format"


@pytest.mark.parametrize(
    ("asked", "routed", "expected"),
    [
        (None, None, {}),
        ("high", None, {"output_config": {"effort": "high"}}),
        ("high", "low", {"output_config": {"effort": "low"}}),
        ("none", None, {"thinking": {"type": "disabled"}}),
        ("minimal", None, {"output_config": {"effort": "low"}}),
        (None, "xhigh", {"output_config": {"effort": "xhigh"}}),
    ],
)
def test_how_hard_to_think(asked, routed, expected):
    body = _body(options=Options(reasoning_effort=asked), effort=routed)
    assert {name: body[name] for name in ("output_config", "thinking") if name in body} == expected


def test_a_schema_and_an_effort_share_one_field():
    options = Options(
        reasoning_effort="low", output_form=OutputForm.SCHEMA, output_schema=b'{"type":"object"}'
    )
    assert _body(options=options)["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": {"type": "object"}},
    }


# ------------------------------------------------------------------------------------------ tools


def test_tools():
    tools = (LOOK, Tool(name="go", strict=True))
    assert _body(tools=tools)["tools"] == [
        {
            "name": "look",
            "description": "Looks.",
            "input_schema": {"type": "object", "properties": {}},
        },
        {"name": "go", "description": "", "input_schema": {"type": "object"}, "strict": True},
    ]


@pytest.mark.parametrize(
    ("options", "choice"),
    [
        ({}, None),
        ({"tool_use": ToolUse.NONE}, {"type": "none"}),
        ({"tool_use": ToolUse.REQUIRED}, {"type": "any"}),
        ({"tool_name": "look"}, {"type": "tool", "name": "look"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"tool_name": "look", "parallel_tool_calls": False},
            {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
        ),
    ],
)
def test_how_freely_tools_are_called(options, choice):
    assert _body(tools=(LOOK,), options=Options(**options)).get("tool_choice") == choice


def test_a_choice_among_no_tools_is_not_sent():
    assert "tool_choice" not in _option(tool_use=ToolUse.REQUIRED)[0]


@pytest.mark.parametrize(
    ("settings", "expected", "words"),
    [
        ({}, {}, []),
        ({"allowed_domains": ["a.b"]}, {"allowed_domains": ["a.b"]}, []),
        ({"excluded_domains": ["a.b"]}, {"blocked_domains": ["a.b"]}, []),
        ({"filters": {"allowed_domains": ["a.b"]}}, {"allowed_domains": ["a.b"]}, []),
        ({"filters": {"blocked_domains": ["a.b"]}}, {"blocked_domains": ["a.b"]}, []),
        ({"search_context_size": "low"}, {}, ["search_context_size dropped"]),
        (
            {"user_location": {"type": "approximate", "city": "Bern"}},
            {"user_location": {"type": "approximate", "city": "Bern"}},
            [],
        ),
    ],
)
def test_a_search(settings, expected, words):
    tool = ServerTool(kind="web_search", settings=encode(settings))
    body, said = _written(server_tools=(tool,))
    assert body["tools"] == [{"type": "web_search_20250305", "name": "web_search"} | expected]
    assert said == words


def test_other_tools_that_upstreams_run_are_refused():
    assert _unsupported(server_tools=(ServerTool(kind="x_search"),)) == "tools"


# --------------------------------------------------------------------------------------- both ways

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
_ID = st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True)
_ARGUMENTS = st.dictionaries(_TEXT, _TEXT | st.integers(), max_size=2).map(
    lambda fields: encode(fields).decode()
)
_SPOKEN = st.builds(Text, text=_TEXT)
_CALLED = st.builds(ToolCall, call_id=_ID, name=_ID, arguments=_ARGUMENTS)


@given(
    system=_TEXT,
    said=_TEXT,
    spoken=st.lists(_SPOKEN | _CALLED, min_size=1, max_size=4),
    result=_TEXT,
    is_error=st.booleans(),
    top_k=st.none() | st.integers(0, 50),
)
def test_what_is_written_is_read_back_whole(system, said, spoken, result, is_error, top_k):
    request = Request(
        model="m",
        messages=(
            _message(Role.SYSTEM, "s" + system),
            _user(said),
            _message(Role.ASSISTANT, *spoken),
            _message(Role.TOOL, ToolResult(call_id="a", text=result, is_error=is_error)),
            _user(said),
        ),
        tools=(LOOK,),
        options=Options(max_output_tokens=9, top_k=top_k, tool_name="look", user=said),
    )
    fields, words = DIALECT.encode_request(request, model="m", effort=None, stream=False)
    again = DIALECT.canonical(DIALECT.decode_request(encode(fields)))
    assert words == []
    assert again == request


def test_the_same_request_gives_the_same_bytes():
    request = Request(model="m", messages=(_user("a"),), tools=(LOOK,))
    first, second = (
        encode(DIALECT.encode_request(request, model="m", effort="low", stream=True)[0])
        for _ in range(2)
    )
    assert first == second
    assert json.loads(first)["stream"] is True
