"""The `groxy` command. One file a command; each turns arguments into a call, its result into text.

Exit status: 0 when all is well, 1 when a check failed, 2 for wrong usage or settings.
"""

import sys
from collections.abc import Iterator
from io import TextIOWrapper
from typing import NoReturn

import typer

from groxy import __version__
from groxy.cli import (
    account,
    code,
    credit,
    doctor,
    key,
    ledger,
    model,
    plan,
    price,
    receipt,
    request,
    route,
    sandbox,
    secret,
    serve,
    user,
)
from groxy.core.errors import GroxyError

app = typer.Typer(
    name="groxy",
    help="Groxy, the Grok API gateway that you own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.serve)
app.command("sandbox")(sandbox.sandbox)
app.command("doctor")(doctor.doctor)
app.add_typer(key.app, name="key", help="Callers' keys and operators' keys.")
app.add_typer(account.app, name="account", help="Accounts at upstreams.")
app.add_typer(model.app, name="model", help="Models that can be served.")
app.add_typer(user.app, name="user", help="Users, who own keys and a balance.")
app.add_typer(plan.app, name="plan", help="Plans: what their users may do, and what they pay.")
app.add_typer(credit.app, name="credit", help="Credits of users, and their statements.")
app.add_typer(code.app, name="code", help="Codes that are worth credits.")
app.add_typer(price.app, name="price", help="Prices: what holds, since when, and what comes.")
app.add_typer(receipt.app, name="receipt", help="Signed receipts of requests.")
app.add_typer(request.app, name="request", help="Requests: where they went, and why.")
app.command("route")(route.route)
app.add_typer(ledger.app, name="ledger", help="The books.")
app.add_typer(secret.app, name="secret", help="The keys that seal what is stored.")


@app.command("version")
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # for terminals that lack a sign
    try:
        app()
    except GroxyError as error:
        _fail(error)
    except ExceptionGroup as group:
        # What goes wrong while the gateway runs comes out of its task group.
        ours, others = group.split(GroxyError)
        if ours is None or others is not None:
            raise
        _fail(next(_leaves(ours)))


def _fail(error: GroxyError) -> NoReturn:
    typer.secho(error.message, fg="red", err=True)
    sys.exit(2)


def _leaves(group: ExceptionGroup[GroxyError]) -> Iterator[GroxyError]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
