"""Accounts as rows: what is sealed of them, and rows by the thousand."""

from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.terms import Terms
from groxy.store import account_rows, tables
from groxy.store.account_rows import (
    StoredAccount,
    digest_of,
    insert_rows,
    is_live,
    open_row,
    open_rows,
    read_by_id,
    read_rows,
    rows_of,
    update_rows,
)
from groxy.store.database import chunks
from groxy.store.secrets import InstallationSecret

SECRET = InstallationSecret(b"s" * 32)
OTHER = InstallationSecret(b"o" * 32)
FULL = StoredAccount(
    id="acc_1",
    name="first",
    upstream="xai",
    pool="super",
    base_url="http://127.0.0.1:9001/v1",
    api_key="xai-very-secret-0123456789",
    options={"gateway_id": "cf-secret-gateway"},
    proxy_url="http://user:proxy-secret@proxy.test:1",
    terms=Terms(tags=("a",), weight=3, quotas={"fast": "400/2h"}),
    hint="xai-very...23456789",
    created_ms=7,
    revision=9,
)


def account(number, **changes):
    """Return an account that differs from others by its number."""
    given = {
        "id": f"acc_{number}",
        "name": f"n{number}",
        "upstream": "xai",
        "pool": "heavy",
        "base_url": "",
        "api_key": f"xai-{number}",
        "options": {},
        "hint": "xa...",
    }
    return StoredAccount(**given | changes)


def rows(*accounts, digests=None):
    return rows_of(SECRET, accounts, digests or [None] * len(accounts))


async def columns_of(connection, account_id):
    query = sa.select(tables.accounts).where(tables.accounts.c.id == account_id)
    return (await connection.execute(query)).mappings().one()


@pytest.fixture
def few_at_a_time(monkeypatch):
    """Two rows a statement, in place of hundreds."""
    monkeypatch.setattr(account_rows, "CHUNK_ROWS", 2)
    monkeypatch.setattr(account_rows, "chunks", partial(chunks, size=2))


# ------------------------------------------------------------------------------ what is written


def test_an_account_comes_out_of_its_row_as_it_went_in():
    (row,) = rows(FULL)

    assert open_row(row, SECRET) == FULL


def test_a_row_has_a_value_for_every_column_but_when_it_was_removed():
    (row,) = rows(FULL)

    assert set(row) == {column.name for column in tables.accounts.columns} - {"deleted_ms"}


def test_what_is_secret_is_sealed_and_nowhere_else_in_a_row():
    (row,) = rows(FULL, digests=[digest_of(SECRET, "xai", "", FULL.api_key)])
    written = repr(row)

    assert "proxy.test" not in written
    for secret in ("xai-very-secret-0123456789", "cf-secret-gateway", "proxy-secret"):
        assert secret not in written


def test_an_account_in_print_shows_no_secret():
    assert "first" in repr(FULL)
    assert "secret" not in repr(FULL)
    assert "cf-" not in repr(FULL)


def test_the_same_account_is_never_sealed_alike():
    assert rows(FULL)[0]["sealed"] != rows(FULL)[0]["sealed"]


def test_every_account_needs_its_digest_or_none():
    with pytest.raises(ValueError, match="shorter"):
        rows_of(SECRET, [FULL, FULL], [None])


def test_a_row_does_not_open_with_another_secret_or_as_another_account():
    (row,) = rows(FULL)

    for wrong, secret in ((row, OTHER), (row | {"id": "acc_2"}, SECRET)):
        with pytest.raises(GroxyError) as caught:
            open_row(wrong, secret)
        assert caught.value.kind is ErrorKind.STORE_DOWN


def test_a_row_of_before_there_were_hints_gets_one_when_it_is_opened():
    (row,) = rows(FULL)

    assert open_row(row | {"hint": ""}, SECRET).hint == "xai-very...23456789"


def test_what_an_older_groxy_sealed_had_no_proxy():
    sealed = SECRET.seal(b'{"api_key":"xai-1","options":{}}', owner="acc_1")
    (row,) = rows(FULL)

    assert open_row(row | {"sealed": sealed}, SECRET).proxy_url == ""


def test_rows_are_opened_oldest_first_and_then_by_id():
    given = [account("c", created_ms=1), account("a", created_ms=2), account("b", created_ms=1)]

    assert [one.id for one in open_rows(rows(*given), SECRET)] == ["acc_b", "acc_c", "acc_a"]


def test_a_digest_has_one_length_and_nothing_of_the_credential():
    digest = digest_of(SECRET, "xai", "", FULL.api_key)

    assert len(digest) == 32
    assert FULL.api_key.encode() not in digest


