import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.terms import NO_TERMS, Terms
from groxy.store import tables
from groxy.store.accounts import (
    ACCOUNTS,
    AccountChange,
    AccountDraft,
    StoredAccount,
    accounts_since,
    add_account,
    add_accounts,
    change_accounts,
    digest_of,
    find_account,
    hint_of,
    list_accounts,
    purge_accounts,
    remove_account,
    remove_accounts,
)
from groxy.store.database import Database
from groxy.store.secrets import InstallationSecret
from groxy.store.standings import (
    StandingChange,
    Tally,
    add_tallies,
    standings_since,
    tallies_of,
    write_standings,
)

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
        await add(database, name=name, api_key=f"xai-{name}")
    monkeypatch.undo()

    assert [account.name for account in await list_accounts(database, SECRET)] == ["a", "b", "c"]


async def test_a_name_that_is_taken_is_refused(database):
    first = await add(database)

    error = await error_of(add(database, upstream="openrouter"))

    assert (error.kind, error.param) == (ErrorKind.CONFLICT, "name")
    assert error.code == "account_name_taken"
    assert "'first'" in error.message
    assert await list_accounts(database, SECRET) == [first]


async def test_of_many_who_add_one_name_at_once_one_succeeds(database):
    outcomes = await asyncio.gather(*(add(database) for _ in range(5)), return_exceptions=True)

    refused = [outcome for outcome in outcomes if isinstance(outcome, GroxyError)]
    assert [error.kind for error in refused] == [ErrorKind.CONFLICT] * 4
    assert len(await list_accounts(database, SECRET)) == 1


async def test_a_removed_account_is_gone_and_its_name_free(database):
    await add(database)
    other = await add(database, name="other", api_key="xai-other")

    await remove_account(database, "first")
    assert await list_accounts(database, SECRET) == [other]

    again = await add(database, api_key="xai-again")
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


# --------------------------------------------------------------------------------- many at once


def drafts(count, **changes):
    return [
        AccountDraft(**{"upstream": "xai", "api_key": f"xai-key-{number:05}-abcdefghijk"} | changes)
        for number in range(count)
    ]


async def add_some(database, count, **changes):
    return (await add_accounts(database, SECRET, drafts(count, **changes))).accounts


async def test_all_parts_of_a_draft_come_back(database):
    terms = Terms(tags=("a", "b"), weight=3, models=("grok-4*",), quotas={"fast": "400/2h"})
    draft = AccountDraft(
        upstream="xai",
        api_key=API_KEY,
        name="first",
        pool="basic",
        base_url="http://127.0.0.1:9001/v1",
        proxy_url="http://user:pass@proxy:8080",
        options={"gateway_id": "g"},
        terms=terms,
    )

    added = await add_accounts(database, SECRET, [draft])

    (account,) = added.accounts
    assert await list_accounts(database, SECRET) == [account]
    assert (account.name, account.pool, account.terms) == ("first", "basic", terms)
    assert (account.proxy_url, account.options) == (draft.proxy_url, {"gateway_id": "g"})
    assert "user:pass" not in repr(account) + repr(draft) + repr(added)


async def test_ten_thousand_accounts_are_added_within_seconds(database):
    began = time.monotonic()
    added = await add_accounts(database, SECRET, drafts(10_000))
    took_s = time.monotonic() - began

    assert [account.api_key for account in added.accounts] == [d.api_key for d in drafts(10_000)]
    assert len({account.name for account in added.accounts}) == 10_000
    assert len(await list_accounts(database, SECRET)) == 10_000
    assert took_s < 20  # half a second where nobody else works


async def test_nothing_is_no_change(database):
    added = await add_accounts(database, SECRET, [])

    assert (added.accounts, added.duplicates) == ([], [])
    assert await database.revision(ACCOUNTS) == 0


