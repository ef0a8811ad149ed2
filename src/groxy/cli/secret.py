"""`groxy secret`: which keys seal what is stored, and putting a new one in their place."""

from typing import Annotated

import typer

from groxy.cli.context import Config, DataDir, loaded_settings, opened_store, print_table, run
from groxy.settings import Loaded
from groxy.store import resealing
from groxy.store.resealing import Rotation, Uses
from groxy.store.sealing_keys import KEYS_FILE

_NAMED_ROWS = 10

app = typer.Typer(no_args_is_help=True)

ForgetOld = Annotated[
    bool,
    typer.Option(
        "--forget-old",
        help="Afterwards drop the keys that nothing stored is sealed with any more. Summaries of "
        "/v1/responses/compact that callers still carry are then lost to them.",
    ),
]


@app.command("show")
def show(config: Config = None, data_dir: DataDir = None) -> None:
    """Show where the secret is from, and how many rows are sealed with which key."""
    origin, uses = run(_show(loaded_settings(config, data_dir)))
    typer.echo(f"The installation's secret is {origin}.")
    print_table(("key", "state", *uses[0].rows), [_row(one, uses) for one in uses])


def _row(one: Uses, uses: list[Uses]) -> tuple[str, ...]:
    newest = [each for each in uses if each.is_known][-1]
    if not one.is_known:
        state = f"missing in {KEYS_FILE}"
    else:
        state = "seals" if one is newest else "opens only"
    return (one.key or "(from the secret)", state, *map(str, one.rows.values()))


async def _show(loaded: Loaded) -> tuple[str, list[Uses]]:
    async with opened_store(loaded) as store:
        return store.secret.origin, await resealing.key_uses(store.database, store.secret)


@app.command("rotate")
def rotate(forget_old: ForgetOld = False, config: Config = None, data_dir: DataDir = None) -> None:
    """Make a new sealing key and seal everything stored anew, while the gateway serves.

    It may be broken off and started again: then it goes on with the key that it made.
    """
    loaded = loaded_settings(config, data_dir)
    rotation = run(_rotate(loaded))
    typer.echo(
        f"Went on with the key {rotation.key}, whose rotation was broken off."
        if rotation.is_resumed
        else f"Made the key {rotation.key}. Back up {KEYS_FILE} in the data folder."
    )
    for table, rows in rotation.resealed.items():
        typer.echo(f"Sealed anew in {table}: {rows}")
    is_complete = _is_complete(rotation)
    if forget_old:
        typer.echo("Waiting until running gateways are done with old keys …")
        typer.echo(f"Forgot: {', '.join(run(_forget(loaded))) or 'no key'}")
    if not is_complete:
        raise typer.Exit(1)


def _is_complete(rotation: Rotation) -> bool:
    """Return whether all was sealed anew; say on standard error what was not."""
    if rotation.left:
        message = f"{rotation.left} rows were in use until the end. Run the command again."
        typer.secho(message, fg="red", err=True)
    if rotation.unreadable:
        named = rotation.unreadable[:_NAMED_ROWS]
        more = ", …" if len(rotation.unreadable) > len(named) else ""
        message = (
            f"{len(rotation.unreadable)} rows do not open and were left as they are: "
            f"{', '.join(named)}{more}. Restore or remove them."
        )
        typer.secho(message, fg="red", err=True)
    return not rotation.left and not rotation.unreadable


async def _rotate(loaded: Loaded) -> Rotation:
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    async with opened_store(loaded) as store:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task("Sealing anew", total=None)
            return await resealing.rotate(
                store.database,
                store.secret,
                report=lambda done, total: progress.update(bar, completed=done, total=total),
                settle_s=resealing.SETTLE_S,
            )


async def _forget(loaded: Loaded) -> list[str]:
    async with opened_store(loaded) as store:
        wait_s = resealing.FORGET_AFTER_S
        return await resealing.forget_unused(store.database, store.secret, settle_s=wait_s)
