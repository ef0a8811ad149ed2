"""Pictures that a caller starts from: had from wherever they are, checked, as data URIs.

In: a reference as the caller wrote it: a data URI, a URL, a link of ours, or the id of an uploaded
file. Out: a data URI whose content is the picture that it says; or BAD_REQUEST that names the
field. A link of ours is read from the shelf: nobody inside is asked over the network.
"""

import asyncio
import binascii
import re
from urllib.parse import parse_qs

from groxy.core.errors import ErrorKind, GroxyError
from groxy.media.content import check_image, data_uri
from groxy.media.fetch import Fetcher
from groxy.media.links import Links
from groxy.media.shelf import Shelf
from groxy.store.media import Stored

_LINK = re.compile(r"/v1/files/image\?(.*)", re.DOTALL)
_MAX_LINK_CHARS = 2_048
_MAX_HEAD_CHARS = 256


class References:
    """Reads references."""

    def __init__(
        self, shelf: Shelf, links: Links, fetcher: Fetcher, *, max_image_bytes: int
    ) -> None:
        self._shelf = shelf
        self._links = links
        self._fetcher = fetcher
        self.max_image_bytes = max_image_bytes
        """May be changed at any time."""

    async def read(self, reference: str, *, param: str, owner: str, base_url: str) -> str:
        """Return the picture that a reference names, as a data URI.

        `owner` is who asks; `base_url` is where its request came to, and so where our links are.
        Raises BAD_REQUEST, or NOT_FOUND for a file that this owner does not have.
        """
        if reference.startswith("data:"):
            return await self.checked(_decoded(reference, param), param=param)
        if reference.startswith(("http://", "https://")):
            stored = await self._linked(reference, base_url)
            if stored is None:
                fetched = await self._fetcher.fetch(
                    reference, max_bytes=self.max_image_bytes, accepts=("image/",), param=param
                )
                return await self.checked(fetched.body, param=param)
        else:
            stored = await self._shelf.file(reference, owner, param=param)
        return await self.checked(await self._shelf.read(stored), param=param)

    async def checked(self, content: bytes, *, param: str) -> str:
        """Return a picture as a data URI, of the type that its content is."""
        return await asyncio.to_thread(self._checked, content, param)

    def _checked(self, content: bytes, param: str) -> str:
        facts = check_image(content, max_bytes=self.max_image_bytes, param=param)
        return data_uri(content, facts.content_type)

    async def _linked(self, url: str, base_url: str) -> Stored | None:
        """Return what a link of ours leads to; None for any other URL."""
        media_id = self._id_in(url, base_url)
        return None if media_id is None else await self._shelf.find(media_id, "image")

    def _id_in(self, url: str, base_url: str) -> str | None:
        found = self._links.read(url)
        if found is not None:
            return found[1]
        # Without an address in the settings ours is the one that the request came to.
        link = _LINK.fullmatch(url[:_MAX_LINK_CHARS].removeprefix(base_url.rstrip("/")))
        if link is None or not base_url:
            return None
        query = {name: values[0] for name, values in parse_qs(link[1], max_num_fields=20).items()}
        try:
            self._links.check("image", query)
        except GroxyError:
            return None
        return query.get("id")


def _decoded(uri: str, param: str) -> bytes:
    head, comma, held = uri.partition(",")
    if not comma or not head[:_MAX_HEAD_CHARS].endswith(";base64"):
        message = f"`{param}` is not a data URI such as data:image/png;base64,…"
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=param)
    try:
        return binascii.a2b_base64(held, strict_mode=True)
    except (binascii.Error, ValueError):
        message = f"`{param}` holds invalid base64."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=param) from None
