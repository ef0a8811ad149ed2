"""GET /v1/receipts/{request_id}: the signed receipt of a request, for who owns it.

In: a key or a session, and the id of a request or of its reply. Out: a document of
`ledger.receipts`. GET /v1/receipts/key is the public key, for everybody.
"""

import re

from groxy.api.owners import Registry
from groxy.api.replies import respond_unstored
from groxy.api.text import identify
from groxy.core.errors import ErrorKind, GroxyError
from groxy.ledger.receipts import Signer, receipt_of
from groxy.policy.sessions import presented_session
from groxy.store.entries import RequestEntry, request_of
from groxy.store.keys import find_key
from groxy.store.retention import oldest_request_id
from groxy.wire.asgi import Receive, Scope, Send, respond
from groxy.wire.json import encode

_MADE_HERE = ("resp_", "msg_", "cmpl-", "chatcmpl-")
"""Ids that the gateway makes of a request's id."""
_REQUEST_ID = re.compile(r"req_[0-9a-f]{27}", re.ASCII)
_MAX_ID_CHARS = 128


class Receipts:
    """Tells of requests, signed."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._signer = Signer(registry.secret.receipt_seed())

    async def one(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/receipts/{request_id}."""
        del receive
        registry = self._registry
        user_id = key_id = ""
        if presented_session(scope, registry.app_url()) is not None:
            user_id = (await registry.session(scope)).user.id
        else:
            caller = identify(registry.keyring, scope)
            user_id, key_id = caller.user_id, caller.key_id
        asked = request_id_of(scope["path_params"]["request_id"][:_MAX_ID_CHARS])
        found = await request_of(registry.database, asked)
        if found is None or not _is_owner(found[0], user_id, key_id):
            raise await self._missing(asked)
        receipt = receipt_of(
            *found, gateway=registry.app_url(), key_hint=await self._hint(found[0].key_id)
        )
        await respond_unstored(send, encode(self._signer.sign(receipt)))

    async def key(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/receipts/key, for everybody."""
        del scope, receive
        await respond(send, 200, encode(self._signer.public))

    async def _hint(self, key_id: str) -> str:
        """Return how a key looks, masked; nothing for one that only settings have."""
        try:
            return (await find_key(self._registry.database, key_id)).hint
        except GroxyError as error:
            if error.kind is not ErrorKind.NOT_FOUND:
                raise
            return ""

    async def _missing(self, asked: str) -> GroxyError:
        """Return the error for a request that is not there, or is somebody else's.

        An id has its time in it, so whether it would have been deleted is known of any.
        """
        if _REQUEST_ID.fullmatch(asked):
            oldest = await oldest_request_id(self._registry.database)
            if oldest is not None and asked < oldest:
                message = (
                    "There is no receipt any more: requests of that time were deleted, as the "
                    "operator keeps them for a while only."
                )
                return GroxyError(
                    ErrorKind.NOT_FOUND, message, param="request_id", code="receipt_pruned"
                )
        message = "There is no such request of yours. Send a reply's `x-request-id`."
        return GroxyError(
            ErrorKind.NOT_FOUND, message, param="request_id", code="receipt_not_found"
        )


def request_id_of(asked: str) -> str:
    """Return the request's id that an id made here stands for."""
    prefix = next((prefix for prefix in _MADE_HERE if asked.startswith(prefix)), None)
    return asked if prefix is None else "req_" + asked.removeprefix(prefix)


def _is_owner(request: RequestEntry, user_id: str, key_id: str) -> bool:
    return (bool(user_id) and request.user_id == user_id) or (
        bool(key_id) and request.key_id == key_id
    )
