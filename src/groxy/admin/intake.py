"""Taking accounts in: many drafts at once, into the store and into force.

In: drafts, each with its place in the request. Out: which were added, which were there already, and
which cannot be. It must not read what clients send.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from groxy.admin.desk import Desk
from groxy.admin.selection import STORE, slices
from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.account import Account
from groxy.store.accounts import AccountDraft, Added, StoredAccount, add_accounts

NAME_TAKEN = "account_name_taken"
_AT_A_TIME = 100
"""Accounts in one transaction: others write in between."""

Identity = tuple[str, str, str, tuple[tuple[str, str], ...], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A draft, and where in the request it stood."""

    place: int
    draft: AccountDraft


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """A draft whose account was there already."""

    place: int
    account_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A draft that cannot be an account."""

    place: int
    field: str
    message: str
    code: str = ""


@dataclass(slots=True, kw_only=True)
class Intake:
    """What became of drafts so far."""

    added: list[StoredAccount] = field(default_factory=list)
    twins: list[Twin] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def identity_of(
    upstream: str, base_url: str, api_key: str, options: Sequence[tuple[str, str]], name: str
) -> Identity:
    """Return what is the same for the same credential at the same place."""
    own = tuple(sorted(options))
    return upstream, base_url, api_key, own, "" if api_key else name


def identity_of_draft(draft: AccountDraft) -> Identity:
    """Return the identity of the account that a draft will be."""
    options = list(draft.options.items())
    return identity_of(draft.upstream, draft.base_url, draft.api_key, options, draft.name)


def identity_of_account(account: Account) -> Identity:
    """Return the identity of an account."""
    own = account.credentials
    options = list(own.options.items())
    return identity_of(account.upstream.name, own.base_url, own.api_key, options, account.name)


async def twins_of(desk: Desk, placed: Sequence[Placed]) -> dict[Identity, Account]:
    """Return those accounts of the directory that some of the drafts would be again."""
    keys = {one.draft.api_key for one in placed}
    found: dict[Identity, Account] = {}
    async for part in slices(desk.directory.accounts):
        for account in part:
            if account.credentials.api_key in keys:
                found.setdefault(identity_of_account(account), account)
    return found


async def sift(
    desk: Desk, placed: Sequence[Placed], intake: Intake, *, is_dry: bool = False
) -> list[Placed]:
    """Return the drafts that may be added, and note the others in `intake`.

    The store knows best what it has, so only what is declared elsewhere is looked up here; a dry
    run, which asks no store, looks everything up.
    """
    twins = await twins_of(desk, placed)
    names = await _owners_of_names(desk, placed)
    good: list[Placed] = []
    async for part in slices(placed):
        for one in part:
            identity = identity_of_draft(one.draft)
            twin, owner = twins.get(identity), names.get(one.draft.name)
            if twin is not None and (is_dry or twin.origin != STORE):
                intake.twins.append(Twin(place=one.place, account_id=twin.id, name=twin.name))
            elif owner is not None and twin is None:
                intake.faults.append(_name_taken(one))
            else:
                good.append(one)
    return _first_of_each(good, intake) if is_dry else good


async def add(
    desk: Desk,
    placed: Sequence[Placed],
    intake: Intake,
    on_each: Callable[[int], Awaitable[None]] | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Add drafts a few hundred at a time, and put in force what was added, whatever happens.

    `on_each` is told how many were dealt with. What another process did meanwhile may make single
    drafts fail; they are noted, and the others are added.
    """
    loop = asyncio.get_running_loop()
    try:
        for begin in range(0, len(placed), _AT_A_TIME):
            if is_cancelled():
                return
            part = placed[begin : begin + _AT_A_TIME]
            began = loop.time()
            await _add(desk, part, intake)
            if begin + _AT_A_TIME < len(placed):
                await desk.give_way(loop.time() - began)
            if on_each is not None:
                await on_each(len(part))
    finally:
        if intake.added:
            await desk.reload()
            desk.refresher.look_now()


async def add_all(desk: Desk, placed: Sequence[Placed], intake: Intake) -> None:
    """Add drafts, all or none, and put them in force. Raises CONFLICT for a name that is taken."""
    _note(await add_accounts(desk.database, desk.secret, _drafts(placed)), placed, intake)
    if intake.added:
        await desk.reload()
        desk.refresher.look_now()


async def _add(desk: Desk, part: Sequence[Placed], intake: Intake) -> None:
    try:
        _note(await add_accounts(desk.database, desk.secret, _drafts(part)), part, intake)
    except GroxyError as error:
        if error.kind is not ErrorKind.CONFLICT:
            raise
        if len(part) == 1:
            intake.faults.append(_name_taken(part[0]))
            return
        # One name among many is taken: whose it is comes out by halves.
        middle = len(part) // 2
        await _add(desk, part[:middle], intake)
        await _add(desk, part[middle:], intake)


def _drafts(placed: Sequence[Placed]) -> list[AccountDraft]:
    return [one.draft for one in placed]


def _note(added: Added, placed: Sequence[Placed], intake: Intake) -> None:
    intake.added += added.accounts
    intake.twins += [
        Twin(place=placed[one.index].place, account_id=one.account_id, name=one.name)
        for one in added.duplicates
    ]


def _name_taken(one: Placed) -> Fault:
    message = f"There is an account named {one.draft.name!r} already. Choose another name."
    return Fault(place=one.place, field="name", message=message, code=NAME_TAKEN)


async def _owners_of_names(desk: Desk, placed: Sequence[Placed]) -> dict[str, Account]:
    """Return the accounts whose names some of the drafts want."""
    names = {one.draft.name for one in placed if one.draft.name}
    if not names:
        return {}
    found: dict[str, Account] = {}
    async for part in slices(desk.directory.accounts):
        found |= {account.name: account for account in part if account.name in names}
    return found


def _first_of_each(good: Sequence[Placed], intake: Intake) -> list[Placed]:
    """Do what the store would do: of drafts with one identity the first counts, and of names."""
    seen: dict[Identity, Placed] = {}
    names: set[str] = set()
    for one in good:
        identity = identity_of_draft(one.draft)
        if identity in seen:
            intake.twins.append(Twin(place=one.place, account_id="", name=one.draft.name))
        elif one.draft.name and one.draft.name in names:
            intake.faults.append(_name_taken(one))
        else:
            seen[identity] = one
            names.add(one.draft.name)
    return list(seen.values())
