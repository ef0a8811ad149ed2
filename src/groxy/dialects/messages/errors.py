"""Anthropic's error envelope: `{"type":"error","error":{"type","message"}}`.

Types by status as platform.claude.com lists them (errors, 2026). The status of the HTTP reply is
that of the error's kind.
"""

import msgspec

from groxy.core.errors import GroxyError

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_FIRST_SERVER_STATUS = 500


class _Error(msgspec.Struct):
    type: str
    message: str


class _Envelope(msgspec.Struct, tag_field="type", tag="error"):
    error: _Error


def error_type(status: int) -> str:
    """Return Anthropic's word for errors of an HTTP status."""
    usual = "api_error" if status >= _FIRST_SERVER_STATUS else "invalid_request_error"
    return _TYPES.get(status, usual)


def encode_error(error: GroxyError) -> bytes:
    """Return the envelope of `error`. Only its safe message is in it, never its detail."""
    return msgspec.json.encode(
        _Envelope(_Error(type=error_type(error.facts.status), message=error.message))
    )


def encode_stream_error(error: GroxyError) -> bytes:
    """Return the event that ends a stream which broke off."""
    return b"event: error\ndata: " + encode_error(error) + b"\n\n"
