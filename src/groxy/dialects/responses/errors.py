"""Errors inside a reply of Responses: what stands in it, and how an upstream's is passed on."""

import msgspec

from groxy.core.errors import ErrorKind, Fault, GroxyError


class _EmbeddedError(msgspec.Struct, omit_defaults=True):
    message: str
    code: str = ""
    param: str = ""


class _Embedded(msgspec.Struct):
    error: _EmbeddedError


def failure_of(error: GroxyError) -> dict[str, str]:
    """Return what stands in `response.error`; its codes are OpenAI's, clients know no others."""
    match error.kind:
        case ErrorKind.RATE_LIMITED | ErrorKind.UPSTREAM_LIMITED:
            code = "rate_limit_exceeded"
        case _:
            is_callers = error.facts.fault is Fault.CALLER
            code = "invalid_prompt" if is_callers else "server_error"
    return {"code": code, "message": error.message}


def embedded(message: object, code: object, param: object = None) -> bytes:
    """Return an upstream's error in the shape that every upstream's `read_error` reads."""
    return msgspec.json.encode(
        _Embedded(
            _EmbeddedError(
                message=message if isinstance(message, str) else "",
                code=code if isinstance(code, str) else "",
                param=param if isinstance(param, str) else "",
            )
        )
    )
