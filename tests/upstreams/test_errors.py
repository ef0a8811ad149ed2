"""Errors that hide in a reply which looks like a good one are known by their type."""

import json

import pytest

from groxy.core.errors import ErrorKind
from groxy.upstreams._errors import ErrorReply, error_by_status, words_of


def inside_a_200(**error: object) -> ErrorReply:
    return ErrorReply(status=200, body=json.dumps({"error": error}).encode())


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", ErrorKind.UPSTREAM_DOWN),
        ("api_error", ErrorKind.UPSTREAM_DOWN),
        ("rate_limit_error", ErrorKind.UPSTREAM_LIMITED),
        ("rate_limit_exceeded", ErrorKind.UPSTREAM_LIMITED),
        ("authentication_error", ErrorKind.UPSTREAM_AUTH),
        ("billing_error", ErrorKind.UPSTREAM_QUOTA),
        ("invalid_request_error", ErrorKind.BAD_REQUEST),
        ("timeout_error", ErrorKind.UPSTREAM_TIMEOUT),
        ("made_up_error", ErrorKind.BAD_REPLY),
    ],
)
def test_a_type_says_what_its_status_would_have_said(kind, expected) -> None:
    assert error_by_status(inside_a_200(type=kind, message="m")).kind is expected


def test_a_status_in_the_body_comes_before_the_type() -> None:
    assert words_of(b'{"error":{"type":"api_error","code":429}}').status == 429


def test_the_status_of_the_reply_comes_before_both() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}'
    assert error_by_status(ErrorReply(status=401, body=body)).kind is ErrorKind.UPSTREAM_AUTH


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"error":7}', b'{"error":{"type":[]}}'])
def test_an_error_without_words_has_no_status(body) -> None:
    assert words_of(body).status is None
