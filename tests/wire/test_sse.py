"""Server-sent events: the same events however the bytes are split and the lines are ended."""

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.wire.sse import DONE, KEEPALIVE, MAX_EVENT_BYTES, SseEvent, SseReader

MARK = b"\xef\xbb\xbf"


def _events(*chunks: bytes) -> list[SseEvent]:
    reader = SseReader()
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return events + reader.close()


def _bytes_of(stream: bytes) -> list[bytes]:
    return [stream[at : at + 1] for at in range(len(stream))]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [(b"", b"a")]),
        (b"data:a\n\n", [(b"", b"a")]),
        (b"data:  a \n\n", [(b"", b" a ")]),
        (b"event:  x \ndata:  a \n\n", [(b" x ", b" a ")]),
        (b"data: a\n\ndata: b\n\n", [(b"", b"a"), (b"", b"b")]),
        (b"data: a\ndata: b\n\n", [(b"", b"a\nb")]),
        (b"data: a\ndata:\ndata: b\n\n", [(b"", b"a\n\nb")]),
        (b"data\n\n", [(b"", b"")]),
        (b"data:\n\n", [(b"", b"")]),
        (b"event: error\ndata: a\n\n", [(b"error", b"a")]),
        (b"data: a\nevent:error\n\n", [(b"error", b"a")]),
        (b"event: one\nevent: two\ndata: a\n\n", [(b"two", b"a")]),
        (b"id: 7\nretry: 10\ndata: a\n\n", [(b"", b"a")]),
        (b": a comment\ndata: a\n\n", [(b"", b"a")]),
        (b"data: a\n: a comment\ndata: b\n\n", [(b"", b"a\nb")]),
        (b'data: {"a":\ndata: 1}\n\n', [(b"", b'{"a":\n1}')]),
        (b"data: a: b\n\n", [(b"", b"a: b")]),
        (b"database: a\n\n", []),
        (b" data: a\n\n", []),
        (b"DATA: a\n\n", []),
        (b"event: a\n\n", []),
        (b": OPENROUTER PROCESSING\n\n", []),
        (b"\n\n\n\n\n", []),
        (b"\n\n\ndata: a\n\n\n\ndata: b\n\n\n", [(b"", b"a"), (b"", b"b")]),
        (b"", []),
        (KEEPALIVE, []),
        (b"data: [DONE]\n\n", [(b"", DONE)]),
    ],
)
class TestEvents:
    def test_are_read_from_one_chunk(self, stream, events):
        assert _events(stream) == events

    def test_are_read_byte_by_byte(self, stream, events):
        assert _events(*_bytes_of(stream)) == events

    @pytest.mark.parametrize("end", [b"\r\n", b"\r"])
    def test_are_the_same_with_other_line_ends(self, stream, events, end):
        assert _events(*_bytes_of(stream.replace(b"\n", end))) == events

    def test_are_the_same_behind_a_byte_order_mark(self, stream, events):
        assert _events(*_bytes_of(MARK + stream)) == events


def test_an_event_is_given_as_soon_as_its_empty_line_is_there():
    reader = SseReader()
    assert reader.feed(b"data: a\n") == []
    assert reader.feed(b"\n") == [(b"", b"a")]


def test_an_event_ended_by_a_lone_cr_is_given_without_waiting_for_more():
    reader = SseReader()
    assert reader.feed(b"data: a\r\r") == [(b"", b"a")]


def test_an_lf_behind_the_cr_of_another_chunk_is_the_same_line_end():
    reader = SseReader()
    reader.feed(b"data: a\r")
    assert reader.feed(b"\ndata: b\r\n\r\n") == [(b"", b"a\nb")]


def test_an_empty_chunk_between_cr_and_lf_changes_nothing():
    reader = SseReader()
    reader.feed(b"data: a\r")
    reader.feed(b"")
    assert reader.feed(b"\ndata: b\n\n") == [(b"", b"a\nb")]


