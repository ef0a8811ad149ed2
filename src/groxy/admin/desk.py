"""The operator's desk: every part of a running gateway that the admin API works with.

In: parts, from `app`. Out: one value that each endpoint is handed. It must not know HTTP.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from groxy.core.errors import ErrorKind, GroxyError
from groxy.ledger.prices import PriceBook
from groxy.media.shelf import Shelf
from groxy.policy.keys import Keyring
from groxy.routing.account import Account
from groxy.routing.accounts import Directory
from groxy.routing.overseer import Overseer
from groxy.routing.refresh import Refresher
from groxy.routing.router import Router
from groxy.state._base import SharedState
from groxy.store.accounts import AccountDraft
from groxy.store.database import Database
from groxy.store.secrets import InstallationSecret

_LEAST_PAUSE_S, _MOST_PAUSE_S = 0.05, 0.1


class ConfigDesk(Protocol):
    """The settings, as they may be read and changed while the gateway runs."""

    def shown(self) -> dict[str, object]:
        """Return every setting as a nested object; secrets are masked."""
        ...

    def described(self) -> list[dict[str, object]]:
        """Return each setting's name, type, default, help, whether secret, whether start-only."""
        ...

    async def patch(
        self, patch: Mapping[str, object]
    ) -> tuple[dict[str, object], dict[str, object]]:
        """Change settings, here at once and in every process within a second.

        `patch` is nested like the settings; null takes a change back. Raises BAD_REQUEST (codes
        `startup_only_config`, `unknown_config_key`, `invalid_value`) with nothing changed. Returns
        what the named settings were before and are now, by dotted name, secrets masked.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """See the module."""

    operators: Keyring
    callers: Keyring
    directory: Directory
    router: Router
    overseer: Overseer
    refresher: Refresher
    database: Database
    secret: InstallationSecret
    state: SharedState
    shelf: Shelf
    prices: PriceBook
    state_kind: str
    """`memory` or `redis`, for showing."""
    config: ConfigDesk
    checked: Callable[[AccountDraft], AccountDraft]
    """Returns a draft as it may be stored, or raises BAD_REQUEST that names the field."""
    reload: Callable[[], Awaitable[None]]
    """Puts in force here, at once, what was just written to the store."""
    revision: Callable[[], int]
    """The revision of the accounts that are in force here."""
    takes_key_in_query: Callable[[], bool]
    shows_docs: Callable[[], bool]
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while an account, or a pool, is looked at and then changed: of two changes at the same
    time the second one would undo the first."""

    async def give_way(self, took_s: float) -> None:
        """Let others write, between two of many transactions; the last one took so many seconds.

        SQLite has one writer. Who waits asks for its turn every few milliseconds at first and every
        100 ms later: without a pause it would come too late each time, and the last bytes of every
        request wait for that (callers' p99 while 20,000 accounts were imported: 4.3 s, with pauses
        0.3 s).
        """
        if self.database.is_sqlite:
            await asyncio.sleep(min(max(took_s / 2, _LEAST_PAUSE_S), _MOST_PAUSE_S))

    def account(self, name: str) -> Account:
        """Return an account by id, name, or credential; raise NOT_FOUND `account_not_found`."""
        found = self.find([name])
        if not found:
            raise GroxyError(
                ErrorKind.NOT_FOUND,
                "There is no such account. Name it by its `id`, its name or its credential; "
                "GET /admin/api/tokens lists them.",
                param="token",
                code="account_not_found",
            )
        return found[0]

    def find(self, names: Sequence[str]) -> list[Account]:
        """Return the accounts that these ids, names or credentials mean, each once, in order."""
        found: dict[str, Account] = {}
        by_name: dict[str, Account] | None = None
        for name in names:
            account = self.directory.get(name)
            if account is None:
                if by_name is None:
                    by_name = _by_name(self.directory.accounts)
                account = by_name.get(name.strip())
            if account is not None:
                found[account.id] = account
        return list(found.values())


def _by_name(accounts: Sequence[Account]) -> dict[str, Account]:
    """Return accounts by credential and by name; a name is stronger."""
    keys = {one.credentials.api_key: one for one in accounts if one.credentials.api_key}
    return keys | {one.name: one for one in accounts}
