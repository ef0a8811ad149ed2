"""`groxy ledger`: look into the books."""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from groxy.cli.context import Config, DataDir, loaded_settings, opened_store, print_table, run
from groxy.core.money import usd_from_ticks
from groxy.settings import Loaded
from groxy.store.entries import AttemptEntry, RequestEntry, attempts_of, last_requests
from groxy.store.verification import Verified, verify

app = typer.Typer(no_args_is_help=True)


@app.callback()
def ledger() -> None:
    """The books."""


@app.command("last")
def last(
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=10_000)] = 20,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Show the newest requests."""
    entries = run(_last(loaded_settings(config, data_dir), count))
    columns = ("time", "request", "key", "asked → served", "outcome", "tokens", "USD", "ms")
    print_table(columns, map(_request_row, entries))


def _request_row(entry: RequestEntry) -> tuple[str, ...]:
    tokens = f"{entry.input_tokens} + {entry.output_tokens}"
    return (
        datetime.fromtimestamp(entry.at_ms / 1000, UTC).strftime("%m-%d %H:%M:%S"),
        entry.id,
        entry.key_id,
        f"{entry.model_asked} → {entry.model_served}",
        entry.outcome,
        tokens + (" (estimated)" if entry.usage_estimated else ""),
        f"{usd_from_ticks(entry.cost_ticks):f}",
        f"{entry.duration_us / 1000:.1f}",
    )


async def _last(loaded: Loaded, count: int) -> list[RequestEntry]:
    async with opened_store(loaded) as store:
        return await last_requests(store.database, count)


@app.command("verify")
def verify_books(config: Config = None, data_dir: DataDir = None) -> None:
    """Prove that the books add up: balances, charges, costs, holds. Ends with 1 if they do not.

    It only reads, and may run beside the gateway.
    """
    began = time.perf_counter()
    verified = run(_verified(loaded_settings(config, data_dir)))
    for finding in verified.findings:
        typer.echo(f"WRONG: it does not hold that {finding.rule} ({finding.count} times).")
        for example in finding.examples:
            typer.echo(f"    {example}")
    seconds = time.perf_counter() - began
    what = (
        f"{verified.entries} entries, {verified.requests} requests, {verified.balances} balances "
        f"in {seconds:.1f} s"
    )
    if verified.findings:
        typer.echo(f"The books do not add up: {what}.")
        raise typer.Exit(1)
    typer.echo(f"The books add up: {what}.")


async def _verified(loaded: Loaded) -> Verified:
    async with opened_store(loaded) as store:
        return await verify(store.database)


@app.command("attempts")
def attempts(request_id: str, config: Config = None, data_dir: DataDir = None) -> None:
    """Show the attempts of one request, by the id in its `x-request-id` header."""
    entries = run(_attempts(loaded_settings(config, data_dir), request_id))
    columns = ("#", "upstream", "account", "sent → served", "outcome", "status", "USD", "ms")
    print_table(columns, map(_attempt_row, entries))


def _attempt_row(entry: AttemptEntry) -> tuple[str, ...]:
    return (
        str(entry.number),
        entry.upstream,
        entry.account_id,
        f"{entry.model_sent} → {entry.model_served}",
        entry.outcome,
        str(entry.status),
        f"{usd_from_ticks(entry.cost_ticks):f} ({entry.cost_source})",
        f"{entry.duration_us / 1000:.1f}",
    )


async def _attempts(loaded: Loaded, request_id: str) -> list[AttemptEntry]:
    async with opened_store(loaded) as store:
        return await attempts_of(store.database, request_id)
