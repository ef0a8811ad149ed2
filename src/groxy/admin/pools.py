"""Pools, replaced as a whole: who is named stays or comes, who is not goes.

In: all accounts of one pool, or of several. Out: the store and what is in force as asked. Accounts
that stay keep their ids, counts and terms. New ones come before old ones go, so that a failure on
the way leaves too many accounts and never too few.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body

from groxy.admin.access import Actor, Operator
from groxy.admin.audit import Auditor
from groxy.admin.desk import Desk
from groxy.admin.drafts import Usual
from groxy.admin.intake import Identity, Intake, Placed, add_all, identity_of_draft, sift, twins_of
from groxy.admin.selection import STORE, Filter, Roll, require_stored, select
from groxy.admin.token_answers import CHANGING, PoolReplaced, Replaced
from groxy.admin.token_changes import MOST_AUDITED, drafted, remove, wanted_items
from groxy.admin.token_shapes import MAX_TOKENS, POOLS, Items, ReplacePool, read_tags, refused
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.terms import Terms
from groxy.routing.account import Account
from groxy.store.accounts import AccountChange, change_accounts


@dataclass(slots=True)
class _Pool:
    """What is wanted of one pool."""

    name: str
    kept: dict[str, Account] = field(default_factory=dict)
    """Accounts that are there already, in whatever pool, by id."""
    tags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Their new tags, where some were named."""
    new: list[Placed] = field(default_factory=list)


def router(desk: Desk, auditor: Auditor) -> APIRouter:
    """Return the endpoints that replace pools."""
    routes = APIRouter(tags=["tokens"], responses=CHANGING)
    roll = Roll(desk.directory)

    @routes.post("/tokens", summary="Replace the accounts of the pools that are named")
    async def replace_tokens(
        pools: Annotated[
            dict[str, Items],
            Body(examples=[{"heavy": ["xai-…", {"token": "acc_0f3a", "tags": ["fast"]}]}]),
        ],
        actor: Actor,
    ) -> Replaced:
        """By pool, a list of credentials, ids, names or objects (see TokenDraft). Pools that are
        not named stay as they are; an empty list empties its pool.
        """
        if not pools:
            raise refused("Name a pool at least: basic, super or heavy.", param="pool")
        async with desk.changing:
            await desk.reload()
            wanted = [await _wanted(desk, name, items, f"{name}") for name, items in pools.items()]
            return await _replace(desk, auditor, roll, actor, wanted)

    async def replace_pool(given: ReplacePool, actor: Actor) -> PoolReplaced:
        """Whoever is in the pool and not named is removed. `tags` go to those without tags of
        their own in the request; left out, accounts that are there keep theirs.
        """
        async with desk.changing:
            await desk.reload()
            wanted = await _wanted(desk, given.pool, given.tokens, "tokens", given.tags)
            done = await _replace(desk, auditor, roll, actor, [wanted])
        return PoolReplaced(pool=given.pool, **done.model_dump())

    summary = "Replace the accounts of a pool"
    routes.put("/pool", summary=summary, operation_id="replace_pool")(replace_pool)
    routes.put("/tokens/pool", summary=summary, operation_id="replace_tokens_pool")(replace_pool)
    return routes


async def _wanted(
    desk: Desk, name: str, items: Sequence[Any], param: str, tags: list[str] | None = None
) -> _Pool:
    """Return what is wanted of a pool, with everything checked that can be."""
    if name not in POOLS:
        message = f"There is no pool {name[:64]!r}. The pools are basic, super and heavy."
        raise refused(message, param="pool", code="invalid_pool")
    pool = _Pool(name)
    named = await select(desk, [text for item in items if (text := _text_of(item))], param)
    placed: list[Placed] = []
    for place, item in wanted_items(items, param) if items else ():
        account = named.get(_text_of(item))
        own = _tags_of(item, f"{param}.{place}", tags)
        if account is not None:
            pool.kept[account.id] = account
            if own is not None:
                pool.tags[account.id] = tuple(own)
            continue
        usual = Usual(pool=name, terms=Terms(tags=tuple(tags or ())))
        draft = drafted(desk, _moved(item, name), usual, f"{param}.{place}")
        placed.append(Placed(place=place, draft=draft))
    _keep_twins(pool, placed, await twins_of(desk, placed))
    return pool


