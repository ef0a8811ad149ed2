"""The operator's way to the admin API, for commands: over HTTP, or in this process.

In: `--url` and an admin key, or settings. Out: an `AdminClient`, which is the same for both.
Without `--url` the gateway is built here, at rest, on the same store: a gateway that runs notices
what was changed within a second. A key is neither printed nor part of any error.
"""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec
import typer

from groxy.cli.context import loaded_settings, run
from groxy.cli.in_process import HERE, InProcess
from groxy.core.errors import ErrorKind, GroxyError, facts_of
from groxy.settings import Loaded, rules
from groxy.wire.http import HttpTransport, Outgoing, Reply, Transport
from groxy.wire.json import UNREADABLE, decode_any
from groxy.wire.sse import SseReader

T = TypeVar("T")
Told = dict[str, Any]
"""A JSON object that the admin API answered."""

PREFIX = "/admin/api"
MAX_NAMES = 1000
"""How many accounts the admin API takes in one request."""
_URL_VARIABLE = "GROXY_URL"
_KEY_VARIABLE = "GROXY_APP_KEY"
_CONNECT_TIMEOUT_S = 10.0
_ANSWER_TIMEOUT_S = 120.0
"""A check of an account may wait for its upstream; nothing takes longer without a stream."""
_SILENCE_TIMEOUT_S = 60.0
"""A stream says something every 15 s."""
_MAX_ANSWER_BYTES = 256 * 1024 * 1024
_TRIES = 5
_BETWEEN_TRIES_S = 1.0
_UNHEARD = (ErrorKind.UPSTREAM_DOWN, ErrorKind.UPSTREAM_TIMEOUT, ErrorKind.STREAM_BROKEN)
_KINDS = {kind.value: kind for kind in ErrorKind}
_BY_STATUS = {facts_of(kind).status: kind for kind in reversed(ErrorKind)}

