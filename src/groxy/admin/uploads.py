"""Files that accounts have at their upstreams: listed and deleted, one account or many.

In: accounts. Out: their files, or in words what kept them from being listed. It asks through
`routing.enquiries`, so nothing that happens here counts against an account.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.account import Account
from groxy.routing.enquiries import delete_file, fetch_files
from groxy.upstreams._base import RemoteFile

NO_FILES = "no files at this upstream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The files of an account."""

    account: Account
    files: Sequence[RemoteFile] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Emptied:
    """How many files of an account are gone, and what kept the others from it."""

    count: int = 0
    error: str = ""


async def list_files(accounts: Sequence[Account], at_once: int) -> list[Listed]:
    """Return the files of accounts, in their order."""
    slots = asyncio.Semaphore(at_once)

    async def one(account: Account) -> Listed:
        async with slots:
            return await _listed(account)

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(one(account)) for account in accounts]
    return [task.result() for task in asked]


async def delete_files(
    account: Account, is_cancelled: Callable[[], bool] = lambda: False
) -> Emptied:
    """Delete all files of an account, one after the other; stop at the first that fails."""
    if not account.upstream.files_path:
        return Emptied()
    count = 0
    try:
        for file in await fetch_files(account):
            if is_cancelled():
                break
            if await _is_deleted(account, file.id):
                count += 1
    except GroxyError as error:
        return Emptied(count=count, error=words_of(account, error))
    return Emptied(count=count)


async def _is_deleted(account: Account, file_id: str) -> bool:
    """Delete a file; return False when somebody else was faster."""
    try:
        await delete_file(account, file_id)
    except GroxyError as error:
        if error.kind in (ErrorKind.NOT_FOUND, ErrorKind.MODEL_ABSENT):
            return False
        raise
    return True


async def _listed(account: Account) -> Listed:
    if not account.upstream.files_path:
        return Listed(account=account, error=NO_FILES)
    try:
        return Listed(account=account, files=await fetch_files(account))
    except GroxyError as error:
        return Listed(account=account, error=words_of(account, error))


def words_of(account: Account, error: GroxyError) -> str:
    """Return what went wrong at an account's upstream, in words for the operator."""
    words = f"{error.kind.value}: {error.detail or error.message}"
    key = account.credentials.api_key
    return words.replace(key, account.hint or "***") if key else words
