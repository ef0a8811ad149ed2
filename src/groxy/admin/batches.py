"""Batches: the same done to many accounts, at once or as a job.

In: which accounts, or all that are in service. Out: what became of each, by its id. Accounts that
are disabled or expired are left out. One that fails does not stop the others.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse
from pydantic import Field

from groxy.admin.access import Actor, Operator
from groxy.admin.audit import Auditor
from groxy.admin.desk import Desk
from groxy.admin.jobs import Document, Jobs, Progress, alone
from groxy.admin.selection import STORE, is_manageable, select, slices, unique
from groxy.admin.shapes import Success, Told
from groxy.admin.token_answers import NOT_FOUND
from groxy.admin.token_changes import MOST_AUDITED
from groxy.admin.token_shapes import AtOnce, Tokens, refused
from groxy.admin.uploads import delete_files
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.terms import MAX_TAGS
from groxy.routing.account import Account, Status
from groxy.routing.refresh import Refreshed
from groxy.store.accounts import AccountChange, change_accounts

NSFW = "nsfw"
_AT_ONCE = 50
_AT_A_TIME = 100
"""Accounts changed in one transaction."""

Work = Callable[[Sequence[Account], int, Progress], Awaitable[dict[str, Any]]]
IsAsync = Annotated[
    bool, Query(alias="async", description="Answer at once with a task, and go on.")
]
All = Annotated[bool, Query(description="All accounts in service; then `tokens` is left out.")]


class BatchSummary(Told):
    """How many, how many well, how many not; `expired` and `transient` of a refresh."""

    total: int
    ok: int
    fail: int
    expired: int | None = None
    transient: int | None = None


class Batch(Told):
    """What became of each account, by its id; or the task that will know."""

    status: str = "success"
    summary: BatchSummary | None = None
    results: dict[str, dict[str, Any]] | None = Field(
        default=None,
        examples=[{"acc_0f3a": {"token": "xai-abcd...wxyz1234", "name": "first", "refreshed": 2}}],
    )
    task_id: str | None = None
    total: int | None = None


class Task(Told):
    """A job as it stands."""

    task_id: str
    kind: str
    status: str = Field(description="running, done, error or cancelled")
    total: int
    processed: int
    ok: int
    fail: int
    warning: str
    error: str
    result: dict[str, Any] | None


_TOLD: dict[str, Any] = {"response_model": Batch, "response_model_exclude_none": True}


def router(desk: Desk, auditor: Auditor, jobs: Jobs) -> APIRouter:
    """Return the endpoints below /batch."""
    routes = APIRouter(tags=["batch"], responses=NOT_FOUND)
    batches = _Batches(desk, auditor, jobs)
    _tag(routes, batches)
    _ask(routes, batches)
    _follow(routes, auditor, jobs)
    return routes


def _tag(routes: APIRouter, batches: "_Batches") -> None:
    @routes.post("/batch/nsfw", summary="Tag accounts", **_TOLD)
    async def batch_nsfw(
        actor: Actor,
        given: Tokens | None = None,
        enabled: bool = True,  # noqa: FBT001, FBT002 - a parameter of the address
        concurrency: AtOnce = None,
        is_async: IsAsync = False,  # noqa: FBT002 - a parameter of the address
        all_manageable: All = False,  # noqa: FBT002 - a parameter of the address
    ) -> Batch | Response:
        """Give accounts the tag `nsfw`, or take it from them.

        Callers prefer accounts by tags, with the header `x-groxy-prefer-tags`.
        """
        kind = "batch.nsfw.on" if enabled else "batch.nsfw.off"
        chosen = await batches.chosen(given, everyone=all_manageable)

        async def work(accounts: Sequence[Account], _: int, progress: Progress) -> dict[str, Any]:
            return await batches.tag(accounts, progress, enabled=enabled)

        return await batches.go(actor, kind, chosen, work, concurrency, later=is_async)


def _ask(routes: APIRouter, batches: "_Batches") -> None:
    @routes.post("/batch/refresh", summary="Refresh accounts", **_TOLD)
    async def batch_refresh(
        actor: Actor,
        given: Tokens | None = None,
        concurrency: AtOnce = None,
        is_async: IsAsync = False,  # noqa: FBT002 - a parameter of the address
        all_manageable: All = False,  # noqa: FBT002 - a parameter of the address
    ) -> Batch | Response:
        """Ask the accounts' upstreams for the state of the key, quota and models.

        An expired account that is named is asked too, and serves again if its key does.
        """
        chosen = await batches.chosen(given, everyone=all_manageable, with_expired=True)
        return await batches.go(
            actor, "batch.refresh", chosen, batches.refresh, concurrency, later=is_async
        )

    @routes.post("/batch/cache-clear", summary="Delete the accounts' files", **_TOLD)
    async def batch_cache_clear(
        actor: Actor,
        given: Tokens | None = None,
        concurrency: AtOnce = None,
        is_async: IsAsync = False,  # noqa: FBT002 - a parameter of the address
        all_manageable: All = False,  # noqa: FBT002 - a parameter of the address
    ) -> Batch | Response:
        """Delete all files that the accounts have at their upstreams. Stored media stay."""
        chosen = await batches.chosen(given, everyone=all_manageable)
        return await batches.go(
            actor, "batch.cache_clear", chosen, batches.clear_files, concurrency, later=is_async
        )


def _follow(routes: APIRouter, auditor: Auditor, jobs: Jobs) -> None:
    @routes.get(
        "/batch/{task_id}/stream", summary="Follow a task", response_class=StreamingResponse
    )
    async def stream_task(task_id: str) -> StreamingResponse:
        """Server-sent events: `snapshot`, `progress` for each account, then `done`, `error` or
        `cancelled`. Works in every process of the gateway, until 300 s after the end.
        """
        await jobs.find(task_id)  # for the 404: once a stream has begun there is no status
        return StreamingResponse(
            _events(jobs, task_id),
            media_type="text/event-stream",
            headers={"x-accel-buffering": "no"},
        )

    @routes.get("/batch/{task_id}", summary="Show a task", response_model=Task)
    async def get_task(task_id: str) -> Response:
        return _shown(await jobs.find(task_id))

    @routes.post("/batch/{task_id}/cancel", summary="Stop a task")
    async def cancel_task(task_id: str, actor: Actor) -> Success:
        """What is under way is finished; nothing more is begun."""
        await jobs.cancel(task_id)
        await auditor.note(actor, "batch.cancel", task_id)
        return Success()


async def _events(jobs: Jobs, task_id: str) -> AsyncIterator[bytes]:
    async for event in jobs.follow(task_id):
        yield event


def _shown(document: Document) -> Response:
    # As it was encoded: a result may be 10 MB.
    told = {name: getattr(document, name) for name in Task.model_fields}
    return Response(msgspec.json.encode(told), media_type="application/json")


class _Batches:
    """What is done to many accounts."""

    def __init__(self, desk: Desk, auditor: Auditor, jobs: Jobs) -> None:
        self._desk = desk
        self._auditor = auditor
        self._jobs = jobs

    async def chosen(
        self, given: Tokens | None, *, everyone: bool, with_expired: bool = False
    ) -> list[Account]:
        """Return the accounts that are meant and in service; raise BAD_REQUEST for none.

        `with_expired` takes expired ones too, where they are named.
        """
        names = given.tokens if given is not None else []
        if everyone and names:
            message = "Send `tokens`, or `all_manageable=true` without them."
            raise refused(message, param="all_manageable")
        if not everyone and not names:
            message = "Name accounts in `tokens`, or send `all_manageable=true`."
            raise refused(message, param="tokens", code="no_tokens")
        if everyone:
            accounts: Sequence[Account] = self._desk.directory.accounts
        else:
            accounts = unique((await select(self._desk, list(dict.fromkeys(names)))).values())
        now = self._desk.directory.now()
        left: list[Account] = []
        async for part in slices(accounts):
            left += [
                account
                for account in part
                if is_manageable(account, now)
                or (with_expired and not everyone and account.standing is Status.EXPIRED)
            ]
        if not left:
            message = "None of these accounts is in service: active, or cooling."
            raise refused(message, param="tokens", code="no_manageable_tokens")
        return left

    async def go(
        self,
        actor: Operator,
        kind: str,
        accounts: Sequence[Account],
        work: Work,
        concurrency: int | None,
        *,
        later: bool,
    ) -> Batch | Response:
        """Do it now, or start a job that does."""
        at_once = concurrency or _AT_ONCE

        async def noted(progress: Progress) -> dict[str, Any]:
            try:
                return await work(accounts, at_once, progress)
            finally:
                await self._note(actor, kind, accounts, progress)

        if later:
            task_id = await self._jobs.start(kind, len(accounts), noted)
            return Batch(task_id=task_id, total=len(accounts))
        # A result of 100,000 accounts is not looked at once more: that would hold up everybody.
        result = await noted(alone(len(accounts)))
        return Response(msgspec.json.encode(result), media_type="application/json")

    async def _note(
        self, actor: Operator, kind: str, accounts: Sequence[Account], progress: Progress
    ) -> None:
        document = progress.document
        after = {
            "accounts": [account.id for account in accounts[:MOST_AUDITED]],
            "ok": document.ok,
            "fail": document.fail,
            "cancelled": progress.is_cancelled,
        }
        await self._auditor.note(actor, kind, f"{len(accounts)} accounts", after=after)

    # ------------------------------------------------------------------------------- what is done

    async def refresh(
        self, accounts: Sequence[Account], at_once: int, progress: Progress
    ) -> dict[str, Any]:
        """Refresh accounts."""
        by_id = {account.id: account for account in accounts}
        results: dict[str, dict[str, Any]] = {}
        expired = transient = 0

        async def on_each(one: Refreshed) -> None:
            nonlocal expired, transient
            expired += one.is_expired
            transient += bool(one.error) and not one.is_expired
            told: dict[str, Any] = {"refreshed": one.refreshed, "expired": one.is_expired}
            if one.error:
                told = {"error": one.error, "expired": one.is_expired}
            results[one.account_id] = _marked(by_id[one.account_id], told)
            await progress.step(one.account_id, detail=told, error=one.error)

        await self._desk.refresher.refresh(
            accounts, at_once=at_once, on_each=on_each, is_cancelled=progress.cancelled
        )
        told = _result(progress, results)
        told["summary"] |= {"expired": expired, "transient": transient}
        return told

    async def clear_files(
        self, accounts: Sequence[Account], at_once: int, progress: Progress
    ) -> dict[str, Any]:
        """Delete all files of accounts."""
        results: dict[str, dict[str, Any]] = {}

        async def one(account: Account) -> None:
            async with slots:
                if progress.is_cancelled:
                    return
                done = await delete_files(account, progress.cancelled)
            told: dict[str, Any] = {"deleted": done.count}
            if done.error:
                told["error"] = done.error
            results[account.id] = _marked(account, told)
            await progress.step(account.id, detail=told, error=done.error)

        slots = asyncio.Semaphore(at_once)
        async with asyncio.TaskGroup() as tasks:
            for account in accounts:
                tasks.create_task(one(account))
        return _result(progress, results)

    async def tag(
        self, accounts: Sequence[Account], progress: Progress, *, enabled: bool
    ) -> dict[str, Any]:
        """Give accounts the tag, or take it from them."""
        results: dict[str, dict[str, Any]] = {}
        has_changed, loop = False, asyncio.get_running_loop()
        try:
            async for part in slices(accounts, _AT_A_TIME):
                if progress.is_cancelled:
                    break
                began = loop.time()
                async with self._desk.changing:
                    faults = {account.id: self._tag_fault(account, enabled) for account in part}
                    changes = [
                        _tagged(account, enabled=enabled)
                        for account in part
                        if not faults[account.id] and (NSFW in account.terms.tags) is not enabled
                    ]
                    faults |= await self._change(changes)
                    has_changed = has_changed or bool(changes)
                for account in part:
                    fault = faults[account.id]
                    told: dict[str, Any] = {"error": fault} if fault else {"nsfw": enabled}
                    results[account.id] = _marked(account, told)
                    await progress.step(account.id, detail=told, error=fault)
                if changes and part[-1] is not accounts[-1]:
                    await self._desk.give_way(loop.time() - began)
        finally:
            if has_changed:
                await self._desk.reload()
        return _result(progress, results)

    async def _change(self, changes: Sequence[AccountChange]) -> dict[str, str]:
        """Change accounts; return what kept one from it. One may be gone since it was chosen."""
        try:
            if changes:
                await change_accounts(self._desk.database, self._desk.secret, changes)
        except GroxyError as error:
            if error.kind is not ErrorKind.NOT_FOUND or len(changes) == 1:
                return dict.fromkeys((change.account_id for change in changes), error.message)
            # Another process removed one of many: which one comes out by halves.
            middle = len(changes) // 2
            return await self._change(changes[:middle]) | await self._change(changes[middle:])
        return {}

    def _tag_fault(self, account: Account, enabled: bool) -> str:  # noqa: FBT001 - as asked for
        if self._desk.directory.get(account.id) is not account:
            return "The account was removed meanwhile."
        return _tag_fault(account, enabled=enabled)


def _marked(account: Account, told: dict[str, Any]) -> dict[str, Any]:
    """Return what became of an account, with what it can be known by."""
    return {"token": account.hint, "name": account.name, **told}


def _result(progress: Progress, results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    document = progress.document
    summary = {"total": document.total, "ok": document.ok, "fail": document.fail}
    return {"status": "success", "summary": summary, "results": results}


def _tag_fault(account: Account, *, enabled: bool) -> str:
    """Return what keeps an account from having its tags changed; empty when nothing does."""
    tags = account.terms.tags
    if (NSFW in tags) is enabled:
        return ""
    if account.origin != STORE:
        return f"declared elsewhere ({account.origin}): change its tags there"
    return f"has {MAX_TAGS} tags already" if enabled and len(tags) >= MAX_TAGS else ""


def _tagged(account: Account, *, enabled: bool) -> AccountChange:
    others = tuple(tag for tag in account.terms.tags if tag != NSFW)
    tags = (*others, NSFW) if enabled else others
    terms = msgspec.structs.replace(account.terms, tags=tags)
    return AccountChange(account_id=account.id, terms=terms)
