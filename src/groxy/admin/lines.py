"""Lines of an import, and what an export writes: the two forms of an account outside of Groxy.

In: bytes of JSON or text; accounts. Out: lines that are read one by one, later; objects and text.
It must not check an account: that is `drafts`' business.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from groxy.admin.portraits import host_of
from groxy.admin.token_shapes import POOLS, refused
from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.account import Account
from groxy.upstreams import discover
from groxy.wire.json import UNREADABLE, decode_request

_JSON = frozenset({"application/json", "text/json"})
_TEXT = "text/plain"
_MASK = "***"
Bodies = dict[str, list[msgspec.Raw]] | list[msgspec.Raw]
_body: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Bodies)


@dataclass(frozen=True, slots=True)
class Line:
    """One account of an import, not read yet."""

    number: int
    pool: str
    item: Callable[[], object]
    """Returns a credential or an object; raises BAD_REQUEST for what is neither."""


def read_lines(body: bytes, media_type: str, pool: str) -> list[Line]:
    """Return the lines of a body; raise BAD_JSON, or BAD_REQUEST for another form.

    What calls itself neither JSON nor text is known by how it begins.
    """
    start = body.lstrip()[:1]
    if media_type in _JSON or (media_type != _TEXT and start in (b"[", b"{")):
        return _of_json(body, pool)
    return _of_text(body, pool)


def _of_json(body: bytes, pool: str) -> list[Line]:
    found: Any = decode_request(body, _body)
    if isinstance(found, list):
        items = [(pool, item) for item in found]
    else:
        for name in found:
            if name not in POOLS:
                message = f"There is no pool {name[:64]!r}. The pools are basic, super and heavy."
                raise refused(message, param="pool", code="invalid_pool")
        items = [(name, item) for name, raws in found.items() for item in raws]
    return [Line(number, own, _Json(item)) for number, (own, item) in enumerate(items, 1)]


def _of_text(body: bytes, pool: str) -> list[Line]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"The text is not UTF-8 at byte {error.start}. Send UTF-8, or JSON."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="body") from None
    return [
        Line(number, pool, _Text(line))
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]


@dataclass(frozen=True, slots=True)
class _Json:
    raw: msgspec.Raw

    def __call__(self) -> object:
        try:
            item: object = msgspec.json.decode(self.raw)
        except UNREADABLE:  # what was passed over when the list was read
            raise refused("This is no valid JSON.", param="") from None
        return item


@cache
def _upstreams() -> frozenset[str]:
    """Return the names of upstreams: finding them out for each line would take minutes."""
    return frozenset(discover())


@dataclass(frozen=True, slots=True)
class _Text:
    line: str

    def __call__(self) -> object:
        words = self.line.split()
        named: dict[str, object] = {}
        if len(words) > 1 and words[0] in _upstreams():
            named["upstream"] = words.pop(0)
        named["token"] = words[0]
        if len(words) > 1:
            named["name"] = " ".join(words[1:])
        return named


# ---------------------------------------------------------------------------------------- written


def shown_json(account: Account, *, secrets: bool) -> dict[str, object]:
    """Return an account as an import takes it; without `secrets`, masked."""
    own = account.credentials
    shown: dict[str, object] = {
        "token": own.api_key if secrets else account.hint,
        "upstream": account.upstream.name,
        "name": account.name,
        "pool": account.pool.value,
    }
    if own.base_url:
        shown["base_url"] = own.base_url
    if account.proxy_url:
        shown["proxy_url"] = account.proxy_url if secrets else host_of(account.proxy_url)
    if own.options:
        hidden = {field.name for field in account.upstream.account_fields if field.secret}
        shown["options"] = {
            name: value if secrets or name not in hidden else _MASK
            for name, value in own.options.items()
        }
    terms: dict[str, object] = msgspec.to_builtins(account.terms)
    return shown | terms


def shown_text(account: Account, *, secrets: bool) -> str:
    """Return an account as a line of text, as far as one can tell of it."""
    own = account.credentials
    if not own.api_key:
        return f"# {account.upstream.name} {account.name}: has no credential; export it as JSON\n"
    key = own.api_key if secrets else account.hint
    return f"{account.upstream.name} {key} {account.name}\n"
