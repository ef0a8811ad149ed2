"""`groxy code`: make codes that are worth credits, list and revoke them.

In: how many, and what each is worth. Out: the codes, once: they are not stored, and cannot be had
again.
"""

from typing import Annotated

import typer

from groxy.cli.context import Config, DataDir, print_table
from groxy.cli.operator import (
    AppKeyFile,
    AsJson,
    Url,
    at_desk,
    counted,
    part,
    way_of,
)
from groxy.core.errors import ErrorKind, GroxyError
from groxy.wire.json import encode

app = typer.Typer(no_args_is_help=True)

_COLUMNS = ("id", "ends_in", "usd", "state", "expires_at", "redeemed_by", "batch", "note")

Usd = Annotated[str, typer.Argument(help="What each is worth in US dollars, such as 5.")]
Count = Annotated[int, typer.Option("--count", "-n", min=1, max=1000)]
Expires = Annotated[str, typer.Option("--expires", help="A day (its beginning), or RFC 3339.")]
Batch = Annotated[str, typer.Option("--batch", help="The id of a batch.")]


@app.command("create")
def create(
    usd: Usd,
    count: Count = 1,
    expires: Expires = "",
    note: Annotated[str, typer.Option("--note", help="For you.")] = "",
    as_json: AsJson = False,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Make codes and print them, one a line, for the only time."""
    way = way_of(url, app_key_file, config, data_dir)
    body = {"usd": usd, "count": count, "expires_at": expires or None, "note": note}
    told = at_desk(way, lambda desk: desk.post("/codes", body))
    if as_json:
        typer.echo(encode(told).decode())
        return
    for code in told["codes"]:
        typer.echo(code)
    typer.echo(f"{counted(count, 'code')} of {told['usd']} USD, {told['batch']}.", err=True)


@app.command("list")
def show(
    batch: Batch = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=500)] = 100,
    as_json: AsJson = False,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """List codes, newest first; not the codes themselves, which nobody knows any more."""
    way = way_of(url, app_key_file, config, data_dir)
    told = at_desk(way, lambda desk: desk.get("/codes", batch=batch, limit=limit))
    if as_json:
        typer.echo(encode(told["codes"]).decode())
        return
    rows = [[one[name] or "" for name in _COLUMNS] for one in told["codes"]]
    print_table([name.replace("_", " ") for name in _COLUMNS], rows)


@app.command("revoke")
def revoke(
    code_id: Annotated[str, typer.Argument(help="The id of a code, not the code.")] = "",
    batch: Batch = "",
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Revoke a code, or what nobody redeemed of a batch."""
    if bool(code_id) == bool(batch):
        message = "Give the id of one code, or --batch; not both."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="code_id")
    way = way_of(url, app_key_file, config, data_dir)
    path, query = (f"/codes/{part(code_id)}", {}) if code_id else ("/codes", {"batch": batch})
    told = at_desk(way, lambda desk: desk.call("DELETE", path, query=query))
    typer.echo(f"Revoked {code_id or counted(told['revoked'], 'code')}.")
