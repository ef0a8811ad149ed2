"""`groxy doctor`: every setting and where it came from, and whether each account works."""

import typer

from groxy.app.accounts import all_accounts
from groxy.cli.context import Config, DataDir, loaded_settings, opened_store, print_table, run
from groxy.routing.lists import check
from groxy.settings import Loaded, shown_settings


def doctor(config: Config = None, data_dir: DataDir = None) -> None:
    """Show every setting and where it came from, and check each account with a cheap call."""
    loaded = loaded_settings(config, data_dir)
    settings = [(shown.name, shown.value, shown.origin) for shown in shown_settings(loaded)]
    print_table(("setting", "value", "from"), settings)
    for note in loaded.notes:
        typer.echo(f"note: {note}")
    verdicts = run(_verdicts(loaded))
    print_table(("account", "upstream", "pool", "from", "check"), verdicts)
    if any(row[-1] != "ok" for row in verdicts):
        raise typer.Exit(1)


async def _verdicts(loaded: Loaded) -> list[tuple[str, str, str, str, str]]:
    async with opened_store(loaded) as store:
        accounts = await all_accounts(loaded.settings, store.database, store.secret)
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
