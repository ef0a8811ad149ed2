"""Endpoints that produce text. The path names the dialect; everything else is the gateway's."""

from functools import partial
from typing import Protocol

from groxy.api.attachments import Attachments
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.terms import MAX_TAG_CHARS, MAX_TAGS
from groxy.dialects._base import Asked, Dialect
from groxy.gateway import Call, Gateway
from groxy.policy.access import check_access, client_address
from groxy.policy.keys import Caller, Keyring
from groxy.routing.model import Capability
from groxy.wire.asgi import ASK_AGAIN, AsgiClient, Receive, Scope, Send, header, read_body

RECORDING = "groxy.recording"
"""In a scope: what the reply is recorded in; see `api.idempotency`."""
_CONVERSATION = frozenset({b"x-grok-conv-id", b"x-session-id"})
_TITLE = frozenset({b"x-title", b"x-openrouter-title"})
_URL = b"http-referer"
_TAGS = b"x-groxy-prefer-tags"
_MAX_HINT_CHARS = 256


def identify(keyring: Keyring, scope: Scope) -> Caller:
    """Return who asks, and may ask here; raise BAD_KEY, or FORBIDDEN (`policy.access`)."""
    scope[ASK_AGAIN] = partial(_identify_again, keyring)
    authorization = x_api_key = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = _only(authorization, name, value)
        elif name == b"x-api-key":
            x_api_key = _only(x_api_key, name, value)
    caller = keyring.identify(authorization, x_api_key)
    address = _address_of(keyring, scope) if caller.grant.ips else None
    check_access(caller, scope.get("path", ""), address)
    return caller


async def _identify_again(keyring: Keyring, scope: Scope) -> None:
    identify(keyring, scope)


def _only(before: str | None, name: bytes, value: bytes) -> str:
    """Return a header; raise BAD_KEY when it came before: who reads which could not be told."""
    text = value.decode("latin-1")
    if before is not None and before != text:
        message = f"`{name.decode()}` was sent twice. Send it once."
        raise GroxyError(ErrorKind.BAD_KEY, message)
    return text


def _address_of(keyring: Keyring, scope: Scope) -> str | None:
    """Return the address of who asks; None when that is not known, as behind a Unix socket."""
    client = scope.get("client")
    peer = client[0] if client else None
    if not keyring.trusted_proxies:
        return peer
    forwarded = [
        value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"
    ]
    return client_address(peer, forwarded, keyring.trusted_proxies)


def read_asked(dialect: Dialect, body: bytes) -> Asked | None:
    """Return a request as its dialect reads it; None where it cannot.

    The pipeline says then what is wrong with it, and enters it in the books.
    """
    try:
        return dialect.decode_request(body)
    except GroxyError:
        return None


def call_of(
    scope: Scope, dialect: Dialect, caller: Caller, body: bytes, asked: Asked | None = None
) -> Call:
    """Return a request as the gateway takes it, with what its headers tell."""
    hints = {"conversation": "", "app_title": "", "app_url": ""}
    for name, value in scope["headers"]:
        if name in _CONVERSATION:
            hints["conversation"] = _hint(value)
        elif name in _TITLE:
            hints["app_title"] = _hint(value)
        elif name == _URL:
            hints["app_url"] = _hint(value)
    tags = header(scope, _TAGS)
    return Call(
        request_id=scope["groxy.request_id"],
        dialect=dialect,
        caller=caller,
        body=body,
        asked=asked,
        prefer_tags=() if tags is None else read_tags(tags),
        recording=scope.get(RECORDING),
        **hints,
    )


def read_tags(text: str) -> tuple[str, ...]:
    """Return the tags of a header, between commas; raise BAD_REQUEST for too many or too long."""
    tags = tuple(dict.fromkeys(tag.strip() for tag in text.split(",") if tag.strip()))
    name = _TAGS.decode()
    if len(tags) > MAX_TAGS:
        message = f"`{name}` has {len(tags)} tags; {MAX_TAGS} are the most."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=name, code="too_many_tags")
    if any(len(tag) > MAX_TAG_CHARS for tag in tags):
        message = f"`{name}` has a tag longer than {MAX_TAG_CHARS} characters."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=name, code="tag_too_long")
    return tags


def _hint(value: bytes) -> str:
    return value.decode("latin-1")[:_MAX_HINT_CHARS]


class MediaAnswers(Protocol):
    """What answers requests for models that make pictures or film; see `api.media_chat`."""

    def is_media(self, model: str) -> Capability | None:
        """Return what a model makes, if this answers for it."""
        ...

    async def answer(
        self, capability: Capability, call: Call, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer a request."""
        ...


class LaterAnswers(Protocol):
    """What answers requests later; see `api.deferred`."""

    async def answer(self, call: Call, asked: Asked, send: Send) -> None:
        """Answer with a receipt."""
        ...


class TextEndpoint:
    """POST in one dialect."""

    def __init__(  # noqa: PLR0913 - one part for each thing that may become of a request
        self,
        gateway: Gateway,
        keyring: Keyring,
        dialect: Dialect,
        *,
        max_body_bytes: int,
        media: MediaAnswers | None = None,
        attachments: Attachments | None = None,
        later: LaterAnswers | None = None,
    ) -> None:
        self._gateway = gateway
        self._keyring = keyring
        self._dialect = dialect
        self._max_body_bytes = max_body_bytes
        self._media = media
        self._attachments = attachments
        self._later = later

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request: who asks comes first, so that strangers cannot make us read much."""
        caller = identify(self._keyring, scope)
        body = await read_body(scope, receive, limit=self._max_body_bytes)
        asked = read_asked(self._dialect, body)
        if self._attachments is not None and (asked is None or asked.may_name_files):
            filled = await self._attachments.filled(body, self._dialect.name, caller.key_id)
            if filled is not body:
                body, asked = filled, read_asked(self._dialect, filled)
        call = call_of(scope, self._dialect, caller, body, asked)
        if asked is None:
            await self._gateway.answer(call, AsgiClient(receive, send))
        elif self._later is not None and asked.is_deferred:
            await self._later.answer(call, asked, send)
        elif self._media is not None and (made := self._media.is_media(asked.model)) is not None:
            await self._media.answer(made, call, scope, receive, send)
        else:
            await self._gateway.answer(call, AsgiClient(receive, send))
