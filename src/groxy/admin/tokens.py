"""Accounts, looked at and ordered about: list, one, reveal, disable, cool, clear, test.

In: requests of operators. Out: accounts as `portraits` shows them, and orders to the overseer. What
changes an account itself is in `token_changes`, which is served from here as well.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from groxy.admin import token_changes
from groxy.admin.access import Actor
from groxy.admin.audit import Auditor
from groxy.admin.desk import Desk
from groxy.admin.portraits import token_alone, tokens_of
from groxy.admin.selection import Filter, Roll, select, select_one, unique
from groxy.admin.token_answers import (
    CHANGING,
    Disabled,
    DisabledBatch,
    Pagination,
    Revealed,
    Summary,
    Tested,
    Token,
    TokenPage,
)
from groxy.admin.token_shapes import (
    ClearToken,
    Confirm,
    CoolToken,
    DisableToken,
    DisableTokens,
    Page,
    PageSize,
    PoolAsked,
    StatusAsked,
    refused,
)
from groxy.admin.uploads import words_of
from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.account import Account, Status
from groxy.routing.enquiries import ask

_MOST_AUDITED = 100
Text = Annotated[str, Query(max_length=256)]


def router(desk: Desk, auditor: Auditor) -> APIRouter:
    """Return the endpoints below /tokens."""
    routes = APIRouter(tags=["tokens"], responses=CHANGING)
    _list(routes, desk)
    _show(routes, desk, auditor)
    _switch(routes, desk, auditor)
    _order(routes, desk, auditor)
    routes.include_router(token_changes.router(desk, auditor))
    return routes


def _list(routes: APIRouter, desk: Desk) -> None:
    roll = Roll(desk.directory)

    @routes.get("/tokens", summary="List accounts, a page at a time")
    async def list_tokens(  # noqa: PLR0913 - each parameter of the address is an argument
        page: Page = 1,
        page_size: PageSize = 50,
        after: Annotated[str, Query(max_length=256, description="`next` of the page before.")] = "",
        pool: PoolAsked = None,
        status: StatusAsked = None,
        upstream: Text = "",
        tag: Text = "",
        origin: Text = "",
        q: Annotated[str, Query(max_length=256, description="A part of name or credential.")] = "",
    ) -> TokenPage:
        """Sorted by id. Follow `pagination.next` with `after`: then no account is seen twice or
        missed while others come and go.
        """
        if after and page != 1:
            raise refused("Send `page` or `after`, not both.", param="page", code="invalid_page")
        wanted = Filter(pool=pool, status=status, upstream=upstream, tag=tag, origin=origin, q=q)
        found = await roll.page(wanted, page=page, size=page_size, after=after)
        return TokenPage(
            tokens=await tokens_of(desk, found.accounts),
            pagination=Pagination(
                page=page,
                page_size=page_size,
                total=found.total,
                total_pages=-(-found.total // page_size),
                has_more=found.has_more,
                next=found.accounts[-1].id if found.has_more else None,
                revision=desk.revision(),
            ),
        )


def _show(routes: APIRouter, desk: Desk, auditor: Auditor) -> None:
    @routes.get("/tokens/{token_id}", summary="Show one account")
    async def get_token(token_id: str) -> Token:
        return await token_alone(desk, await select_one(desk, token_id))

    @routes.post("/tokens/{token_id}/reveal", summary="Show a credential in clear text")
    async def reveal_token(token_id: str, given: Confirm, actor: Actor) -> Revealed:
        """Needs `{"confirm": true}`, and is written down."""
        account = await select_one(desk, token_id)
        if not given.confirm:
            message = 'Send {"confirm": true} to see the credential in clear text.'
            raise refused(message, param="confirm", code="confirmation_required")
        await auditor.note(actor, "account.reveal", account.id, after={"name": account.name})
        return Revealed(id=account.id, token=account.credentials.api_key)


def _switch(routes: APIRouter, desk: Desk, auditor: Auditor) -> None:
    async def switch(actor: Actor, accounts: Sequence[Account], *, disabled: bool) -> None:
        now = desk.directory.now()
        before = {one.id: one.status(now).value for one in accounts[:_MOST_AUDITED]}
        if disabled:
            await desk.overseer.disable(accounts)
        else:
            await desk.overseer.enable(accounts)
        target = accounts[0].id if len(accounts) == 1 else f"{len(accounts)} accounts"
        action = "account.disable" if disabled else "account.enable"
        status = (Status.DISABLED if disabled else Status.ACTIVE).value
        after = dict.fromkeys(before, status)
        await auditor.note(actor, action, target, before=before, after=after)

    @routes.post("/tokens/disabled", summary="Take an account out of service, or put it back")
    async def disable_token(given: DisableToken, actor: Actor) -> Disabled:
        """Putting one back ends all that was held against it: rests, expiry, failures."""
        account = await select_one(desk, given.token)
        await switch(actor, [account], disabled=given.disabled)
        return Disabled(id=account.id, token=account.hint, disabled=given.disabled)

    @routes.post("/tokens/disabled/batch", summary="Do the same to several accounts")
    async def disable_tokens(given: DisableTokens, actor: Actor) -> DisabledBatch:
        """Of those that are not there the summary tells; 404 when none is."""
        names = list(dict.fromkeys(given.tokens))
        found = await select(desk, names)
        if not found:
            message = "None of these accounts is there. GET /admin/api/tokens lists them."
            raise GroxyError(ErrorKind.NOT_FOUND, message, param="tokens", code="account_not_found")
        await switch(actor, unique(found.values()), disabled=given.disabled)
        summary = Summary(total=len(names), ok=len(found), fail=len(names) - len(found))
        return DisabledBatch(disabled=given.disabled, summary=summary)


def _order(routes: APIRouter, desk: Desk, auditor: Auditor) -> None:
    async def in_service(token_id: str) -> Account:
        account = await select_one(desk, token_id)
        if account.standing in (Status.DISABLED, Status.EXPIRED):
            message = (
                f"The account is {account.standing.value}, so it does not rest. "
                "POST /admin/api/tokens/disabled puts it back into service."
            )
            raise GroxyError(ErrorKind.CONFLICT, message, param="token", code="not_in_service")
        return account

    @routes.post("/tokens/{token_id}/cool", summary="Let an account rest")
    async def cool_token(token_id: str, given: CoolToken, actor: Actor) -> Token:
        """The whole account, or one model of it, as it is asked for at the upstream."""
        if not given.model.isprintable():
            raise refused("`model` must be a model's id.", param="model")
        account = await in_service(token_id)
        desk.overseer.cool(account, for_s=given.seconds, model=given.model)
        after = {"seconds": given.seconds, "model": given.model}
        await auditor.note(actor, "account.cool", account.id, after=after)
        return await token_alone(desk, account)

    @routes.post("/tokens/{token_id}/clear", summary="End rests before their time")
    async def clear_token(token_id: str, actor: Actor, given: ClearToken | None = None) -> Token:
        """All of an account's, or that of one model."""
        model = given.model if given is not None else ""
        account = await in_service(token_id)
        before = {"status": account.status(desk.directory.now()).value}
        await desk.overseer.clear([account], model)
        await auditor.note(
            actor, "account.clear", account.id, before=before, after={"model": model}
        )
        return await token_alone(desk, account)

    @routes.post("/tokens/{token_id}/test", summary="Try whether an account's credential works")
    async def test_token(token_id: str) -> Tested:
        """One cheap call to its upstream. Nothing follows from it: a refresh acts on what it
        finds, this does not.
        """
        return await _tested(await select_one(desk, token_id))


async def _tested(account: Account) -> Tested:
    loop = asyncio.get_running_loop()
    began, error = loop.time(), ""
    try:
        await ask(account, account.upstream.check_path)
    except GroxyError as failure:
        error = words_of(account, failure)
    return Tested(ok=not error, error=error, latency_ms=round((loop.time() - began) * 1000))
