"""What is read of an upstream's events and replies."""

import json
from typing import Any

import pytest
from msgspec import Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import EmbeddedError
from groxy.dialects.responses import reading
from tests.dialects.responses.streams import call, message, reply, thoughts


def payload(data: Any, name: bytes = b"") -> Any:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    with pytest.raises(EmbeddedError) as caught:
        reading.read_event(name, raw)
    return json.loads(caught.value.payload)


def test_an_event_without_a_type_is_what_its_line_says() -> None:
    event = reading.read_event(b"response.created", b"{}")
    assert (event.type, event.has_type) == ("response.created", False)
    assert reading.read_event(b"x", b'{"type":"y","has_type":7}').has_type is True


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"output_index": 2, "item_id": "a"}, 2),
        ({"item_id": "a"}, "a"),
        ({"output_index": "2"}, None),
        ({}, None),
    ],
)
def test_an_event_belongs_to_an_item(data, place) -> None:
    assert reading.read_event(b"x", json.dumps(data).encode()).place == place


@pytest.mark.parametrize("delta", [None, 7, {"a": 1}])
def test_a_delta_that_is_no_text_has_none(delta) -> None:
    assert reading.read_event(b"x", json.dumps({"delta": delta}).encode()).fragment == ""


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (
            {"type": "error", "code": "c", "message": "m", "param": "p", "sequence_number": 3},
            {"code": "c", "message": "m", "param": "p"},
        ),
        ({"type": "error", "error": {"code": "c", "message": "m"}}, {"code": "c", "message": "m"}),
        (
            {"type": "response.failed", "response": {"error": {"code": "c", "message": "m"}}},
            {"code": "c", "message": "m"},
        ),
        ({"code": "c", "error": "m"}, "m"),
        ({"error": {"message": "m"}}, {"message": "m"}),
        ({"type": "response.error", "error": "m"}, "m"),
    ],
)
def test_an_error_is_told_as_errors_are_read(data, error) -> None:
    assert payload(data)["error"] == error


@pytest.mark.parametrize(
    "data",
    [
        {"type": "response.failed"},
        {"type": "response.failed", "response": {"status": "failed", "error": None}},
        {"type": "response.failed", "response": 7},
        {"type": "error", "error": [1]},
    ],
)
def test_an_error_that_says_nothing_has_a_message(data) -> None:
    assert payload(data)["error"]["message"]


def test_an_error_named_by_its_line_alone_is_one() -> None:
    assert payload({"message": "m"}, b"error")["error"]["message"] == "m"


@pytest.mark.parametrize("nothing", [None, {}, [], "", False])
def test_an_error_that_is_nothing_is_none(nothing) -> None:
    assert reading.read_event(b"", json.dumps({"error": nothing}).encode()).type == ""


def test_a_reply_that_was_cancelled_broke_off() -> None:
    with pytest.raises(GroxyError) as caught:
        reading.read_event(b"", b'{"type":"response.cancelled"}')
    assert caught.value.kind is ErrorKind.STREAM_BROKEN


@pytest.mark.parametrize("raw", [b"", b"7", b"{", b'{"output":7}', b'{"status":[]}'])
def test_what_cannot_be_read_is_empty(raw) -> None:
    assert reading.read_reply(Raw(raw)) == reading.Reply()


@pytest.mark.parametrize("raw", [b"", b"7", b"{", b'{"content":7}'])
def test_an_item_that_cannot_be_read_is_empty(raw) -> None:
    assert reading.read_item(Raw(raw)) == reading.OutputItem()


def test_an_items_text_is_put_together() -> None:
    parts = [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}]
    item = reading.read_item(Raw(json.dumps(message() | {"content": parts}).encode()))
    assert item.said == "ab"
    assert reading.read_item(Raw(json.dumps(thoughts("x")).encode())).thoughts == "x"


def test_a_whole_reply_is_read_both_ways() -> None:
    body = json.dumps(reply([call()])).encode()
    read, fields = reading.read_body(body)
    assert (read.status, len(read.output or ())) == ("completed", 1)
    assert fields == json.loads(body)


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelled"])
def test_a_reply_that_has_not_come_to_an_end_is_a_bad_one(status) -> None:
    with pytest.raises(GroxyError) as caught:
        reading.read_body(json.dumps(reply(status=status)).encode())
    assert caught.value.kind is ErrorKind.BAD_REPLY


def test_a_bad_replys_detail_is_for_the_log() -> None:
    error = reading.garbage(ValueError("secret"))
    assert "secret" in error.detail
    assert "secret" not in error.message
