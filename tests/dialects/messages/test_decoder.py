"""An upstream's replies, read as events: in any portions, whole, broken and hostile."""

import json
from typing import Any

import pytest
from hypothesis import given

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.events import (
    Cited,
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSealed,
    Started,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from groxy.core.usage import Usage
from groxy.dialects._base import EmbeddedError
from groxy.dialects.messages.decoder import MessagesDecoder
from groxy.wire.sse import MAX_EVENT_BYTES
from tests.dialects.messages.odd_replies import ODD_BODIES, ODD_STREAMS
from tests.dialects.messages.streams import (
    CUTS,
    RULES,
    TICKS,
    adds,
    begins,
    calls,
    closes,
    ends,
    event,
    opens,
    pieces_of,
    says,
)

START = Started(reply_id="msg_up", model_served="grok-4.7", created=0)
END = [
    UsageReported(usage=Usage(input_tokens=25, output_tokens=7)),
    Finished(reason=FinishReason.STOP),
]
TALK = (
    begins(cache_read_input_tokens=5)
    + opens(0, "thinking", thinking="", signature="")
    + adds(0, "thinking_delta", thinking="Hm é.")
    + adds(0, "signature_delta", signature="sig")
    + closes(0)
    + event("ping")
    + says("Look.", 1)
    + calls(2, "toolu_1", "look", '{"x"', ":1}")
    + calls(3, "toolu_2", "go")
    + ends("tool_use")
)
TOLD = [
    START,
    ReasoningDelta(text="Hm é."),
    ReasoningSealed(encrypted="sig"),
    TextDelta(text="Look."),
    ToolCallDelta(index=0, arguments="", call_id="toolu_1", name="look"),
    ToolCallDelta(index=0, arguments='{"x"'),
    ToolCallDelta(index=0, arguments=":1}"),
    ToolCallDelta(index=1, arguments="", call_id="toolu_2", name="go"),
    ToolCallDelta(index=1, arguments="{}"),
    UsageReported(usage=Usage(input_tokens=30, cached_tokens=5, output_tokens=7)),
    Finished(reason=FinishReason.TOOL_CALLS),
]


def _read(*pieces: bytes) -> tuple[MessagesDecoder, list[Event]]:
    decoder = MessagesDecoder(RULES)
    events = [one for piece in pieces for one in decoder.feed(piece)]
    return decoder, events + decoder.close()


def _events(stream: bytes) -> list[Event]:
    decoder, events = _read(stream)
    assert decoder.is_complete
    return events


def _kind(decoder: MessagesDecoder) -> ErrorKind | None:
    assert decoder.failure is None or isinstance(decoder.failure, GroxyError)
    return decoder.failure.kind if decoder.failure else None


# --------------------------------------------------------------------------------------- streams


def test_a_reply_is_told_in_order():
    assert _events(TALK) == TOLD


@given(cuts=CUTS)
def test_any_split_gives_the_same_events(cuts):
    decoder, events = _read(*pieces_of(TALK, cuts))
    assert (events, decoder.is_complete) == (TOLD, True)


def test_byte_by_byte_and_with_other_line_ends():
    stream = TALK.replace(b"\n", b"\r\n")
    _, events = _read(*(stream[at : at + 1] for at in range(len(stream))))
    assert events == TOLD


def test_events_without_names_are_read_by_their_type():
    stream = b"\n".join(line for line in TALK.split(b"\n") if not line.startswith(b"event:"))
    assert _events(stream) == TOLD


@pytest.mark.parametrize(
    ("reason", "meant"),
    [
        ("end_turn", FinishReason.STOP),
        ("pause_turn", FinishReason.STOP),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("refusal", FinishReason.CONTENT_FILTER),
    ],
)
def test_why_it_ended(reason, meant):
    assert _events(begins() + says("a") + ends(reason))[-1] == Finished(reason=meant)


def test_which_stop_text_ended_it():
    assert _events(begins() + ends("stop_sequence", "END"))[-1] == Finished(
        reason=FinishReason.STOP, stop_text="END"
    )


def test_a_missing_stop_reason_is_a_plain_end():
    assert _events(begins() + says("a") + event("message_stop"))[-1] == END[-1]


def test_usage_is_told_only_once_all_of_it_is_known():
    _, events = _read(begins() + says("a"))
    assert not any(isinstance(one, UsageReported) for one in events)


def test_the_bill_is_read_where_the_upstreams_rules_say_so():
    decoder = MessagesDecoder(TICKS)
    told = decoder.feed(begins() + ends(cost_in_usd_ticks=9))
    assert next(one for one in told if isinstance(one, UsageReported)).usage.cost_ticks == 9


def test_redacted_thoughts_are_sealed_ones():
    stream = begins() + opens(0, "redacted_thinking", data="enc") + closes(0) + ends()
    assert _events(stream)[1] == ReasoningSealed(encrypted="enc")


def test_a_call_whose_input_came_with_its_start():
    stream = (
        begins()
        + opens(0, "tool_use", id="t", name="n", input={"a": 1})
        + closes(0)
        + ends("tool_use")
    )
    assert _events(stream)[1:3] == [
        ToolCallDelta(index=0, arguments="", call_id="t", name="n"),
        ToolCallDelta(index=0, arguments='{"a": 1}'),
    ]


def test_a_call_that_is_never_closed_ends_with_the_reply():
    stream = begins() + opens(0, "tool_use", id="t", name="n", input={}) + ends("tool_use")
    assert ToolCallDelta(index=0, arguments="{}") in _events(stream)


def test_tools_that_the_upstream_ran_are_passed_over():
    stream = (
        begins()
        + opens(0, "server_tool_use", id="s", name="web_search", input={})
        + adds(0, "input_json_delta", partial_json='{"query":"x"}')
        + closes(0)
        + opens(1, "web_search_tool_result", tool_use_id="s", content=[])
        + closes(1)
        + says("Found.", 2)
        + calls(3, "t", "n", "{}")
        + ends("tool_use")
    )
    told = [one for one in _events(stream) if isinstance(one, TextDelta | ToolCallDelta)]
    assert told[0] == TextDelta(text="Found.")
    assert told[1] == ToolCallDelta(index=0, arguments="", call_id="t", name="n")


def test_sources_say_which_text_they_are_of():
    citation = {"type": "web_search_result_location", "url": "https://x.test", "title": "X"}
    stream = (
        begins()
        + says("Ab")
        + opens(1, "text", text="")
        + adds(1, "text_delta", text="cde")
        + adds(1, "citations_delta", citation=citation)
        + adds(1, "citations_delta", citation={"type": "char_location"})
        + closes(1)
        + ends()
    )
    cited = [one for one in _events(stream) if isinstance(one, Cited)]
    assert cited == [Cited(url="https://x.test", title="X", start=2, end=5)]


def test_blocks_without_numbers_are_told_apart():
    stream = (
        begins()
        + event("content_block_start", content_block={"type": "tool_use", "id": "1", "name": "a"})
        + event("content_block_delta", delta={"type": "input_json_delta", "partial_json": "{}"})
        + event("content_block_stop")
        + event("content_block_start", content_block={"type": "tool_use", "id": "2", "name": "b"})
        + event("content_block_delta", delta={"type": "input_json_delta", "partial_json": "[]"})
        + event("content_block_stop")
        + ends("tool_use")
    )
    arguments = [
        (one.index, one.arguments)
        for one in _events(stream)
        if isinstance(one, ToolCallDelta) and one.arguments
    ]
    assert arguments == [(0, "{}"), (1, "[]")]


def test_done_is_no_event():
    assert _events(begins() + b"data: [DONE]\n\n" + says("a") + ends())[1] == TextDelta(text="a")


def test_a_stream_without_a_start_gets_one():
    assert _events(says("a") + ends())[0] == Started(reply_id="", model_served="", created=0)


def test_nothing_after_the_end_matters():
    decoder, events = _read(begins() + ends() + says("a"), says("b"))
    assert decoder.is_done
    assert events == [START, *END]


# ---------------------------------------------------------------------------------------- broken


def test_a_stream_without_its_end_is_not_complete():
    decoder, _ = _read(begins() + says("a"))
    assert (decoder.is_complete, decoder.is_done, decoder.failure) == (False, False, None)


def test_an_end_without_its_last_event_is_not_complete():
    stream = (begins() + says("a") + ends()).removesuffix(event("message_stop"))
    assert not _read(stream)[0].is_complete


def test_an_error_keeps_what_came_before_it():
    error = {"type": "overloaded_error", "message": "Busy"}
    decoder, events = _read(begins() + says("a") + event("error", error=error) + says("b"))
    assert isinstance(decoder.failure, EmbeddedError)
    assert json.loads(decoder.failure.payload)["error"] == error
    assert events == [START, TextDelta(text="a")]
    assert (decoder.is_done, decoder.is_complete) == (True, False)


def test_nonsense_is_a_bad_reply():
    decoder, events = _read(begins() + b"data: {nonsense\n\n")
    assert (_kind(decoder), events) == (ErrorKind.BAD_REPLY, [START])


def test_half_an_event_at_the_end_is_a_cut():
    decoder, events = _read(begins() + b'data: {"type":"content_bl')
    assert (decoder.failure, decoder.is_complete, events) == (None, False, [START])


def test_an_event_without_end_is_given_up():
    decoder = MessagesDecoder(RULES)
    decoder.feed(b"data: " + b"x" * (MAX_EVENT_BYTES + 1))
    decoder.feed(b"x")
    assert _kind(decoder) is ErrorKind.BAD_REPLY


@given(stream=ODD_STREAMS, cuts=CUTS)
def test_no_stream_crashes_it_and_no_split_matters(stream, cuts):
    whole, told = _read(stream)
    decoder, events = _read(*pieces_of(stream, cuts))
    assert events == told
    assert decoder.is_complete == whole.is_complete
    assert type(decoder.failure) is type(whole.failure)


# ----------------------------------------------------------------------------------------- whole


def _whole(body: Any) -> tuple[MessagesDecoder, list[Event]]:
    decoder = MessagesDecoder(RULES)
    return decoder, decoder.feed_whole(
        body if isinstance(body, bytes) else json.dumps(body).encode()
    )


def test_a_whole_reply():
    decoder, events = _whole(
        {
            "id": "msg_up",
            "model": "grok-4.7",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
                {"type": "redacted_thinking", "data": "enc"},
                {"type": "text", "text": "a"},
                {"type": "tool_use", "id": "t", "name": "n", "input": {"x": 1}},
            ],
            "stop_reason": "tool_use",
            "usage": {"input_tokens": 3, "output_tokens": 4},
        }
    )
    assert decoder.is_complete
    assert events == [
        START,
        ReasoningDelta(text="Hm."),
        ReasoningSealed(encrypted="sig"),
        ReasoningSealed(encrypted="enc"),
        TextDelta(text="a"),
        ToolCallDelta(index=0, arguments="", call_id="t", name="n"),
        ToolCallDelta(index=0, arguments='{"x":1}'),
        UsageReported(usage=Usage(input_tokens=3, output_tokens=4)),
        Finished(reason=FinishReason.TOOL_CALLS),
    ]


