"""The accounts that settings, environment and store declare, ready to be used.

In: settings and an open store. Out: `Account` values with their transports. An account that lacks
something its upstream needs is an error that names the account and what it lacks.
"""

from collections.abc import Mapping

from groxy import upstreams
from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.accounts import Account
from groxy.routing.pools import Pool
from groxy.settings import Settings
from groxy.store.accounts import StoredAccount, list_accounts
from groxy.store.database import Database
from groxy.store.secrets import InstallationSecret
from groxy.upstreams._base import Credentials, Upstream
from groxy.wire.http import HttpTransport

SANDBOX = "sandbox"


async def all_accounts(
    settings: Settings, database: Database, secret: InstallationSecret
) -> list[Account]:
    """Return the accounts of settings, environment and store; the sandbox where there is none."""
    found = upstreams.discover()
    accounts = [
        *_declared_accounts(settings, found),
        *(
            _stored_account(stored, settings, found)
            for stored in await list_accounts(database, secret)
        ),
    ]
    return accounts or [_sandbox(settings, found)]


def _declared_accounts(settings: Settings, found: Mapping[str, Upstream]) -> list[Account]:
    return [
        _account(
            account_id=declared.name,
            name=declared.name,
            upstream=known_upstream(declared.upstream, found),
            pool=Pool(declared.pool),
            credentials=Credentials(
                api_key=declared.api_key.reveal() if declared.api_key else "",
                base_url=declared.base_url or "",
                options=declared.option_values(),
            ),
            origin="settings",
            settings=settings,
        )
        for declared in settings.accounts
    ]


def _stored_account(
    stored: StoredAccount, settings: Settings, found: Mapping[str, Upstream]
) -> Account:
    credentials = Credentials(
        api_key=stored.api_key, base_url=stored.base_url, options=stored.options
    )
    return _account(
        account_id=stored.id,
        name=stored.name,
        upstream=known_upstream(stored.upstream, found),
        pool=Pool(stored.pool),
        credentials=credentials,
        origin="store",
        settings=settings,
    )


def _sandbox(settings: Settings, found: Mapping[str, Upstream]) -> Account:
    pace = f"{settings.sandbox.tokens_per_s:g}"
    return _account(
        account_id=SANDBOX,
        name=SANDBOX,
        upstream=found[SANDBOX],
        pool=Pool.HEAVY,
        credentials=Credentials(api_key="", options={"tokens_per_s": pace}),
        origin="built in",
        settings=settings,
    )


def _account(  # noqa: PLR0913 - an account has that many parts
    *,
    account_id: str,
    name: str,
    upstream: Upstream,
    pool: Pool,
    credentials: Credentials,
    origin: str,
    settings: Settings,
) -> Account:
    check_credentials(name, upstream, credentials)
    transport = upstream.transport(credentials) or HttpTransport.create(
        connect_timeout_s=settings.attempts.connect_timeout_s
    )
    return Account(
        id=account_id,
        name=name,
        upstream=upstream,
        pool=pool,
        credentials=credentials,
        transport=transport,
        origin=origin,
        headers=upstream.headers(credentials),
    )


def known_upstream(name: str, found: Mapping[str, Upstream]) -> Upstream:
    """Return an upstream by name; raise BAD_REQUEST that lists the known ones."""
    upstream = found.get(name)
    if upstream is None:
        message = f"There is no upstream {name!r}. Known are: {', '.join(found)}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="upstream")
    return upstream


def check_credentials(name: str, upstream: Upstream, credentials: Credentials) -> None:
    """Raise BAD_REQUEST when an account lacks what its upstream needs."""
    lacks = [
        f"options.{wanted.name}"
        for wanted in upstream.account_fields
        if wanted.required and not credentials.options.get(wanted.name)
    ]
    if upstream.needs_key and not credentials.api_key:
        lacks.append("api_key")
    try:
        has_way = bool(lacks) or upstream.transport(credentials) or upstream.address(credentials)
    except ValueError as error:
        message = f"The account {name!r} at {upstream.name} has a wrong option: {error}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="accounts") from None
    if not has_way:
        lacks.append("base_url")
    lacks += [
        f"options.{wanted.name}, one of {', '.join(wanted.choices)}"
        for wanted in upstream.account_fields
        if wanted.choices
        and credentials.options.get(wanted.name, wanted.choices[0]) not in wanted.choices
    ]
    known = {wanted.name for wanted in upstream.account_fields}
    unknown = sorted(credentials.options.keys() - known)
    if lacks or unknown:
        problem = f"lacks {', '.join(lacks)}" if lacks else f"has unknown options: {unknown}"
        message = f"The account {name!r} at {upstream.name} {problem}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="accounts")
