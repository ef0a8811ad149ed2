"""The error envelope of every OpenAI surface: `{"error":{message,type,code,param,status}}`."""

import msgspec

from groxy.core.errors import GroxyError


class _Error(msgspec.Struct):
    message: str
    type: str
    code: str
    param: str | None
    status: int


class _Envelope(msgspec.Struct):
    error: _Error


def encode_error(error: GroxyError) -> bytes:
    """Return the envelope of `error`. Only its safe message is in it, never its detail."""
    facts = error.facts
    return msgspec.json.encode(
        _Envelope(
            _Error(
                message=error.message,
                type=facts.type,
                code=error.code,
                param=error.param,
                status=facts.status,
            )
        )
    )


def encode_stream_error(error: GroxyError) -> bytes:
    """Return the event that ends a stream which broke off: an error, and no `[DONE]`."""
    return b"data: " + encode_error(error) + b"\n\n"
