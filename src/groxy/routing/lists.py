"""Upstreams' own model lists: fetched when accounts come, and again from time to time.

A list that cannot be fetched leaves what was known before, and never counts against the account.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from groxy.core.errors import ErrorKind, GroxyError
from groxy.observe.logs import get_logger
from groxy.routing.accounts import Account, Directory
from groxy.upstreams._base import ErrorReply
from groxy.wire.http import Outgoing, Reply

_TIMEOUT_S = 20.0
_MAX_LIST_BYTES = 32 * 1024 * 1024
_AT_ONCE = 8
_OK_STATUS = 200


class ListKeeper:
    """Keeps `Account.models` up to date."""

    def __init__(self, directory: Directory, *, every_s: float) -> None:
        self._directory = directory
        self._every_s = every_s
        self._look = asyncio.Event()
        self._log = get_logger("routing")

    def look_now(self) -> None:
        """Fetch the lists soon, outside the schedule."""
        self._look.set()

    async def run(self) -> None:
        """Fetch lists for ever; with an interval of 0 only when asked to."""
        while True:
            # Before looking: an account that comes meanwhile must not wait for the next time.
            self._look.clear()
            await self.refresh(self._directory.accounts)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s or None):
                    await self._look.wait()

    async def refresh(self, accounts: Sequence[Account]) -> None:
        """Fetch the lists of `accounts`, a few at once."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(account: Account) -> None:
            async with slots:
                try:
                    models = await fetch_models(account)
                    # An empty list is a hiccup; believing it would make every model unknown.
                    self._directory.set_models(account, models or account.models)
                except GroxyError as error:
                    self._log.info(
                        "model list not fetched", account=account.id, detail=error.detail
                    )

        async with asyncio.TaskGroup() as tasks:
            for account in accounts:
                if account.upstream.models_path:
                    tasks.create_task(one(account))


async def fetch_models(account: Account) -> frozenset[str]:
    """Return an account's model list, or raise what kept it from being fetched."""
    body = await ask(account, account.upstream.models_path)
    return account.upstream.read_models(body)


async def ask(account: Account, path: str) -> bytes:
    """GET `path` below an account's address; return the body or raise the upstream's error."""
    upstream = account.upstream
    outgoing = Outgoing(
        url=upstream.address(account.credentials) + path, headers=account.headers, method="GET"
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reply = await account.transport.send(outgoing)
            try:
                return await _read(reply, account)
            finally:
                reply.close()
    except TimeoutError:
        message = "The upstream took too long to answer."
        raise GroxyError(ErrorKind.UPSTREAM_TIMEOUT, message) from None


async def _read(reply: Reply, account: Account) -> bytes:
    body = await reply.read(_MAX_LIST_BYTES)
    if reply.status != _OK_STATUS:
        error = ErrorReply(status=reply.status, body=body, headers=reply.headers)
        raise account.upstream.read_error(error)
    return body


async def check(account: Account) -> str:
    """Check an account with a cheap authenticated call; return `ok` or what is wrong."""
    try:
        await ask(account, account.upstream.check_path)
    except GroxyError as error:
        return f"{error.kind.value}: {error.detail or error.message}"
    finally:
        await account.transport.close()
    return "ok"
