"""Attempts to guess a password, and changes of keys: few of them a minute, over all processes.

In: the e-mail address that is tried, and where the request came from. Out: nothing, or
RATE_LIMITED. No address of anybody is kept: what is counted has a digest for its name.
"""

from ipaddress import IPv6Address, ip_address, ip_network

from groxy.api.owners import Registry
from groxy.core.errors import ErrorKind, GroxyError
from groxy.policy.access import client_address
from groxy.state.gates import Answer, Claim, Scope as Limit
from groxy.wire.asgi import Scope

OF_EMAIL, OF_ADDRESS = 10, 30
"""A minute."""
OF_KEYS = 600
"""A minute, of one user."""
_NETWORK_BITS = 64
"""Of IPv6: who has one address has at least so many."""
_FORWARDED = b"x-forwarded-for"


async def claim_attempt(registry: Registry, scope: Scope, email: str) -> None:
    """Let one attempt through; raise RATE_LIMITED, also when the password would be right.

    `email` may be any other name of who is meant.
    """
    digest = registry.secret.digest(f"login of {email.strip().lower()[:254]}").hex()[:32]
    limits = (
        Limit(name=f"login:{digest}", requests=OF_EMAIL),
        Limit(name=f"login-ip:{_origin_of(registry, scope)}", requests=OF_ADDRESS),
    )
    await _claim(registry, limits, "Too many attempts to log in.")


async def claim_change(registry: Registry, user_id: str) -> None:
    """Let a user's keys be changed once; raise RATE_LIMITED: every process reads each change."""
    limit = Limit(name=f"keys-of:{user_id or 'nobody'}", requests=OF_KEYS)
    await _claim(registry, (limit,), "Too many changes of keys.")


async def _claim(registry: Registry, limits: tuple[Limit, ...], what: str) -> None:
    verdict = await registry.ask(Claim(scopes=limits))
    if verdict.answer is not Answer.GRANTED:
        wait_s = max(verdict.retry_after_s, 1.0)
        message = f"{what} Try again in {wait_s:.0f} s."
        raise GroxyError(ErrorKind.RATE_LIMITED, message, retry_after_s=wait_s)


def _origin_of(registry: Registry, scope: Scope) -> str:
    """Return what is counted for: an IPv4 address, or a network of IPv6."""
    client = scope.get("client")
    forwarded = (value.decode("latin-1") for name, value in scope["headers"] if name == _FORWARDED)
    peer = client_address(
        str(client[0]) if client else None, forwarded, registry.keyring.trusted_proxies
    )
    try:
        address = ip_address((peer or "").partition("%")[0])
    except ValueError:
        return "unknown"  # such as a socket in the file system: all of them are one
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return str(ip_network((address, _NETWORK_BITS), strict=False).network_address)
        return str(address.ipv4_mapped)
    return str(address)
