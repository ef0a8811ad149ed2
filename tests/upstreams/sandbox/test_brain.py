"""The fake model."""

import json

import pytest
from hypothesis import given, settings, strategies as st
from msgspec.structs import replace

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.events import (
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSealed,
    Started,
    UsageReported,
)
from groxy.core.parts import Reasoning
from groxy.core.request import Message, Role
from groxy.upstreams.sandbox.brain import PRICE, reply_to
from groxy.upstreams.sandbox.faults import Script
from groxy.upstreams.sandbox.seal import is_intact
from tests.upstreams.sandbox.asking import (
    TOKENS,
    call_deltas,
    calls_of,
    plain_reply,
    reply,
    request,
    text_of,
    thoughts_of,
    tool,
)


def _reasons(answer):
    return [event.reason for event in answer.events if isinstance(event, Finished)]


def test_the_same_request_has_the_same_answer():
    assert reply("Hello").events == reply("Hello").events


def test_another_request_has_another_answer_and_id():
    one, other = reply("Hello").started, reply("Hullo").started
    assert one.reply_id != other.reply_id
    assert text_of(reply("a", seed=1).events) != text_of(reply("a", seed=2).events)


def test_an_answer_begins_ends_and_reports_usage():
    answer = reply("Hello")
    assert isinstance(answer.events[0], Started)
    assert answer.started.model_served == "grok-4.7"
    assert _reasons(answer) == [FinishReason.STOP]
    assert answer.events[-1] == UsageReported(usage=answer.usage)


def test_usage_is_counted_and_billed():
    answer = reply("Hello there, how are you?")
    usage = answer.usage
    assert usage.output_tokens == TOKENS.count(text_of(answer.events))
    assert usage.input_tokens == TOKENS.count("Hello there, how are you?") + 4
    expected = usage.input_tokens * PRICE.base.input + usage.output_tokens * PRICE.base.output
    assert usage.cost_ticks == expected // 1_000_000
    assert not usage.estimated


def test_cached_tokens_are_as_many_as_asked_for_and_never_more_than_read():
    assert reply("Hello [[sandbox: cached=3]]").usage.cached_tokens == 3
    usage = reply("Hello [[sandbox: cached=3000]]").usage
    assert usage.cached_tokens == usage.input_tokens


def test_pictures_take_tokens_by_their_detail():
    parts = [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": detail}}
        for detail in ("low", "high", "auto")
    ]
    usage = reply(messages=[{"role": "user", "content": parts}]).usage
    assert usage.image_tokens == 256 + 1792 + 1024
    assert usage.input_tokens == usage.image_tokens + 4


def test_tools_schemas_and_earlier_turns_are_read_too():
    call = {"id": "c", "type": "function", "function": {"name": "one", "arguments": '{"a":1}'}}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "reasoning_content": "Hm.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "done"},
    ]
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}
    bare = reply(messages=messages).usage.input_tokens
    assert bare > 3 * 4 + 5
    assert reply(messages=messages, tools=[tool("one")]).usage.input_tokens > bare
    assert reply(messages=messages, response_format=schema).usage.input_tokens > bare


def test_a_token_limit_is_kept_to():
    answer = reply("Hello", max_completion_tokens=7)
    assert _reasons(answer) == [FinishReason.LENGTH]
    assert answer.usage.output_tokens == 7
    assert TOKENS.count(text_of(answer.events)) == 7


def test_a_limit_as_long_as_the_answer_cuts_nothing():
    length = reply("Hello").usage.output_tokens
    answer = reply("Hello", max_tokens=length)
    assert _reasons(answer) == [FinishReason.STOP]


def test_a_stop_text_ends_the_answer_before_it():
    answer = reply("Hello", stop=["wrote", "not there"])
    assert _reasons(answer) == [FinishReason.STOP]
    assert text_of(answer.events).endswith("You ")


def test_choices_are_told_apart_and_interleaved():
    answer = reply("Hello", n=3)
    texts = {text_of(answer.events, choice) for choice in range(3)}
    assert len(texts) == 3
    assert len(_reasons(answer)) == 3
    assert [getattr(event, "choice", None) for event in answer.events[1:7]] == [0, 1, 2, 0, 1, 2]
    assert answer.usage.output_tokens == sum(TOKENS.count(text) for text in texts)


def test_thoughts_come_first_and_count_as_output_beside_the_limit():
    answer = reply("Hello", reasoning_effort="high", max_completion_tokens=5)
    assert isinstance(answer.events[1], ReasoningDelta)
    thought = TOKENS.count(thoughts_of(answer.events))
    assert thought > 10
    assert answer.usage.reasoning_tokens == thought
    assert answer.usage.output_tokens == thought + 5


