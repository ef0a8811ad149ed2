"""Lanes: how one request travels, from the dialect it was asked in to the one an account speaks.

In: a request and a candidate. Out: a `Lane`, which writes what goes upstream and reads what comes
back. With the same dialect on both sides a lane patches and relays bytes; with different ones it
goes over the canonical form, which is decoded once for all attempts. Must not send anything to an
upstream; what it may fetch are the pictures that an upstream cannot fetch itself.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, cast

from msgspec.structs import replace

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.parts import File, Image, Part, Reasoning, ToolCall, ToolResult
from groxy.core.request import Message, Request, Role
from groxy.dialects._base import (
    Asked,
    CallersEnd,
    Dialect,
    Frame,
    StreamRelay,
    ThoughtsShown,
    UpstreamsEnd,
    UsageRules,
    WholeReply,
)
from groxy.dialects._translation import TranslatedReply, TranslatedStream
from groxy.routing.router import Candidate
from groxy.wire.json import Fields

_MOST_FETCHED = 20
"""Files fetched for one request; each may take its time and its megabytes."""

Fetch = Callable[[str, str], Awaitable[str]]
"""Fetches a URL and returns it as a data URI; the second argument names the field it stands in."""
Thoughts = Callable[[list[str]], Awaitable[Mapping[str, tuple[str, ...]]]]
"""Returns the sealed thoughts that led to tool calls, by the calls' ids, as far as known."""


class Lane(Protocol):
    """How one request travels to one account."""

    path: str
    """The path below the upstream's base URL."""
    carries_sealed: bool
    """True when sealed thoughts go to the caller, and come back; else the gateway keeps them."""

    def outgoing(self, *, model: str, effort: str | None, stream: bool) -> tuple[Fields, list[str]]:
        """Return the body for the upstream, and a word for each thing that it cannot say."""
        ...

    def relay(self, rules: UsageRules) -> StreamRelay:
        """Return a relay for one streamed reply."""
        ...

    def read_whole(self, body: bytes, rules: UsageRules) -> WholeReply:
        """Read a whole reply."""
        ...


class _SameLane:
    """The same dialect on both sides."""

    def __init__(self, dialect: Dialect, asked: Asked, frame: Frame) -> None:
        self.path = dialect.upstream_path
        self.carries_sealed = dialect.carries_sealed
        self._dialect = dialect
        self._asked = asked
        self._frame = frame

    def outgoing(self, *, model: str, effort: str | None, stream: bool) -> tuple[Fields, list[str]]:
        return self._dialect.outgoing(self._asked, model=model, effort=effort, stream=stream), []

    def relay(self, rules: UsageRules) -> StreamRelay:
        return self._dialect.relay(self._asked, rules, self._frame)

    def read_whole(self, body: bytes, rules: UsageRules) -> WholeReply:
        return self._dialect.read_whole(body, self._asked, rules, self._frame)


class _CrossLane:
    """Different dialects, or a request that had to be changed deep inside."""

    def __init__(
        self, caller: CallersEnd, end: UpstreamsEnd, asked: Asked, request: Request, frame: Frame
    ) -> None:
        self.path = end.upstream_path
        self.carries_sealed = _carries_sealed(caller, asked)
        self._caller = caller
        self._end = end
        self._asked = asked
        self._request = request
        self._frame = frame

    def outgoing(self, *, model: str, effort: str | None, stream: bool) -> tuple[Fields, list[str]]:
        return self._end.encode_request(self._request, model=model, effort=effort, stream=stream)

    def relay(self, rules: UsageRules) -> StreamRelay:
        return TranslatedStream(
            self._end.decoder(rules),
            self._caller.encoder(self._asked, self._frame),
            self._request.options.stop,
        )

    def read_whole(self, body: bytes, rules: UsageRules) -> WholeReply:
        return TranslatedReply(
            body,
            self._end.decoder(rules),
            self._caller.encoder(self._asked, self._frame),
            self._request.options.stop,
        )


