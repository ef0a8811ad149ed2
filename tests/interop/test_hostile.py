"""Whatever bytes an upstream sends, no lane raises, and every reply comes to an end."""

import json
from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.usage import Usage
from groxy.dialects._base import EmbeddedError, Frame, StreamRelay, UsageRules
from groxy.dialects._translation import TranslatedReply, TranslatedStream
from groxy.dialects.chat import DIALECT as CHAT
from groxy.dialects.completions import DIALECT as COMPLETIONS
from groxy.dialects.messages import DIALECT as MESSAGES
from groxy.dialects.responses import DIALECT as RESPONSES
from groxy.upstreams.sandbox.server import Sandbox
from tests.interop import asking

DIALECTS: dict[str, Any] = {
    dialect.name: dialect for dialect in (CHAT, RESPONSES, MESSAGES, COMPLETIONS)
}
UPSTREAMS = ("chat", "responses", "messages")
LANES = list(product(DIALECTS, UPSTREAMS))
FRAME = Frame(reply_id="0f0f", created=1, count_input=lambda: 7)
USAGE = Usage(input_tokens=3, output_tokens=2)
BROKEN = GroxyError(ErrorKind.STREAM_BROKEN, "The upstream broke off its reply.")
ENDS = (b"[DONE]\n\n", b'"type":"message_stop"}\n\n', b"event: error\n")


@cache
def recorded(speaks: str, *, stream: bool, tools: bool) -> bytes:
    """Return what the sandbox answers in a dialect."""
    build: Callable[[str, str], Any] = asking.with_tools if tools else asking.with_reasoning
    body = build(speaks, "Use get_weather and get_time.") | {"stream": stream}
    path = asking.PATHS[speaks]
    reply = Sandbox().answer("POST", path, {}, json.dumps(body).encode())
    pieces = [step for step in reply.body._steps if isinstance(step, bytes)]
    reply.body.close()
    return b"".join(pieces)


def relay_of(caller: str, speaks: str) -> StreamRelay:
    asked = DIALECTS[caller].decode_request(json.dumps(asking.text(caller, "Hi")).encode())
    if caller == speaks:
        relay: StreamRelay = DIALECTS[caller].relay(asked, UsageRules(), FRAME)
        return relay
    decoder = DIALECTS[speaks].decoder(UsageRules())
    return TranslatedStream(decoder, DIALECTS[caller].encoder(asked, FRAME), ("zzz",))


def end_of(relay: StreamRelay) -> bytes:
    return relay.finish(USAGE) if relay.is_complete else relay.fail(BROKEN)


@st.composite
def spoiled(draw: Any, speaks: str) -> list[bytes]:
    """A good stream with parts taken out, doubled or overwritten, in pieces."""
    whole = recorded(speaks, stream=True, tools=draw(st.booleans()))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(whole)))
        size = draw(st.integers(0, 200))
        middle = draw(
            st.sampled_from([b"", whole[at : at + size] * 2, b"\n\n", b"null", b'"', b"{"])
            | st.binary(max_size=20)
        )
        whole = whole[:at] + middle + whole[at + size :]
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@pytest.mark.parametrize(("caller", "speaks"), LANES)
def test_a_spoiled_stream_still_comes_to_an_end(caller, speaks) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(spoiled(speaks))
    def check(chunks: list[bytes]) -> None:
        relay = relay_of(caller, speaks)
        written = b"".join(relay.feed(chunk) for chunk in chunks) + relay.close()
        assert relay.failure is None or isinstance(relay.failure, EmbeddedError | GroxyError)
        relay.reported_usage()
        last = written + end_of(relay)
        assert last.endswith(ENDS) or b'"error"' in last[-700:]

    check()


@pytest.mark.parametrize(("caller", "speaks"), LANES)
def test_how_a_stream_is_cut_into_pieces_does_not_matter(caller, speaks) -> None:
    for tools in (False, True):
        whole = recorded(speaks, stream=True, tools=tools)
        seen = set()
        for size in (1, 3, 17, 1000, len(whole)):
            relay = relay_of(caller, speaks)
            pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
            written = b"".join(relay.feed(piece) for piece in pieces) + relay.close()
            seen.add(written + end_of(relay))
        assert len(seen) == 1


@pytest.mark.parametrize(("caller", "speaks"), LANES)
def test_a_spoiled_whole_reply_is_an_error_or_an_answer(caller, speaks) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: Any) -> None:
        whole = recorded(speaks, stream=False, tools=data.draw(st.booleans()))
        at = data.draw(st.integers(0, len(whole)))
        size = data.draw(st.integers(0, 60))
        middle = data.draw(st.sampled_from([b"", b"null", b"7", b'"x"', b"[]", b"{}"]))
        body = whole[:at] + middle + whole[at + size :]
        asked = DIALECTS[caller].decode_request(json.dumps(asking.text(caller, "Hi")).encode())
        try:
            if caller == speaks:
                reply = DIALECTS[caller].read_whole(body, asked, UsageRules(), FRAME)
            else:
                decoder = DIALECTS[speaks].decoder(UsageRules())
                reply = TranslatedReply(body, decoder, DIALECTS[caller].encoder(asked, FRAME))
        except (EmbeddedError, GroxyError):
            return
        reply.reported_usage()
        json.loads(reply.encode(USAGE))

    check()


@pytest.mark.parametrize("speaks", UPSTREAMS)
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"7", b"<html>", b"\xff\xfe", b"{" * 5000])
def test_nonsense_in_place_of_a_reply_is_told_as_such(speaks, body) -> None:
    decoder = DIALECTS[speaks].decoder(UsageRules())
    decoder.feed_whole(body)
    assert isinstance(decoder.failure, EmbeddedError | GroxyError)
