"""Footage: the bytes of a finished film, from the upstream to the shelf.

In: where the upstream says that the film is. Out: what is on the shelf. The film is never held as a
whole; a film that is cut off or is none is not kept. Whom to trust with which credential is decided
in `results`.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from groxy.core.errors import ErrorKind, GroxyError
from groxy.gateway.results import reach
from groxy.media.content import sniff_video
from groxy.media.fetch import Fetcher
from groxy.media.shelf import Shelf
from groxy.routing.account import Account
from groxy.store.media import Stored
from groxy.wire.http import Reply

_HEAD_BYTES = 64
"""Enough to know what it is."""
_BOX_HEAD, _LARGE_BOX_HEAD = 8, 16
_LARGE, _TO_THE_END = 1, 0


class Footage:
    """Brings films home."""

    def __init__(self, shelf: Shelf, fetcher: Fetcher) -> None:
        self.shelf = shelf
        self._fetcher = fetcher

    async def bring_home(
        self, url: str, account: Account, *, owner: str, silence_s: float
    ) -> Stored:
        """Put a film on the shelf. An upstream that is silent for `silence_s` has failed.

        Raises BAD_REPLY for what is no whole film, UPSTREAM_DOWN and the like where trying again
        may help, and what the shelf raises.
        """
        found = await reach(account, url)
        if isinstance(found, str):
            return await self._put(_once(await self._fetched(found)), owner)
        try:
            return await self._put(_pieces(found, silence_s), owner)
        finally:
            found.close()

    async def _fetched(self, url: str) -> bytes:
        """Return a film that lies where anybody may fetch it."""
        most = self.shelf.limits.max_bytes["video"]
        try:
            fetched = await self._fetcher.fetch(
                url, max_bytes=most, accepts=("video/",), param="video"
            )
        except GroxyError as error:
            message = "The upstream made a film that could not be fetched."
            detail = error.detail or error.message
            raise GroxyError(ErrorKind.UPSTREAM_DOWN, message, detail=detail) from None
        return fetched.body

    async def _put(self, pieces: AsyncGenerator[bytes], owner: str) -> Stored:
        async with aclosing(pieces):
            head = b""
            async for piece in pieces:
                head += piece
                if len(head) >= _HEAD_BYTES:
                    break
            content_type = sniff_video(head)
            if not content_type:
                raise _unusable("is no MP4 or WebM")
            checked = _checked(head, pieces, is_boxed=content_type != "video/webm")
            return await self.shelf.put("video", checked, content_type=content_type, owner=owner)


async def _once(content: bytes) -> AsyncGenerator[bytes]:
    yield content


async def _pieces(reply: Reply, silence_s: float) -> AsyncGenerator[bytes]:
    """Yield a reply's body; raise UPSTREAM_TIMEOUT when nothing comes any more."""
    async with aclosing(reply.chunks()) as chunks:
        while True:
            try:
                async with asyncio.timeout(silence_s):
                    piece = await anext(chunks, None)
            except TimeoutError:
                message = "The upstream fell silent in the middle of the film."
                raise GroxyError(ErrorKind.UPSTREAM_TIMEOUT, message) from None
            if piece is None:
                return
            yield piece


async def _checked(
    head: bytes, rest: AsyncIterator[bytes], *, is_boxed: bool
) -> AsyncIterator[bytes]:
    """Yield a film; raise BAD_REPLY at its end if it has not all that it says."""
    boxes = Boxes()
    boxes.feed(head)
    yield head
    async for piece in rest:
        boxes.feed(piece)
        yield piece
    if is_boxed and not boxes.are_whole:
        raise _unusable("is cut off")


class Boxes:
    """The outermost boxes of an MP4, looked over as its bytes pass (ISO/IEC 14496-12, 4.2)."""

    def __init__(self) -> None:
        self._left = 0
        """Bytes of the current box that are still to come."""
        self._head = b""
        self._has_index = False
        self._is_open_ended = False
        self._is_nonsense = False

    @property
    def are_whole(self) -> bool:
        """True when the last box ended with the last byte and the frames can be found."""
        is_complete = self._is_open_ended or (not self._left and not self._head)
        return self._has_index and is_complete and not self._is_nonsense

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        while piece and not self._is_open_ended and not self._is_nonsense:
            if self._left:
                passed = min(self._left, len(piece))
                self._left -= passed
                piece = piece[passed:]
                continue
            wanted = self._head_bytes()
            missing = wanted - len(self._head)
            self._head += piece[:missing]
            piece = piece[missing:]
            if len(self._head) == self._head_bytes():
                self._begin_box()

    def _head_bytes(self) -> int:
        is_large = len(self._head) >= _BOX_HEAD and _number(self._head[:4]) == _LARGE
        return _LARGE_BOX_HEAD if is_large else _BOX_HEAD

    def _begin_box(self) -> None:
        head, self._head = self._head, b""
        size = _number(head[8:16]) if len(head) == _LARGE_BOX_HEAD else _number(head[:4])
        self._has_index = self._has_index or head[4:8] == b"moov"
        if size == _TO_THE_END:
            self._is_open_ended = True
        elif size < len(head):
            self._is_nonsense = True
        else:
            self._left = size - len(head)


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _unusable(what: str) -> GroxyError:
    message = f"What the upstream made {what}, so it could not be kept. Ask for the film again."
    return GroxyError(ErrorKind.BAD_REPLY, message)
