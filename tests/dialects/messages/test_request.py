"""Requests: what is checked, what goes upstream unchanged, and the canonical form."""

import json
from typing import Any

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import Reasoning, Text
from groxy.core.request import (
    Message,
    Options,
    OutputForm,
    Role,
    ServerTool,
    Tool,
    ToolUse,
)
from groxy.dialects.messages import DIALECT
from groxy.dialects.messages.sealing import sealed_token
from tests.dialects.messages.streams import FOREIGN_SIGNATURE, PIXEL, asked, body_of, decoded
from tests.dialects.messages.test_attribution import LINE

LOOK: Any = {"name": "look", "input_schema": {"type": "object", "properties": {}}}
SEARCH: Any = {"type": "web_search_20250305", "name": "web_search"}
SCHEMA: Any = {"type": "object", "properties": {"a": {"type": "string"}}}
IMAGE: Any = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
}


def _options(**fields: Any) -> Options:
    return DIALECT.canonical(asked(**fields)).options


def _refused(body: bytes, kind: ErrorKind = ErrorKind.BAD_REQUEST) -> GroxyError:
    with pytest.raises(GroxyError) as raised:
        DIALECT.decode_request(body)
    assert raised.value.kind is kind
    return raised.value


def _sent(request: Any, effort: str | None = None, stream: bool = False) -> dict[str, Any]:
    return decoded(DIALECT.outgoing(request, model="sent", effort=effort, stream=stream))


# ------------------------------------------------------------------------------------- checking


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"model": ""}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
        ({"system": 7}, "system"),
        ({"system": [{"type": "image", "source": {}}]}, "system.0"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"tools": [{"input_schema": {}}]}, "tools.0.name"),
        ({"tools": [LOOK, {"name": "b"}]}, "tools.1.input_schema"),
        ({"tools": [{"name": "b", "input_schema": "{}"}]}, "tools.0.input_schema"),
        ({"tools": [LOOK] * 201}, "tools"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"stream": "yes"}, "stream"),
        ({"metadata": {"user_id": 7}}, "metadata.user_id"),
    ],
)
def test_a_wrong_field_is_named(changed, param):
    assert _refused(body_of(**changed)).param == param


