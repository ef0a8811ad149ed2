"""CometAPI: a reseller of the New-API family, with xAI's models under their own bare ids.

Facts: apidoc.cometapi.com (errors/error-codes-handling, guides/error-codes-and-retry-strategy),
2026. It passes requests on to xAI, so they are made fit for xAI; it states no bill.
"""

import re

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams._base import (
    DIALECTS_FIELD,
    Credentials,
    ErrorReply,
    ErrorWords,
    ModelFacts,
    Upstream,
    dialects_named,
    error_of,
    kind_by_status,
    safe_message,
    words_of,
)
from groxy.upstreams._xai_request import prepare_for_xai
from groxy.wire.json import Fields

_REQUEST_ID = re.compile(r"\s*\(?request[ _]id:[^)]{0,200}\)?", re.IGNORECASE)
# The quota words of the family, where `code` is empty (songquanpeng/one-api#1270, 2024-04).
_QUOTA = re.compile(
    r"quota (is )?not enough|insufficient .{0,20}(quota|balance)|额度", re.IGNORECASE
)
_FIELD = re.compile(
    r"(unsupported|unknown|not supported|invalid).{0,40}(field|param)", re.IGNORECASE
)


class CometApi(Upstream):
    """CometAPI's OpenAI-compatible endpoint."""

    name = "cometapi"
    title = "CometAPI"
    base_url = "https://api.cometapi.com/v1"
    # Its pages name /v1/responses and /v1/messages too, but not for which makers' models they work;
    # an account's option `dialects` opens them (pypi cometapi-cli 0.3.10; checked 2026-11).
    dialects = ("chat", "embeddings")
    # OpenAI-shaped (apis.io copy of its OpenAPI document, 2026), where the account names them.
    makes = frozenset({"images", "edits", "videos"})
    serves_catalog = True
    # No page of its tells what becomes of prompts (checked 2026-11).
    may_train = True
    account_fields = (DIALECTS_FIELD,)
    # Servers of the family show their list to good keys only (QuantumNous/new-api,
    # router/relay-router.go, 2026).
    confirms_auth = True

    def dialects_of(self, account: Credentials) -> tuple[str, ...]:
        """Return what the account names, or what is known to work."""
        return dialects_named(account, self.dialects)

    def address(self, account: Credentials) -> str:
        """Return where it is; raise `ValueError` when the account names a strange dialect."""
        self.dialects_of(account)
        return super().address(account)

    def prepare(self, fields: Fields, facts: ModelFacts, dialect: str = "chat") -> list[str]:
        """Take out or refuse what the model's maker answers with an error."""
        return prepare_for_xai(fields, facts, dialect)

    def read_error(self, reply: ErrorReply) -> GroxyError:
        """Return what an error means: some 500s are the caller's, some pages are no replies."""
        words = words_of(reply.body)
        message = safe_message(_REQUEST_ID.sub("", words.message))
        kind = ErrorKind.BAD_REPLY if _is_page(reply) else _kind_of(reply.status, words)
        is_callers = kind in (ErrorKind.BAD_REQUEST, ErrorKind.CONTEXT_TOO_LONG, ErrorKind.REFUSED)
        return error_of(kind, reply, message=message if is_callers else "")


def _is_page(reply: ErrorReply) -> bool:
    """True for a web page in place of a reply: a wrong path is a redirect or HTML, not a 404."""
    is_html = (
        "html" in reply.headers.get("content-type", "") or reply.body[:200].lstrip()[:1] == b"<"
    )
    return is_html and reply.status < 429  # limits and outages stay what they are


def _kind_of(status: int, words: ErrorWords) -> ErrorKind:
    if status == 500 and words.code == "invalid_request":  # a client error in disguise
        return kind_by_status(400, words)
    if status == 403:  # out of quota, a field it does not take, or blocked
        if _QUOTA.search(words.message):
            return ErrorKind.UPSTREAM_QUOTA
        if _FIELD.search(words.message):
            return ErrorKind.BAD_REQUEST
    if status < 400:  # an error inside a 200
        status = words.status or status
    return kind_by_status(status, words)


UPSTREAM = CometApi()
