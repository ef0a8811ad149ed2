"""Upstreams' chat replies read as events: as tolerant as the relay, and in the events' order."""

import json
from collections.abc import Sequence
from itertools import pairwise
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
from groxy.dialects._base import Asked, EmbeddedError, Frame, UsageRules
from groxy.dialects.chat.decoder import ChatDecoder
from groxy.dialects.chat.events import ChatEncoder
from groxy.wire.sse import MAX_EVENT_BYTES
from tests.dialects.chat.odd_replies import ODD_BODIES
from tests.dialects.chat.streams import (
    DONE,
    READ_XAI_USAGE,
    XAI_USAGE,
    begins,
    call,
    calls,
    choice,
    chunk,
    ends,
    event,
    heard_from,
    relayed,
    relayed_whole,
    says,
    usage_event,
)

STARTED = Started(reply_id="chatcmpl-1", model_served="grok-4", created=1752854522)
STOP = Finished(reason=FinishReason.STOP)
CALLED = Finished(reason=FinishReason.TOOL_CALLS)
OPENAI_USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}


def _decoded(*pieces: bytes) -> tuple[ChatDecoder, list[Event]]:
    """Decode a stream that comes in these pieces, as the gateway does."""
    decoder = ChatDecoder(UsageRules())
    events: list[Event] = []
    for piece in pieces:
        events += decoder.feed(piece)
        if decoder.is_done:
            break
    return decoder, events + decoder.close()


def _events(*pieces: bytes) -> list[Event]:
    return _decoded(*pieces)[1]


def _whole(**fields: Any) -> tuple[ChatDecoder, list[Event]]:
    head = {"id": "chatcmpl-1", "created": 1752854522, "model": "grok-4", "usage": OPENAI_USAGE}
    decoder = ChatDecoder(UsageRules())
    return decoder, decoder.feed_whole(json.dumps(head | fields).encode())


def _message(message: Any, finish: Any = "stop") -> list[Event]:
    decoder, events = _whole(choices=[{"index": 0, "message": message, "finish_reason": finish}])
    assert (decoder.failure, decoder.is_complete, decoder.is_done) == (None, True, True)
    return [one for one in events if not isinstance(one, Started | UsageReported)]


def _delta(**delta: Any) -> list[Event]:
    """What one delta says."""
    return _events(event(chunk(choice(delta))))[1:]


# ----------------------------------------------------------------------------------------- streams


def test_a_stream_starts_says_its_text_and_ends():
    assert _events(begins(), says("Hel"), says("lo"), ends(), DONE) == [
        STARTED,
        TextDelta(text="Hel"),
        TextDelta(text="lo"),
        STOP,
    ]


def test_the_role_alone_starts_nothing_yet():
    assert _events(begins()) == []


def test_a_head_may_come_in_pieces():
    first: dict[str, Any] = {"id": "", "model": None, "created": None, "choices": []}
    second = {"id": "a", "created": 7, "choices": [choice({"role": "assistant"})]}
    third = {"model": "grok-4", "choices": [choice({"content": "a"})]}
    started = _events(*[event(one) for one in (first, second, third)])[0]
    assert started == Started(reply_id="a", model_served="grok-4", created=7)


def test_thoughts_come_before_their_seal_and_the_text():
    details = [{"type": "reasoning.encrypted", "data": "sealed", "id": "rs_1"}]
    assert _delta(content="ok", reasoning="hm", reasoning_details=details) == [
        ReasoningDelta(text="hm"),
        ReasoningSealed(encrypted="sealed", item_id="rs_1"),
        TextDelta(text="ok"),
    ]


def test_thoughts_given_both_ways_are_told_once():
    assert _delta(reasoning="hm", reasoning_content="hm") == [ReasoningDelta(text="hm")]


@pytest.mark.parametrize(("value", "text"), [(7, "7"), (1.5, "1.5"), (True, "true"), ("a", "a")])
def test_a_number_as_text_is_text(value, text):
    assert _delta(content=value) == [TextDelta(text=text)]


