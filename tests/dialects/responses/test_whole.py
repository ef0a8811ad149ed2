"""Whole replies, same dialect on both sides."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.usage import Usage
from groxy.dialects._base import EmbeddedError
from groxy.dialects.responses import DIALECT
from groxy.dialects.responses.reading import Incomplete, OutputItem, Reply
from groxy.dialects.responses.whole import finish_reason, note_item
from tests.dialects.responses.streams import (
    CUSTOM,
    USAGE,
    XAI,
    asked,
    call,
    checked_reply,
    frame,
    message,
    reply,
    thoughts,
)


def read(body: Any, **fields: Any) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return DIALECT.read_whole(raw, asked(**fields), XAI, frame())


def written(body: Any, **fields: Any) -> dict[str, Any]:
    got = read(body, **fields)
    return checked_reply(got.encode(got.reported_usage() or USAGE))


def test_a_reply_is_passed_on_with_what_only_the_gateway_knows() -> None:
    got = written(reply([message()]), previous_response_id="resp_0", metadata={"a": "b"})
    assert (got["id"], got["model"]) == ("resp_abc", "grok-4.7-0901")
    assert (got["store"], got["previous_response_id"]) == (True, "resp_0")
    assert got["metadata"] == {"a": "b"}
    assert got["output"] == [message()]
    assert got["usage"]["output_tokens"] == 119
    assert got["usage"]["num_sources_used"] == 0


def test_the_books_read_usage_and_what_was_called() -> None:
    got = read(reply([thoughts(), message(), call()]))
    assert got.reported_usage().cost_ticks == 37756000
    tally = got.tally
    assert (tally.model_served, tally.finish_reason) == ("grok-4.7-0901", "tool_calls")
    assert (tally.sealed, tally.called, tally.call_ids) == (["SEALED"], ["get_weather"], ["call_1"])
    assert "Hi there." in tally.output
    assert tally.has_output


def test_usage_that_was_counted_here_is_told() -> None:
    got = read(reply([message()], usage=None))
    assert got.reported_usage() is None
    shown = checked_reply(got.encode(Usage(input_tokens=3, output_tokens=4, estimated=True)))
    assert shown["usage"]["total_tokens"] == 7


def test_what_is_kept_has_the_sealed_thoughts() -> None:
    got = read(reply([thoughts()]))
    shown = json.loads(got.encode(USAGE))
    assert json.loads(got.record) == {"response": shown, "output": [thoughts()]}


def test_a_custom_tools_call_is_one_again() -> None:
    got = written(reply([call('{"input":"x"}', "apply_patch")]), tools=[CUSTOM])
    assert got["output"][0]["type"] == "custom_tool_call"
    assert got["output"][0]["input"] == "x"


def test_a_cut_reply_says_so() -> None:
    got = written(reply(status="incomplete", incomplete_details={"reason": "max_output_tokens"}))
    assert got["status"] == "incomplete"
    assert got["incomplete_details"] == {"reason": "max_output_tokens"}


def test_a_reply_without_a_status_is_completed() -> None:
    assert written({"output": [message()]})["status"] == "completed"


@pytest.mark.parametrize(
    ("wire", "called", "reason"),
    [
        (Reply(), [], "stop"),
        (Reply(), ["f"], "tool_calls"),
        (Reply(status="incomplete"), ["f"], "length"),
        (
            Reply(status="incomplete", incomplete_details=Incomplete(reason="content_filter")),
            [],
            "content_filter",
        ),
    ],
)
def test_why_it_ended_is_booked(wire, called, reason) -> None:
    from groxy.dialects._base import Tally

    tally = Tally()
    for name in called:
        note_item(OutputItem(type="function_call", name=name), tally)
    assert finish_reason(wire, tally) == reason


def test_an_error_in_place_of_a_reply_is_one() -> None:
    with pytest.raises(EmbeddedError) as caught:
        read({"code": "The service is currently unavailable", "error": "Later."})
    assert json.loads(caught.value.payload)["error"] == "Later."


@pytest.mark.parametrize("body", [b"<html>", b"", b"7", b"{}", b'{"output":null}'])
def test_nonsense_is_a_bad_reply(body) -> None:
    with pytest.raises(GroxyError) as caught:
        read(body)
    assert caught.value.kind is ErrorKind.BAD_REPLY


@given(raw=st.binary(max_size=60))
def test_no_bytes_raise_anything_else(raw) -> None:
    for body in (raw, b'{"output":[' + raw + b"]}"):
        try:
            read(body).encode(USAGE)
        except (EmbeddedError, GroxyError):
            continue