def _keep_twins(pool: _Pool, placed: Sequence[Placed], twins: Mapping[Identity, Account]) -> None:
    """Sort out which drafts are accounts that are there already."""
    for one in placed:
        twin = twins.get(identity_of_draft(one.draft))
        if twin is None:
            pool.new.append(one)
            continue
        pool.kept[twin.id] = twin
        if one.draft.terms.tags:
            pool.tags[twin.id] = one.draft.terms.tags


async def _replace(
    desk: Desk, auditor: Auditor, roll: Roll, actor: Operator, pools: Sequence[_Pool]
) -> Replaced:
    _check_all(pools)
    changes = [change for pool in pools for change in _changes(pool)]
    intake = Intake()
    good = await sift(desk, [one for pool in pools for one in pool.new], intake)
    if intake.faults:
        fault = intake.faults[0]
        raise GroxyError(ErrorKind.CONFLICT, fault.message, param="name", code=fault.code)
    done: dict[str, object] = {"pools": [pool.name for pool in pools]}
    removed = 0
    try:
        if good:
            await add_all(desk, good, intake)
            done["added"] = [one.id for one in intake.added[:MOST_AUDITED]]
        if changes:
            await change_accounts(desk.database, desk.secret, changes)
            await desk.reload()
            done["changed"] = [one.account_id for one in changes[:MOST_AUDITED]]
        stay = {name for pool in pools for name in pool.kept}
        stay |= {one.id for one in intake.added} | {twin.account_id for twin in intake.twins}
        for pool in pools:
            there = await roll.matching(Filter(pool=pool.name, origin=STORE))
            gone = [account for account in there if account.id not in stay]
            removed += await remove(desk, auditor, actor, gone)
    finally:
        if len(done) > 1 or removed:
            target = ", ".join(pool.name for pool in pools)
            await auditor.note(actor, "pool.replace", target, after={**done, "removed": removed})
    return Replaced(
        count=sum(len(pool.kept) + len(pool.new) for pool in pools),
        added=len(intake.added),
        changed=len(changes),
        removed=removed,
    )


def _check_all(pools: Sequence[_Pool]) -> None:
    """Raise for what only shows when all pools are looked at together."""
    if sum(len(pool.kept) + len(pool.new) for pool in pools) > MAX_TOKENS:
        message = f"More than {MAX_TOKENS} accounts are named. Replace one pool at a time."
        raise refused(message, param="tokens", code="too_many_tokens")
    owners: dict[object, str] = {}
    for pool in pools:
        keys = [*pool.kept, *(identity_of_draft(one.draft) for one in pool.new)]
        for key in keys:
            if owners.setdefault(key, pool.name) != pool.name:
                message = f"An account is named in {owners[key]} and in {pool.name}. Choose one."
                raise refused(message, param=pool.name, code="invalid_pool_payload")
        moved = [one for one in pool.kept.values() if one.pool.value != pool.name]
        require_stored([*moved, *(pool.kept[name] for name in pool.tags)], pool.name)


def _changes(pool: _Pool) -> list[AccountChange]:
    changes = []
    for account in pool.kept.values():
        tags = pool.tags.get(account.id, account.terms.tags)
        is_tagged = tags != account.terms.tags
        if account.pool.value != pool.name or is_tagged:
            terms = msgspec.structs.replace(account.terms, tags=tags) if is_tagged else None
            changes.append(AccountChange(account_id=account.id, pool=pool.name, terms=terms))
    return changes


def _text_of(item: object) -> str:
    """Return what an item calls its account."""
    text = item.get("token", "") if isinstance(item, dict) else item
    return text if isinstance(text, str) else ""


def _tags_of(item: object, where: str, usual: list[str] | None) -> list[str] | None:
    own = item.get("tags") if isinstance(item, dict) else None
    if own is None:
        return usual
    try:
        read_tags(own)
    except GroxyError as error:
        raise GroxyError(error.kind, error.message, param=where, code=error.code) from None
    if not isinstance(own, list) or not all(isinstance(tag, str) for tag in own):
        raise refused("`tags` must be a list of words.", param=f"{where}.tags")
    return own


def _moved(item: object, pool: str) -> object:
    """Return an item that says nothing else of its pool than where it stands."""
    return {**item, "pool": pool} if isinstance(item, dict) else item
