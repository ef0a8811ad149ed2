"""What a caller may send to Responses, what is refused and how, and what goes to an upstream."""

import json
from typing import Any

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import Asked
from groxy.dialects.responses import DIALECT
from groxy.dialects.responses.history import continued
from groxy.dialects.responses.request import conversation_of
from tests.dialects.responses.streams import CUSTOM, FUNCTION, asked, decoded, thoughts

USER = {"type": "message", "role": "user", "content": "Hello!"}
PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}


def refused(said: Any = "Hello!", **fields: Any) -> tuple[str | None, str]:
    """The field that an error names, and its message."""
    with pytest.raises(GroxyError) as caught:
        asked(said, **fields)
    assert caught.value.kind is ErrorKind.BAD_REQUEST
    return caught.value.param, caught.value.message


def outgoing(request: Asked, **choices: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {"model": "grok-4.7", "effort": None, "stream": False}
    return decoded(DIALECT.outgoing(request, **(usual | choices)))


# ------------------------------------------------------------------------------------ what is read


def test_a_plain_question_needs_nothing_special() -> None:
    got = asked()
    assert (got.model, got.stream, got.carriers) == ("grok-4.7", None, ())
    assert (got.keeps, got.continues, got.requires) == (True, "", frozenset())


def test_a_reply_is_kept_unless_store_says_no() -> None:
    assert asked(store=None).keeps
    assert not asked(store=False).keeps


def test_an_earlier_reply_is_gone_on_from() -> None:
    assert asked(previous_response_id="resp_1").continues == "resp_1"


def test_names_of_functions_and_custom_tools_are_known() -> None:
    space = {"type": "namespace", "name": "files", "description": "", "tools": [CUSTOM]}
    assert asked(tools=[FUNCTION, space]).tool_names == {"get_weather", "apply_patch"}


def test_tools_inside_the_input_are_known() -> None:
    item = {"type": "additional_tools", "role": "developer", "tools": [FUNCTION]}
    got = asked([item, USER])
    assert got.tool_names == {"get_weather"}
    assert got.requires == {"tools"}


@pytest.mark.parametrize(
    "kind",
    ["web_search", "x_search", "code_interpreter", "file_search", "mcp", "image_generation"],
)
def test_hosted_tools_need_an_upstream_of_this_dialect(kind) -> None:
    assert asked(tools=[{"type": kind}, FUNCTION]).carriers == ("responses",)


def test_functions_and_custom_tools_are_carried_by_every_dialect() -> None:
    assert asked(tools=[FUNCTION, CUSTOM]).carriers == ()


def test_a_schema_and_a_picture_are_abilities() -> None:
    schema = {"type": "json_schema", "name": "a", "schema": {"type": "object"}}
    got = asked([USER | {"content": [PICTURE]}], text={"format": schema})
    assert got.requires == {"image", "schema"}


def test_a_picture_in_a_tool_output_is_an_ability() -> None:
    output = {"type": "function_call_output", "call_id": "c", "output": [PICTURE]}
    assert asked([output]).requires == {"image"}


def test_unknown_fields_are_kept() -> None:
    got = asked(client_metadata={"a": 1}, something_new=True)
    assert {"client_metadata", "something_new"} <= got.fields.keys()


@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "content": "no type"},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "x"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "x"},
        {
            "type": "web_search_call",
            "id": "ws",
            "status": "completed",
            "action": {"type": "search"},
        },
        {"type": "mcp_call", "id": "m", "name": "n", "arguments": "{}", "output": None},
        {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}},
        {"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "a"}]},
        {"type": "tool_search_call", "arguments": {"a": 1}},
        {"type": "compaction", "encrypted_content": "x"},
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "n"}]},
    ],
)
def test_known_items_are_taken(item) -> None:
    assert asked([USER, item]).model == "grok-4.7"


# --------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("empty", ["", [], None])
def test_empty_input_is_refused(empty) -> None:
    assert refused(empty)[0] == "input"


def test_missing_input_is_refused() -> None:
    with pytest.raises(GroxyError) as caught:
        DIALECT.decode_request(b'{"model":"grok-4.7","messages":[]}')
    assert caught.value.param == "input"


