"""Whole replies of the same dialect: passed on as they are, mended, or turned into events."""

import json
from typing import Any

import pytest
from hypothesis import given

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.usage import Usage
from groxy.dialects._base import EmbeddedError
from groxy.dialects.messages.whole import MessagesReply, whole_as_events
from tests.dialects.messages.odd_replies import ODD_BODIES
from tests.dialects.messages.streams import RULES, USAGE, frame, message_of

REPLY: Any = {
    "id": "msg_up",
    "type": "message",
    "role": "assistant",
    "model": "grok-4.7",
    "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "redacted_thinking", "data": "enc"},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "t", "name": "n", "input": {"x": 1}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 4, "service_tier": "standard"},
}
READ = Usage(input_tokens=3, output_tokens=4)


def _reply(body: Any) -> MessagesReply:
    written = body if isinstance(body, bytes) else json.dumps(body).encode()
    return MessagesReply(written, RULES, frame())


def test_a_good_reply_is_passed_on_byte_for_byte():
    body = json.dumps(REPLY, indent=1).encode()
    assert _reply(body).encode(READ) == body


def test_the_books_hear_it():
    reply = _reply(REPLY)
    tally = reply.tally
    assert reply.reported_usage() == READ
    assert (tally.reply_id, tally.model_served) == ("msg_up", "grok-4.7")
    assert "".join(tally.output) == 'Hm.an{"x": 1}'
    assert (tally.called, tally.call_ids, tally.sealed) == (["n"], ["t"], ["sig", "enc"])
    assert (tally.finish_reason, tally.has_output) == ("tool_calls", True)
    assert reply.record == b""


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": 0, "output_tokens": 0}])
def test_usage_that_is_missing_is_written(usage):
    reply = _reply(REPLY | {"usage": usage})
    assert reply.reported_usage() is None
    written = message_of(reply.encode(USAGE))
    assert written["usage"]["input_tokens"] == 32
    assert written | {"usage": 0} == REPLY | {"usage": 0}


@pytest.mark.parametrize("name", ["id", "type", "role", "model"])
def test_a_missing_field_is_added(name):
    body = {key: value for key, value in REPLY.items() if key != name}
    written = message_of(_reply(body).encode(READ))
    expected = REPLY | {"id": {"id": "msg_abc", "model": ""}.get(name, "msg_up")}
    assert written[name] == {"id": "msg_abc", "model": ""}.get(name, expected[name])


@pytest.mark.parametrize("told", [{}, {"stop_reason": None}, {"stop_reason": "end_turn"}])
@pytest.mark.parametrize(
    ("content", "reason"),
    [(REPLY["content"], "tool_use"), ([{"type": "text", "text": "a"}], "end_turn")],
)
def test_a_reason_that_is_missing_or_plain_follows_what_was_said(told, content, reason):
    body = {name: value for name, value in REPLY.items() if name != "stop_reason"}
    reply = _reply(body | {"content": content} | told)
    assert message_of(reply.encode(READ))["stop_reason"] == reason
    assert reply.tally.finish_reason == {"tool_use": "tool_calls"}.get(reason, "stop")


def test_a_stop_text_is_the_reason_that_is_missing():
    body = REPLY | {"content": [], "stop_reason": None, "stop_sequence": "END"}
    written = message_of(_reply(body).encode(READ))
    assert (written["stop_reason"], written["stop_sequence"]) == ("stop_sequence", "END")


def test_arguments_keep_their_spelling_where_the_reason_is_mended():
    call = b'[{"type":"tool_use","id":"t","name":"n","input":{"x":1.10}}]'
    body = json.dumps(REPLY | {"content": 0, "stop_reason": "end_turn"}).encode()
    written = _reply(body.replace(b'"content": 0', b'"content": ' + call)).encode(READ)
    assert (b'{"x":1.10}' in written, b'"tool_use"' in written) == (True, True)


def test_further_fields_of_the_reply_and_its_usage_stay():
    written = message_of(_reply(REPLY | {"extra": {"a": 1}}).encode(USAGE))
    assert (written["extra"], written["usage"]["service_tier"]) == ({"a": 1}, "standard")


@pytest.mark.parametrize(
    "body",
    [
        {"type": "error", "error": {"type": "api_error", "message": "No"}},
        {"error": "No"},
        REPLY | {"error": {"message": "No"}},
    ],
)
def test_an_error_is_told_as_it_came(body):
    for read in (_reply, lambda one: whole_as_events(json.dumps(one).encode())):
        with pytest.raises(EmbeddedError) as raised:
            read(body)
        assert json.loads(raised.value.payload) == body


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b'{"content":7}', b'{"content":[{}]}', b"\xff", b"[" * 9999],
)
def test_nonsense_is_a_bad_reply(body):
    for read in (_reply, whole_as_events):
        with pytest.raises(GroxyError) as raised:
            read(body)
        assert raised.value.kind is ErrorKind.BAD_REPLY


@given(body=ODD_BODIES)
def test_no_body_crashes_it(body):
    try:
        reply = _reply(body)
    except (EmbeddedError, GroxyError):
        return
    reply.encode(reply.reported_usage() or USAGE)


def test_the_events_of_a_whole_reply():
    citation = {"type": "web_search_result_location", "url": "https://x.test"}
    body = REPLY | {
        "content": [
            {"type": "text", "text": "a", "citations": [citation]},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        ]
    }
    events = [json.loads(one) for one in whole_as_events(json.dumps(body).encode())]
    assert [one["type"] for one in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[3]["delta"] == {"type": "citations_delta", "citation": citation}
    assert events[5]["content_block"] == body["content"][1]
