"""`groxy key`: make, list and revoke keys. A running gateway notices within a second."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from groxy.cli.context import Config, DataDir, loaded_settings, opened_store, print_table, run
from groxy.settings import Loaded
from groxy.store.keys import KeyRole, StoredKey, create_key, list_keys, revoke_key

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Option("--name", help="Your name for the key.")]
Role = Annotated[KeyRole, typer.Option("--role", help="caller: /v1. operator: /admin/api.")]


@app.command("create")
def create(
    name: Name = "unnamed",
    role: Role = KeyRole.CALLER,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it, for the only time."""
    typer.echo(run(_create(loaded_settings(config, data_dir), name, role)))


async def _create(loaded: Loaded, name: str, role: KeyRole) -> str:
    async with opened_store(loaded) as store:
        key, _ = await create_key(store.database, store.secret, name=name, role=role)
        return key


@app.command("list")
def show(config: Config = None, data_dir: DataDir = None) -> None:
    """List the stored keys."""
    keys = run(_keys(loaded_settings(config, data_dir)))
    print_table(("id", "name", "role", "ends in", "made", "state"), map(_row, keys))


def _row(key: StoredKey) -> tuple[str, ...]:
    state = f"revoked {_day(key.revoked_ms)}" if key.revoked_ms else "in force"
    return (key.id, key.name, key.role.value, key.hint, _day(key.created_ms), state)


async def _keys(loaded: Loaded) -> list[StoredKey]:
    async with opened_store(loaded) as store:
        return await list_keys(store.database)


@app.command("revoke")
def revoke(key_id: str, config: Config = None, data_dir: DataDir = None) -> None:
    """Revoke a key for good, by its id."""
    run(_revoke(loaded_settings(config, data_dir), key_id))
    typer.echo(f"Revoked {key_id}.")


async def _revoke(loaded: Loaded, key_id: str) -> None:
    async with opened_store(loaded) as store:
        await revoke_key(store.database, key_id)


def _day(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d")
