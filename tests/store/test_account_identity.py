"""Names and digests: which are free, and whose the others are."""

from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.store import account_identity, tables
from groxy.store.account_identity import (
    Known,
    choose_names,
    first_of_each,
    free_digests,
    free_names,
    known_digests,
    not_found,
    refuse_duplicate,
)
from groxy.store.account_rows import StoredAccount, insert_rows, rows_of
from groxy.store.database import chunks
from groxy.store.secrets import InstallationSecret

SECRET = InstallationSecret(b"s" * 32)


def digest(number):
    """Return a digest that begins with two digits of its own."""
    return bytes([number]) * 32


@pytest.fixture
async def connection(database):
    """A transaction in which accounts a, b and c live and z was removed; digests 1, 2, 3 and 9."""
    given: dict[str, Any] = {
        "upstream": "xai",
        "pool": "heavy",
        "base_url": "",
        "api_key": "k",
        "options": {},
    }
    accounts = [StoredAccount(id=f"acc_{name}", name=name, **given) for name in "abcz"]
    async with database.transaction() as opened:
        digests = [digest(number) for number in (1, 2, 3, 9)]
        await insert_rows(opened, rows_of(SECRET, accounts, digests))
        removal = sa.update(tables.accounts).where(tables.accounts.c.id == "acc_z")
        await opened.execute(removal.values(deleted_ms=5))
        yield opened


@pytest.fixture
def few_at_a_time(monkeypatch):
    """Two values a statement, in place of hundreds."""
    monkeypatch.setattr(account_identity, "chunks", partial(chunks, size=2))


async def conflict_of(call, code):
    with pytest.raises(GroxyError) as caught:
        await call
    assert (caught.value.kind, caught.value.code) == (ErrorKind.CONFLICT, code)
    return caught.value.message


async def written(connection, column):
    """Return a column of all accounts, by id."""
    rows = await connection.execute(sa.select(tables.accounts.c.id, tables.accounts.c[column]))
    return {row[0]: row[1] for row in rows}


# ------------------------------------------------------------------------------------- digests


async def test_digests_are_known_with_their_owners_removed_ones_too(connection, few_at_a_time):
    asked = [digest(number) for number in (1, 7, 9, 1, 3, 2)]

    assert await known_digests(connection, asked) == {
        digest(1): Known("acc_a", "a", is_live=True),
        digest(2): Known("acc_b", "b", is_live=True),
        digest(3): Known("acc_c", "c", is_live=True),
        digest(9): Known("acc_z", "z", is_live=False),
    }


async def test_of_no_digests_none_is_known(connection):
    assert await known_digests(connection, []) == {}


def test_new_are_those_that_nobody_has_who_lives_and_of_equal_ones_the_first():
    known = {digest(1): Known("acc_a", "a", True), digest(9): Known("acc_z", "z", False)}
    asked = [digest(number) for number in (5, 1, 9, 5, 6, 9)]

    assert first_of_each(asked, known) == [0, 2, 4]


async def test_a_digest_that_is_another_accounts_is_a_conflict_that_names_it(connection):
    call = free_digests(connection, {"acc_a": digest(2)})

    message = await conflict_of(call, "token_conflict")

    assert "'b'" in message


async def test_two_accounts_cannot_have_one_digest(connection):
    await conflict_of(
        free_digests(connection, {"acc_a": digest(5), "acc_b": digest(5)}), "token_conflict"
    )


async def test_accounts_can_swap_their_digests(connection, few_at_a_time):
    moved = {"acc_a": digest(2), "acc_b": digest(3), "acc_c": digest(1)}

    await free_digests(connection, moved)

    found = await written(connection, "digest")
    assert found == {"acc_a": None, "acc_b": None, "acc_c": None, "acc_z": digest(9)}


async def test_a_removed_account_loses_the_digest_that_another_is_to_have(connection):
    await free_digests(connection, {"acc_a": digest(9)})

    found = await written(connection, "digest")
    assert (found["acc_a"], found["acc_z"]) == (None, None)
    assert found["acc_b"] == digest(2), "others keep theirs"


async def test_an_account_may_be_given_the_digest_that_it_has(connection):
    await free_digests(connection, {"acc_a": digest(1)})


