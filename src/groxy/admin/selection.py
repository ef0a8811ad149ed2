"""Which accounts a request means: by id, name or credential, or by a filter.

In: what a client sent. Out: accounts of the directory. Whatever goes over all accounts goes in
slices, so that 100,000 of them do not hold up anybody else. It must not change an account.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from groxy.admin.desk import Desk
from groxy.admin.token_shapes import MAX_TOKEN_CHARS, MAX_TOKENS, refused
from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.account import Account, Status
from groxy.routing.accounts import Directory

SLICE = 2_000
"""How many accounts are looked at before others have their turn."""
STORE = "store"
"""The origin of accounts that can be changed here."""
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−﹘﹣－"), "-")  # noqa: RUF001 - what editors make of a hyphen
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What accounts must be like; None and empty for anything."""

    pool: str | None = None
    status: str | None = None
    upstream: str = ""
    tag: str = ""
    origin: str = ""
    q: str = ""
    """A part of the name or of the masked credential."""

    @property
    def is_open(self) -> bool:
        """True when every account passes."""
        words = (self.upstream, self.tag, self.origin, self.q.strip())
        return self.pool is None and self.status is None and not any(words)

    def passes(self, account: Account, now: float) -> bool:
        """Whether an account is like that."""
        if self.pool is not None and account.pool.value != self.pool:
            return False
        if self.status is not None and account.status(now).value != self.status:
            return False
        if self.upstream and account.upstream.name != self.upstream:
            return False
        if (self.tag and self.tag not in account.terms.tags) or (
            self.origin and account.origin != self.origin
        ):
            return False
        part = self.q.strip().lower()
        return not part or part in account.name.lower() or part in account.hint.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A page of accounts."""

    accounts: list[Account]
    total: int
    """How many pass the filter in all."""
    has_more: bool


class Roll:
    """All accounts of a directory in the order of their ids.

    The order is kept from one question to the next: sorting what is nearly in order is cheap.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._ids: list[str] = []
        self._generation = -1

    def ids(self) -> list[str]:
        """Return every id, in order."""
        directory = self._directory
        if self._generation != directory.generation:
            self._generation = directory.generation
            there = {account.id for account in directory.accounts}
            kept = [name for name in self._ids if name in there]
            self._ids = sorted(kept + sorted(there.difference(kept)))
        return self._ids

    async def matching(self, wanted: Filter) -> list[Account]:
        """Return the accounts that pass a filter."""
        now = self._directory.now()
        found: list[Account] = []
        async for part in slices(self.ids()):
            accounts = [one for name in part if (one := self._directory.get(name)) is not None]
            found += [one for one in accounts if wanted.passes(one, now)]
        return found

    async def page(self, wanted: Filter, *, page: int, size: int, after: str = "") -> Found:
        """Return one page of those that pass a filter: a numbered one, or the one after an id."""
        accounts: Sequence[Account] | None = None
        if wanted.is_open:
            names = self.ids()
        else:
            accounts = await self.matching(wanted)
            names = [one.id for one in accounts]
        begin = bisect_right(names, after) if after else (page - 1) * size
        end = begin + size
        chosen = [one for name in names[begin:end] if (one := self._directory.get(name))]
        return Found(accounts=chosen, total=len(names), has_more=end < len(names))


async def slices(items: Sequence[T], size: int = SLICE) -> AsyncIterator[Sequence[T]]:
    """Yield `items` in slices, with a turn for others between two of them."""
    for begin in range(0, len(items), size):
        if begin:
            await asyncio.sleep(0)
        yield items[begin : begin + size]


# ----------------------------------------------------------------------------------- by their name


def normalised(text: str) -> str:
    """Return a credential as it was before somebody's editor, browser or cookie jar had it."""
    plain = "".join(text.translate(_DASHES).split())
    kept = "".join(filter(str.isprintable, plain.encode("ascii", "ignore").decode()))
    return kept.removeprefix("sso=")


def check_names(names: Collection[str], param: str = "tokens", most: int = MAX_TOKENS) -> None:
    """Raise `too_many_tokens` or `token_too_long` for more than one request may name."""
    if len(names) > most and len(set(names)) > most:
        message = f"`{param}` names more than {most} accounts. Send them in several requests."
        raise refused(message, param=param, code="too_many_tokens")
    for name in names:
        if len(name) > MAX_TOKEN_CHARS:
            message = f"A token in `{param}` is longer than {MAX_TOKEN_CHARS} characters."
            raise refused(message, param=param, code="token_too_long")


async def select(
    desk: Desk, names: Sequence[str], param: str = "tokens", most: int = MAX_TOKENS
) -> dict[str, Account]:
    """Return the accounts that ids, names or credentials mean, by what they were called.

    What means none is left out. An id is stronger than a name, a name than a credential.
    """
    check_names(names, param, most)
    found = {name: one for name in names if (one := desk.directory.get(name)) is not None}
    left = {name.strip(): name for name in names if name not in found}
    left |= {text: name for name in names if name not in found and (text := normalised(name))}
    if not left:
        return found
    by_key: dict[str, Account] = {}
    async for part in slices(desk.directory.accounts):
        for account in part:
            if account.credentials.api_key in left:
                by_key.setdefault(left[account.credentials.api_key], account)
            if account.name in left:
                found.setdefault(left[account.name], account)
    return {name: found.get(name) or by_key[name] for name in names if name in found | by_key}


async def select_one(desk: Desk, name: str, param: str = "token") -> Account:
    """Return the account that an id, a name or a credential means, or raise NOT_FOUND."""
    found = await select(desk, [name], param)
    if not found:
        message = (
            "There is no such account. Name it by its `id`, its name or its credential; "
            "GET /admin/api/tokens lists them."
        )
        raise GroxyError(ErrorKind.NOT_FOUND, message, param=param, code="account_not_found")
    return found[name]


def unique(accounts: Iterable[Account]) -> list[Account]:
    """Return accounts each once, in order."""
    return list({account.id: account for account in accounts}.values())


def require_stored(accounts: Iterable[Account], param: str = "token") -> None:
    """Raise CONFLICT for an account that is declared elsewhere: it can be changed there only."""
    for account in accounts:
        if account.origin != STORE:
            message = (
                f"The account {account.name!r} is declared elsewhere ({account.origin}) and can "
                "only be changed or removed there. Disabling, cooling and refreshing it works here."
            )
            raise GroxyError(ErrorKind.CONFLICT, message, param=param, code="declared_in_settings")


def is_manageable(account: Account, now: float) -> bool:
    """True for an account in service: active, or cooling."""
    return account.status(now) in (Status.ACTIVE, Status.COOLING)
