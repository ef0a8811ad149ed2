"""The chat dialect as a whole: its ends fit each other, and both lanes do as they are asked."""

import json
from typing import Any

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.usage import Usage
from groxy.dialects._base import Asked, CallersEnd, Counting, Frame, UpstreamsEnd, UsageRules
from groxy.dialects._translation import TranslatedReply, TranslatedStream
from groxy.dialects.chat import DIALECT
from tests.dialects.chat.streams import DONE, begins, calls, chunks_of, ends, heard_from, says

CALLER: CallersEnd = DIALECT
UPSTREAM: UpstreamsEnd = DIALECT
RULES = UsageRules()
BILL = Usage(input_tokens=32, output_tokens=103, reasoning_tokens=94, cost_ticks=37_756_000)


def _asked(**fields: Any) -> Asked:
    messages = [{"role": "user", "content": "Hello"}]
    return DIALECT.decode_request(
        json.dumps({"model": "grok-4", "messages": messages} | fields).encode()
    )


def _frame(counting: Counting = Counting.OPENAI) -> Frame:
    return Frame(reply_id="r", created=1, count_input=lambda: 0, counting=counting)


def _translated(asked: Asked, frame: Frame) -> TranslatedStream:
    return TranslatedStream(UPSTREAM.decoder(RULES), CALLER.encoder(asked, frame), ())


def test_a_stream_may_take_the_longer_way_through_events():
    stream = _translated(_asked(), _frame())
    look = {"index": 0, "id": "c", "type": "function", "function": {"name": "look"}}
    sent = stream.feed(begins() + says("Hi") + calls(look) + ends("tool_calls") + DONE)
    (heard,) = heard_from(sent + stream.finish(BILL)).values()
    assert (heard.text, heard.finish) == ("Hi", "tool_calls")
    assert heard.calls == {0: {"id": "c", "name": "look", "arguments": ""}}
    assert (stream.tally.called, stream.tally.call_ids) == (["look"], ["c"])


@pytest.mark.parametrize("is_translated", [True, False])
def test_cost_and_counting_are_as_asked_for_in_a_stream_of_either_lane(is_translated):
    asked, frame = _asked(usage={"include": True}), _frame(Counting.XAI)
    stream = _translated(asked, frame) if is_translated else CALLER.relay(asked, RULES, frame)
    sent = stream.feed(begins() + says("Hi") + ends() + DONE) + stream.finish(BILL)
    usage = chunks_of(sent)[-1]["usage"]
    assert (usage["completion_tokens"], usage["cost"]) == (9, 0.0037756)


@pytest.mark.parametrize("is_translated", [True, False])
def test_cost_and_counting_are_as_asked_for_in_a_whole_reply_of_either_lane(is_translated):
    asked, frame = _asked(usage={"include": True}), _frame(Counting.XAI)
    body = b'{"choices":[{"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}'
    reply = (
        TranslatedReply(body, UPSTREAM.decoder(RULES), CALLER.encoder(asked, frame), ())
        if is_translated
        else CALLER.read_whole(body, asked, RULES, frame)
    )
    usage = json.loads(reply.encode(BILL))["usage"]
    assert (usage["completion_tokens"], usage["cost"]) == (9, 0.0037756)


def test_a_stream_that_breaks_off_ends_alike_in_either_lane():
    error = GroxyError(ErrorKind.STREAM_BROKEN, "It broke off.")
    asked, frame = _asked(), _frame()
    ends_ = {
        _translated(asked, frame).fail(error),
        CALLER.relay(asked, RULES, frame).fail(error),
        CALLER.encode_stream_error(error),
    }
    assert len(ends_) == 1
