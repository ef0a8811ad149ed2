"""Single events of an upstream: which are read, which are passed over, which are errors."""

import json

import msgspec
import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import EmbeddedError
from groxy.dialects.messages.stream import read_citation, read_event


def test_a_delta_is_read():
    event = read_event(
        b"content_block_delta",
        b'{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"a"}}',
    )
    assert event is not None
    assert event.delta is not None
    assert (event.type, event.index, event.delta.text) == ("content_block_delta", 2, "a")


def test_the_name_tells_where_the_data_does_not():
    event = read_event(b"message_stop", b"{}")
    assert event is not None
    assert event.type == "message_stop"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (b"ping", b'{"type":"ping"}'),
        (b"", b'{"type":"new","index":"x","delta":7}'),
        (b"new", b"{}"),
        (b"", b"{}"),
        (b"\xff", b"{}"),
    ],
)
def test_unknown_events_are_passed_over(name, data):
    assert read_event(name, data) is None


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (b"error", b'{"type":"error","error":{"type":"overloaded_error","message":"Busy"}}'),
        (b"", b'{"type":"error"}'),
        (b"error", b"{}"),
        (b"error", b"Service is gone"),
        (b"", b'{"error":"Busy"}'),
        (b"message_stop", b'{"type":"message_stop","error":{"message":"Busy"}}'),
    ],
)
def test_errors_are_told_as_they_came(name, data):
    with pytest.raises(EmbeddedError) as raised:
        read_event(name, data)
    assert raised.value.payload == data


@pytest.mark.parametrize(
    "data",
    [b"", b"no", b"[]", b"7", b'{"type":7}', b'{"type":"message_stop","index":"x"}', b"\xff", b"{"],
)
def test_nonsense_is_a_bad_reply(data):
    with pytest.raises(GroxyError) as raised:
        read_event(b"", data)
    assert raised.value.kind is ErrorKind.BAD_REPLY


@pytest.mark.parametrize(
    ("citation", "url"),
    [
        ({"type": "web_search_result_location", "url": "https://x.test", "title": "X"}, True),
        ({"type": "char_location", "cited_text": "a"}, False),
        ({"url": ""}, False),
        ({"url": 7}, False),
        (None, False),
    ],
)
def test_only_sources_with_an_address_are_sources(citation, url):
    assert (read_citation(msgspec.Raw(json.dumps(citation).encode())) is not None) == url
