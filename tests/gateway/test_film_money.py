"""What a film costs its caller: set aside when it is ordered, charged or given back at its end.

The hold is in the books, so that no process has to live for it.
"""

import asyncio

import pytest
import sqlalchemy as sa

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import Caps, KeyGrant, Plan, PlanGrant, Rates
from groxy.core.media import VideoRequest
from groxy.core.money import TICKS_PER_USD
from groxy.gateway.reel import COMPLETED, FAILED, POLLING
from groxy.jobs.worker import Held
from groxy.ledger.trail import now_ms
from groxy.policy.admission import Admission
from groxy.policy.keys import Caller
from groxy.store import tables
from groxy.store.ledger import Entry, Kind, StoredBalances, balances_of, enter
from groxy.store.verification import verify
from tests.gateway.film_set import (
    DONE,
    MODEL,
    PENDING,
    DyingStore,
    FilmSeat,
    Killed,
    stoppable,
    told,
)
from tests.gateway.test_filming import FAILED_FILM, SAVES

USER = "user:usr_1"
BILL = 4_200
PRICE = 6 * 7 * TICKS_PER_USD // 100
"""Of six seconds in 720p, by the catalog: 7 cents a second."""


@pytest.fixture
async def paying(stand, database):
    """Makes film sets whose caller pays, with a dollar."""
    async with database.transaction() as connection:
        line = Entry("grant:1", 1, "grant", "gifts", USER, TICKS_PER_USD, "usr_1", "", "", "")
        await enter(connection, [line])

    async def make(seat, **caller):
        scene = await stand(seat)
        gate = scene.stage.gate
        scene.means.admission = Admission(gate, StoredBalances(database), now_ms=now_ms)
        scene.caller = Caller(key_id="key-1", name="test", user_id="usr_1", **caller)
        return scene

    return make


async def order(scene, **fields):
    call = scene.call()
    call = call.__class__(
        request_id=call.request_id, dialect=call.dialect, caller=scene.caller, body=b""
    )
    return await scene.order(call=call, **fields)


async def balance(database):
    return (await balances_of(database, [USER]))[USER][0]


async def kinds(database):
    async with database.transaction() as connection:
        query = sa.select(tables.entries.c.kind, tables.entries.c.ticks)
        rows = await connection.execute(query.where(tables.entries.c.kind != "grant"))
        return sorted(map(tuple, rows))


async def test_an_order_sets_aside_what_the_film_costs(paying, database):
    scene = await paying(FilmSeat(DONE))

    await order(scene)

    assert await kinds(database) == [("hold", PRICE)]
    assert await balance(database) == TICKS_PER_USD - PRICE
    assert await scene.stage.gate.available(USER) == (TICKS_PER_USD - PRICE, 0)
    assert (await verify(database)).findings == ()


async def test_a_film_that_is_made_is_charged_and_the_rest_comes_back(paying, database):
    scene = await paying(FilmSeat(DONE))
    job = await order(scene)

    ended = await scene.work(job)

    assert ended.status == COMPLETED
    assert await kinds(database) == [
        ("charge", BILL),
        ("cost", BILL),
        ("hold", PRICE),
        ("release", PRICE),
    ]
    assert await balance(database) == TICKS_PER_USD - BILL
    assert (await scene.entry()).charge_ticks == BILL
    assert (await scene.shown(job)).cost_ticks == BILL
    assert await scene.stage.gate.available(USER) == (TICKS_PER_USD - BILL, 0)
    assert (await verify(database)).findings == ()


async def test_a_film_that_fails_gives_everything_back(paying, database):
    scene = await paying(FilmSeat(FAILED_FILM))

    ended = await scene.work(await order(scene))

    assert ended.status == FAILED
    assert await balance(database) == TICKS_PER_USD
    assert [kind for kind, _ in await kinds(database)] == ["hold", "release"]
    assert (await scene.entry()).user_id == "usr_1"
    assert (await verify(database)).findings == ()


@pytest.mark.parametrize("stops", [True, False])
async def test_a_film_that_is_cancelled_while_it_is_made_is_charged_unless_its_upstream_stops(
    paying, database, monkeypatch, stops
):
    stoppable(monkeypatch)
    scene = await paying(FilmSeat(PENDING, stops=told({}, 200 if stops else 404)))
    async with scene.working():
        job = await order(scene)
        while (await scene.films.find(job.id, job.owner)).status != POLLING:
            await asyncio.sleep(0.01)
        await scene.films.remove(job.id, job.owner)

    kept = 0 if stops else PRICE
    assert await balance(database) == TICKS_PER_USD - kept
    assert (await scene.entry()).charge_ticks == kept
    assert await scene.stage.gate.available(USER) == (TICKS_PER_USD - kept, 0)
    assert (await verify(database)).findings == ()


async def test_a_film_that_nobody_began_and_is_cancelled_gives_everything_back(paying, database):
    scene = await paying(FilmSeat(DONE))
    job = await order(scene)

    await scene.films.remove(job.id, job.owner)

    assert await balance(database) == TICKS_PER_USD
    assert (await verify(database)).findings == ()


