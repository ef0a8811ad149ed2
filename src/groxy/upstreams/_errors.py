"""What an upstream's error means: its words, whatever shape they have, become a `GroxyError`.

In: an error reply as it came. Out: its kind, and a message that is fit for a caller. Works for
servers that use statuses as OpenAI does; upstreams with ways of their own begin from here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.wire.json import decode_any


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorReply:
    """An error as it came: a reply that is not 200, or an error inside one that is."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorWords:
    """What an error body says, whichever of the usual shapes it has."""

    message: str = ""
    code: str = ""
    status: int | None = None
    """The status inside the body, where an error hides in a 200."""


_MAX_READ = 4000
"""Characters of an error that are read: a reply may hold megabytes, and patterns are slow there."""


def words_of(body: bytes) -> ErrorWords:
    """Read an error body: `{"error":{…}}`, `{"code","error":"…"}`, `{"error":[{…}]}`, or prose."""
    try:
        parsed = decode_any(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ErrorWords()
    if not isinstance(parsed, dict):
        return ErrorWords()
    error = parsed.get("error") or parsed.get("errors")
    if isinstance(error, list) and error:
        error = error[0]
    if isinstance(error, dict):
        code, message = error.get("code"), error.get("message")
        status = error.get("status", error.get("http_status", code))
        if code is None or isinstance(code, int):
            code = _type_of(error)
    else:
        code, message = parsed.get("code"), error or parsed.get("message") or parsed.get("detail")
        status = parsed.get("status")
    is_status = isinstance(status, int) and 400 <= status <= 599
    if not is_status:
        status = _STATUS_OF_TYPE.get(code) if isinstance(code, str) else None
    return ErrorWords(
        message=message[:_MAX_READ] if isinstance(message, str) else "",
        code=code[:_MAX_READ] if isinstance(code, str) else "",
        status=status,
    )


_STATUS_OF_TYPE = {
    # Anthropic's types: what stands in a stream after its 200 (pypi anthropic 2.11.0)
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "overloaded_error": 529,
    "timeout_error": 504,
    # OpenAI's, in events of Responses (its API description, 2026)
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "invalid_prompt": 400,
}
"""What an error that has no status of its own would have had."""


def _type_of(error: Mapping[str, Any]) -> object:
    """Return an error's own name for itself; OpenRouter has the telling one in its metadata."""
    metadata = error.get("metadata")
    inner = metadata.get("error_type") if isinstance(metadata, dict) else None
    return error.get("error_type") or inner or error.get("type")


_CONTEXT = re.compile(
    r"context[_ ]length|maximum (prompt|context) length|too many (input )?tokens"
    r"|prompt is too long",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"content[- _]policy|usage[- _](policy|guidelines)|safety|moderat|flagged|refus", re.IGNORECASE
)


def is_refusal(text: str) -> bool:
    """True for words that say that a request broke the upstream's rules."""
    return _REFUSAL.search(text) is not None


_KINDS = {
    # OpenAI's own codes, which compatible servers copy (platform.openai.com, error codes, 2026)
    "context_length_exceeded": ErrorKind.CONTEXT_TOO_LONG,
    "insufficient_quota": ErrorKind.UPSTREAM_QUOTA,
    "invalid_api_key": ErrorKind.UPSTREAM_AUTH,
    # One-API and its kin: a 503 (QuantumNous/new-api#6310, 2026-07)
    "model_not_found": ErrorKind.MODEL_ABSENT,
    # One-API and its kin: a 403 (songquanpeng/one-api#1270, 2024-04)
    "insufficient_user_quota": ErrorKind.UPSTREAM_QUOTA,
}
"""What a code says, it says at any status."""


def error_by_status(reply: ErrorReply) -> GroxyError:
    """Return what an error means by its status alone, the way OpenAI-compatible servers use it."""
    words = words_of(reply.body)
    status = words.status if reply.status < 400 and words.status else reply.status
    return error_of(kind_by_status(status, words), reply)


def kind_by_status(status: int, words: ErrorWords) -> ErrorKind:  # noqa: C901, PLR0911  a table
    """Return the kind of an error of this status, as OpenAI-compatible servers use it."""
    if words.code in _KINDS:
        return _KINDS[words.code]
    match status:
        case 400 | 409 | 422:
            is_too_long = _CONTEXT.search(words.message)
            return ErrorKind.CONTEXT_TOO_LONG if is_too_long else ErrorKind.BAD_REQUEST
        case 401:
            return ErrorKind.UPSTREAM_AUTH
        case 402:
            return ErrorKind.UPSTREAM_QUOTA
        case 403:
            is_refusal = _REFUSAL.search(words.message)
            return ErrorKind.REFUSED if is_refusal else ErrorKind.UPSTREAM_AUTH
        case 404:
            return ErrorKind.MODEL_ABSENT
        case 410 | 501:
            return ErrorKind.UNSUPPORTED
        case 413:
            return ErrorKind.TOO_LARGE
        case 429:
            return ErrorKind.UPSTREAM_LIMITED
        case 408 | 504 | 524:
            return ErrorKind.UPSTREAM_TIMEOUT
        case _ if status >= 500:
            return ErrorKind.UPSTREAM_DOWN
    return ErrorKind.BAD_REPLY


_MESSAGES = {
    ErrorKind.BAD_REQUEST: "The upstream refused the request as invalid.",
    ErrorKind.CONTEXT_TOO_LONG: "The request is longer than the model's context.",
    ErrorKind.REFUSED: "The request was refused by the model's usage policy.",
    ErrorKind.UNSUPPORTED: "The upstream does not offer what was asked for.",
    ErrorKind.UPSTREAM_AUTH: "No upstream account could serve this request.",
    ErrorKind.UPSTREAM_QUOTA: "No upstream account with quota left could serve this request.",
    ErrorKind.UPSTREAM_LIMITED: "All upstream accounts are at their rate limit. Try again later.",
    ErrorKind.UPSTREAM_TIMEOUT: "The upstream took too long to answer. Try again.",
    ErrorKind.UPSTREAM_DOWN: "The upstream is not available right now. Try again.",
    ErrorKind.STREAM_BROKEN: "The upstream broke off its reply.",
    ErrorKind.MODEL_ABSENT: "The model is not available from any account right now.",
    ErrorKind.TOO_LARGE: "The request is larger than the upstream takes. Send less at once.",
}
_QUOTED = frozenset(
    {
        ErrorKind.BAD_REQUEST,
        ErrorKind.CONTEXT_TOO_LONG,
        ErrorKind.REFUSED,
        ErrorKind.UNSUPPORTED,
    }
)
"""Kinds whose cause is the caller's: what the upstream said helps to mend the request."""
_PARAMS = {ErrorKind.CONTEXT_TOO_LONG: "messages", ErrorKind.MODEL_ABSENT: "model"}
_WAITING = frozenset({ErrorKind.UPSTREAM_LIMITED, ErrorKind.UPSTREAM_DOWN})


def error_of(
    kind: ErrorKind, reply: ErrorReply, *, message: str = "", param: str | None = None
) -> GroxyError:
    """Return the error that `reply` is, once its kind is known.

    `message` takes the place of what the upstream said, where that is not fit for a caller.
    """
    words = words_of(reply.body)
    said = safe_message(words.message)
    if not message and kind in _QUOTED:
        message = said
    return GroxyError(
        kind,
        message or _MESSAGES.get(kind, "The upstream sent a reply that makes no sense."),
        param=param or _PARAMS.get(kind),
        detail=f"status {reply.status}, code {safe_message(words.code)[:80]!r}, said {said!r}",
        retry_after_s=retry_after_s(reply.headers) if kind in _WAITING else None,
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds an upstream asks to wait, from `retry-after-ms` or `retry-after`."""
    for name, unit in (("retry-after-ms", Decimal("0.001")), ("retry-after", Decimal(1))):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(Decimal(value) * unit)
        except (InvalidOperation, ValueError, OverflowError):
            continue  # A date: rare, and the default wait is as good.
        if 0 <= seconds < 86_400 * 31:
            return seconds
    return None


_UNSAFE = re.compile(
    r"https?://\S+"  # addresses name the vendor and the account
    r"|\b(?:[\w-]{1,63}\.){1,4}[a-z]{2,12}/\S+"
    r"|\bBearer\s+\S+"
    r"|\b(?:sk|xai|key)[-_][\w*.\-]{4,}"  # keys, also masked ones
    r"|\b\w+\*{2,}\w*"  # whatever else is masked
    r"|\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"  # team and request ids
    r"|\(request id: [^)]*\)"
    r"|\b(?=\w*\d)\w{20,}\b"  # no word of a language is so long and has a digit
    r"|\b[\w.+-]{1,64}@[\w-]+\.[\w.]+",
    re.IGNORECASE,
)
_MAX_MESSAGE = 600


def safe_message(text: str) -> str:
    """Return an upstream's words without addresses, keys and ids, on one line and not too long."""
    cleaned = " ".join(_UNSAFE.sub("…", text).split())
    return cleaned if len(cleaned) <= _MAX_MESSAGE else cleaned[: _MAX_MESSAGE - 1] + "…"
