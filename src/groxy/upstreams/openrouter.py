"""OpenRouter: one key for many makers; xAI's models are called `x-ai/<id>` there.

Facts: github.com/OpenRouterTeam/docs (files named below), August to October 2026. It drops
settings that a model does not take without saying so; we drop them here first and say it.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import ImageRequest, MediaCall, VideoRequest
from groxy.core.money import TICKS_PER_USD
from groxy.core.quota import QuotaSource, QuotaWindow
from groxy.upstreams._base import (
    PLAIN_RATES,
    BillField,
    Credentials,
    ErrorReply,
    KeyFacts,
    ModelFacts,
    ReplyFacts,
    Upstream,
    UsageRules,
    drop_fields,
    drop_rejected,
    error_of,
    fit_effort,
    kind_by_status,
    words_of,
)
from groxy.upstreams._openrouter_media import openrouter_image_call, openrouter_video_call
from groxy.wire.json import UNREADABLE, Fields, encode

# `error_type` is the field to rely on (api_reference/errors-and-debugging.mdx). Types that are not
# here, such as permission_denied and unmapped, say no more than the status does.
_KINDS = {
    "authentication": ErrorKind.UPSTREAM_AUTH,
    "payment_required": ErrorKind.UPSTREAM_QUOTA,
    "token_limit_exceeded": ErrorKind.UPSTREAM_QUOTA,
    "rate_limit_exceeded": ErrorKind.UPSTREAM_LIMITED,
    "provider_overloaded": ErrorKind.UPSTREAM_DOWN,
    "provider_unavailable": ErrorKind.UPSTREAM_DOWN,
    "server": ErrorKind.UPSTREAM_DOWN,
    "timeout": ErrorKind.UPSTREAM_TIMEOUT,
    "context_length_exceeded": ErrorKind.CONTEXT_TOO_LONG,
    "content_policy_violation": ErrorKind.REFUSED,
    "refusal": ErrorKind.REFUSED,
    "image_not_found": ErrorKind.BAD_REQUEST,
}
# `Key limit exceeded (total limit)` is a 403 (danielsmithdevelopment/ClawQL#876, 2026-08).
_KEY_LIMIT = re.compile(r"key limit exceeded", re.IGNORECASE)
# A moderation's and a guardrail's 403 (errors-and-debugging.mdx).
_BLOCKED = re.compile(rb'"(reasons|flagged_input|patterns)" ?:|request blocked', re.IGNORECASE)
_MOST_RESULTS = 25
"""guides/features/server-tools/web-search.mdx; xAI's live search went to 30."""


class _Source(msgspec.Struct):
    type: str
    allowed_websites: list[str] | None = None
    excluded_websites: list[str] | None = None
    included_x_handles: list[str] | None = None
    excluded_x_handles: list[str] | None = None


class _Search(msgspec.Struct):
    """xAI's live search (its OpenAPI document, 2026-08)."""

    mode: str | None = None
    sources: list[_Source] | None = None
    from_date: str | None = None
    to_date: str | None = None
    max_search_results: int | None = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None
    error: msgspec.Raw = msgspec.Raw(b"")


class _Failure(msgspec.Struct):
    """A body with an error at its top, or in one of its choices."""

    error: msgspec.Raw = msgspec.Raw(b"")
    choices: list[_Choice] | None = None


class _Key(msgspec.Struct):
    """Credits are US dollars, and never floats here."""

    limit: Decimal | None
    limit_remaining: Decimal | None = None
    limit_reset: str | None = None


class _KeyReply(msgspec.Struct):
    data: _Key


_key_decoder = msgspec.json.Decoder(_KeyReply)
_RESETS_S = {"daily": 86_400, "weekly": 7 * 86_400, "monthly": 30 * 86_400}
"""`limit_reset` (openapi/openapi.yaml, 2026-08); a month is taken as 30 days."""
_MOST_USD = Decimal(10**12)
_FLOOR = Context(prec=40, rounding=ROUND_FLOOR)
_search_decoder = msgspec.json.Decoder(_Search)
_tools_decoder = msgspec.json.Decoder(list[dict[str, Any]])
_provider_decoder = msgspec.json.Decoder(dict[str, Any])
_SEARCH_TOOLS = frozenset({"web_search", "x_search"})
_DOMAINS = {"allowed_domains": "include_domains", "excluded_domains": "exclude_domains"}
_plugins_decoder = msgspec.json.Decoder(list[dict[str, Any]] | None)
_failure_decoder = msgspec.json.Decoder(_Failure)


