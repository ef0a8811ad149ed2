"""`groxy credit`: give users credits, look at their balance and their statement.

In: a user's id and an amount. Out: what the admin API answers; a command of its own goes the same
way, so that what it does is in the audit.
"""

from collections.abc import AsyncIterator
from typing import Annotated

import typer

from groxy.cli.context import Config, DataDir, print_table
from groxy.cli.operator import (
    AdminClient,
    AppKeyFile,
    AsJson,
    Told,
    Url,
    at_desk,
    part,
    way_of,
)
from groxy.wire.json import encode

app = typer.Typer(no_args_is_help=True)

_COLUMNS = ("time", "id", "kind", "amount_usd", "request_id", "note")
_A_PAGE = 500

User = Annotated[str, typer.Argument(help="The user's id; `groxy user list` shows them.")]
Usd = Annotated[str, typer.Argument(help="US dollars, such as 25 or 0.50; -5 takes some.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is in the statement.")]
From = Annotated[str, typer.Option("--from", help="A day such as 2026-11-25, or RFC 3339.")]
To = Annotated[str, typer.Option("--to", help="The last day, or a moment.")]


# Negative amounts are no options.
@app.command("grant", context_settings={"ignore_unknown_options": True})
def grant(
    user: User,
    usd: Usd,
    reason: Reason,
    as_json: AsJson = False,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Give a user credits, or take some; the balance may fall below zero."""
    way = way_of(url, app_key_file, config, data_dir)
    body = {"usd": usd, "reason": reason}
    told = at_desk(way, lambda desk: desk.post(f"/users/{part(user)}/credits", body))
    if as_json:
        typer.echo(encode(told).decode())
        return
    typer.echo(f"{told['usd']} USD for {user}. The balance is {told['balance']} USD.")


@app.command("balance")
def balance(
    user: User,
    as_json: AsJson = False,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Print a user's balance in US dollars."""
    way = way_of(url, app_key_file, config, data_dir)
    told = at_desk(way, lambda desk: desk.get(f"/users/{part(user)}/entries", limit=1))
    found = {"user_id": user, "balance": told["balance"]}
    typer.echo(encode(found).decode() if as_json else told["balance"])


@app.command("statement")
def statement(
    user: User,
    from_: From = "",
    to: To = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Write CSV.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Print what moved a user's balance, newest first."""
    way = way_of(url, app_key_file, config, data_dir)
    path = f"/users/{part(user)}/entries"

    async def work(desk: AdminClient) -> None:
        if as_csv:
            query = {"format": "csv", "from": from_, "to": to}
            async for chunk in desk.stream(path, **query):
                typer.echo(chunk, nl=False)
            return
        lines = [line async for line in _lines(desk, path, from_, to)]
        if as_json:
            typer.echo(encode(lines).decode())
            return
        print_table(_COLUMNS, [[line[name] for name in _COLUMNS] for line in lines])

    at_desk(way, work)


async def _lines(desk: AdminClient, path: str, from_: str, to: str) -> AsyncIterator[Told]:
    cursor: str | None = ""
    while cursor is not None:
        query = {"from": from_, "to": to, "cursor": cursor, "limit": _A_PAGE}
        page = await desk.call("GET", path, query=query)
        for line in page["entries"]:
            yield line
        cursor = page["next"]
