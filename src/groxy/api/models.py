"""GET /v1/models and /v1/models/{id}: what the caller's key can use now."""

from collections.abc import Mapping
from typing import Any

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.money import usd_from_ticks
from groxy.policy.keys import Keyring
from groxy.routing.catalog import Model
from groxy.routing.router import Router
from groxy.wire.asgi import Receive, Scope, Send, header, respond
from groxy.wire.json import encode

_DIALECT = "chat"
_MAX_NAME_CHARS = 256
"""The router remembers the names that it was asked for."""


class ModelList:
    """GET /v1/models."""

    def __init__(self, router: Router, keyring: Keyring) -> None:
        self._router = router
        self._keyring = keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        del receive
        _identify(self._keyring, scope)
        models = [written_model(model) for model in self._router.models(_DIALECT)]
        await respond(send, 200, encode({"object": "list", "data": models}))


class ModelById:
    """GET /v1/models/{id}; an id may have slashes, as in `x-ai/grok-4`."""

    def __init__(self, router: Router, keyring: Keyring) -> None:
        self._router = router
        self._keyring = keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        del receive
        _identify(self._keyring, scope)
        asked = scope["path_params"]["model_id"]
        is_name = len(asked) <= _MAX_NAME_CHARS
        model = self._router.model(asked, _DIALECT) if is_name else None
        if model is None:
            message = f"There is no model `{asked[:128]}` for you. GET /v1/models lists them."
            raise GroxyError(ErrorKind.NOT_FOUND, message, param="model")
        written = written_model(model)
        await respond(send, 200, encode({**written, "id": asked}))


def _identify(keyring: Keyring, scope: Scope) -> None:
    keyring.identify(header(scope, b"authorization"), header(scope, b"x-api-key"))


def written_model(model: Model | str) -> Mapping[str, Any]:
    """Return a model as OpenAI lists it, with what else is known of it."""
    if isinstance(model, str):
        return {"id": model, "object": "model", "created": 0, "owned_by": "upstream"}
    written: dict[str, Any] = {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": "xai",
        "name": model.title,
        "context_length": model.context_tokens,
    }
    if model.price is not None:
        base = model.price.base
        written["pricing"] = {
            "prompt": _usd_per_token(base.input),
            "completion": _usd_per_token(base.output),
            "input_cache_read": _usd_per_token(base.cached_input),
        }
    return written


def _usd_per_token(ticks_per_million: int) -> str:
    return f"{usd_from_ticks(ticks_per_million) / 1_000_000:f}"
