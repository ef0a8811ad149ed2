import asyncio
import itertools

import pytest
import sqlalchemy as sa

from groxy.store import tables
from groxy.store.ledger import Entry, balances_of, enter
from groxy.store.topups import (
    Cause,
    Event,
    Over,
    Paid,
    TakenBack,
    TopupStatus,
    list_topups,
    open_topup,
    record_event,
)
from groxy.store.verification import verify
from tests.store.races import run_at_once

CENT = 10**8
PAID = Paid(
    reference="cs_1",
    payment_id="pi_1",
    topup_id="top_1",
    user_id="usr_1",
    currency="usd",
    amount=1000,
)
NUMBERS = itertools.count()


@pytest.fixture
async def books(database):
    """A database with a top-up of ten dollars that was begun."""
    await open_topup(database, topup_id="top_1", user_id="usr_1", reference="cs_1", amount=1000)
    return database


def changed(fact, **changes):
    given = {name: getattr(fact, name) for name in fact.__slots__}
    return type(fact)(**{**given, **changes})


def refund(amount, name="re_1", **more):
    given = {"cause": Cause.REFUND, "payment_id": "pi_1", "currency": "usd", **more}
    return TakenBack(id=name, amount=amount, **given)


def dispute(amount, name="dp_1", **more):
    return refund(amount, name, cause=Cause.DISPUTE, **more)


def told(amount, name="ch_1", **more):
    return refund(amount, name, cause=Cause.TOLD, **more)


async def tell(database, *facts):
    """Tell each in a message of its own; return what became of them."""
    texts = []
    for fact in facts:
        event = Event(id=f"evt_{next(NUMBERS)}", kind="kind")
        texts.append((await record_event(database, event, fact)).text)
    return texts


async def cents_of(database):
    ticks = (await balances_of(database, ["user:usr_1"]))["user:usr_1"][0]
    assert ticks % CENT == 0
    return ticks // CENT


async def entry_ids(database):
    async with database.transaction() as connection:
        return sorted(await connection.scalars(sa.select(tables.entries.c.id)))


async def test_a_payment_is_credited_once_however_often_it_is_told(books):
    event = Event(id="evt_a", kind="checkout.session.completed")

    first = await record_event(books, event, PAID)
    again = await record_event(books, event, PAID)
    other = await record_event(books, Event(id="evt_b", kind="async"), PAID)

    assert [first.text, again.text, other.text] == ["credited", "seen before", "paid before"]
    assert first.balances == {"user:usr_1": (1000 * CENT, 1)}
    assert again.balances == other.balances == {}
    assert await cents_of(books) == 1000
    assert await entry_ids(books) == ["stripe:cs_1"]
    (topup,) = await list_topups(books, "usr_1")
    assert (topup.status, topup.refunded, topup.ticks) == (TopupStatus.PAID, 0, 1000 * CENT)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"reference": "cs_other"}, "unknown session"),
        ({"currency": "eur"}, "other currency"),
        ({"currency": ""}, "other currency"),
        ({"amount": 999}, "other amount"),
        ({"amount": 100_000}, "other amount"),
        ({"amount": -1}, "other amount"),
        ({"user_id": "usr_2"}, "other user"),
        ({"topup_id": ""}, "other user"),
    ],
)
async def test_what_does_not_fit_is_noted_and_credits_nothing(books, changes, text):
    outcome = await record_event(books, Event(id="evt_a", kind="k"), changed(PAID, **changes))

    assert (outcome.text, outcome.is_doubtful, outcome.balances) == (text, True, {})
    assert await entry_ids(books) == []
    async with books.transaction() as connection:
        noted = sa.select(tables.payment_events.c.outcome).where(
            tables.payment_events.c.id == "evt_a"
        )
        assert await connection.scalar(noted) == text
    assert await tell(books, PAID) == ["credited"]


async def test_a_session_that_ended_without_money_can_be_paid_after_all(books):
    failed = Over(reference="cs_1", status=TopupStatus.FAILED)
    expired = Over(reference="cs_1", status=TopupStatus.EXPIRED)

    texts = await tell(books, failed, expired, PAID, failed)

    assert texts == ["failed", "failed before", "credited", "paid before"]
    assert await tell(books, changed(failed, reference="cs_2")) == ["unknown session"]
    assert await cents_of(books) == 1000


async def test_each_refund_takes_its_amount_back_once(books):
    texts = await tell(
        books, PAID, refund(300), refund(300), refund(200, "re_2"), refund(200, "re_2")
    )

    assert texts == [
        "credited",
        "taken back",
        "nothing to take back",
        "taken back",
        "nothing to take back",
    ]
    assert await cents_of(books) == 500
    assert await entry_ids(books) == ["stripe-refund:re_1", "stripe-refund:re_2", "stripe:cs_1"]
    assert (await list_topups(books))[0].refunded == 500


async def test_a_refund_of_what_was_spent_leaves_a_debt(books):
    await tell(books, PAID)
    async with books.transaction() as connection:
        spent = ("req.0", 1, "charge", "user:usr_1", "sales", 900 * CENT, "usr_1", "", "", "")
        await enter(connection, [Entry(*spent)])

    await tell(books, refund(1000))

    assert await cents_of(books) == -900


async def test_a_charge_that_tells_its_refunds_together_counts_none_of_them_twice(books):
    texts = await tell(
        books, PAID, told(300), refund(300), refund(200, "re_2"), told(500), told(600)
    )

    assert texts[1:] == [
        "taken back",
        "nothing to take back",
        "taken back",
        "nothing to take back",
        "taken back",
    ]
    assert await cents_of(books) == 400