@pytest.mark.parametrize("refusal", ["No.", None, 5])
def test_a_refusal_is_text(refusal):
    expected = [TextDelta(text="No.")] if refusal == "No." else []
    assert _delta(content=None, refusal=refusal) == expected


def test_a_character_cut_in_half_is_told_whole():
    halves = [says("TEXT").replace(b"TEXT", half) for half in (rb"a\ud83d", rb"\ude00")]
    assert _events(*halves, ends(), DONE)[1:] == [
        TextDelta(text="a"),
        TextDelta(text="\U0001f600"),
        STOP,
    ]


def test_half_a_character_is_told_before_the_end():
    half = says("TEXT").replace(b"TEXT", rb"\ud83d")
    assert _events(half, DONE)[1:] == [TextDelta(text="\ufffd"), STOP]


def test_usage_on_every_chunk_is_told_each_time():
    early = XAI_USAGE | {"completion_tokens": 1, "total_tokens": 127}
    events = _events(says("a", usage=early), usage_event(XAI_USAGE), DONE)
    usages = [one.usage for one in events if isinstance(one, UsageReported)]
    assert usages[-1] == READ_XAI_USAGE
    assert usages[0].output_tokens == 95


@pytest.mark.parametrize("usage", [None, {}, [], "none", {"prompt_tokens": -1}])
def test_usage_that_makes_no_sense_is_not_told(usage):
    assert _events(says("a", usage=usage))[1:] == [TextDelta(text="a")]


# --------------------------------------------------------------------------------- finish reasons


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("function_call", FinishReason.TOOL_CALLS),
        ("end_turn", FinishReason.STOP),
        ("MAX_TOKENS", FinishReason.LENGTH),
        ("something new", FinishReason.STOP),
        ("", FinishReason.STOP),
        (None, FinishReason.STOP),
    ],
)
def test_a_finish_reason_is_a_canonical_one(reason, expected):
    assert _events(says("a"), ends(reason), DONE)[-1] == Finished(reason=expected)


@pytest.mark.parametrize("reason", ["", None, "stop", "tool_use", "tool_calls"])
def test_tool_calls_end_as_tool_calls(reason):
    whole = call("{}", "look", id="c", type="function")
    assert _events(begins(), calls(whole, finish=reason), DONE)[-1] == CALLED


def test_a_choice_ends_once_and_last_however_often_it_says_so():
    one, two = (call("{}", name, id=name) for name in ("a", "b"))
    events = _events(calls(one, finish=""), calls(two, finish="tool_calls"), ends("stop"), DONE)
    assert [type(one) for one in events] == [Started, ToolCallDelta, ToolCallDelta, Finished]


def test_each_choice_ends():
    events = _events(
        *[event(chunk(choice({"content": "a"}, "stop", index))) for index in (1, 0)], DONE
    )
    ends_ = [one for one in events if isinstance(one, Finished)]
    assert [one.choice for one in ends_] == [0, 1]


def test_a_stream_without_done_is_complete_once_all_choices_ended():
    decoder, events = _decoded(says("a"), ends())
    assert (decoder.is_complete, events[-1]) == (True, STOP)


def test_a_stream_that_was_cut_ends_no_choice():
    decoder, events = _decoded(begins(), says("a"))
    assert (decoder.is_complete, decoder.failure) == (False, None)
    assert events == [STARTED, TextDelta(text="a")]


def test_nothing_is_told_twice_when_closed_behind_done():
    decoder = ChatDecoder(UsageRules())
    assert decoder.feed(says("a") + DONE)[-1] == STOP
    assert (decoder.feed(says("b")), decoder.close()) == ([], [])


# -------------------------------------------------------------------------------------- tool calls


def test_fragments_of_a_call_are_told_as_they_come():
    events = _events(
        calls(call("", "look", index=0, id="c", type="function")),
        calls(call('{"a"', index=0)),
        calls(call(":1}", index=0)),
        ends("tool_calls"),
        DONE,
    )
    assert events[1:] == [
        ToolCallDelta(index=0, call_id="c", name="look", arguments=""),
        ToolCallDelta(index=0, arguments='{"a"'),
        ToolCallDelta(index=0, arguments=":1}"),
        CALLED,
    ]


