"""What xAI's errors, model lists and keys mean, also where another passes them on unchanged.

In: an error reply, a list or a key, as it came. Out: a `GroxyError`, ids, or `KeyFacts`. xAI's
`code` is a sentence or a slug of its gRPC framework and says less than the text beside it, so
credits, wrong keys and absent models are known by the text. Sources stand beside the patterns.
"""

import re

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.upstreams._base import (
    ErrorReply,
    ErrorWords,
    KeyFacts,
    error_of,
    kind_by_status,
    safe_message,
    words_of,
)
from groxy.wire.json import UNREADABLE

_STATUS_OF_CODE = {
    # slug: (sentence, status). Sentences: hyperium/tonic, tonic/src/status.rs. xAI sends either
    # (nocmt/LLMSearchPlus#2, 2025-02; router-for-me/CLIProxyAPI#4233, 2026-07).
    "invalid-argument": ("client specified an invalid argument", 400),
    "failed-precondition": (
        "the system is not in a state required for the operation's execution",
        400,
    ),
    "out-of-range": ("operation was attempted past the valid range", 400),
    "unauthenticated": ("the request does not have valid authentication credentials", 401),
    "permission-denied": (
        "the caller does not have permission to execute the specified operation",
        403,
    ),
    "not-found": ("some requested entity was not found", 404),
    "resource-exhausted": ("some resource has been exhausted", 429),
    "internal": ("internal error", 500),
    "unknown": ("unknown error", 500),
    "data-loss": ("unrecoverable data loss or corruption", 500),
    "unimplemented": ("operation is not implemented or not supported", 501),
    "unavailable": ("the service is currently unavailable", 503),
    "cancelled": ("the operation was cancelled", 503),
    "aborted": ("the operation was aborted", 503),
    "deadline-exceeded": ("deadline expired before operation could complete", 504),
}
_STATUS_OF_TEXT = dict(_STATUS_OF_CODE.values()) | {
    slug: status for slug, (_, status) in _STATUS_OF_CODE.items()
}

_QUOTA = re.compile(
    # 403 and 429 alike (continuedev/continue#10373, #10740, #12670, Wei-Shaw/sub2api#4069, 2026)
    r"used all available credits|monthly spending limit|run out of credits"
    r"|doesn't have any credits|spending-limit",
    re.IGNORECASE,
)
# A wrong key is a 400 (continuedev/continue#10778, openai/codex#1352).
_WRONG_KEY = re.compile(r"(incorrect|invalid) api key", re.IGNORECASE)
_ABSENT = re.compile(
    # 400 `Model not found: grok-beta` (ryanfrigo/kalshi-ai-trading-bot#26, 2026-03)
    r"model not found|model \S+ does not exist"
    # 403 (braytonstafford/grok_conversation#9, 2025-04): another account's key may be allowed
    r"|cannot be used to make requests against \S+ because it lacks",
    re.IGNORECASE,
)
# 404 for a path: the address is wrong, not the model (iniwap/AIWriteX#26, 2025-07).
_WRONG_PATH = re.compile(r"no handler found", re.IGNORECASE)
_PARAMETER = re.compile(
    # `Model grok-4.6 does not support parameter presencePenalty.` (NativeTavern#83, 2026-09);
    # `Argument not supported on this model: stop` (n8n-io/n8n#14581, 2025-04)
    r"(?:not support parameter|argument not supported[^:]*:)\W*(\w{1,40})",
    re.IGNORECASE,
)
# 422 (router-for-me/CLIProxyAPI#3704, 2026): the reading framework's words and positions.
_UNREAD = re.compile(r"failed to deserialize the json body into the target type: ", re.IGNORECASE)
_FIELD = re.compile(r"([a-z_]\w*(?:\[\d+\]|\.\w+){0,9}): ", re.IGNORECASE)
_POSITION = re.compile(r" at line \d+ column \d+")
_MISSING = re.compile(r"missing field `(\w{1,40})`")
_ORPHAN = re.compile(r"a tool_choice was set", re.IGNORECASE)
_LIVE_SEARCH = re.compile(r"live search", re.IGNORECASE)
# `Content violates usage guidelines. Team: …, API key ID: …, Model: …, Failed check: …`
# (UKGovernmentBEIS/inspect_ai#2267, 2025-08)
_ACCOUNT = re.compile(r"\s*\b(team|api key id): [^,]*,?", re.IGNORECASE)


class _Record(msgspec.Struct):
    id: str
    aliases: list[str] = []


class _Records(msgspec.Struct):
    data: list[_Record] | None = None
    models: list[_Record] | None = None


