import asyncio
import itertools
from typing import Any

import pytest
from msgspec import UNSET

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.quota import QuotaSource, QuotaWindow
from groxy.store.database import Database
from groxy.store.standings import (
    STANDINGS,
    Standing,
    StandingChange,
    Tally,
    add_tallies,
    forget_standings,
    standings_since,
    tallies_of,
    write_standings,
)

WINDOW = QuotaWindow(
    remaining=3, total=400, window_s=7200, reset_at=5.5, synced_at=4.5, source=QuotaSource.REAL
)
FULL: dict[str, Any] = {
    "status": "cooling",
    "reason": "upstream_rate_limited",
    "since_ms": 5,
    "until_ms": 9,
    "cleared_ms": 3,
    "models": ("grok-4", "grok-4-fast"),
    "windows": {"fast": WINDOW},
    "checked_ms": 4,
    "note": "größer 模型 🚀",
}


async def write(database, account_id, **changes):
    change = StandingChange(account_id=account_id, **changes)
    return (await write_standings(database, [change])).revision


async def all_of(database, revision=0):
    _, found = await standings_since(database, revision)
    return {standing.account_id: standing for standing in found}


# ----------------------------------------------------------------------------------- standings


async def test_a_standing_comes_back_as_it_was_written(database):
    await write(database, "acc_1", **FULL)

    assert await all_of(database) == {"acc_1": Standing(account_id="acc_1", **FULL)}


async def test_an_account_that_never_stood_otherwise_is_active(database):
    await write(database, "a" * 64, checked_ms=7)

    assert await all_of(database) == {"a" * 64: Standing(account_id="a" * 64, checked_ms=7)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            (name, Standing.__dataclass_fields__[name].default)
            for name in FULL
            if name != "windows"
        ],
        ("windows", {}),
        ("models", ()),
    ],
)
async def test_a_change_changes_that_and_nothing_else(database, name, value):
    await write(database, "acc_1", **FULL)
    await write(database, "acc_2", **FULL)
    await write(database, "acc_1", **{name: value})

    assert await all_of(database) == {
        "acc_1": Standing(account_id="acc_1", **FULL | {name: value}),
        "acc_2": Standing(account_id="acc_2", **FULL),
    }


async def test_changes_of_one_account_count_in_their_order(database):
    changes = [
        StandingChange(account_id="acc_1", status="cooling", reason="a", until_ms=UNSET),
        StandingChange(account_id="acc_1", status="expired", note="b"),
    ]

    await write_standings(database, changes)

    assert await all_of(database) == {
        "acc_1": Standing(account_id="acc_1", status="expired", reason="a", note="b")
    }


async def test_what_no_column_takes_is_cut_or_left_out(database):
    await write(database, "acc_1", reason="r" * 100, note="a\0b\ud83dc" + "n" * 10_000)

    standing = (await all_of(database))["acc_1"]

    assert standing.reason == "r" * 64
    assert standing.note.startswith("ab?cnnn")
    assert len(standing.note) == 2_000


async def test_only_what_changed_since_is_news(database):
    await write_standings(database, [StandingChange(account_id=name) for name in ("a", "b", "c")])
    revision, _ = await standings_since(database, 0)
    await write(database, "b", status="disabled")
    await write(database, "d")

    now, news = await standings_since(database, revision)

    assert [standing.account_id for standing in news] == ["b", "d"]
    assert (revision, now) == (1, 3)
    assert await standings_since(database, now) == (3, [])


async def test_writing_returns_the_revision_that_others_will_see(database):
    revisions = [await write(database, "a"), await write(database, "a")]

    assert revisions == [1, 2]
    assert await database.revision(STANDINGS) == 2


async def test_whoever_is_ahead_of_a_restored_backup_gets_all(database):
    await write(database, "a")

    assert (await standings_since(database, 99))[0] == 1
    assert set(await all_of(database, 99)) == {"a"}


async def test_writing_nothing_leaves_the_revision(database):
    assert (await write_standings(database, [])).revision == 0
    assert await database.revision(STANDINGS) == 0


@pytest.mark.parametrize(
    "was", [("disabled", "operator"), ("disabled", "operator" + "r" * 100)], ids=["short", "cut"]
)
async def test_what_was_decided_upon_how_an_account_stands_is_done(database, was):
    await write(database, "acc_1", status="disabled", reason=was[1])
    await write(database, "acc_1", status="active", reason="", was=was)

    assert await all_of(database) == {"acc_1": Standing(account_id="acc_1")}


async def test_what_was_decided_upon_a_first_standing_is_done(database):
    await write(database, "acc_1", status="expired", was=("active", ""))

    assert (await all_of(database))["acc_1"].status == "expired"


@pytest.mark.parametrize("was", [("active", ""), ("disabled", ""), ("expired", "operator")])
async def test_what_was_decided_upon_another_standing_is_left_out(database, was):
    await write(database, "acc_1", status="disabled", reason="operator")
    late = StandingChange(account_id="acc_1", status="expired", reason="rejected", was=was)

    written = await write_standings(database, [late])

    stands = Standing(account_id="acc_1", status="disabled", reason="operator")
    assert written == (2, [stands])
    assert await all_of(database) == {"acc_1": stands}


async def test_what_is_left_out_is_no_news(database):
    revision = await write(database, "acc_1", status="disabled")
    await write(database, "acc_1", status="expired", was=("active", ""))

    assert await standings_since(database, revision) == (revision + 1, [])


