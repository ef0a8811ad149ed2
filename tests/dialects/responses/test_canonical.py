"""Responses requests in canonical form."""

import json
from typing import Any

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import File, Image, Reasoning, Text, ToolCall, ToolResult
from groxy.core.request import Message, Options, OutputForm, Request, Role, ToolUse
from groxy.dialects.responses import DIALECT
from tests.dialects.responses.streams import CUSTOM, FUNCTION, asked, message, thoughts

USER = {"role": "user", "content": "Hello!"}
SAID = Message(role=Role.USER, parts=(Text(text="Hello!"),))


def canonical(said: Any = "Hello!", **fields: Any) -> Request:
    return DIALECT.canonical(asked(said, **fields))


def unsupported(said: Any, **fields: Any) -> str | None:
    with pytest.raises(GroxyError) as caught:
        canonical(said, **fields)
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    return caught.value.param


def user(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": list(parts)}]


def test_text_is_a_message_of_the_user() -> None:
    options = Options(output_field="text.format")
    assert canonical() == Request(model="grok-4.7", messages=(SAID,), options=options)


def test_instructions_come_first() -> None:
    system = {"role": "developer", "content": "Second."}
    got = canonical([system, USER], instructions="First.")
    assert [one.role for one in got.messages] == [Role.SYSTEM, Role.SYSTEM, Role.USER]
    assert got.messages[0].parts == (Text(text="First."),)


def test_a_turn_of_the_assistant_is_one_message() -> None:
    items = [
        USER,
        thoughts("Hm.", "SEALED"),
        message("Let me see."),
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "function_call", "call_id": "c1", "name": "a", "arguments": '{"x":1}'},
        {"type": "function_call", "call_id": "c2", "name": "b", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {"type": "function_call_output", "call_id": "c2", "output": "two"},
        message("Done."),
    ]
    first, turn, one, two, last = canonical(items).messages
    assert first == SAID
    assert turn == Message(
        role=Role.ASSISTANT,
        parts=(
            Reasoning(text="Hm.", encrypted="SEALED", item_id="rs_1"),
            Text(text="Let me see."),
            ToolCall(call_id="c1", name="a", arguments='{"x":1}'),
            ToolCall(call_id="c2", name="b", arguments="{}"),
        ),
    )
    assert one == Message(role=Role.TOOL, parts=(ToolResult(call_id="c1", text="one"),))
    assert two == Message(role=Role.TOOL, parts=(ToolResult(call_id="c2", text="two"),))
    assert last == Message(role=Role.ASSISTANT, parts=(Text(text="Done."),))


def test_thoughts_in_full_are_read_where_there_is_no_summary() -> None:
    item = {
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "x"}],
    }
    assert canonical([item]).messages[0].parts == (Reasoning(text="x"),)


def test_pictures_and_files_are_carried() -> None:
    got = canonical(
        user(
            {"type": "input_image", "image_url": "https://x.ai/a.png", "detail": "low"},
            {"type": "input_file", "file_url": "https://x.ai/a.pdf"},
            {"type": "input_file", "file_id": "file_1", "filename": "b.pdf"},
            {"type": "input_file", "file_data": "QUJD"},
            {"type": "input_file", "file_data": "data:text/plain;base64,QUJD"},
        )
    )
    assert got.messages[0].parts == (
        Image(url="https://x.ai/a.png", detail="low"),
        File(url="https://x.ai/a.pdf"),
        File(file_id="file_1", name="b.pdf"),
        File(url="data:application/pdf;base64,QUJD"),
        File(url="data:text/plain;base64,QUJD"),
    )


def test_a_tool_output_may_hold_pictures() -> None:
    parts = [
        {"type": "input_text", "text": "a"},
        {"type": "input_image", "image_url": "https://x.ai/a.png"},
        {"type": "input_text", "text": "b"},
    ]
    got = canonical([{"type": "function_call_output", "call_id": "c", "output": parts}])
    shown = ToolResult(call_id="c", text="a\nb", images=(Image(url="https://x.ai/a.png"),))
    assert got.messages[0].parts == (shown,)


def test_a_custom_tool_and_its_history_are_a_function() -> None:
    items = [
        {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "a\nb"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "done"},
    ]
    got = canonical(items, tools=[CUSTOM])
    call = got.messages[0].parts[0]
    assert isinstance(call, ToolCall)
    assert json.loads(call.arguments) == {"input": "a\nb"}
    assert got.messages[1].parts == (ToolResult(call_id="c", text="done"),)
    (tool,) = got.tools
    assert json.loads(tool.parameters)["properties"] == {"input": {"type": "string"}}


