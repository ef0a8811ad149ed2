"""Tokenizing as xAI does."""

import json
import time

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams.sandbox.tokenized import tokenize_request, tokenized
from tests.upstreams.sandbox.asking import TOKENS


def _body(**fields):
    return json.dumps({"model": "grok-4.7", "text": "Hello there"} | fields).encode()


def _tokens(text):
    return json.loads(tokenized(tokenize_request(_body(text=text)), TOKENS))["token_ids"]


def test_each_token_has_its_id_text_and_bytes():
    tokens = _tokens("Hello there")
    assert len(tokens) == TOKENS.count("Hello there")
    assert [token["string_token"] for token in tokens] == ["Hello", " there"]
    assert bytes(tokens[0]["token_bytes"]) == b"Hello"
    assert all(isinstance(token["token_id"], int) for token in tokens)


def test_half_a_character_is_text_that_says_so():
    tokens = _tokens("🦜")
    assert b"".join(bytes(token["token_bytes"]) for token in tokens).decode() == "🦜"
    assert any("\ufffd" in token["string_token"] for token in tokens)


def test_no_text_has_no_tokens():
    assert _tokens("") == []


def test_a_long_text_takes_bounded_time():
    started = time.perf_counter()
    assert len(_tokens("The cat sat on the mat. " * 40_000)) > 200_000
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize(
    ("body", "kind", "param"),
    [
        (_body(text="a" * 1_000_001), ErrorKind.BAD_REQUEST, "text"),
        (_body(text=None), ErrorKind.BAD_REQUEST, "text"),
        (_body(model=""), ErrorKind.BAD_REQUEST, "model"),
        (b'{"text":"a"}', ErrorKind.BAD_REQUEST, "model"),
        (b"{", ErrorKind.BAD_JSON, None),
    ],
)
def test_a_bad_request_is_refused(body, kind, param):
    with pytest.raises(GroxyError) as caught:
        tokenize_request(body)
    assert (caught.value.kind, caught.value.param) == (kind, param)
