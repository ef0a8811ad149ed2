"""Deferred chat: POST /v1/chat/completions with `deferred`, GET …/deferred-completion/{id}.

Shapes are xAI's: a receipt `{"request_id"}`, then 202 with an empty body until the reply is there,
then the reply, once.
"""

import msgspec
from msgspec.structs import replace

from groxy.api.text import identify
from groxy.core.amounts import usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import Asked
from groxy.gateway import Call
from groxy.gateway.deferred import DeferredReplies
from groxy.policy.keys import Keyring
from groxy.wire.asgi import Receive, Scope, Send, respond
from groxy.wire.json import encode


class DeferredAnswers:
    """Takes requests whose answer is fetched later: they get a receipt."""

    def __init__(self, deferred: DeferredReplies) -> None:
        self._deferred = deferred

    async def answer(self, call: Call, asked: Asked, send: Send) -> None:
        """Begin to answer; send the receipt."""
        call = replace(call, body=_at_once(asked), asked=None)
        deferred_id = await self._deferred.begin(call)
        await respond(send, 200, encode({"request_id": deferred_id}))


def _at_once(asked: Asked) -> bytes:
    """Return the body of a request as it is answered when its turn comes."""
    fields = {name: raw for name, raw in asked.fields.items() if name != "deferred"}
    fields["stream"] = msgspec.Raw(b"false")
    if asked.max_cost_ticks is not None:
        fields["max_cost"] = msgspec.Raw(encode(usd_text(asked.max_cost_ticks)))
    return encode(fields)


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
