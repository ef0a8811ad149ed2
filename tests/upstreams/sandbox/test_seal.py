"""Sealed thoughts."""

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import Part, Reasoning, Text
from groxy.core.request import Message, Request, Role
from groxy.upstreams.sandbox.seal import (
    carried,
    check_seals,
    has_thoughts_back,
    is_intact,
    native,
    sealed,
)

_TOKEN = sealed("Hm.", b"one")


def _request(*tokens):
    parts: list[Part] = [Reasoning(text="", encrypted=token) for token in tokens]
    parts.append(Text(text="Hi"))
    return Request(model="m", messages=(Message(role=Role.ASSISTANT, parts=tuple(parts)),))


def test_the_same_thoughts_of_the_same_reply_have_the_same_token():
    assert sealed("Hm.", b"one") == _TOKEN
    assert len({_TOKEN, sealed("Hm!", b"one"), sealed("Hm.", b"two")}) == 3


def test_a_token_does_not_show_the_thoughts():
    assert "Hm" not in _TOKEN
    assert _TOKEN.startswith("sandbox-sealed-")


@given(st.text(), st.binary(max_size=200))
def test_every_token_is_intact(thoughts, of):
    assert is_intact(sealed(thoughts, of))


@given(st.integers(0, len(_TOKEN) - 1), st.characters())
def test_a_token_with_one_sign_changed_is_not(at, sign):
    changed = _TOKEN[:at] + sign + _TOKEN[at + 1 :]
    assert is_intact(changed) is (changed == _TOKEN)


@pytest.mark.parametrize("token", ["", "gAAAA", _TOKEN[:-1], _TOKEN + "0", _TOKEN + "\n"])
def test_nothing_else_is_a_token(token):
    assert not is_intact(token)


def test_thoughts_that_come_back_are_known():
    assert has_thoughts_back(_request("gAAAA", _TOKEN))
    assert not has_thoughts_back(_request("gAAAA", ""))
    assert not has_thoughts_back(_request())


def test_a_changed_token_is_refused():
    with pytest.raises(GroxyError) as caught:
        check_seals(_request(_TOKEN, _TOKEN[:-1] + "x"))
    assert caught.value.kind is ErrorKind.BAD_REQUEST
    assert "reasoning" in caught.value.message


def test_intact_tokens_and_those_of_others_pass():
    check_seals(_request(_TOKEN, "gAAAA", "", "another-sandbox-sealed-x"))


def test_on_messages_a_token_is_the_upstreams_own_signature() -> None:
    token = sealed("thoughts", b"key")
    written = b'{"signature":"groxy1..' + token.encode() + b'"}'
    assert native(written) == b'{"signature":"' + token.encode() + b'"}'
    assert carried(native(written)) == written
