"""`groxy plan`: limits and mark-up that users share. A running gateway notices within a second."""

import re
from typing import Annotated

import typer

from groxy.cli.context import Config, DataDir, loaded_settings, opened_store, print_table, run
from groxy.cli.people import plan_named, rates_text
from groxy.core.amounts import read_usd, usd_text
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import PlanGrant, Rates, Step
from groxy.policy.grants import checked_plan_grant
from groxy.settings import Loaded
from groxy.store.plans import StoredPlan, create_plan, delete_plan, list_plans, update_plan

app = typer.Typer(no_args_is_help=True)

_PERCENT = re.compile(r"(-?)([0-9]{1,5})(?:\.([0-9]{1,2}))?", re.ASCII)
_MAX_DIGITS = 18
Named = Annotated[str, typer.Argument(metavar="PLAN", help="A plan's id or name.")]
RatesGiven = Annotated[
    str, typer.Option(metavar="RPM,TPM,CONCURRENCY", help="0 or nothing is no bound: 60,100000,4.")
]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Its name.")],
    user_rates: RatesGiven = "",
    key_rates: RatesGiven = "",
    plan_rates: RatesGiven = "",
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="A model they may ask for; * is any characters. Repeatable."),
    ] = None,
    markup: Annotated[
        str, typer.Option("--markup", help="Percent added to the cost; negative is a discount.")
    ] = "0",
    basis: Annotated[
        str, typer.Option("--basis", help="bill: what the upstream billed. list: the price list.")
    ] = "bill",
    step: Annotated[
        list[str] | None,
        typer.Option("--step", help="Rates from a balance on, as 100=200 (USD=percent)."),
    ] = None,
    default: Annotated[
        bool, typer.Option("--default", help="For users that have no plan of their own.")
    ] = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Make a plan and print its id."""
    grant = checked_plan_grant(
        PlanGrant(
            user_rates=_read_rates(user_rates, "--user-rates"),
            key_rates=_read_rates(key_rates, "--key-rates"),
            rates=_read_rates(plan_rates, "--plan-rates"),
            models=tuple(model or ()),
            markup_bp=read_percent(markup, "--markup"),
            basis=basis,
            steps=tuple(_read_step(text) for text in step or ()),
        )
    )
    loaded = loaded_settings(config, data_dir)
    typer.echo(run(_create(loaded, name, grant, is_default=default)).id)


async def _create(loaded: Loaded, name: str, grant: PlanGrant, *, is_default: bool) -> StoredPlan:
    async with opened_store(loaded) as store:
        return await create_plan(store.database, name=name, grant=grant, is_default=is_default)


@app.command("list")
def show(config: Config = None, data_dir: DataDir = None) -> None:
    """List the plans."""
    plans = run(_plans(loaded_settings(config, data_dir)))
    columns = (
        "id",
        "name",
        "default",
        "each user",
        "each key",
        "all",
        "models",
        "mark-up",
        "steps",
    )
    print_table(columns, map(_row, plans))


def _row(plan: StoredPlan) -> tuple[str, ...]:
    grant = plan.grant
    return (
        plan.id,
        plan.name,
        "yes" if plan.is_default else "",
        rates_text(grant.user_rates),
        rates_text(grant.key_rates),
        rates_text(grant.rates),
        ", ".join(grant.models) or "all",
        f"{percent_text(grant.markup_bp)} % of the {grant.basis}",
        ", ".join(f"{usd_text(step.from_ticks)}={step.percent}" for step in grant.steps),
    )


async def _plans(loaded: Loaded) -> list[StoredPlan]:
    async with opened_store(loaded) as store:
        return await list_plans(store.database)


@app.command("set-default")
def set_default(plan: Named, config: Config = None, data_dir: DataDir = None) -> None:
    """Make a plan that of all users who have none of their own."""
    run(_set_default(loaded_settings(config, data_dir), plan))
    typer.echo(f"{plan} is the default plan.")


async def _set_default(loaded: Loaded, named: str) -> None:
    async with opened_store(loaded) as store:
        plan = await plan_named(store.database, named)
        await update_plan(store.database, plan.id, {"is_default": True})


@app.command("delete")
def delete(plan: Named, config: Config = None, data_dir: DataDir = None) -> None:
    """Delete a plan that no user has."""
    run(_delete(loaded_settings(config, data_dir), plan))
    typer.echo(f"Deleted {plan}.")


async def _delete(loaded: Loaded, named: str) -> None:
    async with opened_store(loaded) as store:
        await delete_plan(store.database, (await plan_named(store.database, named)).id)


def read_percent(text: str, option: str) -> int:
    """Return a percentage in hundredths of a percent: 1250 for `12.5`. Raises BAD_REQUEST."""
    found = _PERCENT.fullmatch(text)
    if found is None:
        message = f"{option} must be a percentage such as 20, 12.5 or -5."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=option)
    sign, whole, rest = found.groups(default="")
    amount = int(whole) * 100 + int(rest.ljust(2, "0"))
    return -amount if sign else amount


def percent_text(markup_bp: int) -> str:
    """Return hundredths of a percent as `read_percent` takes them, with a sign."""
    whole, rest = divmod(abs(markup_bp), 100)
    text = f"{whole}.{rest:02d}".rstrip("0").rstrip(".")
    return f"{'-' if markup_bp < 0 else '+'}{text}"


def _read_rates(text: str, option: str) -> Rates:
    """Return the rates in `60,100000,4`; what is left out is no bound."""
    numbers = [part.strip() or "0" for part in text.split(",")]
    if len(numbers) > 3 or not all(map(_is_whole, numbers)):
        message = f"{option} must be whole numbers: RPM,TPM,CONCURRENCY, such as 60,100000,4."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=option)
    requests, tokens, concurrency = (*map(int, numbers), 0, 0)[:3]
    return Rates(requests=requests, tokens=tokens, concurrency=concurrency)


def _read_step(text: str) -> Step:
    dollars, equals, percent = text.partition("=")
    if not equals or not _is_whole(percent):
        message = "--step must be USD=PERCENT, such as 100=200."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="--step")
    return Step(from_ticks=read_usd(dollars, "--step"), percent=int(percent))


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