async def test_duplicates_are_reported_and_not_added(database):
    (first,) = await add_some(database, 1)
    given = [*drafts(2), drafts(2)[1], replace(drafts(1)[0], name="other name", pool="basic")]

    added = await add_accounts(database, SECRET, given)

    (second,) = added.accounts
    assert [(each.index, each.account_id, each.name) for each in added.duplicates] == [
        (0, first.id, first.name),
        (2, second.id, second.name),
        (3, first.id, first.name),
    ]
    assert {account.id for account in await list_accounts(database, SECRET)} == {
        first.id,
        second.id,
    }


async def test_what_is_all_there_already_leaves_the_revision(database):
    await add_some(database, 3)
    await add_some(database, 3)

    assert await database.revision(ACCOUNTS) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"upstream": "openrouter"},
        {"base_url": "http://127.0.0.1:1/v1"},
        {"api_key": "xai-other"},
        {"options": {"gateway_id": "g"}},
    ],
    ids=["upstream", "address", "credential", "option"],
)
async def test_another_place_or_credential_is_another_account(database, changes):
    await add_some(database, 1)

    assert len(await add_some(database, 1, **changes)) == 1


async def test_accounts_without_a_credential_are_told_apart_by_address_and_name(database):
    local: dict[str, Any] = {
        "upstream": "openai_compatible",
        "api_key": "",
        "base_url": "http://127.0.0.1:1/v1",
    }
    given = [
        AccountDraft(**local, name="a"),
        AccountDraft(**local, name="b"),
        AccountDraft(**local),
        AccountDraft(**local | {"base_url": "http://127.0.0.1:2/v1"}),
    ]

    assert len((await add_accounts(database, SECRET, given)).accounts) == 4
    again = await add_accounts(database, SECRET, given)
    assert [each.index for each in again.duplicates] == [0, 1, 2, 3]


def test_a_digest_depends_on_every_part_and_on_where_it_ends():
    digests = {
        digest_of(SECRET, "xai", "", "key"),
        digest_of(OTHER, "xai", "", "key"),
        digest_of(SECRET, "xa", "i", "key"),
        digest_of(SECRET, "xai", "k", "ey"),
        digest_of(SECRET, "xai", "", "key", {"a": "b"}),
        digest_of(SECRET, "xai", "", "key", {"b": "a"}),
        digest_of(SECRET, "xai", "", "key", {"a": ""}),
        digest_of(SECRET, "xai", "", ""),
        digest_of(SECRET, "xai", "", "", name="n"),
    }

    assert len(digests) == 9
    assert digest_of(SECRET, "xai", "", "key", name="n") == digest_of(SECRET, "xai", "", "key")
    pairs = [{"a": "1", "b": "2"}, {"b": "2", "a": "1"}]
    assert len({digest_of(SECRET, "xai", "", "key", pair) for pair in pairs}) == 1


@pytest.mark.parametrize(
    ("api_key", "hint"),
    [
        ("xai-0123456789abcdefghijklmnop", "xai-0123...ijklmnop"),
        ("x" * 21, "xxxxxxxx...xxxxxxxx"),
        ("abcdefghijklmnopqrst", "ab..."),
        ("abc", "ab..."),
        ("", ""),
    ],
)
def test_a_hint_shows_the_ends_of_a_long_credential_only(api_key, hint):
    assert hint_of(api_key) == hint


# --------------------------------------------------------------------------------------- names


async def test_an_account_without_a_name_gets_one_of_its_upstream_and_digest(database):
    (account,) = await add_some(database, 1)

    digest = digest_of(SECRET, "xai", "", account.api_key)
    assert account.name == f"xai-{digest.hex()[:8]}"


async def test_a_made_name_that_is_taken_is_made_longer(database):
    digest = digest_of(SECRET, "xai", "", drafts(1)[0].api_key).hex()
    taken = [
        AccountDraft(upstream="xai", api_key=f"k{length}", name=f"xai-{digest[:length]}")
        for length in (8, 16)
    ]
    await add_accounts(database, SECRET, taken[:1])

    added = await add_accounts(database, SECRET, [*drafts(1), taken[1]])

    assert [account.name for account in added.accounts] == [f"xai-{digest}", f"xai-{digest[:16]}"]


