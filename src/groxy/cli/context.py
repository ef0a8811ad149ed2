"""What commands share: their options, loading settings, and an open store."""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from groxy.observe import logs
from groxy.settings import Loaded, load_settings
from groxy.store.database import Database
from groxy.store.secrets import InstallationSecret

T = TypeVar("T")

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
    loaded.settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return loaded


@asynccontextmanager
async def opened_store(loaded: Loaded) -> AsyncIterator[Store]:
    """Open the store of these settings."""
    settings = loaded.settings
    secret = InstallationSecret.of(settings.data_dir)
    database = await Database.open(settings.store_url().reveal(), settings.data_dir)
    try:
        yield Store(database, secret)
    finally:
        await database.close()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; only warnings and worse are logged meanwhile."""
    logs.configure(level="warning", form="console")
    return asyncio.run(work)