async def test_one_that_is_left_out_keeps_no_other_from_being_written(database):
    await write(database, "acc_1", status="disabled")
    changes = [
        StandingChange(account_id=name, status="expired", was=("active", ""))
        for name in ("acc_1", "acc_2")
    ]

    await write_standings(database, changes)

    found = await all_of(database)
    assert {name: one.status for name, one in found.items()} == {
        "acc_1": "disabled",
        "acc_2": "expired",
    }


async def test_more_standings_than_a_statement_takes_come_back(database):
    names = [f"acc_{number:05}" for number in range(1_500)]
    for status in ("active", "cooling"):
        await write_standings(
            database, [StandingChange(account_id=name, status=status) for name in names]
        )

    found = await all_of(database)

    assert list(found) == names
    assert {standing.status for standing in found.values()} == {"cooling"}


async def test_a_batch_with_one_that_does_not_fit_is_not_written_at_all(database):
    missing: Any = None
    changes = [StandingChange(account_id="a"), StandingChange(account_id="b", status=missing)]

    with pytest.raises(GroxyError) as caught:
        await write_standings(database, changes)

    assert caught.value.kind is ErrorKind.STORE_DOWN
    assert await standings_since(database, 0) == (0, [])


async def test_fields_that_several_write_at_once_all_stay(database):
    fields = {name: FULL[name] for name in FULL}
    await asyncio.gather(
        *(write(database, "acc_1", **{name: value}) for name, value in fields.items())
    )

    assert await all_of(database) == {"acc_1": Standing(account_id="acc_1", **FULL)}


async def test_what_others_write_meanwhile_is_never_missed(database):
    known: dict[str, Standing] = {}
    revision, writing = 0, True

    async def change(writer):
        for number in range(20):
            await write(database, f"acc_{number % 3}", checked_ms=writer * 100 + number)

    async def read():
        nonlocal revision
        while True:
            was_writing = writing
            revision, news = await standings_since(database, revision)
            known.update({standing.account_id: standing for standing in news})
            if not was_writing:
                return

    reading = asyncio.get_running_loop().create_task(read())
    await asyncio.gather(*(change(writer) for writer in range(4)))
    writing = False
    await reading

    assert known == await all_of(database)
    assert revision == 80


async def test_what_was_forgotten_is_gone(database):
    names = [f"acc_{number}" for number in range(600)]
    await write_standings(database, [StandingChange(account_id=name) for name in names])
    await add_tallies(database, [Tally(account_id=name, uses=1) for name in names])

    await forget_standings(database, [*names[1:], "nobody"])

    assert set(await all_of(database)) == {"acc_0"}
    assert set(await tallies_of(database, names)) == {"acc_0"}


# ------------------------------------------------------------------------------------- tallies


async def test_counts_add_up_and_the_newer_time_stays(database):
    first = Tally(
        account_id="a",
        uses=3,
        failures=1,
        tokens=100,
        cost_ticks=2**60,
        last_used_ms=9,
        last_failed_ms=8,
        last_error="upstream_rate_limited",
    )
    second = Tally(account_id="a", uses=2, tokens=50, cost_ticks=5, last_used_ms=7)
    await add_tallies(database, [first])
    await add_tallies(database, [second, Tally(account_id="b", uses=1)])

    assert await tallies_of(database, ["a", "b", "c"]) == {
        "a": Tally(
            account_id="a",
            uses=5,
            failures=1,
            tokens=150,
            cost_ticks=2**60 + 5,
            last_used_ms=9,
            last_failed_ms=8,
            last_error="upstream_rate_limited",
        ),
        "b": Tally(account_id="b", uses=1),
    }


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_the_error_is_that_of_the_newest_failure(database, order):
    failures = [
        Tally(account_id="a", failures=1, last_failed_ms=at, last_error=f"error {at}")
        for at in (5, 6, 7)
    ]
    for index in order:
        await add_tallies(database, [failures[index]])

    tally = (await tallies_of(database, ["a"]))["a"]

    assert (tally.failures, tally.last_failed_ms, tally.last_error) == (3, 7, "error 7")


async def test_the_same_account_twice_in_a_batch_counts_twice(database):
    await add_tallies(database, [Tally(account_id="a", uses=1), Tally(account_id="a", uses=2)])

    assert (await tallies_of(database, ["a"]))["a"].uses == 3


async def test_a_long_or_strange_error_is_cut(database):
    await add_tallies(database, [Tally(account_id="a", last_failed_ms=1, last_error="e\0" * 100)])

    assert (await tallies_of(database, ["a"]))["a"].last_error == "e" * 64


async def test_adding_nothing_asks_nothing_of_the_database(tmp_path):
    database = await Database.open("sqlite+aiosqlite:///:memory:", tmp_path)
    await database.close()

    await add_tallies(database, [])


async def test_processes_that_count_the_same_accounts_at_once_lose_nothing(database):
    names = [f"acc_{number}" for number in range(40)]

    async def count(order):
        await add_tallies(database, [Tally(account_id=name, uses=1) for name in order])

    await asyncio.gather(*(count(order) for order in (names, names[::-1]) * 5))

    found = await tallies_of(database, names)
    assert {tally.uses for tally in found.values()} == {10}
    assert len(found) == 40


async def test_more_tallies_than_a_statement_takes_come_back(database):
    names = [f"acc_{number}" for number in range(1_200)]
    await add_tallies(database, [Tally(account_id=name, uses=1) for name in names])

    assert len(await tallies_of(database, names)) == 1_200