async def test_one_name_that_is_taken_refuses_all(database):
    await add(database)
    given = [AccountDraft(upstream="xai", api_key="new", name="first")]

    error = await error_of(add_accounts(database, SECRET, [*drafts(3), *given]))

    assert (error.kind, error.code) == (ErrorKind.CONFLICT, "account_name_taken")
    assert len(await list_accounts(database, SECRET)) == 1


async def test_a_name_that_is_given_twice_is_refused(database):
    given = [AccountDraft(upstream="xai", api_key=key, name="same") for key in "ab"]

    error = await error_of(add_accounts(database, SECRET, given))

    assert error.code == "account_name_taken"
    assert await list_accounts(database, SECRET) == []


async def test_the_same_credential_under_another_name_is_refused_when_it_is_the_only_one(database):
    await add(database)

    error = await error_of(add(database, name="second"))

    assert (error.kind, error.code, error.param) == (
        *(ErrorKind.CONFLICT, "token_conflict", "api_key"),
    )
    assert API_KEY not in error.message + error.detail


# ------------------------------------------------------------------------------------- changing


async def change(database, account_id, **changes):
    (changed,) = await change_accounts(
        database, SECRET, [AccountChange(account_id=account_id, **changes)]
    )
    return changed


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "new"},
        {"pool": "basic"},
        {"base_url": "http://127.0.0.1:7/v1"},
        {"proxy_url": "http://proxy:1"},
        {"proxy_url": ""},
        {"api_key": "xai-new-credential-0123456789"},
        {"options": {"a": "b"}},
        {"options": {}},
        {"terms": Terms(weight=9)},
    ],
    ids=lambda changes: "=".join(map(str, *changes.items())),
)
async def test_a_change_changes_that_and_nothing_else(database, changes):
    old, other = (
        await add_accounts(
            database, SECRET, [replace(each, proxy_url="http://p:1") for each in drafts(2)]
        )
    ).accounts

    changed = await change(database, old.id, **changes)

    hint = hint_of(changes.get("api_key", old.api_key))
    assert changed == replace(old, **changes, hint=hint, revision=changed.revision)
    found = {account.id: account for account in await list_accounts(database, SECRET)}
    assert found == {old.id: changed, other.id: other}


async def test_a_change_to_what_was_there_is_none(database):
    (account,) = await add_some(database, 1)

    assert await change(database, account.id, pool="heavy", terms=NO_TERMS) == account
    assert await database.revision(ACCOUNTS) == 1


async def test_changes_of_one_account_count_in_their_order(database):
    (account,) = await add_some(database, 1)
    changes = [
        AccountChange(account_id=account.id, pool="basic", name="a"),
        AccountChange(account_id=account.id, pool="super"),
    ]

    (changed,) = await change_accounts(database, SECRET, changes)

    assert (changed.pool, changed.name) == ("super", "a")


async def test_an_account_that_is_not_there_refuses_all_changes(database):
    (account,) = await add_some(database, 1)
    (removed,) = await add_some(database, 1, upstream="openrouter")
    await remove_accounts(database, [removed.id])

    for nobody in ("acc_nobody", removed.id, "", "acc\0"):
        changes = [AccountChange(account_id=name, pool="basic") for name in (account.id, nobody)]
        error = await error_of(change_accounts(database, SECRET, changes))
        assert (error.kind, error.code) == (ErrorKind.NOT_FOUND, "account_not_found")

    assert await list_accounts(database, SECRET) == [account]


async def test_a_credential_of_another_account_is_refused(database):
    first, second = await add_some(database, 2)

    error = await error_of(change(database, second.id, api_key=first.api_key))

    assert (error.kind, error.code, error.param) == (
        *(ErrorKind.CONFLICT, "token_conflict", "api_key"),
    )
    assert first.name in error.message
    assert first.api_key not in error.message + error.detail
    assert await find_account(database, SECRET, second.id) == second


