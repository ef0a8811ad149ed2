"""What commands share: their options, loading settings, an open store, and printing tables."""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from groxy.core.errors import ErrorKind, GroxyError
from groxy.observe import logs
from groxy.routing.account import Account
from groxy.settings import Loaded, load_settings
from groxy.store.database import Database
from groxy.store.secrets import InstallationSecret

T = TypeVar("T")
_NO_WRAP_CHARS = 100_000
"""Wider than any row."""

Config = Annotated[
    Path | None, typer.Option("--config", help="Settings file (TOML). Also GROXY_CONFIG.")
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Data folder. Also GROXY_DATA_DIR.")
]


@dataclass(frozen=True, slots=True)
class Store:
    """An open store and the secret that goes with it."""

    database: Database
    secret: InstallationSecret


def loaded_settings(
    config: Path | None, data_dir: Path | None, flags: dict[str, object] | None = None
) -> Loaded:
    """Load the settings from everywhere; make the data folder, readable by its owner only."""
    loaded = load_settings(config=config, data_dir=data_dir, flags=flags, environ=os.environ)
    folder = loaded.settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        message = f"The data folder {folder} cannot be made: {error.strerror}. Name another one."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="data_dir") from None
    return loaded


@asynccontextmanager
async def opened_store(loaded: Loaded) -> AsyncIterator[Store]:
    """Open the store of these settings."""
    settings = loaded.settings
    secret = InstallationSecret.of(settings.data_dir, settings.app.secret_bytes())
    database = await Database.open(settings.store_url().reveal(), settings.data_dir)
    try:
        yield Store(database, secret)
    finally:
        await database.close()


@asynccontextmanager
async def opened_accounts(loaded: Loaded) -> AsyncIterator[list[Account]]:
    """Return the accounts of settings, environment and store, ready to be asked."""
    from groxy.app.accounts import all_accounts
    from groxy.app.transports import Transports

    settings = loaded.settings
    transports = Transports(connect_timeout_s=settings.attempts.connect_timeout_s)
    try:
        async with opened_store(loaded) as store:
            accounts = await all_accounts(settings, store.database, store.secret, transports)
        yield accounts
    finally:
        await transports.close()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table. Into a pipe or a file each row is one line, as wide as it has to be.

    In a narrow terminal a long cell goes on in the next line; nothing is cut off. Cells are shown
    as they are, but for what a terminal would obey: callers choose some of them.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=_NO_WRAP_CHARS)
    named = [Column(name, overflow="fold") for name in columns]
    table = Table(*named, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for row in rows:
        table.add_row(*(Text(_printable(cell)) for cell in row))
    console.print(table)


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; only warnings and worse are logged, and are there when it ends."""
    logs.configure(level="warning", form="console")
    try:
        return asyncio.run(work)
    finally:
        logs.flush()
