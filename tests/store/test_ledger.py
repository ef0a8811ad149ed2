import asyncio
from datetime import date

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings, strategies as st
from sqlalchemy.exc import DatabaseError, DBAPIError, IntegrityError

from groxy.store import tables
from groxy.store.database import Database
from groxy.store.ledger import (
    BALANCES,
    COSTS,
    HELD,
    SALES,
    Entry,
    Kind,
    Move,
    StoredBalances,
    balances_of,
    balances_since,
    enter,
    moves_of,
    recount_spends,
    upstream_side,
    user_side,
)
from groxy.store.verification import verify
from groxy.store.writers import entry_writer
from groxy.store.writing import Group, all_moves
from tests.store.rows import request_entry

SQLITE = "sqlite+aiosqlite:///groxy.db"


def entry(name="grant:1", *, debit="gifts", credit="user:usr_1", ticks=100, **changes):
    made = Entry(
        id=name,
        at_ms=1_752_854_522_001,
        kind=Kind.GRANT.value,
        debit=debit,
        credit=credit,
        ticks=ticks,
        user_id="usr_1",
        key_id="",
        request_id="",
        note="",
    )
    return made._replace(**changes)


def charge(request_id="req_1", ticks=30, **changes):
    named = {"user_id": "usr_1", "key_id": "key_1", "request_id": request_id}
    return entry(
        f"{request_id}.0",
        debit="user:usr_1",
        credit=SALES,
        ticks=ticks,
        **{"kind": Kind.CHARGE.value, **named, **changes},
    )


async def entered(database, *entries, moves=()):
    async with database.transaction() as connection:
        return await enter(connection, entries, moves)


async def lines_of(database):
    async with database.transaction() as connection:
        rows = await connection.execute(sa.select(tables.entries).order_by(tables.entries.c.id))
        return [Entry(*row) for row in rows]


# ------------------------------------------------------------------------------- sides and moves


def test_only_users_have_balances_that_entries_move():
    lines = [entry(), charge(), entry("c", debit=COSTS, credit=upstream_side("acc_1"))]

    assert moves_of(lines) == {"user:usr_1": 70}


def test_what_goes_from_one_user_to_another_moves_both():
    gift = entry(debit=user_side("usr_2"), credit=user_side("usr_1"), ticks=5)

    assert moves_of([gift]) == {"user:usr_2": -5, "user:usr_1": 5}


def test_the_moves_of_a_group_come_once_each_and_in_order():
    group = Group(
        [],
        [],
        entries=[charge(ticks=30), charge("req_2", ticks=12)],
        moves=[Move("spend:key_1:total", -30, None), Move("spend:key_1:total", -12, None)],
    )

    moves = [(move.name, move.ticks) for move in all_moves(group)]

    assert moves == [("spend:key_1:total", -42), ("user:usr_1", -42)]


# ------------------------------------------------------------------------- beside requests


async def test_an_entry_is_there_with_the_balance_that_it_moves(database):
    moved = await entered(database, entry())

    assert moved == {"user:usr_1": (100, 1)}
    assert await lines_of(database) == [entry()]
    assert await balances_of(database, ["user:usr_1"]) == moved


async def test_nothing_is_entered_twice_under_the_id_of_its_cause(database):
    await entered(database, entry(ticks=100))

    with pytest.raises(Exception) as caught:
        await entered(database, entry(ticks=100))

    assert isinstance(caught.value.__cause__ or caught.value, IntegrityError)
    assert await balances_of(database, ["user:usr_1"]) == {"user:usr_1": (100, 1)}


@pytest.mark.parametrize("ticks", [0, -1])
async def test_an_entry_moves_a_positive_amount(database, ticks):
    with pytest.raises(Exception, match="not available"):
        await entered(database, entry(ticks=ticks))

    assert await lines_of(database) == []


@pytest.mark.parametrize(
    "statement", ["UPDATE entries SET ticks = 1", "DELETE FROM entries"], ids=["change", "delete"]
)
async def test_the_database_itself_keeps_entries_as_they_were_written(database, statement):
    await entered(database, entry())

    with pytest.raises((DBAPIError, DatabaseError), match="append only"):
        async with database.bounded() as connection:
            await connection.exec_driver_sql(statement)

    assert await lines_of(database) == [entry()]


async def test_moves_beside_requests_are_told_by_revision(database):
    await entered(database, entry("grant:1"))
    first, _ = await balances_since(database, 0)
    await entered(database, entry("grant:2", credit="user:usr_2", user_id="usr_2", ticks=7))

    newest, moved = await balances_since(database, first)

    assert moved == {"user:usr_2": (7, 1)}
    assert newest == await database.revision(BALANCES)


