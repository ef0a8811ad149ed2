"""What an upstream is: address, credentials, quirks, error table, bill, model list.

`Upstream` itself behaves like a plain OpenAI-compatible server; a file of this package subclasses
it and overrides only what differs there. An upstream does no I/O and knows no other upstream: it
is asked for values, and the gateway acts on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.media import (
    FilmState,
    FilmStatus,
    ImageRequest,
    MadeImages,
    MediaCall,
    VideoRequest,
)
from groxy.dialects._base import BillField, UsageRules
from groxy.upstreams._errors import (
    ErrorReply,
    ErrorWords,
    error_by_status,
    error_of,
    kind_by_status,
    retry_after_s,
    safe_message,
    words_of,
)
from groxy.upstreams._files import (
    FileList,
    RemoteFile,
    list_query,
    path_of_file,
    read_file_list,
    read_token_list,
    token_query,
)
from groxy.upstreams._keys import KeyFacts
from groxy.upstreams._limits import (
    ANTHROPIC_RATES,
    OPENAI_RATES,
    PLAIN_RATES,
    RateFacts,
    RateStyle,
    RateWindow,
    read_rate_headers,
)
from groxy.upstreams._pictures import image_call, read_images
from groxy.upstreams._videos import (
    cancel_call,
    read_film,
    read_video_id,
    state_call,
    video_call,
)
from groxy.wire.http import Transport
from groxy.wire.json import Fields, decode_any, encode

__all__ = [
    "ANTHROPIC_RATES",
    "DIALECTS_FIELD",
    "EFFORTS",
    "KNOWN_DIALECTS",
    "OPENAI_RATES",
    "PLAIN_RATES",
    "AccountField",
    "BillField",
    "Credentials",
    "ErrorReply",
    "ErrorWords",
    "FileList",
    "KeyFacts",
    "ModelFacts",
    "RateFacts",
    "RateStyle",
    "RateWindow",
    "RemoteFile",
    "ReplyFacts",
    "Upstream",
    "UsageRules",
    "dialects_named",
    "drop_fields",
    "drop_rejected",
    "error_by_status",
    "error_of",
    "fit_effort",
    "kind_by_status",
    "read_token_list",
    "retry_after_s",
    "safe_message",
    "token_query",
    "words_of",
]


_GONE = (404, 410)
_ACCEPTED = 202
"""The status of a film that is being made, whatever the body says (docs.x.ai, 2026)."""
_FIRST_ERROR = 400
_FORGOTTEN = "The upstream no longer knows this film. Ask for it again."


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
    may_train: bool = False
    """True when what it does with prompts is not known."""
    follows_preferences: bool = False
    """True when it acts on OpenRouter's `provider` itself."""
    account_fields: tuple[AccountField, ...] = ()
    needs_key: bool = True
    usage_rules: UsageRules = UsageRules()
    models_path: str = "/models"
    """Where its model list is; empty when it has none."""
    tokenize_path: str = ""
    """Where it tells the tokens of a text; empty when it does not."""
    check_path: str = "/models"
    """A cheap authenticated call that shows whether a credential works."""
    confirms_auth: bool = False
    """True when a good reply of `check_path` proves that the credential works.

    Many servers show their model list to anybody, so there only a refusal proves anything.
    """
    key_path: str = ""
    """Where it tells of the key itself (`read_key`); empty when it does not."""
    key_prefixes: tuple[str, ...] = ()
    """What its keys begin with, where nobody else's do."""
    files_path: str = ""
    """Where the files of an account are listed; empty when it keeps none. See `file_path`."""
    rate_styles: tuple[RateStyle, ...] = (OPENAI_RATES,)
    """What it calls the headers that tell of rate limits."""
    makes: frozenset[str] = frozenset()
    """What it makes besides text, of `images`, `edits` and `videos`.

    Routing asks by the dialects `images` and `videos`; edits travel as images.
    """
    media_hosts: tuple[str, ...] = ()
    """Hosts where the pictures and films lie that it names by URL, besides its own address.

    They are fetched there without credentials. Each is a whole host name.
    """

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

    def dialects_of(self, account: Credentials) -> tuple[str, ...]:
        """Return the dialects in which it may be asked for this account, best first."""
        del account
        return self.dialects

    def prepare(self, fields: Fields, facts: ModelFacts, dialect: str = "chat") -> list[str]:
        """Change a request in `dialect` to what the upstream takes; say what was changed.

        Each word goes into the reply's `x-groxy-adjusted` header, such as `stop dropped`. Raises
        UNSUPPORTED when the upstream cannot do what was asked and leaving it out would be a lie.
        """
        del fields, facts, dialect
        return []

    def fetches_urls(self, account: Credentials) -> bool:
        """True when it fetches the pictures and files that a request names by URL."""
        del account
        return True

    def keep_together(self, fields: Fields, conversation: str, dialect: str) -> dict[str, str]:
        """Mark a request as a turn of `conversation`, so that its prompt is found in the cache.

        Changes `fields` or returns headers. `conversation` is opaque and never empty.
        """
        del fields, conversation, dialect
        return {}

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

    def read_key(self, body: bytes) -> KeyFacts:
        """Return what the upstream says of a key at `key_path`; raise BAD_REPLY for nonsense."""
        del body
        return KeyFacts()

    def read_limits(self, headers: Mapping[str, str]) -> RateFacts | None:
        """Return the rate limits that a reply tells, good or bad; None when it tells of none."""
        return read_rate_headers(headers, self.rate_styles)

    def files_query(self, cursor: str) -> str:
        """Return the query, with its `?`, for the page of files at `cursor`; empty: the first."""
        return list_query(cursor)

    def read_files(self, body: bytes) -> FileList:
        """Return a page of an account's files; raise BAD_REPLY for anything else."""
        return read_file_list(body)

    def file_path(self, file_id: str) -> str:
        """Return the path where a file is deleted; raise NOT_FOUND for what can be no id."""
        return path_of_file(self.files_path, file_id)

    def image_call(self, request: ImageRequest, model_sent: str, facts: ModelFacts) -> MediaCall:
        """Return the request that makes or edits pictures; raise UNSUPPORTED for what it cannot."""
        del facts
        return image_call(request, model_sent)

    def read_images(self, body: bytes) -> MadeImages:
        """Return the pictures of a good reply; raise BAD_REPLY for anything else.

        A picture that is refused is among them, with its reason.
        """
        made = read_images(body, self.usage_rules)
        if made is None:
            raise self.read_error(ErrorReply(status=200, body=body))
        return made

    def video_call(self, request: VideoRequest, model_sent: str, facts: ModelFacts) -> MediaCall:
        """Return the request that begins a film; raise UNSUPPORTED for what it cannot."""
        del facts
        return video_call(request, model_sent)

    def read_video_id(self, body: bytes) -> str:
        """Return the upstream's id of a film that was begun; raise BAD_REPLY for anything else."""
        found = read_video_id(body)
        if found is None:
            raise self.read_error(ErrorReply(status=200, body=body))
        return found

    def video_state_call(self, upstream_id: str) -> MediaCall:
        """Return the request (GET) that asks how far a film is."""
        return state_call(upstream_id)

    def read_video(self, status: int, body: bytes) -> FilmState:
        """Return how far a film is, from the reply to `video_state_call` whatever its status.

        A film that the upstream no longer knows (404, 410) has failed. Other errors say nothing of
        the film and are raised, as is BAD_REPLY: asking again may help.
        """
        if status in _GONE:
            return FilmState(status=FilmStatus.FAILED, error=_FORGOTTEN)
        if status >= _FIRST_ERROR:
            raise self.read_error(ErrorReply(status=status, body=body))
        state = read_film(body, self.usage_rules)
        if state is None and status == _ACCEPTED:
            return FilmState(status=FilmStatus.PENDING)
        if state is None:
            raise self.read_error(ErrorReply(status=status, body=body))
        return state

    def video_cancel_call(self, upstream_id: str) -> MediaCall | None:
        """Return the request that ends a film and removes it; None where there is none."""
        return cancel_call(upstream_id)

    def result_headers(self, account: Credentials) -> dict[str, str]:
        """Return the headers to fetch a result with at the account's own address, nowhere else."""
        return self.headers(account)

    def transport(self, account: Credentials) -> Transport | None:
        """Return how to reach it when that is not the network."""
        del account
        return None


DIALECTS_FIELD = AccountField(
    name="dialects",
    help=(
        "The dialects it speaks, with commas between: chat, responses, messages, completions, "
        "embeddings, images, videos."
    ),
)
"""For upstreams whose accounts may differ in that."""
KNOWN_DIALECTS = (
    "chat",
    "responses",
    "messages",
    "completions",
    "embeddings",
    "images",
    "videos",
)


def dialects_named(account: Credentials, usual: tuple[str, ...]) -> tuple[str, ...]:
    """Return what an account says in `DIALECTS_FIELD`, else `usual`; `ValueError` when it errs."""
    named = account.options.get(DIALECTS_FIELD.name, "")
    spoken = tuple(name.strip() for name in named.split(",") if name.strip())
    for name in spoken:
        if name not in KNOWN_DIALECTS:
            raise ValueError(f"dialects must be of {', '.join(KNOWN_DIALECTS)}, not {name!r}")
    return spoken or usual


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