class OpenRouter(Upstream):
    """OpenRouter's chat completions."""

    name = "openrouter"
    title = "OpenRouter"
    base_url = "https://openrouter.ai/api/v1"
    # Its Responses keep no state, and ours ask for none (openapi/openapi.yaml, 2026-08).
    dialects = ("chat", "responses", "messages", "embeddings", "images", "videos")
    serves_catalog = True
    # Chat is turned into whatever a model's maker speaks (api_reference/overview.mdx).
    translates_dialects = True
    # `provider` in a chat request (guides/routing/provider-selection.mdx).
    follows_preferences = True
    # cookbook/administration/usage-accounting.mdx: `cost` is what was charged, in US dollars.
    usage_rules = UsageRules(bill=BillField.USD)
    check_path = "/key"
    confirms_auth = True
    key_path = "/key"
    key_prefixes = ("sk-or-",)
    rate_styles = (PLAIN_RATES,)
    makes = frozenset({"images", "edits", "videos"})

    def model_id(self, official: str, account: Credentials) -> str:
        """Return `x-ai/<id>`; an id that names its maker stays as it is."""
        del account
        return official if "/" in official else f"x-ai/{official}"

    def prepare(self, fields: Fields, facts: ModelFacts, dialect: str = "chat") -> list[str]:
        """Turn xAI's search into OpenRouter's, and drop what the model does not take.

        On its other dialects OpenRouter itself drops that (parameters.mdx).
        """
        if dialect == "responses":
            return _search_tools_as_plugin(fields)
        if dialect != "chat":
            return []
        _without_own_name(fields)
        words = _search_as_plugin(fields)
        # Effort stays where the model takes none: here it also switches reasoning on and off.
        words += drop_rejected(fields, replace(facts, rejects=facts.rejects - {"reasoning_effort"}))
        # A model that must reason rejects `none` (guides/best-practices/reasoning-tokens.mdx).
        words += fit_effort(fields, facts.efforts or None)
        _switch_reasoning(fields, facts)
        return words

    def keep_together(self, fields: Fields, conversation: str, dialect: str) -> dict[str, str]:
        """Ask for the same provider each time, unless the caller does (prompt-caching.mdx)."""
        return {} if "session_id" in fields else {"x-session-id": conversation}

    def image_call(self, request: ImageRequest, model_sent: str, facts: ModelFacts) -> MediaCall:
        """Return a request for pictures; an edit is one with references."""
        del facts
        return openrouter_image_call(request, model_sent)

    def video_call(self, request: VideoRequest, model_sent: str, facts: ModelFacts) -> MediaCall:
        """Return the request that begins a film."""
        del facts
        return openrouter_video_call(request, model_sent)

    def video_cancel_call(self, upstream_id: str) -> MediaCall | None:
        """Return None: OpenRouter has no way to end a film (openapi/openapi.yaml, 2026-08)."""
        del upstream_id
        return None

    def read_error(self, reply: ErrorReply) -> GroxyError:
        """Return what an error means, also one inside a choice or a chunk that came as a 200."""
        raw = _error_in(reply.body)
        if raw is None:
            return error_of(ErrorKind.STREAM_BROKEN, reply)
        if raw:
            reply = replace(reply, body=b'{"error":' + raw + b"}")
        words = words_of(reply.body)
        status = reply.status if reply.status >= 400 else words.status or reply.status
        kind = _KINDS.get(words.code)
        if kind is None and status == 403:  # credit cap, moderation, guardrail, no permission
            if _KEY_LIMIT.search(words.message):
                kind = ErrorKind.UPSTREAM_QUOTA
            elif _BLOCKED.search(reply.body):
                kind = ErrorKind.REFUSED
        return error_of(kind or kind_by_status(status, words), reply)

    def read_headers(self, headers: Mapping[str, str]) -> ReplyFacts:
        """A reply from the response cache is free (guides/features/response-caching.mdx)."""
        return ReplyFacts(is_cached=headers.get("x-openrouter-cache-status", "").upper() == "HIT")

    def read_key(self, body: bytes) -> KeyFacts:
        """Return what is left of the key's credit limit; raise BAD_REPLY for anything else.

        The limit is the key's own: whether the account behind it has credits is not told here
        (openapi/openapi.yaml, GET /key, 2026-08).
        """
        try:
            key = _key_decoder.decode(body).data
            total, left = _ticks(key.limit), _ticks(key.limit_remaining)
        except (*UNREADABLE, ValueError):
            message = "What the upstream says of the key could not be read."
            raise GroxyError(ErrorKind.BAD_REPLY, message) from None
        if total is None or left is None:
            return KeyFacts()
        window = QuotaWindow(
            remaining=max(0, min(left, total)),
            total=max(0, total),
            window_s=_RESETS_S.get(key.limit_reset or "", 0),
            source=QuotaSource.REAL,
        )
        is_spent = window.remaining == 0
        return KeyFacts(
            standing=ErrorKind.UPSTREAM_QUOTA if is_spent else None,
            note="the key's credit limit is reached" if is_spent else "",
            windows={"credits": window},
        )


def _ticks(dollars: Decimal | None) -> int | None:
    """Return dollars in ticks, rounded down: what is left is not more than what was told."""
    if dollars is None:
        return None
    # `copy_abs`, unlike `abs`, does not compute: 1e400000000 would overflow.
    if not dollars.is_finite() or dollars.copy_abs() > _MOST_USD:
        raise ValueError(dollars)
    ticks = _FLOOR.multiply(dollars, Decimal(TICKS_PER_USD))
    return int(ticks.to_integral_value(rounding=ROUND_FLOOR))