async def test_what_was_refused_has_changed_nothing(connection):
    await conflict_of(
        free_digests(connection, {"acc_a": digest(9), "acc_b": digest(3)}), "token_conflict"
    )
    await conflict_of(free_names(connection, {"acc_a": "new", "acc_b": "c"}), "account_name_taken")

    assert (await written(connection, "digest"))["acc_z"] == digest(9)
    assert (await written(connection, "name"))["acc_a"] == "a"


# --------------------------------------------------------------------------------------- names


async def test_a_given_name_stays_and_a_missing_one_is_made_of_upstream_and_digest(connection):
    wanted = [("mine", "xai", digest(0xAB)), ("", "openrouter", digest(0xCD))]

    assert await choose_names(connection, wanted) == ["mine", "openrouter-cdcdcdcd"]


async def test_made_names_that_begin_alike_are_made_longer_until_they_differ(
    connection, few_at_a_time
):
    alike = [b"\xaa" * 4 + bytes([number]) * 28 for number in (1, 2)]
    alike.append(b"\xaa" * 4 + b"\x01" * 4 + b"\x03" * 24)

    names = await choose_names(connection, [("", "xai", one) for one in alike])

    assert names == ["xai-aaaaaaaa", "xai-aaaaaaaa02020202", "xai-aaaaaaaa01010101"]


async def test_a_made_name_gives_way_to_one_that_is_there(connection):
    change = sa.update(tables.accounts).where(tables.accounts.c.id == "acc_a")
    await connection.execute(change.values(name="xai-07070707"))

    assert await choose_names(connection, [("", "xai", digest(7))]) == ["xai-0707070707070707"]


async def test_a_made_name_gives_way_to_one_that_is_given_beside_it(connection):
    wanted = [("", "xai", digest(7)), ("xai-07070707", "xai", digest(8))]

    assert await choose_names(connection, wanted) == ["xai-0707070707070707", "xai-07070707"]


@pytest.mark.parametrize(
    "names", [["new", "b"], ["same", "same"]], ids=["an account's", "given twice"]
)
async def test_a_given_name_that_is_taken_is_a_conflict_that_names_it(connection, names):
    wanted = [(name, "xai", digest(20 + number)) for number, name in enumerate(names)]

    message = await conflict_of(choose_names(connection, wanted), "account_name_taken")

    assert repr(names[1]) in message


async def test_the_name_of_a_removed_account_is_free(connection):
    assert await choose_names(connection, [("z", "xai", digest(20))]) == ["z"]
    await free_names(connection, {"acc_a": "z"})


async def test_accounts_can_swap_their_names(connection, few_at_a_time):
    await free_names(connection, {"acc_a": "b", "acc_b": "c", "acc_c": "a"})

    for name, new in (("acc_a", "b"), ("acc_b", "c"), ("acc_c", "a")):
        change = sa.update(tables.accounts).where(tables.accounts.c.id == name)
        await connection.execute(change.values(name=new))
    assert (await written(connection, "name"))["acc_c"] == "a"


@pytest.mark.parametrize("names", [{"acc_a": "b"}, {"acc_a": "new", "acc_b": "new"}])
async def test_a_name_that_is_not_made_free_is_a_conflict(connection, names):
    await conflict_of(free_names(connection, names), "account_name_taken")


async def test_no_names_are_free_at_once(connection):
    await free_names(connection, {})
    await free_digests(connection, {})

    assert await choose_names(connection, []) == []
    assert (await written(connection, "name"))["acc_a"] == "a"


# -------------------------------------------------------------------------------------- errors


def test_a_duplicate_is_told_by_the_name_of_the_one_there_is():
    error = refuse_duplicate("first")

    assert (error.kind, error.param, error.code) == (
        ErrorKind.CONFLICT,
        "api_key",
        "token_conflict",
    )
    assert "'first'" in error.message


def test_what_was_asked_for_in_vain_is_not_repeated_without_end():
    error = not_found("x" * 5000)

    assert (error.kind, error.code) == (ErrorKind.NOT_FOUND, "account_not_found")
    assert len(error.message) < 200
