"""`groxy price`: what models cost, over the admin API. A running gateway notices in a second.

In: options. Out: requests to the admin API, and its answers in words. Amounts are US dollars; the
admin API checks them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from groxy.cli.context import Config, DataDir, print_table
from groxy.cli.operator import (
    AdminClient,
    AppKeyFile,
    AsJson,
    Told,
    Url,
    at_desk,
    checked,
    content_of,
    part,
    way_of,
)
from groxy.core.errors import ErrorKind, GroxyError
from groxy.wire.json import UNREADABLE, decode_any, encode

app = typer.Typer(no_args_is_help=True)

_PAGE_SIZE = 100
_MAX_DIGITS = 10
_COLUMNS = ("model", "input", "cached", "output", "reasoning", "beside", "version", "since")
_OF_A_VERSION = ("version", "state", "effective", *_COLUMNS[1:6], "note")

Model = Annotated[str, typer.Argument(help="Any name of the model.")]
Input = Annotated[str | None, typer.Option("--input", help="US dollars per million tokens.")]
Usd = Annotated[str | None, typer.Option(help="US dollars per million tokens.")]
UsdEach = Annotated[str | None, typer.Option(help="US dollars each.")]
Long = Annotated[
    str | None,
    typer.Option("--long", help="Of long prompts, such as 200000:input=4,cached=1,output=12."),
]
NoLong = Annotated[bool, typer.Option("--no-long", help="Long prompts cost as others.")]
Images = Annotated[
    list[str] | None, typer.Option("--image", help="SIZE=USD, such as 1k/low=0.02. Repeatable.")
]
Seconds = Annotated[
    list[str] | None, typer.Option("--second", help="SIZE=USD, such as any=0.05. Repeatable.")
]
RatesFile = Annotated[
    Path | None, typer.Option("--rates", help="JSON file with all rates; - is standard input.")
]
Effective = Annotated[
    str | None, typer.Option("--effective", help="From when on, as 2026-12-01T00:00:00Z.")
]
Note = Annotated[str, typer.Option("--note", help="Why; for you.")]
IsPreview = Annotated[bool, typer.Option("--preview", help="Only tell what it would have changed.")]


@app.command("list")
def show(
    as_json: AsJson = False,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """List the prices in force, and those that are coming."""
    way = way_of(url, app_key_file, config, data_dir)
    told = at_desk(way, lambda desk: desk.get("/prices"))
    if as_json:
        typer.echo(encode(told).decode())
        return
    print_table(
        _COLUMNS,
        (
            (one["model"], *_rates(one["rates"]), one["version"], one["since"] or "")
            for one in told["prices"]
        ),
    )
    if told["coming"]:
        typer.echo("\nComing:")
        columns = ("model", "from", *_COLUMNS[1:6], "version")
        print_table(
            columns,
            (
                (one["model"], one["effective"], *_rates(one["rates"]), one["id"])
                for one in told["coming"]
            ),
        )


@app.command("history")
def history(
    model: Model,
    as_json: AsJson = False,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """List all versions of a model's price, newest first."""
    way = way_of(url, app_key_file, config, data_dir)
    versions = at_desk(way, lambda desk: _history(desk, model))
    if as_json:
        typer.echo(encode({"versions": versions}).decode())
        return
    if not versions:
        typer.echo(f"{model} has no versions: its price is the catalog's, where that has one.")
        return
    print_table(
        _OF_A_VERSION,
        (
            (one["id"], one["state"], one["effective"], *_rates(one["rates"]), one["note"])
            for one in versions
        ),
    )


async def _history(desk: AdminClient, model: str) -> list[Told]:
    found: list[Told] = []
    before: str | None = ""
    while before is not None:
        path = f"/prices/{part(model)}/history"
        page = await desk.get(path, before=before, limit=_PAGE_SIZE)
        found += page["versions"]
        before = page["next"]
    return found


