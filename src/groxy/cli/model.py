"""`groxy model list`: the models that the accounts here can serve."""

from contextlib import suppress
from decimal import Decimal

import typer

from groxy.cli.context import Config, DataDir, loaded_settings, opened_accounts, print_table, run
from groxy.core.errors import GroxyError
from groxy.core.money import TokenPrice, usd_from_ticks
from groxy.routing.accounts import Directory
from groxy.routing.catalog import Catalog, Model
from groxy.routing.enquiries import fetch_models
from groxy.routing.router import Router
from groxy.settings import Loaded

app = typer.Typer(no_args_is_help=True)


@app.callback()
def models() -> None:
    """Models that can be served."""


@app.command("list")
def show(config: Config = None, data_dir: DataDir = None) -> None:
    """List what GET /v1/models would list, with what each name sends and costs."""
    models = run(_models(loaded_settings(config, data_dir)))
    columns = ("model", "sends", "pool from", "context", "USD per million: in / cached / out")
    print_table(columns, map(_row, models))


def _row(model: Model | str) -> tuple[str, ...]:
    if isinstance(model, str):
        return (model, model, "", "", "")
    sends = f"{model.sends} ({model.effort})" if model.effort else model.sends
    price = _shown(model.price.base) if model.price else ""
    return (model.id, sends, model.tier.value, f"{model.context_tokens:,}", price)


async def _models(loaded: Loaded) -> list[Model | str]:
    settings = loaded.settings
    directory = Directory()
    async with opened_accounts(loaded) as accounts:
        directory.replace(accounts)
        for account in accounts:
            # What an upstream does not tell now, the catalog is trusted with.
            with suppress(GroxyError):
                if account.upstream.models_path:
                    directory.set_models(account, await fetch_models(account) or None)
    catalog = Catalog.load(settings.models, settings.aliases)
    return Router(catalog, directory, max_candidates=1).models()


def _shown(price: TokenPrice) -> str:
    rates = (price.input, price.cached_input, price.output)
    return " / ".join(f"{usd_from_ticks(rate).quantize(Decimal('0.01'))}" for rate in rates)
