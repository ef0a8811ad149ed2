"""Sessions as requests present them: as a bearer token, or in the cookie of a browser.

In: a request's headers. Out: the token, or FORBIDDEN for a change that another site may have made
a browser send. A browser sends the cookie by itself, whoever asks it to, so that with a cookie
anything but looking needs the header `x-groxy-csrf: 1`, which other sites cannot send, or an
`Origin` (or `Referer`) of our own host. Must not look a token up.
"""

from collections.abc import Iterator
from urllib.parse import urlsplit

from groxy.core.errors import ErrorKind, GroxyError
from groxy.policy.keys import presented_key
from groxy.wire.asgi import Scope, header

COOKIE = "groxy_session"
CSRF_HEADER = b"x-groxy-csrf"
TTL_MS = 7 * 86_400_000
"""How long somebody stays logged in."""
PREFIX = "ses_"
_LOOKING = frozenset({"GET", "HEAD"})
_PLAIN_PORTS = (":80", ":443")


def presented_session(scope: Scope, own_url: str = "") -> str | None:
    """Return the token of the session that a request presents; None when it presents none.

    A key in a header comes first: then the cookie is not looked at. Raises BAD_KEY for two
    different tokens, and FORBIDDEN (`csrf_refused`); `own_url` is where browsers find us.
    """
    keys = set(keys_in_headers(scope))
    if len(keys) > 1:
        raise GroxyError(ErrorKind.BAD_KEY, "Two different keys were sent. Send one of them.")
    if keys:
        key = keys.pop()
        return key if key.startswith(PREFIX) else None
    tokens = set(_cookies(scope))
    if len(tokens) > 1:
        # Another site below the same domain can set a cookie of this name.
        message = f"Two cookies `{COOKIE}` were sent. Delete them, and log in again."
        raise GroxyError(ErrorKind.BAD_KEY, message)
    if not tokens:
        return None
    if scope["method"] not in _LOOKING:
        refuse_other_sites(scope, own_url)
    return tokens.pop()


def keys_in_headers(scope: Scope) -> Iterator[str]:
    """Yield each key that a header has, of repeated headers too."""
    for name, value in scope["headers"]:
        key = None
        if name == b"authorization":
            key = presented_key(value.decode("latin-1"), None)
        elif name == b"x-api-key":
            key = presented_key(None, value.decode("latin-1"))
        if key:
            yield key


def refuse_other_sites(scope: Scope, own_url: str = "", *, unknown_is_ours: bool = False) -> None:
    """Raise FORBIDDEN (`csrf_refused`) unless our own pages sent this.

    `unknown_is_ours` lets a request through that does not say where it is from, as no browser's.
    """
    if header(scope, CSRF_HEADER) == "1":
        return
    origin = header(scope, b"origin") or header(scope, b"referer")
    if origin is None and unknown_is_ours:
        return
    if origin is not None:
        ours = {_host_of(own_url), _plain(header(scope, b"host") or "")} - {""}
        if _host_of(origin) in ours:
            return
    message = (
        "With a cookie, changes need the header `x-groxy-csrf: 1`. Another site may have sent "
        "this. Programs send `Authorization: Bearer <token>` in place of the cookie."
    )
    raise GroxyError(ErrorKind.FORBIDDEN, message, code="csrf_refused")


def _cookies(scope: Scope) -> Iterator[str]:
    for name, value in scope["headers"]:
        if name != b"cookie":
            continue
        for part in value.decode("latin-1").split(";"):
            key, _, token = part.strip().partition("=")
            if key == COOKIE and token:
                yield token.strip('"')


def _host_of(url: str) -> str:
    try:
        return _plain(urlsplit(url).netloc.rpartition("@")[2])
    except ValueError:
        return ""


def _plain(host: str) -> str:
    host = host.strip().lower()
    for port in _PLAIN_PORTS:
        host = host.removesuffix(port)
    return host
