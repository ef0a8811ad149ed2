from typing import Any

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams._base import ModelFacts
from groxy.upstreams._xai_request import prepare_for_xai, stay_together
from groxy.wire.json import Fields, decode_any, decode_fields, encode

GROK_4_7 = ModelFacts(
    rejects=frozenset({"stop", "frequency_penalty", "presence_penalty"}),
    efforts=("low", "medium", "high", "xhigh"),
)
GROK_4_3 = ModelFacts(efforts=("none", "low", "medium", "high"))
NO_EFFORT = ModelFacts(rejects=frozenset({"reasoning_effort"}), efforts=())
TOOL = {"type": "function", "function": {"name": "f", "strict": True}}


def prepared(facts: ModelFacts = GROK_4_7, /, **values: Any) -> tuple[dict[str, Any], list[str]]:
    fields = decode_fields(encode(values))
    words = prepare_for_xai(fields, facts)
    return decode_any(encode(fields)), words


def refused(facts: ModelFacts = GROK_4_7, /, **values: Any) -> GroxyError:
    with pytest.raises(GroxyError) as raised:
        prepared(facts, **values)
    assert raised.value.kind is ErrorKind.UNSUPPORTED
    return raised.value


def test_penalties_and_stop_are_dropped_where_the_model_rejects_them():
    assert prepared(stop=["x"], frequency_penalty=1, top_p=0.5) == (
        {"top_p": 0.5},
        ["frequency_penalty dropped", "stop dropped"],
    )
    assert prepared(GROK_4_3, stop=["x"]) == ({"stop": ["x"]}, [])


def test_what_no_model_takes_is_dropped_even_when_the_model_is_unknown():
    sent, words = prepared(ModelFacts(), logit_bias={"1": 2}, presence_penalty=0)
    assert sent == {}
    assert words == ["logit_bias dropped", "presence_penalty dropped"]


def test_routing_fields_of_openrouter_are_dropped_and_named():
    sent, words = prepared(models=["a"], provider={}, session_id="s", usage={"include": True}, n=2)
    assert sent == {"n": 2}
    assert words == ["models dropped", "provider dropped", "session_id dropped", "usage dropped"]


def test_tokens_and_strict_tools_pass():
    asked = {"max_tokens": 5, "max_completion_tokens": 6, "tools": [TOOL], "tool_choice": "auto"}
    assert prepared(**asked) == (asked, [])


@pytest.mark.parametrize(
    ("facts", "asked", "sent"),
    [
        (GROK_4_7, "low", "low"),
        (GROK_4_7, "none", "low"),
        (GROK_4_7, "minimal", "low"),
        (GROK_4_7, "max", "xhigh"),
        (GROK_4_3, "none", "none"),
        (GROK_4_3, "minimal", "low"),
        (GROK_4_3, "xhigh", "high"),
        (GROK_4_3, "max", "high"),
        (ModelFacts(efforts=("low", "high")), "medium", "high"),
        (ModelFacts(), "minimal", "minimal"),
        (ModelFacts(efforts=("strange",)), "low", "low"),
    ],
)
def test_effort_that_the_model_lacks_becomes_the_nearest(facts, asked, sent):
    words = [] if asked == sent else [f"reasoning_effort {asked} sent as {sent}"]
    assert prepared(facts, reasoning_effort=asked) == ({"reasoning_effort": sent}, words)


def test_effort_is_dropped_where_the_model_takes_none():
    assert prepared(NO_EFFORT, reasoning_effort="high") == ({}, ["reasoning_effort dropped"])
    assert prepared(ModelFacts(efforts=()), reasoning_effort="low")[0] == {}
    assert prepared(NO_EFFORT, reasoning_effort=None) == ({}, [])


@pytest.mark.parametrize(
    ("reasoning", "effort"),
    [({"effort": "medium"}, "medium"), ({"effort": "low", "exclude": True}, "low")],
)
def test_reasoning_object_becomes_an_effort(reasoning, effort):
    words = ["reasoning sent as reasoning_effort"]
    assert prepared(reasoning=reasoning) == ({"reasoning_effort": effort}, words)


def test_reasoning_switched_off_becomes_the_least_effort():
    sent, words = prepared(reasoning={"enabled": False})
    assert sent == {"reasoning_effort": "low"}
    assert words == ["reasoning sent as reasoning_effort", "reasoning_effort none sent as low"]


@pytest.mark.parametrize(
    "reasoning", [{}, {"enabled": True}, {"max_tokens": 9}, {"effort": "odd"}, "high", [1]]
)
def test_reasoning_object_that_says_no_effort_is_dropped(reasoning):
    assert prepared(reasoning=reasoning) == ({}, ["reasoning dropped"])


