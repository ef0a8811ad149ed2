"""Errors in the shapes of real upstreams."""

import json

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams._base import ErrorReply
from groxy.upstreams.sandbox import UPSTREAM
from groxy.upstreams.sandbox.failures import failure_from, failure_of, stream_error
from groxy.upstreams.sandbox.faults import SHAPES, Script, read_script


def _failure(words):
    failure = failure_of(read_script(words))
    assert failure is not None
    return failure


def test_a_script_without_failure_has_none():
    assert failure_of(Script(cut_after=3, no_done=True)) is None


def test_xai_has_a_code_and_a_text():
    failure = _failure("status=429 retry_after=3")
    assert (failure.status, failure.headers["retry-after"]) == (429, "3")
    body = json.loads(failure.body)
    assert body["code"] == "Some resource has been exhausted"
    assert isinstance(body["error"], str)


def test_openai_has_an_envelope():
    error = json.loads(_failure("status=429 shape=openai").body)["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert set(error) == {"message", "type", "param", "code"}
    assert json.loads(_failure("status=500 shape=openai").body)["error"]["type"] == "server_error"


def test_openrouter_has_the_status_as_code():
    assert json.loads(_failure("status=402 shape=openrouter").body)["error"]["code"] == 402


def test_cloudflare_has_a_list():
    body = json.loads(_failure("status=401 shape=cloudflare").body)
    assert body["success"] is False
    assert body["error"][0]["code"] == 2401


def test_html_is_a_page():
    failure = _failure("status=502 shape=html")
    assert failure.headers["content-type"].startswith("text/html")
    assert b"<h1>502 Bad Gateway</h1>" in failure.body
    assert b"<h1>599 Error</h1>" in _failure("status=599 shape=html").body


@pytest.mark.parametrize("shape", SHAPES)
def test_an_error_inside_a_200_has_each_shape(shape):
    failure = _failure(f"error_200 shape={shape}")
    assert failure.status == 200
    assert b"503" in failure.body or b"unavailable" in failure.body or shape == "openai"


@pytest.mark.parametrize("shape", SHAPES)
def test_the_error_that_ends_a_stream_is_one_event(shape):
    data = stream_error(shape)
    assert b"\n" not in data
    if shape != "html":
        assert json.loads(data)["error"]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("wrong_key", ErrorKind.UPSTREAM_AUTH),
        ("no_credits", ErrorKind.UPSTREAM_QUOTA),
        ("no_credits=429", ErrorKind.UPSTREAM_QUOTA),
        ("too_long", ErrorKind.CONTEXT_TOO_LONG),
        ("refused", ErrorKind.REFUSED),
        ("status=400", ErrorKind.BAD_REQUEST),
        ("status=401", ErrorKind.UPSTREAM_AUTH),
        ("status=404", ErrorKind.MODEL_ABSENT),
        ("status=410", ErrorKind.UNSUPPORTED),
        ("status=413", ErrorKind.TOO_LARGE),
        ("status=422", ErrorKind.BAD_REQUEST),
        ("status=429", ErrorKind.UPSTREAM_LIMITED),
        ("status=500", ErrorKind.UPSTREAM_DOWN),
        ("status=502 shape=html", ErrorKind.UPSTREAM_DOWN),
        ("status=503 shape=openai", ErrorKind.UPSTREAM_DOWN),
        ("status=504", ErrorKind.UPSTREAM_TIMEOUT),
        ("status=529", ErrorKind.UPSTREAM_DOWN),
        ("error_200", ErrorKind.UPSTREAM_DOWN),
        ("error_200 shape=openrouter", ErrorKind.UPSTREAM_DOWN),
    ],
)
def test_the_gateway_reads_them_for_what_they_are(words, kind):
    failure = _failure(words)
    error = UPSTREAM.read_error(
        ErrorReply(status=failure.status, body=failure.body, headers=failure.headers)
    )
    assert error.kind is kind


def test_retry_after_reaches_the_gateway():
    failure = _failure("status=429 retry_after=1.5")
    error = UPSTREAM.read_error(
        ErrorReply(status=failure.status, body=failure.body, headers=failure.headers)
    )
    assert error.retry_after_s == 1.5


def test_what_the_sandbox_refuses_itself_is_said_in_the_way_of_xai():
    failure = failure_from(GroxyError(ErrorKind.BAD_REQUEST, "Send less."))
    assert failure.status == 400
    assert json.loads(failure.body)["error"] == "Send less."
    assert failure_from(GroxyError(ErrorKind.UNKNOWN_MODEL, "No.")).status == 404
    assert failure_from(GroxyError(ErrorKind.TOO_LARGE, "No.")).status == 413
