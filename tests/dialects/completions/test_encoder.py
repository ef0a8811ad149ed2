"""Canonical events written as completions, streamed and whole."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

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
from groxy.dialects._openai import encode_stream_error
from groxy.dialects.completions.encoder import CompletionsEncoder
from groxy.dialects.completions.relay import CompletionsRelay

DONE = b"data: [DONE]\n\n"
STARTED = Started(reply_id="resp_1", model_served="grok-4-0709", created=5)
STOP = Finished(reason=FinishReason.STOP)
USAGE = Usage(input_tokens=3, output_tokens=9, reasoning_tokens=4)
FAILURE = GroxyError(ErrorKind.STREAM_BROKEN, "It broke off.")


def _encoder(
    *, echo: str = "", wants_usage: bool = False, counting: Counting = Counting.OPENAI
) -> CompletionsEncoder:
    asked = Asked(model="grok-4", stream=None, fields={}, wants_usage=wants_usage)
    frame = Frame(reply_id="abc", created=7, count_input=lambda: 0, counting=counting)
    return CompletionsEncoder(asked, frame, echo=echo)


def _streamed(*events: Event, **how: Any) -> bytes:
    encoder = _encoder(**how)
    return b"".join(map(encoder.feed, events)) + encoder.finish(USAGE)


def _chunks(stream: bytes) -> list[dict[str, Any]]:
    events = stream.split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    return [json.loads(one.removeprefix(b"data: ")) for one in events[:-2]]


def _whole(*events: Event, **how: Any) -> dict[str, Any]:
    reply: dict[str, Any] = json.loads(_encoder(**how).whole(events, USAGE))
    return reply


def test_a_stream_is_text_and_how_it_ended():
    chunks = _chunks(_streamed(STARTED, TextDelta(text="a"), STOP))
    head = {"id": "cmpl-abc", "object": "text_completion", "created": 5, "model": "grok-4-0709"}
    said = {"index": 0, "text": "a", "logprobs": None, "finish_reason": None}
    assert chunks == [
        head | {"choices": [said]},
        head | {"choices": [said | {"text": "", "finish_reason": "stop"}]},
    ]


def test_a_whole_reply_is_text_how_it_ended_and_usage():
    reply = _whole(STARTED, TextDelta(text="a"), TextDelta(text="b"), STOP)
    assert reply["usage"]["total_tokens"] == 12
    assert reply | {"usage": None} == {
        "id": "cmpl-abc",
        "object": "text_completion",
        "created": 5,
        "model": "grok-4-0709",
        "choices": [{"index": 0, "text": "ab", "logprobs": None, "finish_reason": "stop"}],
        "usage": None,
    }


def test_a_reply_without_a_head_has_the_gateways_own():
    reply = _whole(Started(reply_id="", model_served="", created=0), STOP)
    assert (reply["model"], reply["created"]) == ("grok-4", 7)


@pytest.mark.parametrize(
    ("reason", "written"),
    [
        (FinishReason.STOP, "stop"),
        (FinishReason.LENGTH, "length"),
        (FinishReason.CONTENT_FILTER, "content_filter"),
        (FinishReason.TOOL_CALLS, "stop"),
    ],
)
def test_a_finish_reason_is_one_that_completions_have(reason, written):
    finished = Finished(reason=reason)
    assert _chunks(_streamed(STARTED, finished))[-1]["choices"][0]["finish_reason"] == written
    assert _whole(STARTED, finished)["choices"][0]["finish_reason"] == written


@pytest.mark.parametrize(
    "event",
    [
        ReasoningDelta(text="hm"),
        ReasoningSealed(encrypted="s"),
        Cited(url="https://a/"),
        ToolCallDelta(index=0, arguments="{}", call_id="c", name="look"),
        UsageReported(usage=USAGE),
    ],
)
def test_what_completions_have_no_place_for_is_left_out(event):
    assert _encoder().feed(event) == b""
    assert _whole(STARTED, event, STOP) == _whole(STARTED, STOP)


def test_the_prompt_comes_first_in_every_choice_if_it_is_to_come_back():
    events = [TextDelta(text=" upon"), TextDelta(text=" a time"), TextDelta(text="!", choice=1)]
    texts = [one["choices"][0]["text"] for one in _chunks(_streamed(*events, echo="Once"))]
    assert texts == ["Once upon", " a time", "Once!", "", ""]
    whole = _whole(*events, echo="Once")
    assert [one["text"] for one in whole["choices"]] == ["Once upon a time", "Once!"]


def test_the_prompt_comes_back_though_nothing_followed():
    assert _chunks(_streamed(STARTED, STOP, echo="Once"))[0]["choices"][0]["text"] == "Once"
    assert _whole(STARTED, STOP, echo="Once")["choices"][0]["text"] == "Once"


def test_a_choice_that_did_not_end_is_ended():
    chunks = _chunks(_streamed(STARTED, TextDelta(text="a")))
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_usage_is_streamed_only_if_asked_for():
    last = _chunks(_streamed(STARTED, STOP, wants_usage=True))[-1]
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 9)
    assert b"usage" not in _streamed(STARTED, STOP)


def test_usage_can_be_told_as_xai_does():
    assert _whole(STARTED, STOP, counting=Counting.XAI)["usage"]["completion_tokens"] == 5


def test_a_failure_is_the_error_event():
    encoder = _encoder()
    assert encoder.feed(Failed(error=FAILURE)) == encode_stream_error(FAILURE)
    assert encoder.fail(FAILURE) == encode_stream_error(FAILURE)


def test_a_reply_that_failed_is_its_error():
    with pytest.raises(GroxyError) as caught:
        _encoder().whole([STARTED, Failed(error=FAILURE)], USAGE)
    assert caught.value is FAILURE


_EVENTS = st.lists(
    st.builds(
        TextDelta,
        text=st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
        choice=st.integers(0, 2),
    ),
    max_size=6,
)


@given(_EVENTS, st.sampled_from(["", "Once"]))
def test_streamed_and_whole_the_same_text_comes_of_the_same_events(texts, echo):
    events: list[Event] = [
        STARTED,
        *texts,
        *(
            Finished(reason=FinishReason.STOP, choice=at.choice)
            for at in {one.choice: one for one in texts}.values()
        ),
    ]
    heard: dict[int, str] = {}
    for chunk in _chunks(_streamed(*events, echo=echo)):
        (one,) = chunk["choices"]
        heard[one["index"]] = heard.get(one["index"], "") + one["text"]
    whole = _whole(*events, echo=echo)
    assert heard == {one["index"]: one["text"] for one in whole["choices"]}


@given(_EVENTS)
def test_what_is_streamed_passes_the_relay_as_it_is(texts):
    stream = _streamed(STARTED, *texts, STOP)
    relay = CompletionsRelay(wants_usage=False, rules=UsageRules())
    assert relay.feed(stream) == stream.removesuffix(DONE)
