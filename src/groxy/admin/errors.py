"""Errors of the admin API: whatever went wrong, in the gateway's one envelope.

In: our own errors, FastAPI's complaints about a request, and accidents. Out: the envelope of
`dialects._openai`. Never what was sent, never a secret, never a stack trace: an accident is raised
on after its answer, so that the outermost layer logs it.
"""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from groxy.admin.shapes import UNKNOWN_FIELD
from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._openai import encode_error

CODES = {
    "page": "invalid_page",
    "page_size": "invalid_page_size",
    "pool": "invalid_pool",
    "status": "invalid_status",
    "concurrency": "invalid_concurrency",
}
"""Codes of parameters in the address that have one of their own in the contract."""
_PLACES = frozenset({"body", "query", "path", "header"})
_MAX_CHARS = 300
_MAX_PARAM_CHARS = 128


def install(app: FastAPI) -> None:
    """Let `app` answer every error in the envelope."""
    app.add_exception_handler(GroxyError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ExceptionGroup, _several)
    app.add_exception_handler(Exception, _accident)


def answer(error: GroxyError) -> Response:
    """Return the response that tells of an error."""
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(round(error.retry_after_s + 0.499), 1))
    return Response(
        encode_error(error),
        status_code=error.facts.status,
        headers=headers,
        media_type="application/json",
    )


async def _ours(_request: Request, error: Exception) -> Response:
    assert isinstance(error, GroxyError)  # noqa: S101 - that is what it is installed for
    return answer(error)


async def _several(_request: Request, error: Exception) -> Response:
    """Tell of the first error of ours among several that tasks ended with."""
    assert isinstance(error, ExceptionGroup)  # noqa: S101 - that is what it is installed for
    ours = _first_of_ours(error)
    if ours is None:
        raise error
    return answer(ours)


def _first_of_ours(error: BaseException) -> GroxyError | None:
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_first_of_ours, error.exceptions)), None)
    return error if isinstance(error, GroxyError) else None


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - that is what it is installed for
    return answer(complaint_of(error.errors()))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - that is what it is installed for
    method, path = request.method[:16], request.url.path[:128]
    if error.status_code == 404:
        return answer(GroxyError(ErrorKind.NOT_FOUND, f"There is nothing at {path}."))
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        message = f"{method} is not allowed here." + (f" Use {allowed}." if allowed else "")
        response = answer(GroxyError(ErrorKind.WRONG_METHOD, message))
        if allowed:
            response.headers["allow"] = allowed
        return response
    message = "The request could not be read. Send JSON as docs of this endpoint say."
    return answer(GroxyError(ErrorKind.BAD_REQUEST, message))


async def _accident(_request: Request, _error: Exception) -> Response:
    message = "The gateway made a mistake. Quote the request id when you report it."
    return answer(GroxyError(ErrorKind.INTERNAL, message))


def complaint_of(findings: Sequence[Any]) -> GroxyError:
    """Return the first of pydantic's findings as an error for the client.

    Pydantic's words are used where they hold nothing of what was sent; its input never is.
    """
    found = findings[0]
    path = [str(part) for part in found["loc"]]
    place = path.pop(0) if path and path[0] in _PLACES else ""
    if found["type"] == UNKNOWN_FIELD:
        context = found.get("ctx", {})
        path.append(context.get("field", ""))
        return _bad(path, "invalid_value", context.get("hint", "is not a field here."))
    path = [part for part in path if not _is_tag(part)]
    if found["type"] == "missing":
        if not path:
            return GroxyError(
                ErrorKind.BAD_REQUEST, "The request body is empty. Send a JSON object.", param=None
            )
        return _bad(path, "invalid_value", "is required.")
    code = CODES.get(path[0], "invalid_value") if place in ("query", "path") and path else ""
    words = found["msg"].removeprefix("Value error, ")[:_MAX_CHARS].rstrip(".")
    return _bad(path, code or "invalid_value", f"is invalid: {words[:1].lower()}{words[1:]}.")


def _bad(path: Sequence[str], code: str, text: str) -> GroxyError:
    param = ".".join(path)[:_MAX_PARAM_CHARS]
    subject = f"`{param}`" if param else "The request body"
    return GroxyError(ErrorKind.BAD_REQUEST, f"{subject} {text}", param=param or None, code=code)


def _is_tag(part: str) -> bool:
    """True for what pydantic adds to the path of a value that may have several types."""
    return part in ("str", "int", "float", "bool") or "[" in part or "(" in part
