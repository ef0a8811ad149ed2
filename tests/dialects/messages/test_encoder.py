"""Events written for callers: streams that the official client accepts, and the same at once."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.events import (
    Cited,
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSealed,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from groxy.core.usage import Usage
from groxy.dialects.messages.encoder import MessagesEncoder
from groxy.dialects.messages.sealing import sealed_token
from tests.dialects.messages.streams import (
    COUNTED,
    STARTED,
    STOPPED,
    USAGE,
    asked,
    asked_to_think,
    events_of,
    folded,
    frame,
    heard,
    kinds_of,
    streamed,
)

CALLED = Finished(reason=FinishReason.TOOL_CALLS)


def _says(text: str) -> TextDelta:
    return TextDelta(text=text)


def _call(index: int, arguments: str = "", name: str = "", call_id: str = "") -> ToolCallDelta:
    return ToolCallDelta(index=index, arguments=arguments, call_id=call_id, name=name)


def _both(*events: Event, **fields: Any) -> dict[str, Any]:
    """What a client makes of events streamed, which has to be what it is at once."""
    message = heard(streamed(STARTED, *events, **fields))
    assert message == folded(STARTED, *events, **fields)
    return message


# ------------------------------------------------------------------------------------- the frame


def test_a_plain_answer():
    assert _both(_says("Hel"), _says("lo"), STOPPED) == {
        "id": "msg_abc",
        "type": "message",
        "role": "assistant",
        "model": "grok-4.7",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 32,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 8,
            "output_tokens": 12,
        },
    }


def test_the_order_of_events():
    assert kinds_of(streamed(STARTED, _says("a"), _says("b"), STOPPED)) == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_the_start_tells_an_estimate_of_the_input_counted_once():
    calls: list[int] = []

    def count() -> int:
        calls.append(1)
        return COUNTED

    encoder = MessagesEncoder(asked(), frame(count))
    (start,) = events_of(encoder.feed(STARTED))
    encoder.feed(_says("a"))
    encoder.finish(USAGE)
    usage = start["message"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], len(calls)) == (COUNTED, 1, 1)


def test_a_whole_answer_estimates_nothing():
    def count() -> int:
        raise AssertionError

    assert MessagesEncoder(asked(), frame(count)).whole([STARTED, STOPPED], USAGE)


def test_usage_on_the_way_is_held_back():
    encoder = MessagesEncoder(asked(), frame())
    encoder.feed(STARTED)
    assert encoder.feed(UsageReported(usage=USAGE)) == b""


def test_a_reply_without_a_start_gets_one():
    message = heard(streamed(_says("a"), STOPPED))
    assert (message["model"], message["content"][0]["text"]) == ("grok-4.7", "a")


def test_an_empty_reply_is_a_message_all_the_same():
    assert heard(streamed())["content"] == [] == folded()["content"]


def test_text_is_written_as_it_comes():
    encoder = MessagesEncoder(asked(), frame())
    encoder.feed(STARTED)
    assert kinds_of(encoder.feed(_says("a"))) == ["content_block_start", "content_block_delta"]
    assert kinds_of(encoder.feed(_says('"\n'))) == ["content_block_delta"]
    assert encoder.feed(_says("")) == b""


def test_only_the_first_choice_is_told():
    other = TextDelta(text="other", choice=1)
    message = _both(_says("a"), other, Finished(reason=FinishReason.LENGTH, choice=1), STOPPED)
    assert (message["content"], message["stop_reason"]) == (
        [{"type": "text", "text": "a"}],
        "end_turn",
    )


def test_sources_are_left_out():
    assert _both(_says("a"), Cited(url="https://x.test"), STOPPED)["content"] == [
        {"type": "text", "text": "a"}
    ]


def test_a_broken_stream_ends_with_an_error():
    encoder = MessagesEncoder(asked(), frame())
    encoder.feed(STARTED)
    sent = encoder.fail(GroxyError(ErrorKind.STREAM_BROKEN, "It broke."))
    assert events_of(sent) == [
        {"type": "error", "error": {"type": "api_error", "message": "It broke."}}
    ]


def test_nothing_is_kept():
    encoder = MessagesEncoder(asked(), frame())
    encoder.whole([STARTED, STOPPED], USAGE)
    assert encoder.record == b""


# ------------------------------------------------------------------------------------- the end


@pytest.mark.parametrize(
    ("finished", "reason", "stop"),
    [
        (Finished(reason=FinishReason.STOP, stop_text="END"), "stop_sequence", "END"),
        (Finished(reason=FinishReason.LENGTH), "max_tokens", None),
        (Finished(reason=FinishReason.CONTENT_FILTER), "refusal", None),
    ],
)
def test_why_it_ended(finished, reason, stop):
    message = _both(_says("a"), finished)
    assert (message["stop_reason"], message["stop_sequence"]) == (reason, stop)


def test_thoughts_are_told_inside_the_output():
    usage = Usage(input_tokens=1, output_tokens=9, reasoning_tokens=4)
    written = heard(streamed(STARTED, STOPPED, usage=usage))["usage"]
    assert written["output_tokens"] == 9
    assert written["output_tokens_details"] == {"thinking_tokens": 4}


# -------------------------------------------------------------------------------------- thoughts


def test_thoughts_come_sealed_before_the_text():
    message = _both(
        ReasoningDelta(text="H"),
        ReasoningDelta(text="m."),
        ReasoningSealed(encrypted="enc", item_id="rs_1"),
        _says("a"),
        STOPPED,
    )
    assert message["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": sealed_token("enc", "rs_1")},
        {"type": "text", "text": "a"},
    ]


def test_the_seal_is_written_when_it_comes():
    encoder = MessagesEncoder(asked_to_think(), frame())
    encoder.feed(STARTED)
    encoder.feed(ReasoningDelta(text="Hm."))
    sent = events_of(encoder.feed(ReasoningSealed(encrypted="enc")))
    assert [one["type"] for one in sent] == ["content_block_delta", "content_block_stop"]
    assert sent[0]["delta"]["type"] == "signature_delta"


def test_thoughts_may_go_without_a_seal():
    assert _both(ReasoningDelta(text="Hm."), _says("a"), STOPPED)["content"][0] == {
        "type": "thinking",
        "thinking": "Hm.",
        "signature": "",
    }


def test_a_seal_without_thoughts_is_redacted_thinking():
    message = _both(ReasoningSealed(encrypted="enc"), ReasoningSealed(encrypted=""), STOPPED)
    assert message["content"] == [{"type": "redacted_thinking", "data": sealed_token("enc")}]


def test_thoughts_after_a_seal_are_new_ones():
    message = _both(
        ReasoningDelta(text="a"),
        ReasoningSealed(encrypted="1"),
        ReasoningDelta(text="b"),
        ReasoningSealed(encrypted="2"),
        ReasoningSealed(encrypted="3"),
        STOPPED,
    )
    kinds = [block["type"] for block in message["content"]]
    assert kinds == ["thinking", "thinking", "redacted_thinking"]


_THOUGHT: list[Event] = [
    ReasoningDelta(text="Hm."),
    ReasoningSealed(encrypted="enc", item_id="rs_1"),
    ReasoningSealed(encrypted="more"),
]


@pytest.mark.parametrize("thinking", [None, {"type": "disabled"}, {"type": "new"}])
def test_thoughts_that_nobody_asked_for_are_left_out(thinking):
    message = _both(*_THOUGHT, _says("a"), STOPPED, thinking=thinking)
    assert message["content"] == [{"type": "text", "text": "a"}]


@pytest.mark.parametrize("kind", ["enabled", "adaptive"])
def test_thoughts_that_were_asked_for_are_told(kind):
    message = _both(*_THOUGHT, _says("a"), STOPPED, thinking={"type": kind})
    kinds = [block["type"] for block in message["content"]]
    assert kinds == ["thinking", "redacted_thinking", "text"]


def test_text_goes_on_over_thoughts_that_are_left_out():
    message = _both(_says("a"), *_THOUGHT, _says("b"), STOPPED, thinking={"type": "disabled"})
    assert message["content"] == [{"type": "text", "text": "ab"}]


def test_omitted_thoughts_keep_their_seal_and_lose_their_text():
    thinking = {"type": "enabled", "budget_tokens": 1024, "display": "omitted"}
    message = _both(*_THOUGHT[:2], _says("a"), STOPPED, thinking=thinking)
    assert message["content"] == [
        {"type": "thinking", "thinking": "", "signature": sealed_token("enc", "rs_1")},
        {"type": "text", "text": "a"},
    ]


def test_omitted_thoughts_send_no_delta_but_their_seal():
    thinking = {"type": "adaptive", "display": "omitted"}
    sent = streamed(STARTED, *_THOUGHT[:2], STOPPED, thinking=thinking)
    deltas = [one["delta"] for one in events_of(sent) if one["type"] == "content_block_delta"]
    assert [delta["type"] for delta in deltas] == ["signature_delta"]


# -------------------------------------------------------------------------------------- tool calls


def test_a_call_in_fragments():
    message = _both(
        _says("Look."), _call(0, "", "look", "call_1"), _call(0, '{"x"'), _call(0, ":1}"), CALLED
    )
    assert message["content"] == [
        {"type": "text", "text": "Look."},
        {"type": "tool_use", "id": "call_1", "name": "look", "input": {"x": 1}},
    ]
    assert message["stop_reason"] == "tool_use"


def test_a_call_without_arguments_has_an_empty_object():
    sent = streamed(STARTED, _call(0, "", "look", "call_1"), CALLED)
    (delta,) = [one["delta"] for one in events_of(sent) if one["type"] == "content_block_delta"]
    assert delta == {"type": "input_json_delta", "partial_json": "{}"}
    assert _both(_call(0, "", "look", "c"), CALLED)["content"][0]["input"] == {}


def test_calls_that_come_mixed_up_do_not_interleave():
    message = _both(
        _call(0, "", "a", "1"),
        _call(1, "", "b", "2"),
        _call(0, '{"x":'),
        _call(1, '{"y":'),
        _call(1, "2}"),
        _call(0, "1}"),
        CALLED,
    )
    assert [block["input"] for block in message["content"]] == [{"x": 1}, {"y": 2}]


def test_a_call_whose_arguments_are_whole_does_not_hold_up_the_next():
    encoder = MessagesEncoder(asked(), frame())
    encoder.feed(STARTED)
    encoder.feed(_call(0, '{"x":1}', "a", "1"))
    sent = kinds_of(encoder.feed(_call(1, '{"y":', "b", "2")))
    assert sent == ["content_block_stop", "content_block_start", "content_block_delta"]


def test_what_follows_an_unfinished_call_waits_for_it():
    encoder = MessagesEncoder(asked(), frame())
    encoder.feed(STARTED)
    encoder.feed(_call(0, '{"x":', "a", "1"))
    assert encoder.feed(_says("later")) == b""
    sent = events_of(encoder.feed(_call(0, "1}")))
    assert [one["type"] for one in sent] == [
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
    ]


def test_a_call_that_was_cut_off_has_an_empty_object_at_once():
    cut: list[Event] = [STARTED, _call(0, '{"x":', "a", "1"), Finished(reason=FinishReason.LENGTH)]
    message = folded(*cut)
    assert message["content"][0]["input"] == {}
    assert message["stop_reason"] == "max_tokens"
    assert heard(streamed(*cut))["stop_reason"] == "max_tokens"


def test_a_call_without_an_id_gets_one():
    assert _both(_call(0, "{}", "a"), CALLED)["content"][0]["id"] == "toolu_abc_0"


def test_an_end_that_forgets_its_calls_is_mended():
    assert _both(_call(0, "{}", "a", "1"), STOPPED)["stop_reason"] == "tool_use"


# -------------------------------------------------------------------------------------- any order

_PIECE = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
_EVENTS = st.lists(
    st.builds(TextDelta, text=_PIECE)
    | st.builds(ReasoningDelta, text=_PIECE)
    | st.builds(ReasoningSealed, encrypted=_PIECE, item_id=_PIECE)
    | st.builds(
        ToolCallDelta,
        index=st.integers(0, 2),
        arguments=st.sampled_from(["", "{", "}", "{}", '{"a":', "1}", " "]),
        call_id=st.just("c"),
        name=st.just("n"),
    ),
    max_size=12,
)


@given(events=_EVENTS, has_end=st.booleans())
def test_any_events_make_blocks_one_after_another(events, has_end):
    sent = streamed(STARTED, *events, *([STOPPED] if has_end else []))
    seen, inside = -1, False
    for one in events_of(sent):
        if one["type"] == "content_block_start":
            assert not inside
            assert one["index"] == seen + 1
            seen, inside = seen + 1, True
        elif one["type"] == "content_block_stop":
            assert inside
            assert one["index"] == seen
            inside = False
    assert not inside
    assert len(folded(STARTED, *events)["content"]) == seen + 1


@given(events=_EVENTS)
def test_no_text_and_no_thought_is_lost(events):
    deltas = [
        one["delta"]
        for one in events_of(streamed(STARTED, *events, STOPPED))
        if one["type"] == "content_block_delta"
    ]
    for kind, name in ((TextDelta, "text"), (ReasoningDelta, "thinking")):
        asked_for = "".join(one.text for one in events if isinstance(one, kind))
        assert "".join(delta.get(name, "") for delta in deltas) == asked_for