@pytest.mark.parametrize("odd", [7, {"role": "user"}, True])
def test_input_of_another_kind_is_refused(odd) -> None:
    assert refused(odd)[0] == "input"


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "whatever"}, "input.1.type"),
        ({"type": "message", "content": "x"}, "input.1.role"),
        ({"role": "robot", "content": "x"}, "input.1.role"),
        ({"role": "user"}, "input.1.content"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "input.1.content.0.type"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "input.1.content.0.text"),
        ({"role": "user", "content": [{"type": "input_image"}]}, "input.1.content.0.image_url"),
        ({"role": "user", "content": [{"type": "input_file"}]}, "input.1.content.0.file_data"),
        ({"role": "user", "content": 7}, "input.1.content"),
        ({"type": "function_call", "name": "f", "arguments": "{}"}, "input.1.call_id"),
        ({"type": "function_call", "call_id": "c", "arguments": "{}"}, "input.1.name"),
        ({"type": "function_call", "call_id": "c", "name": "f"}, "input.1.arguments"),
        ({"type": "custom_tool_call", "call_id": "c", "name": "f"}, "input.1.input"),
        ({"type": "function_call_output", "output": "x"}, "input.1.call_id"),
        ({"type": "function_call_output", "call_id": "c"}, "input.1.output"),
        ({"type": "function_call_output", "call_id": "c", "output": [7]}, "input.1.output"),
        ({"type": "compaction"}, "input.1.encrypted_content"),
        ({"type": "item_reference", "id": "msg_1"}, "input.1"),
        ({"id": "msg_1"}, "input.1"),
        (7, "input.1"),
    ],
)
def test_a_bad_item_is_named(item, param) -> None:
    assert refused([USER, item])[0] == param


def test_a_reference_to_an_item_says_what_to_send() -> None:
    assert "send the item itself" in refused([{"type": "item_reference", "id": "x"}])[1]


@pytest.mark.parametrize(
    "url", ["data:image/png;base64,???", "data:image/png;base64,", "data:image/png,abc", "data:"]
)
def test_a_picture_that_is_no_base64_is_refused(url) -> None:
    item = {"role": "user", "content": [{"type": "input_image", "image_url": url}]}
    assert refused([item])[0] == "input.0.content.0.image_url"


def test_a_file_that_is_no_base64_is_refused() -> None:
    part = {"type": "input_file", "filename": "a.pdf", "file_data": "%%%"}
    assert refused([{"role": "user", "content": [part]}])[0] == "input.0.content.0.file_data"


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"type": "function", "parameters": {}}, "tools.0.name"),
        ({"type": "function", "function": {"name": "f"}}, "tools.0.name"),
        ({"type": "function", "name": "f"}, "tools.0.parameters"),
        ({"type": "function", "name": "f", "parameters": "x"}, "tools.0.parameters"),
        ({"type": "custom"}, "tools.0.name"),
        ({"name": "f"}, "tools.0.type"),
        ({"type": "namespace", "tools": [{"type": "function"}]}, "tools.0.tools.0.name"),
        (7, "tools.0"),
    ],
)
def test_a_bad_tool_is_named(tool, param) -> None:
    assert refused(tools=[tool])[0] == param


def test_a_function_without_arguments_may_say_null() -> None:
    assert asked(tools=[{"type": "function", "name": "f", "parameters": None}]).tool_names == {"f"}


def test_too_many_tools_are_refused() -> None:
    tools = [FUNCTION | {"name": f"f{at}"} for at in range(201)]
    assert refused(tools=tools)[0] == "tools"
    assert len(asked(tools=tools[:200]).tool_names) == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"temperature": 3}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"truncation": "middle"}, "truncation"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        (
            {"text": {"format": {"type": "json_schema", "schema": {}, "strict": "yes"}}},
            "text.format.strict",
        ),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.tools"),
        ({"include": "all"}, "include"),
        ({"store": "yes"}, "store"),
    ],
)
def test_a_bad_setting_is_named(fields, param) -> None:
    assert refused(**fields)[0] == param


