"""GET /v1/models and its kin: what the caller's key can use now.

OpenAI's shape; Anthropic's for clients that send `anthropic-version`, with names that such clients
accept (`claude-grok-…`) first; xAI's on /v1/language-models and /v1/embedding-models.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from groxy.api.text import identify
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.money import usd_from_ticks
from groxy.policy.keys import Caller, Keyring
from groxy.policy.models import may_use, may_use_any
from groxy.routing.catalog import Capability, Catalog, Model
from groxy.routing.router import Router
from groxy.wire.asgi import Receive, Scope, Send, header, query_of, respond
from groxy.wire.json import encode

_MAX_NAME_CHARS = 256
"""The router remembers the names that it was asked for."""
_TICKS_PER_CENT = 100_000_000


class Models:
    """Lists models and tells of single ones."""

    def __init__(self, router: Router, catalog: Catalog, keyring: Keyring) -> None:
        self._router = router
        self._catalog = catalog
        self._keyring = keyring

    async def all(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/models."""
        del receive
        caller = identify(self._keyring, scope)
        models = self._router.models()
        if header(scope, b"anthropic-version"):
            page = _anthropic_page(self._anthropic(models, caller), query_of(scope))
            await respond(send, 200, encode(page))
            return
        listed = [{**written_model(model), "id": name} for name, model in _usable(models, caller)]
        await respond(send, 200, encode({"object": "list", "data": listed}))

    async def one(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/models/{id}; an id may have slashes, as in `x-ai/grok-4`."""
        del receive
        caller = identify(self._keyring, scope)
        asked = scope["path_params"]["model_id"]
        model = self._found(asked, caller)
        if header(scope, b"anthropic-version"):
            await respond(send, 200, encode(_anthropic_model(asked, model)))
            return
        await respond(send, 200, encode({**written_model(model), "id": asked}))

    async def languages(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/language-models, in xAI's shape."""
        await self._of(Capability.CHAT, scope, receive, send)

    async def embeddings(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/embedding-models, in xAI's shape."""
        await self._of(Capability.EMBEDDING, scope, receive, send)

    async def language(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/language-models/{id}."""
        del receive
        caller = identify(self._keyring, scope)
        asked = scope["path_params"]["model_id"]
        await respond(send, 200, encode({**_xai_model(self._found(asked, caller)), "id": asked}))

    async def _of(self, capability: Capability, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        caller = identify(self._keyring, scope)
        models = [
            {**_xai_model(model), "id": name}
            for name, model in _usable(self._router.models(), caller)
            if not isinstance(model, str) and model.capability is capability
        ]
        await respond(send, 200, encode({"models": models}))

    def _found(self, asked: str, caller: Caller) -> Model | str:
        model = self._router.model(asked) if len(asked) <= _MAX_NAME_CHARS else None
        if model is None or not may_use_any(caller, (asked, _id_of(model))):
            message = f"There is no model `{asked[:128]}` for you. GET /v1/models lists them."
            raise GroxyError(ErrorKind.NOT_FOUND, message, param="model")
        return model

    def _anthropic(self, models: Iterable[Model | str], caller: Caller) -> list[dict[str, Any]]:
        served = list(models)
        ids = {_id_of(model) for model in served}
        aliases = [
            _anthropic_model(alias, model)
            for alias, model in self._catalog.claude_ids()
            if model.id in ids and may_use_any(caller, (alias, model.id))
        ]
        return aliases + [_anthropic_model(name, model) for name, model in _usable(served, caller)]


def _usable(models: Iterable[Model | str], caller: Caller) -> Iterator[tuple[str, Model | str]]:
    """Return the models that a key may ask for, each under its id.

    One that may be asked for by other names only is there under each of those.
    """
    for model in models:
        name = _id_of(model)
        if may_use(caller, name):
            yield name, model
        elif not isinstance(model, str):
            yield from ((alias, model) for alias in model.aliases if may_use(caller, alias))


def _id_of(model: Model | str) -> str:
    return model if isinstance(model, str) else model.id


def _anthropic_page(models: list[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of the list; without `limit` all of it, as clients of gateways expect."""
    names = [model["id"] for model in models]
    if (after := query.get("after_id")) in names:
        models = models[names.index(after) + 1 :]
    elif (before := query.get("before_id")) in names:
        models = models[: names.index(before)]
    asked = query.get("limit", "")
    limit = int(asked[:4]) if asked.isascii() and asked.isdecimal() else len(models)
    page = models[: max(limit, 1)]
    return {
        "data": page,
        "has_more": len(page) < len(models),
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }


def _anthropic_model(name: str, model: Model | str) -> dict[str, Any]:
    created = 0 if isinstance(model, str) else model.created
    return {
        "type": "model",
        "id": name,
        "display_name": name if isinstance(model, str) else model.title,
        "created_at": datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z"),
    }


def _xai_model(model: Model | str) -> dict[str, Any]:
    """Return a model as xAI lists it: prices in US cents per 100 million tokens."""
    if isinstance(model, str):
        return {"id": model, "object": "model", "created": 0, "owned_by": "upstream"}
    written: dict[str, Any] = {
        "id": model.id,
        "object": "model",
        "created": model.created,
        "owned_by": "xai",
        "aliases": list(model.aliases),
        "input_modalities": ["text", "image"],
        "output_modalities": ["text"],
    }
    if model.price is not None:
        base = model.price.base
        # Ticks per million tokens, times 100, in cents.
        written["prompt_text_token_price"] = base.input * 100 // _TICKS_PER_CENT
        written["cached_prompt_text_token_price"] = base.cached_input * 100 // _TICKS_PER_CENT
        written["completion_text_token_price"] = base.output * 100 // _TICKS_PER_CENT
    return written


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
