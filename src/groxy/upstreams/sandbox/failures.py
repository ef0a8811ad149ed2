"""What errors look like on the wire, in the shapes of the upstreams that the sandbox stands in for.

In: a `Script` that asks for a failure, or the sandbox's own refusal, and the dialect it goes out
in. Out: status, headers and body, or the event that ends a stream. Shapes and texts as real clients
met them (sources: docs/upstreams and the vendors' pages, 2026-08). Must not decide when to fail.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams.sandbox.faults import Script
from groxy.wire.json import encode

_BAD_REQUEST, _FORBIDDEN, _NOT_FOUND, _INTERNAL = 400, 403, 404, 500
_CODES: Mapping[int, str] = {
    400: "Client specified an invalid argument",
    401: "The request does not have valid authentication credentials",
    403: "The caller does not have permission to execute the specified operation",
    404: "Some requested entity was not found",
    429: "Some resource has been exhausted",
    500: "Internal error",
    503: "The service is currently unavailable",
    504: "Deadline expired before operation could complete",
}
"""xAI writes sentences as codes; those of 400 and 503 are documented, the others are alike."""
_OPENAI_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_ANTHROPIC_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""pypi anthropic 2.11.0; a 529 is theirs alone, so other servers say overloaded with a 503."""
_HTML = """<!DOCTYPE html>
<html><head><title>{status} {phrase}</title></head>
<body><center><h1>{status} {phrase}</h1></center><hr><center>groxy-sandbox</center></body></html>
"""
_WRONG_KEY = "Incorrect API key provided: sa***ox. Check the key of this account."
_NO_CREDITS = (
    "Your team has either used all available credits or reached its monthly spending limit. "
    "To continue making API requests, please purchase more credits or raise your spending limit."
)
_TOO_LONG = (
    "This model's maximum prompt length is 500000 but the request contains more tokens than that."
)
_REFUSED = "Content violates usage guidelines."
_UNAVAILABLE = "The sandbox was asked for an error inside a reply that looks like a good one."
_BROKE_OFF = "The sandbox was asked to break off this answer with an error."


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A reply that is an error."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def failure_of(script: Script, dialect: str = "chat") -> Failure | None:
    """Return the reply that `script` asks for in place of an answer; None when it asks for none."""
    status, message = script.status, ""
    shape = script.shape or usual_shape(dialect)
    if script.wrong_key:
        status, message = status or _BAD_REQUEST, _WRONG_KEY
    elif script.no_credits:
        status, message = status or script.no_credits, _NO_CREDITS
    elif script.too_long:
        status, message = status or _BAD_REQUEST, _TOO_LONG
    elif script.refused:
        status, message = status or _FORBIDDEN, _REFUSED
    elif script.error_200:
        return _failure(HTTPStatus.OK, shape, _UNAVAILABLE, status=503)
    if not status:
        return None
    message = message or f"The sandbox was asked to answer with status {status}."
    return _failure(status, shape, message, retry_after=script.retry_after)


def failure_from(error: GroxyError, dialect: str = "chat") -> Failure:
    """Return the reply to a request that the sandbox itself refuses."""
    status = _NOT_FOUND if error.kind is ErrorKind.UNKNOWN_MODEL else error.facts.status
    return _failure(status, usual_shape(dialect), error.message)


def usual_shape(dialect: str) -> str:
    """Return the shape that errors have where nobody asked for another."""
    return "anthropic" if dialect == "messages" else "xai"


def stream_error(shape: str, dialect: str = "chat", sequence_number: int = 0) -> bytes:
    """Return the event that ends a stream with an error, with its empty line.

    Messages and Responses have one form of their own for it; `shape` says which one chat and
    completions have.
    """
    if dialect == "messages":
        return b"event: error\ndata: " + _body("anthropic", 503, _BROKE_OFF) + b"\n\n"
    if dialect == "responses":
        return b"event: response.failed\ndata: " + _failed_response(sequence_number) + b"\n\n"
    if shape == "openrouter":
        # An error chunk is a chunk: same fields, and the finish reason says "error".
        data = encode(
            {
                "id": "gen-sandbox",
                "object": "chat.completion.chunk",
                "created": 0,
                "model": "sandbox",
                "provider": "sandbox",
                "error": {"code": 502, "message": _BROKE_OFF},
                "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
            }
        )
    else:
        data = _body(shape, 503, _BROKE_OFF).rstrip().replace(b"\n", b" ")
    return b"data: " + data + b"\n\n"


def _failed_response(sequence_number: int) -> bytes:
    """Return the end of a Responses stream: the error is inside the response, never beside it."""
    return encode(
        {
            "type": "response.failed",
            "sequence_number": sequence_number,
            "response": {
                "id": "sandbox",
                "object": "response",
                "created_at": 0,
                "model": "sandbox",
                "status": "failed",
                "output": [],
                "error": {"code": _CODES[503], "message": _BROKE_OFF},
            },
        }
    )


def _failure(
    sent: int, shape: str, message: str, *, status: int = 0, retry_after: float | None = None
) -> Failure:
    kind = "text/html; charset=utf-8" if shape == "html" else "application/json"
    headers = {"content-type": kind}
    if retry_after is not None:
        headers["retry-after"] = f"{retry_after:g}"
    return Failure(status=sent, headers=headers, body=_body(shape, status or sent, message))


def _body(shape: str, status: int, message: str) -> bytes:
    body: dict[str, object]
    match shape:
        case "html":
            return _HTML.format(status=status, phrase=_phrase(status)).encode()
        case "openai":
            body = {"error": _openai_error(status, message)}
        case "anthropic":
            usual = "invalid_request_error" if status < _INTERNAL else "api_error"
            kind = _ANTHROPIC_TYPES.get(status, usual)
            body = {"type": "error", "error": {"type": kind, "message": message}}
        case "openrouter":
            body = {"error": {"code": status, "message": message}, "user_id": "sandbox"}
        case "cloudflare":
            error = {"code": 2000 + status, "message": message}
            body = {"success": False, "result": [], "messages": [], "error": [error]}
        case _:
            body = {"code": _CODES.get(status) or _phrase(status), "error": message}
    return encode(body)


def _openai_error(status: int, message: str) -> dict[str, object]:
    is_callers = status < _INTERNAL
    kind = "invalid_request_error" if is_callers else "server_error"
    code = "rate_limit_exceeded" if status == HTTPStatus.TOO_MANY_REQUESTS else None
    kind = _OPENAI_TYPES.get(status, kind)
    return {"message": message, "type": kind, "param": None, "code": code}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
