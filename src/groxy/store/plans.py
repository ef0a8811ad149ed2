"""Plans at rest: limits and mark-up that users share. One of them may be the default.

In: names and grants. Out: plans, a handful of them. It decides nothing, and checks no number of a
grant: whoever reads what people type has done so.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import PlanGrant
from groxy.core.ids import new_id
from groxy.store import tables
from groxy.store.database import Database, bump, settled, storable

PLANS = "plans"
"""The revision name of this table."""
MAX_NAME_CHARS = 64

_plans = tables.plans.c
_users = tables.users.c
_grants = msgspec.json.Decoder(PlanGrant)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPlan:
    """A plan as the database knows it."""

    id: str
    name: str
    grant: PlanGrant
    is_default: bool
    """True for the plan of users that have none of their own."""
    created_ms: int


async def create_plan(
    database: Database, *, name: str, grant: PlanGrant | None = None, is_default: bool = False
) -> StoredPlan:
    """Make a plan; a default one takes the place of the one before.

    Raises CONFLICT (`plan_name_taken`), and BAD_REQUEST for a name that is empty or too long.
    """
    plan = StoredPlan(
        id=new_id("plan_"),
        name=_checked_name(name),
        grant=grant or PlanGrant(),
        is_default=is_default,
        created_ms=time.time_ns() // 1_000_000,
    )
    async with database.transaction() as connection:
        revision = await bump(connection, PLANS)
        await _refuse_taken(connection, plan.name)
        if is_default:
            await _clear_default(connection, revision)
        row = {
            "id": plan.id,
            "name": plan.name,
            "terms": _written(plan.grant),
            "is_default": is_default,
            "created_ms": plan.created_ms,
            "revision": revision,
        }
        await connection.execute(sa.insert(tables.plans).values(row))
    return plan


async def update_plan(
    database: Database, plan_id: str, changes: Mapping[str, object]
) -> tuple[StoredPlan, StoredPlan]:
    """Change `name`, `grant` or `is_default` of a plan; return it as it was and as it is then.

    `grant` may be a function from the one that it has: nobody changes it in between. Raises
    NOT_FOUND (`plan_not_found`), CONFLICT (`plan_name_taken`), and BAD_REQUEST for any other field
    or a value of another type.
    """
    async with database.transaction() as connection:
        revision = await bump(connection, PLANS)
        before = await _read(connection, plan_id)
        if "grant" in changes:
            changes = {**changes, "grant": settled(changes["grant"], before.grant)}
        values = _values(changes)
        if "name" in values and values["name"] != before.name:
            await _refuse_taken(connection, values["name"])
        if values.get("is_default"):
            await _clear_default(connection, revision)
        change = sa.update(tables.plans).where(_plans.id == plan_id)
        await connection.execute(change.values(**values, revision=revision))
        return before, await _read(connection, plan_id)


async def delete_plan(database: Database, plan_id: str) -> None:
    """Delete a plan that no user has.

    Raises CONFLICT (`plan_in_use`) while users have it, be it as the default one, and NOT_FOUND.
    """
    async with database.transaction() as connection:
        await bump(connection, PLANS)
        plan = await _read(connection, plan_id)
        ids = [plan_id, ""] if plan.is_default else [plan_id]
        in_use = sa.select(_users.id).where(_users.plan_id.in_(ids)).limit(1)
        if await connection.scalar(in_use) is not None:
            remedy = "Make another plan the default" if plan.is_default else "Move them to another"
            message = f"Users have the plan {plan.name}. {remedy} first."
            raise GroxyError(ErrorKind.CONFLICT, message, code="plan_in_use")
        await connection.execute(sa.delete(tables.plans).where(_plans.id == plan_id))


async def list_plans(database: Database) -> list[StoredPlan]:
    """Return every plan, oldest first."""
    query = sa.select(tables.plans).order_by(_plans.created_ms, _plans.id)
    async with database.transaction() as connection:
        return [_plan(row) for row in (await connection.execute(query)).mappings()]


async def find_plan(database: Database, plan_id: str) -> StoredPlan:
    """Return a plan; raise NOT_FOUND (`plan_not_found`)."""
    async with database.transaction() as connection:
        return await _read(connection, plan_id)


async def _read(connection: AsyncConnection, plan_id: str) -> StoredPlan:
    row = None
    if plan_id.isprintable():  # PostgreSQL takes no NUL
        query = sa.select(tables.plans).where(_plans.id == plan_id)
        row = (await connection.execute(query)).mappings().first()
    if row is None:
        raise no_such_plan(plan_id)
    return _plan(row)


def no_such_plan(plan_id: str) -> GroxyError:
    """Return the error for a plan that is not there."""
    message = f"There is no plan {storable(plan_id, 40)}. `groxy plan list` shows the ids."
    return GroxyError(ErrorKind.NOT_FOUND, message, code="plan_not_found")


async def _refuse_taken(connection: AsyncConnection, name: str) -> None:
    if await connection.scalar(sa.select(_plans.id).where(_plans.name == name)) is not None:
        message = f"There is a plan called {name} already. Choose another `name`."
        raise GroxyError(ErrorKind.CONFLICT, message, param="name", code="plan_name_taken")


async def _clear_default(connection: AsyncConnection, revision: int) -> None:
    clear = sa.update(tables.plans).where(_plans.is_default.is_(True))
    await connection.execute(clear.values(is_default=False, revision=revision))


def _values(changes: Mapping[str, object]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in changes.items():
        match name, value:
            case "name", str():
                values[name] = _checked_name(value)
            case "grant", PlanGrant():
                values["terms"] = _written(value)
            case "is_default", bool():
                values[name] = value
            case _:
                message = f"`{name[:64]}` of a plan cannot be set so."
                raise GroxyError(ErrorKind.BAD_REQUEST, message, param=name)
    return values


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable():
        message = f"`name` must have 1 to {MAX_NAME_CHARS} printable characters."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="name")
    return name


def _written(grant: PlanGrant) -> str:
    return msgspec.json.encode(grant).decode()


def _plan(row: sa.RowMapping) -> StoredPlan:
    return StoredPlan(
        id=row["id"],
        name=row["name"],
        grant=_grants.decode(row["terms"]),
        is_default=row["is_default"],
        created_ms=row["created_ms"],
    )