async def test_a_film_that_expired_before_anybody_worked_on_it_gives_everything_back(
    paying, database
):
    scene = await paying(FilmSeat(DONE))
    job = await order(scene)
    async with database.transaction() as connection:
        old = sa.update(tables.jobs).values(expires_ms=1, created_ms=1)
        await connection.execute(old)
    await scene.jobs.purge(now_ms())

    (taken,) = await scene.jobs.take("worker_1", lease_ms=60_000, limit=5, kinds=["video"])

    await scene.filming.work(Held(scene.jobs, taken, "worker_1"))

    assert taken.id == job.id
    assert await balance(database) == TICKS_PER_USD
    assert (await verify(database)).findings == ()
    assert await scene.jobs.purge(now_ms()) == 1


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, SAVES + 1))
async def test_killed_at_any_save_the_books_add_up_and_nothing_stays_held(
    paying, database, at, before
):
    seat = FilmSeat(DONE)
    first = await paying(seat)
    job = await order(first)
    held = await first.take(job, DyingStore(database, at, before=before))
    with pytest.raises(Killed):
        await first.filming.work(held)
    assert (await verify(database)).findings == ()

    second = await paying(seat)
    ended = await second.films.find(job.id, job.owner)
    if ended.completed_ms is None:
        ended = await second.work(job)

    charged = BILL if ended.status == COMPLETED else 0
    assert await balance(database) == TICKS_PER_USD - charged
    assert (await verify(database)).findings == ()


async def test_an_order_that_was_thought_to_have_failed_gives_everything_back(
    paying, database, monkeypatch
):
    scene = await paying(FilmSeat(DONE))
    create = scene.jobs.create

    async def unheard(*args):
        await create(*args)
        raise GroxyError(ErrorKind.STORE_DOWN, "Nobody knows whether it was committed.")

    monkeypatch.setattr(scene.jobs, "create", unheard)
    with pytest.raises(GroxyError):
        await order(scene)
    (job,) = await scene.jobs.take("worker_1", lease_ms=60_000, limit=5, kinds=["video"])
    await scene.filming.work(Held(scene.jobs, job, "worker_1"))

    assert await balance(database) == TICKS_PER_USD
    assert [kind for kind, _ in await kinds(database)] == ["hold", "release"]
    assert (await verify(database)).findings == ()


async def test_orders_pass_as_many_as_the_balance_covers(paying, database):
    scene = await paying(FilmSeat(DONE))
    for _ in range(2):
        await order(scene)

    with pytest.raises(GroxyError) as caught:
        await order(scene)

    assert caught.value.kind is ErrorKind.NO_CREDITS
    assert await balance(database) == TICKS_PER_USD - 2 * PRICE
    (entry,) = await scene.entries()
    assert (entry.outcome, entry.charge_ticks) == ("insufficient_credits", 0)
    assert (await verify(database)).findings == ()


async def test_a_plan_and_a_price_are_those_of_the_order(paying, database):
    plan = Plan(id="plan_1", grant=PlanGrant(markup_bp=5000, basis="list"))
    scene = await paying(FilmSeat(DONE), plan=plan)

    await scene.work(await order(scene))

    assert (await scene.entry()).charge_ticks == PRICE * 3 // 2
    assert (await scene.entry()).price_version == "catalog"


async def test_a_bill_beyond_what_was_set_aside_is_the_operators(paying, database):
    dear = DONE | {"usage": {"cost_in_usd_ticks": 10**12}}
    scene = await paying(FilmSeat(dear))

    await scene.work(await order(scene))

    assert (await scene.entry()).charge_ticks == PRICE
    assert await balance(database) == TICKS_PER_USD - PRICE
    assert ("cost", 10**12) in await kinds(database)
    assert (await verify(database)).findings == ()


async def test_a_cap_of_the_key_counts_films_once(paying, database):
    grant = KeyGrant(caps=Caps(total=TICKS_PER_USD))
    scene = await paying(FilmSeat(DONE), grant=grant)
    name = "spend:key-1:total"
    job = await order(scene)
    ordered = (await balances_of(database, [name]))[name][0]

    await scene.work(job)

    assert ordered == -PRICE
    assert (await balances_of(database, [name]))[name][0] == -BILL
    assert Kind.HOLD.value in dict(await kinds(database))


async def test_a_max_cost_below_the_price_is_refused(paying):
    scene = await paying(FilmSeat(DONE))

    with pytest.raises(GroxyError) as caught:
        await order(scene, max_cost="0.1")

    assert (caught.value.kind, caught.value.param) == (ErrorKind.BAD_REQUEST, "max_cost")


async def test_who_leaves_while_the_order_is_taken_leaves_nothing_held(paying, database):
    scene = await paying(FilmSeat(DONE), grant=KeyGrant(rates=Rates(concurrency=1)))
    call = scene.call()
    call = call.__class__(
        request_id=call.request_id, dialect=call.dialect, caller=scene.caller, body=b""
    )
    create, is_asked = scene.jobs.create, asyncio.Event()

    async def slow(*given):
        is_asked.set()
        await asyncio.sleep(0.2)
        return await create(*given)

    scene.jobs.create = slow

    async def follow():
        wish = VideoRequest(model=MODEL, prompt="a cat")
        async for _ in scene.films.film(call, wish, has_left=lambda: True):
            pass

    following = asyncio.get_running_loop().create_task(follow())
    await is_asked.wait()
    following.cancel()
    await asyncio.wait([following])

    assert following.cancelled()
    assert await scene.stage.gate.available(USER) == (TICKS_PER_USD, 0)
    assert await balance(database) == TICKS_PER_USD
    assert (await scene.entry()).outcome == ErrorKind.CANCELLED.value
    assert not (await verify(database)).findings
    scene.jobs.create = create
    assert await order(scene), "its place is free"
