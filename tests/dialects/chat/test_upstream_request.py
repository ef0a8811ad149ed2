"""Canonical requests written as chat: what an upstream gets, and what it cannot be told."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

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
from groxy.dialects.chat.canonical import canonical
from groxy.dialects.chat.request import decode_request
from groxy.dialects.chat.upstream_request import encode_request
from groxy.wire.json import encode

LOOK = Tool(name="look", description="Looks.", parameters=b'{"type":"object"}', strict=True)
CALL = ToolCall(call_id="c1", name="look", arguments='{"a":1}')
PICTURE = Image(url="data:image/png;base64,AA")


def _says(role: Role, *parts: Part, name: str = "") -> Message:
    return Message(role=role, parts=parts, name=name)


HELLO = _says(Role.USER, Text(text="Hello"))


def _request(*messages: Message, **fields: Any) -> Request:
    return Request(model="grok-4.7", messages=messages or (HELLO,), **fields)


def _encoded(
    request: Request, *, effort: str | None = None, stream: bool = False
) -> tuple[bytes, list[str]]:
    fields, words = encode_request(request, model="sent", effort=effort, stream=stream)
    return encode(fields), words


def _sent(request: Request, **how: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(_encoded(request, **how)[0])
    return body


def _options(**fields: Any) -> dict[str, Any]:
    return _sent(_request(tools=(LOOK,), options=Options(**fields)))


def _messages(*messages: Message) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = _sent(_request(*messages))["messages"]
    return sent


# ---------------------------------------------------------------------------------------- messages


def test_the_least_request_has_a_model_and_messages_only():
    assert _sent(_request()) == {
        "stream": False,
        "model": "sent",
        "messages": [{"role": "user", "content": "Hello"}],
    }


@pytest.mark.parametrize("role", [Role.SYSTEM, Role.USER, Role.ASSISTANT])
def test_one_text_is_a_string(role):
    message = _says(role, Text(text="Hi"), name="n")
    assert _messages(message) == [{"role": role.value, "content": "Hi", "name": "n"}]


def test_several_parts_are_a_list():
    message = _says(
        Role.USER,
        Text(text="See"),
        PICTURE,
        Image(url="https://a/", detail="low"),
        File(file_id="f"),
        File(url="data:,", name="a.pdf"),
        File(url="https://a/b.pdf"),
    )
    assert _messages(message)[0]["content"] == [
        {"type": "text", "text": "See"},
        {"type": "image_url", "image_url": {"url": PICTURE.url}},
        {"type": "image_url", "image_url": {"url": "https://a/", "detail": "low"}},
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "file", "file": {"file_data": "data:,", "filename": "a.pdf"}},
        {"type": "file", "file": {"url": "https://a/b.pdf"}},
    ]


def test_an_assistants_thoughts_text_and_calls_have_their_fields():
    message = _says(Role.ASSISTANT, Reasoning(text="hm"), Text(text="ok"), CALL)
    assert _messages(message) == [
        {
            "role": "assistant",
            "content": "ok",
            "reasoning_content": "hm",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "look", "arguments": '{"a":1}'},
                }
            ],
        }
    ]


def test_an_assistant_that_only_called_has_null_content():
    assert _messages(_says(Role.ASSISTANT, CALL))[0]["content"] is None


def test_sealed_thoughts_are_left_out():
    sealed = Reasoning(text="", encrypted="sealed")
    sent = _messages(HELLO, _says(Role.ASSISTANT, sealed), _says(Role.ASSISTANT, sealed, CALL))
    assert [message["role"] for message in sent] == ["user", "assistant"]
    assert "reasoning_content" not in sent[1]


def test_a_result_is_a_message_of_the_tool():
    message = _says(Role.TOOL, ToolResult(call_id="c1", text="42"))
    assert _messages(message) == [{"role": "tool", "tool_call_id": "c1", "content": "42"}]


@pytest.mark.parametrize(
    ("text", "written"), [("no", "Error: no"), ("Error: no", "Error: no"), ("", "Error: ")]
)
def test_a_result_that_is_an_error_says_so(text, written):
    message = _says(Role.TOOL, ToolResult(call_id="c1", text=text, is_error=True))
    assert _messages(message)[0]["content"] == written


def test_pictures_of_results_follow_once_all_results_are_there():
    sent = _messages(
        _says(Role.TOOL, ToolResult(call_id="c1", text="", images=(PICTURE,))),
        _says(Role.TOOL, ToolResult(call_id="c2", text="b")),
        HELLO,
    )
    assert [message["role"] for message in sent] == ["tool", "tool", "user", "user"]
    assert "picture" in sent[0]["content"]
    assert sent[2]["content"] == [{"type": "image_url", "image_url": {"url": PICTURE.url}}]


def test_pictures_of_the_last_result_are_the_last_message():
    sent = _messages(_says(Role.TOOL, ToolResult(call_id="c1", text="a", images=(PICTURE,))))
    assert [message["role"] for message in sent] == ["tool", "user"]


@pytest.mark.parametrize("role", [Role.USER, Role.TOOL])
def test_text_beside_a_result_is_the_users(role):
    sent = _messages(_says(role, ToolResult(call_id="c1", text="a"), Text(text="And?")))
    assert sent[1] == {"role": "user", "content": "And?"}


def test_a_message_of_nothing_is_kept():
    assert _messages(_says(Role.USER)) == [{"role": "user", "content": ""}]


# ----------------------------------------------------------------------------------- tools, options


def test_a_tool_has_its_schema_and_strictness():
    assert _sent(_request(tools=(LOOK, Tool(name="go"))))["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "look",
                "description": "Looks.",
                "parameters": {"type": "object"},
                "strict": True,
            },
        },
        {"type": "function", "function": {"name": "go", "parameters": {}}},
    ]


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"tool_use": ToolUse.REQUIRED}, "tool_choice", "required"),
        ({"tool_use": ToolUse.NONE}, "tool_choice", "none"),
        ({"tool_name": "look"}, "tool_choice", {"type": "function", "function": {"name": "look"}}),
        ({"parallel_tool_calls": False}, "parallel_tool_calls", False),
        ({"max_output_tokens": 5}, "max_completion_tokens", 5),
        ({"temperature": 0.0}, "temperature", 0),
        ({"top_p": 0.5}, "top_p", 0.5),
        ({"presence_penalty": 0.0}, "presence_penalty", 0),
        ({"frequency_penalty": 1.0}, "frequency_penalty", 1),
        ({"choices": 2}, "n", 2),
        ({"seed": 0}, "seed", 0),
        ({"seed": 10**30}, "seed", 10**30),
        ({"user": "u"}, "user", "u"),
        ({"reasoning_effort": "low"}, "reasoning_effort", "low"),
        ({"output_form": OutputForm.JSON}, "response_format", {"type": "json_object"}),
    ],
)
def test_every_option_has_its_field(fields, name, value):
    assert _options(**fields)[name] == value


def test_what_was_not_asked_for_is_not_sent():
    assert _options().keys() == {"model", "messages", "tools", "stream"}


@pytest.mark.parametrize(("name", "written"), [("", "answer"), ("weather", "weather")])
def test_a_schema_always_has_a_name(name, written):
    form = _options(
        output_form=OutputForm.SCHEMA, output_schema=b'{"type":"object"}', output_name=name
    )["response_format"]
    assert form == {
        "type": "json_schema",
        "json_schema": {"name": written, "schema": {"type": "object"}},
    }


@pytest.mark.parametrize("strict", [True, False])
def test_a_schema_is_as_strict_as_was_asked_for(strict):
    form = _options(output_form=OutputForm.SCHEMA, output_strict=strict)["response_format"]
    assert form["json_schema"] == {"name": "answer", "schema": {}, "strict": strict}


def test_a_choice_of_tools_without_tools_is_not_sent():
    options = Options(tool_use=ToolUse.REQUIRED, parallel_tool_calls=False)
    assert _sent(_request(options=options)).keys() == {"model", "messages", "stream"}


def test_stop_texts_are_not_sent():
    assert "stop" not in _options(stop=("a",))


def test_the_gateways_effort_replaces_the_callers():
    request = _request(options=Options(reasoning_effort="low"))
    assert _sent(request, effort="high")["reasoning_effort"] == "high"


def test_a_stream_is_asked_for_together_with_its_usage():
    sent = _sent(_request(), stream=True)
    assert (sent["stream"], sent["stream_options"]) == (True, {"include_usage": True})


# ------------------------------------------------------------------------------ what cannot be said


def test_what_is_lost_is_named():
    request = _request(options=Options(top_k=5, logprobs=True), left_out=("metadata.x", "thinking"))
    _, words = _encoded(request)
    assert words == [
        "top_k dropped",
        "logprobs dropped",
        "metadata.x dropped",
        "thinking dropped",
    ]


def test_what_is_not_lost_has_no_word():
    assert _encoded(_request(tools=(LOOK,)))[1] == []


@pytest.mark.parametrize("kind", ["web_search", "x_search", "mcp"])
def test_tools_that_chat_upstreams_do_not_run_are_refused(kind):
    with pytest.raises(GroxyError) as caught:
        _encoded(_request(server_tools=(ServerTool(kind=kind),)))
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, "tools")
    assert kind in caught.value.message


# -------------------------------------------------------------------------------------- properties

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
_NAMES = _TEXTS.filter(bool)
_PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, text=_TEXTS),
    st.builds(Image, url=_NAMES, detail=st.sampled_from(["auto", "low", "high"])),
    st.builds(File, file_id=_NAMES),
    st.builds(File, url=st.sampled_from(["data:,", "https://a/"]), name=_TEXTS),
)
_CALLS = st.builds(ToolCall, call_id=_TEXTS, name=_NAMES, arguments=_TEXTS)
_SPOKEN = st.builds(
    Message,
    role=st.sampled_from([Role.SYSTEM, Role.USER]),
    parts=st.lists(_PARTS, min_size=1, max_size=3).map(tuple),
    name=_TEXTS,
)
_ANSWERED = st.builds(
    lambda thoughts, text, calls: _says(Role.ASSISTANT, *thoughts, *text, *calls),
    st.lists(st.builds(Reasoning, text=_NAMES), max_size=1),
    st.lists(st.builds(Text, text=_NAMES), min_size=1, max_size=2),
    st.lists(_CALLS, max_size=2),
)
_RETURNED = st.builds(
    lambda call_id, text: _says(Role.TOOL, ToolResult(call_id=call_id, text=text)), _NAMES, _TEXTS
)
_UNIT = st.none() | st.floats(0, 1)
_REQUESTS = st.builds(
    Request,
    model=st.just("grok-4.7"),
    messages=st.lists(_SPOKEN | _ANSWERED | _RETURNED, min_size=1, max_size=4).map(tuple),
    tools=st.lists(
        st.builds(
            Tool,
            name=_NAMES,
            description=_TEXTS,
            parameters=st.just(b'{"type":"object"}'),
            strict=st.none() | st.booleans(),
        ),
        min_size=1,
        max_size=2,
    ).map(tuple),
    options=st.builds(
        Options,
        max_output_tokens=st.none() | st.integers(1, 2**31),
        temperature=_UNIT,
        top_p=_UNIT,
        presence_penalty=_UNIT,
        frequency_penalty=_UNIT,
        choices=st.integers(1, 128),
        seed=st.none() | st.integers(),
        user=_TEXTS,
        reasoning_effort=st.sampled_from([None, "none", "low", "high"]),
        tool_use=st.sampled_from(ToolUse),
        parallel_tool_calls=st.booleans(),
        output_form=st.sampled_from([OutputForm.TEXT, OutputForm.JSON]),
    ),
)


@given(_REQUESTS, st.booleans())
def test_what_is_written_reads_as_what_it_was(request_, is_stream):
    fields, words = encode_request(request_, model="grok-4.7", effort=None, stream=is_stream)
    assert canonical(decode_request(encode(fields))) == request_
    assert words == []


@given(_REQUESTS)
def test_the_same_request_gives_the_same_bytes(request_):
    assert _encoded(request_) == _encoded(request_)
