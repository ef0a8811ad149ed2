"""What stands in a reply that failed, and how an upstream's error is passed on."""

import json

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects.responses.errors import embedded, failure_of
from tests.dialects.responses.streams import asked, checked_reply, frame


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (ErrorKind.RATE_LIMITED, "rate_limit_exceeded"),
        (ErrorKind.UPSTREAM_LIMITED, "rate_limit_exceeded"),
        (ErrorKind.REFUSED, "invalid_prompt"),
        (ErrorKind.CONTEXT_TOO_LONG, "invalid_prompt"),
        (ErrorKind.STREAM_BROKEN, "server_error"),
        (ErrorKind.INTERNAL, "server_error"),
    ],
)
def test_a_failure_has_a_code_that_clients_know(kind, code) -> None:
    failure = failure_of(GroxyError(kind, "Safe words.", detail="secret"))
    assert failure == {"code": code, "message": "Safe words."}


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_kind_is_accepted_by_the_typed_client(kind) -> None:
    from groxy.dialects.responses.reply import blank_reply, failed_reply
    from groxy.wire.json import encode

    reply = failed_reply(blank_reply(asked(), frame()), GroxyError(kind, "x"))
    checked_reply(encode(reply))


def test_an_upstreams_error_is_told_in_the_usual_shape() -> None:
    assert json.loads(embedded("Slow down.", "rate_limit_exceeded", "input")) == {
        "error": {"message": "Slow down.", "code": "rate_limit_exceeded", "param": "input"}
    }


@pytest.mark.parametrize("odd", [None, 7, {"a": 1}, ["x"]])
def test_an_error_of_any_shape_is_told(odd) -> None:
    assert json.loads(embedded(odd, odd, odd)) == {"error": {"message": ""}}