Url = Annotated[
    str | None,
    typer.Option(
        "--url", help="A running gateway, as http://host:8000. Also GROXY_URL. Else: the store."
    ),
]
AppKeyFile = Annotated[
    Path | None,
    typer.Option("--app-key-file", help="File with the admin key. Also GROXY_APP_KEY, or asked."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print what the admin API answers.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Where the admin API is: at `url`, with a key, or in this process, with settings."""

    url: str = ""
    key: str = ""
    loaded: Loaded | None = None


def way_of(
    url: str | None, app_key_file: Path | None, config: Path | None, data_dir: Path | None
) -> Way:
    """Return where the options and the environment say that the admin API is.

    Raises BAD_REQUEST for options that exclude each other, or cannot be read.
    """
    is_local = config is not None or data_dir is not None
    if url and is_local:
        message = "Give --url for a gateway that runs, or --config and --data-dir; not both."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="url")
    found = url or ("" if is_local else os.environ.get(_URL_VARIABLE, ""))
    if found:
        address = checked("--url", rules.check_web_url, found)
        # People copy the base URL of the banner.
        return Way(url=address.removesuffix("/v1"), key=_admin_key(app_key_file))
    if app_key_file is not None:
        message = "--app-key-file goes with --url. Without it the store is opened, with no key."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="app_key_file")
    return Way(loaded=loaded_settings(config, data_dir))


def _admin_key(file: Path | None) -> str:
    if file is not None:
        text = checked(str(file), content_of, str(file))
    else:
        text = os.environ.get(_KEY_VARIABLE, "") or typer.prompt("Admin key", hide_input=True)
    return checked("The admin key", rules.read_key, text).reveal()


def content_of(file: str) -> str:
    """Return the text of a file, or the first line of standard input for `-`."""
    if file == "-":
        return sys.stdin.readline()
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise ValueError(message) from None
    except UnicodeDecodeError:
        message = "is not a text file"
        raise ValueError(message) from None


def checked(what: str, rule: Callable[[str], T], value: str) -> T:
    """Return `value` as the settings' rule leaves it; raise BAD_REQUEST that says `what` is bad."""
    try:
        return rule(value)
    except ValueError as error:
        raise GroxyError(ErrorKind.BAD_REQUEST, f"{what} {error}.") from None


def plain(text: str) -> str:
    """Return text without what a terminal would obey: upstreams and callers choose some of it."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)


def counted(count: int, word: str) -> str:
    """Return how many there are of a thing, as `1 account` and `2 accounts`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def at_desk(way: Way, work: Callable[["AdminClient"], Awaitable[T]]) -> T:
    """Do a command's work with an open client; raises what the work raises."""

    async def opened_and_done() -> T:
        async with opened(way) as desk:
            return await work(desk)

    return run(opened_and_done())


@asynccontextmanager
async def opened(way: Way) -> AsyncIterator["AdminClient"]:
    """Open the admin API; on leaving, tell other processes what they share with this one."""
    if way.loaded is None:
        transport = HttpTransport.create(connect_timeout_s=_CONNECT_TIMEOUT_S)
        try:
            yield AdminClient(transport, way.url, key=way.key)
        finally:
            await transport.close()
        return
    try:
        async with _opened_here(way.loaded) as desk:
            yield desk
    except BaseExceptionGroup as group:
        # What goes wrong comes out of the gateway's task groups.
        raise _only(group) from None


@asynccontextmanager
async def _opened_here(loaded: Loaded) -> AsyncIterator["AdminClient"]:
    from groxy.app import running

    async with running(loaded, is_at_rest=True) as app:
        is_alone = app.settings.state.url.reveal().startswith("memory:")
        if not is_alone:
            # Without it rests and loads are unknown here, but all that is stored is known.
            with suppress(GroxyError):
                await app.sharing.exchange()
        async with asyncio.TaskGroup() as tasks:
            yield AdminClient(InProcess(app, tasks), HERE, is_alone=is_alone)
        if not is_alone and app.directory.unshared:
            await app.sharing.exchange()


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one error in a group, or the group if there are several."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return group if isinstance(error, BaseExceptionGroup) else error


class AdminClient:
    """Asks the admin API. Every method raises `GroxyError`, with the server's words."""

    def __init__(
        self, transport: Transport, base_url: str, *, key: str = "", is_alone: bool = False
    ) -> None:
        self._transport = transport
        self._base_url = base_url
        self._key = key
        self.is_alone = is_alone
        """True where nothing is known of what running gateways keep in their memory."""

    async def get(self, path: str, **query: object) -> Told:
        """Return what GET answers; see `call`."""
        return await self.call("GET", path, query=query)

    async def post(self, path: str, body: object = None, **query: object) -> Told:
        """Return what POST answers; see `call`."""
        return await self.call("POST", path, body=body, query=query)

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Mapping[str, object] | None = None,
        content_type: str = "application/json",
    ) -> Told:
        """Return the answer's JSON object. `path` is below /admin/api; a body is bytes, or JSON.

        Values of `query` that are None or empty are left out.
        """
        content = body if isinstance(body, bytes) else b""
        if body is not None and not content:
            content = msgspec.json.encode(body)
        outgoing = self._outgoing(method, path, query, content, content_type)
        is_remote = bool(self._key)
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S if is_remote else None):
                reply = await self._sent(outgoing)
                return _object_of(reply, await reply.read(_MAX_ANSWER_BYTES), self._base_url)
        except TimeoutError:
            message = f"{self._base_url} did not answer within {_ANSWER_TIMEOUT_S:.0f} s."
            raise GroxyError(ErrorKind.UPSTREAM_TIMEOUT, message) from None

    async def stream(self, path: str, **query: object) -> AsyncGenerator[bytes]:
        """Yield the answer's body as it arrives."""
        reply = await self._sent(self._outgoing("GET", path, query))
        try:
            if reply.status != 200:
                body = await reply.read(_MAX_ANSWER_BYTES)
                raise _error_of(reply.status, body, self._base_url)
            async with aclosing(reply.chunks()) as chunks:
                async for chunk in _heard(chunks, _SILENCE_TIMEOUT_S if self._key else None):
                    yield chunk
        finally:
            reply.close()

    async def pages(self, path: str, **query: object) -> AsyncGenerator[Told]:
        """Yield the pages of a list that has `pagination`, one after the other."""
        after: str | None = ""
        while after is not None:
            page = await self.get(path, after=after, **query)
            after = page["pagination"]["next"]
            yield page

    async def follow(self, task_id: str) -> AsyncGenerator[Told]:
        """Yield a task's events, until the last: its `type` is done, error or cancelled.

        A connection that breaks is opened anew: the task goes on meanwhile.
        """
        tries = _TRIES
        while True:
            try:
                async with aclosing(self._events(task_id)) as events:
                    async for event in events:
                        yield event
                        tries = _TRIES
                        if event["type"] in ("done", "error", "cancelled"):
                            return
                raise GroxyError(ErrorKind.STREAM_BROKEN, "The stream of the task broke off.")
            except GroxyError as error:
                tries -= 1
                if error.kind not in _UNHEARD or not tries:
                    raise
            await asyncio.sleep(_BETWEEN_TRIES_S)

    async def _events(self, task_id: str) -> AsyncGenerator[Told]:
        reader = SseReader()
        async with aclosing(self.stream(f"/batch/{part(task_id)}/stream")) as chunks:
            async for chunk in chunks:
                for _, data in reader.feed(chunk):
                    yield decode_any(data)

    async def _sent(self, outgoing: Outgoing) -> Reply:
        try:
            return await self._transport.send(outgoing)
        except GroxyError as error:
            why = f" ({error.detail})" if error.detail else ""
            message = f"There is no gateway to be reached at {self._base_url}{why}. Check --url."
            raise GroxyError(error.kind, message) from None

    def _outgoing(
        self,
        method: str,
        path: str,
        query: Mapping[str, object] | None,
        body: bytes = b"",
        content_type: str = "",
    ) -> Outgoing:
        headers = {"accept": "application/json", "user-agent": "groxy"}
        if body and content_type:
            headers["content-type"] = content_type
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        url = f"{self._base_url}{PREFIX}{path}"
        text = urlencode({name: _written(value) for name, value in (query or {}).items() if value})
        return Outgoing(
            url=f"{url}?{text}" if text else url, headers=headers, body=body, method=method
        )


