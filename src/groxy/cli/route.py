"""`groxy route`: where a request would go now, and why not elsewhere. Nothing is sent.

In: a model, and what else routing looks at. Out: what GET /admin/api/route tells, as a table or
JSON. Status 1 says that nobody would serve it.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from groxy.cli.context import Config, DataDir, print_table
from groxy.cli.operator import AdminClient, AppKeyFile, AsJson, Told, Url, at_desk, plain, way_of
from groxy.wire.json import encode

_COLUMNS = ("place", "account", "upstream", "pool", "sends", "dialect", "score", "against it")
_ALONE = "note: rests and loads are in the memory of the gateway that runs; --url asks that one."

Dialect = Annotated[
    Literal["chat", "responses", "messages", "completions", "embeddings", "images", "videos"],
    typer.Option("--dialect", help="In which it would be asked for."),
]


def route(
    model: Annotated[str, typer.Argument(help="A model, as a caller asks for it.")],
    key: Annotated[str, typer.Option("--key", help="A caller key's id.")] = "",
    dialect: Dialect = "chat",
    tools: Annotated[bool, typer.Option("--tools", help="The request has tools.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Accounts.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Show where a request for a model would go now; nothing is sent."""
    way = way_of(url, app_key_file, config, data_dir)
    query = {"model": model, "key": key, "dialect": dialect, "tools": tools, "limit": limit}

    async def work(desk: AdminClient) -> tuple[Told, bool]:
        return await desk.get("/route", **query), desk.is_alone

    told, is_alone = at_desk(way, work)
    if as_json:
        typer.echo(encode(told).decode())
    else:
        _show(told)
    if is_alone:
        typer.echo(_ALONE, err=True)
    if not told["served"]:
        raise typer.Exit(1)


def _show(told: Told) -> None:
    print_table(_COLUMNS, map(_row, told["accounts"]))
    of = f"{told['able']} of {told['total']} accounts could serve {plain(told['model'])} now"
    hidden = told["total"] - len(told["accounts"])
    typer.echo(f"{of}; {hidden} are not shown." if hidden > 0 else f"{of}.")
    if not told["served"]:
        typer.secho(f"It would be refused: {plain(told['refusal'])}", fg="red", err=True)


def _row(judged: Told) -> tuple[str, ...]:
    until = ""
    if judged["until"]:
        moment = datetime.fromtimestamp(judged["until"] / 1000, UTC)
        until = f" (until {moment.strftime('%m-%d %H:%M:%S')} UTC)"
    return (
        "" if judged["place"] is None else str(judged["place"]),
        judged["name"],
        judged["upstream"],
        judged["pool"],
        judged["model_sent"],
        judged["dialect"],
        f"{judged['score']:.3f}",
        "; ".join(one["words"] for one in judged["why_not"]) + until,
    )
