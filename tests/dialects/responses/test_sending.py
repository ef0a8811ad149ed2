"""Events on their way to a caller."""

from groxy.dialects.responses.sending import LAST, EventWriter, framed


def test_events_are_numbered_from_zero() -> None:
    writer = EventWriter()
    first, second = writer.write("a", {"x": 1}), writer.write("b", {})
    assert first == b'event: a\ndata: {"type":"a","sequence_number":0,"x":1}\n\n'
    assert second == b'event: b\ndata: {"type":"b","sequence_number":1}\n\n'


def test_a_silent_writer_writes_and_counts_nothing() -> None:
    writer = EventWriter()
    writer.is_silent = True
    assert writer.write("a", {}) == b""
    assert writer.sequence == 0


def test_an_event_is_named_as_its_type() -> None:
    assert framed("a.b", b"{}") == b"event: a.b\ndata: {}\n\n"


def test_a_stream_ends_with_done() -> None:
    assert LAST == b"data: [DONE]\n\n"