async def test_two_accounts_cannot_get_the_same_credential_at_once(database):
    accounts = await add_some(database, 2)
    changes = [AccountChange(account_id=each.id, api_key="same") for each in accounts]

    assert (await error_of(change_accounts(database, SECRET, changes))).code == "token_conflict"


async def test_a_name_of_another_account_is_refused(database):
    first, second = await add_some(database, 2)

    error = await error_of(change(database, second.id, name=first.name))

    assert (error.code, error.param) == ("account_name_taken", "name")


async def test_accounts_can_swap_names_and_credentials(database):
    first, second = await add_some(database, 2)
    changes = [
        AccountChange(account_id=each.id, name=other.name, api_key=other.api_key)
        for each, other in ((first, second), (second, first))
    ]

    await change_accounts(database, SECRET, changes)

    found = await find_account(database, SECRET, first.id)
    assert found is not None
    assert (found.name, found.api_key) == (second.name, second.api_key)
    added = await add_accounts(database, SECRET, drafts(2))
    assert [each.account_id for each in added.duplicates] == [second.id, first.id]


async def test_the_old_credential_is_free_after_a_change(database):
    (account,) = await add_some(database, 1)
    await change(database, account.id, api_key="xai-new")

    (again,) = await add_some(database, 1, name="again")

    assert again.id != account.id


async def test_a_credential_of_a_removed_account_can_be_taken_over(database):
    first, second = await add_some(database, 2)
    await remove_accounts(database, [first.id])

    await change(database, second.id, api_key=first.api_key)

    added = await add_accounts(database, SECRET, drafts(2))
    assert [each.account_id for each in added.duplicates] == [second.id]
    assert first.id not in {each.id for each in added.accounts}


# ------------------------------------------------------------------------- removal and revival


async def test_removal_says_who_was_there(database):
    accounts = await add_some(database, 3)
    ids = [account.id for account in accounts]
    await remove_accounts(database, ids[:1])

    gone = await remove_accounts(database, [ids[2], "acc_x", ids[0], ids[2], "acc\0"])

    assert gone == [ids[2]]
    assert [account.id for account in await list_accounts(database, SECRET)] == [ids[1]]


async def test_more_ids_than_a_statement_takes_are_removed(database):
    ids = [account.id for account in await add_some(database, 1_200)]

    assert await remove_accounts(database, ids) == ids
    assert await list_accounts(database, SECRET) == []


async def test_removing_nobody_leaves_the_revision(database):
    await add_some(database, 1)
    await remove_accounts(database, ["acc_nobody"])

    assert await database.revision(ACCOUNTS) == 1


async def test_an_account_that_comes_again_has_its_id_back_and_a_fresh_standing(database):
    (account,) = await add_some(database, 1)
    bad = StandingChange(account_id=account.id, status="expired", reason="rejected", note="no")
    before = (await write_standings(database, [bad])).revision
    await add_tallies(database, [Tally(account_id=account.id, uses=3)])
    await remove_accounts(database, [account.id])

    (again,) = await add_some(database, 1, name="again", pool="basic", terms=Terms(weight=2))

    assert (again.id, again.name, again.pool) == (account.id, "again", "basic")
    assert await list_accounts(database, SECRET) == [again]
    _, (standing,) = await standings_since(database, before)
    assert (standing.status, standing.reason, standing.note) == ("active", "", "")
    assert standing.cleared_ms == standing.since_ms == again.created_ms
    assert (await tallies_of(database, [account.id]))[account.id].uses == 3


async def test_a_removed_account_blocks_neither_its_name_nor_its_made_name(database):
    (account,) = await add_some(database, 1)
    await remove_accounts(database, [account.id])

    (other,) = await add_some(database, 1, api_key="xai-other", name=account.name)
    (again,) = await add_some(database, 1)

    assert (other.name, again.id) == (account.name, account.id)
    assert again.name != account.name
    assert again.name.startswith(account.name)