def part(text: str) -> str:
    """Return text as one part of a path."""
    return quote(text, safe="")


def in_parts(names: Sequence[str]) -> list[list[str]]:
    """Return names, each once, as many at a time as one request takes."""
    each = list(dict.fromkeys(names))
    return [each[start : start + MAX_NAMES] for start in range(0, len(each), MAX_NAMES)]


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


async def _heard(chunks: AsyncGenerator[bytes], silence_s: float | None) -> AsyncGenerator[bytes]:
    """Yield chunks; raise STREAM_BROKEN when none comes for too long."""
    while True:
        try:
            async with asyncio.timeout(silence_s):
                chunk = await anext(chunks, None)
        except TimeoutError:
            message = "The gateway fell silent in the middle of its answer."
            raise GroxyError(ErrorKind.STREAM_BROKEN, message) from None
        if chunk is None:
            return
        yield chunk


def _object_of(reply: Reply, body: bytes, base_url: str) -> Told:
    if reply.status >= 300:
        raise _error_of(reply.status, body, base_url)
    try:
        found = decode_any(body)
    except UNREADABLE:
        found = None
    if not isinstance(found, dict):
        raise _stranger(reply.status, base_url)
    return found


def _error_of(status: int, body: bytes, base_url: str) -> GroxyError:
    """Return the error that an answer tells of."""
    try:
        told = decode_any(body)["error"]
        message, code, param = told["message"], told["code"], told["param"]
    except (*UNREADABLE, LookupError, TypeError):
        return _stranger(status, base_url)
    kind = _KINDS.get(str(code)) or _BY_STATUS.get(status, ErrorKind.INTERNAL)
    return GroxyError(kind, plain(str(message)), code=str(code), param=param)


def _stranger(status: int, base_url: str) -> GroxyError:
    message = f"What answers at {base_url} is no Groxy gateway (status {status}). Check --url."
    return GroxyError(ErrorKind.BAD_REPLY, message, param="url")