async def test_of_two_at_once_both_are_entered_and_the_balance_is_their_sum(database):
    await asyncio.gather(*(entered(database, entry(f"grant:{number}")) for number in range(12)))

    assert (await balances_of(database, ["user:usr_1"]))["user:usr_1"] == (1200, 12)


async def test_a_balance_that_nothing_moved_is_zero(database):
    assert await balances_of(database, ["user:usr_9"]) == {"user:usr_9": (0, 0)}


# ---------------------------------------------------------------------------- what keys have spent


async def test_a_cap_begins_with_what_its_key_has_spent_before(database):
    writer = entry_writer(database)
    day = 1_752_854_522_001  # 2025-07-18, a Friday
    lines = [
        request_entry("req_1", at_ms=day, charge_ticks=30, held_ticks=30),
        request_entry("req_2", at_ms=day - 86_400_000 * 3, charge_ticks=5, held_ticks=5),
        request_entry("req_3", at_ms=day - 86_400_000 * 20, charge_ticks=2, held_ticks=2),
    ]
    await writer.submit(Group(lines, []))
    await writer.close()
    names = ["total", "day:2025-07-18", "week:2025-07-14", "month:2025-07-01", "day:2025-07-19"]

    read = await StoredBalances(database).read([f"spend:key_1:{name}" for name in names])

    assert [ticks for ticks, _ in read.values()] == [-37, -30, -35, -35, 0]


async def test_what_is_spent_under_a_cap_is_counted_on(database):
    name = "spend:key_1:total"
    await StoredBalances(database).read([name])
    writer = entry_writer(database)

    moved = await writer.submit(
        Group([request_entry(charge_ticks=9, held_ticks=9)], [], moves=[Move(name, -9)])
    )
    await writer.close()

    assert {key: tuple(at) for key, at in moved.items()} == {name: (-9, 2)}
    assert await StoredBalances(database).read([name]) == {name: (-9, 2)}


async def test_a_cap_that_is_set_again_counts_what_was_spent_without_it(database):
    moment = 1_752_854_522_001  # 2025-07-18, a Friday
    names = [f"spend:key_1:{word}" for word in ("total", "day:2025-07-18", "month:2025-07-01")]
    await StoredBalances(database).read(names)
    writer = entry_writer(database)
    line = request_entry("req_1", at_ms=moment, charge_ticks=30, held_ticks=30)
    await writer.submit(Group([line], [], moves=[Move(names[1], -40)]))  # a film holds ten of it
    await writer.close()

    async with database.transaction() as connection:
        await recount_spends(connection, "key_1", date(2025, 7, 18))

    assert await balances_of(database, names) == {
        names[0]: (-30, 2),
        names[1]: (-40, 2),
        names[2]: (-30, 2),
    }
    assert (await balances_since(database, 0))[1].keys() == {names[0], names[2]}


# --------------------------------------------------------------------------------------- the model

_steps = st.lists(
    st.tuples(
        st.sampled_from(["grant", "charge", "hold", "release", "refund"]),
        st.sampled_from(["usr_1", "usr_2", "usr_3"]),
        st.integers(1, 2**52),
    ),
    max_size=25,
)


def _line(number, kind, user, ticks):
    sides = {
        "grant": ("gifts", user_side(user)),
        "charge": (user_side(user), SALES),
        "hold": (user_side(user), HELD),
        "release": (HELD, user_side(user)),
        "refund": (user_side(user), "stripe"),
    }[kind]
    return entry(f"e{number:03}", debit=sides[0], credit=sides[1], ticks=ticks)._replace(
        kind=kind if kind in {"grant", "refund"} else "adjust", user_id=user
    )


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=_steps, size=st.integers(1, 6))
def test_balances_are_what_a_ledger_on_paper_would_say(tmp_path_factory, steps, size):
    lines = [_line(number, *step) for number, step in enumerate(steps)]
    paper = {f"user:usr_{number}": 0 for number in (1, 2, 3)}
    for line in lines:
        for side, ticks in ((line.debit, -line.ticks), (line.credit, line.ticks)):
            if side in paper:
                paper[side] += ticks

    async def run():
        database = await Database.open(SQLITE, tmp_path_factory.mktemp("ledger"))
        writer = entry_writer(database)
        for start in range(0, len(lines), size):
            await writer.submit(Group([], [], entries=lines[start : start + size]))
        await writer.close()
        read = await balances_of(database, sorted(paper))
        verified = await verify(database)
        await database.close()
        return {name: ticks for name, (ticks, _) in read.items()}, verified.findings

    balances, findings = asyncio.run(run())

    assert balances == paper
    assert findings == ()