async def test_a_purge_forgets_what_was_removed_before(database):
    old, young, live = await add_some(database, 3)
    await write_standings(database, [StandingChange(account_id=old.id)])
    await add_tallies(database, [Tally(account_id=old.id, uses=3)])
    await remove_accounts(database, [old.id])
    await asyncio.sleep(0.002)
    between_ms = time.time_ns() // 1_000_000
    await asyncio.sleep(0.002)
    await remove_accounts(database, [young.id])

    assert await purge_accounts(database, between_ms) == 1

    assert (await standings_since(database, 0))[1] == []
    assert await tallies_of(database, [old.id]) == {}
    again = await add_accounts(database, SECRET, drafts(3))
    assert again.accounts[0].id not in {old.id, young.id}
    assert again.accounts[1].id == young.id
    assert [each.account_id for each in again.duplicates] == [live.id]


# ----------------------------------------------------------------------------------------- news


async def test_news_are_what_changed_since(database):
    first, second, third = await add_some(database, 3)
    start = await accounts_since(database, SECRET, 0)
    await change(database, second.id, pool="basic")
    await remove_accounts(database, [third.id])
    (fourth,) = await add_some(database, 1, upstream="openrouter")

    news = await accounts_since(database, SECRET, start.revision)

    assert {account.id for account in start.accounts} == {first.id, second.id, third.id}
    assert (start.is_whole, start.gone, news.is_whole) == (True, [], False)
    assert [account.id for account in news.accounts] == [second.id, fourth.id]
    assert news.gone == [third.id]
    assert (await accounts_since(database, SECRET, news.revision)).accounts == []


async def test_all_accounts_are_news_to_whoever_knows_nothing_though_some_are_gone(database):
    accounts = await add_some(database, 1_100)
    await remove_accounts(database, [accounts[0].id])

    news = await accounts_since(database, SECRET, 0)

    assert (len(news.accounts), news.gone, news.is_whole) == (1_099, [], True)


async def test_whoever_slept_past_a_purge_gets_all(database):
    accounts = await add_some(database, 2)
    asleep = (await accounts_since(database, SECRET, 0)).revision
    await remove_accounts(database, [accounts[0].id])
    awake = (await accounts_since(database, SECRET, asleep)).revision
    await purge_accounts(database, 2**60)

    news = await accounts_since(database, SECRET, asleep)

    assert (news.is_whole, [each.id for each in news.accounts]) == (True, [accounts[1].id])
    assert not (await accounts_since(database, SECRET, awake)).is_whole


async def test_whoever_is_ahead_of_a_restored_backup_gets_all(database):
    await add_some(database, 2)

    news = await accounts_since(database, SECRET, 99)

    assert (news.is_whole, len(news.accounts), news.revision) == (True, 2, 1)


async def test_what_others_write_meanwhile_is_never_missed(database):
    """Revisions become visible in their order, so a reader that goes on from one misses none."""
    known: dict[str, StoredAccount] = {}
    revision, writing = 0, True

    async def write(writer):
        for number in range(10):
            draft = AccountDraft(upstream="xai", api_key=f"{writer}-{number}")
            (account,) = (await add_accounts(database, SECRET, [draft])).accounts
            await change(database, account.id, pool="basic")

    async def read():
        nonlocal revision
        while True:
            was_writing = writing
            news = await accounts_since(database, SECRET, revision)
            known.update({account.id: account for account in news.accounts})
            revision = news.revision
            if not was_writing:
                return

    reading = asyncio.get_running_loop().create_task(read())
    await asyncio.gather(*(write(writer) for writer in range(4)))
    writing = False
    await reading

    assert {name: account.pool for name, account in known.items()} == {
        account.id: "basic" for account in await list_accounts(database, SECRET)
    }
    assert (len(known), revision) == (40, 80)


async def test_of_many_who_add_the_same_accounts_at_once_each_is_added_once(database):
    outcomes = await asyncio.gather(*(add_accounts(database, SECRET, drafts(20)) for _ in range(5)))

    assert sorted(len(each.accounts) for each in outcomes) == [0, 0, 0, 0, 20]
    assert len(await list_accounts(database, SECRET)) == 20


