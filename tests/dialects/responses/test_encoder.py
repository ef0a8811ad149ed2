"""Canonical events as a Responses stream and as a whole object, read by the typed client."""

import json
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
    Started,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from groxy.core.usage import Usage
from groxy.dialects._base import Asked, Counting
from groxy.dialects.responses import DIALECT
from tests.dialects.responses.streams import (
    CUSTOM,
    FUNCTION,
    USAGE,
    asked,
    checked_reply,
    final,
    frame,
    heard,
    kinds,
)

STARTED = Started(reply_id="x", model_served="grok-4.7-0901", created=1)
STOPPED = Finished(reason=FinishReason.STOP)
BROKEN = GroxyError(ErrorKind.STREAM_BROKEN, "The upstream broke off its reply.")


def text(*pieces: str) -> list[Event]:
    return [TextDelta(text=piece) for piece in pieces]


def tool_call(index: int, *pieces: str, name: str = "get_weather") -> list[Event]:
    first = ToolCallDelta(index=index, arguments="", call_id=f"call_{index}", name=name)
    return [first, *(ToolCallDelta(index=index, arguments=piece) for piece in pieces)]


def streamed(*events: Event, request: Asked | None = None, usage: Usage = USAGE) -> bytes:
    encoder = DIALECT.encoder(request or asked(), frame())
    sent = b"".join([encoder.feed(event) for event in events])
    return sent + encoder.finish(usage)


def test_an_answer_has_every_event_in_order() -> None:
    events = heard(streamed(STARTED, *text("Hi ", "there."), STOPPED))
    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [one["sequence_number"] for one in events] == list(range(10))
    assert events[6]["text"] == "Hi there."
    assert {one["item_id"] for one in events[3:8]} == {"msg_abc0"}


def test_thoughts_come_as_a_summary_of_their_own_item() -> None:
    sent = streamed(STARTED, ReasoningDelta(text="H"), ReasoningDelta(text="m."), *text("Hi"))
    assert kinds(heard(sent))[2:10] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
    ]
    thoughts, message = final(sent)["output"]
    assert (thoughts["id"], message["id"]) == ("rs_abc0", "msg_abc1")
    assert thoughts["summary"] == [{"type": "summary_text", "text": "Hm."}]


def test_a_call_comes_in_fragments_and_whole() -> None:
    sent = streamed(STARTED, *tool_call(0, '{"city":', '"Oslo"}'))
    events = heard(sent)
    assert kinds(events)[2:7] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]
    assert events[2]["item"]["arguments"] == ""
    (call,) = final(sent)["output"]
    assert (call["id"], call["call_id"]) == ("fc_abc0", "call_0")
    assert json.loads(call["arguments"]) == {"city": "Oslo"}


def test_a_call_without_arguments_has_an_empty_object() -> None:
    assert final(streamed(STARTED, *tool_call(0)))["output"][0]["arguments"] == "{}"


def test_calls_that_grow_at_once_stay_apart() -> None:
    sent = streamed(
        STARTED,
        *tool_call(0, '{"city":'),
        *tool_call(1, '{"city":'),
        ToolCallDelta(index=0, arguments='"Oslo"}'),
        ToolCallDelta(index=1, arguments='"Lima"}'),
    )
    heard(sent)
    last = json.loads(sent.split(b"data: ")[-2].partition(b"\n")[0])["response"]
    assert [json.loads(one["arguments"])["city"] for one in last["output"]] == ["Oslo", "Lima"]


def test_a_whole_call_is_done_before_the_next_begins() -> None:
    sent = streamed(STARTED, *tool_call(0, "{}"), *tool_call(1, "{}"))
    assert kinds(heard(sent))[2:8] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
    ]


def test_a_call_without_an_id_gets_one() -> None:
    sent = streamed(STARTED, ToolCallDelta(index=0, arguments="{}", name="get_weather"))
    assert final(sent)["output"][0]["call_id"].startswith("call_")


