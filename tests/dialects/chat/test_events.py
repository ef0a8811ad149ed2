"""Canonical events written as chat: streamed or whole, the same message comes of them."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st
from msgspec import Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.events import (
    Cited,
    Event,
    Failed,
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
from groxy.dialects._base import Asked, Counting, Frame, UsageRules
from groxy.dialects._openai import encode_error
from groxy.dialects.chat.events import ChatEncoder
from groxy.dialects.chat.whole import ChatReply
from tests.dialects.chat.streams import DONE, Heard, chunks_of, heard_from, relayed

STARTED = Started(reply_id="chatcmpl-1", model_served="grok-4", created=1752854522)
USAGE = Usage(input_tokens=32, cached_tokens=6, output_tokens=103, reasoning_tokens=94)
STOP = Finished(reason=FinishReason.STOP)
ENDED_TO_CALL = Finished(reason=FinishReason.TOOL_CALLS)
PIECES = (
    ToolCallDelta(index=0, call_id="c1", name="one", arguments='{"a"'),
    ToolCallDelta(index=0, arguments=":1}"),
)
CITATION = {
    "type": "url_citation",
    "url_citation": {"url": "https://a/", "title": "A", "start_index": 1, "end_index": 2},
}
FAILURE = GroxyError(ErrorKind.STREAM_BROKEN, "The upstream broke off its reply.")


def _encoder(
    *,
    wants_usage: bool = False,
    wants_cost: bool = False,
    counting: Counting = Counting.OPENAI,
    **fields: Raw,
) -> ChatEncoder:
    asked = Asked(
        model="grok-4.7", stream=None, fields=fields, wants_usage=wants_usage, wants_cost=wants_cost
    )
    frame = Frame(reply_id="made-up", created=7, count_input=lambda: 0, counting=counting)
    return ChatEncoder(asked, frame)


def _streamed(*events: Event, wants_usage: bool = False) -> bytes:
    encoder = _encoder(wants_usage=wants_usage)
    return b"".join(encoder.feed(event) for event in events) + encoder.finish(_last_usage(events))


def _fold(events: Sequence[Event]) -> bytes:
    return _encoder().whole(events, _last_usage(events))


def _last_usage(events: Sequence[Event]) -> Usage:
    reports = [event.usage for event in events if isinstance(event, UsageReported)]
    return reports[-1] if reports else Usage()


def _folded(*events: Event) -> dict[str, Any]:
    reply: dict[str, Any] = json.loads(_fold(events))
    return reply


def _deltas(stream: bytes) -> list[dict[str, Any]]:
    """What the chunks of a stream say, without the one that opens it."""
    return [one["choices"][0]["delta"] for one in chunks_of(stream)][1:]


def _written_call(index: int, call_id: str, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": call_id, "type": "function", "function": function}


def _message(*events: Event) -> dict[str, Any]:
    message: dict[str, Any] = _folded(STARTED, *events)["choices"][0]["message"]
    return message


# ---------------------------------------------------------------------------------------- streams


def test_a_stream_opens_with_the_role_and_ends_with_done():
    stream = _streamed(STARTED, TextDelta(text="a"), STOP)
    deltas = [one["choices"][0]["delta"] for one in chunks_of(stream)]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": "a"}, {}]
    assert stream.endswith(DONE)


def test_every_chunk_has_the_same_head():
    for one in chunks_of(_streamed(STARTED, TextDelta(text="a"), STOP)):
        assert (one["id"], one["model"], one["created"], one["object"]) == (
            "chatcmpl-1",
            "grok-4",
            1752854522,
            "chat.completion.chunk",
        )


def test_the_start_alone_says_nothing_yet():
    assert _encoder(wants_usage=True).feed(STARTED) == b""


def test_a_choice_that_only_ends_has_its_role_too():
    assert heard_from(_streamed(STARTED, STOP)) == {0: Heard(finish="stop")}


def test_a_call_in_pieces_is_written_once_and_whole():
    stream = _streamed(STARTED, *PIECES, ENDED_TO_CALL)
    assert _deltas(stream) == [{"tool_calls": [_written_call(0, "c1", "one", '{"a":1}')]}, {}]


def test_the_first_piece_of_a_call_opens_its_choice():
    opening = _encoder().feed(PIECES[0])
    assert heard_from(opening) == {0: Heard()}


def test_a_call_is_written_when_the_next_one_begins():
    encoder = _encoder()
    for event in PIECES:
        encoder.feed(event)
    (written,) = chunks_of(
        encoder.feed(ToolCallDelta(index=1, call_id="c2", name="two", arguments=""))
    )
    assert written["choices"][0]["delta"] == {
        "tool_calls": [_written_call(0, "c1", "one", '{"a":1}')]
    }


@pytest.mark.parametrize(
    ("event", "delta"),
    [
        (TextDelta(text="a"), {"content": "a"}),
        (ReasoningDelta(text="a"), {"reasoning_content": "a"}),
    ],
)
def test_a_call_comes_before_what_is_said_after_it(event, delta):
    call = {"tool_calls": [_written_call(0, "c1", "one", '{"a":1}')]}
    assert _deltas(_streamed(STARTED, *PIECES, event, ENDED_TO_CALL)) == [call, delta, {}]


def test_calls_whose_pieces_are_mixed_up_are_each_written_whole_in_their_order():
    stream = _streamed(
        STARTED,
        ToolCallDelta(index=0, call_id="c1", name="one", arguments='{"a"'),
        ToolCallDelta(index=1, call_id="c2", name="two", arguments="{}"),
        TextDelta(text="a"),
        ToolCallDelta(index=0, arguments=":1}"),
        ENDED_TO_CALL,
    )
    assert _deltas(stream) == [
        {"content": "a"},
        {"tool_calls": [_written_call(0, "c1", "one", '{"a":1}')]},
        {"tool_calls": [_written_call(1, "c2", "two", "{}")]},
        {},
    ]


def test_each_choice_has_its_own_calls():
    stream = _streamed(
        STARTED,
        ToolCallDelta(index=0, call_id="c1", name="one", arguments="{", choice=0),
        ToolCallDelta(index=0, call_id="c2", name="two", arguments="{}", choice=1),
        ToolCallDelta(index=0, arguments="}", choice=0),
    )
    heard = heard_from(stream)
    assert [heard[choice].calls[0]["arguments"] for choice in (0, 1)] == ["{}", "{}"]


def test_a_stream_that_breaks_off_has_no_half_call():
    encoder = _encoder()
    encoder.feed(PIECES[0])
    assert encoder.feed(Failed(error=FAILURE)) == b"data: " + encode_error(FAILURE) + b"\n\n"


@pytest.mark.parametrize("reason", [FinishReason.LENGTH, FinishReason.CONTENT_FILTER])
def test_a_stream_that_was_cut_off_has_its_whole_calls_only(reason):
    half = ToolCallDelta(index=1, call_id="c2", name="two", arguments='{"a":')
    heard = heard_from(_streamed(STARTED, *PIECES, half, Finished(reason=reason)))[0]
    assert heard.calls == {0: {"id": "c1", "name": "one", "arguments": '{"a":1}'}}
    assert heard.finish == reason.value


def test_thoughts_are_called_as_openrouter_does_where_they_were_asked_for_so():
    encoder = _encoder(reasoning=Raw(b'{"effort":"high"}'))
    written = _deltas(encoder.feed(ReasoningDelta(text="hm")))
    assert written == [{"reasoning_content": "hm", "reasoning": "hm"}]


def test_thoughts_have_one_name_where_reasoning_is_null():
    written = _deltas(_encoder(reasoning=Raw(b"null")).feed(ReasoningDelta(text="hm")))
    assert written == [{"reasoning_content": "hm"}]


def test_usage_is_streamed_without_choices_if_asked_for():
    last = chunks_of(_streamed(STARTED, STOP, UsageReported(usage=USAGE), wants_usage=True))[-1]
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 103)


def test_usage_is_not_streamed_if_not_asked_for():
    stream = _streamed(STARTED, STOP, UsageReported(usage=USAGE))
    assert b"usage" not in stream


def test_a_failure_is_the_error_event():
    expected = b"data: " + encode_error(FAILURE) + b"\n\n"
    assert _encoder().feed(Failed(error=FAILURE)) == _encoder().fail(FAILURE) == expected


@pytest.mark.parametrize("text", ["\n\ndata: [DONE]\n\n", "\r\n", '"\\', "\u2028", "🐈"])
def test_no_text_breaks_out_of_its_event(text):
    assert heard_from(_streamed(STARTED, TextDelta(text=text)))[0].text == text


def test_a_reply_without_a_head_has_the_gateways_own():
    unnamed = Started(reply_id="", model_served="", created=0)
    first = chunks_of(_streamed(unnamed, TextDelta(text="a"), STOP))[0]
    assert (first["id"], first["model"], first["created"]) == ("chatcmpl-made-up", "grok-4.7", 7)


def test_usage_reported_on_the_way_is_held_back():
    encoder = _encoder(wants_usage=True)
    assert encoder.feed(UsageReported(usage=USAGE)) == b""


def test_sealed_thoughts_have_no_place():
    assert _encoder().feed(ReasoningSealed(encrypted="sealed")) == b""
    assert b"sealed" not in _fold([STARTED, ReasoningSealed(encrypted="sealed"), STOP])


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (TextDelta(text="a"), "stop"),
        (ToolCallDelta(index=0, call_id="c", name="look", arguments="{}"), "tool_calls"),
    ],
)
def test_a_choice_that_did_not_end_is_ended(event, reason):
    assert heard_from(_streamed(STARTED, event))[0].finish == reason
    assert _folded(STARTED, event)["choices"][0]["finish_reason"] == reason


def test_the_last_chunk_of_a_choice_has_its_sources():
    cited = Cited(url="https://a/", title="A", start=1, end=2)
    last = chunks_of(_streamed(STARTED, cited, TextDelta(text="a"), STOP))[-1]
    assert last["citations"] == ["https://a/"]
    assert last["choices"][0]["delta"] == {"annotations": [CITATION]}


def test_a_reply_without_sources_says_nothing_of_them():
    stream = _streamed(STARTED, TextDelta(text="a"), STOP)
    assert b"citations" not in stream
    assert b"annotations" not in stream


def test_usage_can_be_told_as_xai_does():
    encoder = _encoder(wants_usage=True, counting=Counting.XAI)
    usage = chunks_of(encoder.feed(STARTED) + encoder.finish(USAGE))[-1]["usage"]
    assert (usage["completion_tokens"], usage["total_tokens"]) == (9, 135)


def test_the_cost_is_told_in_dollars_and_ticks_if_asked_for():
    encoder = _encoder(wants_usage=True, wants_cost=True)
    bill = Usage(input_tokens=1, cost_ticks=37_756_000)
    stream = encoder.feed(STARTED) + encoder.finish(bill)
    assert b'"cost":0.0037756,"cost_in_usd_ticks":37756000' in stream


# ------------------------------------------------------------------------------------ whole replies


def test_a_whole_reply_has_its_head_choices_and_usage():
    reply = _folded(STARTED, TextDelta(text="Hel"), TextDelta(text="lo"), STOP)
    assert reply | {"usage": None} == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1752854522,
        "model": "grok-4",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "finish_reason": "stop",
            }
        ],
        "usage": None,
    }


def test_of_several_usage_reports_the_last_counts():
    early = UsageReported(usage=Usage(input_tokens=32, output_tokens=1))
    reply = _folded(STARTED, early, STOP, UsageReported(usage=USAGE))
    assert reply["usage"]["total_tokens"] == 135


def test_thoughts_stand_beside_the_text():
    message = _message(ReasoningDelta(text="h"), ReasoningDelta(text="m"), TextDelta(text="ok"))
    assert (message["reasoning_content"], message["content"]) == ("hm", "ok")


def test_thoughts_of_a_whole_reply_are_called_as_openrouter_does_where_asked_for_so():
    encoder = _encoder(reasoning=Raw(b"{}"))
    reply = json.loads(encoder.whole([STARTED, ReasoningDelta(text="hm"), STOP], USAGE))
    message = reply["choices"][0]["message"]
    assert (message["reasoning"], message["reasoning_content"]) == ("hm", "hm")


def test_a_reply_without_thoughts_has_no_field_for_them():
    assert "reasoning_content" not in _message(TextDelta(text="ok"))


def test_calls_are_put_together_from_their_fragments():
    message = _message(
        ToolCallDelta(index=1, call_id="c2", name="two", arguments="{}"),
        ToolCallDelta(index=0, call_id="c1", name="one", arguments='{"a"'),
        ToolCallDelta(index=0, arguments=":1}"),
    )
    assert message["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "one", "arguments": '{"a":1}'}},
        {"id": "c2", "type": "function", "function": {"name": "two", "arguments": "{}"}},
    ]


def test_a_reply_of_calls_alone_has_null_content():
    message = _message(ToolCallDelta(index=0, call_id="c", name="look", arguments="{}"))
    assert message["content"] is None


def test_a_reply_of_nothing_has_empty_content():
    assert _message(STOP)["content"] == ""


def test_a_whole_reply_has_its_sources_twice():
    cited = Cited(url="https://a/", title="A", start=1, end=2)
    reply = _folded(STARTED, TextDelta(text="a"), cited, cited, STOP)
    assert reply["citations"] == ["https://a/"]
    assert reply["choices"][0]["message"]["annotations"] == [CITATION, CITATION]


def test_choices_are_written_in_their_order():
    reply = _folded(STARTED, TextDelta(text="b", choice=1), TextDelta(text="a", choice=0))
    assert [one["message"]["content"] for one in reply["choices"]] == ["a", "b"]


def test_a_reply_that_failed_is_its_error():
    with pytest.raises(GroxyError) as caught:
        _fold([STARTED, TextDelta(text="a"), Failed(error=FAILURE)])
    assert caught.value is FAILURE


# -------------------------------------------------------------------------------------- properties

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
_ARGUMENTS = st.text(st.characters(categories=["L", "Zs", "So"]), max_size=5)
_CHOICES = st.integers(0, 2)


@st.composite
def _replies(draw) -> list[Event]:
    """The events of a reply that went well, as an upstream may interleave them."""
    events: list[Event] = []
    spoken = {0}
    called: dict[tuple[int, int], bool] = {}
    """Whether the arguments of a call are whole."""
    for _ in range(draw(st.integers(0, 8))):
        choice, text = draw(_CHOICES), draw(_TEXTS)
        spoken.add(choice)
        kind = draw(st.sampled_from(["text", "thought", "call"]))
        if kind == "text":
            events.append(TextDelta(text=text, choice=choice))
        elif kind == "thought":
            events.append(ReasoningDelta(text=text, choice=choice))
        else:
            index = draw(st.integers(0, 1))
            is_whole = called.get((choice, index))
            if is_whole is None:
                called[choice, index] = False
                events.append(
                    ToolCallDelta(
                        index=index,
                        arguments='{"a":"',
                        call_id=f"call-{choice}-{index}",
                        name="look",
                        choice=choice,
                    )
                )
            elif not is_whole:
                called[choice, index] = draw(st.booleans())
                more = '"}' if called[choice, index] else draw(_ARGUMENTS)
                events.append(ToolCallDelta(index=index, arguments=more, choice=choice))
    events += [
        ToolCallDelta(index=index, arguments='"}', choice=choice)
        for (choice, index), is_whole in called.items()
        if not is_whole
    ]
    finished = [
        Finished(reason=draw(st.sampled_from(FinishReason)), choice=choice)
        for choice in draw(st.permutations(sorted(spoken)))
    ]
    return [STARTED, *events, *finished, UsageReported(usage=USAGE)]


def _heard_whole(body: bytes) -> dict[int, Any]:
    """What a client makes of each choice of a whole reply."""
    heard = {}
    for one in json.loads(body)["choices"]:
        message = one["message"]
        calls = [{"id": call["id"], **call["function"]} for call in message.get("tool_calls") or ()]
        heard[one["index"]] = (
            message["content"] or "",
            message.get("reasoning_content") or "",
            calls,
            one["finish_reason"],
        )
    return heard


def _heard_streamed(stream: bytes) -> dict[int, Any]:
    """The same of a stream."""
    return {
        index: (
            one.text,
            one.thoughts,
            [one.calls[at] for at in sorted(one.calls)],
            one.finish,
        )
        for index, one in heard_from(stream).items()
    }


@given(_replies())
def test_streamed_and_whole_the_same_message_comes_of_the_same_events(events):
    assert _heard_streamed(_streamed(*events)) == _heard_whole(_fold(events))


@given(_replies())
def test_a_call_never_comes_in_pieces(events):
    choices = [one["choices"][0] for one in chunks_of(_streamed(*events))]
    written = [
        (one["index"], call["index"], json.loads(call["function"]["arguments"]).keys())
        for one in choices
        for call in one["delta"].get("tool_calls") or ()
    ]
    called = {(one.choice, one.index) for one in events if isinstance(one, ToolCallDelta)}
    assert sorted(written) == [(*at, {"a"}) for at in sorted(called)]


@given(_replies(), st.booleans())
def test_what_is_streamed_needs_no_mending(events, wants_usage):
    stream = _streamed(*events, wants_usage=wants_usage)
    outcome = relayed(stream, wants_usage=wants_usage)
    assert chunks_of(outcome.sent) == chunks_of(stream)


@given(_replies())
def test_what_is_folded_needs_no_mending(events):
    body = _fold(events)
    assert ChatReply(body, UsageRules()).encode(USAGE) == body


@given(_replies())
def test_streamed_and_whole_are_counted_alike(events):
    streamed = relayed(_streamed(*events, wants_usage=True)).relay
    whole = ChatReply(_fold(events), UsageRules())
    assert sorted("".join(streamed.tally.output)) == sorted("".join(whole.tally.output))
    assert streamed.reported_usage() == whole.reported_usage() == USAGE
