"""Cloudflare AI Gateway in front of xAI: gateway.ai.cloudflare.com.

Facts: cloudflare/cloudflare-docs, src/content/docs/ai-gateway, 2026-08. Two endpoints reach xAI.
`provider` passes requests, errors and the bill through as they are; `compat` is Cloudflare's own
OpenAI-compatible endpoint, where models are called `grok/<id>`. Either way a Cloudflare token
opens the gateway, and xAI's key is sent along, stored there, or replaced by Unified Billing.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import ImageRequest, MediaCall, VideoRequest
from groxy.upstreams._base import (
    AccountField,
    BillField,
    Credentials,
    ErrorReply,
    ModelFacts,
    ReplyFacts,
    Upstream,
    UsageRules,
    error_of,
    kind_by_status,
    words_of,
)
from groxy.upstreams._xai_media import XAI_MEDIA_HOSTS, xai_image_call, xai_video_call
from groxy.upstreams._xai_replies import read_xai_error, read_xai_models
from groxy.upstreams._xai_request import prepare_for_xai, stay_together
from groxy.wire.json import Fields

_HOST = "https://gateway.ai.cloudflare.com/v1"
_KINDS = {
    # npm ai-gateway-provider 4.0.1, dist/index.mjs: no such gateway; gateway token missing or wrong
    2001: ErrorKind.UPSTREAM_AUTH,
    2009: ErrorKind.UPSTREAM_AUTH,
    # features/guardrails/set-up-guardrail: prompt blocked, response blocked (both 424), scanner
    # without credits (402), scanner not available (503)
    2016: ErrorKind.REFUSED,
    2017: ErrorKind.REFUSED,
    2021: ErrorKind.UPSTREAM_QUOTA,
    7013: ErrorKind.UPSTREAM_DOWN,
    # features/dlp/set-up-dlp: request blocked, response blocked
    2029: ErrorKind.REFUSED,
    2030: ErrorKind.REFUSED,
}
# features/spend-limits: a budget that is used up is a 429, as is a rate limit.
_BUDGET = re.compile(r"spend|budget|credit", re.IGNORECASE)


class _Fault(msgspec.Struct):
    code: int = 0


class _OwnError(msgspec.Struct):
    """An error that the gateway made: `{"success":false,"error":[{"code","message"}],…}`."""

    success: bool
    error: list[_Fault]


_own_error_decoder = msgspec.json.Decoder(_OwnError)


class Cloudflare(Upstream):
    """An AI Gateway of the account's owner."""

    name = "cloudflare"
    title = "Cloudflare AI Gateway"
    base_url = _HOST
    dialects = ("chat", "responses", "completions", "embeddings", "images", "videos")
    serves_catalog = True
    # xAI's bill passes through on the provider endpoint; Cloudflare states none of its own.
    usage_rules = UsageRules(bill=BillField.TICKS, reasoning_apart=True)
    # The provider endpoint stands for all of api.x.ai (usage/providers/grok); compat has chat only.
    makes = frozenset({"images", "edits", "videos"})
    media_hosts = XAI_MEDIA_HOSTS
    account_fields = (
        AccountField(
            name="account_id", help="Your Cloudflare account's id, 32 characters.", required=True
        ),
        AccountField(name="gateway_id", help="The name of your AI Gateway.", required=True),
        AccountField(
            name="provider_key",
            help="Your xAI key; none when the gateway has it stored, or with Unified Billing.",
            secret=True,
        ),
        AccountField(
            name="endpoint",
            help="provider: requests pass unchanged. compat: Cloudflare's OpenAI endpoint.",
            choices=("provider", "compat"),
        ),
    )

    def address(self, account: Credentials) -> str:
        """Return the gateway's endpoint; raise `ValueError` when the account does not name it."""
        if account.base_url:
            return account.base_url.rstrip("/")
        ids = [
            quote(account.options.get(name, ""), safe="") for name in ("account_id", "gateway_id")
        ]
        if not all(ids):
            raise ValueError("an account at cloudflare needs the options account_id and gateway_id")
        # usage/providers/grok: the page's text leaves /v1 out, its worked example has it.
        return "/".join((_HOST, *ids, "compat" if _is_compat(account) else "grok/v1"))

    def headers(self, account: Credentials) -> dict[str, str]:
        """Return the token for the gateway and, where the account has it, the key for xAI."""
        keys = {
            "cf-aig-authorization": account.api_key,
            "Authorization": account.options.get("provider_key", ""),
        }
        return {name: f"Bearer {key}" for name, key in keys.items() if key}

    def model_id(self, official: str, account: Credentials) -> str:
        """Return `grok/<id>` on the compat endpoint, xAI's own id on the other."""
        is_bare = "/" not in official
        return f"grok/{official}" if is_bare and _is_compat(account) else official

    def dialects_of(self, account: Credentials) -> tuple[str, ...]:
        """Return xAI's dialects, or what the compat endpoint has of them."""
        return ("chat",) if _is_compat(account) else self.dialects

    def prepare(self, fields: Fields, facts: ModelFacts, dialect: str = "chat") -> list[str]:
        """Take out or refuse what xAI, behind the gateway, answers with an error."""
        return prepare_for_xai(fields, facts, dialect)

    def keep_together(self, fields: Fields, conversation: str, dialect: str) -> dict[str, str]:
        """Headers pass through to xAI (usage/providers/grok)."""
        return stay_together(fields, conversation, dialect)

    def read_error(self, reply: ErrorReply) -> GroxyError:
        """Return what an error means: the gateway's own come as an array, xAI's pass through."""
        try:
            own = _own_error_decoder.decode(reply.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return read_xai_error(reply)
        words = words_of(reply.body)
        code = own.error[0].code if own.error else 0
        kind = _KINDS.get(code) or kind_by_status(reply.status, words)
        if kind is ErrorKind.UPSTREAM_LIMITED and _BUDGET.search(words.message):
            kind = ErrorKind.UPSTREAM_QUOTA
        return error_of(kind, reply)

    def read_headers(self, headers: Mapping[str, str]) -> ReplyFacts:
        """Tell a reply from the gateway's cache: it repeats the usage of the first one."""
        return ReplyFacts(is_cached=headers.get("cf-aig-cache-status", "").upper() == "HIT")

    def read_models(self, body: bytes) -> frozenset[str]:
        """Return the ids in the list of whichever endpoint the account uses."""
        return read_xai_models(body)

    def image_call(self, request: ImageRequest, model_sent: str, facts: ModelFacts) -> MediaCall:
        """Return a request for pictures in xAI's form: JSON, with a shape and a resolution."""
        del facts
        return xai_image_call(request, model_sent)

    def video_call(self, request: VideoRequest, model_sent: str, facts: ModelFacts) -> MediaCall:
        """Return the request that begins a film in xAI's form."""
        del facts
        return xai_video_call(request, model_sent)

    def video_cancel_call(self, upstream_id: str) -> MediaCall | None:
        """Return None: xAI has no way to end a film (its OpenAPI document, 2026-08)."""
        del upstream_id
        return None


def _is_compat(account: Credentials) -> bool:
    return account.options.get("endpoint") == "compat"


UPSTREAM = Cloudflare()