def test_how_long_the_answer_may_be_must_be_said():
    body = body_of(max_tokens=None).replace(b'"max_tokens": null, ', b"")
    error = _refused(body)
    assert (error.param, error.message) == ("max_tokens", "`max_tokens` is required.")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"model": NaN}', b'{"a":' * 100_000])
def test_what_is_no_json_is_said_to_be_none(body):
    _refused(body, ErrorKind.BAD_JSON)


def test_unknown_fields_are_ignored():
    request = asked(context_management={"edits": []}, betas=["x"], speed=7, container=None)
    assert request.model == "grok-4.7"


def test_what_was_asked_is_read():
    request = asked(stream=True, tools=[LOOK, SEARCH], output_config={"format": {
        "type": "json_schema", "schema": SCHEMA}})  # fmt: skip
    assert (request.model, request.stream) == ("grok-4.7", True)
    assert request.requires == {"tools", "schema"}
    assert request.tool_names == {"look"}


@pytest.mark.parametrize(
    "block", [IMAGE, {"type": "tool_result", "tool_use_id": "a", "content": [IMAGE]}]
)
def test_a_picture_needs_an_account_that_sees(block):
    assert asked([block]).requires == {"image"}


def test_text_that_speaks_of_pictures_needs_none():
    said = 'He said "image": "type": "image"'
    result = {"type": "tool_result", "tool_use_id": "a", "content": said}
    assert asked([result]).requires == frozenset()


def test_a_search_is_carried_where_upstreams_search():
    assert asked(tools=[SEARCH]).carriers == ("messages", "responses")
    assert asked(tools=[LOOK]).carriers == ()


def test_a_request_without_stream_leaves_that_open():
    assert asked().stream is None


# ---------------------------------------------------------------------------------- conversation


def test_a_conversation_is_known_by_its_user_id():
    one = asked("Hello", metadata={"user_id": "user_1_session_2"})
    other = asked("Something else", metadata={"user_id": "user_1_session_2"})
    assert one.conversation == other.conversation != ""
    assert "session" not in one.conversation


def test_without_a_user_id_its_opening_tells():
    first: Any = {"role": "user", "content": "Hello"}
    later = [first, {"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Go on"}]
    assert asked([first]).conversation == asked(later).conversation
    assert asked([first]).conversation != asked("Hi").conversation


def test_the_attribution_does_not_change_a_conversation():
    one, other = LINE, LINE.replace("71fea", "00000")
    assert (
        asked(system=one + "\nBe brief.").conversation
        == (
            asked(system=[{"type": "text", "text": other}, {"type": "text", "text": "Be brief."}])
        ).conversation
    )


# --------------------------------------------------------------------------------- count_tokens


def test_a_count_needs_no_max_tokens():
    body = b'{"model":"m","messages":[{"role":"user","content":"Hello"}],"system":"Be brief."}'
    request = DIALECT.canonical(DIALECT.decode_count_request(body))
    assert request.text == "Be brief.\nHello"


def test_a_count_may_have_max_tokens():
    assert DIALECT.canonical(DIALECT.decode_count_request(body_of())).text == "Hello"


def test_a_count_is_checked_alike():
    with pytest.raises(GroxyError) as raised:
        DIALECT.decode_count_request(b'{"model":"m","messages":[]}')
    assert raised.value.param == "messages"


# ------------------------------------------------------------------------- what goes on unchanged


def test_only_the_model_and_stream_are_the_gateways():
    extra: Any = {"context_management": {"edits": []}, "system": [{"type": "text", "text": "a"}]}
    request = asked(**extra, stream=False)
    expected = decoded(request.fields) | {"model": "sent"}
    assert _sent(request) == expected | {"stream": False}
    assert _sent(request, stream=True) == expected | {"stream": True}


def test_an_effort_of_the_gateway_joins_the_callers_config():
    config = {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}
    sent = _sent(asked(output_config=config), effort="high")
    assert sent["output_config"] == config | {"effort": "high"}


def test_no_effort_means_no_thinking():
    sent = _sent(asked(output_config={"effort": "low"}), effort="none")
    assert sent["thinking"] == {"type": "disabled"}
    assert "output_config" not in sent


def test_the_least_effort_is_low():
    assert _sent(asked(), effort="minimal")["output_config"] == {"effort": "low"}


@pytest.mark.parametrize(
    ("system", "left"),
    [
        (LINE + "\nBe brief.", "Be brief."),
        (
            [
                {"type": "text", "text": LINE},
                {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
            ],
            [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
        ),
        ([{"type": "text", "text": LINE + "\nBe brief."}], [{"type": "text", "text": "Be brief."}]),
        (LINE, None),
        ([{"type": "text", "text": LINE}], None),
        ("He wrote " + LINE, "He wrote " + LINE),
    ],
)
def test_the_attribution_does_not_go_upstream(system, left):
    assert _sent(asked(system=system)).get("system") == left


@pytest.mark.parametrize(
    ("content", "left"),
    [
        (LINE + "\nBe brief.", "Be brief."),
        ([{"type": "text", "text": LINE}, {"type": "text", "text": "a"}], "a"),
        (LINE, None),
        ([{"type": "text", "text": LINE}], None),
        ("He wrote " + LINE, "He wrote " + LINE),
    ],
)
def test_the_attribution_does_not_go_upstream_in_a_systems_turn_either(content, left):
    history: Any = [{"role": "system", "content": content}, {"role": "user", "content": "Hello"}]
    said = [] if left is None else [Message(role=Role.SYSTEM, parts=(Text(text=left),))]
    assert list(DIALECT.canonical(asked(history)).messages[:-1]) == said
    *sent, last = _sent(asked(history))["messages"]
    texts = [
        turn["content"] if isinstance(turn["content"], str) else turn["content"][0]["text"]
        for turn in sent
    ]
    assert (texts, last) == ([] if left is None else [left], history[1])


def test_a_user_may_speak_of_the_attribution():
    assert _sent(asked(LINE))["messages"] == [{"role": "user", "content": LINE}]


def test_what_a_system_says_beside_the_attribution_stays():
    image = {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}}
    content: Any = [{"type": "text", "text": LINE}, image]
    history: Any = [{"role": "user", "content": "a"}, {"role": "system", "content": content}]
    assert _sent(asked(history))["messages"][1]["content"] == [image]


def test_an_only_turn_is_not_taken_away():
    history: Any = [{"role": "system", "content": LINE}]
    assert _sent(asked(history))["messages"] == history


def test_what_we_sealed_goes_back_as_it_was_sealed():
    blocks: Any = [
        {"type": "thinking", "thinking": "Hm.", "signature": sealed_token("enc", "rs_1")},
        {"type": "thinking", "thinking": "Ah.", "signature": FOREIGN_SIGNATURE},
        {"type": "redacted_thinking", "data": sealed_token("more")},
    ]
    history: Any = [{"role": "user", "content": "a"}, {"role": "assistant", "content": blocks}]
    sent = _sent(asked(history))["messages"][1]["content"]
    assert [block.get("signature", block.get("data")) for block in sent] == [
        "enc",
        FOREIGN_SIGNATURE,
        "more",
    ]


def test_text_that_looks_like_a_token_is_left_alone():
    said = "What is " + sealed_token("enc") + "?"
    assert _sent(asked(said))["messages"] == [{"role": "user", "content": said}]


# ------------------------------------------------------------------------- the canonical request


def test_options_cross():
    options = _options(
        temperature=0.5, top_p=0.9, top_k=4, stop_sequences=["END"], metadata={"user_id": "u"}
    )
    assert options == Options(
        max_output_tokens=100, temperature=0.5, top_p=0.9, top_k=4, stop=("END",), user="u"
    )


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({}, None),
        ({"output_config": {"effort": "max"}}, "max"),
        ({"thinking": {"type": "enabled", "budget_tokens": 4096}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 16384}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 16385}}, "high"),
        ({"thinking": {"type": "enabled"}}, None),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "disabled"}}, "none"),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, "low"),
    ],
)
def test_how_hard_to_think(fields, effort):
    assert _options(**fields).reasoning_effort == effort


