"""What reading a stream has in common, whoever reads it; the tests of both readers have more."""

import pytest
from msgspec import Raw

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import EmbeddedError, UsageRules
from groxy.dialects.chat.chunks import ChunkStream, garbage, seconds_of
from tests.dialects.chat.streams import DONE, XAI_USAGE, ends, event, says, usage_event


class _Reader(ChunkStream[bytes]):
    """Passes every chunk on."""

    _has_output = True

    def _take(self, data: bytes) -> bytes:
        self._read(data)
        return data

    def read(self, stream: bytes) -> list[bytes]:
        return self._fed(stream) + self._rest()


def _reader() -> _Reader:
    return _Reader(UsageRules())


def test_what_came_before_a_failure_is_still_returned():
    reader = _reader()
    assert len(reader.read(says("a") + event({"error": "no"}) + says("b"))) == 1
    assert isinstance(reader.failure, EmbeddedError)
    assert (reader.is_done, reader.is_complete) == (True, False)


def test_what_cannot_be_read_is_a_bad_reply():
    reader = _reader()
    reader.read(event(b"<html>") + says("a"))
    assert isinstance(reader.failure, GroxyError)
    assert reader.failure.kind is ErrorKind.BAD_REPLY


def test_half_an_event_at_the_end_is_a_cut_and_no_failure():
    reader = _reader()
    assert len(reader.read(says("a") + says("b")[:-8])) == 1
    assert (reader.failure, reader.is_done, reader.is_complete) == (None, False, False)


def test_nothing_is_read_behind_done():
    reader = _reader()
    assert reader.read(DONE + says("a")) == []
    assert reader.is_complete


def test_the_last_usage_counts():
    reader = _reader()
    early = XAI_USAGE | {"prompt_tokens": 1}
    reader.read(says("a", usage=early) + usage_event(XAI_USAGE) + ends(usage=None))
    usage = reader.reported_usage()
    assert usage is not None
    assert usage.input_tokens == 32


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [(b"7", 7), (b"7.9", 7), (b"", 0), (b"null", 0), (b'"7"', 0), (b"[]", 0), (b"1e999", 0)],
)
def test_a_time_that_is_none_is_zero(raw, seconds):
    assert seconds_of(Raw(raw)) == seconds


def test_an_error_about_garbage_has_nothing_of_it_in_its_message():
    assert "secret" not in garbage(ValueError("secret")).message
