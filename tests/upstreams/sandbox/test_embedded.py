"""Embeddings requests, answered."""

import base64
import json
import struct

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.money import cost_of
from groxy.core.usage import Usage
from groxy.dialects.embeddings import DIALECT
from groxy.upstreams.sandbox.brain import PRICE
from groxy.upstreams.sandbox.embedded import order_of, reply_pieces, request_of
from groxy.upstreams.sandbox.faults import Script, take_script
from groxy.upstreams.sandbox.vectors import HashedVectors
from tests.upstreams.sandbox.asking import TOKENS

_HASHED = HashedVectors()


def _order(given="Hello there", **fields):
    body = json.dumps({"model": "m", "input": given} | fields).encode()
    wanted = DIALECT.wanted(DIALECT.decode_request(body))
    script, request = take_script(request_of(wanted))
    return order_of(wanted, request, _HASHED, TOKENS), script


def _reply(given="Hello there", **fields):
    order, script = _order(given, **fields)
    return json.loads(b"".join(reply_pieces(order, script, _HASHED)))


def test_a_text_gets_one_vector_and_the_reply_says_where_from():
    reply = _reply()
    (entry,) = reply["data"]
    assert (entry["object"], entry["index"]) == ("embedding", 0)
    assert len(entry["embedding"]) == 384
    assert reply["object"] == "list"
    assert reply["model"] == "sandbox-hashed"
    assert reply["sandbox"] == "deterministic vectors, not a model"


def test_each_text_gets_the_vector_it_would_get_alone():
    reply = _reply(["one", "two"])
    assert [entry["index"] for entry in reply["data"]] == [0, 1]
    assert reply["data"][1]["embedding"] == _reply("two")["data"][0]["embedding"]


def test_vectors_have_the_size_that_is_asked_for():
    assert len(_reply(dimensions=8)["data"][0]["embedding"]) == 8
    assert len(_reply(dimensions=4096)["data"][0]["embedding"]) == 4096


def test_base64_holds_the_same_numbers():
    plain = _reply(dimensions=8)["data"][0]["embedding"]
    packed = base64.b64decode(
        _reply(dimensions=8, encoding_format="base64")["data"][0]["embedding"]
    )
    assert struct.unpack("<8f", packed) == pytest.approx(plain, abs=1e-6)


def test_usage_is_counted_and_billed():
    usage = _reply(["Hello there", "you"])["usage"]
    read = TOKENS.count("Hello there") + TOKENS.count("you")
    bill = cost_of(Usage(input_tokens=read), PRICE)
    assert usage == {"prompt_tokens": read, "total_tokens": read, "cost_in_usd_ticks": bill}


def test_tokens_are_taken_by_their_numbers():
    reply = _reply([1, 2, 3])
    assert reply["usage"]["prompt_tokens"] == 3
    assert len(reply["data"]) == 1
    both = _reply([[1, 2, 3], [4]])
    assert both["usage"]["prompt_tokens"] == 4
    assert both["data"][0]["embedding"] == reply["data"][0]["embedding"]


def test_the_script_in_a_text_is_no_part_of_it():
    assert _reply("Hello there [[sandbox: cached=1]]")["data"] == _reply()["data"]
    assert "usage" not in _reply("Hi [[sandbox: usage=none]]")
    assert _reply("Hi [[sandbox: usage=zero]]")["usage"] == {"prompt_tokens": 0, "total_tokens": 0}


def test_vectors_are_made_one_by_one():
    order, _ = _order(["one", "two", "three"])
    assert len(list(reply_pieces(order, Script(), _HASHED))) == 5


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"dimensions": 4097}, "dimensions"),
        ({"given": ["a"] * 2048, "dimensions": 4096}, "input"),
        ({"given": ["a", "b" * 100_001]}, "input.1"),
    ],
)
def test_what_is_too_much_is_refused(fields, param):
    with pytest.raises(GroxyError) as caught:
        _order(**fields)
    assert (caught.value.kind, caught.value.param) == (ErrorKind.BAD_REQUEST, param)