def test_a_custom_tool_gets_its_input_back() -> None:
    events = tool_call(0, '{"inp', 'ut":"a\\nb"}', name="apply_patch")
    sent = streamed(STARTED, *events, request=asked(tools=[CUSTOM]))
    told = heard(sent)
    assert kinds(told)[2:6] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]
    (call,) = final(sent)["output"]
    assert (call["type"], call["input"], call["id"]) == ("custom_tool_call", "a\nb", "ctc_abc0")


def test_a_tool_in_a_namespace_gets_it_back() -> None:
    space = {"type": "namespace", "name": "sky", "description": "", "tools": [FUNCTION]}
    sent = streamed(STARTED, *tool_call(0, "{}"), request=asked(tools=[space]))
    assert final(sent)["output"][0]["namespace"] == "sky"


def test_text_after_a_call_is_a_message_of_its_own() -> None:
    sent = streamed(STARTED, *text("a"), *tool_call(0, "{}"), *text("b"))
    kinds_of = [item["type"] for item in final(sent)["output"]]
    assert kinds_of == ["message", "function_call", "message"]


def test_sources_are_annotations_of_their_message() -> None:
    cited = Cited(url="https://x.ai", title="xAI", start=2, end=5)
    sent = streamed(STARTED, *text("A source"), cited, *text(" more"))
    (message,) = final(sent)["output"]
    (annotation,) = message["content"][0]["annotations"]
    assert annotation == {
        "type": "url_citation",
        "url": "https://x.ai",
        "title": "xAI",
        "start_index": 2,
        "end_index": 5,
    }
    assert "output_text.annotation.added" in kinds(heard(sent))


def test_sources_count_from_the_beginning_of_their_message() -> None:
    cited = Cited(url="https://x.ai", start=7, end=9)
    sent = streamed(STARTED, *text("First"), *tool_call(0, "{}"), *text("Second"), cited)
    (annotation,) = final(sent)["output"][2]["content"][0]["annotations"]
    assert (annotation["start_index"], annotation["end_index"]) == (2, 4)


def test_a_source_of_no_text_is_left_out() -> None:
    assert final(streamed(STARTED, Cited(url="https://x.ai")))["output"] == []


@pytest.mark.parametrize(
    ("fields", "is_shown"),
    [({}, False), ({"store": False}, True), ({"include": ["reasoning.encrypted_content"]}, True)],
)
def test_sealed_thoughts_are_shown_to_those_who_asked(fields, is_shown) -> None:
    encoder = DIALECT.encoder(asked(**fields), frame())
    sent = encoder.feed(STARTED) + encoder.feed(ReasoningSealed(encrypted="SEALED"))
    sent += encoder.finish(USAGE)
    assert ("encrypted_content" in final(sent)["output"][0]) is is_shown
    record = json.loads(encoder.record)
    assert record["output"][0]["encrypted_content"] == "SEALED"
    assert record["response"] == final(sent)


def test_thoughts_sealed_one_after_the_other_are_items_each() -> None:
    sent = streamed(
        STARTED,
        ReasoningDelta(text="a"),
        ReasoningSealed(encrypted="A"),
        ReasoningDelta(text="b"),
        ReasoningSealed(encrypted="B"),
        request=asked(store=False),
    )
    assert [item["encrypted_content"] for item in final(sent)["output"]] == ["A", "B"]


@pytest.mark.parametrize(
    ("reason", "why"),
    [(FinishReason.LENGTH, "max_output_tokens"), (FinishReason.CONTENT_FILTER, "content_filter")],
)
def test_a_cut_answer_is_incomplete(reason, why) -> None:
    last = final(streamed(STARTED, *text("Once"), Finished(reason=reason)))
    assert (last["status"], last["incomplete_details"]) == ("incomplete", {"reason": why})
    assert last["output"][0]["status"] == "incomplete"
    assert last["completed_at"] is None


@pytest.mark.parametrize("reason", [FinishReason.STOP, FinishReason.TOOL_CALLS])
def test_an_answer_that_ended_by_itself_is_completed(reason) -> None:
    last = final(streamed(STARTED, *text("Hi"), Finished(reason=reason)))
    assert (last["status"], last["incomplete_details"]) == ("completed", None)


def test_the_model_that_served_is_told() -> None:
    assert final(streamed(STARTED))["model"] == "grok-4.7-0901"
    assert final(streamed())["model"] == "grok-4.7"


