"""Where a key may be used: on which paths, and from which addresses.

In: a caller, a path, the client's address. Out: nothing, or FORBIDDEN with what is not allowed.
What cannot be told is not allowed: an unknown path to a key that is bound to some, an unknown
address to a key that is bound to addresses.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from groxy.core.errors import ErrorKind, GroxyError
from groxy.policy.keys import Caller

Network = IPv4Network | IPv6Network
_KEYS = "keys"
_GROUPS = {
    "chat": "chat",
    "vision": "chat",
    "responses": "responses",
    "messages": "messages",
    "completions": "completions",
    "embeddings": "embeddings",
    "images": "images",
    "videos": "videos",
    "files": "files",
    "tokenize": "tokenize",
    "tokenize-text": "tokenize",
    "models": "models",
    "language-models": "models",
    "embedding-models": "models",
    "key": "account",
    "auth": "account",
    "credits": "account",
    "activity": "account",
    "generation": "account",
    "receipts": "account",
    "quote": "account",
    "statistics": "models",
    "user": "account",
    _KEYS: _KEYS,
}
"""The group of `core.grants.ENDPOINTS` by the first part of a path below /v1. `keys` is in none:
only provisioning keys get there."""
_LISTS_AT_ONCE = 10_000
_MAPPED_BITS = 96
"""What comes before the IPv4 address in an IPv6 address that stands for one."""


def check_access(caller: Caller, path: str, client_ip: str | None) -> None:
    """Raise FORBIDDEN, with the code `key_scope` or `ip_not_allowed`, unless the key may be used.

    `client_ip` is None when nobody knows it.
    """
    grant = caller.grant
    group = group_of(path)
    if grant.is_provisioning != (group == _KEYS):
        raise _wrong_kind(is_provisioning=grant.is_provisioning)
    if grant.endpoints and not grant.is_provisioning and group not in grant.endpoints:
        message = f"This API key is for {', '.join(grant.endpoints)} only."
        raise GroxyError(ErrorKind.FORBIDDEN, message, code="key_scope")
    if grant.ips and not _is_within(client_ip, _networks(grant.ips)):
        message = "This API key may not be used from your address."
        raise GroxyError(ErrorKind.FORBIDDEN, message, code="ip_not_allowed")


def group_of(path: str) -> str:
    """Return which group of endpoints a path belongs to; empty for a path that is in none."""
    below = path.removeprefix("/api")
    if not below.startswith("/v1/"):
        return ""
    return _GROUPS.get(below[4:].partition("/")[0], "")


def client_address(
    peer: str | None, forwarded: Iterable[str], trusted: Sequence[Network]
) -> str | None:
    """Return the address that a request came from; None when nobody can tell.

    `peer` is who is connected, `forwarded` the `X-Forwarded-For` headers in their order. Those are
    believed only of a trusted proxy, and only up to the last one that is not trusted itself:
    anybody can write what stands before it.
    """
    if peer is None or not trusted or not _is_within(peer, trusted):
        return peer
    named = [name.strip() for header in forwarded for name in header.split(",")]
    for name in reversed(named):
        if not _is_within(address := _without_port(name), trusted):
            return address if _address_of(address) is not None else None
    return peer


def read_network(text: str, param: str) -> str:
    """Return an address or a network as people write it; raise BAD_REQUEST that names `param`."""
    try:
        if "%" in text:
            raise ValueError
        return str(_plain(ip_network(text.strip())))
    except ValueError:
        message = (
            f"`{param}` must be an IP address or a network such as 10.0.0.0/8 or 2001:db8::/32."
        )
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=param) from None


def _wrong_kind(*, is_provisioning: bool) -> GroxyError:
    if is_provisioning:
        message = "This is a provisioning key: it is for /v1/keys and nothing else."
    else:
        message = "/v1/keys needs a provisioning key."
    return GroxyError(ErrorKind.FORBIDDEN, message, code="key_scope")


@lru_cache(_LISTS_AT_ONCE)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Return the networks of a list; one that cannot be read permits nobody."""
    found = []
    for text in texts:
        try:
            found.append(_plain(ip_network(text, strict=False)))
        except ValueError:
            continue
    return tuple(found)


def _is_within(text: str | None, networks: Iterable[Network]) -> bool:
    address = None if text is None else _address_of(text)
    return address is not None and any(address in network for network in networks)


def _address_of(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address without its zone, an IPv4 address also where IPv6 stands for it."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _plain(network: Network) -> Network:
    """Return a network of IPv4 also where IPv6 stands for it."""
    mapped = network.network_address
    if isinstance(mapped, IPv6Address) and network.prefixlen >= _MAPPED_BITS:
        plain = mapped.ipv4_mapped
        if plain is not None:
            return IPv4Network((plain, network.prefixlen - _MAPPED_BITS))
    return network


def _without_port(name: str) -> str:
    """Return the address of `1.2.3.4:5678` and `[2001:db8::1]:5678`, as some proxies write them."""
    if name.startswith("["):
        return name[1:].partition("]")[0]
    host, colon, port = name.partition(":")
    return host if colon and port.isdecimal() else name