@pytest.mark.parametrize(
    ("choice", "use", "name", "parallel"),
    [
        (None, ToolUse.AUTO, None, True),
        ({"type": "auto"}, ToolUse.AUTO, None, True),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolUse.AUTO, None, False),
        ({"type": "any"}, ToolUse.REQUIRED, None, True),
        ({"type": "none"}, ToolUse.NONE, None, True),
        ({"type": "tool", "name": "look"}, ToolUse.AUTO, "look", True),
    ],
)
def test_how_freely_tools_are_called(choice, use, name, parallel):
    options = _options(tools=[LOOK], tool_choice=choice)
    assert (options.tool_use, options.tool_name) == (use, name)
    assert options.parallel_tool_calls is parallel


def test_a_choice_among_no_tools_is_none():
    assert _options(tool_choice={"type": "any"}).tool_use is ToolUse.AUTO


@pytest.mark.parametrize("field", ["output_config", "output_format"])
def test_a_schema_crosses(field):
    form = {"type": "json_schema", "schema": SCHEMA}
    options = _options(**{field: {"format": form} if field == "output_config" else form})
    assert options.output_form is OutputForm.SCHEMA
    assert json.loads(options.output_schema) == SCHEMA


def test_tools_cross():
    request = DIALECT.canonical(asked(tools=[LOOK | {"description": "Looks.", "strict": True}]))
    (tool,) = request.tools
    assert (tool.name, tool.description, tool.strict) == ("look", "Looks.", True)
    assert json.loads(tool.parameters) == LOOK["input_schema"]
    assert isinstance(tool, Tool)


@pytest.mark.parametrize(
    ("fields", "settings"),
    [
        ({}, {}),
        ({"allowed_domains": ["x.ai"]}, {"allowed_domains": ["x.ai"]}),
        ({"blocked_domains": ["x.ai"]}, {"excluded_domains": ["x.ai"]}),
        (
            {"user_location": {"type": "approximate", "city": "Bern"}},
            {"user_location": {"type": "approximate", "city": "Bern"}},
        ),
    ],
)
def test_a_search_crosses_in_the_words_of_responses(fields, settings):
    (tool,) = DIALECT.canonical(asked(tools=[SEARCH | fields])).server_tools
    assert isinstance(tool, ServerTool)
    assert (tool.kind, json.loads(tool.settings)) == ("web_search", settings)


@pytest.mark.parametrize("kind", ["bash_20250124", "text_editor_20250728", "computer_20251124"])
def test_tools_of_anthropics_own_are_refused_by_name(kind):
    with pytest.raises(GroxyError) as raised:
        DIALECT.canonical(asked(tools=[LOOK, {"type": kind, "name": "x"}]))
    assert (raised.value.kind, raised.value.param) == (ErrorKind.UNSUPPORTED, "tools.1.type")