async def test_a_refund_that_failed_is_given_back_once(books):
    failed = refund(300, is_undone=True)

    texts = await tell(books, PAID, refund(300), failed, failed, refund(300))

    assert texts[1:] == ["taken back", "given back", "nothing to take back", "nothing to take back"]
    assert await cents_of(books) == 1000


async def test_a_dispute_takes_back_and_gives_back_when_it_is_won(books):
    won = dispute(1000, is_undone=True)

    assert (await tell(books, PAID, dispute(1000)))[1:] == ["taken back"]
    assert await cents_of(books) == 0
    assert await tell(books, won, won, dispute(1000)) == [
        "given back",
        "nothing to take back",
        "nothing to take back",
    ]
    assert await cents_of(books) == 1000
    assert "stripe-dispute-won:dp_1" in await entry_ids(books)


async def test_never_more_is_taken_back_than_was_paid(books):
    await tell(books, PAID, refund(700), dispute(1000), refund(900, "re_2"))

    assert await cents_of(books) == 0
    assert await tell(books, dispute(1000, is_undone=True)) == ["nothing to take back"]
    assert await cents_of(books) == 0


async def test_money_of_another_currency_or_payment_takes_nothing_back(books):
    texts = await tell(
        books,
        PAID,
        refund(300, currency="eur"),
        refund(300, "re_2", payment_id="pi_2"),
    )

    assert texts[1:] == ["other currency", "waits for its payment"]
    assert await cents_of(books) == 1000


STORIES = {
    "partial": ([PAID, refund(300), refund(200, "re_2")], 500),
    "told": ([PAID, told(300), refund(300), told(500)], 500),
    "failed": ([PAID, refund(300), refund(300, is_undone=True)], 1000),
    "won": ([PAID, dispute(1000), dispute(1000, is_undone=True)], 1000),
    "both": ([PAID, refund(400), dispute(600)], 0),
}


@pytest.mark.parametrize("story", STORIES)
async def test_the_order_of_the_messages_does_not_matter(books, story):
    facts, cents = STORIES[story]
    for number, order in enumerate(itertools.permutations(facts)):
        name = f"top_{number + 2}"
        own = {"payment_id": f"pi_x{number}"}
        await open_topup(
            books, topup_id=name, user_id="usr_1", reference=f"cs_x{number}", amount=1000
        )
        before = await cents_of(books)
        for fact in order:
            is_paid = isinstance(fact, Paid)
            names = {"reference": f"cs_x{number}", "topup_id": name}
            renamed = names if is_paid else {"id": f"{fact.id}x{number}"}
            one = changed(fact, **own, **renamed)
            await tell(books, one, one)
        assert await cents_of(books) - before == cents, order
    assert (await verify(books)).findings == ()


async def test_long_ids_are_entered_too(books):
    long = "cs_" + "x" * 190
    await open_topup(books, topup_id="top_2", user_id="usr_1", reference=long, amount=1000)
    paid = changed(PAID, reference=long, topup_id="top_2", payment_id="pi_" + "x" * 190)

    texts = await tell(books, paid, refund(1, "re_" + "x" * 190, payment_id=paid.payment_id))

    assert texts == ["credited", "taken back"]
    assert all(len(name) <= 96 for name in await entry_ids(books))


async def test_what_means_nothing_here_is_noted(books):
    event = Event(id="evt_n", kind="customer.created" + "x" * 100)

    assert (await record_event(books, event, None)).text == "not needed"
    assert (await record_event(books, event, None)).text == "seen before"


async def test_messages_at_once_count_once(books):
    facts = [PAID, refund(300), PAID, refund(300), refund(200, "re_2"), told(500)] * 3

    await asyncio.gather(*(tell(books, fact) for fact in facts))

    assert await cents_of(books) == 500
    assert (await verify(books)).findings == ()


RACE = """
import asyncio, sys
from pathlib import Path
from groxy.store.database import Database
from groxy.store.topups import Cause, Event, Paid, TakenBack, record_event

async def main():
    url, folder = sys.argv[1:]
    database = await Database.open(url, Path(folder))
    ready()
    for number in range(20):
        name = str(number)
        paid = Paid(reference="cs_" + name, payment_id="pi_" + name, topup_id="top_" + name,
                    user_id="usr_1", currency="usd", amount=1000)
        back = TakenBack(cause=Cause.REFUND, id="re_" + name, payment_id="pi_" + name,
                         currency="usd", amount=400)
        await asyncio.gather(
            record_event(database, Event(id="evt_p" + name, kind="k"), paid),
            record_event(database, Event(id="evt_q" + name, kind="k"), paid),
            record_event(database, Event(id="evt_r" + name, kind="k"), back),
            record_event(database, Event(id="evt_r" + name, kind="k"), back),
        )
    await database.close()

asyncio.run(main())
"""


async def test_two_processes_that_are_told_the_same_credit_it_once(database, store_url, tmp_path):
    for number in range(20):
        await open_topup(
            database,
            topup_id=f"top_{number}",
            user_id="usr_1",
            reference=f"cs_{number}",
            amount=1000,
        )

    said = await asyncio.to_thread(run_at_once, RACE, [store_url, str(tmp_path)], processes=2)

    assert [err for _, err in said] == ["", ""]
    assert await cents_of(database) == 20 * 600
    assert (await verify(database)).findings == ()


async def test_topups_are_listed_newest_first(database):
    for number in range(3):
        await open_topup(
            database, topup_id=f"top_{number}", user_id="usr_1", reference=f"r{number}", amount=1
        )

    page = await list_topups(database, "usr_1", limit=2)
    rest = await list_topups(database, before=page[-1].id)

    assert [one.id for one in (*page, *rest)] == ["top_2", "top_1", "top_0"]
    assert await list_topups(database, "\0") == []
