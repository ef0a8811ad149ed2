"""Canonical requests as Responses bodies."""

from typing import Any

import pytest

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
from groxy.dialects.responses import DIALECT
from tests.dialects.responses.streams import CUSTOM, FUNCTION, asked, decoded, message, thoughts

SAID = Message(role=Role.USER, parts=(Text(text="Hello!"),))


def encoded(
    *messages: Message, effort: str | None = None, stream: bool = False, **fields: Any
) -> tuple[dict[str, Any], list[str]]:
    request = Request(model="asked", messages=messages or (SAID,), **fields)
    body, words = DIALECT.encode_request(request, model="sent", effort=effort, stream=stream)
    return decoded(body), words


def items(*messages: Message) -> list[dict[str, Any]]:
    return list(encoded(*messages)[0]["input"])


def test_a_plain_question_says_no_more_than_needed() -> None:
    assert encoded() == (
        {
            "stream": False,
            "model": "sent",
            "input": [{"type": "message", "role": "user", "content": "Hello!"}],
            "store": False,
            "include": ["reasoning.encrypted_content"],
        },
        [],
    )


def test_a_stream_is_asked_for() -> None:
    assert encoded(stream=True)[0]["stream"] is True


def test_instructions_stand_where_they_stood() -> None:
    system = Message(role=Role.SYSTEM, parts=(Text(text="Be brief."),))
    assert [one["role"] for one in items(system, SAID, system)] == ["system", "user", "system"]


def test_a_turn_of_the_assistant_becomes_its_items() -> None:
    turn = Message(
        role=Role.ASSISTANT,
        parts=(
            Reasoning(text="Hm.", encrypted="SEALED", item_id="rs_1"),
            Text(text="Let me see."),
            ToolCall(call_id="c1", name="f", arguments='{"x":1}'),
            ToolCall(call_id="c2", name="g", arguments=""),
        ),
    )
    assert items(turn) == [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "encrypted_content": "SEALED",
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Let me see."}],
        },
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"x":1}'},
        {"type": "function_call", "call_id": "c2", "name": "g", "arguments": "{}"},
    ]


def test_thoughts_that_are_not_sealed_are_left_out() -> None:
    turn = Message(role=Role.ASSISTANT, parts=(Reasoning(text="Hm."), Text(text="Hi.")))
    assert [one["type"] for one in items(turn)] == ["message"]


def test_sealed_thoughts_without_an_id_always_get_the_same() -> None:
    turn = Message(role=Role.ASSISTANT, parts=(Reasoning(text="", encrypted="SEALED"),))
    (one,) = items(turn)
    assert one["id"].startswith("rs_")
    assert items(turn) == [one]


def test_pictures_and_files_are_carried() -> None:
    parts = (
        Text(text="See:"),
        Image(url="https://x.ai/a.png", detail="low"),
        File(file_id="file_1"),
        File(url="https://x.ai/a.pdf"),
        File(url="data:application/pdf;base64,QUJD", name="a.pdf"),
    )
    (one,) = items(Message(role=Role.USER, parts=parts))
    assert one["content"] == [
        {"type": "input_text", "text": "See:"},
        {"type": "input_image", "image_url": "https://x.ai/a.png", "detail": "low"},
        {"type": "input_file", "file_id": "file_1"},
        {"type": "input_file", "file_url": "https://x.ai/a.pdf"},
        {
            "type": "input_file",
            "filename": "a.pdf",
            "file_data": "data:application/pdf;base64,QUJD",
        },
    ]


def test_results_stand_apart_from_the_text_beside_them() -> None:
    parts = (ToolResult(call_id="c", text="done"), Text(text="Go on."))
    assert items(Message(role=Role.USER, parts=parts)) == [
        {"type": "function_call_output", "call_id": "c", "output": "done"},
        {"type": "message", "role": "user", "content": "Go on."},
    ]


def test_a_result_with_pictures_is_a_list() -> None:
    result = ToolResult(call_id="c", text="", images=(Image(url="https://x.ai/a.png"),))
    (one,) = items(Message(role=Role.TOOL, parts=(result,)))
    assert one["output"] == [
        {"type": "input_image", "image_url": "https://x.ai/a.png", "detail": "auto"}
    ]


def test_tools_are_flat_and_say_whether_they_are_strict() -> None:
    tools = (
        Tool(name="f", description="Looks.", parameters=b'{"type":"object"}', strict=True),
        Tool(name="g"),
    )
    body, _ = encoded(tools=tools)
    assert body["tools"] == [
        {
            "type": "function",
            "name": "f",
            "description": "Looks.",
            "parameters": {"type": "object"},
            "strict": True,
        },
        {
            "type": "function",
            "name": "g",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        },
    ]


def test_server_tools_keep_their_words() -> None:
    tool = ServerTool(kind="x_search", settings=b'{"from_date":"2026-01-01"}')
    body, _ = encoded(server_tools=(tool,))
    assert body["tools"] == [{"type": "x_search", "from_date": "2026-01-01"}]


