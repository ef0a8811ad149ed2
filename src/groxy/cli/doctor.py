"""`groxy doctor`: every setting and where it came from, and whether each account works."""

import typer

from groxy.cli.context import (
    Config,
    DataDir,
    loaded_settings,
    opened_accounts,
    opened_store,
    print_table,
    run,
)
from groxy.core.errors import GroxyError
from groxy.routing.enquiries import check
from groxy.settings import Loaded, shown_settings, with_overrides
from groxy.store.overrides import read_overrides


def doctor(config: Config = None, data_dir: DataDir = None) -> None:
    """Show every setting and where it came from, and check each account with a cheap call."""
    loaded = loaded_settings(config, data_dir)
    try:
        loaded = run(_with_live_changes(loaded))
    finally:
        # Also when the store cannot be opened: then they may say why.
        settings = [(shown.name, shown.value, shown.origin) for shown in shown_settings(loaded)]
        print_table(("setting", "value", "from"), settings)
        for note in loaded.notes:
            typer.echo(f"note: {note}")
    verdicts = run(_verdicts(loaded))
    print_table(("account", "upstream", "pool", "from", "check"), verdicts)
    if any(row[-1] != "ok" for row in verdicts):
        raise typer.Exit(1)


async def _with_live_changes(loaded: Loaded) -> Loaded:
    """Return the settings with what the operator changed through the admin API."""
    async with opened_store(loaded) as store:
        overrides = await read_overrides(store.database, store.secret)
    try:
        return with_overrides(loaded, overrides)
    except GroxyError as error:
        message = f"What was changed through the admin API does not fit: {error.message}"
        raise GroxyError(error.kind, message, param=error.param, code=error.code) from None


async def _verdicts(loaded: Loaded) -> list[tuple[str, str, str, str, str]]:
    async with opened_accounts(loaded) as accounts:
        return [
            (
                account.name,
                account.upstream.name,
                account.pool.value,
                account.origin,
                await check(account),
            )
            for account in accounts
        ]
