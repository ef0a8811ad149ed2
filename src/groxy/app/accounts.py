"""The accounts that settings, environment and store declare, ready to be used.

In: settings and stored accounts. Out: `Account` values with their transports. An account that lacks
something its upstream needs is an error that names the account and what it lacks.
"""

from collections.abc import Mapping
from dataclasses import replace

from groxy import upstreams
from groxy.app.transports import Transports
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.quota import QuotaWindow
from groxy.core.terms import NO_TERMS, Terms, fault_of, read_quota
from groxy.routing.account import Account
from groxy.routing.pools import Pool
from groxy.settings import Settings, rules
from groxy.store.accounts import AccountDraft, StoredAccount, hint_of, list_accounts
from groxy.store.database import Database
from groxy.store.secrets import InstallationSecret
from groxy.upstreams._base import Credentials, Upstream
from groxy.upstreams._credentials import check_credentials, known_upstream

SANDBOX = "sandbox"
STORED = "store"
_CHECKS = {
    "name": rules.check_account_name,
    "base_url": rules.check_base_url,
}


class AccountMaker:
    """Makes accounts of what declares them."""

    def __init__(self, settings: Settings, transports: Transports) -> None:
        self.settings = settings
        self._transports = transports
        self._upstreams: Mapping[str, Upstream] = upstreams.discover()

    def declared(self) -> list[Account]:
        """Return the accounts of settings and environment."""
        return [
            self._made(
                account_id=declared.name,
                origin="settings",
                draft=AccountDraft(
                    name=declared.name,
                    upstream=declared.upstream,
                    pool=declared.pool,
                    api_key=declared.api_key.reveal() if declared.api_key else "",
                    base_url=declared.base_url or "",
                    proxy_url=declared.proxy_url.reveal() if declared.proxy_url else "",
                    options=declared.option_values(),
                    terms=declared.terms(),
                ),
            )
            for declared in self.settings.accounts
        ]

    def stored(self, account: StoredAccount) -> Account:
        """Return an account of the store."""
        draft = AccountDraft(
            name=account.name,
            upstream=account.upstream,
            pool=account.pool,
            api_key=account.api_key,
            base_url=account.base_url,
            proxy_url=account.proxy_url,
            options=account.options,
            terms=account.terms,
        )
        return self._made(account_id=account.id, origin=STORED, draft=draft)

    def sandbox(self) -> Account:
        """Return the account that serves where there is no other."""
        pace = f"{self.settings.sandbox.tokens_per_s:g}"
        draft = AccountDraft(
            name=SANDBOX, upstream=SANDBOX, api_key="", options={"tokens_per_s": pace}
        )
        return self._made(account_id=SANDBOX, origin="built in", draft=draft)

    def checked(self, draft: AccountDraft) -> AccountDraft:
        """Return a draft as it may be stored, or raise BAD_REQUEST that names the field."""
        upstream = known_upstream(draft.upstream, self._upstreams)
        if draft.pool not in {pool.value for pool in Pool}:
            message = f"`pool` must be basic, super or heavy, not {draft.pool[:64]!r}."
            raise GroxyError(ErrorKind.BAD_REQUEST, message, param="pool", code="invalid_pool")
        _check_terms(draft.terms)
        name = _checked("name", draft.name) if draft.name else ""
        base_url = _checked("base_url", draft.base_url) if draft.base_url else ""
        api_key = _read("token", draft.api_key) if draft.api_key else ""
        proxy_url = _read_proxy(draft.proxy_url) if draft.proxy_url else ""
        options = {
            _checked_option(key): _read_option(key, value) for key, value in draft.options.items()
        }
        credentials = Credentials(api_key=api_key, base_url=base_url, options=options)
        check_credentials(name or "new", upstream, credentials)
        if self._is_declared(name):
            message = f"The settings have an account named {name!r} already. Choose another name."
            raise GroxyError(ErrorKind.CONFLICT, message, param="name", code="account_name_taken")
        return replace(
            draft,
            name=name,
            api_key=api_key,
            base_url=base_url,
            proxy_url=proxy_url,
            options=options,
        )

    def apply_settings(self, account: Account) -> None:
        """Give an account the bounds that settings lay down for all of its pool."""
        routing = self.settings.routing
        account.most_in_flight = account.terms.max_in_flight or routing.max_in_flight
        quotas = {
            mode: quota
            for name, quota in routing.quotas.items()
            for pool, _, mode in [name.partition(".")]
            if pool == account.pool.value
        } | account.terms.quotas
        for mode in account.declared - quotas.keys():
            account.windows.pop(mode, None)
        account.declared = frozenset(quotas)
        for mode, quota in quotas.items():
            total, window_s = read_quota(quota)
            known = account.windows.get(mode)
            if known is None or (known.total, known.window_s) != (total, window_s):
                account.windows[mode] = QuotaWindow(remaining=total, total=total, window_s=window_s)
        account.note_terms()

    def _is_declared(self, name: str) -> bool:
        return any(account.name == name for account in self.settings.accounts)

    def _made(self, *, account_id: str, origin: str, draft: AccountDraft) -> Account:
        upstream = known_upstream(draft.upstream, self._upstreams)
        credentials = Credentials(
            api_key=draft.api_key, base_url=draft.base_url, options=draft.options
        )
        check_credentials(draft.name, upstream, credentials)
        account = Account(
            id=account_id,
            name=draft.name,
            upstream=upstream,
            pool=Pool(draft.pool),
            credentials=credentials,
            transport=upstream.transport(credentials) or self._transports.to(draft.proxy_url),
            origin=origin,
            headers=upstream.headers(credentials),
            terms=draft.terms,
            proxy_url=draft.proxy_url,
            hint=hint_of(draft.api_key) if draft.api_key else "",
        )
        self.apply_settings(account)
        return account


