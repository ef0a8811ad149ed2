import pytest
import sqlalchemy as sa

from groxy.store import tables
from groxy.store.ledger import COSTS, HELD, Kind, enter, upstream_side
from groxy.store.verification import verify
from groxy.store.writers import entry_writer
from groxy.store.writing import Group
from tests.store.rows import attempt_entry, request_entry
from tests.store.test_ledger import charge, entry

REQUEST = request_entry(
    "req_1", user_id="usr_1", charge_ticks=30, held_ticks=50, cost_ticks=20, attempts=1
)
ATTEMPT = attempt_entry("req_1", 1, cost_ticks=20)
COST = entry(
    "req_1.1",
    kind=Kind.COST.value,
    debit=COSTS,
    credit=upstream_side("acc_1"),
    ticks=20,
    user_id="",
    key_id="key_1",
    request_id="req_1",
)
HOLD = entry(
    "req_2.hold",
    kind=Kind.HOLD.value,
    debit="user:usr_1",
    credit=HELD,
    ticks=9,
    request_id="req_2",
)
RELEASE = HOLD._replace(id="req_2.release", kind="release", debit=HELD, credit="user:usr_1")


async def written(database, *, requests=(REQUEST,), attempts=(ATTEMPT,), entries=()):
    writer = entry_writer(database)
    await writer.submit(Group(requests, attempts, entries=entries))
    await writer.close()


async def granted(database, *entries):
    async with database.transaction() as connection:
        await enter(connection, entries or [entry()])


async def broken(database):
    return [finding.rule for finding in (await verify(database)).findings]


async def test_books_that_add_up_have_no_findings(database):
    await granted(database)
    await written(database, entries=[charge(), COST])
    await granted(database, HOLD, RELEASE)

    verified = await verify(database)

    assert verified.findings == ()
    assert (verified.entries, verified.requests, verified.balances) == (5, 1, 1)


async def test_empty_books_add_up(database):
    assert (await verify(database)).findings == ()


async def test_requests_of_before_there_was_a_ledger_are_no_finding(database):
    old = request_entry("req_0", cost_ticks=7)
    await written(database, requests=[old], attempts=[attempt_entry("req_0", cost_ticks=7)])
    await granted(database)
    await written(database, entries=[charge(), COST])

    assert await broken(database) == []


async def test_lines_of_requests_that_were_pruned_are_no_finding(database):
    await granted(database)
    await written(database, entries=[charge(), COST])
    await written(database, requests=[request_entry("req_5")], attempts=[])
    async with database.transaction() as connection:
        for table, column in ((tables.requests, "id"), (tables.attempts, "request_id")):
            await connection.execute(sa.delete(table).where(table.c[column] == "req_1"))

    assert await broken(database) == []


async def test_a_balance_that_is_not_the_sum_of_its_entries_is_found(database):
    await granted(database)
    async with database.transaction() as connection:
        await connection.execute(sa.update(tables.balances).values(ticks=101))

    (finding,) = (await verify(database)).findings

    assert finding.rule == "every user's balance is the sum of its entries"
    assert finding.examples == ("user:usr_1: balance 101, entries 100",)


async def test_a_balance_that_went_missing_is_found(database):
    await granted(database)
    async with database.transaction() as connection:
        await connection.execute(sa.delete(tables.balances))

    assert await broken(database) == ["every user's balance is the sum of its entries"]


CHARGED = "every charge of a request is in the ledger, once and in full"
BELONGS = "every charge in the ledger belongs to a request that says the same"
COSTED = "every cost of an attempt is in the ledger, once and in full"
SPENT = "every cost in the ledger belongs to an attempt"
COVERED = "no request was charged more than was held for it"
ASIDE = "what is set aside belongs to a job that is under way"
BACK = "what was given back had been set aside"
MOVES = "every entry moves a positive amount from one side to another, and is of a known kind"
NAMED = "whoever's balance an entry moves is named in it"


@pytest.mark.parametrize(
    ("requests", "attempts", "entries", "rules"),
    [
        ([REQUEST], [ATTEMPT], [COST], [CHARGED]),
        ([REQUEST], [ATTEMPT], [charge(ticks=29), COST], [CHARGED, BELONGS]),
        ([REQUEST], [ATTEMPT], [charge(key_id="key_2"), COST], [CHARGED]),
        ([REQUEST], [ATTEMPT], [charge(), COST, charge("req_2")], [BELONGS]),
        ([REQUEST], [ATTEMPT], [charge()], [COSTED]),
        ([REQUEST], [ATTEMPT], [charge(), COST._replace(ticks=21)], [COSTED, SPENT]),
        ([REQUEST], [], [charge(), COST], []),
        ([REQUEST._replace(held_ticks=29)], [ATTEMPT], [charge(), COST], [COVERED]),
        ([REQUEST], [ATTEMPT], [charge(), COST, HOLD], [ASIDE]),
        ([REQUEST], [ATTEMPT], [charge(), COST, RELEASE], [BACK]),
        ([REQUEST], [ATTEMPT], [charge(), COST, HOLD, RELEASE._replace(ticks=8)], [BACK]),
        ([REQUEST], [ATTEMPT], [charge(), COST, entry("x", kind="gift")], [MOVES]),
        ([REQUEST], [ATTEMPT], [charge(), COST, entry("x", debit="user:usr_1")], [MOVES]),
        ([REQUEST], [ATTEMPT], [charge(), COST, entry("x", user_id="usr_2")], [NAMED]),
    ],
    ids=[
        "a charge without a line",
        "a line for less",
        "a line of another key",
        "a line without a request",
        "a cost without a line",
        "a line for more than the cost",
        "attempts that were pruned",
        "more charged than held",
        "a hold without a job",
        "a release without a hold",
        "a release of less than the hold",
        "an unknown kind",
        "a line to its own side",
        "a line of somebody else's",
    ],
)
async def test_what_does_not_add_up_is_found(database, requests, attempts, entries, rules):
    await granted(database)
    await written(database, requests=requests, attempts=attempts, entries=entries)

    assert await broken(database) == rules


async def test_many_findings_are_counted_and_a_few_are_shown(database):
    requests = [
        request_entry(f"req_{number:03}", charge_ticks=2, held_ticks=2) for number in range(30)
    ]
    await written(database, requests=requests, attempts=[])

    (finding,) = (await verify(database)).findings

    assert (finding.count, len(finding.examples)) == (30, 5)


async def test_books_are_verified_as_of_one_moment(database):
    """While they are written, too: a group that is entered meanwhile is seen whole or not."""
    await granted(database, entry(ticks=10_000))
    writer = entry_writer(database)
    findings: list[object] = []
    for number in range(30):
        name = f"req_{number:03}"
        request = REQUEST._replace(id=name)
        submitted = writer.submit(
            Group(
                [request],
                [ATTEMPT._replace(request_id=name)],
                entries=[
                    charge(name),
                    COST._replace(id=f"{name}.1", request_id=name),
                ],
            )
        )
        findings += (await verify(database)).findings
        await submitted
    await writer.close()

    assert findings == []
