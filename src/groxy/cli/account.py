"""`groxy account`: accounts through the admin API. A running gateway notices within a second.

In: options. Out: requests to the admin API, and its answers in words. A credential is never printed
but by an export that was asked for it.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from groxy.cli import account_list, account_orders, account_terms as terms, account_transfer
from groxy.cli.account_terms import fields_of, read_api_key
from groxy.cli.context import Config, DataDir
from groxy.cli.operator import (
    AdminClient,
    AppKeyFile,
    Told,
    Url,
    at_desk,
    checked,
    content_of,
    counted,
    in_parts,
    part,
    way_of,
)
from groxy.core.errors import ErrorKind, GroxyError
from groxy.settings import rules

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Its name or id.")]
Names = Annotated[list[str], typer.Argument(help="Names or ids.")]


@app.command("add")
def add(
    name: Annotated[str | None, typer.Argument(help="Left out: one is made.")] = None,
    upstream: Annotated[
        str, typer.Option("--upstream", help="Who serves it. Left out: as the key begins.")
    ] = "",
    api_key_file: terms.KeyFile = None,
    base_url: terms.BaseUrl = None,
    proxy_url: terms.ProxyUrl = None,
    pool: terms.PoolGiven = None,
    option: terms.Options = None,
    tag: terms.TagsGiven = None,
    weight: terms.Weight = None,
    priority: terms.Priority = None,
    max_in_flight: terms.MaxInFlight = None,
    model: terms.Models = None,
    rpm: terms.Rpm = None,
    tpm: terms.Tpm = None,
    quota: terms.Quotas = None,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Add an account. Its key is asked for, or read from a file; it is stored sealed."""
    draft = fields_of(
        base_url=base_url,
        proxy_url=proxy_url,
        pool=pool,
        option=option,
        tag=tag,
        weight=weight,
        priority=priority,
        max_in_flight=max_in_flight,
        model=model,
        rpm=rpm,
        tpm=tpm,
        quota=quota,
    )
    if name is not None:
        draft["name"] = checked("The name", rules.check_account_name, name)
    if upstream:
        draft["upstream"] = upstream
    way = way_of(url, app_key_file, config, data_dir)
    draft["token"] = _key_to_add(upstream, api_key_file)
    typer.echo(f"Added {at_desk(way, lambda desk: _add(desk, draft))}.")


def _key_to_add(upstream: str, file: Path | None) -> str:
    from groxy.upstreams import discover

    known = discover().get(upstream)
    if file is not None:
        return read_api_key(checked(str(file), content_of, str(file)))
    if known is not None and not known.needs_key:
        return ""
    return read_api_key(typer.prompt("API key", hide_input=True))


async def _add(desk: AdminClient, draft: dict[str, Any]) -> str:
    """Add an account and return its name."""
    done = await desk.post("/tokens/add", {"tokens": [draft]})
    if not done["count"]:
        twin = done["duplicates"][0]
        message = f"This account is there already, as {twin['name']!r} ({twin['id']})."
        raise GroxyError(ErrorKind.CONFLICT, message)
    if "name" in draft:
        return str(draft["name"])
    return str((await desk.get(f"/tokens/{part(done['ids'][0])}"))["name"])


@app.command("edit")
def edit(
    name: Name,
    new_name: Annotated[str | None, typer.Option("--name", help="A new name.")] = None,
    api_key_file: terms.KeyFile = None,
    base_url: terms.BaseUrl = None,
    proxy_url: terms.ProxyUrl = None,
    pool: terms.PoolGiven = None,
    option: terms.Options = None,
    tag: terms.TagsGiven = None,
    weight: terms.Weight = None,
    priority: terms.Priority = None,
    max_in_flight: terms.MaxInFlight = None,
    model: terms.Models = None,
    rpm: terms.Rpm = None,
    tpm: terms.Tpm = None,
    quota: terms.Quotas = None,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Change a stored account. What is not given stays; "" takes a value back to the usual one."""
    change = fields_of(
        base_url=base_url,
        proxy_url=proxy_url,
        pool=pool,
        option=option,
        tag=tag,
        weight=weight,
        priority=priority,
        max_in_flight=max_in_flight,
        model=model,
        rpm=rpm,
        tpm=tpm,
        quota=quota,
    )
    if new_name is not None:
        change["name"] = checked("--name", rules.check_account_name, new_name)
    if api_key_file is not None:
        change["token"] = read_api_key(checked(str(api_key_file), content_of, str(api_key_file)))
    if not change:
        message = "Nothing to change was given. `groxy account edit --help` lists what can be."
        raise GroxyError(ErrorKind.BAD_REQUEST, message)
    way = way_of(url, app_key_file, config, data_dir)
    at_desk(way, lambda desk: _edit(desk, name, change))
    typer.echo(f"Changed {new_name or name}.")


async def _edit(desk: AdminClient, name: str, change: dict[str, Any]) -> Told:
    return await desk.call("PUT", "/tokens/edit", body={"old_token": name, **change})


@app.command("tag")
def tag(
    names: Names,
    added: Annotated[list[str] | None, typer.Option("--add", help="A tag. Repeatable.")] = None,
    removed: Annotated[
        list[str] | None, typer.Option("--remove", help="A tag. Repeatable.")
    ] = None,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Give stored accounts tags, and take some from them."""
    if not added and not removed:
        raise GroxyError(ErrorKind.BAD_REQUEST, "Give tags with --add or --remove.", param="add")

    async def work(desk: AdminClient) -> None:
        for name in dict.fromkeys(names):
            there: list[str] = (await desk.get(f"/tokens/{part(name)}"))["tags"]
            wanted = list(dict.fromkeys([*there, *(added or ())]))
            tags = [one for one in wanted if one not in (removed or ())]
            await _edit(desk, name, {"tags": tags})
            typer.echo(f"{name}: {', '.join(tags) or 'no tags'}")

    at_desk(way_of(url, app_key_file, config, data_dir), work)


@app.command("remove")
def remove(
    names: Names,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Forget stored accounts. Those of the settings are removed in the settings."""
    way = way_of(url, app_key_file, config, data_dir)
    deleted, missing = at_desk(way, lambda desk: _remove(desk, names))
    if missing and not deleted:
        message = "There is no such account. `groxy account list` shows them."
        raise GroxyError(ErrorKind.NOT_FOUND, message)
    typer.echo(f"Removed {names[0] if len(names) == 1 else counted(deleted, 'account')}.")
    if missing:
        typer.secho(f"{missing} of those named were not there.", fg="red", err=True)
        raise typer.Exit(1)


async def _remove(desk: AdminClient, names: list[str]) -> tuple[int, int]:
    deleted = missing = 0
    for some in in_parts(names):
        done = await desk.call("DELETE", "/tokens", body=some)
        deleted, missing = deleted + done["deleted"], missing + done["missing"]
    return deleted, missing


app.command("list")(account_list.show_all)
app.command("show")(account_list.show_one)
app.command("enable")(account_orders.enable)
app.command("disable")(account_orders.disable)
app.command("cool")(account_orders.cool)
app.command("clear")(account_orders.clear)
app.command("test")(account_orders.try_account)
app.command("refresh")(account_orders.refresh)
app.command("import")(account_transfer.import_accounts)
app.command("export")(account_transfer.export_accounts)
