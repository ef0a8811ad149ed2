"""`groxy account list` and `show`: accounts, looked at.

In: filters, or a name. Out: tables, or JSON. A list is fetched page by page and printed as it
comes, so that 100,000 accounts take no more memory than a thousand.
"""

from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

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
    plain,
    way_of,
)
from groxy.core.money import usd_from_ticks
from groxy.routing.pools import Pool
from groxy.wire.json import encode

_PAGE_SIZE = 1000
_COLUMNS = ("name", "upstream", "pool", "address", "from", "status", "tags")

StatusAsked = Annotated[
    Literal["active", "cooling", "expired", "disabled"] | None, typer.Option("--status")
]


def show_all(
    pool: Annotated[Pool | None, typer.Option("--pool")] = None,
    status: StatusAsked = None,
    upstream: Annotated[str, typer.Option("--upstream")] = "",
    tag: Annotated[str, typer.Option("--tag")] = "",
    as_json: AsJson = False,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """List the accounts of the settings, the environment and the store."""
    way = way_of(url, app_key_file, config, data_dir)
    query = {
        "page_size": _PAGE_SIZE,
        "pool": pool and pool.value,
        "status": status,
        "upstream": upstream,
        "tag": tag,
    }

    async def work(desk: AdminClient) -> None:
        writer = _Json() if as_json else _Lines()
        async with aclosing(desk.pages("/tokens", **query)) as pages:
            async for page in pages:
                writer.write(page["tokens"], has_more=page["pagination"]["has_more"])
        writer.close()

    at_desk(way, work)


class _Json:
    """Writes a JSON array, an account a line."""

    def __init__(self) -> None:
        self._before = "[\n"

    def write(self, accounts: Sequence[Told], *, has_more: bool) -> None:
        del has_more
        for account in accounts:
            typer.echo(self._before + encode(account).decode(), nl=False)
            self._before = ",\n"

    def close(self) -> None:
        typer.echo("\n]" if self._before == ",\n" else "[]")


class _Lines:
    """Writes a table; of a list of several pages, lines, as a table has to know all its rows."""

    def __init__(self) -> None:
        self._widths: list[int] = []

    def write(self, accounts: Sequence[Told], *, has_more: bool) -> None:
        rows = [_row(account) for account in accounts]
        if not self._widths and not has_more:
            print_table(_COLUMNS, rows)
            return
        if not self._widths:
            self._widths = [max(map(len, cells)) for cells in zip(_COLUMNS, *rows, strict=True)]
            self._line(_COLUMNS)
        for row in rows:
            self._line(row)

    def close(self) -> None:
        """Everything is written."""

    def _line(self, row: Sequence[str]) -> None:
        cells = (plain(cell).ljust(width) for cell, width in zip(row, self._widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def _row(account: Told) -> tuple[str, ...]:
    return (
        account["name"],
        account["upstream"],
        account["pool"],
        account["base_url"] or "in this process",
        account["origin"],
        _status(account),
        ", ".join(account["tags"]),
    )


def _status(account: Told) -> str:
    reason = f" ({account['reason']})" if account["reason"] else ""
    resting = len((account["cooling"] or {}).get("models", ()))
    models = f", {resting} models rest" if resting else ""
    return f"{account['status']}{reason}{models}"


def show_one(
    name: Annotated[str, typer.Argument(help="Its name or id.")],
    as_json: AsJson = False,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Show all that is known of an account."""
    way = way_of(url, app_key_file, config, data_dir)
    account = at_desk(way, lambda desk: desk.get(f"/tokens/{part(name)}"))
    if as_json:
        typer.echo(encode(account).decode())
        return
    rows = [(field, text) for field, value in account.items() if (text := _shown(field, value))]
    print_table(("field", "value"), rows)


def _shown(field: str, value: Any) -> str:  # noqa: ANN401 - any field of an account
    """Return a field as text; empty where there is nothing to say."""
    if field == "quota":
        return "; ".join(_quota(mode, one) for mode, one in value.items() if one["total"])
    if field == "cooling":
        return _cooling(value) if value else ""
    if field == "cost_ticks":
        return f"{usd_from_ticks(value):f} USD"
    if field == "since" or field.endswith("_at"):
        return _moment(value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {text}" for name, text in value.items())
    return "" if value is None else str(value)


def _quota(mode: str, quota: Told) -> str:
    until = f", full again {_moment(quota['reset_at'])}" if quota["reset_at"] else ""
    return f"{mode} {quota['remaining']} of {quota['total']} ({quota['source']}{until})"


def _cooling(cooling: Told) -> str:
    rests = [(model["model"], model) for model in cooling["models"]]
    if cooling["reason"]:
        rests.insert(0, ("all", cooling))
    return "; ".join(
        f"{name} until {_moment(rest['until']) or 'a refresh'} ({rest['reason']})"
        for name, rest in rests
    )


def _moment(at_ms: int | None) -> str:
    if not at_ms:
        return ""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
