"""Completions streams on their way to the caller: what is passed on, counted, and how they end."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st
from openai.types import Completion

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.usage import Usage
from groxy.dialects._base import Counting, EmbeddedError, UsageRules
from groxy.dialects._openai import encode_stream_error
from groxy.dialects.completions.relay import CompletionsRelay
from groxy.wire.sse import MAX_EVENT_BYTES
from tests.dialects.completions.odd_replies import ODD_BODIES

DONE = b"data: [DONE]\n\n"
HEAD = {"id": "cmpl-1", "object": "text_completion", "created": 5, "model": "grok-4"}
USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
READ_USAGE = Usage(input_tokens=10, output_tokens=4)
GARBAGE = b"data: <html>\n\n"


def _event(*choices: dict[str, Any], **fields: Any) -> bytes:
    return b"data: " + json.dumps(HEAD | {"choices": list(choices)} | fields).encode() + b"\n\n"


def _says(text: Any, finish: Any = None, index: int = 0, **fields: Any) -> bytes:
    choice = {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
    return _event(choice, **fields)


def _relay(*, wants_usage: bool = False, counting: Counting = Counting.OPENAI) -> CompletionsRelay:
    return CompletionsRelay(wants_usage=wants_usage, rules=UsageRules(), counting=counting)


def _relayed(*pieces: bytes) -> tuple[CompletionsRelay, bytes]:
    relay = _relay()
    passed = b""
    for piece in pieces:
        passed += relay.feed(piece)
        if relay.is_done:
            break
    return relay, passed + relay.close()


def _last(relay: CompletionsRelay, usage: Usage = READ_USAGE) -> list[Any]:
    events = relay.finish(usage).split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    return [json.loads(one.removeprefix(b"data: ")) for one in events[:-2]]


def test_a_good_stream_is_passed_on_byte_for_byte_and_done_is_held_back():
    stream = _says("Hel") + _says("lo") + _says("", "stop")
    relay, passed = _relayed(stream + DONE)
    assert (passed, relay.is_complete, relay.finish(READ_USAGE)) == (stream, True, DONE)


def test_the_tally_has_the_upstreams_own_words():
    tally = _relayed(_says("Hel"), _says("lo", "length"))[0].tally
    assert (tally.reply_id, tally.model_served) == ("cmpl-1", "grok-4")
    assert (tally.output, tally.finish_reason) == (["Hel", "lo"], "length")


def test_usage_is_taken_out_and_counts():
    relay, passed = _relayed(_says("a", usage=USAGE), _event(usage=USAGE), DONE)
    assert b"prompt_tokens" not in passed
    assert relay.reported_usage() == READ_USAGE


def test_null_usage_replaces_nothing():
    relay, _ = _relayed(_event(usage=USAGE), _says("a", "stop", usage=None))
    assert relay.reported_usage() == READ_USAGE


def test_usage_is_written_if_asked_for():
    relay = _relay(wants_usage=True)
    relay.feed(_says("a", "stop") + _event(usage=USAGE | {"x": 1}) + DONE)
    (last,) = _last(relay)
    assert last | {"usage": None} == HEAD | {"choices": [], "usage": None}
    assert (last["usage"]["total_tokens"], last["usage"]["x"]) == (14, 1)


def test_usage_can_be_written_as_xai_counts():
    relay = _relay(wants_usage=True, counting=Counting.XAI)
    relay.feed(_says("a", "stop") + DONE)
    (last,) = _last(relay, Usage(input_tokens=1, output_tokens=9, reasoning_tokens=4))
    assert last["usage"]["completion_tokens"] == 5


def test_a_missing_finish_reason_is_added():
    relay, _ = _relayed(_says("a"), DONE)
    (last,) = _last(relay)
    assert last["choices"] == [{"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}]


def test_data_over_several_lines_becomes_one_line():
    text = json.dumps(HEAD | {"choices": [{"index": 0, "text": "a"}]}, indent=1)
    spread = "".join(f"data: {line}\n" for line in text.split("\n")) + "\n"
    _, passed = _relayed(spread.encode())
    assert passed.count(b"\n") == 2


@pytest.mark.parametrize(
    ("stream", "is_complete"),
    [
        (_says("a", "stop") + DONE, True),
        (_says("a", "stop"), True),
        (_says("a") + DONE, True),
        (_says("a"), False),
        (DONE, False),
        (b"", False),
        (_says("a") + _says("b", "stop", index=1), False),
    ],
)
def test_a_stream_is_complete_with_an_answer_and_an_end(stream, is_complete):
    assert _relayed(stream)[0].is_complete is is_complete


def test_a_stream_cut_inside_an_event_is_no_failure_and_no_reply():
    relay, passed = _relayed(_says("a"), _says("b")[:-9])
    assert (relay.failure, relay.is_complete, passed) == (None, False, _says("a"))


def test_an_error_is_handed_on_as_it_came_behind_what_came_before():
    relay, passed = _relayed(_says("a") + b'data: {"error":"no"}\n\n' + _says("b"))
    assert isinstance(relay.failure, EmbeddedError)
    assert (relay.failure.payload, passed) == (b'{"error":"no"}', _says("a"))
    assert (relay.is_done, relay.is_complete) == (True, False)


@pytest.mark.parametrize(
    "garbage", [GARBAGE, b"data: []\n\n", b"data: " + b"x" * (MAX_EVENT_BYTES + 1)]
)
def test_garbage_is_a_bad_reply_behind_what_came_before(garbage):
    relay = _relay()
    passed = relay.feed(_says("a") + garbage) + relay.feed(b"x") + relay.close()
    assert isinstance(relay.failure, GroxyError)
    assert (relay.failure.kind, passed) == (ErrorKind.BAD_REPLY, _says("a"))


def test_a_whole_reply_becomes_a_stream():
    relay = _relay()
    body = json.dumps(HEAD | {"choices": [{"index": 0, "text": "a", "finish_reason": "stop"}]})
    assert b'"text": "a"' in relay.feed_whole(body.encode())
    assert relay.is_complete


def test_a_stream_that_breaks_off_ends_with_the_error():
    error = GroxyError(ErrorKind.STREAM_BROKEN, "It broke off.")
    assert _relay().fail(error) == encode_stream_error(error)


@given(st.lists(ODD_BODIES, min_size=1, max_size=4))
def test_no_stream_makes_the_relay_raise(bodies):
    relay, _ = _relayed(*[b"data: " + body + b"\n\n" for body in bodies], DONE)
    assert isinstance(relay.failure, EmbeddedError | GroxyError | None)
    assert relay.finish(relay.reported_usage() or READ_USAGE).endswith(DONE)


@given(ODD_BODIES)
def test_no_whole_body_makes_the_relay_raise(body):
    relay = _relay()
    relay.feed_whole(body)
    assert isinstance(relay.failure, EmbeddedError | GroxyError | None)


@given(
    st.lists(
        st.builds(_says, st.text(max_size=3), st.sampled_from([None, "stop"]), st.integers(0, 1))
        | st.sampled_from([_event(usage=USAGE), GARBAGE, DONE, b": note\n\n", b"\r\n"]),
        max_size=6,
    ),
    st.data(),
)
def test_any_split_of_a_stream_gives_the_same_bytes_and_the_same_tally(events, data):
    stream = b"".join(events)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[a:b] for a, b in pairwise([0, *cuts, len(stream)])]
    (split, passed), (whole, expected) = _relayed(*pieces), _relayed(stream)
    assert (passed, split.tally, split.is_complete) == (expected, whole.tally, whole.is_complete)


# ------------------------------------------------------------------------------------------- cuts


def test_a_cut_ends_the_open_choices_for_their_length():
    relay = _relay(wants_usage=True)
    relay.feed(_says("a") + _says("b", "stop", index=1) + _says("c", index=2))
    assert relay.cut() == b""
    assert (relay.is_complete, relay.is_done) == (True, True)
    assert relay.tally.finish_reason == "length"
    *ends, usage = _last(relay)
    told = [(one["choices"][0]["index"], one["choices"][0]["finish_reason"]) for one in ends]
    assert told == [(0, "length"), (2, "length")]
    assert usage["usage"].items() >= USAGE.items()
    assert all(Completion.model_validate(one, strict=True) for one in [*ends, usage])


def test_what_comes_after_a_cut_is_not_passed_on():
    relay = _relay()
    relay.feed(_says("a"))
    relay.cut()
    assert relay.feed(_says("b", "stop") + DONE) == b""
    assert relay.tally.output == ["a"]


def test_a_cut_after_the_end_changes_nothing():
    relay = _relay()
    relay.feed(_says("a", "stop"))
    relay.cut()
    assert relay.tally.finish_reason == "stop"
    assert relay.finish(READ_USAGE) == DONE


def test_a_cut_does_not_make_a_failure_a_success():
    relay = _relay()
    relay.feed(_says("a") + GARBAGE)
    relay.cut()
    assert not relay.is_complete