# -------------------------------------------------------------------------------------- finding


async def test_an_account_is_found_by_id_and_by_name(database):
    first, second = await add_some(database, 2)

    assert await find_account(database, SECRET, first.id) == first
    assert await find_account(database, SECRET, second.name) == second


async def test_an_id_goes_before_the_same_name(database):
    first, second = await add_some(database, 2)
    await change(database, second.id, name=first.id)

    assert await find_account(database, SECRET, first.id) == first


@pytest.mark.parametrize("name", ["", "nobody", "a\0", "\ud83d", "x" * 100_000])
async def test_an_account_that_nobody_has_is_not_found(database, name):
    await add_some(database, 1)

    assert await find_account(database, SECRET, name) is None


async def test_a_removed_account_is_not_found(database):
    (account,) = await add_some(database, 1)
    await remove_accounts(database, [account.id])

    assert await find_account(database, SECRET, account.id) is None


# --------------------------------------------------------------------- what an older Groxy wrote


async def store_as_before(database, name, api_key):
    """Write an account as the Groxy of schema 0002 did."""
    account_id = f"acc_{name}"
    sealed = SECRET.seal(
        b'{"api_key":"%s","options":{"a":"b"}}' % api_key.encode(), owner=account_id
    )
    columns = ("id", "name", "upstream", "pool", "base_url", "sealed", "created_ms")
    row = dict(zip(columns, (account_id, name, "xai", "heavy", "", sealed, 5), strict=True))
    insert = sa.text(
        f"INSERT INTO accounts ({', '.join(columns)}) "
        "VALUES (:id, :name, :upstream, :pool, :base_url, :sealed, :created_ms)"
    )
    async with database.transaction() as connection:
        await connection.execute(insert, row)
    return account_id


async def test_an_account_of_before_opens_with_nothing_laid_down(database):
    account_id = await store_as_before(database, "old", API_KEY)

    (account,) = await list_accounts(database, SECRET)

    assert (account.id, account.api_key, account.options) == (account_id, API_KEY, {"a": "b"})
    assert (account.proxy_url, account.terms) == ("", NO_TERMS)
    assert account.hint == hint_of(API_KEY)


async def test_an_account_of_before_has_duplicates_too(database):
    account_id = await store_as_before(database, "old", API_KEY)
    draft = AccountDraft(upstream="xai", api_key=API_KEY, options={"a": "b"})

    added = await add_accounts(database, SECRET, [draft])

    assert [each.account_id for each in added.duplicates] == [account_id]


async def test_accounts_of_before_with_one_credential_stay_and_the_older_is_meant(database):
    ids = [await store_as_before(database, name, API_KEY) for name in ("a", "b")]
    draft = AccountDraft(upstream="xai", api_key=API_KEY, options={"a": "b"})

    added = await add_accounts(database, SECRET, [draft, *drafts(1)])

    assert [each.account_id for each in added.duplicates] == ids[:1]
    assert len(await list_accounts(database, SECRET)) == 3
    assert (await change(database, ids[1], pool="basic")).pool == "basic"


async def test_an_account_of_before_takes_over_from_a_removed_one(database):
    (removed,) = await add_some(database, 1, api_key=API_KEY, options={"a": "b"})
    await remove_accounts(database, [removed.id])
    account_id = await store_as_before(database, "old", API_KEY)

    added = await add_accounts(
        database, SECRET, [AccountDraft(upstream="xai", api_key=API_KEY, options={"a": "b"})]
    )

    assert [each.account_id for each in added.duplicates] == [account_id]


async def test_what_an_older_groxy_adds_beside_this_one_is_news(database):
    await add_some(database, 1)
    start = await accounts_since(database, SECRET, 0)
    account_id = await store_as_before(database, "old", API_KEY)

    news = await accounts_since(database, SECRET, start.revision)

    assert [account.id for account in news.accounts] == [account_id]