def _without_own_name(fields: Fields) -> None:
    """Take OpenRouter itself out of the provider lists: there it is no provider.

    Routing has heard it already. Names of accounts are not known here.
    """
    raw = fields.get("provider")
    if raw is None or b"openrouter" not in bytes(raw).lower():
        return
    try:
        provider = _provider_decoder.decode(raw)
    except msgspec.MsgspecError:
        return
    for name in ("order", "only", "ignore"):
        listed = provider.get(name)
        if isinstance(listed, list):
            kept = [one for one in listed if str(one).lower() != UPSTREAM.name]
            provider[name] = kept
            if not kept:
                del provider[name]
    fields["provider"] = msgspec.Raw(encode(provider))
    if not provider:
        del fields["provider"]


def _search_as_plugin(fields: Fields) -> list[str]:
    """Turn `search_parameters` into the web plugin (guides/features/plugins/web-search.mdx)."""
    raw = fields.get("search_parameters")
    if raw is None or bytes(raw) == b"null":
        return drop_fields(fields, {"search_parameters"})
    try:
        search = _search_decoder.decode(raw)
        plugins = _plugins_decoder.decode(fields.get("plugins", b"null")) or []
    except msgspec.MsgspecError:
        message = "`search_parameters` or `plugins` is not of the form that it should have."
        param = "search_parameters"
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=param) from None
    if search.mode == "off":
        return drop_fields(fields, {"search_parameters"})
    if not any(plugin.get("id") == "web" for plugin in plugins):
        fields["plugins"] = msgspec.Raw(encode([*plugins, _web_plugin(search)]))
    del fields["search_parameters"]
    return ["search_parameters sent as plugins"]


def _search_tools_as_plugin(fields: Fields) -> list[str]:
    """Turn xAI's search tools of Responses into the web plugin (responses/web-search.mdx)."""
    raw = fields.get("tools")
    if raw is None or b'_search"' not in bytes(raw):
        return []
    try:
        tools = _tools_decoder.decode(raw)
        plugins = _plugins_decoder.decode(fields.get("plugins", b"null")) or []
    except msgspec.MsgspecError:
        return []  # OpenRouter will say what is wrong with them.
    kept = [tool for tool in tools if tool.get("type") not in _SEARCH_TOOLS]
    if len(kept) == len(tools):
        return []
    plugin: dict[str, Any] = {"id": "web"}
    for tool in tools:
        if tool.get("type") == "web_search":
            domains = tool | (tool.get("filters") or {})
            plugin |= {name: domains[ours] for ours, name in _DOMAINS.items() if domains.get(ours)}
        elif tool.get("type") == "x_search":
            plugin["x_search"] = {name: value for name, value in tool.items() if name != "type"}
    fields["plugins"] = msgspec.Raw(encode([*plugins, plugin]))
    fields["tools"] = msgspec.Raw(encode(kept))
    if not kept:
        del fields["tools"]
    return ["search tools sent as plugins"]


def _web_plugin(search: _Search) -> dict[str, Any]:
    plugin: dict[str, Any] = {"id": "web"}
    if search.max_search_results:
        plugin["max_results"] = min(search.max_search_results, _MOST_RESULTS)
    for source in search.sources or ():
        match source.type:
            case "web" | "news":
                found = {
                    "include_domains": source.allowed_websites,
                    "exclude_domains": source.excluded_websites,
                }
                plugin |= {name: sites for name, sites in found.items() if sites}
            case "x":
                # Only when named: X is billed for each post found.
                asked = {
                    "allowed_x_handles": source.included_x_handles,
                    "excluded_x_handles": source.excluded_x_handles,
                    "from_date": search.from_date,
                    "to_date": search.to_date,
                }
                plugin["x_search"] = {name: value for name, value in asked.items() if value}
            case _:
                message = f"Searching sources of type `{source.type[:20]}` is not offered here."
                param = "search_parameters.sources"
                raise GroxyError(ErrorKind.UNSUPPORTED, message, param=param)
    return plugin


def _switch_reasoning(fields: Fields, facts: ModelFacts) -> None:
    """Choose between the variants of a model that takes no effort: one id stands for both here.

    guides/best-practices/reasoning-tokens.mdx; openrouter.ai/x-ai/grok-4.20.
    """
    has_own = fields.keys() & {"reasoning", "reasoning_effort", "include_reasoning"}
    if facts.efforts == () and facts.reasons is not None and not has_own:
        fields["reasoning"] = msgspec.Raw(encode({"enabled": facts.reasons}))


def _error_in(body: bytes) -> bytes | None:
    """Return the JSON of the error in a body; None when a choice failed without saying why."""
    try:
        failure = _failure_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return b""
    own = bytes(failure.error)
    own = b"" if own == b"null" else own
    for choice in failure.choices or ():
        if choice.finish_reason == "error":
            return own or bytes(choice.error) or None
    return own


UPSTREAM = OpenRouter()
