"""Who asks the sandbox, and what becomes of it before anything is answered.

In: the headers of a request, the `Turn` of its key, the script of its message. Out: its key, the
address that it reached, a refusal, and the headers that tell of limits. Must not know a dialect.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.request import Request, Role
from groxy.upstreams._limits import unix_now
from groxy.upstreams.sandbox.account import limit_headers
from groxy.upstreams.sandbox.failures import usual_shape
from groxy.upstreams.sandbox.faults import Script
from groxy.upstreams.sandbox.keys import Turn

IN_PROCESS = "sandbox://in-process/v1"
"""The address of a sandbox that no network reaches."""
_BLOCKED = "The sandbox was asked to have this key blocked."
_OVER = "The sandbox was asked to let this key no more requests through for now."


@dataclass(slots=True, kw_only=True)
class Ask:
    """A request that counts, and what its key and its message make of it."""

    dialect: str
    headers: Mapping[str, str]
    body: bytes
    turn: Turn
    script: Script = field(default_factory=Script)


def message_key(request: Request, script: Script) -> bytes:
    """Return what tells the calls of one message and script from all others."""
    last = next((each for each in reversed(request.messages) if each.role is Role.USER), None)
    return blake2b(repr((script, last)).encode(errors="replace"), digest_size=16).digest()


def key_of(headers: Mapping[str, str]) -> str:
    """Return the key that a request came with; empty when it had none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def address_of(headers: Mapping[str, str]) -> str:
    """Return where this sandbox is for who asked; in-process requests name no host."""
    host = headers.get("host", "")
    return f"http://{host}/v1" if host else IN_PROCESS


def refusal(turn: Turn) -> GroxyError | None:
    """Return why a key gets no answer whatever it asks for."""
    if turn.script.blocked:
        return GroxyError(ErrorKind.FORBIDDEN, _BLOCKED)
    if turn.is_over and turn.limits:
        return GroxyError(ErrorKind.RATE_LIMITED, _OVER, retry_after_s=turn.limits[2])
    return None


def limits_of(ask: Ask) -> dict[str, str]:
    """Return the headers for the limits that a message names, else for those of its key."""
    requests = ask.script.limits or ask.turn.limits
    if requests is None and ask.script.token_limits is None:
        return {}
    shape = ask.script.shape or usual_shape(ask.dialect)
    return limit_headers(shape, requests, ask.script.token_limits, unix_now)
