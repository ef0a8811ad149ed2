"""GET /v1/generation?id=: what one request used and cost, in OpenRouter's shape.

The id is a reply's own `id`, or its `x-request-id`. Facts: OpenRouterTeam/docs, August 2026. What
an upstream's account is called is nobody's business here. Who pays is told what was charged, and
never what the upstream billed the operator; a key that belongs to nobody is told that.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from groxy.api.text import identify
from groxy.core.amounts import usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.policy.keys import Keyring
from groxy.store.entries import AttemptEntry, RequestEntry
from groxy.wire.asgi import Receive, Scope, Send, query_of, respond
from groxy.wire.json import encode

Find = Callable[[str, str], Awaitable[tuple[RequestEntry, list[AttemptEntry]] | None]]
"""Finds a request by its owner and id."""
_MADE_HERE = ("resp_", "msg_", "cmpl-", "chatcmpl-")
"""Ids that the gateway makes of a request's id."""
_MAX_ID_CHARS = 128


class Generation:
    """Tells of one request of the caller's own."""

    def __init__(self, keyring: Keyring, find: Find) -> None:
        self._keyring = keyring
        self._find = find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        del receive
        caller = identify(self._keyring, scope)
        query = query_of(scope)
        asked = query.get("id", "")[:_MAX_ID_CHARS]
        if not asked:
            raise GroxyError(ErrorKind.BAD_REQUEST, "`id` is required.", param="id")
        found = await self._find(caller.key_id, _request_id(asked))
        if found is None:
            found = await self._find(caller.key_id, asked)
        if found is None:
            message = "There is no such generation. Send a reply's `id` or its `x-request-id`."
            raise GroxyError(ErrorKind.NOT_FOUND, message, param="id")
        await respond(send, 200, encode({"data": written(*found, asked=asked)}))


def _request_id(asked: str) -> str:
    """Return the request's id that an id made here stands for."""
    prefix = next((prefix for prefix in _MADE_HERE if asked.startswith(prefix)), None)
    return asked if prefix is None else "req_" + asked.removeprefix(prefix)


def written(request: RequestEntry, attempts: list[AttemptEntry], *, asked: str) -> dict[str, Any]:
    """Return a request as OpenRouter tells of it."""
    ticks = request.charge_ticks if request.user_id else request.cost_ticks
    cost = msgspec.Raw(usd_text(ticks).encode())  # exactly; a float would not be
    created = datetime.fromtimestamp(request.at_ms / 1000, UTC)
    return {
        "id": request.reply_id or asked,
        "request_id": request.id,
        "model": request.model_served or request.model_asked,
        "created_at": created.isoformat(timespec="milliseconds"),
        "streamed": request.is_stream,
        "cancelled": request.outcome == ErrorKind.CANCELLED.value,
        "api_type": request.dialect,
        "total_cost": cost,
        "usage": cost,
        "is_byok": False,
        "tokens_prompt": request.input_tokens,
        "tokens_completion": request.output_tokens,
        "native_tokens_prompt": request.input_tokens,
        "native_tokens_completion": request.output_tokens,
        "native_tokens_reasoning": request.reasoning_tokens,
        "native_tokens_cached": request.cached_tokens,
        "latency": request.first_event_us // 1000,
        "generation_time": request.duration_us // 1000,
        "finish_reason": request.finish_reason or None,
        "native_finish_reason": request.finish_reason or None,
        "app_title": request.app_title or None,
        "http_referer": request.app_url or None,
        "outcome": request.outcome,
        "attempts": len(attempts),
        "usage_estimated": request.usage_estimated,
    }
