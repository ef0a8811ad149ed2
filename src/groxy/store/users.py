"""Users at rest: who owns keys and a balance, and may log in.

In: names, e-mail addresses, grants, passwords. Out: users, without their password's hash. It checks
no number of a grant: whoever reads what people type has done so. A user is never deleted, only
disabled, because the books name them for ever.
"""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import NO_USER, UserGrant
from groxy.core.ids import new_id
from groxy.store import tables
from groxy.store.database import BULK_TIMEOUT_S, Database, bump, lock, settled, storable
from groxy.store.news import read_rows_since
from groxy.store.passwords import fits, hash_password, is_outdated
from groxy.store.plans import PLANS, no_such_plan

USERS = "users"
"""The revision name of this table."""
MAX_NAME_CHARS = 256
MAX_EMAIL_CHARS = 254
MAX_PAGE = 1_000

_EMAIL = re.compile(r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9-]+(\.[a-z0-9-]+)*", re.ASCII)
"""As browsers check it (HTML standard, `input type=email`, 2026), in lower case."""

_users = tables.users.c
_sessions = tables.sessions.c
_plans = tables.plans.c
_grants = msgspec.json.Decoder(UserGrant)


class UserRole(Enum):
    """What a user may do: their own, or everything."""

    ADMIN = "admin"
    USER = "user"


class UserStatus(Enum):
    """Whether a user may log in, and their keys work."""

    ACTIVE = "active"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user as the database knows them."""

    id: str
    name: str
    email: str | None
    role: UserRole
    plan_id: str
    """Empty for the default plan."""
    status: UserStatus
    grant: UserGrant
    created_ms: int
    has_password: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Who gave the right password, and the hash that it was right for."""

    user: User
    hashed: str = field(repr=False)


