"""The error envelope of OpenAI's surfaces."""

import json

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._openai import encode_error
from groxy.dialects.chat import DIALECT


def _envelope(error: GroxyError) -> object:
    return json.loads(encode_error(error))


def test_an_error_is_written_as_openais_clients_read_it():
    error = GroxyError(ErrorKind.BAD_REQUEST, "`n` is invalid.", param="n")
    assert _envelope(error) == {
        "error": {
            "message": "`n` is invalid.",
            "type": "validation_error",
            "code": "invalid_value",
            "param": "n",
            "status": 400,
        }
    }


@pytest.mark.parametrize("kind", ErrorKind)
def test_every_kind_has_its_code_type_and_status(kind):
    error = GroxyError(kind, "m")
    assert _envelope(error) == {
        "error": {
            "message": "m",
            "type": error.facts.type,
            "code": kind.value,
            "param": None,
            "status": error.facts.status,
        }
    }


def test_the_detail_is_never_written():
    error = GroxyError(ErrorKind.INTERNAL, "It broke.", detail="secret", retry_after_s=4.0)
    assert b"secret" not in encode_error(error)


def test_a_stream_error_is_one_event_with_the_same_envelope():
    error = GroxyError(ErrorKind.STREAM_BROKEN, "The upstream broke off its reply.")
    assert DIALECT.encode_stream_error(error) == b"data: " + encode_error(error) + b"\n\n"


@pytest.mark.parametrize("message", ["a\n\ndata: [DONE]\n\n", 'quote " and \\', "a\r\rb", "猫"])
def test_no_message_breaks_out_of_its_event(message):
    event = DIALECT.encode_stream_error(GroxyError(ErrorKind.BAD_REPLY, message))
    assert event.count(b"\n") == 2
    assert b"\r" not in event
    assert json.loads(event.removeprefix(b"data: "))["error"]["message"] == message
