"""`groxy account` as a switchboard: enable, disable, cool, clear, test, refresh.

In: names. Out: orders to the admin API, and what became of them. Status 1 says that something
failed.
"""

from collections.abc import Sequence
from typing import Annotated

import typer

from groxy.cli.context import Config, DataDir, print_table
from groxy.cli.operator import (
    AdminClient,
    AppKeyFile,
    Told,
    Url,
    at_desk,
    counted,
    in_parts,
    part,
    plain,
    way_of,
)
from groxy.cli.tasks import followed
from groxy.core.errors import ErrorKind, GroxyError

_MOST_SHOWN = 100

Name = Annotated[str, typer.Argument(help="Its name or id.")]
Names = Annotated[list[str], typer.Argument(help="Names or ids.")]
Model = Annotated[str, typer.Option("--model", help="Only this model, by the id that is sent.")]


def enable(
    names: Names,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Put accounts back into service, whatever was held against them."""
    way = way_of(url, app_key_file, config, data_dir)
    _say(at_desk(way, lambda desk: _switch(desk, names, disabled=False)), names, "Enabled")


def disable(
    names: Names,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Take accounts out of service until they are enabled."""
    way = way_of(url, app_key_file, config, data_dir)
    _say(at_desk(way, lambda desk: _switch(desk, names, disabled=True)), names, "Disabled")


async def _switch(desk: AdminClient, names: Sequence[str], *, disabled: bool) -> int:
    """Switch accounts; return how many of those named were there."""
    done = 0
    for some in in_parts(names):
        body = {"tokens": some, "disabled": disabled}
        done += (await desk.post("/tokens/disabled/batch", body))["summary"]["ok"]
    return done


def _say(done: int, names: Sequence[str], verb: str) -> None:
    typer.echo(f"{verb} {names[0] if len(names) == 1 else counted(done, 'account')}.")
    missing = len(set(names)) - done
    if missing:
        typer.secho(f"{missing} of those named were not there.", fg="red", err=True)
        raise typer.Exit(1)


def cool(
    name: Name,
    seconds: Annotated[float, typer.Option("--for", help="Seconds.")],
    model: Model = "",
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Let an account rest for a while, or one model of it."""

    async def work(desk: AdminClient) -> None:
        _require_memory(desk)
        await desk.post(f"/tokens/{part(name)}/cool", {"seconds": seconds, "model": model})

    at_desk(way_of(url, app_key_file, config, data_dir), work)
    typer.echo(f"{name} rests for {seconds:g} s{f' from {model}' if model else ''}.")


def clear(
    names: Names,
    model: Model = "",
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """End rests of accounts before their time."""

    async def work(desk: AdminClient) -> None:
        if model:
            _require_memory(desk)
        for name in dict.fromkeys(names):
            await desk.post(f"/tokens/{part(name)}/clear", {"model": model})
            typer.echo(f"Cleared {name}.")

    at_desk(way_of(url, app_key_file, config, data_dir), work)


def _require_memory(desk: AdminClient) -> None:
    """Raise where nobody but this command would ever learn of a rest."""
    if desk.is_alone:
        message = (
            "A gateway without Redis keeps rests in its own memory. "
            "Name the one that runs: --url http://127.0.0.1:8000."
        )
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="url")


def try_account(
    name: Name,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Check an account with a cheap call to its upstream."""
    way = way_of(url, app_key_file, config, data_dir)
    verdict = at_desk(way, lambda desk: desk.post(f"/tokens/{part(name)}/test"))
    typer.echo(f"{name}: {'ok' if verdict['ok'] else plain(verdict['error'])}")
    if not verdict["ok"]:
        raise typer.Exit(1)


def refresh(
    names: Annotated[list[str] | None, typer.Argument(help="Names or ids.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="All accounts in service.")] = False,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", min=1, max=80, help="Accounts at once.")
    ] = None,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Ask the accounts' upstreams for the state of the key, quota and models."""
    if bool(names) is everyone:
        raise GroxyError(ErrorKind.BAD_REQUEST, "Name accounts, or give --all.", param="names")
    way = way_of(url, app_key_file, config, data_dir)
    parts = [[]] if everyone else in_parts(names or ())
    results = at_desk(way, lambda desk: _refresh(desk, parts, concurrency))
    failed = [one for one in results if "error" in one]
    ok = len(results) - len(failed)
    if failed:
        rows = [(one["name"], one["token"], one["error"]) for one in failed[:_MOST_SHOWN]]
        print_table(("account", "key", "error"), rows)
    typer.echo(f"Refreshed {ok} of {counted(len(results), 'account')}.")
    named = set(names or ())
    known = {word for one in results for word in (one["id"], one["name"])}
    # Somebody may name an account twice, or by its credential.
    left = min(len(named - known), len(named) - len(results))
    if left > 0:
        message = f"{left} of those named are not there, or not in service."
        typer.secho(message, fg="red", err=True)
    if failed or left > 0:
        raise typer.Exit(1)


async def _refresh(
    desk: AdminClient, parts: Sequence[Sequence[str]], concurrency: int | None
) -> list[Told]:
    results: list[Told] = []
    for some in parts:
        task = await desk.call(
            "POST",
            "/batch/refresh",
            body={"tokens": some},
            query={"async": True, "all_manageable": not some, "concurrency": concurrency},
        )
        last = await followed(desk, task, "Refreshing")
        told = (last.get("result") or {}).get("results", {})
        results += ({**one, "id": account_id} for account_id, one in told.items())
        if last["type"] == "cancelled":
            raise GroxyError(ErrorKind.CANCELLED, "The refresh was stopped before its end.")
    return results
