"""What is sent and when."""

import json

import pytest

from groxy.upstreams.sandbox.faults import read_script
from groxy.upstreams.sandbox.plan import CUT, Wait, split, stream_steps, whole_body, whole_steps
from tests.upstreams.sandbox.asking import chunks_of, data_of, tool, writing


def _steps(words="", *, pace=0.0, wants_usage=True, **fields):
    options = {"stream": True, "stream_options": {"include_usage": wants_usage}}
    return list(
        stream_steps(writing(f"Hello [[sandbox: {words}]]", **options, **fields), pace=pace)
    )


def _bytes(steps):
    return b"".join(step for step in steps if isinstance(step, bytes))


def _chunks(words="", **fields):
    return chunks_of(_bytes(_steps(words, **fields)))


def _whole(words="", **fields):
    return json.loads(whole_body(writing(f"Hello [[sandbox: {words}]]", **fields)))


def test_a_stream_is_one_event_a_step():
    steps = _steps()
    assert all(step.count(b"\n\n") == 1 for step in steps)
    assert steps[-1] == b"data: [DONE]\n\n"


def test_the_role_comes_first_and_once():
    deltas = [chunk["choices"][0]["delta"] for chunk in _chunks() if chunk["choices"]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert all("role" not in delta for delta in deltas[1:])


def test_usage_is_the_last_chunk_and_only_when_asked_for():
    last = _chunks()[-1]
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] > 10
    assert not any("usage" in chunk for chunk in _chunks(wants_usage=False))


def test_usage_is_written_as_xai_does():
    usage = _whole("cached=2", reasoning_effort="low")["usage"]
    thought = usage["completion_tokens_details"]["reasoning_tokens"]
    assert thought > 0
    together = usage["prompt_tokens"] + usage["completion_tokens"] + thought
    assert usage["total_tokens"] == together
    assert usage["prompt_tokens_details"]["cached_tokens"] == 2
    assert usage["cost_in_usd_ticks"] > 0


def test_whole_and_streamed_say_the_same():
    chunks, whole = _chunks(), _whole()
    streamed = "".join(
        chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"]
    )
    assert streamed == whole["choices"][0]["message"]["content"]
    assert chunks[-1]["usage"] == whole["usage"]
    assert chunks[0]["id"] == whole["id"]


def test_a_pace_puts_a_wait_before_every_token():
    steps = _steps("tokens=5", pace=20)
    assert steps[0] == Wait(0.05)
    assert sum(isinstance(step, Wait) for step in steps) == 5


def test_slow_first_waits_before_anything_is_said():
    assert _steps("slow_first=3")[0] == Wait(3)
    assert _steps("slow_first=3 comments")[:2] == [b": OPENROUTER PROCESSING\n\n", Wait(3)]


def test_a_stall_comes_after_so_many_events():
    steps = _steps("stall_after=4:9")
    assert steps.index(Wait(9)) == 4
    assert steps[-1] == b"data: [DONE]\n\n"


def test_a_cut_ends_the_stream():
    steps = _steps("cut_after=4")
    assert len(steps) == 5
    assert steps[-1] is CUT
    assert _steps("cut_after=0") == [CUT]


def test_a_cut_beyond_the_end_is_none():
    assert _steps("cut_after=10000")[-1] == b"data: [DONE]\n\n"


def test_a_cut_after_all_events_leaves_out_the_end():
    events = len(_steps()) - 1
    steps = _steps(f"cut_after={events}")
    assert len(steps) == events + 1
    assert steps[-1] is CUT


def test_garbage_is_one_unreadable_event_and_the_stream_goes_on():
    data = data_of(_bytes(_steps("garbage_after=2")))
    with pytest.raises(ValueError):
        json.loads(data[2])
    assert json.loads(data[3])
    assert data[-1] == b"[DONE]"


def test_an_error_ends_the_stream_without_done():
    data = data_of(_bytes(_steps("error_after=3")))
    assert len(data) == 4
    assert "error" in json.loads(data[-1])


def test_the_end_may_be_missing():
    assert b"[DONE]" not in _bytes(_steps("no_done"))


def test_several_things_go_wrong_in_order():
    steps = _steps("stall_after=2:1 garbage_after=2 cut_after=2")
    assert steps[2] == Wait(1)
    assert steps[4] is CUT


@pytest.mark.parametrize("words", ["usage=none", "usage=zero"])
def test_usage_may_be_missing_or_zero(words):
    last = _chunks(words)[-1]
    whole = _whole(words)
    if words == "usage=none":
        assert last["choices"]
        assert "usage" not in whole
    else:
        assert last["usage"]["total_tokens"] == whole["usage"]["total_tokens"] == 0
        assert "cost_in_usd_ticks" not in whole["usage"]


def test_usage_may_be_cumulative():
    chunks = _chunks("usage=cumulative", reasoning_effort="low")
    totals = [chunk["usage"]["total_tokens"] for chunk in chunks]
    assert totals == sorted(totals)
    assert totals[0] < totals[-1]


def test_every_delta_may_have_a_role_and_the_finish_none():
    chunks = _chunks("repeat_role empty_finish", wants_usage=False)
    assert all(chunk["choices"][0]["delta"]["role"] == "assistant" for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == ""
    assert _whole("empty_finish")["choices"][0]["finish_reason"] == ""


def test_calls_may_come_without_index():
    fields = {"tools": [tool("one")], "tool_choice": "required"}
    with_index = _chunks(**fields)[1]["choices"][0]["delta"]["tool_calls"][0]
    without = _chunks("no_index", **fields)[1]["choices"][0]["delta"]["tool_calls"][0]
    assert with_index == {"index": 0} | without


def test_comments_come_between_events():
    steps = _steps("comments")
    assert steps[0] == b": OPENROUTER PROCESSING\n\n"
    assert steps.count(steps[0]) > 3
    assert chunks_of(_bytes(steps)) == _chunks()


def test_bytes_are_split_wherever_it_falls():
    steps = _steps("cut_after=4")
    pieces = list(split(steps, 7))
    assert pieces[-1] is CUT
    assert {len(piece) for piece in pieces[:-2] if isinstance(piece, bytes)} == {7}
    assert _bytes(pieces) == _bytes(steps)
    assert list(split([b"abc", Wait(1), b"de"], 2)) == [b"ab", b"c", Wait(1), b"de"]


def test_a_whole_reply_goes_wrong_in_its_middle():
    body = b'{"a":"bcdefgh"}'
    assert list(whole_steps(body, read_script("stall_after=1:2"))) == [body[:7], Wait(2), body[7:]]
    assert list(whole_steps(body, read_script("cut_after=1"))) == [body[:7], CUT]
    (spoiled,) = whole_steps(body, read_script("garbage_after=1"))
    assert isinstance(spoiled, bytes)
    with pytest.raises(ValueError):
        json.loads(spoiled)