def test_a_refusal_is_text() -> None:
    said = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert canonical([USER, said]).messages[1].parts == (Text(text="No."),)


def test_hosted_tools_keep_their_words() -> None:
    got = canonical(tools=[{"type": "web_search", "filters": {"allowed_domains": ["x.ai"]}}])
    (tool,) = got.server_tools
    assert (tool.kind, json.loads(tool.settings)) == (
        "web_search",
        {"filters": {"allowed_domains": ["x.ai"]}},
    )


def test_settings_are_carried() -> None:
    schema = {"type": "object", "properties": {}}
    got = canonical(
        max_output_tokens=9,
        temperature=0.5,
        top_p=0.9,
        reasoning={"effort": "low", "summary": "auto"},
        text={"format": {"type": "json_schema", "name": "form", "schema": schema}},
        tools=[FUNCTION],
        tool_choice="required",
        parallel_tool_calls=False,
        user="u",
        include=["message.output_text.logprobs"],
        top_logprobs=2,
    ).options
    assert got == Options(
        max_output_tokens=9,
        temperature=0.5,
        top_p=0.9,
        reasoning_effort="low",
        logprobs=True,
        top_logprobs=2,
        user="u",
        tool_use=ToolUse.REQUIRED,
        parallel_tool_calls=False,
        output_form=OutputForm.SCHEMA,
        output_schema=json.dumps(schema).encode(),
        output_name="form",
        output_field="text.format",
    )


@pytest.mark.parametrize("strict", [True, False, None])
def test_a_schemas_strictness_is_kept(strict) -> None:
    form = {"type": "json_schema", "name": "form", "schema": {}, "strict": strict}
    assert canonical(text={"format": form}).options.output_strict is strict


@pytest.mark.parametrize(
    ("choice", "use", "name"),
    [
        ("none", ToolUse.NONE, None),
        ({"type": "function", "name": "get_weather"}, ToolUse.AUTO, "get_weather"),
        ({"type": "custom", "name": "apply_patch"}, ToolUse.AUTO, "apply_patch"),
        ({"type": "web_search"}, ToolUse.REQUIRED, None),
        (None, ToolUse.AUTO, None),
    ],
)
def test_a_choice_of_tools_is_carried(choice, use, name) -> None:
    got = canonical(tools=[FUNCTION, CUSTOM], tool_choice=choice).options
    assert (got.tool_use, got.tool_name) == (use, name)


def test_allowed_tools_are_the_only_ones_left() -> None:
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"name": "apply_patch"}]}
    got = canonical(tools=[FUNCTION, CUSTOM], tool_choice=allowed)
    assert [tool.name for tool in got.tools] == ["apply_patch"]
    assert got.options.tool_use is ToolUse.REQUIRED


def test_what_has_no_place_is_named() -> None:
    got = canonical(
        truncation="auto",
        service_tier="priority",
        max_tool_calls=3,
        text={"verbosity": "low"},
        store=False,
        metadata={"a": "b"},
        prompt_cache_key="k",
    )
    assert got.left_out == ("truncation", "service_tier", "max_tool_calls", "text.verbosity")


def test_what_says_no_more_than_the_default_is_not_named() -> None:
    got = canonical(truncation="disabled", service_tier="auto", max_tool_calls=None)
    assert got.left_out == ()


def test_a_foreign_compaction_cannot_cross() -> None:
    item = {"type": "compaction", "encrypted_content": "foreign"}
    assert unsupported([USER, item]) == "input.1"


def test_a_compaction_of_ours_that_is_still_sealed_is_passed_over() -> None:
    item = {"type": "compaction", "encrypted_content": "groxy-x"}
    assert canonical([item, USER]).messages == (SAID,)


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_audio"}, "input.0.content.0"),
        ({"type": "input_image", "file_id": "file_1"}, "input.0.content.0"),
    ],
)
def test_content_that_others_cannot_be_sent_is_refused(part, param) -> None:
    assert unsupported(user(part)) == param


def test_a_template_is_refused() -> None:
    assert unsupported("Hi", prompt={"id": "pmpt_1"}) == "prompt"


def test_all_text_is_counted() -> None:
    text = DIALECT.prompt_text(asked("Hello!", instructions="Be brief.", tools=[FUNCTION]))
    assert "Be brief." in text
    assert "Hello!" in text
    assert "get_weather" in text


def test_what_cannot_cross_is_counted_all_the_same() -> None:
    item = {"type": "compaction", "encrypted_content": "foreign"}
    assert "foreign" in DIALECT.prompt_text(asked([item]))
