"""Fetching what callers name by URL, for upstreams that do not fetch themselves.

In: a URL that a stranger wrote. Out: bytes of a bounded size, with the media type that they really
have; else BAD_REQUEST. Nothing inside the operator's network is ever asked: each address, redirects
too, is resolved once, checked, and then connected to as checked. Whether such a host exists shows
in no message. Carries no credential and no cookie, obeys no proxy of the environment, stores
nothing.
"""

import asyncio
import base64
import errno
import re
import socket
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from groxy.core.errors import ErrorKind, GroxyError

_MAX_URL_LENGTH = 8_192
_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK = 200
_HEADERS = {"User-Agent": "groxy-fetch", "Accept-Encoding": "identity"}

_NO_URL = "That is not an http or https URL. Send such a URL, or the content as a data URI."
_CREDENTIALS = (
    "A URL with a user name or password in it is not fetched. Send the content as a data URI."
)
_NOT_FETCHED = (
    "The URL could not be fetched: it must be open to everybody on the internet and answer soon. "
    "Check it, or send the content as a data URI."
)
"""For hosts that are refused, unknown or away, so that nobody can tell these apart."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL gave."""

    body: bytes = field(repr=False)
    media_type: str
    """What the bytes are, such as `image/png`; text is UTF-8."""


class Fetcher:
    """Fetches pictures and documents from the public internet.

    `allow_private` opens the operator's own network too: for picture stores in there, and tests.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        timeout_s: float = 15.0,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self.allow_private = allow_private
        """May be changed at any time; counts from the next fetch on."""
        self._timeout_s = timeout_s
        self._resolver = resolver

    async def fetch(
        self, url: str, *, max_bytes: int, accepts: Collection[str], param: str
    ) -> Fetched:
        """Return what `url` gives, at most `max_bytes` of one of the media types `accepts`.

        A member of `accepts` is the beginning of a media type: `image/`, `application/pdf`.
        Raises BAD_REQUEST that names the request's field `param`.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._fetched(_parsed(url), max_bytes, tuple(accepts))
        except _UnfitError as unfit:
            message, detail = unfit.message, ""
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # A time that is up is an OSError, an address that nobody can read a ValueError.
            message, detail = _NOT_FETCHED, _detail_of(error)
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=param, detail=detail)

    async def _fetched(self, url: URL, max_bytes: int, accepts: tuple[str, ...]) -> Fetched:
        async with self._session(accepts) as session:
            for _ in range(1 + _MAX_REDIRECTS):
                async with session.get(url, allow_redirects=False) as response:
                    if response.status not in _REDIRECTS:
                        return await _read(response, max_bytes, accepts)
                    url = _redirected(url, response.headers.get("Location", ""))
        raise _UnfitError(f"The URL redirects more than {_MAX_REDIRECTS} times. Send the last one.")

    def _session(self, accepts: tuple[str, ...]) -> aiohttp.ClientSession:
        """Return a session for one fetch, so that one caller's leaves nothing for another's."""
        resolver = self._resolver or ThreadedResolver()
        connector = aiohttp.TCPConnector(
            resolver=_CheckedResolver(resolver, allow_private=self.allow_private),
            use_dns_cache=False,
            socket_factory=self._socket_to,
            force_close=True,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={**_HEADERS, "Accept": ", ".join(map(_shown, accepts)) or "*/*"},
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            trust_env=False,
        )

    def _socket_to(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """Return the socket for a connection: the last moment to refuse, with the address as it is.

        Addresses that stand in a URL come here without passing the resolver.
        """
        family, kind, protocol, _, destination = address
        if not self.allow_private and (
            not is_public(str(destination[0])) or _is_own(family, destination)
        ):
            raise OSError(errno.EACCES, "not a public address")
        return socket.socket(family, kind, protocol)


def data_uri(fetched: Fetched) -> str:
    """Return the content as a `data:` URI."""
    return f"data:{fetched.media_type};base64,{base64.b64encode(fetched.body).decode()}"


# ----------------------------------------------------------------------------------- addresses

_GLOBAL_V6 = ip_network("2000::/3")
"""All that was ever given out for the public; what is new outside of it is not for us."""
_NAT64 = ip_network("64:ff9b::/96")
_NOT_PUBLIC = tuple(
    map(
        ip_network,
        (
            # Python's own tables differ between its versions, and call these global.
            "192.0.0.0/24",
            "192.88.99.0/24",
            "224.0.0.0/4",
            "2001::/23",
            "3fff::/20",
            # Looks public, but is the cloud's own agent inside each virtual machine of Azure:
            # https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
            "168.63.129.16/32",
        ),
    )
)


def is_public(text: str) -> bool:
    """Return whether an address is one of the public internet; False for what is no address."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        carried = _carried(address)
        if carried is None and (address.scope_id is not None or address not in _GLOBAL_V6):
            return False
        address = carried or address
    return address.is_global and not any(address in network for network in _NOT_PUBLIC)


def _carried(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that packets to an IPv6 address end up at, if there is one."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


def _is_own(family: int, destination: tuple[object, ...]) -> bool:
    """Return whether an address is this machine's own, where firewalls no longer protect.

    The system chooses the source address of a datagram, which is never sent: for its own
    addresses, the same one.
    """
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(destination)
        except OSError:
            return False
        return ip_address(probe.getsockname()[0]) == ip_address(str(destination[0]))


class _CheckedResolver(AbstractResolver):
    """Resolves a host, and refuses it whole if any of its addresses is not public."""

    def __init__(self, inner: AbstractResolver, *, allow_private: bool) -> None:
        self._inner = inner
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host, which are then connected to as they are here."""
        found = await self._inner.resolve(host, port, family)
        if not found:
            raise OSError(errno.EADDRNOTAVAIL, "no address")
        if not self._allow_private and not all(is_public(one["host"]) for one in found):
            raise OSError(errno.EACCES, "not a public address")
        return found

    async def close(self) -> None:
        """Nothing is held."""


# ---------------------------------------------------------------------------------------- URLs


class _UnfitError(Exception):
    """Something that the caller may know of a URL."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def _parsed(url: str, base: URL | None = None) -> URL:
    """Return a URL that may be asked for; raise _UnfitError for others."""
    # Programs that read URLs disagree about these characters, and attacks live on that.
    is_plain = url.isprintable() and " " not in url and "\\" not in url
    if not is_plain or len(url) > _MAX_URL_LENGTH:
        raise _UnfitError(_NO_URL)
    try:
        parsed = base.join(URL(url)) if base else URL(url)
    except ValueError:
        raise _UnfitError(_NO_URL) from None
    if parsed.scheme not in {"http", "https"} or not parsed.raw_host or not parsed.port:
        raise _UnfitError(_NO_URL)
    if parsed.raw_user is not None or parsed.raw_password is not None:
        raise _UnfitError(_CREDENTIALS)
    return parsed


def _redirected(url: URL, location: str) -> URL:
    """Return where a redirect leads; raise ValueError where it must not, and say no more."""
    try:
        return _parsed(location, base=url)
    except _UnfitError as unfit:
        raise ValueError("not a URL to follow") from unfit


def _detail_of(error: Exception) -> str:
    """Return what the log may know: the host, but no URL, which can be as good as a password."""
    name = type(error).__name__
    return f"{name}: {error}" if isinstance(error, aiohttp.ClientConnectorError) else name


# -------------------------------------------------------------------------------------- content


async def _read(
    response: aiohttp.ClientResponse, max_bytes: int, accepts: tuple[str, ...]
) -> Fetched:
    if response.status != _OK:
        raise _UnfitError(
            f"The URL answers with status {response.status}. "
            "Check it, or send the content as a data URI."
        )
    body = await _body(response, max_bytes)
    body, media_type = _recognised(body, response.headers.get("Content-Type", ""))
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    if not media_type or not media_type.startswith(accepts):
        found = media_type or "something else"
        wanted = ", ".join(map(_shown, sorted(accepts)))
        raise _UnfitError(f"The URL gives {found}, whatever its name says. Needed here: {wanted}.")
    return Fetched(body, media_type)


async def _body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Return the body, unpacked; no more than the limit is ever held, packed or not."""
    if (response.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    inflater = _inflater(response.headers.get("Content-Encoding", ""))
    body, received = bytearray(), 0
    async for chunk in response.content.iter_any():
        received += len(chunk)
        try:
            body += inflater.decompress(chunk, max_bytes + 1 - len(body)) if inflater else chunk
        except zlib.error as error:
            raise ValueError("not packed as it says") from error
        if received > max_bytes or len(body) > max_bytes:
            raise _too_large(max_bytes)
        if inflater and inflater.eof:
            break
    if inflater and not inflater.eof:
        raise ValueError("packed, and cut off")
    return bytes(body)


def _too_large(max_bytes: int) -> _UnfitError:
    return _UnfitError(f"The URL gives more than {max_bytes:,} bytes. Send something smaller.")


def _inflater(encoding: str) -> "zlib._Decompress | None":
    """Return what unpacks a body, for servers that pack though nobody asked them to."""
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)
        case _:
            raise ValueError("packed in a way that was not asked for")


_MAGIC = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"%PDF-"), "application/pdf"),
    (re.compile(rb"....ftyp(?!avif|heic|heix|mif1|M4A )", re.DOTALL), "video/mp4"),
    (re.compile(rb"\x1a\x45\xdf\xa3"), "video/webm"),
)
_TEXT = re.compile(r"text/[a-z0-9.+-]+|application/(json|xml)")
_LATIN = frozenset({"iso-8859-1", "latin1", "latin-1", "windows-1252", "cp1252"})


def _recognised(body: bytes, header: str) -> tuple[bytes, str]:
    """Return a body, in UTF-8 if it is text, and its media type, empty if it is none we know.

    Only the bytes say what is no text; a server's word counts for which kind of text it is.
    """
    for pattern, media_type in _MAGIC:
        if pattern.match(body):
            return body, media_type
    declared, _, parameters = header.lower().partition(";")
    declared = declared.strip()
    if not _TEXT.fullmatch(declared) or b"\0" in body:
        return body, ""
    try:
        body.decode()
    except UnicodeDecodeError:
        charset = parameters.partition("charset=")[2].partition(";")[0].strip(" \"'")
        if charset not in _LATIN:
            return body, ""
        body = body.decode("cp1252", errors="replace").encode()
    return body, declared


def _shown(accepted: str) -> str:
    return f"{accepted}*" if accepted.endswith("/") else accepted
