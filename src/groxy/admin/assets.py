"""Assets: the files that accounts have at their upstreams, by account.

In: requests of operators. Out: what upstreams list, asked anew each time, and deletions. An account
whose upstream keeps no files is listed with none, and says so.
"""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from groxy.admin.access import Actor
from groxy.admin.audit import Auditor
from groxy.admin.desk import Desk
from groxy.admin.selection import Filter, Roll, select_one
from groxy.admin.shapes import Given, Success, Told
from groxy.admin.token_answers import NOT_FOUND, Pagination
from groxy.admin.token_shapes import (
    MAX_AT_ONCE,
    Page,
    PageSize,
    PoolAsked,
    StatusAsked,
    TokenName,
)
from groxy.admin.uploads import NO_FILES, Listed, delete_files, list_files, words_of
from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.account import Account
from groxy.routing.enquiries import delete_file
from groxy.upstreams._base import RemoteFile

_GONE = frozenset({ErrorKind.NOT_FOUND, ErrorKind.MODEL_ABSENT})


class Asset(Told):
    """A file."""

    id: str
    name: str
    file_path: str = Field(description="Where its upstream has it, below the account's address.")
    content_type: str
    size: int
    created_at: int | None


class TokenAssets(Told):
    """The files of an account."""

    id: str
    token: str = Field(description="Masked.")
    masked: str
    name: str
    upstream: str
    count: int
    assets: list[Asset]
    error: str | None


class AssetPage(Told):
    """Files by account."""

    tokens: list[TokenAssets]
    total_assets: int = Field(description="On this page.")
    pagination: Pagination


class DeleteAsset(Given):
    """One file."""

    token: TokenName
    asset_id: str = Field(min_length=1, max_length=512)


class ClearAssets(Given):
    """All files of an account."""

    token: TokenName
    confirm: bool = Field(default=True, description="Not needed; false is refused.")


class Cleared(Told):
    """How many files are gone."""

    status: str = "success"
    deleted: int


def router(desk: Desk, auditor: Auditor) -> APIRouter:
    """Return the endpoints below /assets."""
    routes = APIRouter(tags=["assets"], responses=NOT_FOUND)
    _list(routes, desk)
    _delete(routes, desk, auditor)
    return routes


def _list(routes: APIRouter, desk: Desk) -> None:
    roll = Roll(desk.directory)

    @routes.get("/assets", summary="List the files that accounts have at their upstreams")
    async def list_assets(
        page: Page = 1,
        page_size: PageSize = 50,
        pool: PoolAsked = None,
        status: StatusAsked = None,
        concurrency: Annotated[int, Query(ge=1, le=MAX_AT_ONCE)] = 20,
    ) -> AssetPage:
        """One call to its upstream for each account of the page."""
        found = await roll.page(Filter(pool=pool, status=status), page=page, size=page_size)
        listed = await list_files(found.accounts, concurrency)
        return AssetPage(
            tokens=[_shown(one) for one in listed],
            total_assets=sum(len(one.files) for one in listed),
            pagination=Pagination(
                page=page,
                page_size=page_size,
                total=found.total,
                total_pages=-(-found.total // page_size),
                has_more=found.has_more,
                next=None,
                revision=desk.revision(),
            ),
        )


def _delete(routes: APIRouter, desk: Desk, auditor: Auditor) -> None:
    @routes.post("/assets/delete-item", summary="Delete a file")
    async def delete_asset(given: DeleteAsset, actor: Actor) -> Success:
        """404 `file_not_found` when its upstream has no such file, 502 when it fails."""
        account = await _keeping(given.token)
        await _delete_one(account, given.asset_id)
        after = {"file": given.asset_id}
        await auditor.note(actor, "asset.delete", account.id, after=after)
        return Success()

    @routes.post("/assets/clear-token", summary="Delete all files of an account")
    async def clear_token(given: ClearAssets, actor: Actor) -> Cleared:
        """`confirm` need not be sent."""
        if not given.confirm:
            message = "`confirm` is false. Send true, or leave it out."
            raise GroxyError(
                ErrorKind.BAD_REQUEST, message, param="confirm", code="confirmation_required"
            )
        account = await _keeping(given.token)
        done = await delete_files(account)
        after = {"deleted": done.count, "error": done.error}
        await auditor.note(actor, "asset.clear", account.id, after=after)
        if done.error:
            message = f"{done.count} files were deleted, then the upstream failed: {done.error}"
            raise GroxyError(ErrorKind.UPSTREAM_DOWN, message)
        return Cleared(deleted=done.count)

    async def _keeping(name: str) -> Account:
        account = await select_one(desk, name)
        if not account.upstream.files_path:
            message = f"The account has {NO_FILES} ({account.upstream.title})."
            raise GroxyError(ErrorKind.UNSUPPORTED, message, param="token", code="no_files")
        return account


async def _delete_one(account: Account, asset_id: str) -> None:
    try:
        account.upstream.file_path(asset_id)
        await delete_file(account, asset_id)
    except GroxyError as error:
        if error.kind in _GONE:
            message = "The upstream has no such file. GET /admin/api/assets lists them."
            raise GroxyError(
                ErrorKind.NOT_FOUND, message, param="asset_id", code="file_not_found"
            ) from None
        message = f"The upstream did not delete the file: {words_of(account, error)}"
        raise GroxyError(ErrorKind.UPSTREAM_DOWN, message, code=error.code) from None


def _shown(listed: Listed) -> TokenAssets:
    account = listed.account
    return TokenAssets(
        id=account.id,
        token=account.hint,
        masked=account.hint,
        name=account.name,
        upstream=account.upstream.name,
        count=len(listed.files),
        assets=[_asset(account, file) for file in listed.files],
        error=listed.error or None,
    )


def _asset(account: Account, file: RemoteFile) -> Asset:
    try:
        path = account.upstream.file_path(file.id)
    except GroxyError:  # an id that can be no part of a path
        path = ""
    return Asset(
        id=file.id,
        name=file.name,
        file_path=path,
        content_type=file.content_type,
        size=file.size_bytes,
        created_at=int(file.created_at * 1000) or None,
    )
