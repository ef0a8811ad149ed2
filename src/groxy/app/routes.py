"""Which endpoint answers which path: built once, from the parts of a running gateway."""

from collections.abc import Mapping

from starlette.routing import Route

from groxy.api.activity import Activity
from groxy.api.attachments import Attachments
from groxy.api.auth import Auth
from groxy.api.deferred import DeferredAnswers, DeferredReply
from groxy.api.files import Files, StoredMedia
from groxy.api.generation import Generation
from groxy.api.health import Check, MetricsPage, Ready
from groxy.api.images import ImagesEndpoint
from groxy.api.keys import OwnKeys
from groxy.api.messages import CountTokens
from groxy.api.models import Models
from groxy.api.owners import Registry
from groxy.api.quote import QuoteEndpoint
from groxy.api.receipts import Receipts
from groxy.api.responses import Compaction, KeptResponses, ResponsesInputTokens
from groxy.api.routes import public_router
from groxy.api.statistics import Statistics
from groxy.api.text import TextEndpoint
from groxy.api.tokenize import TokenizeEndpoint
from groxy.api.user import OwnUser
from groxy.api.videos import Videos
from groxy.api.vision import VisionEndpoint
from groxy.app.idempotency import with_idempotency
from groxy.app.parts import Parts
from groxy.app.payments import credit_routes
from groxy.dialects._base import Dialect
from groxy.dialects.chat import DIALECT as CHAT
from groxy.dialects.completions import DIALECT as COMPLETIONS
from groxy.dialects.embeddings import DIALECT as EMBEDDINGS
from groxy.dialects.messages import DIALECT as MESSAGES
from groxy.dialects.responses import DIALECT as RESPONSES
from groxy.gateway.quoting import Quoter
from groxy.gateway.tokenizing import Tokenizer
from groxy.store.entries import find_request
from groxy.wire.asgi import AsgiApp

_OPERATORS = ("/admin/api", "/admin/api/{rest:path}", "/docs", "/docs/{rest:path}", "/openapi.json")

_DIALECTS: tuple[Dialect, ...] = (CHAT, RESPONSES, MESSAGES, COMPLETIONS, EMBEDDINGS)
"""Of text."""


def routes_of(parts: Parts, checks: Mapping[str, Check]) -> AsgiApp:
    """Return the application below the error boundary."""
    directory, metrics = parts.directory, parts.metrics
    return public_router(
        with_idempotency(endpoints_of(parts), parts, _registry_of(parts)),
        ready=Ready(checks),
        metrics=MetricsPage(metrics, lambda: metrics.set_accounts(directory.counts())),
        others=[Route(path, parts.admin) for path in _OPERATORS],
    )


def endpoints_of(parts: Parts) -> Mapping[str, Mapping[str, AsgiApp]]:
    """Return the endpoints below /v1, by path and method."""
    groups = (_text, _responses, _media, _lists, _usage, _people, _credits)
    return {path: methods for group in groups for path, methods in group(parts).items()}


def _text(parts: Parts) -> Mapping[str, Mapping[str, AsgiApp]]:
    gateway, callers, most = parts.gateway, parts.callers, parts.max_body_bytes

    def text(dialect: Dialect) -> dict[str, AsgiApp]:
        return {"POST": TextEndpoint(gateway, callers, dialect, max_body_bytes=most)}

    tokenizer = Tokenizer(parts.router, parts.counter)
    tokenize = TokenizeEndpoint(callers, tokenizer, max_body_bytes=most)
    quoter = Quoter(gateway, {one.name: one for one in _DIALECTS})
    media, files = parts.media.chat, Attachments(parts.media.shelf)
    later = DeferredAnswers(parts.deferred)
    chat = TextEndpoint(
        gateway, callers, CHAT, max_body_bytes=most, media=media, attachments=files, later=later
    )
    responses = TextEndpoint(
        gateway, callers, RESPONSES, max_body_bytes=most, media=media, attachments=files
    )
    messages = TextEndpoint(gateway, callers, MESSAGES, max_body_bytes=most, attachments=files)
    return {
        "/chat/completions": {"POST": chat},
        "/chat/deferred-completion/{id}": {"GET": DeferredReply(callers, parts.deferred)},
        "/responses": {"POST": responses},
        "/messages": {"POST": messages},
        "/messages/count_tokens": {
            "POST": CountTokens(callers, parts.counter, max_body_bytes=most)
        },
        "/completions": text(COMPLETIONS),
        "/embeddings": text(EMBEDDINGS),
        "/quote": {"POST": QuoteEndpoint(callers, quoter, max_body_bytes=most)},
        "/tokenize": {"POST": tokenize},
        "/tokenize-text": {"POST": tokenize},
        "/vision/analyze": {"POST": VisionEndpoint(gateway, callers, CHAT, max_body_bytes=most)},
    }


