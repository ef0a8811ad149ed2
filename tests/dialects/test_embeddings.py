"""The embeddings dialect: requests checked and sent on, replies passed on, usage read."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.money import ticks_from_usd
from groxy.core.usage import Usage
from groxy.dialects._base import BillField, Dialect, EmbeddedError, Frame, UsageRules
from groxy.dialects.embeddings import DIALECT
from groxy.wire.tokens import SplintrCounter

_FRAME = Frame(reply_id="r", created=1, count_input=lambda: 1)
_TICKS = UsageRules(bill=BillField.TICKS)


def _body(given="Hello", **fields):
    return json.dumps({"model": "m", "input": given} | fields).encode()


def _asked(given="Hello", **fields):
    return DIALECT.decode_request(_body(given, **fields))


def _reply(**fields):
    data = [{"object": "embedding", "index": 0, "embedding": [0.6, -0.8]}]
    usage = {"prompt_tokens": 5, "total_tokens": 5}
    reply = {"object": "list", "model": "served", "data": data, "usage": usage}
    return json.dumps(reply | fields).encode()


def _read(body, rules=_TICKS):
    return DIALECT.read_whole(body, _asked(), rules, _FRAME)


def test_it_is_a_dialect_that_no_other_one_carries():
    dialect: Dialect = DIALECT
    assert dialect.carriers == ("embeddings",)
    assert dialect.upstream_path == "/embeddings"


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("Hello", ["Hello"]),
        (["one", "two"], ["one", "two"]),
        ([1, 2, 3], [[1, 2, 3]]),
        ([[1, 2], [3]], [[1, 2], [3]]),
        (["x"] * 2048, ["x"] * 2048),
        ([7] * 3000, [[7] * 3000]),
    ],
)
def test_every_form_of_input_is_read(given, inputs):
    assert DIALECT.wanted(_asked(given)).inputs == inputs


def test_the_rest_of_the_request_is_read():
    wanted = DIALECT.wanted(_asked(encoding_format="base64", dimensions=64, user="u"))
    assert (wanted.model, wanted.is_base64, wanted.dimensions) == ("m", True, 64)
    plain = DIALECT.wanted(_asked(encoding_format="float"))
    assert (plain.is_base64, plain.dimensions) == (False, None)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"given": ""}, "input"),
        ({"given": []}, "input"),
        ({"given": [""]}, "input"),
        ({"given": [[]]}, "input"),
        ({"given": ["a", ""]}, "input.1"),
        ({"given": [[1], []]}, "input.1"),
        ({"given": ["a", 1]}, "input.1"),
        ({"given": [1, "a"]}, "input.1"),
        ({"given": [[1], 2]}, "input.1"),
        ({"given": ["a", [1]]}, "input.1"),
        ({"given": ["a"] * 2049}, "input"),
        ({"given": None}, "input"),
        ({"given": 1}, "input"),
        ({"given": {"text": "a"}}, "input"),
        ({"given": [-1]}, "input.0"),
        ({"given": [1.5]}, "input.0"),
        ({"given": [True]}, "input.0"),
        ({"given": [["a"]]}, "input.0.0"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "8"}, "dimensions"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"model": ""}, "model"),
        ({"user": 7}, "user"),
    ],
)
def test_a_wrong_request_is_refused_by_the_name_of_its_field(fields, param):
    with pytest.raises(GroxyError) as caught:
        _asked(**fields)
    assert caught.value.kind is ErrorKind.BAD_REQUEST
    assert caught.value.param == param
    assert f"`{param}`" in caught.value.message


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"model":"m","input":NaN}', b"[" * 99_999])
def test_what_is_not_json_is_refused(body):
    with pytest.raises(GroxyError) as caught:
        DIALECT.decode_request(body)
    assert caught.value.facts.status == 400


def test_an_input_is_required():
    with pytest.raises(GroxyError) as caught:
        DIALECT.decode_request(b'{"model":"m"}')
    assert caught.value.param == "input"


def test_it_is_never_a_stream():
    assert _asked(stream=True).stream is False
    assert _asked().stream is False
    fields = DIALECT.outgoing(
        _asked(stream=True, stream_options={}), model="m", effort=None, stream=False
    )
    assert set(fields) == {"model", "input"}


def test_a_request_goes_on_as_it_came_but_for_the_model():
    body = b'{"model":"m", "input":["a" ,"b"],"input_type":"query","dimensions":8}'
    asked = DIALECT.decode_request(body)
    fields = DIALECT.outgoing(asked, model="v1", effort="low", stream=False)
    assert bytes(fields["model"]) == b'"v1"'
    assert bytes(fields["input"]) == b'["a" ,"b"]'
    assert bytes(fields["input_type"]) == b'"query"'
    assert bytes(asked.fields["model"]) == b'"m"'


def test_all_text_is_counted():
    assert DIALECT.prompt_text(_asked(["one", "two"])) == "one\ntwo"


@pytest.mark.parametrize("count", [1, 2, 100, 9000])
def test_tokens_are_counted_as_so_many(count):
    counter = SplintrCounter()
    assert counter.count(DIALECT.prompt_text(_asked([42] * count))) == pytest.approx(
        count, rel=0.01
    )


def test_a_reply_is_passed_on_as_it_came():
    body = _reply(extra=[1])
    reply = _read(body)
    usage = reply.reported_usage()
    assert usage == Usage(input_tokens=5)
    assert reply.encode(usage) == body
    assert reply.tally.model_served == "served"
    assert reply.tally.has_output


def test_base64_vectors_pass_too():
    body = _reply(data=[{"object": "embedding", "index": 0, "embedding": "mpkZP83MTL8="}])
    assert _read(body).encode(Usage(input_tokens=5)) == body


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": -5},
        {"prompt_tokens": 10**12},
        {"prompt_tokens": "5"},
        "none",
        [1],
    ],
)
def test_usage_that_makes_no_sense_is_written_anew(usage):
    body = _reply(usage=usage)
    reply = _read(body)
    assert reply.reported_usage() is None
    written = json.loads(reply.encode(Usage(input_tokens=9, estimated=True)))
    assert written == json.loads(body) | {"usage": {"prompt_tokens": 9, "total_tokens": 9}}


def test_missing_usage_is_added():
    fields = json.loads(_reply())
    del fields["usage"]
    reply = _read(json.dumps(fields).encode())
    assert reply.reported_usage() is None
    assert json.loads(reply.encode(Usage(input_tokens=3)))["usage"]["prompt_tokens"] == 3


def test_a_total_alone_is_usage():
    assert _read(_reply(usage={"total_tokens": 7})).reported_usage() == Usage(input_tokens=7)


@pytest.mark.parametrize(
    ("bill", "stated", "ticks"),
    [
        (BillField.TICKS, {"cost_in_usd_ticks": 700}, 700),
        (BillField.TICKS, {"cost_in_usd_ticks": -1}, None),
        (BillField.TICKS, {"cost": 0.5}, None),
        (BillField.USD, {"cost": 0.5}, ticks_from_usd(Decimal("0.5"))),
        (BillField.USD, {"cost": "0.25"}, ticks_from_usd(Decimal("0.25"))),
        (BillField.USD, {"cost": "much"}, None),
        (BillField.USD, {"cost": 1e30}, None),
        (BillField.USD, {}, None),
        (BillField.NONE, {"cost": 0.5, "cost_in_usd_ticks": 700}, None),
    ],
)
def test_the_upstreams_own_bill_is_read(bill, stated, ticks):
    body = _reply(usage={"prompt_tokens": 5} | stated)
    usage = _read(body, UsageRules(bill=bill)).reported_usage()
    assert usage == Usage(input_tokens=5, cost_ticks=ticks)


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"no"}}',
        b'{"code":"x","error":"no"}',
        b'{"error":{"message":"no"},"data":7}',
        _reply(error="late"),
    ],
)
def test_an_error_in_place_of_a_reply_is_one(body):
    with pytest.raises(EmbeddedError) as caught:
        _read(body)
    assert caught.value.payload == body


@pytest.mark.parametrize("error", [None, "", {}, False])
def test_an_empty_error_is_none(error):
    assert _read(_reply(error=error)).tally.has_output


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b'{"data":[]}',
        b'{"data":{}}',
        b'{"data":[{}]}',
        b'{"data":[{"embedding":null}]}',
        b'{"data":[{"embedding":7}]}',
        b'{"data":[7]}',
        b'{"data":[{"embedding":[1]}],"model":7}',
        b'{"choices":[{"message":{"content":"hi"}}]}',
        b"[" * 99_999,
    ],
)
def test_nonsense_is_a_bad_reply(body):
    with pytest.raises(GroxyError) as caught:
        _read(body)
    assert caught.value.kind is ErrorKind.BAD_REPLY


@given(st.one_of(st.binary(max_size=60), st.integers(0, len(_reply())).map(lambda n: _reply()[:n])))
def test_no_bytes_of_an_upstream_break_it(body):
    try:
        reply = _read(body)
    except (GroxyError, EmbeddedError):
        return
    json.loads(reply.encode(Usage(input_tokens=1)))


def test_asking_for_a_stream_of_it_fails_clearly():
    with pytest.raises(GroxyError, match="not streamed"):
        DIALECT.relay(_asked(), _TICKS, _FRAME)


def test_an_error_is_written_as_openais_clients_read_it():
    error = GroxyError(ErrorKind.BAD_REQUEST, "`input` is empty.", param="input", detail="secret")
    envelope = {
        "message": "`input` is empty.",
        "type": "validation_error",
        "code": "invalid_value",
        "param": "input",
        "status": 400,
    }
    assert json.loads(DIALECT.encode_error(error)) == {"error": envelope}
    event = DIALECT.encode_stream_error(error)
    assert event == b"data: " + DIALECT.encode_error(error) + b"\n\n"
