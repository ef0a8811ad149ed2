import asyncio
from dataclasses import replace

import pytest
import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import tables
from groxy.store.accounts import ACCOUNTS, add_account, list_accounts, remove_account
from groxy.store.database import Database
from groxy.store.secrets import InstallationSecret

SECRET = InstallationSecret(b"s" * 32)
OTHER = InstallationSecret(b"o" * 32)
API_KEY = "xai-very-secret-0123456789"
ACCOUNT = {
    "name": "first",
    "upstream": "xai",
    "pool": "heavy",
    "base_url": "http://127.0.0.1:9001/v1",
    "api_key": API_KEY,
    "options": {"gateway_id": "cf-secret-gateway", "empty": ""},
}


async def add(database, **changes):
    return await add_account(database, SECRET, **{**ACCOUNT, **changes})


async def error_of(call):
    with pytest.raises(GroxyError) as caught:
        await call
    return caught.value


async def test_an_account_comes_back_as_it_was_added(database):
    added = await add(database)

    assert await list_accounts(database, SECRET) == [added]
    assert {name: getattr(added, name) for name in ACCOUNT} == ACCOUNT


@pytest.mark.parametrize(
    "changes",
    [
        {"api_key": ""},
        {"api_key": "ключ'; DROP TABLE accounts; --\n"},
        {"api_key": "k" * 20_000},
        {"options": {}},
        {"name": "größte 'Konto' %"},
        {"base_url": ""},
    ],
    ids=["no key", "strange key", "long key", "no options", "strange name", "no address"],
)
async def test_any_account_comes_back(database, changes):
    added = await add(database, **changes)

    assert await list_accounts(database, SECRET) == [added]


async def test_credential_and_options_are_nowhere_in_the_file(tmp_path):
    database = await Database.open("sqlite+aiosqlite:///groxy.db", tmp_path)
    await add(database)
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    await database.close()
    on_disk += (tmp_path / "groxy.db").read_bytes()

    assert b"http://127.0.0.1:9001/v1" in on_disk
    assert API_KEY[4:].encode() not in on_disk
    assert b"cf-secret-gateway" not in on_disk


async def test_credential_and_options_are_not_shown_when_printed(database):
    added = await add(database)

    assert "first" in repr(added)
    assert "secret" not in repr(added)


async def test_an_error_of_the_database_does_not_repeat_what_was_to_be_stored(database):
    async with database.transaction() as connection:
        await connection.execute(sa.text("ALTER TABLE accounts RENAME TO moved"))

    error = await error_of(add(database))

    assert error.kind is ErrorKind.STORE_DOWN
    assert "127.0.0.1:9001" not in error.detail + error.message


async def test_accounts_are_listed_oldest_first(database, monkeypatch):
    clock = iter([3_000_000_000, 1_000_000_000, 2_000_000_000])
    monkeypatch.setattr("groxy.store.accounts.time.time_ns", lambda: next(clock))
    for name in "cab":
        await add(database, name=name)
    monkeypatch.undo()

    assert [account.name for account in await list_accounts(database, SECRET)] == ["a", "b", "c"]


async def test_a_name_that_is_taken_is_refused(database):
    first = await add(database)

    error = await error_of(add(database, upstream="openrouter"))

    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, "name")
    assert "'first'" in error.message
    assert await list_accounts(database, SECRET) == [first]


async def test_of_many_who_add_one_name_at_once_one_succeeds(database):
    outcomes = await asyncio.gather(*(add(database) for _ in range(5)), return_exceptions=True)

    refused = [outcome for outcome in outcomes if isinstance(outcome, GroxyError)]
    assert [error.kind for error in refused] == [ErrorKind.BAD_REQUEST] * 4
    assert len(await list_accounts(database, SECRET)) == 1


async def test_a_removed_account_is_gone_and_its_name_free(database):
    await add(database)
    other = await add(database, name="other")

    await remove_account(database, "first")
    assert await list_accounts(database, SECRET) == [other]

    again = await add(database)
    assert await list_accounts(database, SECRET) == [other, again]


@pytest.mark.parametrize("name", ["nobody", "", "%", "' OR '1'='1", "First"])
async def test_an_account_that_is_not_there_cannot_be_removed(database, name):
    await add(database)

    assert (await error_of(remove_account(database, name))).kind is ErrorKind.NOT_FOUND
    assert len(await list_accounts(database, SECRET)) == 1


async def test_adding_and_removing_raise_the_revision(database):
    await add(database)
    added = await database.revision(ACCOUNTS)
    await remove_account(database, "first")

    assert (added, await database.revision(ACCOUNTS)) == (1, 2)


async def test_what_changed_nothing_leaves_the_revision(database):
    await add(database)
    await error_of(add(database))
    await error_of(remove_account(database, "nobody"))
    await list_accounts(database, SECRET)

    assert await database.revision(ACCOUNTS) == 1


async def test_accounts_do_not_open_with_the_secret_of_another_installation(database):
    await add(database)

    error = await error_of(list_accounts(database, OTHER))

    assert error.kind is ErrorKind.STORE_DOWN
    assert "secret.key" in error.message


async def test_a_credential_that_was_moved_to_another_account_does_not_open(database):
    await add(database, name="rich")
    poor = await add(database, name="poor", api_key="xai-other")
    columns = tables.accounts.c
    async with database.transaction() as connection:
        rich = await connection.scalar(sa.select(columns.sealed).where(columns.name == "rich"))
        await connection.execute(
            sa.update(tables.accounts).where(columns.id == poor.id).values(sealed=rich)
        )

    assert (await error_of(list_accounts(database, SECRET))).kind is ErrorKind.STORE_DOWN


async def test_options_are_those_of_the_time_when_it_was_added(database):
    options = {"gateway_id": "then"}
    added = await add(database, options=options)
    options["gateway_id"] = "now"

    then = replace(added, options={"gateway_id": "then"})
    assert await list_accounts(database, SECRET) == [then]