def test_whole_calls_without_an_index_are_numbered_in_their_order():
    events = _events(
        calls(call("{}", "one", id="c1")), calls(call("{}", "two", id="c2")), ends(""), DONE
    )
    assert events[1:-1] == [
        ToolCallDelta(index=0, call_id="c1", name="one", arguments="{}"),
        ToolCallDelta(index=1, call_id="c2", name="two", arguments="{}"),
    ]


def test_calls_without_index_and_id_are_told_apart_by_their_names():
    events = _events(
        calls(call("1", "one")), calls(call("2")), calls(call("3", "two"), call("4")), DONE
    )
    told = [one for one in events if isinstance(one, ToolCallDelta)]
    assert [(one.index, one.name, one.arguments) for one in told] == [
        (0, "one", "1"),
        (0, "", "2"),
        (1, "two", "3"),
        (1, "", "4"),
    ]
    assert len({one.call_id for one in told if one.name}) == 2


def test_a_missing_id_is_made_up_and_always_the_same():
    stream = calls(call("{}", "look", index=0)) + DONE
    (first,) = (one for one in _events(stream) if isinstance(one, ToolCallDelta))
    (again,) = (one for one in _events(stream) if isinstance(one, ToolCallDelta))
    assert first.call_id.startswith("call_")
    assert first == again


def test_a_call_is_told_once_its_name_is_known():
    events = _events(
        calls(call("1", index=0, id="c")), calls(call("2", "look", index=0)), ends(""), DONE
    )
    assert events[1:-1] == [ToolCallDelta(index=0, call_id="c", name="look", arguments="12")]


def test_a_call_that_never_got_a_name_is_told_at_the_end():
    events = _events(calls(call("{}", index=0, id="c")), DONE)
    assert events[1:] == [ToolCallDelta(index=0, call_id="c", name="", arguments="{}"), CALLED]


def _told(events: Sequence[Event]) -> list[tuple[int, str, str, str]]:
    return [
        (one.index, one.call_id, one.name, one.arguments)
        for one in events
        if isinstance(one, ToolCallDelta)
    ]


def test_calls_that_share_an_index_are_told_apart_by_their_ids():
    events = _events(
        calls(call("1", "one", index=0, id="c1")),
        calls(call("2", "two", index=0, id="c2")),
        calls(call("3", index=0)),
        calls(call("4", index=0, id="c1")),
    )
    assert _told(events) == [
        (0, "c1", "one", "1"),
        (1, "c2", "two", "2"),
        (1, "", "", "3"),
        (0, "", "", "4"),
    ]


def test_a_call_whose_id_changes_is_still_one_call():
    events = _events(calls(call("1", "one", index=0, id="c1")), calls(call("2", index=0, id="c2")))
    assert _told(events) == [(0, "c1", "one", "1"), (0, "", "", "2")]


def test_a_name_that_is_repeated_tells_nothing_new():
    both = [calls(call(text, "look", index=0, id="c")) for text in "ab"]
    told = [one for one in _events(*both) if isinstance(one, ToolCallDelta)]
    assert [(one.name, one.arguments) for one in told] == [("look", "a"), ("", "b")]


# ----------------------------------------------------------------------------------------- sources


def test_a_list_of_urls_is_told_once():
    urls = ["https://a/", "https://b/"]
    events = _events(says("a"), ends(citations=urls), usage_event(XAI_USAGE, citations=urls), DONE)
    assert [one.url for one in events if isinstance(one, Cited)] == urls


def test_annotations_have_their_place_in_the_text():
    place = {"url": "https://a/", "title": "A", "start_index": 1, "end_index": 2}
    later = place | {"start_index": 3, "end_index": 4}
    notes = [{"type": "url_citation", "url_citation": one} for one in (place, later, place)]
    events = _events(says("abcd"), event(chunk(choice({"annotations": notes}))), DONE)
    assert events[2:-1] == [
        Cited(url="https://a/", title="A", start=1, end=2),
        Cited(url="https://a/", title="A", start=3, end=4),
    ]