@app.command("set")
def set_price(
    model: Model,
    input_: Input = None,
    cached: Usd = None,
    output: Usd = None,
    reasoning: Usd = None,
    long: Long = None,
    no_long: NoLong = False,
    per_request: UsdEach = None,
    per_tool_call: UsdEach = None,
    image: Images = None,
    second: Seconds = None,
    input_image: UsdEach = None,
    rates_file: RatesFile = None,
    effective: Effective = None,
    note: Note = "",
    preview: IsPreview = False,
    url: Url = None,
    app_key_file: AppKeyFile = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Set what a model costs. A version is whole: name every rate that it shall have."""
    rates = _given(
        input=input_,
        cached=cached,
        output=output,
        reasoning=reasoning,
        per_request=per_request,
        per_tool_call=per_tool_call,
        image=_table("--image", image),
        second=_table("--second", second),
        input_image=input_image,
    )
    if long is not None or no_long:
        rates["long"] = _long(long, no_long)
    if rates_file is not None:
        rates = _read_rates(rates_file, rates)
    body = {"model": model, "rates": rates, **_given(effective=effective, note=note)}
    way = way_of(url, app_key_file, config, data_dir)
    if preview:
        _say_preview(at_desk(way, lambda desk: desk.post("/prices/preview", body)))
        return
    version = at_desk(way, lambda desk: desk.post("/prices", body))["version"]
    typer.echo(f"{version['model']} costs this from {version['effective']} on ({version['id']}).")


def _long(text: str | None, no_long: bool) -> dict[str, Any] | None:
    """Return the prices of long prompts, as the admin API takes them; None for none."""
    if text is None:
        return None
    if no_long:
        raise _bad("--no-long and --long exclude each other.", "no_long")
    start, _, rest = text.partition(":")
    if not (start.isascii() and start.isdigit() and len(start) <= _MAX_DIGITS):
        message = "--long takes TOKENS:input=USD,output=USD, such as 200000:input=4,output=12."
        raise _bad(message, "long")
    return {"from_tokens": int(start), **_table("--long", rest.split(","))}


def _given(**values: Any) -> dict[str, Any]:
    """Return what was given."""
    return {name: value for name, value in values.items() if value not in (None, "", {})}


def _table(option: str, rows: Sequence[str] | None) -> dict[str, str]:
    table: dict[str, str] = {}
    for row in rows or ():
        key, sign, usd = row.rpartition("=")
        if not sign or not key:
            raise _bad(f"{option} takes NAME=USD, such as any=0.05.", option.removeprefix("--"))
        table[key] = usd
    return table


def _read_rates(file: Path, given: dict[str, Any]) -> dict[str, Any]:
    if given:
        raise _bad("Give --rates, or rates one by one; not both.", "rates")
    text = checked(str(file), content_of, str(file))
    try:
        rates = decode_any(text.encode())
    except UNREADABLE:
        rates = None
    if not isinstance(rates, dict):
        raise _bad('--rates needs a JSON object, such as {"input": "2", "output": "6"}.', "rates")
    return rates


def _bad(message: str, param: str) -> GroxyError:
    return GroxyError(ErrorKind.BAD_REQUEST, message, param=param)


def _rates(rates: Told) -> tuple[str, ...]:
    """Return the cells of a table; a long price stands behind the plain one."""
    long = rates["long"] or {}

    def cell(name: str) -> str:
        plain, longer = rates[name], long.get(name)
        return f"{plain or ''} / {longer}" if longer is not None else plain or ""

    beside = [f"long from {long['from_tokens']:,}"] if long else []
    for name, words in (("per_request", "a request"), ("per_tool_call", "a tool call")):
        if rates[name] not in (None, "0"):
            beside.append(f"{rates[name]} {words}")
    for name, words in (("image", "image"), ("second", "second")):
        beside += [f"{words} {size} {usd}" for size, usd in rates[name].items()]
    if rates["input_image"] not in (None, "0"):
        beside.append(f"input image {rates['input_image']}")
    return (*map(cell, ("input", "cached", "output", "reasoning")), ", ".join(beside))


def _say_preview(told: Told) -> None:
    days, keys = told["days"], told["keys"]
    typer.echo(
        f"In the last {days} days: {told['requests']:,} requests of {told['model']} by {keys:,} "
        f"keys.\nCharged {told['charged_usd']} USD; it would have been "
        f"{told['would_charge_usd']} USD ({told['difference_usd']})."
    )
    columns = ("plan", "users", "requests", "charged", "would be", "difference")
    names = ("users", "requests", "charged_usd", "would_charge_usd", "difference_usd")
    rows = ((one["plan"] or "(none)", *(str(one[n]) for n in names)) for one in told["plans"])
    print_table(columns, rows)