class Lanes:
    """All lanes of one request."""

    def __init__(
        self,
        dialect: Dialect,
        asked: Asked,
        frame: Frame,
        *,
        ends: Mapping[str, UpstreamsEnd],
        fetch: Fetch,
        thoughts: Thoughts,
    ) -> None:
        self._dialect = dialect
        self._asked = asked
        self._frame = frame
        self._ends = ends
        self._fetch = fetch
        self._thoughts = thoughts
        self._request: Request | None = None
        self._fetched: Request | None = None

    async def to(self, candidate: Candidate) -> Lane:
        """Return the lane to a candidate."""
        account = candidate.account
        fetches = account.upstream.fetches_urls(account.credentials)
        if candidate.dialect == self._dialect.name and (fetches or not self._names_urls()):
            return _SameLane(self._dialect, self._asked, self._frame)
        caller, end = self._caller, self._ends[candidate.dialect]
        request = self._canonical() if fetches else await self._with_fetched()
        if end.carries_sealed and not _carries_sealed(caller, self._asked):
            request = await self._with_thoughts(request)
        return _CrossLane(caller, end, self._asked, request, self._frame)

    @property
    def _caller(self) -> CallersEnd:
        # Routing chose another dialect only because this one named it as a carrier.
        return cast("CallersEnd", self._dialect)

    def _canonical(self) -> Request:
        if self._request is None:
            self._request = self._caller.canonical(self._asked)
        return self._request

    def _names_urls(self) -> bool:
        if self._dialect.carriers == (self._dialect.name,):
            return False
        return bool(_remote_urls(self._canonical()))

    async def _with_fetched(self) -> Request:
        """Return the request with its pictures and files in it, instead of where they are."""
        if self._fetched is None:
            request = self._canonical()
            if len(_remote_urls(request)) > _MOST_FETCHED:
                message = f"More than {_MOST_FETCHED} files are named by URL. Send data URIs."
                raise GroxyError(ErrorKind.UNSUPPORTED, message, param="messages")
            messages = [
                replace(message, parts=tuple([await self._held(part) for part in message.parts]))
                for message in request.messages
            ]
            self._fetched = replace(request, messages=tuple(messages))
        return self._fetched

    async def _held(self, part: Part) -> Part:
        if isinstance(part, Image | File) and _is_remote(part.url):
            return replace(part, url=await self._fetch(part.url, "messages"))
        if isinstance(part, ToolResult) and part.images:
            images = [
                replace(image, url=await self._fetch(image.url, "messages"))
                if _is_remote(image.url)
                else image
                for image in part.images
            ]
            return replace(part, images=tuple(images))
        return part

    async def _with_thoughts(self, request: Request) -> Request:
        """Return the request with the thoughts that led to its tool calls, where they are known.

        grok-4.7 stops reasoning, and may loop, when a tool loop does not bring them back
        (duolahypercho/codex-router#888, 2026), and some callers never got them.
        """
        called = [
            part.call_id
            for message in request.messages
            for part in message.parts
            if isinstance(part, ToolCall)
        ]
        known = await self._thoughts(called) if called else {}
        if not known:
            return request
        return replace(
            request, messages=tuple(_reminded(message, known) for message in request.messages)
        )


def _carries_sealed(caller: CallersEnd, asked: Asked) -> bool:
    return caller.carries_sealed and asked.thoughts_shown is not ThoughtsShown.NONE


def _remote_urls(request: Request) -> list[str]:
    """Return the URLs of the pictures and files that are not in the request itself."""
    parts = (part for message in request.messages for part in message.parts)
    files = [part.url for part in parts if isinstance(part, File)]
    return [url for url in (*files, *(one.url for one in request.images)) if _is_remote(url)]


def _is_remote(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _reminded(message: Message, known: Mapping[str, tuple[str, ...]]) -> Message:
    """Return an assistant's message with its thoughts before its calls."""
    if message.role is not Role.ASSISTANT:
        return message
    sealed: list[str] = []
    for part in message.parts:
        if isinstance(part, ToolCall):
            sealed += [one for one in known.get(part.call_id, ()) if one not in sealed]
    if not sealed:
        return message
    thoughts = tuple(Reasoning(text="", encrypted=one) for one in sealed)
    others = tuple(part for part in message.parts if not isinstance(part, Reasoning))
    return replace(message, parts=thoughts + others)
