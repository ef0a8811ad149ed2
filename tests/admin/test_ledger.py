"""What the operator is told of the books."""

import pytest
import sqlalchemy as sa

from groxy.core.money import TICKS_PER_USD
from groxy.store import tables
from groxy.store.ledger import COSTS, SALES, Entry, enter
from tests.admin.window import CALLER_KEY, opened


@pytest.fixture
async def window(tmp_path):
    async with opened(tmp_path) as it:
        yield it


def line(name, kind, debit, credit, usd, user="usr_1"):
    return Entry(name, 1, kind, debit, credit, usd * TICKS_PER_USD, user, "", "", "")


async def filled(window):
    async with window.desk.database.transaction() as connection:
        lines = [
            line("a", "grant", "gifts", "user:usr_1", 10),
            line("b", "adjust", "user:usr_1", SALES, 3),
            line("c", "adjust", COSTS, "upstream:acc_1", 2, user=""),
            line("d", "adjust", COSTS, "upstream:acc_2", 4, user=""),
        ]
        await enter(connection, lines)


async def test_sides_are_added_up_and_the_margin_is_what_is_left(window):
    await filled(window)

    told = (await window.get("/ledger")).json

    assert told == {
        "sides": {"costs": "-6", "gifts": "-10", "sales": "3", "upstreams": "6", "users": "7"},
        "sales": "3",
        "costs": "6",
        "margin": "-3",
    }


async def test_books_without_a_line_have_no_sides(window):
    told = (await window.get("/ledger")).json

    assert told == {"sides": {}, "sales": "0", "costs": "0", "margin": "0"}


async def test_books_that_add_up_are_right(window):
    await filled(window)

    told = (await window.get("/ledger/verify")).json

    assert (told["is_right"], told["entries"], told["findings"]) == (True, 4, [])


async def test_books_that_do_not_add_up_say_where(window):
    await filled(window)
    async with window.desk.database.transaction() as connection:
        await connection.execute(sa.update(tables.balances).values(ticks=1))

    told = (await window.get("/ledger/verify")).json

    assert told["is_right"] is False
    (finding,) = told["findings"]
    assert finding["count"] == 1
    assert finding["examples"] == [f"user:usr_1: balance 1, entries {7 * TICKS_PER_USD}"]


@pytest.mark.parametrize("path", ["/ledger", "/ledger/verify"])
async def test_callers_are_told_nothing(window, path):
    assert (await window.get(path, key=CALLER_KEY)).status == 401
