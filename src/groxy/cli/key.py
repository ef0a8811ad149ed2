"""`groxy key`: make, list, change and revoke keys. A running gateway notices within a second."""

import time
from typing import Annotated

import typer

from groxy.cli.context import Config, DataDir, loaded_settings, opened_store, print_table, run
from groxy.cli.people import user_named
from groxy.cli.spans import day_text, read_end, read_span
from groxy.core.amounts import read_usd
from groxy.core.grants import ENDPOINTS, Caps, KeyGrant, Rates
from groxy.policy.grants import checked_key_grant
from groxy.settings import Loaded
from groxy.store.keys import (
    KeyRole,
    StoredKey,
    by_operator,
    create_key,
    list_keys,
    revoke_key,
    rotate_key,
    update_key,
)

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Option("--name", help="Your name for the key.")]
Role = Annotated[KeyRole, typer.Option("--role", help="caller: /v1. operator: /admin/api.")]
OfUser = Annotated[
    str | None, typer.Option("--user", help="Whose it is: a user's id or e-mail address.")
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="A model it may ask for; * is any characters. Repeatable."),
]
Endpoints = Annotated[
    list[str] | None,
    typer.Option("--endpoint", help=f"What it is for: {', '.join(ENDPOINTS)}. Repeatable."),
]
Ips = Annotated[
    list[str] | None,
    typer.Option("--ip", help="An address or network that may use it. Repeatable."),
]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="A word of your own. Repeatable.")]
CapDay = Annotated[str | None, typer.Option("--cap-day", help="US dollars a day (UTC).")]
CapWeek = Annotated[str | None, typer.Option("--cap-week", help="US dollars a week.")]
CapMonth = Annotated[str | None, typer.Option("--cap-month", help="US dollars a month.")]
CapTotal = Annotated[str | None, typer.Option("--cap-total", help="US dollars all told.")]
Rpm = Annotated[int, typer.Option("--rpm", help="Requests a minute; 0 is no bound.")]
Tpm = Annotated[int, typer.Option("--tpm", help="Tokens a minute; 0 is no bound.")]
Concurrency = Annotated[int, typer.Option("--concurrency", help="Requests at once; 0: no bound.")]
Expires = Annotated[
    str | None, typer.Option("--expires", help="When it ends: 90d, or a day such as 2027-01-31.")
]
Provisioning = Annotated[
    bool, typer.Option("--provisioning", help="It makes keys at /v1/keys and does nothing else.")
]


@app.command("create")
def create(
    name: Name = "unnamed",
    role: Role = KeyRole.CALLER,
    user: OfUser = None,
    model: Models = None,
    endpoint: Endpoints = None,
    ip: Ips = None,
    tag: Tags = None,
    cap_day: CapDay = None,
    cap_week: CapWeek = None,
    cap_month: CapMonth = None,
    cap_total: CapTotal = None,
    rpm: Rpm = 0,
    tpm: Tpm = 0,
    concurrency: Concurrency = 0,
    expires: Expires = None,
    provisioning: Provisioning = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it, for the only time."""
    grant = checked_key_grant(
        KeyGrant(
            models=tuple(model or ()),
            endpoints=tuple(endpoint or ()),
            ips=tuple(ip or ()),
            tags=tuple(tag or ()),
            caps=_caps(day=cap_day, week=cap_week, month=cap_month, total=cap_total),
            rates=Rates(requests=rpm, tokens=tpm, concurrency=concurrency),
            is_provisioning=provisioning,
        )
    )
    expires_ms = None if expires is None else read_end(expires, "--expires")
    loaded = loaded_settings(config, data_dir)
    typer.echo(run(_create(loaded, name, role, user, grant, expires_ms)))


def _caps(**given: str | None) -> Caps:
    return Caps(
        **{
            name: read_usd(value, f"--cap-{name}")
            for name, value in given.items()
            if value is not None
        }
    )


async def _create(
    loaded: Loaded,
    name: str,
    role: KeyRole,
    user: str | None,
    grant: KeyGrant,
    expires_ms: int | None,
) -> str:
    async with opened_store(loaded) as store:
        owner = "" if user is None else (await user_named(store.database, user)).id
        key, _ = await create_key(
            store.database,
            store.secret,
            name=name,
            role=role,
            user_id=owner,
            grant=grant,
            expires_ms=expires_ms,
        )
        return key


@app.command("list")
def show(user: OfUser = None, config: Config = None, data_dir: DataDir = None) -> None:
    """List the stored keys."""
    keys = run(_keys(loaded_settings(config, data_dir), user))
    print_table(("id", "name", "role", "user", "ends in", "made", "state"), map(_row, keys))


def _row(key: StoredKey) -> tuple[str, ...]:
    made = day_text(key.created_ms)
    return (key.id, key.name, key.role.value, key.user_id, key.hint, made, _state(key))


def _state(key: StoredKey) -> str:
    if key.revoked_ms is not None:
        return f"revoked {day_text(key.revoked_ms)}"
    if key.rests_since_ms is not None:
        whose = " by the operator" if key.suspended_ms is not None else ""
        return f"disabled{whose} {day_text(key.rests_since_ms)}"
    if key.expires_ms is None:
        return "in force"
    is_over = key.expires_ms <= time.time_ns() // 1_000_000
    return f"{'expired' if is_over else 'in force until'} {day_text(key.expires_ms)}"


async def _keys(loaded: Loaded, user: str | None) -> list[StoredKey]:
    async with opened_store(loaded) as store:
        keys = await list_keys(store.database)
        if user is None:
            return keys
        owner = await user_named(store.database, user)
        return [key for key in keys if key.user_id == owner.id]


@app.command("revoke")
def revoke(key_id: str, config: Config = None, data_dir: DataDir = None) -> None:
    """Revoke a key for good, by its id."""
    run(_revoke(loaded_settings(config, data_dir), key_id))
    typer.echo(f"Revoked {key_id}.")


async def _revoke(loaded: Loaded, key_id: str) -> None:
    async with opened_store(loaded) as store:
        await revoke_key(store.database, key_id)


@app.command("rotate")
def rotate(
    key_id: str,
    grace: Annotated[
        str, typer.Option("--grace", help="How long the old secret works: 24h. 0: not at all.")
    ] = "0",
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Give a key another secret and print it, for the only time."""
    grace_ms = read_span(grace, "--grace")
    typer.echo(run(_rotate(loaded_settings(config, data_dir), key_id, grace_ms)))


async def _rotate(loaded: Loaded, key_id: str, grace_ms: int) -> str:
    async with opened_store(loaded) as store:
        key, _ = await rotate_key(store.database, store.secret, key_id, grace_ms=grace_ms)
        return key


@app.command("disable")
def disable(key_id: str, config: Config = None, data_dir: DataDir = None) -> None:
    """Refuse a key until it is enabled again."""
    run(_set_disabled(loaded_settings(config, data_dir), key_id, disabled=True))
    typer.echo(f"Disabled {key_id}.")


@app.command("enable")
def enable(key_id: str, config: Config = None, data_dir: DataDir = None) -> None:
    """Accept a disabled key again."""
    run(_set_disabled(loaded_settings(config, data_dir), key_id, disabled=False))
    typer.echo(f"Enabled {key_id}.")


async def _set_disabled(loaded: Loaded, key_id: str, *, disabled: bool) -> None:
    async with opened_store(loaded) as store:
        await update_key(store.database, key_id, by_operator(disabled=disabled))
