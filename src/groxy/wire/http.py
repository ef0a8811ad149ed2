"""The HTTP client side: pools of connections, one for each way out, bytes out, bytes in.

In: an `Outgoing` request. Out: a `Reply` whose head has arrived and whose body can be read at
once or chunk by chunk. Failures are `GroxyError` of the kinds UPSTREAM_DOWN, UPSTREAM_TIMEOUT and
BAD_REPLY; an `UnsentError` where the request certainly never left. Follows no redirect (a
credential must not travel), retries nothing, knows no vendor.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import aiohttp
import msgspec
from yarl import URL

from groxy.core.errors import ErrorKind, GroxyError

_AGENT = "groxy"
_POOL_SIZE = 8192
"""Connections in a pool, to all upstreams; other limits decide long before this bound is felt."""
_POOL_IDLE_S = 30.0
_KNOWN_URLS = 64
_LINGER_S = 1.0
"""How long the end of a body may take behind the stream's own last event."""
_READ_BUFFER_BYTES = 256 * 1024
_UNREACHED = "The upstream could not be reached."
_FAILED = (aiohttp.ClientError, OSError, ValueError)
"""ValueError: an address or a header that cannot be sent, such as a key with a line end."""
_UNCONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
)


class UnsentError(GroxyError):
    """No connection was had for a request: its upstream has certainly not read any of it."""


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One request to an upstream."""

    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    method: str = "POST"
    on_sent: Callable[[], None] | None = None
    """Called when all of the body has gone out: before that nobody can have read the request."""


class Reply(Protocol):
    """A reply whose status and headers are known."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; looking one up ignores case."""
        ...

    async def read(self, limit: int) -> bytes:
        """Return the whole body, or raise BAD_REPLY when it is longer than `limit` bytes."""
        ...

    def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the body as it arrives."""
        ...

    def release(self) -> None:
        """Keep the connection if the little that may be left of the body comes soon."""
        ...

    def close(self) -> None:
        """Drop the connection if the body was not read to its end."""
        ...


class Transport(Protocol):
    """Something that carries requests to an upstream: the network, or the sandbox in-process."""

    async def send(self, outgoing: Outgoing) -> Reply:
        """Send a request and return once the reply's head is there."""
        ...

    async def close(self) -> None:
        """Close what is open."""
        ...


@dataclass(slots=True)
class HttpReply:
    """A reply from the network."""

    _response: aiohttp.ClientResponse

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; looking one up ignores case."""
        return self._response.headers

    async def read(self, limit: int) -> bytes:
        """Return the whole body, or raise BAD_REPLY when it is longer than `limit` bytes."""
        # Not through `chunks`: what an asynchronous generator costs is felt when most replies have
        # one chunk.
        content = self._response.content
        pieces: list[bytes] = []
        size = 0
        try:
            while chunk := await content.readany():
                pieces.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
        except (aiohttp.ClientError, OSError) as error:
            raise _broken(error) from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the body as it arrives."""
        content = self._response.content
        try:
            while chunk := await content.readany():
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise _broken(error) from error

    def release(self) -> None:
        """Keep the connection if the little that may be left of the body comes soon."""
        if self._response.connection is not None:
            asyncio.get_running_loop().call_later(_LINGER_S, self._response.close)

    def close(self) -> None:
        """Drop the connection if the body was not read to its end."""
        if self._response.connection is not None:
            self._response.close()


