"""Accounts, changed: add, edit, patch, delete.

In: requests of operators. Out: accounts in the store and in force, and a line in the audit. What is
left out of a change stays as it is; accounts that are declared elsewhere are not changed here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body

from groxy.admin.access import Actor, Operator
from groxy.admin.audit import Auditor
from groxy.admin.desk import Desk
from groxy.admin.drafts import Usual, change_of, draft_of, is_change, located, usual_of
from groxy.admin.intake import Intake, Placed, add_all, sift
from groxy.admin.portraits import host_of, token_alone
from groxy.admin.selection import (
    STORE,
    Filter,
    Roll,
    check_names,
    require_stored,
    select,
    select_one,
    unique,
)
from groxy.admin.token_answers import CHANGING, Added, Deleted, DuplicateTold, Edited, Token
from groxy.admin.token_shapes import MAX_TOKENS, AddTokens, EditToken, PatchToken, refused
from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.account import Account, Status
from groxy.store.accounts import (
    AccountChange,
    AccountDraft,
    StoredAccount,
    change_accounts,
    remove_accounts,
)
from groxy.store.standings import StandingChange, write_standings

MOST_AUDITED = 100


def router(desk: Desk, auditor: Auditor) -> APIRouter:
    """Return the endpoints below /tokens that change accounts."""
    routes = APIRouter(tags=["tokens"], responses=CHANGING)
    _add(routes, desk, auditor)
    _edit(routes, desk, auditor)
    _delete(routes, desk, auditor)
    return routes


# --------------------------------------------------------------------------------------- adding


def _add(routes: APIRouter, desk: Desk, auditor: Auditor) -> None:
    @routes.post("/tokens/add", summary="Add accounts")
    async def add_tokens(given: AddTokens, actor: Actor) -> Added:
        """All or none. Those that are there already are skipped, and told. The upstream is known
        by how a credential begins, or is named. New accounts are refreshed at once.
        """
        usual = usual_of(given, upstream=given.upstream or "", pool=given.pool or "")
        items = wanted_items(given.tokens)
        placed = [
            Placed(place=place, draft=drafted(desk, item, usual, f"tokens.{place}"))
            for place, item in items
        ]
        intake = Intake()
        good = await sift(desk, placed, intake)
        for fault in intake.faults:
            where = f"tokens.{fault.place}.{fault.field}"
            raise GroxyError(ErrorKind.CONFLICT, fault.message, param=where, code=fault.code)
        try:
            await add_all(desk, good, intake)
        finally:
            ids = [account.id for account in intake.added]
            if ids:
                after = {"accounts": ids[:MOST_AUDITED], "pool": usual.pool, "tags": given.tags}
                await auditor.note(actor, "account.add", f"{len(ids)} accounts", after=after)
        twins = sorted(intake.twins, key=lambda twin: twin.place)
        return Added(
            count=len(ids),
            skipped=len(given.tokens) - len(ids),
            ids=ids,
            duplicates=[
                DuplicateTold(index=twin.place, id=twin.account_id, name=twin.name)
                for twin in twins
            ],
        )


def wanted_items(tokens: Sequence[Any], param: str = "tokens") -> list[tuple[int, Any]]:
    """Return (place, item) of those that are not blank; raise where none is, or too many are."""
    items = [
        (place, item)
        for place, item in enumerate(tokens)
        if not isinstance(item, str) or item.strip()
    ]
    if not items:
        message = f"`{param}` names no account. Send credentials, or objects with `token`."
        raise refused(message, param=param, code="no_tokens")
    texts = [item for _, item in items if isinstance(item, str)]
    check_names(texts, param)
    if len(items) - len(texts) + len(set(texts)) > MAX_TOKENS:
        message = (
            f"`{param}` names more than {MAX_TOKENS} accounts. Send them in several requests, "
            "or import them."
        )
        raise refused(message, param=param, code="too_many_tokens")
    return items


def drafted(desk: Desk, item: object, usual: Usual, where: str) -> AccountDraft:
    """Return a draft; an error says where in the request it stands."""
    try:
        return draft_of(desk, item, usual)
    except GroxyError as error:
        raise located(error, where) from None


# -------------------------------------------------------------------------------------- editing


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Changes of accounts, as the audit has them."""

    before: dict[str, object]
    after: dict[str, object]


def _edit(routes: APIRouter, desk: Desk, auditor: Auditor) -> None:
    @routes.put("/tokens/edit", summary="Change an account")
    async def edit_token(given: EditToken, actor: Actor) -> Edited:
        """What is left out stays as it is, how the account stands as well. With a new credential
        it keeps its id, its counts and its terms, and is tried anew if it had expired.
        """
        account = await select_one(desk, given.old_token, "old_token")
        now = await change_one(desk, auditor, actor, account, given)
        return Edited(id=now.id, token=now.hint, pool=now.pool.value)

    @routes.patch("/tokens/{token_id}", summary="Change an account's terms, name, pool or place")
    async def patch_token(token_id: str, given: PatchToken, actor: Actor) -> Token:
        """What is left out stays as it is; null takes a value back to the usual one. Of `options`
        each is changed by itself.
        """
        account = await select_one(desk, token_id)
        return await token_alone(desk, await change_one(desk, auditor, actor, account, given))


