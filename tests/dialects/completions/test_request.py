"""Completions requests: what is taken, what is refused, what goes upstream, the canonical form."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import Text
from groxy.core.request import Message, Options, Role
from groxy.dialects._base import Asked, OutputBound
from groxy.dialects.completions.request import (
    bound_of,
    canonical,
    decode_request,
    outgoing,
    prompt_text,
    wants_echo,
)

SECRET = "my-mothers-maiden-name"


def _body(**fields: Any) -> bytes:
    return json.dumps({"model": "grok-4", "prompt": "Once"} | fields).encode()


def _asked(**fields: Any) -> Asked:
    return decode_request(_body(**fields))


def _refusal(body: bytes) -> GroxyError:
    with pytest.raises(GroxyError) as caught:
        decode_request(body)
    return caught.value


def _options(**fields: Any) -> Options:
    return canonical(_asked(**fields)).options


# ------------------------------------------------------------------------------------ what is taken


def test_the_least_a_request_needs_is_taken():
    asked = _asked()
    assert (asked.model, asked.stream, asked.wants_usage) == ("grok-4", None, False)
    assert (asked.carriers, asked.requires) == ((), frozenset())


def test_usage_is_streamed_only_when_asked_for():
    assert _asked(stream=True, stream_options={"include_usage": True}).wants_usage
    assert not _asked(stream=True, stream_options={}).wants_usage


@pytest.mark.parametrize(("n", "carriers"), [(1, ()), (2, ("completions", "chat"))])
def test_several_choices_are_for_those_who_have_them(n, carriers):
    assert _asked(n=n).carriers == carriers


_EVERYTHING = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 5,
    "n": 2,
    "best_of": 2,
    "echo": True,
    "suffix": "",
    "stop": ["a"],
    "temperature": 0,
    "top_p": 1,
    "presence_penalty": -2,
    "frequency_penalty": 2,
    "logprobs": 5,
    "seed": 7,
    "user": "u",
}


def test_every_known_field_is_taken():
    assert _asked(**_EVERYTHING).fields.keys() == {"model", "prompt"} | _EVERYTHING.keys()


@pytest.mark.parametrize("name", _EVERYTHING)
def test_every_known_field_may_be_null(name):
    assert bytes(_asked(**{name: None}).fields[name]) == b"null"


@pytest.mark.parametrize("prompt", ["Once", ["Once"], ["Once", "Twice"]])
def test_a_prompt_is_a_text_or_several(prompt):
    assert _asked(prompt=prompt).model == "grok-4"


# ---------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": "m" * 257}, "model"),
        ({"prompt": None}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, 2, 3]}, "prompt"),
        ({"prompt": [[1, 2], [3]]}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [{}]}, "prompt.0"),
        ({"prompt": ["a"] * 129}, "prompt"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"echo": "yes"}, "echo"),
        ({"temperature": 3}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"logprobs": "5"}, "logprobs"),
        ({"stop": [1]}, "stop.0"),
        ({"seed": 1.5}, "seed"),
        ({"user": 5}, "user"),
    ],
)
def test_a_wrong_field_is_named(fields, param):
    error = _refusal(_body(**fields))
    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, param)


@pytest.mark.parametrize("prompt", [[1, 2, 3], [[1, 2]]])
def test_token_ids_are_refused_with_what_to_send(prompt):
    assert "must be text" in _refusal(_body(prompt=prompt)).message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"suffix": "The end."}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"best_of": 1, "n": 2}, "best_of"),
    ],
)
def test_what_nobody_offers_is_refused(fields, param):
    error = _refusal(_body(**fields))
    assert (error.kind, error.param) == (ErrorKind.UNSUPPORTED, param)


@pytest.mark.parametrize("body", [b"", b"{", b"<xml/>", b'{"model":"m","prompt":"\xff"}'])
def test_a_body_that_is_not_json_is_refused(body):
    assert _refusal(body).kind is ErrorKind.BAD_JSON


def test_a_missing_prompt_is_named():
    assert _refusal(b'{"model":"grok-4"}').param == "prompt"


@pytest.mark.parametrize("fields", [{"suffix": SECRET}, {"n": SECRET}, {"prompt": [SECRET, 1]}])
def test_a_refusal_never_repeats_what_the_caller_wrote(fields):
    assert SECRET not in _refusal(_body(**fields)).message


# ------------------------------------------------------------------------------- what goes upstream


def _sent(*, stream: bool = False, **fields: Any) -> dict[str, bytes]:
    sent = outgoing(_asked(**fields), model="sent", stream=stream)
    return {name: bytes(raw) for name, raw in sent.items()}


def test_the_model_sent_replaces_the_model_asked():
    assert _sent()["model"] == b'"sent"'


def test_several_prompts_are_sent_as_they_are():
    assert json.loads(_sent(prompt=["a", "b"])["prompt"]) == ["a", "b"]


def test_a_stream_is_asked_for_together_with_its_usage():
    sent = _sent(stream=True)
    assert (sent["stream"], sent["stream_options"]) == (b"true", b'{"include_usage":true}')


def test_a_whole_reply_is_asked_for_in_words():
    sent = _sent(stream_options={"include_usage": True})
    assert sent.keys() == {"model", "prompt", "stream"}
    assert sent["stream"] == b"false"


def test_what_nobody_knows_is_kept():
    assert _sent(new={"a": [1.50]})["new"] == b'{"a": [1.5]}'


# ------------------------------------------------------------------------------- the canonical form


@pytest.mark.parametrize("prompt", ["Once", ["Once"]])
def test_a_prompt_is_a_users_message(prompt):
    request = canonical(_asked(prompt=prompt))
    assert request.messages == (Message(role=Role.USER, parts=(Text(text="Once"),)),)


def test_several_prompts_cannot_cross():
    with pytest.raises(GroxyError) as caught:
        canonical(_asked(prompt=["a", "b"]))
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, "prompt")


def test_several_prompts_are_counted():
    assert prompt_text(_asked(prompt=["a", "b"])) == "a\nb"


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"max_tokens": 5}, "max_output_tokens", 5),
        ({"temperature": 0}, "temperature", 0.0),
        ({"top_p": 0.5}, "top_p", 0.5),
        ({"presence_penalty": 1}, "presence_penalty", 1.0),
        ({"frequency_penalty": 1}, "frequency_penalty", 1.0),
        ({"n": 3}, "choices", 3),
        ({"seed": 0}, "seed", 0),
        ({"stop": "a"}, "stop", ("a",)),
        ({"stop": ["a", "b"]}, "stop", ("a", "b")),
        ({"user": "u"}, "user", "u"),
    ],
)
def test_every_option_has_its_canonical_form(fields, name, value):
    assert getattr(_options(**fields), name) == value


def test_what_was_not_asked_for_is_the_upstreams_choice():
    assert _options() == Options()


@pytest.mark.parametrize(
    ("fields", "left_out"),
    [
        ({"logprobs": 3}, ("logprobs",)),
        ({"logprobs": False}, ()),
        ({"logit_bias": {"1": 2}}, ("logit_bias",)),
        ({"logit_bias": None}, ()),
        ({"x\r\ny": 1}, ()),
        (_EVERYTHING | {"logprobs": None}, ()),
    ],
)
def test_what_has_no_place_is_named(fields, left_out):
    assert canonical(_asked(**fields)).left_out == left_out


@pytest.mark.parametrize(("echo", "wants"), [(True, True), (False, False), (None, False)])
def test_the_prompt_comes_back_if_asked_for(echo, wants):
    assert wants_echo(_asked(echo=echo)) is wants


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*_EVERYTHING, "prompt", "model"]), inner, max_size=4)
    ),
    max_leaves=8,
)
_REQUESTS = st.fixed_dictionaries(
    {"model": st.just("grok-4"), "prompt": st.text(max_size=4) | _ANY},
    optional={name: st.just(value) | _ANY for name, value in _EVERYTHING.items()},
)


@given(_REQUESTS | _ANY)
def test_any_json_is_refused_or_can_be_sent_and_counted(value):
    try:
        asked = decode_request(json.dumps(value).encode())
    except GroxyError:
        return
    assert isinstance(prompt_text(asked), str)
    assert outgoing(asked, model="m", stream=True).keys() >= {"model", "prompt"}


def test_every_prompt_of_a_list_gets_all_its_choices():
    body = {"model": "m", "prompt": ["a", "b", "c"], "n": 2, "best_of": 2, "max_tokens": 5}
    asked = decode_request(json.dumps(body).encode())
    assert bound_of(asked) == OutputBound(choices=6, max_tokens=5)
