import pytest
import sqlalchemy as sa
from sqlalchemy import event

from groxy.core.errors import GroxyError
from groxy.store import tables
from groxy.store.database import Database
from groxy.store.ledger import Entry, enter
from groxy.store.statements import (
    Span,
    charged_ticks,
    held_ticks,
    key_usage,
    read_statement,
    whole_statement,
)

USER = "usr_1"


def line(name, debit, credit, ticks=5, at_ms=10, user_id=USER, kind="grant", request_id=""):
    return Entry(name, at_ms, kind, debit, credit, ticks, user_id, "key_1", request_id, "")


async def entered(database, *lines):
    async with database.transaction() as connection:
        await enter(connection, lines)


async def added(database, table, **values):
    async with database.transaction() as connection:
        await connection.execute(sa.insert(table).values(**values))


async def test_lines_have_the_sign_that_the_user_sees(database):
    await entered(
        database,
        line("a", "gifts", "user:usr_1", 7, 1),
        line("b", "user:usr_1", "sales", 3, 2, kind="charge"),
        line("c", "gifts", "user:usr_2", 9, 3, user_id="usr_2"),
        line("d", "costs", "upstream:acc_1", 2, 4, user_id="", kind="cost"),
        line("e", "costs", "upstream:acc_1", 2, 5, kind="cost"),
    )

    found = await read_statement(database, USER, Span())

    assert [(one.id, one.ticks) for one in found] == [("b", -3), ("a", 7)]


async def test_lines_of_one_moment_are_on_one_page_each(database):
    names = [f"l{number:03}" for number in range(25)]
    await entered(database, *(line(name, "gifts", "user:usr_1") for name in names))

    seen, after = [], ""
    while page := await read_statement(database, USER, Span(), after=after, limit=4):
        seen += [one.id for one in page]
        after = page[-1].cursor

    assert seen == sorted(names, reverse=True)


async def test_a_whole_statement_has_every_line_once(database):
    lines = [line(f"l{number:04}", "gifts", "user:usr_1", at_ms=number) for number in range(1_500)]
    await entered(database, *lines)

    pages = [page async for page in whole_statement(database, USER, Span(from_ms=100))]

    assert [len(page) for page in pages] == [1_000, 400]
    assert len({one.id for page in pages for one in page}) == 1_400


async def test_a_span_has_its_beginning_and_not_its_end(database):
    await entered(
        database, *(line(f"l{at}", "gifts", "user:usr_1", at_ms=at) for at in (10, 20, 30))
    )

    found = await read_statement(database, USER, Span(from_ms=10, to_ms=30))

    assert [one.at_ms for one in found] == [20, 10]


@pytest.mark.parametrize("cursor", ["x", "1", "1.", "-1.a", "1.\0", "²5.a", "1" * 20 + ".a"])
async def test_what_is_no_cursor_is_refused(database, cursor):
    with pytest.raises(GroxyError) as caught:
        await read_statement(database, USER, Span(), after=cursor)
    assert caught.value.param == "cursor"


async def test_pages_come_from_the_index_on_sqlite(tmp_path):
    """Without it each page of a user with a million lines took a second."""
    database = await Database.open("sqlite+aiosqlite:///groxy.db", tmp_path)
    asked = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        asked.append((statement, parameters))

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    await read_statement(database, USER, Span(from_ms=1), after="5.a")
    event.remove(engine, "before_cursor_execute", note)

    (statement, parameters) = asked[-1]
    async with database.transaction() as connection:
        rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        plan = " ".join(row[-1] for row in rows)
    assert "USING INDEX entries_user" in plan
    assert "TEMP B-TREE" not in plan
    await database.close()


async def test_what_is_held_for_films_is_told_until_they_are_over(database):
    hold = line("req_1.hold", "user:usr_1", "held", 40, kind="hold", request_id="req_1")
    await entered(database, hold)
    job: dict[str, object] = {column.name: "" for column in tables.jobs.c if not column.nullable}
    numbers = ("progress", "created_ms", "updated_ms", "lease_until_ms", "expires_ms")
    job |= dict.fromkeys(numbers, 0) | {"sealed": b"", "id": "video_1", "request_id": "req_1"}
    await added(database, tables.jobs, **job)

    assert await held_ticks(database, USER) == 40
    assert await held_ticks(database, "usr_2") == 0
    back = line("req_1.release", "held", "user:usr_1", 40, kind="release", request_id="req_1")
    await entered(database, back)
    assert await held_ticks(database, USER) == 0


async def test_usage_is_summed_by_day_week_and_month(database):
    counts = dict.fromkeys(
        (
            "requests",
            "errors",
            "input_tokens",
            "cached_tokens",
            "output_tokens",
            "reasoning_tokens",
            "duration_us",
        ),
        1,
    )
    for day, ticks in ((20261001, 1), (20261101, 10), (20261124, 100), (20261125, 1000)):
        names = {"day": day, "user_id": USER, "key_id": "key_1", "model": "m", "app": ""}
        sums = {"charge_ticks": ticks, "cost_ticks": 2 * ticks}
        await added(database, tables.usage_days, **names, **counts, **sums)

    days = {"day": 20261125, "week": 20261123, "month": 20261101}
    charged = await key_usage(database, "key_1", **days, is_charged=True)
    cost = await key_usage(database, "key_1", **days, is_charged=False)
    nothing = await key_usage(database, "key_2", **days, is_charged=True)

    assert (charged.total, charged.month, charged.week, charged.day) == (1111, 1110, 1100, 1000)
    assert (cost.total, cost.day) == (2222, 2000)
    assert (nothing.total, nothing.day) == (0, 0)
    assert await charged_ticks(database, USER) == 1111
    assert await charged_ticks(database, "usr_2") == 0
