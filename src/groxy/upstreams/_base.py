"""What an upstream is: address, credentials, quirks, error table, bill, model list.

`Upstream` itself behaves like a plain OpenAI-compatible server; a file of this package subclasses
it and overrides only what differs there. An upstream does no I/O and knows no other upstream: it
is asked for values, and the gateway acts on them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.dialects._base import BillField, UsageRules
from groxy.wire.http import Transport
from groxy.wire.json import Fields, decode_any, encode

__all__ = [
    "EFFORTS",
    "AccountField",
    "BillField",
    "Credentials",
    "ErrorReply",
    "ErrorWords",
    "ModelFacts",
    "ReplyFacts",
    "Upstream",
    "UsageRules",
    "drop_fields",
    "drop_rejected",
    "error_by_status",
    "error_of",
    "fit_effort",
    "kind_by_status",
    "retry_after_s",
    "safe_message",
    "words_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What an account gives its upstream. `api_key` never shows in a repr."""

    api_key: str = field(repr=False)
    base_url: str = ""
    """The account's own address, without a trailing slash; empty for the upstream's usual one."""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The values of `Upstream.account_fields`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountField:
    """A value, besides the key, that an account of this upstream has."""

    name: str
    help: str
    required: bool = False
    secret: bool = False
    choices: tuple[str, ...] = ()
    """The values it may have, the usual one first; () when any text will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the catalog knows of the model a request goes to."""

    rejects: frozenset[str] = frozenset()
    """Request fields that the official model answers with an error."""
    efforts: tuple[str, ...] | None = None
    """Values of reasoning_effort it takes; () when it takes none at all, None when not known."""
    reasons: bool | None = None
    """Whether it is a model that reasons; None when not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFacts:
    """What the headers of a reply say."""

    is_cached: bool = False
    """The upstream answered from a cache and bills nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorReply:
    """An error as it came: a reply that is not 200, or an error inside one that is."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorWords:
    """What an error body says, whichever of the usual shapes it has."""

    message: str = ""
    code: str = ""
    status: int | None = None
    """The status inside the body, where an error hides in a 200."""


class Upstream:
    """A plain OpenAI-compatible server; the base of every other upstream."""

    name: str = ""
    title: str = ""
    base_url: str = ""
    """Where accounts without an address of their own go; empty: each account must have one."""
    dialects: tuple[str, ...] = ("chat",)
    """The wire dialects it speaks, best first."""
    serves_catalog: bool = False
    """True when it offers the official models even where its own list is not known."""
    translates_dialects: bool = False
    """True when each of its models answers on each of its dialects, whatever xAI's own do."""
    accounts_rest: bool = True
    """False when a failure says nothing about the next request, so that accounts never rest."""
    account_fields: tuple[AccountField, ...] = ()
    needs_key: bool = True
    usage_rules: UsageRules = UsageRules()
    models_path: str = "/models"
    """Where its model list is; empty when it has none."""
    check_path: str = "/models"
    """A cheap authenticated call that shows whether a credential works."""

    def address(self, account: Credentials) -> str:
        """Return the base URL for an account, without a trailing slash."""
        return account.base_url.rstrip("/") or self.base_url

    def headers(self, account: Credentials) -> dict[str, str]:
        """Return the headers that authenticate a request."""
        return {"Authorization": f"Bearer {account.api_key}"} if account.api_key else {}

    def model_id(self, official: str, account: Credentials) -> str:
        """Return this upstream's id of an official xAI model."""
        del account
        return official

    def prepare(self, fields: Fields, facts: ModelFacts) -> list[str]:
        """Change a chat request to what the upstream takes; say what was changed.

        Each word goes into the reply's `x-groxy-adjusted` header, such as `stop dropped`. Raises
        UNSUPPORTED when the upstream cannot do what was asked and leaving it out would be a lie.
        """
        del fields, facts
        return []

    def read_error(self, reply: ErrorReply) -> GroxyError:
        """Return what an error reply means."""
        return error_by_status(reply)

    def read_headers(self, headers: Mapping[str, str]) -> ReplyFacts:
        """Return what the headers of a good reply say."""
        del headers
        return ReplyFacts()

    def read_models(self, body: bytes) -> frozenset[str]:
        """Return the model ids in the upstream's own list; raise BAD_REPLY for anything else."""
        try:
            listed = decode_any(body)
            entries = listed["data"] if isinstance(listed, dict) else listed
            return frozenset(entry["id"] for entry in entries if isinstance(entry["id"], str))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
            message = "The upstream's model list could not be read."
            raise GroxyError(ErrorKind.BAD_REPLY, message) from None

    def transport(self, account: Credentials) -> Transport | None:
        """Return how to reach it when that is not the network."""
        del account
        return None


_MAX_READ = 4000
"""Characters of an error that are read: a reply may hold megabytes, and patterns are slow there."""