def test_usage_is_the_one_that_comes_with_the_end() -> None:
    reported = UsageReported(usage=Usage(input_tokens=999))
    last = final(streamed(STARTED, reported, usage=USAGE))
    assert last["usage"]["input_tokens"] == 32


def test_usage_is_counted_xais_way_where_that_is_wanted() -> None:
    encoder = DIALECT.encoder(asked(), frame(Counting.XAI))
    assert json.loads(encoder.whole([STARTED], USAGE))["usage"]["output_tokens"] == 9


def test_only_the_first_choice_is_told() -> None:
    others: list[Event] = [
        TextDelta(text="no", choice=1),
        Finished(reason=FinishReason.LENGTH, choice=1),
    ]
    last = final(streamed(STARTED, *text("yes"), *others, STOPPED))
    assert last["status"] == "completed"
    assert len(last["output"]) == 1


def test_a_whole_reply_is_the_object_that_ends_its_stream() -> None:
    events = [
        STARTED,
        ReasoningDelta(text="Hm."),
        ReasoningSealed(encrypted="S"),
        *text("Hi"),
        *tool_call(0, "{}"),
        STOPPED,
    ]
    encoder = DIALECT.encoder(asked(tools=[FUNCTION]), frame())
    whole = checked_reply(encoder.whole(events, USAGE))
    assert whole == final(streamed(*events, request=asked(tools=[FUNCTION])))
    assert json.loads(encoder.record)["response"] == whole


def test_a_stream_that_breaks_ends_with_a_failure_that_has_what_came() -> None:
    encoder = DIALECT.encoder(asked(), frame())
    sent = b"".join([encoder.feed(event) for event in (STARTED, *text("Half an"))])
    sent += encoder.fail(BROKEN)
    events = heard(sent)
    assert events[-1]["type"] == "response.failed"
    last = events[-1]["response"]
    assert last["error"] == {"code": "server_error", "message": BROKEN.message}
    assert last["output"][0]["content"][0]["text"] == "Half an"
    assert last["output"][0]["status"] == "incomplete"
    assert events[-1]["sequence_number"] == events[-2]["sequence_number"] + 1
    assert encoder.record == b""


def test_a_stream_that_breaks_before_it_began_begins_first() -> None:
    encoder = DIALECT.encoder(asked(), frame())
    assert kinds(heard(encoder.fail(BROKEN))) == ["created", "in_progress", "failed"]


_events = st.lists(
    st.one_of(
        st.builds(TextDelta, text=st.text(max_size=4)),
        st.builds(ReasoningDelta, text=st.text(max_size=4)),
        st.builds(ReasoningSealed, encrypted=st.text(min_size=1, max_size=4)),
        st.builds(Cited, url=st.just("https://x.ai"), start=st.integers(0, 9)),
        st.builds(
            ToolCallDelta,
            index=st.integers(0, 2),
            arguments=st.sampled_from(["", "{", "}", '{"input":"x"}']),
            call_id=st.just("c"),
            name=st.sampled_from(["get_weather", "apply_patch", "unknown"]),
        ),
    ),
    max_size=12,
)


@given(events=_events, ends_early=st.booleans())
def test_events_in_any_order_make_a_stream_that_clients_accept(events, ends_early) -> None:
    request = asked(tools=[FUNCTION, CUSTOM], store=False)
    encoder = DIALECT.encoder(request, frame())
    sent = b"".join([encoder.feed(event) for event in (STARTED, *events)])
    sent += encoder.fail(BROKEN) if ends_early else encoder.finish(USAGE)
    opened: dict[str, Any] = {}
    told = heard(sent)
    for one in told:
        if one["type"] == "response.output_item.added":
            opened[one["item"]["id"]] = one["output_index"]
        elif "item_id" in one:
            assert opened[one["item_id"]] == one["output_index"]
    last = told[-1]["response"]
    assert [item["id"] for item in last["output"]] == list(opened)
    whole = DIALECT.encoder(request, frame()).whole([STARTED, *events], USAGE)
    if not ends_early:
        assert json.loads(whole) == last
