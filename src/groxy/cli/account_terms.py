"""What an account is given, as options of commands: its place, its pool, its terms.

In: options. Out: the fields of the admin API. What was not given is left out, so that an edit
leaves it as it is; what it may be is checked by whoever receives it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from groxy.cli.operator import checked
from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.pools import Pool
from groxy.settings import rules

KeyFile = Annotated[
    Path | None,
    typer.Option("--api-key-file", help="File with the key; - reads it from standard input."),
]
BaseUrl = Annotated[str | None, typer.Option("--base-url", help="Its own address.")]
ProxyUrl = Annotated[
    str | None, typer.Option("--proxy-url", help="Its way out: http, https, socks4 or socks5.")
]
PoolGiven = Annotated[Pool | None, typer.Option("--pool", help="heavy when left out.")]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", help="Further field of the upstream, as name=value. Repeatable."),
]
TagsGiven = Annotated[
    list[str] | None, typer.Option("--tag", help='A word to find it by. Repeatable; "" for none.')
]
Weight = Annotated[int | None, typer.Option("--weight", help="Its share of the work: 1 to 1000.")]
Priority = Annotated[
    int | None, typer.Option("--priority", help="Higher goes first, within a pool.")
]
MaxInFlight = Annotated[
    int | None, typer.Option("--max-in-flight", help="Requests at once; 0: as the settings say.")
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", help="A model that it may serve; ends in * for any. Repeatable."),
]
Rpm = Annotated[int | None, typer.Option("--rpm", help="Requests a minute; 0 for any.")]
Tpm = Annotated[int | None, typer.Option("--tpm", help="Tokens a minute; 0 for any.")]
Quotas = Annotated[
    list[str] | None,
    typer.Option("--quota", help="Requests in a window by mode, as fast=400/2h. Repeatable."),
]


def fields_of(
    *,
    base_url: str | None,
    proxy_url: str | None,
    pool: Pool | None,
    option: list[str] | None,
    tag: list[str] | None,
    weight: int | None,
    priority: int | None,
    max_in_flight: int | None,
    model: list[str] | None,
    rpm: int | None,
    tpm: int | None,
    quota: list[str] | None,
) -> dict[str, Any]:
    """Return the fields that were given. An empty text takes a value back to the usual one."""
    fields: dict[str, Any] = {
        "pool": pool and pool.value,
        "weight": weight,
        "priority": priority,
        "max_in_flight": max_in_flight,
        "rpm": rpm,
        "tpm": tpm,
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    if base_url is not None:
        fields["base_url"] = checked("--base-url", rules.check_web_url, base_url) or None
    if proxy_url is not None:
        fields["proxy_url"] = proxy_url.strip() or None
    if tag:
        fields["tags"] = _words(tag)
    if model:
        fields["models"] = _words(model)
    if quota:
        fields["quotas"] = dict(_parted("--quota", text) for text in _words(quota))
    if option:
        pairs = (_parted("--option", text) for text in option)
        fields["options"] = {name: _option(name, value) for name, value in pairs}
    return fields


def read_api_key(text: str) -> str:
    """Return a credential that can travel in a header; raise BAD_REQUEST otherwise."""
    return checked("The key", rules.read_key, text).reveal()


def _words(given: Iterable[str]) -> list[str]:
    return [word.strip() for word in given if word.strip()]


def _option(name: str, value: str) -> str | None:
    return checked(f"--option {name}", rules.read_option, value).reveal() or None


def _parted(option: str, text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        # The text itself may be a secret whose name was forgotten.
        message = f"{option} is not name=value."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param=option.removeprefix("--"))
    return name.strip(), value.strip()
