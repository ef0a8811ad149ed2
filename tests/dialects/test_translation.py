"""Between two dialects: events pass in order, stop texts cut, failures stay failures."""

from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.events import (
    Cited,
    Event,
    Failed,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSealed,
    Started,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from groxy.core.usage import Usage
from groxy.dialects._base import EmbeddedError, Tally
from groxy.dialects._translation import StopTexts, TranslatedReply, TranslatedStream, note

STARTED = Started(reply_id="r1", model_served="grok-4.3", created=1)
USAGE = UsageReported(usage=Usage(input_tokens=3, output_tokens=2))
STOP = Finished(reason=FinishReason.STOP)
BROKEN = GroxyError(ErrorKind.STREAM_BROKEN, "The upstream broke off its reply.")


class Script:
    """A decoder that has its events already; each chunk gives one."""

    def __init__(self, *events: Event, failure: Exception | None = None) -> None:
        self.events = list(events)
        self.failure: Exception | None = None
        self._fails_with = failure
        self.is_complete = False
        self.is_done = False

    def feed(self, chunk: bytes) -> list[Event]:
        found = [self.events.pop(0)] if self.events else []
        if not self.events:
            self.failure, self.is_done = self._fails_with, True
            self.is_complete = self._fails_with is None
        return found

    def feed_whole(self, body: bytes) -> list[Event]:
        self.failure = self._fails_with
        return self.events

    def close(self) -> list[Event]:
        return []


class Notes:
    """An encoder that writes what it is told."""

    record = b"record"

    def feed(self, event: Event) -> bytes:
        return event.text.encode() if isinstance(event, TextDelta) else b""

    def finish(self, usage: Usage) -> bytes:
        return b"|%d" % usage.total_tokens

    def fail(self, error: GroxyError) -> bytes:
        return b"!" + error.kind.value.encode()

    def whole(self, events: Sequence[Event], usage: Usage) -> bytes:
        return b"".join(self.feed(event) for event in events) + self.finish(usage)


def streamed(*events: Event, stop: tuple[str, ...] = ()) -> tuple[TranslatedStream, bytes]:
    stream = TranslatedStream(Script(*events), Notes(), stop)
    return stream, b"".join(stream.feed(b".") for _ in events) + stream.close()


def test_events_pass_in_order_and_usage_is_taken_out() -> None:
    stream, written = streamed(STARTED, TextDelta(text="a"), TextDelta(text="b"), STOP, USAGE)
    assert written == b"ab"
    assert stream.is_complete
    assert stream.reported_usage() == USAGE.usage
    assert stream.finish(USAGE.usage) == b"|5"
    assert stream.record == b"record"


def test_a_failure_of_the_decoder_is_the_streams() -> None:
    failure = EmbeddedError(b"{}")
    stream = TranslatedStream(Script(TextDelta(text="a"), failure=failure), Notes())
    assert stream.feed(b".") == b"a"
    assert stream.failure is failure
    assert stream.is_done
    assert not stream.is_complete
    assert stream.fail(BROKEN) == b"!upstream_stream_broken"


def test_a_failed_event_ends_the_stream() -> None:
    stream, written = streamed(TextDelta(text="a"), Failed(error=BROKEN), TextDelta(text="b"))
    assert written == b"a"
    assert stream.failure is BROKEN


def test_a_whole_reply_is_the_fold_of_its_events() -> None:
    reply = TranslatedReply(b"", Script(STARTED, TextDelta(text="a"), STOP, USAGE), Notes())
    assert reply.reported_usage() == USAGE.usage
    assert reply.encode(USAGE.usage) == b"a|5"
    assert (reply.tally.reply_id, reply.tally.model_served) == ("r1", "grok-4.3")


def test_a_whole_reply_that_failed_raises_what_was_wrong() -> None:
    with pytest.raises(EmbeddedError):
        TranslatedReply(b"", Script(failure=EmbeddedError(b"{}")), Notes())


def test_the_tally_knows_calls_thoughts_and_text() -> None:
    tally = Tally()
    for event in (
        STARTED,
        ReasoningDelta(text="hm"),
        ReasoningSealed(encrypted="sealed"),
        ToolCallDelta(index=0, call_id="c1", name="look", arguments="{"),
        ToolCallDelta(index=0, arguments="}"),
        Cited(url="https://example.com"),
        Finished(reason=FinishReason.TOOL_CALLS),
    ):
        note(event, tally)
    assert tally.called == ["look"]
    assert tally.call_ids == ["c1"]
    assert tally.sealed == ["sealed"]
    assert "".join(tally.output) == "hmlook{}"
    assert tally.finish_reason == "tool_calls"
    assert tally.has_output


def test_empty_text_is_no_output() -> None:
    tally = Tally()
    note(TextDelta(text=""), tally)
    assert not tally.has_output


def cut(text: str, *stops: str, sizes: Sequence[int] = (1,)) -> tuple[str, str | None]:
    """Return what is left of a text that comes in pieces, and the stop text that ended it."""
    events: list[Event] = []
    at = turn = 0
    while at < len(text):
        size = max(sizes[turn % len(sizes)], 1)
        events.append(TextDelta(text=text[at : at + size]))
        at, turn = at + size, turn + 1
    found = list(StopTexts(stops).cut([*events, STOP]))
    said = "".join(event.text for event in found if isinstance(event, TextDelta))
    ends = [event.stop_text for event in found if isinstance(event, Finished)]
    assert len(ends) == 1
    return said, ends[0] or None


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("one two three", ["two"], ("one ", "two")),
        ("one two three", ["three", "two"], ("one ", "two")),
        ("one two", ["twos"], ("one two", None)),
        ("aab", ["ab"], ("a", "ab")),
        ("baa", ["a", "baa"], ("b", "a")),
        ("ba", ["a", "ba"], ("", "ba")),
        ("ENDING", ["END"], ("", "END")),
        ("text", [""], ("text", None)),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_the_first_stop_text_ends_the_answer(text, stops, expected, size) -> None:
    assert cut(text, *stops, sizes=[size]) == expected


@given(
    st.text("ab", max_size=40),
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.integers(1, 6), min_size=1, max_size=5),
)
def test_how_the_text_is_cut_into_pieces_does_not_matter(text, stops, sizes) -> None:
    assert cut(text, *stops, sizes=sizes) == cut(text, *stops, sizes=[max(len(text), 1)])


def test_text_that_was_held_back_comes_before_what_follows() -> None:
    call = ToolCallDelta(index=0, call_id="c1", name="look", arguments="{}")
    found = list(StopTexts(("end",)).cut([TextDelta(text="the e"), call, STOP]))
    assert found == [TextDelta(text="the "), TextDelta(text="e"), call, STOP]


def test_each_choice_ends_for_itself() -> None:
    stops = StopTexts(("x",))
    events = [TextDelta(text="ax"), TextDelta(text="b", choice=1), TextDelta(text="more")]
    found = list(stops.cut(events))
    assert TextDelta(text="b", choice=1) in found
    assert TextDelta(text="more") not in found
    assert not stops.is_cut


def test_a_stream_that_is_cut_is_complete_and_done() -> None:
    stream, written = streamed(STARTED, TextDelta(text="one two three"), stop=("two",))
    assert written == b"one "
    assert stream.is_complete
    assert stream.is_done