async def all_accounts(
    settings: Settings,
    database: Database,
    secret: InstallationSecret,
    transports: Transports | None = None,
) -> list[Account]:
    """Return the accounts of settings, environment and store; the sandbox where there is none."""
    ways = transports or Transports(connect_timeout_s=settings.attempts.connect_timeout_s)
    maker = AccountMaker(settings, ways)
    stored = await list_accounts(database, secret)
    accounts = [*maker.declared(), *map(maker.stored, stored)]
    return accounts or [maker.sandbox()]


def _checked(name: str, value: str) -> str:
    try:
        return _CHECKS[name](value)
    except ValueError as error:
        raise GroxyError(ErrorKind.BAD_REQUEST, f"`{name}` {error}.", param=name) from None


def _read(name: str, value: str) -> str:
    try:
        return rules.read_key(value).reveal()
    except ValueError as error:
        raise GroxyError(ErrorKind.BAD_REQUEST, f"`{name}` {error}.", param=name) from None


def _read_proxy(value: str) -> str:
    try:
        return rules.read_proxy_url(value).reveal()
    except ValueError as error:
        message = f"`proxy_url` {error}."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="proxy_url") from None


def _checked_option(name: str) -> str:
    if not name.isidentifier():
        message = "`options` has a name that is no word of letters, digits and underscores."
        raise GroxyError(ErrorKind.BAD_REQUEST, message, param="options")
    return name


def _read_option(name: str, value: str) -> str:
    try:
        return rules.read_option(value).reveal()
    except ValueError as error:
        param = f"options.{name}"
        raise GroxyError(ErrorKind.BAD_REQUEST, f"`{param}` {error}.", param=param) from None


def _check_terms(terms: Terms) -> None:
    if terms is NO_TERMS:
        return
    fault = fault_of(terms)
    if fault is not None:
        name, problem = fault
        raise GroxyError(ErrorKind.BAD_REQUEST, f"`{name}` {problem}.", param=name)