def test_a_byte_order_mark_counts_at_the_start_only():
    assert _events(b"data: a\n\n" + MARK + b"data: b\n\n") == [(b"", b"a")]


def test_half_a_byte_order_mark_is_no_event():
    assert _events(MARK[:2]) == []


def test_the_last_event_counts_without_its_empty_line():
    assert _events(b"data: a\n\ndata: b") == [(b"", b"a"), (b"", b"b")]


def test_a_cut_comment_is_no_event():
    assert _events(b"data: a\n\n: keepal") == [(b"", b"a")]


def test_a_closed_reader_holds_nothing_more():
    reader = SseReader()
    reader.feed(b"data: a")
    reader.close()
    assert reader.close() == []


_LINES = st.lists(
    st.sampled_from(
        [
            b"data: a",
            b"data:b",
            b"data",
            b"data: [DONE]",
            b'data: {"a": "\xc3\xa9"}',
            b"event: x",
            b": note",
            b"id: 1",
            b"",
            b"",
            b"",
        ]
    ),
    max_size=14,
)


@st.composite
def _split_streams(draw) -> tuple[bytes, list[bytes]]:
    """The same lines with LF, and with any line ends cut into any chunks."""
    lines = [*draw(_LINES), b"data: end", b"", b""]
    ends = draw(
        st.lists(st.sampled_from([b"\n", b"\r\n", b"\r"]), min_size=len(lines), max_size=len(lines))
    )
    # CR before an empty line that LF ends would be one CRLF: there is no such stream.
    for at in range(1, len(lines)):
        if ends[at - 1] == b"\r" and ends[at] == b"\n" and not lines[at]:
            ends[at] = b"\r\n"
    plain = b"".join(line + b"\n" for line in lines)
    stream = draw(st.sampled_from([b"", MARK])) + b"".join(
        line + end for line, end in zip(lines, ends, strict=True)
    )
    cuts = sorted(draw(st.sets(st.integers(0, len(stream)), max_size=8)))
    bounds = [0, *cuts, len(stream)]
    return plain, [stream[a:b] for a, b in pairwise(bounds)]


@given(_split_streams())
def test_any_split_and_any_line_ends_give_the_same_events(drawn):
    plain, chunks = drawn
    assert _events(*chunks) == _events(plain)


_ANYTHING = st.lists(
    st.sampled_from(
        [b"data:", b"event:", b" ", b"a", b":", b"\n", b"\r", b"\n\n", MARK, b"\x00\xff"]
    )
    | st.binary(max_size=3),
    max_size=20,
).map(b"".join)


@given(_ANYTHING)
def test_any_bytes_give_the_same_events_one_by_one(stream):
    assert _events(*_bytes_of(stream)) == _events(stream)


@given(_ANYTHING)
def test_no_line_end_is_left_in_a_name_and_no_cr_in_data(stream):
    for name, data in _events(stream):
        assert b"\n" not in name
        assert b"\r" not in name + data


def test_a_megabyte_in_small_chunks_is_one_event():
    text = b"x" * 1_000_000
    stream = b"data: " + text + b"\n\n"
    chunks = [stream[at : at + 1000] for at in range(0, len(stream), 1000)]
    assert _events(*chunks) == [(b"", text)]


def _overfull_reader() -> tuple[SseReader, list[SseEvent]]:
    reader = SseReader()
    return reader, reader.feed(b"data: a\n\ndata: " + b"x" * MAX_EVENT_BYTES)


def test_an_event_without_end_is_refused():
    reader, _ = _overfull_reader()
    with pytest.raises(GroxyError) as caught:
        reader.feed(b"x")
    assert caught.value.kind is ErrorKind.BAD_REPLY


def test_what_came_before_an_event_without_end_is_not_lost():
    _, events = _overfull_reader()
    assert events == [(b"", b"a")]


def test_many_small_events_never_count_as_a_large_one():
    reader = SseReader()
    event = b"data: " + b"x" * (MAX_EVENT_BYTES // 8) + b"\n\n"
    assert sum(len(reader.feed(event)) for _ in range(12)) == 12
