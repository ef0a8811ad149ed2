"""The Messages dialect as a whole: its ends fit each other, and the official client takes them."""

import json
from typing import Any

import anthropic
import httpx2
import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.events import (
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSealed,
    TextDelta,
    ToolCallDelta,
)
from groxy.core.parts import Reasoning, Text, ToolCall
from groxy.core.usage import Usage
from groxy.dialects._base import CallersEnd, UpstreamsEnd
from groxy.dialects._translation import TranslatedReply, TranslatedStream
from groxy.dialects.messages import DIALECT
from groxy.dialects.messages.sealing import opened_token
from groxy.wire.json import encode
from tests.dialects.messages.streams import (
    CUTS,
    FOREIGN_SIGNATURE,
    RULES,
    STARTED,
    USAGE,
    adds,
    asked,
    asked_to_think,
    begins,
    calls,
    closes,
    ends,
    frame,
    heard,
    message_of,
    opens,
    pieces_of,
    says,
    streamed,
)

CALLER: CallersEnd = DIALECT
UPSTREAM: UpstreamsEnd = DIALECT
TALK = (
    begins()
    + opens(0, "thinking", thinking="", signature="")
    + adds(0, "thinking_delta", thinking="Hm.")
    + adds(0, "signature_delta", signature=FOREIGN_SIGNATURE)
    + closes(0)
    + says("Look.", 1)
    + calls(2, "toolu_1", "look", '{"x"', ":1}")
    + calls(3, "toolu_2", "go")
    + ends("tool_use")
)


def _translated(*pieces: bytes, stop: tuple[str, ...] = ()) -> tuple[TranslatedStream, bytes]:
    encoder = CALLER.encoder(asked_to_think(), frame())
    stream = TranslatedStream(UPSTREAM.decoder(RULES), encoder, stop)
    passed = b"".join(stream.feed(piece) for piece in pieces) + stream.close()
    return stream, passed + stream.finish(stream.reported_usage() or USAGE)


# ------------------------------------------------------------------------- both ends of one stream


def test_a_stream_may_take_the_longer_way_through_events():
    stream, sent = _translated(TALK)
    message = heard(sent)
    assert stream.is_complete
    assert [block["type"] for block in message["content"]] == [
        "thinking",
        "text",
        "tool_use",
        "tool_use",
    ]
    assert opened_token(message["content"][0]["signature"]) == (FOREIGN_SIGNATURE, "")
    assert [block["input"] for block in message["content"][2:]] == [{"x": 1}, {}]
    assert (message["stop_reason"], message["usage"]["input_tokens"]) == ("tool_use", 25)


@given(cuts=CUTS)
def test_any_split_of_it_sends_the_same(cuts):
    assert heard(_translated(*pieces_of(TALK, cuts))[1]) == heard(_translated(TALK)[1])


def test_a_stop_text_is_told_by_name():
    _, sent = _translated(begins() + says("one END two") + ends(), stop=("END",))
    message = heard(sent)
    assert message["content"] == [{"type": "text", "text": "one "}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")


def test_a_whole_reply_may_take_it_too():
    body = streamed(STARTED, TextDelta(text="a"), Finished(reason=FinishReason.STOP))
    message = heard(body)
    reply = TranslatedReply(
        encode(message), UPSTREAM.decoder(RULES), CALLER.encoder(asked(), frame())
    )
    usage = reply.reported_usage()
    assert usage == Usage(input_tokens=40, cached_tokens=8, output_tokens=12)
    assert message_of(reply.encode(usage)) == message


# ------------------------------------------------------------------------------ nothing is lost

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)


def _thoughts(text: str, sealed: str) -> list[Event]:
    return [ReasoningDelta(text=text), ReasoningSealed(encrypted=sealed)]


