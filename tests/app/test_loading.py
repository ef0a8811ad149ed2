"""What is put in force of the store."""

import time
from typing import Any, cast

import pytest

from groxy.core.terms import Terms
from groxy.routing.account import Account, Status
from groxy.store.accounts import (
    AccountChange,
    AccountDraft,
    add_accounts,
    change_accounts,
    remove_accounts,
)
from groxy.store.standings import StandingChange, write_standings
from tests.inprocess import application


def draft(number, **more):
    # An address at which nobody is: what is loaded is also asked about, beside the test.
    place: dict[str, Any] = {"upstream": "xai", "base_url": "http://127.0.0.1:9/v1"}
    return AccountDraft(**place, api_key=f"xai-key-number-{number:06}", **more)


def found(app, account_id) -> Account:
    """Return an account that has to be there."""
    account = app.directory.get(account_id)
    assert account is not None
    return cast("Account", account)


async def added(app, *drafts):
    done = await add_accounts(app.database, app.secret, drafts)
    await app.load_changes()
    return [account.id for account in done.accounts]


async def test_accounts_of_the_store_serve_with_their_terms(tmp_path):
    async with application(tmp_path) as app:
        terms = Terms(tags=("a",), max_in_flight=3, quotas={"fast": "30/1d"})
        (account_id,) = await added(app, draft(1, pool="super", terms=terms))

        account = found(app, account_id)
        assert account.terms == terms
        assert (account.pool.value, account.most_in_flight) == ("super", 3)
        assert account.windows["fast"].total == 30
        assert account.hint == "xai-key-...r-000001"


async def test_a_changed_account_keeps_its_open_requests_and_what_is_known_of_it(tmp_path):
    async with application(tmp_path) as app:
        (account_id,) = await added(app, draft(1))
        account = found(app, account_id)
        account.in_flight, account.health, account.models = 2, 0.5, frozenset({"grok-4.3"})
        change = AccountChange(account_id=account_id, name="renamed", terms=Terms(weight=9))
        await change_accounts(app.database, app.secret, [change])
        await app.load_changes()

        same = found(app, account_id)
        assert same is account
        assert (same.name, same.terms.weight) == ("renamed", 9)
        assert (same.in_flight, same.health, same.models) == (2, 0.5, frozenset({"grok-4.3"}))


async def test_an_account_with_another_credential_begins_anew(tmp_path):
    async with application(tmp_path) as app:
        (account_id,) = await added(app, draft(1))
        account = found(app, account_id)
        account.models, account.checked_at = frozenset({"grok-4.3"}), time.time()
        change = AccountChange(account_id=account_id, api_key="xai-another")
        await change_accounts(app.database, app.secret, [change])
        await app.load_changes()

        assert account.headers["Authorization"] == "Bearer xai-another"
        assert account.models is None


async def test_a_removed_account_is_gone(tmp_path):
    async with application(tmp_path) as app:
        first, second = await added(app, draft(1), draft(2))
        await remove_accounts(app.database, [first])
        await app.load_changes()

        assert [account.id for account in app.directory.accounts] == [second]


@pytest.mark.parametrize(
    ("status", "serves"), [("disabled", False), ("expired", False), ("active", True)]
)
async def test_how_accounts_stand_is_taken_from_the_store(tmp_path, status, serves):
    async with application(tmp_path) as app:
        (account_id,) = await added(app, draft(1))
        change = StandingChange(account_id=account_id, status=status, reason="test")
        await write_standings(app.database, [change])
        await app.load_changes()

        account = found(app, account_id)
        assert account.status(time.time()) is Status(status)
        assert account.is_resting(time.time()) is not serves


async def test_how_accounts_stand_survives_a_restart(tmp_path):
    async with application(tmp_path) as app:
        (account_id,) = await added(app, draft(1))
        await app.overseer.disable([found(app, account_id)])
    async with application(tmp_path) as app:
        assert found(app, account_id).standing is Status.DISABLED


async def test_ten_thousand_accounts_are_loaded_and_one_change_is_read_alone(tmp_path):
    async with application(tmp_path) as app:
        ids = await added(app, *(draft(number) for number in range(10_000)))
        began = time.perf_counter()
        change = AccountChange(account_id=ids[5000], name="changed")
        await change_accounts(app.database, app.secret, [change])
        await app.load_changes()

        assert len(app.directory) == 10_000
        assert found(app, ids[5000]).name == "changed"
        assert time.perf_counter() - began < 5.0
