"""The completions dialect as a whole: over a chat upstream, streamed and whole."""

import json
from typing import Any

import pytest

from groxy.core.usage import Usage
from groxy.dialects._base import Asked, Frame, UsageRules
from groxy.dialects._translation import TranslatedReply, TranslatedStream
from groxy.dialects.chat import DIALECT as CHAT
from groxy.dialects.completions import DIALECT
from groxy.wire.json import encode

FRAME = Frame(reply_id="abc", created=7, count_input=lambda: 0)
RULES = UsageRules()


def _asked(**fields: Any) -> Asked:
    return DIALECT.decode_request(
        json.dumps({"model": "grok-4", "prompt": "Once", "stop": ["!"]} | fields).encode()
    )


def test_a_prompt_reaches_a_chat_upstream_as_a_users_message():
    request = DIALECT.canonical(_asked(max_tokens=5, logit_bias={"1": 2}))
    fields, words = CHAT.encode_request(request, model="m", effort=None, stream=False)
    assert json.loads(encode(fields)) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Once"}],
        "max_completion_tokens": 5,
        "stream": False,
    }
    assert words == ["logit_bias dropped"]


@pytest.mark.parametrize(("echo", "text"), [(True, "Once upon"), (False, " upon")])
def test_a_whole_chat_reply_comes_back_as_a_completion(echo, text):
    body = {"choices": [{"message": {"content": " upon! And"}, "finish_reason": "stop"}]}
    encoder = DIALECT.encoder(_asked(echo=echo), FRAME)
    reply = TranslatedReply(json.dumps(body).encode(), CHAT.decoder(RULES), encoder, ("!",))
    written = json.loads(reply.encode(Usage(input_tokens=1)))
    assert (written["id"], written["choices"][0]["text"]) == ("cmpl-abc", text)


def test_a_chat_stream_comes_back_as_a_stream_of_completions():
    encoder = DIALECT.encoder(_asked(), FRAME)
    stream = TranslatedStream(CHAT.decoder(RULES), encoder, ("!",))
    passed = stream.feed(b'data: {"choices":[{"delta":{"content":" upon! And"}}]}\n\n')
    assert b'"text":" upon"' in passed
    assert stream.is_complete
    assert stream.finish(Usage()).endswith(b"data: [DONE]\n\n")


def test_an_effort_has_no_place():
    fields = DIALECT.outgoing(_asked(), model="m", effort="high", stream=False)
    assert fields.keys() == {"model", "prompt", "stop", "stream"}


def test_the_same_dialect_is_relayed():
    asked = _asked()
    assert DIALECT.relay(asked, RULES, FRAME).is_complete is False
    body = b'{"choices":[{"text":"a"}]}'
    assert DIALECT.read_whole(body, asked, RULES, FRAME).tally.output == ["a"]