async def change_one(
    desk: Desk, auditor: Auditor, actor: Operator, account: Account, given: EditToken | PatchToken
) -> Account:
    """Change an account, put it in force and return it as it is now."""
    async with desk.changing:
        # What is left out of the change stays as others, here or elsewhere, have just made it.
        await desk.reload()
        account = desk.directory.get(account.id) or account
        require_stored([account])
        change = change_of(desk, account, given)
        if not is_change(change):
            return account
        if change.api_key is not None:
            await _refuse_twin(desk, account, change.api_key)
        stored = (await change_accounts(desk.database, desk.secret, [change]))[0]
        # Written down before anything else can fail: it is done.
        changes = _changes(account, change, stored)
        await auditor.note(
            actor, "account.change", account.id, before=changes.before, after=changes.after
        )
        return await _in_force(desk, account, is_renewed=change.api_key is not None)


async def _in_force(desk: Desk, account: Account, *, is_renewed: bool) -> Account:
    """Put a changed account in force; one with a new credential gets a new chance."""
    was = account.standing
    if is_renewed:
        # Whatever is known of it was told of the old credential.
        await write_standings(
            desk.database, [StandingChange(account_id=account.id, checked_ms=0, note="")]
        )
    await desk.reload()
    now = desk.directory.get(account.id) or account
    if is_renewed and was in (Status.EXPIRED, Status.COOLING):
        await desk.overseer.enable([now])
    desk.refresher.look_now()
    return now


async def _refuse_twin(desk: Desk, account: Account, api_key: str) -> None:
    """Raise CONFLICT where the credential is that of an account that is declared elsewhere.

    Of those in the store the store tells.
    """
    twin = (await select(desk, [api_key], "token")).get(api_key)
    if twin is not None and twin.origin != STORE and twin.upstream is account.upstream:
        message = f"This credential is the account {twin.name!r} already. Edit that one."
        raise GroxyError(ErrorKind.CONFLICT, message, param="token", code="token_conflict")


def _changes(account: Account, change: AccountChange, stored: StoredAccount) -> Changes:
    """Return what was and what is, of that which changed, without secrets."""
    own = account.credentials
    pairs: dict[str, tuple[bool, object, object]] = {
        "name": (change.name is not None, account.name, stored.name),
        "pool": (change.pool is not None, account.pool.value, stored.pool),
        "base_url": (change.base_url is not None, own.base_url, stored.base_url),
        "proxy": (
            change.proxy_url is not None,
            host_of(account.proxy_url),
            host_of(stored.proxy_url),
        ),
        "token": (change.api_key is not None, account.hint, stored.hint),
        "options": (change.options is not None, sorted(own.options), sorted(stored.options)),
        "terms": (
            change.terms is not None,
            msgspec.to_builtins(account.terms),
            msgspec.to_builtins(stored.terms),
        ),
    }
    changed = {name: (old, new) for name, (is_new, old, new) in pairs.items() if is_new}
    return Changes(
        before={name: old for name, (old, _) in changed.items()},
        after={name: new for name, (_, new) in changed.items()},
    )


# -------------------------------------------------------------------------------------- deleting


def _delete(routes: APIRouter, desk: Desk, auditor: Auditor) -> None:
    roll = Roll(desk.directory)

    @routes.delete("/tokens/invalid", summary="Delete all expired accounts")
    async def delete_invalid(actor: Actor) -> Deleted:
        """Those whose credentials were rejected. Accounts declared elsewhere stay."""
        expired = await roll.matching(Filter(status="expired", origin=STORE))
        return Deleted(deleted=await remove(desk, auditor, actor, expired))

    @routes.delete("/tokens", summary="Delete accounts")
    async def delete_tokens(
        tokens: Annotated[list[str], Body(examples=[["acc_0f3a", "acc_9c12"]])], actor: Actor
    ) -> Deleted:
        """The body is a JSON array of ids, names or credentials."""
        names = [name for name in dict.fromkeys(tokens) if name.strip()]
        if not names:
            message = "Send a JSON array of accounts to delete: ids, names or credentials."
            raise refused(message, param="tokens", code="no_tokens")
        found = await select(desk, names)
        accounts = unique(found.values())
        require_stored(accounts, "tokens")
        deleted = await remove(desk, auditor, actor, accounts)
        return Deleted(deleted=deleted, missing=len(names) - len(found))


async def remove(desk: Desk, auditor: Auditor, actor: Operator, accounts: Sequence[Account]) -> int:
    """Remove accounts from the store and from service; return how many there were."""
    if not accounts:
        return 0
    gone = await remove_accounts(desk.database, [account.id for account in accounts])
    names = {one.id: f"{one.name} {one.hint}" for one in accounts[:MOST_AUDITED]}
    target = accounts[0].id if len(accounts) == 1 else f"{len(gone)} accounts"
    try:
        await auditor.note(actor, "account.delete", target, before={"accounts": names})
    finally:
        await desk.reload()
    return len(gone)
