"""xAI, the maker of Grok: api.x.ai.

Facts as of August to October 2026; docs/upstreams/xai.md lists them. The quirks of its requests
and errors are in `_xai_request` and `_xai_replies`, because other upstreams pass them on.
"""

from groxy.core.errors import GroxyError
from groxy.core.media import ImageRequest, MediaCall, VideoRequest
from groxy.upstreams._base import (
    BillField,
    ErrorReply,
    FileList,
    KeyFacts,
    ModelFacts,
    Upstream,
    UsageRules,
    read_token_list,
    token_query,
)
from groxy.upstreams._xai_media import (
    XAI_MEDIA_HOSTS,
    xai_extension_call,
    xai_image_call,
    xai_video_call,
)
from groxy.upstreams._xai_replies import read_xai_error, read_xai_key, read_xai_models
from groxy.upstreams._xai_request import prepare_for_xai, stay_together
from groxy.wire.json import Fields


class Xai(Upstream):
    """The official API."""

    name = "xai"
    title = "xAI"
    base_url = "https://api.x.ai/v1"
    # Not its /v1/messages, which it calls fully deprecated (docs.x.ai/developers/api-reference).
    dialects = ("chat", "responses", "completions", "embeddings", "images", "videos")
    serves_catalog = True
    # `cost_in_usd_ticks` is the exact bill (docs.x.ai/developers/cost-tracking, 2026);
    # `completion_tokens` leaves reasoning out (xAI's OpenAPI document, 2026-08).
    usage_rules = UsageRules(bill=BillField.TICKS, reasoning_apart=True)
    tokenize_path = "/tokenize-text"
    # Tells of the key alone and costs nothing (xAI's OpenAPI document, 2026-08).
    check_path = "/api-key"
    confirms_auth = True
    key_path = "/api-key"
    key_prefixes = ("xai-",)
    # GET /v1/files, DELETE /v1/files/{id} (xAI's OpenAPI document, 2026-08).
    files_path = "/files"
    makes = frozenset({"images", "edits", "videos"})
    media_hosts = XAI_MEDIA_HOSTS

    def prepare(self, fields: Fields, facts: ModelFacts, dialect: str = "chat") -> list[str]:
        """Take out or refuse what xAI answers with an error."""
        return prepare_for_xai(fields, facts, dialect)

    def keep_together(self, fields: Fields, conversation: str, dialect: str) -> dict[str, str]:
        """Send each turn of a conversation to the server that has its prompt in the cache."""
        return stay_together(fields, conversation, dialect)

    def read_error(self, reply: ErrorReply) -> GroxyError:
        """Return what an error means: a wrong key is a 400 here, no credits a 403 or 429."""
        return read_xai_error(reply)

    def read_models(self, body: bytes) -> frozenset[str]:
        """Return ids and aliases: both work as `model`."""
        return read_xai_models(body)

    def read_key(self, body: bytes) -> KeyFacts:
        """Return whether the key or its team is blocked, and the models that it may use."""
        return read_xai_key(body)

    def files_query(self, cursor: str) -> str:
        """Return the query for a page of files: xAI calls the cursor `pagination_token`."""
        return token_query(cursor)

    def read_files(self, body: bytes) -> FileList:
        """Return a page of files; xAI gives a token for the next one even when there is none."""
        return read_token_list(body)

    def image_call(self, request: ImageRequest, model_sent: str, facts: ModelFacts) -> MediaCall:
        """Return a request for pictures in xAI's form: JSON, with a shape and a resolution."""
        del facts
        return xai_image_call(request, model_sent)

    def video_call(self, request: VideoRequest, model_sent: str, facts: ModelFacts) -> MediaCall:
        """Return the request that begins a film in xAI's form."""
        del facts
        return xai_video_call(request, model_sent)

    def video_extension_call(self, request: VideoRequest, url: str, model_sent: str) -> MediaCall:
        """Return the request that makes a film longer, as `gateway.film_parts.Extends` has it."""
        return xai_extension_call(request, url, model_sent)

    def video_cancel_call(self, upstream_id: str) -> MediaCall | None:
        """Return None: xAI has no way to end a film (its OpenAPI document, 2026-08)."""
        del upstream_id
        return None


UPSTREAM = Xai()