def test_servers_of_tools_are_refused():
    with pytest.raises(GroxyError) as raised:
        DIALECT.canonical(asked(mcp_servers=[{"type": "url", "url": "https://x.test"}]))
    assert (raised.value.kind, raised.value.param) == (ErrorKind.UNSUPPORTED, "mcp_servers")


def test_what_cannot_cross_is_named():
    request = DIALECT.canonical(
        asked(
            service_tier="auto",
            container=None,
            cache_control={"type": "ephemeral"},
            tools=[SEARCH | {"max_uses": 3}],
        )
    )
    assert request.left_out == ("service_tier", "tools.0.max_uses")


def test_system_text_is_one_turn_without_the_attribution():
    blocks = [{"type": "text", "text": LINE}, {"type": "text", "text": "a"}]
    request = DIALECT.canonical(asked(system=[*blocks, {"type": "text", "text": "b"}]))
    assert request.messages[0] == Message(role=Role.SYSTEM, parts=(Text(text="a\n\nb"),))


def test_the_system_may_speak_in_between():
    history: Any = [{"role": "user", "content": "a"}, {"role": "system", "content": "Be brief."}]
    request = DIALECT.canonical(asked(history))
    assert request.messages[1] == Message(role=Role.SYSTEM, parts=(Text(text="Be brief."),))


def test_prompt_text_has_all_that_a_model_reads():
    text = DIALECT.prompt_text(asked("Hello", system="Be brief.", tools=[LOOK]))
    assert all(piece in text for piece in ("Hello", "Be brief.", "look"))


def test_prompt_text_is_there_even_for_what_cannot_cross():
    assert "Hello" in DIALECT.prompt_text(asked("Hello", tools=[{"type": "bash_1", "name": "b"}]))


def test_sealed_thoughts_come_back_as_they_went():
    block = {"type": "thinking", "thinking": "Hm.", "signature": sealed_token("enc", "rs_1")}
    history: Any = [{"role": "user", "content": "a"}, {"role": "assistant", "content": [block]}]
    turn = DIALECT.canonical(asked(history)).messages[1]
    assert turn.parts == (Reasoning(text="Hm.", encrypted="enc", item_id="rs_1"),)


_SPELLED = b'{"a":1.10,"b":1E2,"c":12345678901234567890123,"d":1e999,"e":"\\u00e9"}'


@pytest.mark.parametrize(
    "fields",
    [
        b'"system":[{"type":"text","text":"%s\\nhi","x":%s}],'
        b'"messages":[{"role":"user","content":"a"}]' % (LINE.encode(), _SPELLED),
        b'"messages":[{"role":"user","content":"a"},{"role":"system","content":['
        b'{"type":"text","text":"%s\\nhi"},{"type":"text","text":"b","x":%s}]}]'
        % (LINE.encode(), _SPELLED),
        b'"messages":[{"role":"user","content":"a"},{"role":"assistant","content":['
        b'{"type":"thinking","thinking":"t","signature":"groxy1.rs_1.enc"},'
        b'{"type":"tool_use","id":"a","name":"f","input":%s}]}]' % _SPELLED,
    ],
    ids=["system", "a system's turn", "input"],
)
def test_what_is_opened_on_its_way_is_not_spelled_anew(fields):
    body = b'{"model":"grok-4.3","max_tokens":5,' + fields + b"}"
    request = DIALECT.decode_request(body)
    sent = DIALECT.outgoing(request, model="m", effort=None, stream=False)
    name = "system" if b'"system":[' in fields else "messages"
    assert bytes(sent[name]) != bytes(request.fields[name]), "it was opened"
    assert _SPELLED in bytes(sent[name])


def test_nesting_that_only_the_checks_could_read_is_refused(monkeypatch):
    class Exhausted:
        def decode(self, _: Any) -> Any:
            raise RecursionError

    monkeypatch.setattr("groxy.dialects.messages.request._objects_decoder", Exhausted())
    with pytest.raises(GroxyError) as raised:
        _sent(asked("What is " + sealed_token("enc") + "?"))
    assert raised.value.kind is ErrorKind.BAD_JSON
    assert "nested too deeply" in raised.value.message