# --------------------------------------------------------------------------------- the database


async def test_many_rows_are_written_and_read_in_parts(database, few_at_a_time):
    given = [account(number, revision=number % 3) for number in range(7)]
    async with database.transaction() as connection:
        await insert_rows(connection, rows(*given))
        found = await read_rows(connection, is_live)

    assert sorted(open_rows(found, SECRET), key=lambda one: one.id) == given


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
async def test_none_is_missed_where_the_last_part_is_full_or_not(database, few_at_a_time, count):
    async with database.transaction() as connection:
        await insert_rows(connection, rows(*map(account, range(count))))

        assert len(await read_rows(connection, is_live)) == count


async def test_only_what_is_wanted_is_read(database):
    async with database.transaction() as connection:
        await insert_rows(connection, rows(account(1), account(2, pool="basic")))
        found = await read_rows(connection, tables.accounts.c.pool == "basic")

    assert [row["id"] for row in found] == ["acc_2"]


async def test_an_account_that_changes_while_it_is_read_is_there_once_as_it_is_now(
    database, few_at_a_time
):
    class Meanwhile:
        """A connection behind whose back the first account changes after the first part."""

        def __init__(self, connection: AsyncConnection) -> None:
            self.connection = connection
            self.parts = 0

        async def execute(self, query) -> Any:
            found = await self.connection.execute(query)
            self.parts += 1
            if self.parts == 1:
                frozen = found.freeze()
                change = sa.update(tables.accounts).where(tables.accounts.c.id == "acc_1")
                await self.connection.execute(change.values(name="changed", revision=9))
                return frozen()
            return found

    async with database.transaction() as connection:
        await insert_rows(connection, rows(*(account(n, revision=n) for n in range(1, 6))))
        behind: Any = Meanwhile(connection)
        found = await read_rows(behind, is_live)

    names = {row["id"]: row["name"] for row in found}
    assert len(found) == 5
    assert names == {"acc_1": "changed"} | {f"acc_{n}": f"n{n}" for n in range(2, 6)}


async def test_accounts_are_read_by_id_as_far_as_they_are_there(database, few_at_a_time):
    async with database.transaction() as connection:
        await insert_rows(connection, rows(*map(account, range(5))))
        gone = sa.update(tables.accounts).where(tables.accounts.c.id == "acc_0")
        await connection.execute(gone.values(deleted_ms=1))
        ids = ["acc_0", "acc_1", "nobody", "acc_3", "acc_4", "with\0nul"]
        found = await read_by_id(connection, SECRET, ids)

    assert found == {f"acc_{number}": account(number) for number in (1, 3, 4)}


async def test_rows_are_written_over_those_with_their_ids_and_no_others(database, few_at_a_time):
    before = [account(number) for number in range(5)]
    after = [account(number, name=f"new{number}", api_key="x", revision=8) for number in (0, 2, 4)]
    async with database.transaction() as connection:
        await insert_rows(connection, rows(*before))
        await update_rows(connection, rows(*after))
        found = await read_by_id(connection, SECRET, [one.id for one in before])

    wanted = {one.id: one for one in (*before, *after)}
    assert found == wanted


async def test_every_column_is_written_over(database):
    async with database.transaction() as connection:
        await insert_rows(connection, rows(account(1)))
        await update_rows(connection, rows(FULL))

        assert (await read_by_id(connection, SECRET, ["acc_1"])) == {"acc_1": FULL}


async def test_a_row_without_a_digest_leaves_the_one_there_was(database):
    async with database.transaction() as connection:
        await insert_rows(connection, rows(account(1), digests=[b"a" * 32]))
        await update_rows(connection, rows(account(1)))
        kept = (await columns_of(connection, "acc_1"))["digest"]
        await update_rows(connection, rows(account(1), digests=[b"b" * 32]))
        changed = (await columns_of(connection, "acc_1"))["digest"]

    assert (kept, changed) == (b"a" * 32, b"b" * 32)


async def test_a_removed_account_that_is_written_over_lives_again(database):
    async with database.transaction() as connection:
        await insert_rows(connection, rows(account(1)))
        await connection.execute(sa.update(tables.accounts).values(deleted_ms=5))
        assert await read_rows(connection, is_live) == []
        await update_rows(connection, rows(account(1)))

        assert [row["id"] for row in await read_rows(connection, is_live)] == ["acc_1"]


async def test_writing_nothing_is_no_statement(database):
    async with database.transaction() as connection:
        await insert_rows(connection, [])
        await update_rows(connection, [])

        assert await read_by_id(connection, SECRET, []) == {}
