"""Streams of the same dialect on their way to the caller: passed on, mended, and how they end."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.usage import Usage
from groxy.dialects._base import EmbeddedError
from groxy.dialects.messages.relay import MessagesRelay
from groxy.wire.sse import MAX_EVENT_BYTES
from tests.dialects.messages.odd_replies import ODD_BODIES, ODD_STREAMS
from tests.dialects.messages.streams import (
    COUNTED,
    CUTS,
    RULES,
    USAGE,
    adds,
    begins,
    calls,
    closes,
    ends,
    event,
    events_of,
    frame,
    heard,
    kinds_of,
    opens,
    pieces_of,
    says,
)

TALK = (
    begins()
    + opens(0, "thinking", thinking="", signature="")
    + adds(0, "thinking_delta", thinking="Hm é.")
    + adds(0, "signature_delta", signature="sig")
    + closes(0)
    + event("ping")
    + says("Look.", 1)
    + calls(2, "toolu_1", "look", '{"x"', ":1}")
    + opens(3, "redacted_thinking", data="enc")
    + closes(3)
)
ERROR: Any = {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}


@dataclass
class Outcome:
    """What came of one relayed stream."""

    relay: MessagesRelay
    passed: bytes
    last: bytes

    @property
    def sent(self) -> bytes:
        return self.passed + self.last


def _relayed(*pieces: bytes, usage: Usage = USAGE) -> Outcome:
    relay = MessagesRelay(RULES, frame())
    passed = b"".join(relay.feed(piece) for piece in pieces) + relay.close()
    last = relay.finish(relay.reported_usage() or usage) if relay.is_complete else b""
    return Outcome(relay, passed, last)


def _kind(outcome: Outcome) -> ErrorKind | None:
    failure = outcome.relay.failure
    assert failure is None or isinstance(failure, GroxyError)
    return failure.kind if failure else None


# ------------------------------------------------------------------------------- what goes through


def test_events_are_passed_on_byte_for_byte():
    assert _relayed(TALK + ends("tool_use")).passed == TALK


def test_the_end_is_held_back_for_the_usage():
    outcome = _relayed(begins() + says("a") + ends())
    assert kinds_of(outcome.last) == ["message_delta", "message_stop"]
    assert events_of(outcome.last)[0] == {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {
            "input_tokens": 25,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 7,
        },
    }


def test_a_client_hears_what_the_upstream_said():
    message = heard(_relayed(TALK + ends("tool_use")).sent)
    assert message["id"] == "msg_up"
    assert message["content"] == [
        {"type": "thinking", "thinking": "Hm é.", "signature": "sig"},
        {"type": "text", "text": "Look."},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"x": 1}},
        {"type": "redacted_thinking", "data": "enc"},
    ]
    assert message["stop_reason"] == "tool_use"


def test_the_books_hear_it_too():
    tally = _relayed(TALK + ends("tool_use")).relay.tally
    assert (tally.reply_id, tally.model_served) == ("msg_up", "grok-4.7")
    assert "".join(tally.output) == 'Hm é.Look.look{"x":1}'
    assert (tally.called, tally.call_ids) == (["look"], ["toolu_1"])
    assert (tally.sealed, tally.finish_reason) == (["sig", "enc"], "tool_calls")


@given(cuts=CUTS)
def test_any_split_sends_the_same(cuts):
    stream = TALK + ends("tool_use")
    assert _relayed(*pieces_of(stream, cuts)).sent == _relayed(stream).sent


def test_usage_is_what_the_start_and_the_end_say_together():
    outcome = _relayed(begins(cache_read_input_tokens=5) + ends(output_tokens=9))
    assert outcome.relay.reported_usage() == Usage(
        input_tokens=30, cached_tokens=5, output_tokens=9
    )


def test_a_stream_that_was_left_early_reports_no_usage():
    assert _relayed(begins() + says("a")).relay.reported_usage() is None


def test_output_has_begun_with_the_first_block():
    relay = MessagesRelay(RULES, frame())
    relay.feed(begins() + event("ping"))
    assert not relay.tally.has_output
    relay.feed(opens(0, "text", text=""))
    assert relay.tally.has_output


def test_unknown_events_go_through_after_the_start_only():
    stream = event("new", a=1) + begins() + event("new", a=2) + event("new", named=False, a=3)
    sent = [one for one in events_of(_relayed(stream).passed) if one["type"] == "new"]
    assert [one["a"] for one in sent] == [2, 3]


@pytest.mark.parametrize(
    "odd",
    [
        b'event: error\ndata: {"type":"ping"}\n\n',
        b"event: \xff\ndata: {}\n\n",
        b"data: {}\n\n",
        b'data: {"type":"a\\nb"}\n\n',
        b'data: {"type":"new","x":"\xff"}\n\n',
    ],
)
def test_an_unknown_event_can_do_no_harm(odd):
    passed = _relayed(begins() + odd + says("a")).passed
    assert set(kinds_of(passed)) <= {
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
    }


def test_nothing_is_kept():
    assert _relayed(begins() + ends()).relay.record == b""


# ------------------------------------------------------------------------------- what is mended


def test_missing_event_lines_are_added():
    nameless = b"\n".join(line for line in TALK.split(b"\n") if not line.startswith(b"event:"))
    assert _relayed(nameless).passed == TALK


def test_data_over_several_lines_becomes_one():
    stream = b'event: message_stop\ndata: {"type":\ndata: "message_stop"}\n\n'
    outcome = _relayed(
        begins() + b'data: {"type":"content_block_stop",\ndata: "index":0}\n\n' + stream
    )
    assert kinds_of(outcome.passed) == ["message_start", "content_block_stop"]


@pytest.mark.parametrize("usage", [{"input_tokens": 0, "output_tokens": 0}, None, {}])
def test_a_start_without_a_count_gets_an_estimate(usage):
    message = {"id": "msg_up", "model": "m", "content": [], "usage": usage}
    (start,) = events_of(_relayed(event("message_start", message=message)).passed)
    assert start["message"]["usage"]["input_tokens"] == COUNTED
    assert start["message"]["id"] == "msg_up"


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": "a"}])
def test_a_start_without_a_list_for_its_blocks_gets_one(content):
    start: Any = {"id": "msg_up", "model": "grok-4.7", "usage": {"input_tokens": 9}, "extra": 1}
    sent = _relayed(event("message_start", message=start | content) + says("a") + ends()).sent
    assert heard(sent)["content"] == [{"type": "text", "text": "a"}]
    message = events_of(sent)[0]["message"]
    assert (message["id"], message["extra"]) == ("msg_up", 1)
    assert message["usage"]["input_tokens"] == 9, "what the upstream counted is no estimate's"


def test_a_start_without_an_id_keeps_its_count():
    message = {"model": "m", "content": [], "usage": {"input_tokens": 9, "output_tokens": 1}}
    (start,) = events_of(_relayed(event("message_start", message=message)).passed)
    assert (start["message"]["id"], start["message"]["usage"]["input_tokens"]) == ("msg_abc", 9)


def test_a_stream_without_a_start_gets_one():
    message = heard(_relayed(says("a") + ends()).sent)
    assert (message["id"], message["content"]) == ("msg_abc", [{"type": "text", "text": "a"}])


def test_a_second_start_is_dropped():
    outcome = _relayed(begins() + begins() + ends())
    assert kinds_of(outcome.passed) == ["message_start"]


def test_the_last_reason_counts_and_the_last_usage():
    stream = begins() + event(
        "message_delta", delta={"stop_reason": "max_tokens"}, usage={"output_tokens": 3}
    )
    outcome = _relayed(stream + ends(None, output_tokens=8))
    delta = events_of(outcome.last)[0]
    assert (delta["delta"]["stop_reason"], delta["usage"]["output_tokens"]) == ("max_tokens", 8)


@pytest.mark.parametrize(
    ("stream", "reason"), [(says("a"), "end_turn"), (calls(0, "t", "n", "{}"), "tool_use")]
)
def test_a_missing_reason_follows_what_was_said(stream, reason):
    outcome = _relayed(begins() + stream + event("message_stop"))
    assert events_of(outcome.last)[0]["delta"]["stop_reason"] == reason


def test_an_end_of_the_turn_beside_calls_is_one_for_them():
    outcome = _relayed(begins() + says("a") + calls(1, "t", "n", "{}") + ends("end_turn"))
    assert heard(outcome.sent)["stop_reason"] == "tool_use"
    assert outcome.relay.tally.finish_reason == "tool_calls"


@pytest.mark.parametrize("reason", ["max_tokens", "pause_turn", "refusal", "something_new"])
def test_any_other_reason_beside_calls_stays(reason):
    outcome = _relayed(begins() + calls(0, "t", "n", "{}") + ends(reason))
    assert b'"stop_reason":"%s"' % reason.encode() in outcome.last


def test_tools_that_the_upstream_ran_are_no_calls():
    block = opens(0, "server_tool_use", id="s", name="web_search", input={}) + closes(0)
    outcome = _relayed(begins() + block + says("a", 1) + ends("end_turn"))
    assert heard(outcome.sent)["stop_reason"] == "end_turn"


def test_an_end_that_counts_no_input_leaves_the_starts_count():
    outcome = _relayed(begins() + says("a") + ends(input_tokens=0, cache_read_input_tokens=0))
    assert outcome.relay.reported_usage() == Usage(input_tokens=25, output_tokens=7)
    assert events_of(outcome.last)[0]["usage"]["input_tokens"] == 25


def test_further_fields_of_the_end_stay():
    end = event("message_delta", delta={"stop_reason": "end_turn", "x": 1}, usage={}, extra=2)
    outcome = _relayed(begins(service_tier="standard") + end + event("message_stop"))
    delta = events_of(outcome.last)[0]
    assert (delta["delta"]["x"], delta["extra"]) == (1, 2)
    assert delta["usage"]["service_tier"] == "standard"


# ---------------------------------------------------------------------------------------- broken


def test_an_error_before_the_output_is_told_as_it_came():
    outcome = _relayed(event("error", error=ERROR["error"]))
    assert isinstance(outcome.relay.failure, EmbeddedError)
    assert json.loads(outcome.relay.failure.payload) == ERROR
    assert (outcome.passed, outcome.relay.tally.has_output) == (b"", False)


def test_an_error_in_between_keeps_what_came_before():
    outcome = _relayed(begins() + says("a") + event("error", error=ERROR["error"]) + says("b", 1))
    assert isinstance(outcome.relay.failure, EmbeddedError)
    assert outcome.passed == begins() + says("a")


def test_a_stream_without_its_end_is_not_complete():
    outcome = _relayed(begins() + says("a"))
    assert (outcome.relay.is_complete, outcome.relay.failure) == (False, None)


def test_half_an_event_at_the_end_is_a_cut():
    outcome = _relayed(begins() + b'data: {"type":"content_bl')
    assert (outcome.relay.is_complete, outcome.relay.failure) == (False, None)


def test_nonsense_is_a_bad_reply():
    assert _kind(_relayed(begins() + b"data: {nonsense\n\n")) is ErrorKind.BAD_REPLY


def test_an_event_without_end_is_given_up():
    pieces = (b"data: " + b"x" * (MAX_EVENT_BYTES + 1), b"x")
    assert _kind(_relayed(*pieces)) is ErrorKind.BAD_REPLY


def test_a_broken_stream_ends_with_an_error_event():
    sent = MessagesRelay(RULES, frame()).fail(GroxyError(ErrorKind.UPSTREAM_TIMEOUT, "Late."))
    assert events_of(sent)[0]["error"] == {"type": "timeout_error", "message": "Late."}


@given(stream=ODD_STREAMS, cuts=CUTS)
def test_no_stream_crashes_it_and_no_split_matters(stream, cuts):
    whole, parted = _relayed(stream), _relayed(*pieces_of(stream, cuts))
    assert parted.sent == whole.sent
    assert parted.relay.tally == whole.relay.tally
    assert parted.relay.is_complete == whole.relay.is_complete
    assert type(parted.relay.failure) is type(whole.relay.failure)


# ----------------------------------------------------------------------------------------- whole


def test_a_whole_reply_becomes_a_stream():
    body: Any = {
        "id": "msg_up",
        "type": "message",
        "role": "assistant",
        "model": "grok-4.7",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
            {"type": "text", "text": "a"},
            {"type": "tool_use", "id": "t", "name": "n", "input": {"x": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }
    relay = MessagesRelay(RULES, frame())
    passed = relay.feed_whole(json.dumps(body).encode())
    usage = relay.reported_usage()
    assert relay.is_complete
    assert usage == Usage(input_tokens=3, output_tokens=4)
    message = heard(passed + relay.finish(usage))
    assert message | {"usage": None} == body | {"usage": None}


def test_a_whole_error_is_a_failure():
    relay = MessagesRelay(RULES, frame())
    assert relay.feed_whole(json.dumps(ERROR).encode()) == b""
    assert isinstance(relay.failure, EmbeddedError)


@given(body=ODD_BODIES)
def test_no_body_crashes_it(body):
    relay = MessagesRelay(RULES, frame())
    passed = relay.feed_whole(body)
    assert (relay.failure is None) == relay.is_complete == bool(passed)
    relay.finish(USAGE)


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_the_name_of_an_event_cannot_begin_another_one(end):
    name = f"x{end}{end}event: message_stop{end}data: {{}}{end}{end}"
    relay = MessagesRelay(RULES, frame())
    written = relay.feed(begins() + event(name, named=False))
    assert b"message_stop" not in written


# ------------------------------------------------------------------------------------------- cuts


def _cut(stream: bytes) -> tuple[MessagesRelay, bytes]:
    relay = MessagesRelay(RULES, frame())
    passed = relay.feed(stream)
    return relay, passed + relay.cut() + relay.finish(USAGE)


def test_a_cut_closes_the_open_block_and_ends_the_message_for_its_length():
    stream = begins() + opens(0, "text", text="") + adds(0, "text_delta", text="Look")
    relay, sent = _cut(stream)
    message = heard(sent)
    assert message["content"] == [{"type": "text", "text": "Look"}]
    assert message["stop_reason"] == "max_tokens"
    assert message["usage"]["output_tokens"] == USAGE.output_tokens
    assert kinds_of(sent)[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert (relay.is_complete, relay.is_done) == (True, True)
    assert relay.tally.finish_reason == "length"


def test_a_cut_between_blocks_closes_none():
    _, sent = _cut(begins() + says("Look."))
    assert kinds_of(sent).count("content_block_stop") == 1
    assert heard(sent)["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(
    ("pieces", "arguments"), [([], {}), (['{"x": 1, "y'], {"x": 1}), (['{"x": 1}'], {"x": 1})]
)
def test_a_cut_closes_half_a_call(pieces, arguments):
    stream = calls(0, "toolu_1", "look", *pieces).removesuffix(closes(0))
    _, sent = _cut(begins() + stream)
    message = heard(sent)
    assert message["stop_reason"] == "max_tokens"
    assert message["content"][0]["input"] == arguments


def test_a_call_cut_before_its_arguments_is_told_as_json_all_the_same():
    stream = opens(0, "tool_use", id="t", name="look", input={})
    _, sent = _cut(begins() + stream)
    deltas = [one["delta"] for one in events_of(sent) if one["type"] == "content_block_delta"]
    assert deltas == [{"type": "input_json_delta", "partial_json": "{}"}]


def test_a_call_that_came_whole_keeps_its_arguments_when_cut():
    _, sent = _cut(begins() + opens(0, "tool_use", id="t", name="look", input={"x": 1}))
    assert heard(sent)["content"][0]["input"] == {"x": 1}


def test_a_cut_before_anything_is_an_empty_message():
    _, sent = _cut(b"")
    message = heard(sent)
    assert (message["content"], message["stop_reason"]) == ([], "max_tokens")


def test_what_comes_after_a_cut_is_not_passed_on():
    relay = MessagesRelay(RULES, frame())
    relay.feed(begins() + opens(0, "text", text="") + adds(0, "text_delta", text="a"))
    relay.cut()
    assert relay.feed(adds(0, "text_delta", text="b") + closes(0) + ends()) == b""
    assert relay.close() == b""
    assert relay.tally.output == ["a"]
    assert relay.cut() == b""


def test_a_message_that_said_why_it_ends_keeps_that_when_cut():
    stream = begins() + calls(0, "toolu_1", "look", "{}") + ends("tool_use")
    relay, sent = _cut(stream.removesuffix(event("message_stop")))
    assert heard(sent)["stop_reason"] == "tool_use"
    assert (relay.is_complete, relay.tally.finish_reason) == (True, "tool_calls")


def test_a_cut_does_not_make_a_failure_a_success():
    relay = MessagesRelay(RULES, frame())
    relay.feed(begins() + event("error", error=ERROR["error"]))
    assert relay.cut() == b""
    assert not relay.is_complete


def test_the_official_client_follows_a_cut_anywhere():
    for at in range(len(TALK)):
        assert heard(_cut(TALK[:at])[1])["stop_reason"] == "max_tokens"
