"""The sandbox: a deterministic fake Grok, in-process or stand-alone.

With no account the gateway answers from here, and a user tests an application with it offline, the
ways an upstream can fail included (docs/guide/sandbox.md). An account with an address of its own is
a stand-alone sandbox (`groxy sandbox`) and is reached over the network.

It speaks every dialect. A request's way: `server` finds the dialect by its path, which decodes it;
`keys` and `faults` read what should go wrong, `brain` answers with events, `plan` has the dialect
write them and makes timed steps of it, `playback` plays those. Embeddings go to `embedded` instead,
pictures and films
to `studio`, and who asks for no answer (of models, the key, its files) is told by `desk`.
"""

from groxy.core.errors import GroxyError
from groxy.core.media import ImageRequest, MediaCall, VideoRequest
from groxy.upstreams._base import (
    DIALECTS_FIELD,
    AccountField,
    BillField,
    Credentials,
    ErrorReply,
    FileList,
    KeyFacts,
    ModelFacts,
    Upstream,
    UsageRules,
    dialects_named,
    read_token_list,
    token_query,
)
from groxy.upstreams._xai_media import xai_image_call, xai_video_call
from groxy.upstreams._xai_replies import read_xai_error, read_xai_key
from groxy.upstreams.sandbox.asks import IN_PROCESS
from groxy.upstreams.sandbox.faults import Repeats
from groxy.upstreams.sandbox.keys import Keys
from groxy.upstreams.sandbox.orders import LONGEST_S
from groxy.upstreams.sandbox.server import DIALECTS
from groxy.upstreams.sandbox.studio import Studio
from groxy.upstreams.sandbox.transport import SandboxTransport
from groxy.wire.http import Transport

_FASTEST = 1e6


class SandboxUpstream(Upstream):
    """Behaves like xAI: the same errors, the same way to count, its own bill in ticks."""

    name = "sandbox"
    title = "Sandbox"
    base_url = IN_PROCESS
    dialects = DIALECTS
    serves_catalog = True
    translates_dialects = True
    accounts_rest = False  # It fails because it was asked to.
    needs_key = False
    models_path = ""
    check_path = "/api-key"
    confirms_auth = True
    key_path = "/api-key"
    files_path = "/files"
    makes = frozenset({"images", "edits", "videos"})
    usage_rules = UsageRules(bill=BillField.TICKS, reasoning_apart=True)
    account_fields = (
        AccountField(
            name="tokens_per_s",
            help="How fast it answers, in tokens per second; as fast as it can when left out.",
        ),
        DIALECTS_FIELD,
    )

    def __init__(self) -> None:
        self._repeats = Repeats()
        self._keys = Keys()
        self._studio = Studio()

    def dialects_of(self, account: Credentials) -> tuple[str, ...]:
        """Return the dialects that the account names, else all; `ValueError` for a strange one."""
        return dialects_named(account, self.dialects)

    def read_error(self, reply: ErrorReply) -> GroxyError:
        """Return what an error reply means: it fails as xAI does, and on Messages as Anthropic."""
        return read_xai_error(reply)

    def read_key(self, body: bytes) -> KeyFacts:
        """Return what the sandbox says of a key, in xAI's words."""
        return read_xai_key(body)

    def files_query(self, cursor: str) -> str:
        """Return the query for a page of files, as at xAI."""
        return token_query(cursor)

    def read_files(self, body: bytes) -> FileList:
        """Return a page of files, as at xAI."""
        return read_token_list(body)

    def image_call(self, request: ImageRequest, model_sent: str, facts: ModelFacts) -> MediaCall:
        """Return a request for pictures in xAI's form."""
        del facts
        return xai_image_call(request, model_sent)

    def video_call(self, request: VideoRequest, model_sent: str, facts: ModelFacts) -> MediaCall:
        """Return the request that begins a film in xAI's form."""
        del facts
        return xai_video_call(request, model_sent, LONGEST_S)

    def transport(self, account: Credentials) -> Transport | None:
        """Return the sandbox in this process, unless the account has an address elsewhere."""
        pace = _pace(account.options.get("tokens_per_s", ""))
        dialects = self.dialects_of(account)
        if account.base_url:
            return None
        return SandboxTransport(
            tokens_per_s=pace,
            repeats=self._repeats,
            dialects=dialects,
            keys=self._keys,
            studio=self._studio,
        )


def _pace(text: str) -> float:
    try:
        pace = float(text or 0)
    except ValueError:
        pace = -1
    if not 0 <= pace <= _FASTEST:
        raise ValueError(f"tokens_per_s must be a number of tokens per second, not {text!r}")
    return pace


UPSTREAM = SandboxUpstream()