@pytest.mark.parametrize(
    ("options", "choice"),
    [
        (Options(), None),
        (Options(tool_use=ToolUse.NONE), "none"),
        (Options(tool_use=ToolUse.REQUIRED), "required"),
        (Options(tool_name="f"), {"type": "function", "name": "f"}),
    ],
)
def test_a_choice_of_tools_is_said(options, choice) -> None:
    assert encoded(tools=(Tool(name="f"),), options=options)[0].get("tool_choice") == choice


def test_nothing_is_said_of_tools_where_there_are_none() -> None:
    options = Options(tool_use=ToolUse.REQUIRED, parallel_tool_calls=False)
    assert not {"tool_choice", "parallel_tool_calls"} & encoded(options=options)[0].keys()


def test_calls_one_by_one_are_asked_for() -> None:
    options = Options(parallel_tool_calls=False)
    assert encoded(tools=(Tool(name="f"),), options=options)[0]["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("options", "form"),
    [
        (Options(output_form=OutputForm.JSON), {"type": "json_object"}),
        (
            Options(output_form=OutputForm.SCHEMA, output_schema=b'{"a":1}', output_name="form"),
            {"type": "json_schema", "name": "form", "schema": {"a": 1}},
        ),
        (
            Options(output_form=OutputForm.SCHEMA),
            {"type": "json_schema", "name": "answer", "schema": {}},
        ),
        (
            Options(output_form=OutputForm.SCHEMA, output_strict=True),
            {"type": "json_schema", "name": "answer", "schema": {}, "strict": True},
        ),
        (
            Options(output_form=OutputForm.SCHEMA, output_strict=False),
            {"type": "json_schema", "name": "answer", "schema": {}, "strict": False},
        ),
    ],
)
def test_the_form_of_the_answer_is_said(options, form) -> None:
    assert encoded(options=options)[0]["text"] == {"format": form}


@pytest.mark.parametrize(
    ("asked_for", "fixed", "reasoning"),
    [
        (None, None, None),
        ("low", None, {"effort": "low", "summary": "auto"}),
        ("low", "high", {"effort": "high", "summary": "auto"}),
        ("none", None, {"effort": "none"}),
    ],
)
def test_an_effort_stands_in_reasoning(asked_for, fixed, reasoning) -> None:
    body, _ = encoded(options=Options(reasoning_effort=asked_for), effort=fixed)
    assert body.get("reasoning") == reasoning


def test_settings_are_said() -> None:
    options = Options(max_output_tokens=9, temperature=0.0, top_p=0.5, user="u")
    body, words = encoded(options=options)
    assert (body["max_output_tokens"], body["temperature"]) == (9, 0.0)
    assert (body["top_p"], body["user"]) == (0.5, "u")
    assert words == []


def test_what_cannot_be_said_is_named() -> None:
    options = Options(
        presence_penalty=1.0,
        frequency_penalty=1.0,
        seed=7,
        top_k=3,
        logprobs=True,
        top_logprobs=2,
        stop=("x",),
    )
    body, words = encoded(options=options, left_out=("min_p",))
    assert words == [
        "presence_penalty dropped",
        "frequency_penalty dropped",
        "seed dropped",
        "top_k dropped",
        "logprobs dropped",
        "top_logprobs dropped",
        "min_p dropped",
    ]
    assert body.keys() == {"model", "input", "store", "include", "stream"}


def test_more_than_one_answer_is_refused() -> None:
    with pytest.raises(GroxyError) as caught:
        encoded(options=Options(choices=2))
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, "n")


def test_the_same_request_gives_the_same_bytes() -> None:
    request = Request(model="m", messages=(SAID,), tools=(Tool(name="f"),))
    first, _ = DIALECT.encode_request(request, model="m", effort="low", stream=True)
    again, _ = DIALECT.encode_request(request, model="m", effort="low", stream=True)
    assert list(first.items()) == list(again.items())


def test_a_request_that_goes_through_the_canonical_form_loses_nothing() -> None:
    said = [
        {"type": "message", "role": "system", "content": "Be brief."},
        {"type": "message", "role": "user", "content": "Weather?"},
        thoughts(),
        {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        message("It rains."),
        {"type": "message", "role": "user", "content": "And now?"},
    ]
    schema = {"type": "json_schema", "name": "a", "schema": {"type": "object"}}
    settings = {"text": {"format": schema}, "max_output_tokens": 9, "temperature": 0.5}
    request = DIALECT.canonical(asked(said, tools=[FUNCTION, CUSTOM], **settings))
    once, words = DIALECT.encode_request(request, model="grok-4.7", effort=None, stream=False)
    body = decoded(once)
    again = DIALECT.canonical(asked(body.pop("input"), **body))
    assert words == []
    assert (again.messages, again.options) == (request.messages, request.options)
    assert [tool.name for tool in again.tools] == [tool.name for tool in request.tools]
