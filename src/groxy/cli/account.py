"""`groxy account`: add, list, test and remove accounts. A running gateway notices at once."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from groxy import upstreams
from groxy.app.accounts import all_accounts
from groxy.cli.context import Config, DataDir, loaded_settings, opened_store, print_table, run
from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.account import Account
from groxy.routing.enquiries import check
from groxy.routing.pools import Pool
from groxy.settings import Loaded, rules
from groxy.store.accounts import StoredAccount, add_account, remove_account
from groxy.upstreams._base import Credentials
from groxy.upstreams._credentials import check_credentials, known_upstream

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True)

KeyFile = Annotated[
    Path | None,
    typer.Option("--api-key-file", help="File with the key; - reads it from standard input."),
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", help="Further field of the upstream, as name=value. Repeatable."),
]


@app.command("add")
def add(
    name: str,
    upstream: Annotated[str, typer.Option("--upstream", help="Who serves it.")] = "xai",
    api_key_file: KeyFile = None,
    base_url: Annotated[str, typer.Option("--base-url", help="Its own address.")] = "",
    pool: Annotated[Pool, typer.Option("--pool")] = Pool.HEAVY,
    option: Options = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Add an account. Its key is asked for, or read from a file; it is stored sealed."""
    loaded = loaded_settings(config, data_dir)
    owner = known_upstream(upstream, upstreams.discover())
    _checked("The name", rules.check_account_name, name)
    credentials = Credentials(
        api_key=_read_key(api_key_file, is_needed=owner.needs_key),
        base_url=_checked("--base-url", rules.check_web_url, base_url),
        options=dict(_parted(text) for text in option or ()),
    )
    check_credentials(name, owner, credentials)
    run(_add(loaded, name, upstream, pool, credentials))
    typer.echo(f"Added {name}.")


async def _add(
    loaded: Loaded, name: str, upstream: str, pool: Pool, credentials: Credentials
) -> StoredAccount:
    if any(account.name == name for account in loaded.settings.accounts):
        message = f"The settings have an account named {name!r} already. Choose another name."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="name")
    async with opened_store(loaded) as store:
        return await add_account(
            store.database,
            store.secret,
            name=name,
            upstream=upstream,
            pool=pool.value,
            base_url=credentials.base_url,
            api_key=credentials.api_key,
            options=credentials.options,
        )


def _read_key(path: Path | None, *, is_needed: bool) -> str:
    if path is None and not is_needed:
        return ""
    if path is None:
        text = typer.prompt("API key", hide_input=True)
    else:
        text = _checked(str(path), _content, str(path))
    return _checked("The key", rules.read_key, text).reveal()


def _content(file: str) -> str:
    if file == "-":
        return sys.stdin.readline()
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise ValueError(message) from None
    except UnicodeDecodeError:
        message = "is not a text file"
        raise ValueError(message) from None


def _parted(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        message = f"--option {text!r} is not name=value."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="option")
    return name.strip(), _checked(f"--option {name}", rules.read_option, value.strip()).reveal()


def _checked(what: str, rule: Callable[[str], T], value: str) -> T:
    """Return `value` as the settings' rule leaves it; a gateway must not stumble over it later."""
    try:
        return rule(value)
    except ValueError as error:
        raise GroxyError(ErrorKind.BAD_REQUEST, f"{what} {error}.") from None


@app.command("list")
def show(config: Config = None, data_dir: DataDir = None) -> None:
    """List the accounts of the settings, the environment and the store."""
    accounts = run(_accounts(loaded_settings(config, data_dir)))
    print_table(("name", "upstream", "pool", "address", "from"), map(_row, accounts))


def _row(account: Account) -> tuple[str, ...]:
    address = account.upstream.address(account.credentials) or "in this process"
    return (account.name, account.upstream.name, account.pool.value, address, account.origin)


async def _accounts(loaded: Loaded) -> list[Account]:
    async with opened_store(loaded) as store:
        return await all_accounts(loaded.settings, store.database, store.secret)


@app.command("test")
def try_account(name: str, config: Config = None, data_dir: DataDir = None) -> None:
    """Check an account with a cheap call to its upstream."""
    verdict = run(_test(loaded_settings(config, data_dir), name))
    typer.echo(f"{name}: {verdict}")
    if verdict != "ok":
        raise typer.Exit(1)


async def _test(loaded: Loaded, name: str) -> str:
    for account in await _accounts(loaded):
        if account.name == name:
            return await check(account)
    message = f"There is no account named {name!r}. `groxy account list` shows them."
    raise GroxyError(ErrorKind.NOT_FOUND, message)


@app.command("remove")
def remove(name: str, config: Config = None, data_dir: DataDir = None) -> None:
    """Forget a stored account. Those of the settings are removed in the settings."""
    run(_remove(loaded_settings(config, data_dir), name))
    typer.echo(f"Removed {name}.")


async def _remove(loaded: Loaded, name: str) -> None:
    async with opened_store(loaded) as store:
        await remove_account(store.database, name)