def test_thoughts_are_sealed_where_they_end():
    events = reply("Hello", reasoning_effort="low", n=2).events
    seals = [event for event in events if isinstance(event, ReasoningSealed)]
    assert [seal.choice for seal in seals] == [0, 1]
    assert all(is_intact(seal.encrypted) for seal in seals)
    assert len({seal.encrypted for seal in seals}) == 2
    for seal in seals:
        own = [event for event in events if getattr(event, "choice", None) == seal.choice]
        at = own.index(seal)
        assert all(isinstance(event, ReasoningDelta) for event in own[:at])
        assert not any(isinstance(event, ReasoningDelta) for event in own[at:])


def test_without_thoughts_there_is_nothing_to_seal():
    assert not any(isinstance(event, ReasoningSealed) for event in reply("Hello").events)


def test_a_seal_that_was_changed_is_refused():
    asked = request("Hello")
    back = Reasoning(text="", encrypted="sandbox-sealed-0")
    earlier = Message(role=Role.ASSISTANT, parts=(back,))
    with pytest.raises(GroxyError) as caught:
        plain_reply(replace(asked, messages=(earlier, *asked.messages)))
    assert caught.value.kind is ErrorKind.BAD_REQUEST


def test_a_length_that_is_asked_for_is_given():
    for length in (1, 10, 500):
        answer = reply(f"Hello [[sandbox: tokens={length}]]")
        assert answer.usage.output_tokens == length
        assert _reasons(answer) == [FinishReason.STOP]
    assert TOKENS.count(text_of(reply("Hello [[sandbox: tokens=500]]").events)) == 500


def test_an_answer_has_an_upper_bound():
    with pytest.raises(GroxyError) as caught:
        reply("Hello [[sandbox: tokens=50000]]", n=5)
    assert caught.value.kind is ErrorKind.BAD_REQUEST


def test_a_tool_is_called_with_arguments_that_fit_its_schema():
    answer = reply("call get_weather", tools=[tool("get_weather")])
    assert calls_of(answer.events) == [("get_weather", {"city": "city"})]
    assert _reasons(answer) == [FinishReason.TOOL_CALLS]
    assert text_of(answer.events) == ""
    counted = TOKENS.count("get_weather") + TOKENS.count('{"city":"city"}')
    assert answer.usage.output_tokens == counted


def test_several_tools_are_called_at_once_with_ids_of_their_own():
    tools = [tool("one"), tool("two")]
    answer = reply("one two", tools=tools, n=2)
    assert calls_of(answer.events, 1) == [("one", {"city": "city"}), ("two", {"city": "city"})]
    assert len({call.call_id for call in call_deltas(answer.events)}) == 4


def test_a_call_comes_whole_or_in_fragments():
    whole = reply("one", tools=[tool("one")])
    pieces = reply("one [[sandbox: fragments]]", tools=[tool("one")])
    assert len(call_deltas(whole.events)) == 1
    assert len(call_deltas(pieces.events)) > 3
    assert call_deltas(pieces.events)[0].arguments == ""
    assert calls_of(whole.events) == calls_of(pieces.events)


def test_a_call_is_cut_by_the_token_limit():
    answer = reply("one two", tools=[tool("one"), tool("two")], max_completion_tokens=3)
    assert _reasons(answer) == [FinishReason.LENGTH]
    assert answer.usage.output_tokens == 3
    calls = call_deltas(answer.events)
    assert [call.name for call in calls] == ["one"]
    with pytest.raises(json.JSONDecodeError):
        json.loads(calls[0].arguments)


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "one"}}},
        {
            "tools": [tool("two")],
            "tool_choice": {"type": "function", "function": {"name": "one"}},
        },
        {"tools": [tool("one", **{"$ref": "#/gone"})], "tool_choice": "required"},
        {"tools": [tool("one", minProperties=10**9)], "tool_choice": "required"},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "s", "schema": {"enum": []}},
            }
        },
    ],
)
def test_what_no_model_can_do_is_refused(fields):
    with pytest.raises(GroxyError) as caught:
        reply("hello", **fields)
    assert caught.value.kind is ErrorKind.BAD_REQUEST


def test_json_is_json():
    answer = reply("hello", response_format={"type": "json_object"})
    written = json.loads(text_of(answer.events))
    assert written["sandbox"] is True
    assert "“hello”" in written["answer"]


def test_a_schema_is_filled():
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 18}},
        "required": ["name", "age"],
    }
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    answer = reply("hello [[sandbox: tokens=500]]", response_format=form)
    assert json.loads(text_of(answer.events)) == {"name": "name", "age": 18}


def test_a_huge_whole_number_in_a_schema_does_no_harm():
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"const": 10**30}}}
    assert json.loads(text_of(reply("hello", response_format=form).events)) == 10**30


@given(st.text(max_size=200), st.integers(1, 60))
@settings(deadline=None)
def test_any_text_is_answered_within_its_limit(text, limit):
    asked = request("x" + text.replace("[[sandbox", ""), max_completion_tokens=limit)
    answer = plain_reply(asked)
    assert answer.usage.output_tokens <= limit
    assert answer == reply_to(asked, Script(), TOKENS)
