"""Deferred chat: POST /v1/chat/completions with `deferred`, GET …/deferred-completion/{id}.

Shapes are xAI's: a receipt `{"request_id"}`, then 202 with an empty body until the reply is there,
then the reply, once.
"""

import msgspec

from groxy.api.attachments import Attachments
from groxy.api.text import MediaAnswers, call_of, identify
from groxy.core.amounts import usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import Dialect
from groxy.gateway import Gateway
from groxy.gateway.deferred import DeferredReplies
from groxy.policy.keys import Caller, Keyring
from groxy.wire.asgi import AsgiClient, Receive, Scope, Send, read_body, respond
from groxy.wire.json import encode

_WORD = b'"deferred"'


class DeferrableEndpoint:
    """POST in a dialect that knows `deferred`: answers at once, or with a receipt."""

    def __init__(  # noqa: PLR0913 - one part for each thing that may become of a request
        self,
        gateway: Gateway,
        keyring: Keyring,
        dialect: Dialect,
        deferred: DeferredReplies,
        *,
        max_body_bytes: int,
        media: MediaAnswers | None = None,
        attachments: Attachments | None = None,
    ) -> None:
        self._gateway = gateway
        self._keyring = keyring
        self._dialect = dialect
        self._deferred = deferred
        self._media = media
        self._attachments = attachments
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        caller = identify(self._keyring, scope)
        body = await read_body(scope, receive, limit=self._max_body_bytes)
        if self._attachments is not None:
            body = await self._attachments.filled(body, self._dialect.name, caller.key_id)
        # The word may stand in a message too; only then is a body read twice.
        if _WORD in body and (later := self._without_deferral(body)) is not None:
            await self._defer(scope, send, caller, later)
            return
        call = call_of(scope, self._dialect, caller, body)
        if self._media is not None and (made := self._media.takes(body)) is not None:
            await self._media.answer(made, call, scope, receive, send)
            return
        await self._gateway.answer(call, AsgiClient(receive, send))

    def _without_deferral(self, body: bytes) -> bytes | None:
        """Return the body to be answered later; None when it is to be answered at once."""
        try:
            asked = self._dialect.decode_request(body)
        except GroxyError:
            return None  # The pipeline says it, and enters it in the books.
        if not asked.is_deferred:
            return None
        fields = {name: raw for name, raw in asked.fields.items() if name != "deferred"}
        fields["stream"] = msgspec.Raw(b"false")
        if asked.max_cost_ticks is not None:
            fields["max_cost"] = msgspec.Raw(encode(usd_text(asked.max_cost_ticks)))
        return encode(fields)

    async def _defer(self, scope: Scope, send: Send, caller: Caller, body: bytes) -> None:
        call = call_of(scope, self._dialect, caller, body)
        deferred_id = await self._deferred.begin(call)
        await respond(send, 200, encode({"request_id": deferred_id}))


class DeferredReply:
    """GET /v1/chat/deferred-completion/{id}."""

    def __init__(self, keyring: Keyring, deferred: DeferredReplies) -> None:
        self._keyring = keyring
        self._deferred = deferred

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        del receive
        caller = identify(self._keyring, scope)
        fetched = await self._deferred.fetch(scope["path_params"]["id"][:64], caller.key_id)
        if fetched is None:
            await respond(send, 202, b"")
        elif not fetched.status:
            message = "The reply was lost. Ask again."
            raise GroxyError(ErrorKind.INTERNAL, message)
        else:
            await respond(send, fetched.status, fetched.body)