def test_a_whole_error():
    decoder, events = _whole({"type": "error", "error": {"type": "api_error", "message": "No"}})
    assert isinstance(decoder.failure, EmbeddedError)
    assert events == []


@given(body=ODD_BODIES)
def test_no_body_crashes_it(body):
    decoder, events = _whole(body)
    assert (decoder.failure is None) == decoder.is_complete == bool(events)


def decoded(stream: bytes) -> list[Event]:
    decoder = MessagesDecoder(RULES)
    return decoder.feed(stream) + decoder.close()


def test_nothing_follows_the_reason_for_the_end():
    late = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "late"})
    end = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3})
    events = decoded(begins() + says("a") + end + late + event("message_stop"))
    assert isinstance(events[-1], Finished)
    assert TextDelta(text="late") not in events


def test_a_call_that_was_never_closed_keeps_its_input():
    first = opens(0, "tool_use", id="1", name="a", input={"x": 1})
    second = opens(0, "tool_use", id="2", name="b", input={})
    events = decoded(begins() + first + second + ends("tool_use"))
    calls = [one for one in events if isinstance(one, ToolCallDelta)]
    given = "".join(call.arguments for call in calls if call.index == 0)
    assert json.loads(given) == {"x": 1}
    assert "".join(call.arguments for call in calls if call.index == 1) == "{}"


def test_a_call_without_an_id_gets_one_of_its_own():
    stream = begins() + opens(0, "tool_use", name="a", input={}) + closes(0) + ends("tool_use")
    (call, _) = [one for one in decoded(stream) if isinstance(one, ToolCallDelta)]
    assert call.call_id.startswith("toolu_")
    assert call == next(one for one in decoded(stream) if isinstance(one, ToolCallDelta))
