"""Errors in the shapes of real upstreams."""

import json

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams._base import ErrorReply
from groxy.upstreams.sandbox import UPSTREAM
from groxy.upstreams.sandbox.failures import (
    failure_from,
    failure_of,
    stream_error,
)
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
    signs = (b"503", b"unavailable", b"overloaded", b"server_error")
    assert any(sign in failure.body for sign in signs)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_error_that_ends_a_stream_is_one_event(shape):
    event = stream_error(shape)
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    assert event.count(b"\n") == 2
    if shape != "html":
        assert json.loads(event.removeprefix(b"data: "))["error"]


@pytest.mark.parametrize("shape", ["xai", "html"])
def test_messages_has_one_form_for_the_end_of_a_stream(shape):
    name, data = stream_error(shape, "messages").split(b"\n", 1)
    assert name == b"event: error"
    said = json.loads(data.removeprefix(b"data: "))
    assert (said["type"], said["error"]["type"]) == ("error", "overloaded_error")


def test_responses_tells_an_error_inside_the_response():
    name, data = stream_error("xai", "responses", sequence_number=7).split(b"\n", 1)
    assert name == b"event: response.failed"
    said = json.loads(data.removeprefix(b"data: "))
    assert (said["type"], said["sequence_number"]) == ("response.failed", 7)
    assert said["response"]["status"] == "failed"
    assert set(said["response"]["error"]) == {"code", "message"}
    assert "error" not in said


def test_anthropic_has_an_envelope_with_a_type():
    body = json.loads(_failure("status=429 shape=anthropic").body)
    assert body["type"] == "error"
    assert set(body["error"]) == {"type", "message"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (418, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_anthropics_types_go_by_the_status(status, kind):
    body = json.loads(_failure(f"status={status} shape=anthropic").body)
    assert body["error"]["type"] == kind


def test_the_usual_shape_is_that_of_the_dialect():
    script = read_script("status=500")
    shapes = {
        dialect: set(json.loads(failure_of(script, dialect).body))  # type: ignore[union-attr]
        for dialect in ("chat", "responses", "completions", "embeddings", "messages")
    }
    assert shapes.pop("messages") == {"type", "error"}
    assert all(shape == {"code", "error"} for shape in shapes.values())


def test_a_shape_that_is_asked_for_is_given_in_every_dialect():
    failure = failure_of(read_script("status=500 shape=cloudflare"), "messages")
    assert failure is not None
    assert json.loads(failure.body)["success"] is False


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
        ("error_200 shape=anthropic", ErrorKind.UPSTREAM_DOWN),
        ("status=429 shape=anthropic", ErrorKind.UPSTREAM_LIMITED),
        ("wrong_key shape=anthropic", ErrorKind.UPSTREAM_AUTH),
        ("no_credits shape=anthropic", ErrorKind.UPSTREAM_QUOTA),
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
    assert json.loads(failure_from(GroxyError(ErrorKind.BAD_REQUEST, "No."), "messages").body) == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "No."},
    }
    assert failure_from(GroxyError(ErrorKind.UNKNOWN_MODEL, "No.")).status == 404
    assert failure_from(GroxyError(ErrorKind.TOO_LARGE, "No.")).status == 413
