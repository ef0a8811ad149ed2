"""Responses streams and whole objects as canonical events, whatever shape they come in."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import GroxyError
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
from groxy.dialects.responses import DIALECT
from tests.dialects.responses.streams import (
    DONE,
    XAI,
    begun,
    call,
    calls,
    ended,
    event,
    message,
    reply,
    stream,
    texts,
    thoughts,
)

STARTED = Started(
    reply_id="a3d1008e-4544-40d4-d075-11527e794e4a",
    model_served="grok-4.7-0901",
    created=1752854522,
)
REPORTED = UsageReported(
    usage=Usage(
        input_tokens=32,
        cached_tokens=6,
        output_tokens=119,
        reasoning_tokens=110,
        cost_ticks=37756000,
    )
)
STOPPED = Finished(reason=FinishReason.STOP)
CALLED = Finished(reason=FinishReason.TOOL_CALLS)


def decoded(*pieces: bytes) -> tuple[Any, list[Event]]:
    decoder = DIALECT.decoder(XAI)
    told = [one for piece in pieces for one in decoder.feed(piece)]
    return decoder, told + decoder.close()


def told_by(*events: Any) -> list[Event]:
    decoder, told = decoded(stream(*events))
    assert decoder.failure is None
    return told


def whole(body: Any) -> tuple[Any, list[Event]]:
    decoder = DIALECT.decoder(XAI)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decoder, decoder.feed_whole(raw)


def folded(told: list[Event]) -> list[Event]:
    """Events with neighbouring deltas joined."""
    found: list[Event] = []
    for one in told:
        last = found[-1] if found else None
        if isinstance(one, TextDelta) and isinstance(last, TextDelta):
            found[-1] = TextDelta(text=last.text + one.text)
        elif (
            isinstance(one, ToolCallDelta)
            and isinstance(last, ToolCallDelta)
            and one.index == last.index
        ):
            joined = last.arguments + one.arguments
            found[-1] = ToolCallDelta(
                index=one.index, arguments=joined, call_id=last.call_id, name=last.name
            )
        else:
            found.append(one)
    return found


def test_an_answer_is_told_piece_by_piece() -> None:
    told = told_by(*begun(), *texts("Hi ", "there."), *ended(message()))
    assert told == [STARTED, TextDelta(text="Hi "), TextDelta(text="there."), REPORTED, STOPPED]


def test_a_call_is_told_by_name_then_in_fragments() -> None:
    told = told_by(*begun(), *calls('{"city"', ':"Oslo"}'), *ended(call()))
    assert told == [
        STARTED,
        ToolCallDelta(index=0, arguments="", call_id="call_1", name="get_weather"),
        ToolCallDelta(index=0, arguments='{"city"'),
        ToolCallDelta(index=0, arguments=':"Oslo"}'),
        REPORTED,
        CALLED,
    ]


def test_calls_are_numbered_among_themselves() -> None:
    other = {"call_id": "call_2", "id": "fc_2"}
    told = told_by(
        *begun(),
        *texts("Hi"),
        *calls("{}", output_index=1),
        *calls("{}", output_index=2, **other),
        *ended(message("Hi"), call("{}"), call("{}", **other)),
    )
    begun_calls = [one for one in told if isinstance(one, ToolCallDelta) and one.name]
    assert [(one.index, one.call_id) for one in begun_calls] == [(0, "call_1"), (1, "call_2")]


def test_arguments_that_only_come_at_the_end_are_told_once() -> None:
    whole_call = call()
    told = told_by(
        *begun(),
        ("response.output_item.done", {"output_index": 0, "item": whole_call}),
        *ended(whole_call),
    )
    assert [one.arguments for one in told if isinstance(one, ToolCallDelta)] == [
        "",
        '{"city":"Oslo"}',
    ]


@pytest.mark.parametrize(
    "between",
    [
        [],
        [
            (
                "response.output_text.done",
                {"output_index": 0, "item_id": "msg_1", "text": "Hi there."},
            )
        ],
        [("response.output_item.done", {"output_index": 0, "item": message()})],
        texts("Hi there.")[:1],
        texts("Hi ", "there.")[:3],
        [one for one in texts("Hi there.") if "delta" not in one[0]],
        [("response.output_text.delta", {"item_id": "msg_1", "delta": "Hi there."})],
    ],
)
def test_text_is_told_once_wherever_it_comes(between) -> None:
    told = told_by(*begun(), *between, *ended(message()))
    assert folded(told) == [STARTED, TextDelta(text="Hi there."), REPORTED, STOPPED]


def test_items_are_known_by_their_ids_where_numbers_do_not_match() -> None:
    told = told_by(*begun(), *texts("Hi there.", output_index=5), *ended(message()))
    assert folded(told) == [STARTED, TextDelta(text="Hi there."), REPORTED, STOPPED]


def test_messages_that_share_an_id_stay_apart() -> None:
    more = texts("More", output_index=1)
    for second in (more, more[:1], [more[0], more[-1]], []):
        told = told_by(*begun(), *texts("Hi"), *second, *ended(message("Hi"), message("More")))
        assert folded(told)[1] == TextDelta(text="HiMore")


def test_an_item_told_by_id_and_then_by_number_is_one() -> None:
    by_id = ("response.output_text.delta", {"item_id": "msg_1", "delta": "Hi"})
    done = ("response.output_item.done", {"output_index": 0, "item": message("Hi")})
    assert folded(told_by(*begun(), by_id, done, *ended()))[1:-2] == [TextDelta(text="Hi")]


def test_text_that_contradicts_what_was_told_is_not_told_again() -> None:
    told = told_by(*begun(), *texts("Hi")[:3], *ended(message("Other")))
    assert [one.text for one in told if isinstance(one, TextDelta)] == ["Hi"]


def test_thoughts_are_told_and_sealed() -> None:
    at = {"output_index": 0, "item_id": "rs_1"}
    kind = "response.reasoning_summary_text.delta"
    told = told_by(
        *begun(),
        (kind, at | {"summary_index": 0, "delta": "a"}),
        (kind, at | {"summary_index": 0, "delta": "b"}),
        (kind, at | {"summary_index": 1, "delta": "c"}),
        ("response.output_item.done", {"output_index": 0, "item": thoughts("ab")}),
        *ended(thoughts("ab")),
    )
    assert told[1:5] == [
        ReasoningDelta(text="a"),
        ReasoningDelta(text="b"),
        ReasoningDelta(text="\n\nc"),
        ReasoningSealed(encrypted="SEALED", item_id="rs_1"),
    ]


def test_thoughts_in_full_and_summed_up_are_told_once() -> None:
    at = {"output_index": 0, "item_id": "rs_1"}
    told = told_by(
        *begun(),
        ("response.reasoning_text.delta", at | {"content_index": 0, "delta": "all of it"}),
        ("response.reasoning_summary_text.delta", at | {"summary_index": 0, "delta": "short"}),
        *ended(),
    )
    assert [one.text for one in told if isinstance(one, ReasoningDelta)] == ["all of it"]


def test_a_refusal_is_text() -> None:
    at = {"output_index": 0, "item_id": "msg_1", "content_index": 0}
    refusal = message() | {"content": [{"type": "refusal", "refusal": "No."}]}
    told = told_by(*begun(), ("response.refusal.delta", at | {"delta": "No."}), *ended(refusal))
    assert folded(told)[1] == TextDelta(text="No.")


def test_sources_count_from_the_beginning_of_all_text() -> None:
    source = {"type": "url_citation", "url": "https://x.ai", "title": "X", "start_index": 1}
    added = {"output_index": 1, "item_id": "msg_2", "content_index": 0, "annotation_index": 0}
    told = told_by(
        *begun(),
        *texts("First"),
        *texts("Second", output_index=1, item_id="msg_2")[:3],
        ("response.output_text.annotation.added", added | {"annotation": source}),
        *ended(message("First"), message("Second", "msg_2", annotations=[source])),
    )
    assert [one for one in told if isinstance(one, Cited)] == [
        Cited(url="https://x.ai", title="X", start=6, end=5)
    ]


def test_sources_that_only_come_at_the_end_are_told_once() -> None:
    source = {"type": "url_citation", "url": "https://x.ai", "start_index": 0, "end_index": 2}
    told = told_by(*begun(), *texts("Hi")[:3], *ended(message("Hi", annotations=[source])))
    assert [one for one in told if isinstance(one, Cited)] == [Cited(url="https://x.ai", end=2)]


@pytest.mark.parametrize(
    "source", [{"type": "file_citation", "file_id": "f"}, {"type": "url_citation"}, 7, None]
)
def test_sources_without_an_address_are_left_out(source) -> None:
    told = told_by(*begun(), *ended(message("Hi", annotations=[source])))
    assert not [one for one in told if isinstance(one, Cited)]


@pytest.mark.parametrize(
    ("reason", "found"),
    [
        ("max_output_tokens", FinishReason.LENGTH),
        ("max_time_limit", FinishReason.LENGTH),
        ("content_filter", FinishReason.CONTENT_FILTER),
        (None, FinishReason.LENGTH),
    ],
)
@pytest.mark.parametrize("kind", ["response.incomplete", "response.completed"])
def test_a_cut_answer_says_why(kind, reason, found) -> None:
    end = ended(status="incomplete", incomplete_details={"reason": reason}, kind=kind)
    assert told_by(*begun(), *end)[-1] == Finished(reason=found)


def test_done_is_another_word_for_completed() -> None:
    decoder, told = decoded(stream(*begun(), *ended(kind="response.done")))
    assert decoder.is_complete
    assert told[-1] == STOPPED


def test_records_of_hosted_tools_are_left_out() -> None:
    search = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
    inner = {"id": "ctc", "type": "custom_tool_call", "call_id": "x", "name": "n", "input": "{}"}
    told = told_by(
        *begun(),
        ("response.output_item.added", {"output_index": 0, "item": search}),
        ("response.web_search_call.searching", {"output_index": 0, "item_id": "ws_1"}),
        ("response.output_item.done", {"output_index": 0, "item": search}),
        ("response.output_item.done", {"output_index": 1, "item": inner}),
        *ended(search, inner),
    )
    assert told == [STARTED, REPORTED, STOPPED]


def test_a_stream_that_does_not_say_how_it_began_begins_all_the_same() -> None:
    told = told_by(*texts("Hi"), *ended(message("Hi")))
    assert told[0] == Started(reply_id="", model_served="", created=0)


def test_nothing_follows_the_end() -> None:
    decoder, told = decoded(stream(*begun(), *ended()) + event("response.output_text.delta"))
    assert told[-1] == STOPPED
    assert decoder.is_done
    assert decoder.feed(stream(*texts("more"))) == []
    assert decoder.close() == []


def test_a_stream_without_an_end_is_not_complete() -> None:
    decoder, told = decoded(stream(*begun(), *texts("Hi")))
    assert not decoder.is_complete
    assert decoder.is_done
    assert not [one for one in told if isinstance(one, Finished)]


def test_half_an_event_is_a_cut_and_not_nonsense() -> None:
    decoder, _ = decoded(stream(*begun()).removesuffix(DONE) + b'data: {"type":"resp')
    assert decoder.failure is None
    assert not decoder.is_complete


@pytest.mark.parametrize(
    "failing",
    [
        event(
            "response.failed", response=reply(status="failed", error={"code": "c", "message": "m"})
        ),
        event("error", code="c", message="m", param=None),
        event("error", error={"code": "c", "message": "m"}),
    ],
)
def test_an_error_ends_the_reply_and_what_came_before_is_told(failing) -> None:
    sent = stream(*begun(), *texts("Hi")[:3]).removesuffix(DONE)
    decoder, told = decoded(sent + failing)
    assert told == [STARTED, TextDelta(text="Hi")]
    assert isinstance(decoder.failure, EmbeddedError)
    error = json.loads(decoder.failure.payload)["error"]
    assert (error["code"], error["message"]) == ("c", "m")
    assert decoder.feed(event("response.created")) == []


def test_garbage_is_a_bad_reply() -> None:
    decoder, _ = decoded(b"data: {nonsense}\n\n")
    assert isinstance(decoder.failure, GroxyError)
    assert not decoder.is_complete


# ----------------------------------------------------------------------------------- whole replies


def test_a_whole_reply_tells_the_same_as_its_stream() -> None:
    output = [thoughts(), message(), call()]
    decoder, told = whole(reply(output))
    assert decoder.is_complete
    assert folded(told) == [
        STARTED,
        ReasoningDelta(text="Hm."),
        ReasoningSealed(encrypted="SEALED", item_id="rs_1"),
        TextDelta(text="Hi there."),
        ToolCallDelta(index=0, arguments='{"city":"Oslo"}', call_id="call_1", name="get_weather"),
        REPORTED,
        CALLED,
    ]


def test_a_fetched_reply_of_xai_is_read() -> None:
    usage = {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 41}
    _, told = whole(reply([message(), thoughts(sealed=None)], usage=usage))
    assert UsageReported(usage=Usage(input_tokens=32, output_tokens=9)) in told
    assert [type(one) for one in told[:3]] == [Started, TextDelta, ReasoningDelta]


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "m"}},
        {"code": "unavailable", "error": "The service is unavailable"},
        reply(status="failed", error={"code": "c", "message": "m"}),
        reply(status="failed"),
        {"error": "x", "output": 7},
    ],
)
def test_a_whole_error_is_an_error(body) -> None:
    decoder, told = whole(body)
    assert isinstance(decoder.failure, EmbeddedError)
    assert told == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"output":7}', b"\xff", b"[" * 9999])
def test_a_body_that_is_no_reply_is_a_bad_one(body) -> None:
    decoder, told = whole(body)
    assert isinstance(decoder.failure, GroxyError)
    assert told == []


# ------------------------------------------------------------------------------- hostile upstreams

_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "id",
                    "item",
                    "response",
                    "output",
                    "text",
                    "delta",
                    "error",
                    "status",
                    "content",
                    "summary",
                    "usage",
                    "annotations",
                    "arguments",
                    "call_id",
                    "name",
                    "output_index",
                    "item_id",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
_kinds = st.sampled_from(
    [kind for kind, _ in [*begun(), *texts("a"), *calls("a"), *ended()]]
    + ["response.incomplete", "response.output_text.annotation.added", "x", "", "error"]
)
hostile = st.lists(
    st.builds(
        lambda kind, fields: fields | {"type": kind},
        _kinds,
        st.dictionaries(
            st.sampled_from(
                [
                    "response",
                    "item",
                    "delta",
                    "text",
                    "output_index",
                    "item_id",
                    "annotation",
                    "error",
                    "arguments",
                    "sequence_number",
                    "summary_index",
                ]
            ),
            _values,
            max_size=4,
        ),
    ),
    max_size=5,
)


@given(events=hostile)
def test_events_of_any_shape_are_read_without_raising(events) -> None:
    sent = b"".join([b"data: " + json.dumps(one).encode() + b"\n\n" for one in events])
    decoder, told = decoded(sent)
    assert not told or isinstance(told[0], Started)
    assert sum(isinstance(one, Finished) for one in told) == decoder.is_complete


@given(raw=st.binary(max_size=80))
def test_bytes_of_any_kind_are_read_without_raising(raw) -> None:
    decoded(raw)
    decoded(b"data: " + raw + b"\n\n")
    whole(raw)


@given(value=_values)
def test_whole_bodies_of_any_shape_are_read_without_raising(value) -> None:
    whole(value)
    whole(reply([value]))
    whole(reply([message() | {"content": [value]}, call() | {"arguments": value}]))


@given(cuts=st.lists(st.integers(0, 4000), max_size=6))
def test_any_split_gives_the_same_events(cuts) -> None:
    body = stream(
        *begun(), *texts("Grüße ", "– ✓"), *calls('{"a"', ":1}", output_index=1), *ended()
    )
    places = sorted({0, len(body), *(cut % len(body) for cut in cuts)})
    pieces = [body[a:b] for a, b in itertools.pairwise(places)]
    assert decoded(*pieces)[1] == decoded(body)[1]
