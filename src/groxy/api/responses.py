"""What belongs to POST /v1/responses: kept replies, their input, counting and compacting.

Shapes are OpenAI's (openai-openapi, and openai-python 3.52, 2026). A reply of another owner is
answered like one that never was.
"""

from typing import Any

from groxy.api.text import call_of, identify
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.ids import new_id
from groxy.core.tokens import TokenCounter, input_tokens
from groxy.dialects.responses import DIALECT
from groxy.dialects.responses.history import (
    as_compacted,
    compaction_request,
    kept_input,
    kept_response,
)
from groxy.gateway import Gateway
from groxy.gateway.collected import CollectedReply
from groxy.gateway.memory import Memory
from groxy.policy.keys import Keyring
from groxy.wire.asgi import Receive, Scope, Send, query_of, read_body, respond
from groxy.wire.json import decode_any, encode

_MOST_LISTED = 100
_USUALLY_LISTED = 20
_OK_STATUS = 200


class KeptResponses:
    """GET and DELETE /v1/responses/{id}, GET …/input_items, POST …/cancel."""

    def __init__(self, keyring: Keyring, memory: Memory) -> None:
        self._keyring = keyring
        self._memory = memory

    async def get(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Return a kept reply."""
        del receive
        owner = identify(self._keyring, scope).key_id
        if query_of(scope).get("stream") == "true":
            message = "A kept reply is not streamed again. Leave `stream` out."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="stream")
        (*_, newest) = await self._memory.replies(_id_in(scope), owner, with_earlier=False)
        await respond(send, 200, kept_response(newest))

    async def delete(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forget a kept reply for good."""
        del receive
        owner = identify(self._keyring, scope).key_id
        reply_id = _id_in(scope)
        await self._memory.forget(reply_id, owner)
        await respond(send, 200, encode({"id": reply_id, "object": "response", "deleted": True}))

    async def input_items(self, scope: Scope, receive: Receive, send: Send) -> None:
        """List what a kept reply answered, earlier turns included."""
        del receive
        owner = identify(self._keyring, scope).key_id
        query = query_of(scope)
        limit = _limit(query.get("limit"))
        items = kept_input(await self._memory.replies(_id_in(scope), owner, with_earlier=True))
        if query.get("order", "desc") == "desc":
            items.reverse()
        after = query.get("after")
        if after is not None:
            at = next((n for n, item in enumerate(items) if item.get("id") == after), None)
            if at is None:
                message = "`after` names no item of this reply."
                raise GroxyError(ErrorKind.BAD_REQUEST, message, param="after")
            items = items[at + 1 :]
        page = items[:limit]
        body = {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else "",
            "last_id": page[-1]["id"] if page else "",
            "has_more": len(items) > limit,
        }
        await respond(send, 200, encode(body))

    async def cancel(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse: only background replies can be cancelled, and there are none."""
        del receive, send
        owner = identify(self._keyring, scope).key_id
        await self._memory.replies(_id_in(scope), owner, with_earlier=False)
        message = (
            "Only a reply made with background=true can be cancelled, and this gateway makes none. "
            "To stop a reply that is under way, close its connection."
        )
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="response_id")


class ResponsesInputTokens:
    """POST /v1/responses/input_tokens: what a request would take, by a local estimate."""

    def __init__(
        self, keyring: Keyring, memory: Memory, counter: TokenCounter, *, max_body_bytes: int
    ) -> None:
        self._keyring = keyring
        self._memory = memory
        self._counter = counter
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        caller = identify(self._keyring, scope)
        body = await read_body(scope, receive, limit=self._max_body_bytes)
        asked = DIALECT.decode_request(body)
        whole, _ = await self._memory.recall(DIALECT, asked, caller.key_id)
        count = input_tokens(DIALECT.canonical(whole), self._counter)
        counted = {"object": "response.input_tokens", "input_tokens": count, "estimated": True}
        await respond(send, 200, encode(counted))


class Compaction:
    """POST /v1/responses/compact: the conversation so far, as one sealed item.

    The model sums it up, over whatever upstream serves; the summary is sealed here, so that it can
    be sent back through any account later.
    """

    def __init__(
        self, gateway: Gateway, keyring: Keyring, memory: Memory, *, max_body_bytes: int
    ) -> None:
        self._gateway = gateway
        self._keyring = keyring
        self._memory = memory
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        caller = identify(self._keyring, scope)
        body = await read_body(scope, receive, limit=self._max_body_bytes)
        asked = DIALECT.decode_request(body)
        whole, _ = await self._memory.recall(DIALECT, asked, caller.key_id)
        client = CollectedReply()
        call = call_of(scope, DIALECT, caller, compaction_request(whole))
        await self._gateway.answer(call, client)
        if client.status != _OK_STATUS:
            await _pass_on(client, send)
            return
        reply: dict[str, Any] = decode_any(client.body)
        written = as_compacted(
            whole,
            reply,
            item_id=new_id("cmp_"),
            seal=lambda text: self._memory.sealed(text, caller.key_id),
        )
        await respond(send, 200, written)


async def _pass_on(client: CollectedReply, send: Send) -> None:
    start = {
        "type": "http.response.start",
        "status": client.status or 499,
        "headers": client.headers,
    }
    await send(start)
    await send({"type": "http.response.body", "body": client.body})


def _id_in(scope: Scope) -> str:
    found: str = scope["path_params"]["id"]
    return found[:64]


def _limit(text: str | None) -> int:
    if text is None:
        return _USUALLY_LISTED
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:6]) <= _MOST_LISTED:
        message = f"`limit` must be a number from 1 to {_MOST_LISTED}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="limit")
    return int(text)
