"""Import and export: accounts by the ten thousand, as JSON or as lines of text.

In: a file as a client sends it, or a filter. Out: accounts added, and what could not be; or a file
that an import takes. Lines that are good are added although others are bad. Without `secrets=true`
an export has masked credentials, which an import refuses.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from groxy.admin.access import Actor, Operator
from groxy.admin.audit import Auditor
from groxy.admin.desk import Desk
from groxy.admin.drafts import Usual, draft_of
from groxy.admin.intake import Fault, Intake, Placed, add, sift
from groxy.admin.jobs import Jobs, Progress, alone
from groxy.admin.lines import Line, read_lines, shown_json, shown_text
from groxy.admin.selection import Filter, Roll, slices
from groxy.admin.shapes import Told
from groxy.admin.token_changes import MOST_AUDITED
from groxy.admin.token_shapes import PoolAsked, StatusAsked, refused
from groxy.core.errors import GroxyError
from groxy.routing.account import Account

MAX_IMPORTED = 200_000
_MOST_TOLD = 100
_AT_A_TIME = 250
"""Accounts that are written before others have their turn."""
_READ_AT_A_TIME = 25
_PAUSE_S = 0.004
"""Lines that are read before others have their turn (each takes a third of a millisecond), and how
long that is: what a request does on its way takes many turns."""
_BUILT_IN = "built in"

Flag = Annotated[bool, Query()]


class ImportDuplicate(Told):
    """A line whose account is there already."""

    line: int
    id: str
    name: str


class ImportFault(Told):
    """A line that was not added."""

    line: int = Field(description="Of a text, or the place in the list; from 1.")
    field: str
    message: str


class Imported(Told):
    """What became of an import; or the task that will know."""

    status: str = "success"
    added: int | None = None
    duplicates: list[ImportDuplicate] | None = Field(default=None, description="The first 100.")
    duplicate_count: int | None = None
    errors: list[ImportFault] | None = Field(default=None, description="The first 100.")
    error_count: int | None = None
    dry_run: bool | None = None
    cancelled: bool | None = None
    task_id: str | None = None
    total: int | None = None


_BODIES = {
    "application/json": {
        "schema": {
            "oneOf": [
                {
                    "type": "object",
                    "additionalProperties": {"type": "array", "items": {}},
                    "example": {"heavy": ["xai-…"]},
                },
                {"type": "array", "items": {}, "example": [{"token": "xai-…", "name": "first"}]},
            ]
        }
    },
    "text/plain": {"schema": {"type": "string", "example": "xai-…\nopenrouter sk-or-… second\n"}},
}


def router(desk: Desk, auditor: Auditor, jobs: Jobs) -> APIRouter:
    """Return the endpoints of import and export."""
    routes = APIRouter(tags=["transfer"])
    _import(routes, desk, auditor, jobs)
    _export(routes, desk, auditor)
    return routes


# -------------------------------------------------------------------------------------- coming in


def _import(routes: APIRouter, desk: Desk, auditor: Auditor, jobs: Jobs) -> None:
    @routes.post(
        "/import",
        summary="Import accounts",
        response_model_exclude_none=True,
        openapi_extra={"requestBody": {"required": True, "content": _BODIES}},
    )
    async def import_tokens(
        request: Request,
        actor: Actor,
        dry_run: Flag = False,  # noqa: FBT002 - a parameter of the address
        strict: Flag = False,  # noqa: FBT002 - a parameter of the address
        is_async: Annotated[bool, Query(alias="async")] = False,  # noqa: FBT002 - so is this
        pool: PoolAsked = None,
    ) -> Imported:
        """JSON: a list of credentials and objects (as an export has them), or such lists by pool.
        Text: a line has `[upstream] key [name]`; blank lines and those with `#` are passed over.
        200,000 accounts and 64 MB at most. `strict` adds nothing when one line is bad.
        `pool` goes for those that do not say otherwise; it is heavy when left out.
        """
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        lines = read_lines(await request.body(), media_type, pool or "heavy")
        if len(lines) > MAX_IMPORTED:
            message = f"An import has {MAX_IMPORTED} accounts at most; these are {len(lines)}."
            raise refused(message, param="body", code="too_many_tokens")
        if not lines:
            raise refused("There is no account in the body.", param="body", code="no_tokens")

        async def work(progress: Progress) -> dict[str, Any]:
            importer = _Importer(desk, progress, is_dry=dry_run, is_strict=strict)
            try:
                return await importer.run(lines)
            finally:
                if importer.intake.added:
                    await _note(auditor, actor, importer.intake)

        if is_async:
            task_id = await jobs.start("import", len(lines), work)
            return Imported(task_id=task_id, total=len(lines))
        return Imported.model_validate(await work(alone(len(lines))))


async def _note(auditor: Auditor, actor: Operator, intake: Intake) -> None:
    added = intake.added
    after = {
        "accounts": [account.id for account in added[:MOST_AUDITED]],
        "duplicates": len(intake.twins),
        "errors": len(intake.faults),
    }
    await auditor.note(actor, "account.import", f"{len(added)} accounts", after=after)


class _Importer:
    """One import."""

    def __init__(self, desk: Desk, progress: Progress, *, is_dry: bool, is_strict: bool) -> None:
        self._desk = desk
        self._progress = progress
        self._is_dry = is_dry
        self._is_strict = is_strict
        self.intake = Intake()

    async def run(self, lines: Sequence[Line]) -> dict[str, Any]:
        """Add what can be added; return what became of all lines."""
        placed = await self._read(lines)
        good = await sift(self._desk, placed, self.intake, is_dry=self._is_dry)
        if self._is_strict and self.intake.faults:
            raise _first_of(self.intake.faults)
        self._progress.advance(len(lines) - len(good), fail=len(self.intake.faults))
        if not self._is_dry:
            await add(self._desk, good, self.intake, self._advance, self._progress.cancelled)
        return self._told(len(good))

    async def _advance(self, count: int) -> None:
        self._progress.advance(count)

    async def _read(self, lines: Sequence[Line]) -> list[Placed]:
        placed: list[Placed] = []
        usual: dict[str, Usual] = {}
        async for part in slices(lines, _READ_AT_A_TIME):
            await asyncio.sleep(_PAUSE_S)
            for line in part:
                own = usual.get(line.pool) or usual.setdefault(line.pool, Usual(pool=line.pool))
                try:
                    draft = draft_of(self._desk, line.item(), own)
                except GroxyError as error:
                    fault = Fault(place=line.number, field=error.param or "", message=error.message)
                    self.intake.faults.append(fault)
                else:
                    placed.append(Placed(place=line.number, draft=draft))
        return placed

    def _told(self, good: int) -> dict[str, Any]:
        intake = self.intake
        twins = sorted(intake.twins, key=lambda twin: twin.place)
        faults = sorted(intake.faults, key=lambda fault: fault.place)
        return {
            "status": "success",
            "added": good if self._is_dry else len(intake.added),
            "duplicates": [
                {"line": twin.place, "id": twin.account_id, "name": twin.name}
                for twin in twins[:_MOST_TOLD]
            ],
            "duplicate_count": len(twins),
            "errors": [
                {"line": fault.place, "field": fault.field, "message": fault.message}
                for fault in faults[:_MOST_TOLD]
            ],
            "error_count": len(faults),
            "dry_run": self._is_dry,
            "cancelled": self._progress.is_cancelled,
        }


def _first_of(faults: Sequence[Fault]) -> GroxyError:
    first = min(faults, key=lambda fault: fault.place)
    message = (
        f"Line {first.place}: {first.message} {len(faults)} lines are bad, so nothing was added; "
        "without `strict` the others are."
    )
    return refused(message, param=f"{first.place}.{first.field}".strip("."), code="import_refused")


# ------------------------------------------------------------------------------------- going out


def _export(routes: APIRouter, desk: Desk, auditor: Auditor) -> None:
    roll = Roll(desk.directory)

    @routes.get("/export", summary="Export accounts", response_class=StreamingResponse)
    async def export_tokens(  # noqa: PLR0913 - each parameter of the address is an argument
        actor: Actor,
        form: Annotated[Literal["json", "text"], Query(alias="format")] = "json",
        secrets: Flag = False,  # noqa: FBT002 - a parameter of the address
        pool: PoolAsked = None,
        status: StatusAsked = None,
        upstream: Annotated[str, Query(max_length=256)] = "",
        tag: Annotated[str, Query(max_length=256)] = "",
        origin: Annotated[str, Query(max_length=256)] = "",
        q: Annotated[str, Query(max_length=256)] = "",
    ) -> StreamingResponse:
        """What the filters leave, those declared in settings as well. With `secrets=true` the
        credentials are in clear text, which is written down. Lines of text have no terms.
        """
        wanted = Filter(pool=pool, status=status, upstream=upstream, tag=tag, origin=origin, q=q)
        matching = await roll.matching(wanted)
        accounts = [account for account in matching if account.origin != _BUILT_IN]
        if secrets:
            after = {"accounts": [account.id for account in accounts[:MOST_AUDITED]]}
            await auditor.note(actor, "account.export", f"{len(accounts)} accounts", after=after)
        is_json = form == "json"
        name = "accounts.json" if is_json else "accounts.txt"
        return StreamingResponse(
            _json(accounts, secrets=secrets) if is_json else _text(accounts, secrets=secrets),
            media_type="application/json" if is_json else "text/plain",
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )


async def _json(accounts: Sequence[Account], *, secrets: bool) -> AsyncIterator[bytes]:
    """Yield a JSON array, an account a line."""
    yield b"["
    before = b"\n"
    async for part in slices(accounts, _AT_A_TIME):
        lines = [msgspec.json.encode(shown_json(one, secrets=secrets)) for one in part]
        yield before + b",\n".join(lines)
        before = b",\n"
    yield b"\n]\n"


async def _text(accounts: Sequence[Account], *, secrets: bool) -> AsyncIterator[bytes]:
    async for part in slices(accounts, _AT_A_TIME):
        yield "".join(shown_text(one, secrets=secrets) for one in part).encode()
