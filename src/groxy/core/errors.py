"""The one error type, and what each kind of error means.

A `GroxyError` has a `kind`, a `message` that is safe for a caller and says how to fix it, and a
`detail` for the log only. Everything else about an error follows from its kind: status, wire type
and code, whose fault it is, and what the attempt loop may do next. docs/errors.md shows the table.
"""

from dataclasses import dataclass
from enum import Enum
from typing import assert_never


class Fault(Enum):
    """Whose fault an error is; `caller` errors never count against an account."""

    CALLER = "caller"
    ACCOUNT = "account"
    UPSTREAM = "upstream"
    GATEWAY = "gateway"


class NextStep(Enum):
    """What the attempt loop does after a failure, while no event has left for the client."""

    STOP = "stop"
    OTHER_ACCOUNT = "other account"


class ErrorKind(Enum):
    """Every way a request can fail. The value is the metric label and the wire `code`."""

    BAD_REQUEST = "invalid_value"
    BAD_JSON = "invalid_json"
    UNKNOWN_MODEL = "model_not_found"
    MODEL_ABSENT = "model_not_available"
    UNSUPPORTED = "unsupported_parameter"
    TOO_LARGE = "request_too_large"
    CONTEXT_TOO_LONG = "context_length_exceeded"
    BAD_KEY = "invalid_api_key"
    FORBIDDEN = "forbidden"
    REFUSED = "content_policy_violation"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    WRONG_METHOD = "method_not_allowed"
    NO_CREDITS = "insufficient_credits"
    RATE_LIMITED = "rate_limit_exceeded"
    UPSTREAM_AUTH = "upstream_auth_failed"
    UPSTREAM_QUOTA = "upstream_quota_exhausted"
    UPSTREAM_LIMITED = "upstream_rate_limited"
    UPSTREAM_DOWN = "upstream_unavailable"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    STREAM_BROKEN = "upstream_stream_broken"
    BAD_REPLY = "upstream_bad_reply"
    NO_ACCOUNT = "no_account_available"
    STORE_DOWN = "store_unavailable"
    CANCELLED = "client_disconnected"
    INTERNAL = "internal_error"


@dataclass(frozen=True, slots=True)
class KindFacts:
    """What a kind means: HTTP status, wire type, whose fault, and what the attempt loop does."""

    status: int
    type: str
    fault: Fault
    next_step: NextStep


def facts_of(kind: ErrorKind) -> KindFacts:  # noqa: C901, PLR0911  one arm per kind, on purpose
    """Return the facts of a kind; adding a kind without facts fails type checking."""
    caller, account, upstream, gateway = Fault.CALLER, Fault.ACCOUNT, Fault.UPSTREAM, Fault.GATEWAY
    stop, other = NextStep.STOP, NextStep.OTHER_ACCOUNT
    match kind:
        case (
            ErrorKind.BAD_REQUEST
            | ErrorKind.BAD_JSON
            | ErrorKind.UNKNOWN_MODEL
            | ErrorKind.CONTEXT_TOO_LONG
        ):
            return KindFacts(400, "validation_error", caller, stop)
        case ErrorKind.UNSUPPORTED | ErrorKind.MODEL_ABSENT:
            # Another upstream may be able to do, or have, what this one cannot.
            return KindFacts(400, "validation_error", caller, other)
        case ErrorKind.TOO_LARGE:
            return KindFacts(413, "validation_error", caller, stop)
        case ErrorKind.BAD_KEY:
            return KindFacts(401, "authentication_error", caller, stop)
        case ErrorKind.FORBIDDEN | ErrorKind.REFUSED:
            return KindFacts(403, "permission_error", caller, stop)
        case ErrorKind.NOT_FOUND:
            return KindFacts(404, "not_found_error", caller, stop)
        case ErrorKind.CONFLICT:
            return KindFacts(409, "conflict_error", caller, stop)
        case ErrorKind.WRONG_METHOD:
            return KindFacts(405, "validation_error", caller, stop)
        case ErrorKind.NO_CREDITS:
            return KindFacts(402, "billing_error", caller, stop)
        case ErrorKind.RATE_LIMITED:
            return KindFacts(429, "rate_limit_error", caller, stop)
        case ErrorKind.UPSTREAM_AUTH | ErrorKind.UPSTREAM_QUOTA:
            return KindFacts(502, "upstream_error", account, other)
        case ErrorKind.UPSTREAM_LIMITED:
            return KindFacts(429, "rate_limit_error", account, other)
        case ErrorKind.UPSTREAM_DOWN | ErrorKind.STREAM_BROKEN | ErrorKind.BAD_REPLY:
            return KindFacts(502, "upstream_error", upstream, other)
        case ErrorKind.UPSTREAM_TIMEOUT:
            return KindFacts(504, "upstream_error", upstream, other)
        case ErrorKind.NO_ACCOUNT:
            return KindFacts(503, "upstream_error", gateway, stop)
        case ErrorKind.STORE_DOWN:
            return KindFacts(503, "server_error", gateway, stop)
        case ErrorKind.CANCELLED:
            # 499 is nginx's word for "client closed request"; nobody is left to read it.
            return KindFacts(499, "client_error", caller, stop)
        case ErrorKind.INTERNAL:
            return KindFacts(500, "server_error", gateway, stop)
    assert_never(kind)


_FACTS = {kind: facts_of(kind) for kind in ErrorKind}


class GroxyError(Exception):
    """An error with a kind. `message` goes to the caller, `detail` only to the log.

    `param` names the request field at fault, as a dotted path (`messages.0.role`).
    `code` is the wire code where one says more than the kind's own (`account_not_found`).
    `retry_after_s` becomes the `Retry-After` header; `headers` go with the reply as they are.
    """

    headers: tuple[tuple[bytes, bytes], ...] = ()

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        param: str | None = None,
        code: str = "",
        detail: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.code = code or kind.value
        self.message = message
        self.param = param
        self.detail = detail
        self.retry_after_s = retry_after_s

    @property
    def facts(self) -> KindFacts:
        """The facts of this error's kind."""
        return _FACTS[self.kind]
