"""What upstreams made, as bytes of ours: fetched, checked, and put on the shelf.

In: the pictures of an upstream's reply. Out: `Picture` values, and a reason for each that is not
there. An upstream may name a result by any URL, so no URL of its is believed: only the address of
the account itself, which the operator chose, and the hosts that the upstream's file names are asked
over the account's own way out. All others are fetched as if a stranger had named them. Credentials
go to the account's own address and nowhere else.
"""

import asyncio
from collections.abc import Sequence

import msgspec
from yarl import URL

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import MadeImage
from groxy.media.content import check_image
from groxy.media.fetch import Fetcher
from groxy.media.shelf import Shelf
from groxy.routing.account import Account
from groxy.store.media import Stored
from groxy.wire.http import Outgoing, Reply

_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK_STATUS = 200
_MAX_URL_CHARS = 8_192
_TRIES = 2
"""A picture that is made and paid for is worth a second try."""


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A picture that was made, checked."""

    content: bytes
    content_type: str
    width: int
    height: int
    revised_prompt: str = ""
    stored: Stored | None = None
    """Where it is on the shelf; None where it was not to be kept."""


class Results:
    """Brings results home."""

    def __init__(self, shelf: Shelf, fetcher: Fetcher, *, max_image_bytes: int) -> None:
        self._shelf = shelf
        self._fetcher = fetcher
        self.max_image_bytes = max_image_bytes
        """May be changed at any time."""

    async def collect(
        self, made: Sequence[MadeImage], account: Account, *, owner: str, keeps: bool
    ) -> tuple[list[Picture], list[str]]:
        """Return the pictures, and why others are not there; with `keeps` they go on the shelf.

        Raises the first failure if no picture could be had, and STORE_DOWN if the shelf is full.
        """
        found = await asyncio.gather(*(self._had(one, account) for one in made))
        pictures = [one for one in found if isinstance(one, Picture)]
        failures = [one for one in found if isinstance(one, GroxyError)]
        if not pictures and failures:
            raise failures[0]
        if keeps:
            # One by one: what is on the shelf when a later one fails is evicted in its time.
            pictures = [await self._kept(one, owner) for one in pictures]
        reasons = [one for one in found if isinstance(one, str)]
        return pictures, reasons + [failure.message for failure in failures]

    async def _had(self, made: MadeImage, account: Account) -> Picture | GroxyError | str:
        """Return a picture, why there is none, or why it could not be had."""
        if made.refused:
            return made.refused
        try:
            content = made.content or await self._fetched(made.url, account)
            facts = await asyncio.to_thread(
                check_image, content, max_bytes=self.max_image_bytes, param="image"
            )
        except GroxyError as error:
            if error.kind is ErrorKind.BAD_REQUEST:  # What was the caller's is the upstream's here.
                message = "The upstream sent a picture that could not be used. Try again."
                return GroxyError(ErrorKind.BAD_REPLY, message, detail=error.message)
            return error
        return Picture(
            content=content,
            content_type=facts.content_type,
            width=facts.width,
            height=facts.height,
            revised_prompt=made.revised_prompt,
        )

    async def _kept(self, picture: Picture, owner: str) -> Picture:
        stored = await self._shelf.put(
            "image", picture.content, content_type=picture.content_type, owner=owner
        )
        return msgspec.structs.replace(picture, stored=stored)

    async def _fetched(self, url: str, account: Account) -> bytes:
        """Return what a URL gives, at the second try if need be."""
        for left in reversed(range(_TRIES)):
            try:
                return await self._fetched_once(url, account)
            except GroxyError as error:
                if not left:
                    message = "The upstream made a picture that could not be fetched. Try again."
                    detail = error.detail or error.message
                    raise GroxyError(ErrorKind.UPSTREAM_DOWN, message, detail=detail) from None
        raise AssertionError

    async def _fetched_once(self, url: str, account: Account) -> bytes:
        reply = await reach(account, url)
        if isinstance(reply, str):
            fetched = await self._fetcher.fetch(
                reply, max_bytes=self.max_image_bytes, accepts=("image/",), param="image"
            )
            return fetched.body
        try:
            return await reply.read(self.max_image_bytes)
        finally:
            reply.close()


async def reach(account: Account, url: str) -> Reply | str:
    """Return the reply to a result's URL, if that is to be trusted; else the URL to be fetched.

    What has no scheme is below the account's address. Redirects are followed as far as they are
    trusted; one that leads away is returned as its URL. Raises UPSTREAM_DOWN or BAD_REPLY.
    """
    address = account.upstream.address(account.credentials)
    if "://" not in url.partition("?")[0]:
        url = f"{address}/{url.lstrip('/')}"
    for _ in range(1 + _MAX_REDIRECTS):
        headers = _trust(account, url, address)
        if headers is None:
            return url
        reply = await account.transport.send(Outgoing(url=url, headers=headers, method="GET"))
        if reply.status == _OK_STATUS:
            return reply
        status, location = reply.status, reply.headers.get("location", "")
        reply.close()
        if status not in _REDIRECTS or not location:
            raise _unreachable(f"status {status}")
        try:
            url = str(URL(url).join(URL(location[:_MAX_URL_CHARS])))
        except ValueError:
            raise _unreachable("an unreadable redirect") from None
    raise _unreachable("too many redirects")


def _trust(account: Account, url: str, address: str) -> dict[str, str] | None:
    """Return the headers to ask a trusted URL with; None for one that is not to be trusted."""
    origin = _origin(url)
    if origin is None or len(url) > _MAX_URL_CHARS:
        raise GroxyError(ErrorKind.BAD_REPLY, "The upstream named no place for its result.")
    if origin == _origin(address):
        return account.upstream.result_headers(account.credentials)
    scheme, host, _ = origin
    if scheme == "https" and host in account.upstream.media_hosts:
        return {}
    return None


def _origin(url: str) -> tuple[str, str, int | None] | None:
    # Programs that read URLs disagree about these characters, and attacks live on that.
    if not url.isprintable() or " " in url or "\\" in url:
        return None
    try:
        parsed = URL(url)
        return (parsed.scheme, parsed.host, parsed.port) if parsed.host else None
    except ValueError:
        return None


def _unreachable(detail: str) -> GroxyError:
    message = "The upstream's result could not be fetched."
    return GroxyError(ErrorKind.UPSTREAM_DOWN, message, detail=detail)