def test_background_says_to_leave_it_out() -> None:
    assert "not offered; leave it out" in refused(background=True)[1]
    assert asked(background=False).model


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"model":1}', b'{"a":NaN}', b"\xff", b"[" * 9999]
)
def test_nonsense_is_refused(body) -> None:
    with pytest.raises(GroxyError) as caught:
        DIALECT.decode_request(body)
    assert caught.value.kind in (ErrorKind.BAD_JSON, ErrorKind.BAD_REQUEST)


# ------------------------------------------------------------------------------ what stays the same


def test_a_conversation_keeps_its_name_over_its_turns() -> None:
    first = asked([USER], instructions="Be brief.")
    answer = {"type": "message", "role": "assistant", "content": "Hi."}
    second = asked([USER, answer, USER | {"content": "More."}], instructions="Be brief.")
    assert first.conversation == second.conversation != ""
    assert first.conversation != asked([USER]).conversation


def test_text_and_its_item_are_one_conversation() -> None:
    assert asked("Hello!").conversation == asked([USER]).conversation


def test_the_callers_own_key_names_the_conversation() -> None:
    one, other = asked("A", prompt_cache_key="k"), asked("B", prompt_cache_key="k")
    assert one.conversation == other.conversation != asked("A").conversation


def test_the_conversation_can_be_told_from_the_fields_alone() -> None:
    got = asked([USER])
    assert conversation_of(got.fields) == got.conversation


# ---------------------------------------------------------------------------------- what is sent on


def test_what_is_sent_is_what_was_asked_but_for_what_the_gateway_decides() -> None:
    got = asked(
        "Hi", temperature=0.5, previous_response_id="resp_1", background=False, new={"a": [1, 2]}
    )
    assert outgoing(got) == {
        "model": "grok-4.7",
        "input": [{"type": "message", "role": "user", "content": "Hi"}],
        "temperature": 0.5,
        "new": {"a": [1, 2]},
        "stream": False,
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }


def test_text_stays_text() -> None:
    assert outgoing(asked("Hi"))["input"] == "Hi"


def test_a_stream_is_asked_for_as_a_stream() -> None:
    got = asked(stream=True, stream_options={"include_obfuscation": False})
    sent = outgoing(got, stream=True)
    assert (sent["stream"], sent["stream_options"]) == (True, {"include_obfuscation": False})
    whole = outgoing(got)
    assert (whole["stream"], "stream_options" in whole) == (False, False)


@pytest.mark.parametrize("reasoning", [None, {"summary": "auto"}, {"effort": "low"}])
def test_an_effort_goes_into_reasoning(reasoning) -> None:
    sent = outgoing(asked(reasoning=reasoning), effort="high")
    assert sent["reasoning"] == (reasoning or {}) | {"effort": "high"}


def test_what_was_to_be_included_still_is() -> None:
    names = ["file_search_call.results", "reasoning.encrypted_content"]
    assert outgoing(asked(include=names))["include"] == names
    assert outgoing(asked(include=names[:1]))["include"] == names


def test_thoughts_that_are_not_sealed_are_not_sent_back() -> None:
    sealed, open_ones = thoughts(), thoughts(sealed=None)
    assert outgoing(asked([USER, open_ones, sealed]))["input"] == [USER, sealed]


def test_ids_that_only_we_gave_are_not_sent_back() -> None:
    record = {"input": [], "response": {"id": "resp_1"}, "output": [thoughts()]}
    whole = continued(asked(previous_response_id="resp_1"), [json.dumps(record).encode()], {})
    sent_thoughts, user = outgoing(whole)["input"]
    assert sent_thoughts == thoughts()
    assert user.keys() == {"type", "role", "content"}


def test_asking_twice_gives_the_same_bytes() -> None:
    got = asked(tools=[FUNCTION], reasoning={"effort": "low"})
    both = [
        DIALECT.outgoing(got, model="m", effort="high", stream=True),
        DIALECT.outgoing(got, model="m", effort="high", stream=True),
    ]
    assert both[0] == both[1]