# ------------------------------------------------------------------------------------ whole replies


def test_a_whole_reply_has_the_same_events():
    decoder, events = _whole(choices=[{"message": {"content": "Hello"}, "finish_reason": "stop"}])
    assert events == [
        STARTED,
        TextDelta(text="Hello"),
        UsageReported(usage=Usage(input_tokens=10, output_tokens=4)),
        STOP,
    ]
    assert decoder.is_complete


@pytest.mark.parametrize("ids", [("c1", "c2"), ("c", "c"), (None, None)])
def test_a_whole_replys_calls_are_numbered_whatever_their_ids(ids):
    both = [call("{}", name, id=id_) for name, id_ in zip(("one", "two"), ids, strict=True)]
    told = _message({"content": None, "tool_calls": both}, "")
    assert told[-1] == CALLED
    first, second = (one for one in told if isinstance(one, ToolCallDelta))
    assert (first.index, first.name, second.index, second.name) == (0, "one", 1, "two")
    assert first.call_id
    assert second.call_id


def test_half_a_character_of_a_whole_reply_is_replaced():
    decoder = ChatDecoder(UsageRules())
    events = decoder.feed_whole(rb'{"choices":[{"message":{"content":"a\ud83d"}}]}')
    assert events[1:] == [TextDelta(text="a\ufffd"), STOP]


@pytest.mark.parametrize("reason", [None, ""])
def test_a_whole_reply_without_a_reason_has_ended_all_the_same(reason):
    assert _message({"content": "a"}, reason) == [TextDelta(text="a"), STOP]


def test_a_whole_reply_of_nothing_has_ended_too():
    assert _message({}, None) == [STOP]


def test_a_whole_replys_sources_are_told():
    _, events = _whole(choices=[{"message": {"content": "a"}}], citations=["https://a/"])
    assert Cited(url="https://a/") in events


@pytest.mark.parametrize(
    "body",
    [
        {"code": "The service is currently unavailable", "error": "Try again"},
        {"error": {"message": "no"}, "choices": []},
        {"choices": [{"finish_reason": "error", "error": {"code": 502}}]},
    ],
)
def test_an_error_in_place_of_a_whole_reply_is_handed_on_as_it_came(body):
    raw = json.dumps(body).encode()
    decoder = ChatDecoder(UsageRules())
    assert decoder.feed_whole(raw) == []
    assert isinstance(decoder.failure, EmbeddedError)
    assert decoder.failure.payload == raw


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"choices":[]}', b"[]", b"null"])
def test_a_body_that_is_no_reply_is_a_bad_reply(body):
    decoder = ChatDecoder(UsageRules())
    assert decoder.feed_whole(body) == []
    assert isinstance(decoder.failure, GroxyError)
    assert decoder.failure.kind is ErrorKind.BAD_REPLY


# ---------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    "broken",
    [
        event({"error": {"message": "Overloaded"}}),
        event(chunk(choice({"content": ""}, "error"))),
        event(b"<html>"),
        event(b'{"choices":5}'),
        b"data: " + b"x" * (MAX_EVENT_BYTES + 1),
    ],
    ids=["an error", "a choice that failed", "html", "odd choices", "an event without end"],
)
def test_what_came_before_a_failure_is_still_told(broken):
    decoder = ChatDecoder(UsageRules())
    events = decoder.feed(says("a") + broken) + decoder.feed(b"x") + decoder.close()
    assert isinstance(decoder.failure, EmbeddedError | GroxyError)
    assert (events, decoder.is_complete) == ([STARTED, TextDelta(text="a")], False)


# -------------------------------------------------------------------------------------- properties


def _kind(failure: Exception | None) -> object:
    return failure.kind if isinstance(failure, GroxyError) else type(failure)


def _written(events: Sequence[Event]) -> bytes:
    frame = Frame(reply_id="r", created=1, count_input=lambda: 0)
    encoder = ChatEncoder(Asked(model="m", stream=True, fields={}), frame)
    return b"".join(map(encoder.feed, events)) + encoder.finish(Usage())