def test_own_effort_wins_over_the_reasoning_object():
    sent, words = prepared(reasoning={"effort": "low"}, reasoning_effort="high")
    assert sent == {"reasoning_effort": "high"}
    assert words == ["reasoning dropped"]
    assert prepared(NO_EFFORT, reasoning={"effort": "low"}) == ({}, ["reasoning dropped"])


def test_a_conversation_is_named_where_each_dialect_has_a_place_for_it():
    fields: Fields = {}
    assert stay_together(fields, "talk", "chat") == {"x-grok-conv-id": "talk"}
    assert fields == {}
    assert stay_together(fields, "talk", "responses") == {}
    assert bytes(fields["prompt_cache_key"]) == b'"talk"'
    assert stay_together({}, "talk", "completions") == {}


def test_completions_lose_what_they_never_take():
    fields = decode_fields(b'{"prompt":"Hi","suffix":"x","best_of":1,"seed":1}')
    assert prepare_for_xai(fields, ModelFacts(), "completions") == [
        "best_of dropped",
        "suffix dropped",
    ]


@pytest.mark.parametrize("search", [{"mode": "on"}, {"mode": "auto"}, {}, {"sources": []}, "on"])
def test_live_search_is_refused_with_a_remedy(search):
    error = refused(search_parameters=search)
    assert error.param == "search_parameters"
    assert "mode to off" in error.message


def test_live_search_that_is_off_is_dropped():
    assert prepared(search_parameters={"mode": "off"}) == ({}, ["search_parameters dropped"])
    assert prepared(search_parameters=None) == ({}, [])
    assert prepared(web_search_options={}) == ({}, ["web_search_options dropped"])


@pytest.mark.parametrize("kind", ["web_search", "x_search", "live_search", "code_interpreter"])
def test_server_side_tools_are_refused_and_counted(kind):
    error = refused(tools=[TOOL, {"type": kind}])
    assert error.param == "tools.1.type"
    assert "`tools.1`" in error.message


def test_choices_about_tools_go_where_there_are_no_tools():
    nothing: list[Any] = [None, []]
    for tools in nothing:
        sent, words = prepared(tool_choice="auto", parallel_tool_calls=True, tools=tools)
        assert sent == {}
        assert words == ["parallel_tool_calls dropped", "tool_choice dropped"]
    assert prepared(tool_choice="none") == ({}, ["tool_choice dropped"])


def test_tools_that_cannot_be_read_are_left_to_the_upstream():
    assert prepared(tools=[1]) == ({"tools": [1]}, [])


def allowing(*tools: dict[str, Any], **mode: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"tools": tools, **mode}}


def test_allowed_tools_are_the_only_ones_sent():
    other = {"type": "function", "function": {"name": "g"}}
    named = {"type": "function", "function": {"name": "f"}}
    choice = allowing(named, mode="required")
    sent, words = prepared(tools=[other, TOOL, {"type": "x_search"}], tool_choice=choice)
    assert sent == {"tools": [TOOL], "tool_choice": "required"}
    assert words == ["allowed_tools sent as tools"]


def test_allowed_tools_without_a_mode_leave_the_choice_to_the_model():
    sent, _ = prepared(tools=[TOOL], tool_choice=allowing(TOOL))
    assert sent["tool_choice"] == "auto"


def test_no_tool_is_sent_when_none_of_those_allowed_is_there():
    choice = allowing({"type": "function", "function": {"name": "g"}}, mode="auto")
    sent, words = prepared(tools=[TOOL], tool_choice=choice)
    assert sent == {}
    assert words == ["tool_choice dropped", "tools dropped"]


def test_a_tool_of_xais_that_is_allowed_is_refused_on_chat():
    search = {"type": "x_search"}
    error = refused(tools=[TOOL, search], tool_choice=allowing(search))
    assert error.param == "tools.0.type"


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "f"}}, {"type": 5}, 5]
)
def test_any_other_choice_of_a_tool_is_left_to_the_upstream(choice):
    asked = {"tools": [TOOL], "tool_choice": choice}
    assert prepared(**asked) == (asked, [])


def test_developer_messages_go_as_system_and_nothing_else_changes():
    said: list[dict[str, Any]] = [
        {"role": "developer", "content": "Be \u00e9.", "name": "n"},
        {"role": "user", "x": 1.0},
    ]
    sent, words = prepared(messages=said)
    assert sent == {"messages": [said[0] | {"role": "system"}, said[1]]}
    assert words == ["developer role sent as system"]
    quoted = [{"role": "user", "content": 'say "developer"'}, {"role": "user", "developer": 1}]
    assert prepared(messages=quoted) == ({"messages": quoted}, [])
    assert prepared(messages="developer") == ({"messages": "developer"}, [])
    assert prepared(messages=["developer"]) == ({"messages": ["developer"]}, [])