Guard = Callable[[AsyncConnection], Awaitable[None]]
"""What may stop a change with an error, when nobody else can change users any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserNews:
    """Users that changed."""

    revision: int
    users: list[User]
    unfit: list[str]
    """Ids of those whose grant cannot be read."""
    is_whole: bool
    """True when these are all users."""


async def create_user(  # noqa: PLR0913 - each is a field of its own
    database: Database,
    *,
    name: str,
    email: str | None = None,
    role: UserRole = UserRole.USER,
    plan_id: str = "",
    grant: UserGrant = NO_USER,
    password: str = "",
) -> User:
    """Make a user; without a password none can log in.

    Raises CONFLICT (`email_taken`), NOT_FOUND (`plan_not_found`), and BAD_REQUEST for a name, an
    address or a password that cannot be one.
    """
    fields = {"name": name, "email": email, "role": role, "plan_id": plan_id, "grant": grant}
    values = _values(fields)
    values["password"] = await hash_password(password) if password else ""
    user_id = new_id("usr_")
    row = {
        **values,
        "id": user_id,
        "status": UserStatus.ACTIVE.value,
        "created_ms": time.time_ns() // 1_000_000,
    }
    async with database.transaction() as connection:
        revision = await bump(connection, USERS)
        await _refuse_unfit(connection, values)
        await connection.execute(sa.insert(tables.users).values(**row, revision=revision))
        return await _read(connection, user_id)


async def update_user(
    database: Database,
    user_id: str,
    changes: Mapping[str, object],
    *,
    but: bytes | None = None,
    guard: Guard | None = None,
) -> tuple[User, User]:
    """Change `name`, `email`, `role`, `plan_id`, `status`, `grant` or `password` of a user.

    Returns them as they were and as they are then. `grant` may be a function from the one that they
    have: nobody changes it in between. A new password, and disabling, end every session of the user
    but the one with the digest `but`. An empty password takes it away. `guard` may raise what stops
    the change. Raises NOT_FOUND (`user_not_found`), and what `create_user` raises, also for any
    other field and for a value of another type.
    """
    password = changes.get("password")
    fields = {name: value for name, value in changes.items() if name not in ("password", "grant")}
    values = _values(fields)
    if "password" in changes:
        if not isinstance(password, str):
            raise _not_so("password")
        values["password"] = await hash_password(password) if password else ""
    async with database.transaction() as connection:
        revision = await bump(connection, USERS)
        before = await _read(connection, user_id)
        if guard is not None:
            await guard(connection)
        if "grant" in changes:
            values |= _values({"grant": settled(changes["grant"], before.grant)})
        await _refuse_unfit(connection, values, of=user_id)
        change = sa.update(tables.users).where(_users.id == user_id)
        await connection.execute(change.values(**values, revision=revision))
        if "password" in values or values.get("status") == UserStatus.DISABLED.value:
            end = sa.delete(tables.sessions).where(_sessions.user_id == user_id)
            await connection.execute(end if but is None else end.where(_sessions.digest != but))
        return before, await _read(connection, user_id)


async def find_user(database: Database, user_id: str) -> User:
    """Return a user; raise NOT_FOUND (`user_not_found`)."""
    async with database.transaction() as connection:
        return await _read(connection, user_id)


async def find_by_email(database: Database, email: str) -> User | None:
    """Return the user with this address, in whatever case; None when there is none."""
    row = await _row_of_email(database, email)
    return None if row is None else user_of(row)


async def list_users(
    database: Database, *, after: str = "", limit: int = 50, search: str = ""
) -> list[User]:
    """Return at most `limit` users after the id `after`, in the order of their ids.

    `search` is a part of a name, an address or an id, in whatever case; no sign in it is special.
    """
    query = sa.select(tables.users).where(_users.id > storable(after, 40)).order_by(_users.id)
    sought = storable(search, MAX_NAME_CHARS).lower()
    if sought:
        places = (sa.func.lower(_users.name), _users.email, _users.id)
        query = query.where(sa.or_(*(place.contains(sought, autoescape=True) for place in places)))
    async with database.transaction() as connection:
        rows = await connection.execute(query.limit(min(max(limit, 1), MAX_PAGE)))
        return [user_of(row) for row in rows.mappings()]


async def check_password(database: Database, email: str, password: str) -> Checked | None:
    """Return whose address and password these are; None for a wrong one, or a disabled user.

    It takes as long for an address that nobody has.
    """
    row = await _row_of_email(database, email)
    hashed: str = "" if row is None else row["password"]
    if not await fits(password, hashed) or row is None:
        return None
    if row["status"] != UserStatus.ACTIVE.value:
        return None
    if is_outdated(hashed):
        with suppress(GroxyError):  # it is right all the same, and renewed the next time
            hashed = await _renewed_hash(database, row["id"], hashed, password)
    return Checked(user=user_of(row), hashed=hashed)


async def _renewed_hash(database: Database, user_id: str, hashed: str, password: str) -> str:
    """Hash a password with the parameters of today; who changes it meanwhile has it so.

    Nobody but us reads the hash, so no revision is counted.
    """
    renewed = await hash_password(password)
    change = sa.update(tables.users).where(_users.id == user_id, _users.password == hashed)
    async with database.transaction() as connection:
        await connection.execute(change.values(password=renewed))
    return renewed


async def has_still(connection: AsyncConnection, checked: Checked) -> bool:
    """Return whether a user may log in still, with the password that was checked.

    Whoever asks keeps others from changing users until they have done what depends on it.
    """
    query = sa.select(_users.id).where(
        _users.id == checked.user.id,
        _users.password == checked.hashed,
        _users.status == UserStatus.ACTIVE.value,
    )
    return await connection.scalar(query) is not None


async def users_since(database: Database, revision: int) -> UserNews:
    """Return the users that changed after `revision`; 0 for all (`store.news`)."""
    users: list[User] = []
    unfit: list[str] = []

    def take(row: sa.RowMapping) -> None:
        try:
            users.append(user_of(row))
        except (msgspec.MsgspecError, ValueError):
            # One that a newer Groxy wrote must not keep the others from being loaded.
            unfit.append(row["id"])

    async with database.transaction(timeout_s=BULK_TIMEOUT_S) as connection:
        news = await read_rows_since(connection, tables.users, USERS, revision, take=take)
    return UserNews(revision=news.revision, users=users, unfit=unfit, is_whole=news.is_whole)


def user_of(row: sa.RowMapping) -> User:
    """Return the user of a row of the table."""
    return User(
        id=row["id"],
        name=row["name"],
        email=row["email"],
        role=UserRole(row["role"]),
        plan_id=row["plan_id"],
        status=UserStatus(row["status"]),
        grant=NO_USER if row["terms"] == "{}" else _grants.decode(row["terms"]),
        created_ms=row["created_ms"],
        has_password=bool(row["password"]),
    )


def no_such_user(user_id: str) -> GroxyError:
    """Return the error for a user that is not there."""
    message = f"There is no user {storable(user_id, 40)}. `groxy user list` shows the ids."
    return GroxyError(ErrorKind.NOT_FOUND, message, code="user_not_found")


async def _read(connection: AsyncConnection, user_id: str) -> User:
    row = None
    if user_id.isprintable():  # PostgreSQL takes no NUL
        query = sa.select(tables.users).where(_users.id == user_id)
        row = (await connection.execute(query)).mappings().first()
    if row is None:
        raise no_such_user(user_id)
    return user_of(row)


async def _row_of_email(database: Database, address: str) -> sa.RowMapping | None:
    email = _email_of(address)
    if email is None:
        return None
    async with database.transaction() as connection:
        query = sa.select(tables.users).where(_users.email == email)
        return (await connection.execute(query)).mappings().first()


async def _refuse_unfit(
    connection: AsyncConnection, values: Mapping[str, Any], *, of: str = ""
) -> None:
    """Raise an error for an address that another user has, and for a plan that is not there.

    Nobody else can write users or delete plans until the transaction ends, so this stays true.
    """
    if values.get("email") is not None:
        taken = sa.select(_users.id).where(_users.email == values["email"], _users.id != of)
        if await connection.scalar(taken) is not None:
            message = "Another user has this `email`. Choose another one."
            raise GroxyError(ErrorKind.CONFLICT, message, param="email", code="email_taken")
    if values.get("plan_id"):
        await lock(connection, PLANS)
        plan = sa.select(_plans.id).where(_plans.id == values["plan_id"])
        if await connection.scalar(plan) is None:
            raise no_such_plan(values["plan_id"])


def _values(changes: Mapping[str, object]) -> dict[str, Any]:
    """Return columns; raise BAD_REQUEST for what is no field, or of another type."""
    values: dict[str, Any] = {}
    for name, value in changes.items():
        match name, value:
            case "name", str():
                values[name] = _checked_name(value)
            case "email", None:
                values[name] = None
            case "email", str():
                values[name] = _checked_email(value)
            case "role", UserRole():
                values[name] = value.value
            case "status", UserStatus():
                values[name] = value.value
            case "plan_id", str() if value.isprintable():
                values[name] = value
            case "grant", UserGrant():
                values["terms"] = msgspec.json.encode(value).decode()
            case _:
                raise _not_so(name)
    return values


def _not_so(name: str) -> GroxyError:
    message = f"`{name[:64]}` of a user cannot be set so."
    return GroxyError(ErrorKind.BAD_REQUEST, message, param=name)


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable():
        message = f"`name` must have 1 to {MAX_NAME_CHARS} printable characters."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="name")
    return name


def _checked_email(address: str) -> str:
    email = _email_of(address)
    if email is None:
        message = "`email` must be an address such as ada@example.com."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="email")
    return email


def _email_of(address: str) -> str | None:
    """Return an address as it is kept; None for what is none."""
    address = address.strip()
    # Before it is put in lower case: then the Kelvin sign would be a plain k.
    if len(address) > MAX_EMAIL_CHARS or not address.isascii():
        return None
    email = address.lower()
    return email if _EMAIL.fullmatch(email) else None
