"""Whole completions: passed on with the usage that counts."""

import json
from typing import Any

import pytest
from hypothesis import given

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.usage import Usage
from groxy.dialects._base import Counting, EmbeddedError, UsageRules
from groxy.dialects.completions.whole import CompletionsReply
from tests.dialects.completions.odd_replies import ODD_BODIES

USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, "num_sources_used": 0}
COUNTED = Usage(input_tokens=7, output_tokens=2, estimated=True)


def _body(**fields: Any) -> bytes:
    choices = [{"index": 0, "text": "Hello", "finish_reason": "length", "logprobs": None}]
    head = {"id": "cmpl-1", "object": "text_completion", "model": "grok-4", "choices": choices}
    return json.dumps(head | {"usage": USAGE} | fields).encode()


def _reply(body: bytes) -> CompletionsReply:
    return CompletionsReply(body, UsageRules())


def test_a_reply_keeps_all_it_has():
    reply = _reply(_body(x=[1]))
    usage = reply.reported_usage()
    assert usage == Usage(input_tokens=10, output_tokens=4)
    written = json.loads(reply.encode(usage))
    assert written | {"usage": None} == json.loads(_body(x=[1])) | {"usage": None}
    assert written["usage"].items() >= USAGE.items()


def test_the_tally_has_the_upstreams_own_words():
    tally = _reply(_body()).tally
    assert (tally.reply_id, tally.model_served, tally.finish_reason) == (
        "cmpl-1",
        "grok-4",
        "length",
    )
    assert (tally.output, tally.has_output) == (["Hello"], True)


@pytest.mark.parametrize("usage", [None, {}, [], {"prompt_tokens": -1}])
def test_usage_that_makes_no_sense_is_replaced(usage):
    reply = _reply(_body(usage=usage))
    assert reply.reported_usage() is None
    assert json.loads(reply.encode(COUNTED))["usage"]["total_tokens"] == 9


def test_usage_can_be_told_as_xai_does():
    reply = CompletionsReply(_body(), UsageRules(), counting=Counting.XAI)
    written = reply.encode(Usage(input_tokens=1, output_tokens=9, reasoning_tokens=4))
    assert json.loads(written)["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize(
    "body", [{"error": "no"}, {"error": {"message": "no"}, "choices": "x"}, {"error": [1]}]
)
def test_an_error_in_place_of_a_reply_is_handed_on_as_it_came(body):
    raw = json.dumps(body).encode()
    with pytest.raises(EmbeddedError) as caught:
        _reply(raw)
    assert caught.value.payload == raw


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"choices":[]}', b'{"choices":5}', b"[" * 100_000]
)
def test_a_body_that_is_no_reply_is_a_bad_reply(body):
    with pytest.raises(GroxyError) as caught:
        _reply(body)
    assert caught.value.kind is ErrorKind.BAD_REPLY


@given(ODD_BODIES)
def test_no_body_makes_reading_or_writing_raise_anything_else(body):
    try:
        reply = _reply(body)
    except (EmbeddedError, GroxyError):
        return
    written = reply.encode(reply.reported_usage() or COUNTED)
    assert written == body or "choices" in json.loads(written)
