"""Enquiries: small questions to an upstream that serve no caller: its models, a key, its files.

In: an account and what to ask. Out: the answer, or the upstream's error. Whatever comes of it never
counts against the account here: who asked decides what it means.
"""

import asyncio

from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.account import Account
from groxy.routing.secrecy import conceal
from groxy.upstreams._base import ErrorReply, FileList, KeyFacts, RemoteFile
from groxy.wire.http import Outgoing, Reply

_TIMEOUT_S = 20.0
_MAX_ANSWER_BYTES = 32 * 1024 * 1024
_GOOD_STATUSES = frozenset({200, 204})
_MAX_FILES = 10_000


async def fetch_models(account: Account) -> frozenset[str]:
    """Return an account's model list, or raise what kept it from being fetched."""
    body = await ask(account, account.upstream.models_path)
    return account.upstream.read_models(body)


async def fetch_key(account: Account) -> KeyFacts:
    """Return what the upstream says of an account's key."""
    return account.upstream.read_key(await ask(account, account.upstream.key_path))


async def fetch_files(account: Account) -> list[RemoteFile]:
    """Return the files that an account has at its upstream, 10,000 at most."""
    upstream, cursor = account.upstream, ""
    files: list[RemoteFile] = []
    while len(files) < _MAX_FILES:
        body = await ask(account, upstream.files_path + upstream.files_query(cursor))
        page: FileList = upstream.read_files(body)
        files += page.files
        if not page.next or page.next == cursor:
            break
        cursor = page.next
    return files


async def delete_file(account: Account, file_id: str) -> None:
    """Delete one file of an account at its upstream."""
    await ask(account, account.upstream.file_path(file_id), method="DELETE")


async def ask(account: Account, path: str, *, method: str = "GET") -> bytes:
    """Ask for `path` below an account's address; return the body or raise the upstream's error."""
    upstream = account.upstream
    outgoing = Outgoing(
        url=upstream.address(account.credentials) + path, headers=account.headers, method=method
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
    body = await reply.read(_MAX_ANSWER_BYTES)
    if reply.status not in _GOOD_STATUSES:
        error = ErrorReply(status=reply.status, body=body, headers=reply.headers)
        raise conceal(account, account.upstream.read_error(error))
    return body


async def ask_for_credential(account: Account) -> ErrorKind | None:
    """Ask whether a credential works; return what is wrong with it, None when it is good.

    Raises the error of an upstream that did not say. One whose answer proves nothing
    (`Upstream.confirms_auth`) may call good what is not.
    """
    upstream = account.upstream
    try:
        body = await ask(account, upstream.check_path)
    except GroxyError as error:
        if error.kind in (ErrorKind.UPSTREAM_AUTH, ErrorKind.UPSTREAM_QUOTA):
            return error.kind
        raise
    # xAI answers 200 for a key that is blocked, and says so in the body.
    return upstream.read_key(body).standing if upstream.check_path == upstream.key_path else None


async def check(account: Account) -> str:
    """Check an account with a cheap authenticated call; return `ok` or what is wrong."""
    try:
        wrong = await ask_for_credential(account)
    except GroxyError as error:
        return f"{error.kind.value}: {error.detail or error.message}"
    return "ok" if wrong is None else f"{wrong.value}: the upstream says so of the key"