@dataclass(slots=True)
class HttpTransport:
    """Sends requests over the network, from one pool of kept-alive connections.

    Accounts share it: what tells them apart is in the headers of each request.
    """

    timeout: aiohttp.ClientTimeout
    proxy_url: str = field(default="", repr=False)
    _urls: dict[str, URL] = field(default_factory=dict)
    """There are few addresses, and parsing one anew for each request takes its time."""
    _session: aiohttp.ClientSession | None = field(default=None)
    _proxy_errors: tuple[type[Exception], ...] = ()
    """What a SOCKS proxy fails with: classes that are known once one is used."""

    @classmethod
    def create(cls, *, connect_timeout_s: float, proxy_url: str = "") -> Self:
        """Return a transport; its pool opens with the first request.

        `proxy_url` is the way out: http, https, socks4, socks5 or socks5h; empty for none.
        """
        return cls(_timeout_of(connect_timeout_s), proxy_url)

    def set_connect_timeout(self, seconds: float) -> None:
        """Change how long connecting may take, from the next request on."""
        self.timeout = _timeout_of(seconds)

    async def send(self, outgoing: Outgoing) -> Reply:
        """Send a request and return once the reply's head is there."""
        try:
            session = self._session or self._open()
            response = await session.request(
                outgoing.method,
                self._urls.get(outgoing.url) or self._parsed(outgoing.url),
                data=_data_of(outgoing),
                headers=outgoing.headers,
                allow_redirects=False,
                timeout=self.timeout,
            )
        except _FAILED + self._proxy_errors as error:
            raise self._unreachable(error) from error
        return HttpReply(response)

    def _parsed(self, url: str) -> URL:
        if len(self._urls) > _KNOWN_URLS:
            self._urls.clear()
        parsed = self._urls[url] = URL(url)
        return parsed

    async def close(self) -> None:
        """Close every pooled connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        is_socks = self.proxy_url.startswith("socks")
        self._session = aiohttp.ClientSession(
            connector=self._socks_connector() if is_socks else _connector(),
            proxy=None if is_socks or not self.proxy_url else self.proxy_url,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_BUFFER_BYTES,
            headers={"User-Agent": _AGENT},
        )
        return self._session

    def _socks_connector(self) -> aiohttp.TCPConnector:
        # Few gateways need it, and it takes its time to import.
        import aiohttp_socks  # noqa: PLC0415

        self._proxy_errors = (
            aiohttp_socks.ProxyError,
            aiohttp_socks.ProxyConnectionError,
            aiohttp_socks.ProxyTimeoutError,
            asyncio.IncompleteReadError,  # of one that hangs up
        )
        # Names are looked up where the proxy is, as with socks5h, a scheme that only curl has.
        scheme, _, rest = self.proxy_url.partition("://")
        url = f"{scheme.removesuffix('h')}://{rest}"
        try:
            connector: aiohttp.TCPConnector = aiohttp_socks.ProxyConnector.from_url(
                url, limit=_POOL_SIZE, keepalive_timeout=_POOL_IDLE_S, rdns=True
            )
        except ValueError as error:
            raise UnsentError(
                ErrorKind.UPSTREAM_DOWN, _UNREACHED, detail=f"the address of its proxy: {error}"
            ) from error
        return connector

    def _unreachable(self, error: Exception) -> GroxyError:
        is_proxys = isinstance(error, self._proxy_errors)
        raised = UnsentError if is_proxys or isinstance(error, _UNCONNECTED) else GroxyError
        detail = f"{type(error).__name__}: {error}"
        # Those of a SOCKS proxy are of no common kind: what they were raised from tells a timeout.
        if isinstance(error.__cause__ if is_proxys else error, TimeoutError):
            message = "The upstream could not be reached in time."
            return raised(ErrorKind.UPSTREAM_TIMEOUT, message, detail=detail)
        return raised(ErrorKind.UPSTREAM_DOWN, _UNREACHED, detail=detail)


class _Announced(aiohttp.BytesPayload):
    """A body that says when it has gone out, over a connection that was found or made for it."""

    def __init__(self, body: bytes, on_sent: Callable[[], None]) -> None:
        super().__init__(body)
        self._on_sent = on_sent

    async def write_with_length(self, writer: Any, content_length: int | None) -> None:  # noqa: ANN401 - aiohttp's
        """Write the body."""
        await super().write_with_length(writer, content_length)
        self._on_sent()


def _data_of(outgoing: Outgoing) -> bytes | aiohttp.BytesPayload | None:
    if outgoing.on_sent is None or not outgoing.body:
        return outgoing.body or None
    return _Announced(outgoing.body, outgoing.on_sent)


def _timeout_of(connect_s: float) -> aiohttp.ClientTimeout:
    # The gateway has its own deadlines, one timer for all of them; aiohttp keeps the one for
    # connecting, which only it can see.
    return aiohttp.ClientTimeout(total=None, connect=None, sock_connect=connect_s)


def _connector() -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(limit=_POOL_SIZE, keepalive_timeout=_POOL_IDLE_S)


def _too_large(limit: int) -> GroxyError:
    detail = f"reply over {limit} bytes"
    return GroxyError(ErrorKind.BAD_REPLY, "The upstream's reply is too large.", detail=detail)


def _broken(error: Exception) -> GroxyError:
    return GroxyError(
        ErrorKind.STREAM_BROKEN,
        "The upstream broke off its reply.",
        detail=f"{type(error).__name__}: {error}",
    )