_list_decoder = msgspec.json.Decoder(_Records)


def read_xai_error(reply: ErrorReply) -> GroxyError:
    """Return what an error means that xAI made."""
    words = words_of(reply.body)
    kind = _kind_of(reply.status, words)
    if kind is ErrorKind.REFUSED:
        return error_of(kind, reply, message=safe_message(_ACCOUNT.sub("", words.message)))
    if kind is ErrorKind.UNSUPPORTED and _LIVE_SEARCH.search(words.message):
        message = "Live search has ended at the official API. Leave `search_parameters` out."
        return error_of(kind, reply, message=message, param="search_parameters")
    if kind is ErrorKind.BAD_REQUEST:
        text = _POSITION.sub("", _UNREAD.sub("The request could not be read: ", words.message))
        return error_of(kind, reply, message=safe_message(text), param=_param_of(words.message))
    return error_of(kind, reply)


def _kind_of(status: int, words: ErrorWords) -> ErrorKind:
    text = words.message
    if _QUOTA.search(text) or _QUOTA.search(words.code):
        return ErrorKind.UPSTREAM_QUOTA
    if _WRONG_KEY.search(text):
        return ErrorKind.UPSTREAM_AUTH
    if _ABSENT.search(text):
        return ErrorKind.MODEL_ABSENT
    if _WRONG_PATH.search(text):
        return ErrorKind.BAD_REPLY
    if status < 400:  # an error inside a 200
        status = words.status or _STATUS_OF_TEXT.get(words.code.lower(), status)
    return kind_by_status(status, words)


def _param_of(text: str) -> str | None:
    """Return the request field that an error of xAI names, as a dotted path."""
    if _ORPHAN.search(text):
        return "tool_choice"
    named = _PARAMETER.search(text)
    if named:
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", named.group(1)).lower()
    unread = _UNREAD.search(text)
    if unread is None:
        return None
    field = _FIELD.match(text, unread.end())
    path = field.group(1).replace("[", ".").replace("]", "") if field else ""
    missing = _MISSING.search(text, unread.end())
    if missing:
        path = f"{path}.{missing.group(1)}".lstrip(".")
    return path or None


def read_xai_models(body: bytes) -> frozenset[str]:
    """Return the ids and aliases of xAI's model list; raise BAD_REPLY for anything else.

    `aliases` are there since June 2026; /v1/language-models calls the list `models`.
    """
    try:
        listed = _list_decoder.decode(body)
    except UNREADABLE:
        listed = _Records()
    records = listed.data if listed.data is not None else listed.models
    if records is None:
        message = "The upstream's model list could not be read."
        raise GroxyError(ErrorKind.BAD_REPLY, message)
    return frozenset(name for record in records for name in (record.id, *record.aliases))


_MODEL_ACL = "api-key:model:"


class _Key(msgspec.Struct):
    """GET /v1/api-key (xAI's OpenAPI document, 2026-08). What is not read here may be anything."""

    acls: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    team_blocked: bool | msgspec.UnsetType | None = msgspec.UNSET
    api_key_blocked: bool | msgspec.UnsetType | None = msgspec.UNSET
    api_key_disabled: bool | msgspec.UnsetType | None = msgspec.UNSET


_key_decoder = msgspec.json.Decoder(_Key)
_BLOCKS = {
    "team_blocked": "the team is blocked",
    "api_key_blocked": "the key is blocked",
    "api_key_disabled": "the key is disabled",
}


def read_xai_key(body: bytes) -> KeyFacts:
    """Return what xAI says of a key; raise BAD_REPLY for anything else.

    It tells of no credit: a team without any has a key in good order.
    """
    try:
        key = _key_decoder.decode(body)
    except UNREADABLE:
        key = _Key()
    if all(getattr(key, name) is msgspec.UNSET for name in key.__struct_fields__):
        message = "What the upstream says of the key could not be read."
        raise GroxyError(ErrorKind.BAD_REPLY, message)
    blocks = [why for name, why in _BLOCKS.items() if getattr(key, name) is True]
    acls = key.acls or ()
    models = frozenset(
        acl.removeprefix(_MODEL_ACL) for acl in acls if acl.startswith(_MODEL_ACL)
    ) - {""}
    notes = blocks
    if not blocks and key.acls is not msgspec.UNSET and not models:
        # docs.x.ai, management API, 2026: a key without ACLs can do nothing.
        notes = ["its ACLs name no model"]
    return KeyFacts(
        standing=ErrorKind.UPSTREAM_AUTH if blocks else None,
        note=", ".join(notes),
        models=None if "*" in models or not models else models,
    )
