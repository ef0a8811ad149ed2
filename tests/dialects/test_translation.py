"""Between two dialects: events pass in order, stop texts cut, failures stay failures."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from openai.types import Completion

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
from tests.dialects.chat import streams as chat
from tests.dialects.messages import streams as messages
from tests.dialects.responses import streams as responses
from tests.interop.test_hostile import ENDS, LANES, end_of, recorded, relay_of, spoiled

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


def test_what_an_encoder_holds_back_is_counted_as_it_comes() -> None:
    call = ToolCallDelta(index=0, call_id="c1", name="look", arguments='{"a"')
    stream, written = streamed(STARTED, call)
    assert (written, "".join(stream.tally.output)) == (b"", 'look{"a"')


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


# ------------------------------------------------------------------------------------------- cuts


class Ends(Notes):
    """An encoder that writes text, and why each choice ended."""

    def feed(self, event: Event) -> bytes:
        if isinstance(event, Finished):
            return b"<%d %s>" % (event.choice, event.reason.value.encode())
        return super().feed(event)


def begun(*events: Event, stop: tuple[str, ...] = ()) -> tuple[TranslatedStream, bytes]:
    """A stream that goes on after these events."""
    stream = TranslatedStream(Script(*events, STOP), Ends(), stop)
    return stream, b"".join(stream.feed(b".") for _ in events)


def test_a_cut_ends_each_open_choice_for_its_length() -> None:
    stream, _ = begun(
        STARTED,
        TextDelta(text="a"),
        TextDelta(text="b", choice=1),
        Finished(reason=FinishReason.STOP, choice=1),
        ToolCallDelta(index=0, arguments="{", call_id="c1", name="look", choice=2),
    )
    assert stream.cut() == b"<0 length><2 length>"
    assert (stream.is_complete, stream.is_done) == (True, True)
    assert stream.tally.finish_reason == "length"
    assert stream.finish(USAGE.usage) == b"|5"


def test_a_cut_before_any_choice_ends_the_first() -> None:
    stream, _ = begun(STARTED)
    assert stream.cut() == b"<0 length>"


def test_text_held_back_for_a_stop_text_leaves_with_the_cut() -> None:
    stream, written = begun(STARTED, TextDelta(text="ab EN"), stop=("END",))
    assert written == b"ab "
    assert stream.cut() == b"EN<0 length>"


def test_what_comes_after_a_cut_is_not_passed_on() -> None:
    stream, _ = begun(STARTED, TextDelta(text="a"))
    stream.cut()
    assert stream.feed(b".") == b""
    assert stream.close() == b""
    assert stream.cut() == b""


def test_a_choice_that_ended_keeps_its_reason_when_cut() -> None:
    stream, _ = begun(STARTED, TextDelta(text="a"), Finished(reason=FinishReason.TOOL_CALLS))
    assert stream.cut() == b""
    assert stream.is_complete
    assert stream.tally.finish_reason == "tool_calls"


def test_a_cut_does_not_make_a_failure_a_success() -> None:
    stream, _ = begun(STARTED, TextDelta(text="a"), Failed(error=BROKEN))
    assert stream.cut() == b""
    assert not stream.is_complete


def _reasons(caller: str, sent: bytes) -> list[str]:
    """Why a reply ended, as a strict client of its dialect reads it."""
    match caller:
        case "chat":
            return [one.finish for one in chat.heard_from(sent).values()]
        case "responses":
            details = responses.final(sent)["incomplete_details"]
            return [details["reason"] if details else "stop"]
        case "messages":
            return [messages.heard(sent)["stop_reason"]]
        case _:
            chunks = chat.chunks_of(sent)
            last = chunks[-1:]
            assert all(Completion.model_validate(one, strict=True) for one in last)
            return [one["choices"][0]["finish_reason"] for one in last]


@pytest.mark.parametrize("tools", [True, False])
@pytest.mark.parametrize(("caller", "speaks"), LANES)
def test_on_every_lane_clients_can_read_a_reply_that_was_cut_anywhere(
    caller: str, speaks: str, tools: bool
) -> None:
    sent = recorded(speaks, stream=True, tools=tools)
    most = "max_output_tokens" if caller == "responses" else "max_tokens"
    reasons: set[str] = set()
    for at in range(0, len(sent), max(len(sent) // 25, 1)):
        relay = relay_of(caller, speaks)
        passed = relay.feed(sent[:at]) + relay.cut()
        assert relay.is_complete
        reasons |= set(_reasons(caller, passed + relay.finish(USAGE.usage)))
    expected = "length" if caller in ("chat", "completions") else most
    assert expected in reasons
    assert reasons <= {expected, "tool_calls", "tool_use", "end_turn", "stop"}


@pytest.mark.parametrize(("caller", "speaks"), LANES)
def test_a_spoiled_stream_can_be_cut_anywhere_and_never_raises(caller: str, speaks: str) -> None:
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(spoiled(speaks))
    def check(chunks: list[bytes]) -> None:
        relay = relay_of(caller, speaks)
        passed = b"".join(relay.feed(chunk) for chunk in chunks[:-1])
        if relay.is_complete:
            return  # Its usage may still come.
        passed += relay.cut()
        assert relay.is_complete == (relay.failure is None)
        assert (passed + end_of(relay)).endswith(ENDS) or relay.failure is not None
        assert relay.cut() == b""
        assert relay.feed(chunks[-1]) == b""

    check()
