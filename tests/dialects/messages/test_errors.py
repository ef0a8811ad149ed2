"""Errors in Anthropic's envelope."""

import json

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects.messages import DIALECT
from groxy.dialects.messages.errors import error_type


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (409, "conflict_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_each_status_has_anthropics_word(status, name):
    assert error_type(status) == name


def test_an_error_has_the_envelope_and_no_detail():
    error = GroxyError(ErrorKind.RATE_LIMITED, "Wait a little.", detail="key 7")
    assert json.loads(DIALECT.encode_error(error)) == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "Wait a little."},
    }


def test_a_broken_stream_ends_with_an_error_event():
    error = GroxyError(ErrorKind.STREAM_BROKEN, "It broke.")
    sent = DIALECT.encode_stream_error(error)
    assert sent == b"event: error\ndata: " + DIALECT.encode_error(error) + b"\n\n"


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_kind_has_a_type(kind):
    envelope = json.loads(DIALECT.encode_error(GroxyError(kind, "No.")))
    assert envelope["error"]["type"].endswith(("_error", "request_too_large"))
