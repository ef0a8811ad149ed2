"""Links to stored pictures and films: made, signed if they are to expire, and checked.

In: what is stored, and the address under which a request came. Out: a URL that needs no key, or
NOT_FOUND for one that is forged or over. Ids cannot be guessed, so without a time to live the id
alone is the permission.
"""

import hmac
import re
import time
from collections.abc import Mapping
from typing import Literal
from urllib.parse import parse_qsl

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store.media import Stored
from groxy.store.secrets import InstallationSecret

LinkedKind = Literal["image", "video"]
_PURPOSE = "groxy links to media"
"""With spaces in it, which no key of a caller can have."""
_ID = re.compile(r"[0-9a-f]{32}")
_EXPIRES = re.compile(r"[0-9]{1,12}")
_SIGNATURE_CHARS = 64
_MAX_URL_CHARS = 2_048


class Links:
    """Makes and checks links.

    `app_url` and `ttl_s` may be changed at any time. With another `ttl_s` than 0, links without
    a signature stop working; with 0, signed ones of before work on.
    """

    def __init__(self, app_url: str, secret: InstallationSecret, ttl_s: int = 0) -> None:
        self.app_url = app_url
        self.ttl_s = ttl_s
        self._key = secret.digest(_PURPOSE)

    def of(self, stored: Stored, base_url: str = "") -> str:
        """Return a link; `base_url` is where the request came to, used without `app_url`.

        Raises ValueError for a file, which only its owner may have.
        """
        if stored.kind == "file":
            message = "files have no links; their owner asks for them with a key"
            raise ValueError(message)
        base = (self.app_url or base_url).rstrip("/")
        link = f"{base}/v1/files/{stored.kind}?id={stored.id}"
        if not self.ttl_s:
            return link
        expires_s = time.time_ns() // 1_000_000_000 + self.ttl_s
        return (
            f"{link}&expires={expires_s}&sig={self._signature(stored.kind, stored.id, expires_s)}"
        )

    def check(self, kind: LinkedKind, query: Mapping[str, str]) -> None:
        """Raise NOT_FOUND unless the query of a link is signed and in time, where it has to be."""
        if not self.ttl_s:
            return
        expires, signature = query.get("expires", ""), query.get("sig", "")
        if not _EXPIRES.fullmatch(expires) or not signature.isascii():
            raise link_not_found()
        expected = self._signature(kind, query.get("id", ""), int(expires))
        is_ours = hmac.compare_digest(expected, signature[: _SIGNATURE_CHARS + 1])
        if not is_ours or int(expires) <= time.time_ns() // 1_000_000_000:
            raise link_not_found()

    def read(self, url: str) -> tuple[LinkedKind, str] | None:
        """Return kind and id that a link of ours names; None for every other URL.

        Only with `app_url` it is known which links are ours. The signature is checked too.
        """
        start = f"{self.app_url.rstrip('/')}/v1/files/"
        if not self.app_url or not url.startswith(start) or len(url) > _MAX_URL_CHARS:
            return None
        kind, _, text = url.removeprefix(start).partition("?")
        query = dict(parse_qsl(text[:_MAX_URL_CHARS], separator="&"))
        if kind not in ("image", "video") or not _ID.fullmatch(query.get("id", "")):
            return None
        linked: LinkedKind = "image" if kind == "image" else "video"
        try:
            self.check(linked, query)
        except GroxyError:
            return None
        return linked, query["id"]

    def _signature(self, kind: str, id: str, expires_s: int) -> str:  # noqa: A002 - its name
        signed = f"{kind}\n{id}\n{expires_s}".encode(errors="replace")
        return hmac.digest(self._key, signed, "sha256").hex()


def link_not_found() -> GroxyError:
    """Return the error for a link that leads nowhere, whatever the reason."""
    message = "There is nothing at this link: it was deleted, it has expired or it is not whole."
    return GroxyError(ErrorKind.NOT_FOUND, message, code="file_not_found")