def _responses(parts: Parts) -> Mapping[str, Mapping[str, AsgiApp]]:
    callers, memory, most = parts.callers, parts.gateway.memory, parts.max_body_bytes
    kept = KeptResponses(callers, memory)
    counting = ResponsesInputTokens(callers, memory, parts.counter, max_body_bytes=most)
    compaction = Compaction(parts.gateway, callers, memory, max_body_bytes=most)
    return {
        "/responses/input_tokens": {"POST": counting},
        "/responses/compact": {"POST": compaction},
        "/responses/{id}": {"GET": kept.get, "DELETE": kept.delete},
        "/responses/{id}/input_items": {"GET": kept.input_items},
        "/responses/{id}/cancel": {"POST": kept.cancel},
    }


def _media(parts: Parts) -> Mapping[str, Mapping[str, AsgiApp]]:
    callers, media, most = parts.callers, parts.media, parts.max_body_bytes
    making, editing = (
        ImagesEndpoint(
            media.maker,
            media.references,
            media.links,
            callers,
            is_edit=is_edit,
            max_body_bytes=most,
        )
        for is_edit in (False, True)
    )
    videos = Videos(media.films, media.references, media.links, callers, max_body_bytes=most)
    stored, files = StoredMedia(media.shelf, media.links), Files(media.shelf, callers)
    return {
        "/images/generations": {"POST": making},
        "/images/generate": {"POST": making},
        "/images/edits": {"POST": editing},
        "/videos": {"POST": videos.ordering("openai"), "GET": videos.list},
        "/videos/generations": {"POST": videos.ordering("xai")},
        "/videos/{id}": {"GET": videos.one, "DELETE": videos.delete},
        "/videos/{id}/content": {"GET": videos.content},
        "/files": {"POST": files.upload, "GET": files.all},
        "/files/image": {"GET": stored.image},
        "/files/video": {"GET": stored.video},
        "/files/{id}": {"GET": files.one, "DELETE": files.delete},
        "/files/{id}/content": {"GET": files.content},
    }


def _lists(parts: Parts) -> Mapping[str, Mapping[str, AsgiApp]]:
    models = Models(parts.router, parts.catalog, parts.callers)
    generation = Generation(
        parts.callers, lambda owner, asked: find_request(parts.database, owner, asked)
    )
    return {
        "/models": {"GET": models.all},
        "/models/{model_id:path}": {"GET": models.one},
        "/language-models": {"GET": models.languages},
        "/language-models/{model_id:path}": {"GET": models.language},
        "/embedding-models": {"GET": models.embeddings},
        "/generation": {"GET": generation},
    }


def _registry_of(parts: Parts) -> Registry:
    links = parts.media.links
    return Registry(
        keyring=parts.callers,
        database=parts.database,
        secret=parts.gateway.memory.secret,
        ask=parts.gateway.admission.ask,
        app_url=lambda: links.app_url,
        reload=parts.reload,
    )


def _usage(parts: Parts) -> Mapping[str, Mapping[str, AsgiApp]]:
    registry = _registry_of(parts)
    receipts = Receipts(registry)
    statistics = Statistics(
        parts.database,
        parts.callers,
        is_public=parts.has_public_statistics,
        is_known=parts.catalog.has,
    )
    return {
        "/activity": {"GET": Activity(registry)},
        "/statistics/models": {"GET": statistics},
        "/receipts/key": {"GET": receipts.key},
        "/receipts/{request_id}": {"GET": receipts.one},
    }


def _people(parts: Parts) -> Mapping[str, Mapping[str, AsgiApp]]:
    registry = _registry_of(parts)
    auth, user, keys = Auth(registry), OwnUser(registry), OwnKeys(registry)
    return {
        "/auth/login": {"POST": auth.login},
        "/auth/logout": {"POST": auth.logout},
        "/user": {"GET": user.get, "PATCH": user.patch},
        "/keys": {"GET": keys.list, "POST": keys.create},
        "/keys/{hash}": {"GET": keys.get, "PATCH": keys.change, "DELETE": keys.delete},
        "/keys/{hash}/rotate": {"POST": keys.rotate},
    }


def _credits(parts: Parts) -> Mapping[str, Mapping[str, AsgiApp]]:
    return credit_routes(parts, _registry_of(parts))
