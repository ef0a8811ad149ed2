"""`groxy user`: who owns keys and a balance. A running gateway notices within a second."""

import sys
from typing import Annotated

import typer

from groxy.cli.context import Config, DataDir, loaded_settings, opened_store, print_table, run
from groxy.cli.people import plan_named, rates_text, user_named
from groxy.cli.spans import day_text
from groxy.core.amounts import read_usd, usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import Rates, UserGrant
from groxy.policy.grants import checked_user_grant
from groxy.settings import Loaded
from groxy.store.database import chunks
from groxy.store.ledger import balances_of, user_side
from groxy.store.users import (
    User,
    UserRole,
    UserStatus,
    create_user,
    list_users,
    update_user,
)

app = typer.Typer(no_args_is_help=True)

Named = Annotated[str, typer.Argument(metavar="USER", help="A user's id or e-mail address.")]


@app.command("create")
def create(
    name: Annotated[str, typer.Option("--name", help="Their name.")],
    email: Annotated[str | None, typer.Option("--email", help="For logging in.")] = None,
    role: Annotated[UserRole, typer.Option("--role", help="admin may do everything.")] = (
        UserRole.USER
    ),
    plan: Annotated[str, typer.Option("--plan", help="A plan's id or name.")] = "",
    rpm: Annotated[int, typer.Option("--rpm", help="Requests a minute, for the plan's.")] = 0,
    tpm: Annotated[int, typer.Option("--tpm", help="Tokens a minute, for the plan's.")] = 0,
    concurrency: Annotated[int, typer.Option("--concurrency", help="Requests at once.")] = 0,
    overdraft: Annotated[
        str, typer.Option("--overdraft", help="US dollars by which the balance may fall below 0.")
    ] = "0",
    alert_below: Annotated[
        str | None, typer.Option("--alert-below", help="Balance below which you are told.")
    ] = None,
    note: Annotated[str, typer.Option("--note", help="Words of your own.")] = "",
    password: Annotated[
        bool, typer.Option("--password", help="Ask for a password; from a pipe, read one line.")
    ] = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Make a user and print the id."""
    has_rates = bool(rpm or tpm or concurrency)
    rates = Rates(requests=rpm, tokens=tpm, concurrency=concurrency) if has_rates else None
    below = None if alert_below is None else read_usd(alert_below, "--alert-below")
    grant = checked_user_grant(
        UserGrant(
            rates=rates,
            overdraft=read_usd(overdraft, "--overdraft"),
            alert_below=below,
            note=note,
        )
    )
    fields = {"name": name, "email": email, "plan": plan}
    secret = _asked_password() if password else ""
    loaded = loaded_settings(config, data_dir)
    typer.echo(run(_create(loaded, fields, role, grant, secret)).id)


async def _create(
    loaded: Loaded,
    fields: dict[str, str | None],
    role: UserRole,
    grant: UserGrant,
    password: str,
) -> User:
    async with opened_store(loaded) as store:
        plan = fields["plan"]
        return await create_user(
            store.database,
            name=fields["name"] or "",
            email=fields["email"],
            role=role,
            plan_id=(await plan_named(store.database, plan)).id if plan else "",
            grant=grant,
            password=password,
        )


@app.command("list")
def show_all(
    search: Annotated[str, typer.Option("--search", help="Part of a name or address.")] = "",
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1_000)] = 100,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """List users."""
    users = run(_users(loaded_settings(config, data_dir), search, count))
    columns = ("id", "name", "e-mail", "role", "plan", "balance, USD", "status", "made")
    print_table(columns, [_row(user, ticks) for user, ticks in users])


def _row(user: User, ticks: int) -> tuple[str, ...]:
    return (
        user.id,
        user.name,
        user.email or "",
        user.role.value,
        user.plan_id or "default",
        usd_text(ticks),
        user.status.value,
        day_text(user.created_ms),
    )


async def _users(loaded: Loaded, search: str, count: int) -> list[tuple[User, int]]:
    async with opened_store(loaded) as store:
        users = await list_users(store.database, search=search, limit=count)
        balances: dict[str, tuple[int, int]] = {}
        for part in chunks(users):
            names = [user_side(user.id) for user in part]
            balances |= await balances_of(store.database, names)
        return [(user, balances[user_side(user.id)][0]) for user in users]


@app.command("show")
def show(user: Named, config: Config = None, data_dir: DataDir = None) -> None:
    """Show one user."""
    found, ticks = run(_user(loaded_settings(config, data_dir), user))
    grant = found.grant
    below = "" if grant.alert_below is None else usd_text(grant.alert_below)
    rows = (
        ("id", found.id),
        ("name", found.name),
        ("e-mail", found.email or ""),
        ("role", found.role.value),
        ("status", found.status.value),
        ("plan", found.plan_id or "default"),
        ("balance, USD", usd_text(ticks)),
        ("made", day_text(found.created_ms)),
        ("password", "set" if found.has_password else "none"),
        ("rates", rates_text(grant.rates) or "the plan's"),
        ("overdraft, USD", usd_text(grant.overdraft)),
        ("alert below, USD", below),
        ("note", grant.note),
    )
    print_table(("field", "value"), rows)


async def _user(loaded: Loaded, named: str) -> tuple[User, int]:
    async with opened_store(loaded) as store:
        user = await user_named(store.database, named)
        name = user_side(user.id)
        return user, (await balances_of(store.database, [name]))[name][0]


@app.command("set-plan")
def set_plan(
    user: Named,
    plan: Annotated[str, typer.Argument(help="A plan's id or name; empty for the default one.")],
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Give a user another plan."""
    run(_set_plan(loaded_settings(config, data_dir), user, plan))
    typer.echo(f"{user} has another plan.")


async def _set_plan(loaded: Loaded, named: str, plan: str) -> None:
    async with opened_store(loaded) as store:
        user = await user_named(store.database, named)
        plan_id = (await plan_named(store.database, plan)).id if plan else ""
        await update_user(store.database, user.id, {"plan_id": plan_id})


@app.command("disable")
def disable(user: Named, config: Config = None, data_dir: DataDir = None) -> None:
    """Refuse a user's keys, end their sessions, and let them log in no more."""
    run(_change(loaded_settings(config, data_dir), user, {"status": UserStatus.DISABLED}))
    typer.echo(f"Disabled {user}.")


@app.command("enable")
def enable(user: Named, config: Config = None, data_dir: DataDir = None) -> None:
    """Let a disabled user in again."""
    run(_change(loaded_settings(config, data_dir), user, {"status": UserStatus.ACTIVE}))
    typer.echo(f"Enabled {user}.")


@app.command("set-password")
def set_password(user: Named, config: Config = None, data_dir: DataDir = None) -> None:
    """Ask for a user's new password, or read it as one line of standard input; end all sessions."""
    password = _asked_password()
    run(_change(loaded_settings(config, data_dir), user, {"password": password}))
    typer.echo(f"{user} has a new password.")


async def _change(loaded: Loaded, named: str, changes: dict[str, object]) -> None:
    async with opened_store(loaded) as store:
        user = await user_named(store.database, named)
        await update_user(store.database, user.id, changes)


def _asked_password() -> str:
    """Return a password that somebody typed twice, or the first line of what was piped in.

    It is no option: those are in the shell's history, and everybody's to see.
    """
    if sys.stdin.isatty():
        asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return asked
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        message = "There is no password on standard input."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="password")
    return password
