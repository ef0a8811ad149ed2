"""`groxy request`: requests, and the trail of one: its attempts, and why these accounts.

In: filters, or an id. Out: tables, or JSON, of what GET /admin/api/requests tells.
"""

from datetime import UTC, datetime
from typing import Annotated

import typer

from groxy.cli.context import Config, DataDir, print_table
from groxy.cli.operator import AppKeyFile, AsJson, Told, Url, at_desk, part, way_of
from groxy.wire.json import encode

app = typer.Typer(no_args_is_help=True)

_LINE = ("time", "request", "key", "asked → served", "account", "outcome", "tries", "USD", "ms")
_TRY = ("#", "upstream", "account", "sent → served", "outcome", "status", "USD", "ms")


@app.command("list")
def show_all(
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=500)] = 20,
    model: Annotated[str, typer.Option("--model", help="As asked for or served.")] = "",
    account: Annotated[str, typer.Option("--account", help="Asked in any attempt.")] = "",
    key: Annotated[str, typer.Option("--key", help="A key's id.")] = "",
    outcome: Annotated[str, typer.Option("--outcome", help="`ok`, or an error's code.")] = "",
    status: Annotated[int, typer.Option("--status", help="What the caller got.")] = 0,
    before: Annotated[str, typer.Option("--before", help="Only those before this id.")] = "",
    as_json: AsJson = False,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """List requests, the newest first."""
    way = way_of(url, app_key_file, config, data_dir)
    query = {
        "limit": count,
        "model": model,
        "account": account,
        "key": key,
        "outcome": outcome,
        "status": status,
        "before": before,
    }
    found = at_desk(way, lambda desk: desk.get("/requests", **query))
    if as_json:
        typer.echo(encode(found).decode())
        return
    print_table(_LINE, map(_line, found["requests"]))
    if found["next"]:
        typer.echo(f"Older ones: --before {found['next']}")


def _line(line: Told) -> tuple[str, ...]:
    return (
        datetime.fromtimestamp(line["at"] / 1000, UTC).strftime("%m-%d %H:%M:%S"),
        line["id"],
        line["key_id"],
        f"{line['model']} → {line['model_served']}",
        _named(line["account"]),
        line["outcome"],
        str(line["attempts"]),
        line["cost_usd"],
        f"{line['duration_ms']:.1f}",
    )


def _named(account: Told | None) -> str:
    return "" if account is None else str(account["name"] or account["id"])


@app.command("show")
def show_one(
    request_id: Annotated[str, typer.Argument(help="A reply's x-request-id, or its own id.")],
    as_json: AsJson = False,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Show all of one request: its attempts, and how its accounts were chosen."""
    way = way_of(url, app_key_file, config, data_dir)
    trail = at_desk(way, lambda desk: desk.get(f"/requests/{part(request_id)}"))
    if as_json:
        typer.echo(encode(trail).decode())
        return
    print_table(_LINE, [_line(trail["request"])])
    typer.echo()
    print_table(_TRY, map(_try, trail["attempts"]))
    if trail["route"] is not None:
        typer.echo()
        _show_route(trail["route"])


def _try(tried: Told) -> tuple[str, ...]:
    return (
        str(tried["number"]),
        tried["upstream"],
        _named(tried["account"]),
        f"{tried['model_sent']} → {tried['model_served']}",
        tried["outcome"],
        str(tried["status"]),
        f"{tried['cost_usd']} ({tried['cost_source']})",
        f"{tried['duration_ms']:.1f}",
    )


def _show_route(route: Told) -> None:
    home = f"; {_named(route['home'])} knew the conversation" if route["home"] else ""
    typer.echo(f"Chosen by {route['strategy']} of {route['of']} that can serve the model{home}.")
    chosen = [
        (
            _named(one["account"]),
            str(place),
            "" if one["score"] is None else f"{one['score']:.3f}",
            f"as {one['model']} in {one['dialect']}",
        )
        for place, one in enumerate(route["candidates"], 1)
    ]
    passed = [
        (_named(one["account"]), "", "", f"left out: {one['why']}") for one in route["passed"]
    ]
    print_table(("account", "place", "score", "how"), chosen + passed)