@given(st.lists(ODD_BODIES, min_size=1, max_size=4))
def test_no_stream_makes_the_decoder_raise(bodies):
    decoder, events = _decoded(*[event(body) for body in bodies], DONE)
    assert isinstance(decoder.failure, EmbeddedError | GroxyError | None)
    assert not events or isinstance(events[0], Started)
    assert sum(isinstance(one, Started) for one in events) <= 1
    assert any(isinstance(one, Finished) for one in events) == decoder.is_complete


@given(ODD_BODIES)
def test_no_whole_body_makes_the_decoder_raise(body):
    decoder = ChatDecoder(UsageRules())
    events = decoder.feed_whole(body)
    assert isinstance(decoder.failure, EmbeddedError | GroxyError | None)
    assert bool(events) == decoder.is_complete == (decoder.failure is None)


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
_NO_WHOLE_ARGUMENTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="}"), max_size=4
)
"""To whole ones nothing can be added that makes sense: over events that is left out."""
_CALLS = st.builds(
    call,
    _NO_WHOLE_ARGUMENTS,
    _TEXTS,
    index=st.integers(0, 1),
    id=st.sampled_from(["c1", "c2"]),
    type=st.sampled_from([None, "function"]),
)
_DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["assistant", None]),
        "content": st.none() | _TEXTS | st.integers(0, 9) | st.booleans(),
        "reasoning": _TEXTS,
        "reasoning_content": _TEXTS,
        "tool_calls": st.none() | st.lists(_CALLS, max_size=2),
    },
)
_EVENTS = st.builds(
    lambda delta, finish, index, usage: event(chunk(choice(delta, finish, index), usage=usage)),
    _DELTAS,
    st.none(),
    st.integers(0, 1),
    st.sampled_from([None, XAI_USAGE, OPENAI_USAGE]),
)
_STREAMS = st.lists(
    _EVENTS
    | st.sampled_from([ends(), ends(""), ends("length"), usage_event(XAI_USAGE), b": note\n\n"])
    | st.sampled_from([event({"error": "x"}), event(b"<"), DONE, b"\r\n"]),
    max_size=7,
)


@given(_STREAMS, st.data())
def test_any_split_of_a_stream_gives_the_same_events(events, data):
    stream = b"".join(events)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[a:b] for a, b in pairwise([0, *cuts, len(stream)])]
    split, whole = _decoded(*pieces), _decoded(stream)
    assert split[1] == whole[1]
    assert (_kind(split[0].failure), split[0].is_complete) == (
        _kind(whole[0].failure),
        whole[0].is_complete,
    )


@given(_STREAMS)
def test_the_decoder_takes_and_refuses_what_the_relay_does(events):
    decoder, _ = _decoded(*events)
    relay = relayed(*events).relay
    assert (_kind(decoder.failure), decoder.is_complete, decoder.is_done) == (
        _kind(relay.failure),
        relay.is_complete,
        relay.is_done,
    )


@given(st.lists(_EVENTS, min_size=1, max_size=6))
def test_a_caller_hears_the_same_over_events_as_over_the_relay(events):
    _, decoded = _decoded(*events, DONE)
    direct = heard_from(relayed(*events, DONE).sent)
    translated = heard_from(_written(decoded))
    for index, one in direct.items():
        other = translated.get(index)
        said = (one.text, one.thoughts, {at: held["arguments"] for at, held in one.calls.items()})
        assert said == (
            ("", "", {})
            if other is None
            else (
                other.text,
                other.thoughts,
                {at: held["arguments"] for at, held in other.calls.items()},
            )
        )


@given(ODD_BODIES)
def test_a_whole_reply_says_the_same_over_events_as_over_the_relay(body):
    outcome = relayed_whole(body)
    decoder = ChatDecoder(UsageRules())
    events = decoder.feed_whole(body)
    if outcome.relay.is_complete and decoder.is_complete:
        said = "".join(one.text for one in events if isinstance(one, TextDelta))
        deltas = [part["delta"] for one in outcome.chunks for part in one["choices"]]
        assert sorted(said) == sorted("".join(delta.get("content") or "" for delta in deltas))