def words_of(body: bytes) -> ErrorWords:
    """Read an error body: `{"error":{…}}`, `{"code","error":"…"}`, `{"error":[{…}]}`, or prose."""
    try:
        parsed = decode_any(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ErrorWords()
    if not isinstance(parsed, dict):
        return ErrorWords()
    error = parsed.get("error") or parsed.get("errors")
    if isinstance(error, list) and error:
        error = error[0]
    if isinstance(error, dict):
        code, message = error.get("code"), error.get("message")
        status = error.get("status", error.get("http_status", code))
        if code is None or isinstance(code, int):
            code = _type_of(error)
    else:
        code, message = parsed.get("code"), error or parsed.get("message") or parsed.get("detail")
        status = parsed.get("status")
    is_status = isinstance(status, int) and 400 <= status <= 599
    return ErrorWords(
        message=message[:_MAX_READ] if isinstance(message, str) else "",
        code=code[:_MAX_READ] if isinstance(code, str) else "",
        status=status if is_status else None,
    )


def _type_of(error: Mapping[str, Any]) -> object:
    """Return an error's own name for itself; OpenRouter has the telling one in its metadata."""
    metadata = error.get("metadata")
    inner = metadata.get("error_type") if isinstance(metadata, dict) else None
    return error.get("error_type") or inner or error.get("type")


_CONTEXT = re.compile(
    r"context[_ ]length|maximum (prompt|context) length|too many (input )?tokens"
    r"|prompt is too long",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"content[- _]policy|usage[- _](policy|guidelines)|safety|moderat|flagged|refus", re.IGNORECASE
)
_KINDS = {
    # OpenAI's own codes, which compatible servers copy (platform.openai.com, error codes, 2026)
    "context_length_exceeded": ErrorKind.CONTEXT_TOO_LONG,
    "insufficient_quota": ErrorKind.UPSTREAM_QUOTA,
    "invalid_api_key": ErrorKind.UPSTREAM_AUTH,
    # One-API and its kin: a 503 (QuantumNous/new-api#6310, 2026-07)
    "model_not_found": ErrorKind.MODEL_ABSENT,
    # One-API and its kin: a 403 (songquanpeng/one-api#1270, 2024-04)
    "insufficient_user_quota": ErrorKind.UPSTREAM_QUOTA,
}
"""What a code says, it says at any status."""


def error_by_status(reply: ErrorReply) -> GroxyError:
    """Return what an error means by its status alone, the way OpenAI-compatible servers use it."""
    words = words_of(reply.body)
    status = words.status if reply.status < 400 and words.status else reply.status
    return error_of(kind_by_status(status, words), reply)


def kind_by_status(status: int, words: ErrorWords) -> ErrorKind:  # noqa: C901, PLR0911  a table
    """Return the kind of an error of this status, as OpenAI-compatible servers use it."""
    if words.code in _KINDS:
        return _KINDS[words.code]
    match status:
        case 400 | 409 | 422:
            is_too_long = _CONTEXT.search(words.message)
            return ErrorKind.CONTEXT_TOO_LONG if is_too_long else ErrorKind.BAD_REQUEST
        case 401:
            return ErrorKind.UPSTREAM_AUTH
        case 402:
            return ErrorKind.UPSTREAM_QUOTA
        case 403:
            is_refusal = _REFUSAL.search(words.message)
            return ErrorKind.REFUSED if is_refusal else ErrorKind.UPSTREAM_AUTH
        case 404:
            return ErrorKind.MODEL_ABSENT
        case 410 | 501:
            return ErrorKind.UNSUPPORTED
        case 413:
            return ErrorKind.TOO_LARGE
        case 429:
            return ErrorKind.UPSTREAM_LIMITED
        case 408 | 504 | 524:
            return ErrorKind.UPSTREAM_TIMEOUT
        case _ if status >= 500:
            return ErrorKind.UPSTREAM_DOWN
    return ErrorKind.BAD_REPLY


_MESSAGES = {
    ErrorKind.BAD_REQUEST: "The upstream refused the request as invalid.",
    ErrorKind.CONTEXT_TOO_LONG: "The request is longer than the model's context.",
    ErrorKind.REFUSED: "The request was refused by the model's usage policy.",
    ErrorKind.UNSUPPORTED: "The upstream does not offer what was asked for.",
    ErrorKind.UPSTREAM_AUTH: "No upstream account could serve this request.",
    ErrorKind.UPSTREAM_QUOTA: "No upstream account with quota left could serve this request.",
    ErrorKind.UPSTREAM_LIMITED: "All upstream accounts are at their rate limit. Try again later.",
    ErrorKind.UPSTREAM_TIMEOUT: "The upstream took too long to answer. Try again.",
    ErrorKind.UPSTREAM_DOWN: "The upstream is not available right now. Try again.",
    ErrorKind.STREAM_BROKEN: "The upstream broke off its reply.",
    ErrorKind.MODEL_ABSENT: "The model is not available from any account right now.",
    ErrorKind.TOO_LARGE: "The request is larger than the upstream takes. Send less at once.",
}
_QUOTED = frozenset(
    {
        ErrorKind.BAD_REQUEST,
        ErrorKind.CONTEXT_TOO_LONG,
        ErrorKind.REFUSED,
        ErrorKind.UNSUPPORTED,
    }
)
"""Kinds whose cause is the caller's: what the upstream said helps to mend the request."""
_PARAMS = {ErrorKind.CONTEXT_TOO_LONG: "messages", ErrorKind.MODEL_ABSENT: "model"}
_WAITING = frozenset({ErrorKind.UPSTREAM_LIMITED, ErrorKind.UPSTREAM_DOWN})


def error_of(
    kind: ErrorKind, reply: ErrorReply, *, message: str = "", param: str | None = None
) -> GroxyError:
    """Return the error that `reply` is, once its kind is known.

    `message` takes the place of what the upstream said, where that is not fit for a caller.
    """
    words = words_of(reply.body)
    said = safe_message(words.message)
    if not message and kind in _QUOTED:
        message = said
    return GroxyError(
        kind,
        message or _MESSAGES.get(kind, "The upstream sent a reply that makes no sense."),
        param=param or _PARAMS.get(kind),
        detail=f"status {reply.status}, code {safe_message(words.code)[:80]!r}, said {said!r}",
        retry_after_s=retry_after_s(reply.headers) if kind in _WAITING else None,
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds an upstream asks to wait, from `retry-after-ms` or `retry-after`."""
    for name, unit in (("retry-after-ms", Decimal("0.001")), ("retry-after", Decimal(1))):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(Decimal(value) * unit)
        except (InvalidOperation, ValueError, OverflowError):
            continue  # A date: rare, and the default wait is as good.
        if 0 <= seconds < 86_400 * 31:
            return seconds
    return None


_UNSAFE = re.compile(
    r"https?://\S+"  # addresses name the vendor and the account
    r"|\b(?:[\w-]{1,63}\.){1,4}[a-z]{2,12}/\S+"
    r"|\bBearer\s+\S+"
    r"|\b(?:sk|xai|key)[-_][\w*.\-]{4,}"  # keys, also masked ones
    r"|\b\w+\*{2,}\w*"  # whatever else is masked
    r"|\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"  # team and request ids
    r"|\(request id: [^)]*\)"
    r"|\b(?=\w*\d)\w{20,}\b"  # no word of a language is so long and has a digit
    r"|\b[\w.+-]{1,64}@[\w-]+\.[\w.]+",
    re.IGNORECASE,
)
_MAX_MESSAGE = 600


def safe_message(text: str) -> str:
    """Return an upstream's words without addresses, keys and ids, on one line and not too long."""
    cleaned = " ".join(_UNSAFE.sub("…", text).split())
    return cleaned if len(cleaned) <= _MAX_MESSAGE else cleaned[: _MAX_MESSAGE - 1] + "…"


def drop_fields(fields: Fields, names: frozenset[str] | set[str]) -> list[str]:
    """Take `names` out of a request; return the words for what was there. Nulls go silently."""
    if names.isdisjoint(fields):
        return []
    found = {name: fields.pop(name) for name in sorted(names & fields.keys())}
    return [f"{name} dropped" for name, raw in found.items() if bytes(raw) != b"null"]


def drop_rejected(fields: Fields, facts: ModelFacts) -> list[str]:
    """Take out the settings that the model answers with an error; return the words for them.

    Tools are no setting: an answer without them is not what was asked for, so they are refused.
    """
    has_tools = bytes(fields.get("tools", b"null")) not in (b"null", b"[]")
    if has_tools and "tools" in facts.rejects:
        message = "This model calls no functions. Leave `tools` out, or ask another model."
        raise GroxyError(ErrorKind.UNSUPPORTED, message, param="tools")
    return drop_fields(fields, facts.rejects)


EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""All values of `reasoning_effort`, from little to much."""
_effort_decoder = msgspec.json.Decoder(str)


def fit_effort(fields: Fields, efforts: tuple[str, ...] | None) -> list[str]:
    """Replace an effort that the model lacks by the nearest one that it has; return the words.

    Without any, models that reason use their default, often the highest: dropping `none` or
    `minimal` would bring the opposite of what was asked for.
    """
    raw = fields.get("reasoning_effort")
    if raw is None or efforts is None:
        return []
    if not efforts:
        return drop_fields(fields, {"reasoning_effort"})
    try:
        asked = _effort_decoder.decode(raw)
    except msgspec.MsgspecError:
        return []
    ranks = [EFFORTS.index(name) for name in efforts if name in EFFORTS]
    if asked in efforts or asked not in EFFORTS or not ranks:
        return []
    wanted = EFFORTS.index(asked)
    # Of two that are as near, the greater: who names an effort wants one.
    nearest = EFFORTS[min(ranks, key=lambda rank: (abs(rank - wanted), -rank))]
    fields["reasoning_effort"] = msgspec.Raw(encode(nearest))
    return [f"reasoning_effort {asked} sent as {nearest}"]