@given(
    thoughts=st.none() | st.builds(_thoughts, _TEXT, _TEXT),
    text=st.lists(_TEXT, max_size=3),
    called=st.lists(st.dictionaries(_TEXT, _TEXT, max_size=2), max_size=3),
    cuts=CUTS,
)
def test_what_is_encoded_is_decoded_whole(thoughts, text, called, cuts):
    calls_made = [
        ToolCallDelta(index=at, arguments=encode(one).decode(), call_id=f"c{at}", name=f"n{at}")
        for at, one in enumerate(called)
    ]
    events = [*(thoughts or []), *(TextDelta(text=one) for one in text), *calls_made]
    reason = FinishReason.TOOL_CALLS if called else FinishReason.STOP
    sent = streamed(STARTED, *events, Finished(reason=reason))
    decoder = DIALECT.decoder(RULES)
    read = [one for piece in pieces_of(sent, cuts) for one in decoder.feed(piece)]
    said = [one for one in read if isinstance(one, TextDelta)]
    assert "".join(one.text for one in said) == "".join(text)
    thought = [one for one in read if isinstance(one, ReasoningDelta | ReasoningSealed)]
    if thoughts:
        token = opened_token(getattr(thought.pop(), "encrypted", ""))
        assert token == (getattr(thoughts[1], "encrypted", ""), "")
        assert thought == thoughts[:1]
    assert _calls_in(read) == _calls_in(calls_made)
    assert read[-1] == Finished(reason=reason)


def _calls_in(events: list[Any]) -> dict[int, tuple[str, str, str]]:
    found: dict[int, tuple[str, str, str]] = {}
    for one in events:
        if isinstance(one, ToolCallDelta):
            call_id, name, arguments = found.get(one.index, ("", "", ""))
            found[one.index] = (
                call_id or one.call_id,
                name or one.name,
                arguments + one.arguments,
            )
    return found


def test_a_tool_loop_brings_everything_back():
    sent = streamed(
        STARTED,
        ReasoningDelta(text="Hm."),
        ReasoningSealed(encrypted="enc", item_id="rs_1"),
        TextDelta(text="Look."),
        ToolCallDelta(index=0, arguments='{"x":1}', call_id="call_1", name="look"),
        Finished(reason=FinishReason.TOOL_CALLS),
    )
    history: Any = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": heard(sent)["content"]},
    ]
    turn = DIALECT.canonical(asked(history)).messages[1]
    thought, text, call = turn.parts
    assert thought == Reasoning(text="Hm.", encrypted="enc", item_id="rs_1")
    assert text == Text(text="Look.")
    assert isinstance(call, ToolCall)
    assert (call.call_id, call.name, json.loads(call.arguments)) == ("call_1", "look", {"x": 1})


# ---------------------------------------------------------------------------- the official client


def _client(status: int, kind: str, body: bytes) -> anthropic.Anthropic:
    def reply(request: httpx2.Request) -> httpx2.Response:
        del request
        return httpx2.Response(status, headers={"content-type": kind}, content=body)

    transport = httpx2.MockTransport(reply)
    return anthropic.Anthropic(
        api_key="k", max_retries=0, http_client=httpx2.Client(transport=transport)
    )


def _ask(client: anthropic.Anthropic) -> Any:
    return client.messages.stream(
        model="m", max_tokens=9, messages=[{"role": "user", "content": "a"}]
    )


def test_the_official_client_reads_a_stream_with_pings_in_it():
    start, *rest = _translated(TALK)[1].split(b"event: content_block_start")
    sent = start + DIALECT.keepalive + b"".join(b"event: content_block_start" + one for one in rest)
    with _client(200, "text/event-stream", sent) as client, _ask(client) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"
    assert [block.type for block in final.content] == ["thinking", "text", "tool_use", "tool_use"]


def test_the_official_client_raises_what_ends_a_broken_stream():
    error = GroxyError(ErrorKind.STREAM_BROKEN, "It broke.")
    sent = begins() + says("a") + DIALECT.encode_stream_error(error)
    with (
        _client(200, "text/event-stream", sent) as client,
        pytest.raises(anthropic.APIStatusError, match="It broke"),
        _ask(client) as stream,
    ):
        stream.until_done()


@pytest.mark.parametrize(
    ("kind", "raised"),
    [
        (ErrorKind.BAD_REQUEST, anthropic.BadRequestError),
        (ErrorKind.BAD_KEY, anthropic.AuthenticationError),
        (ErrorKind.NOT_FOUND, anthropic.NotFoundError),
        (ErrorKind.RATE_LIMITED, anthropic.RateLimitError),
        (ErrorKind.UPSTREAM_DOWN, anthropic.InternalServerError),
    ],
)
def test_the_official_client_raises_the_right_error(kind, raised):
    error = GroxyError(kind, "No.")
    body = DIALECT.encode_error(error)
    with (
        _client(error.facts.status, "application/json", body) as client,
        pytest.raises(raised, match="No"),
        _ask(client),
    ):
        pass
