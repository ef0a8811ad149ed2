"""What other processes enter in the books counts here within one look at the store."""

import pytest

from groxy.app.money import money_of
from groxy.core.money import TICKS_PER_USD, Price, TokenPrice
from groxy.policy.admission import Demand
from groxy.policy.keys import Caller
from groxy.routing.catalog import Catalog
from groxy.settings import Settings
from groxy.settings.secret import Address
from groxy.state.gate_memory import MemoryGate
from groxy.state.gate_redis import RedisGate
from groxy.store.ledger import Entry, enter
from groxy.store.prices import create_price

USER = "user:usr_1"


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path)


@pytest.fixture
def money(settings, database):
    return money_of(settings, Catalog.load(), database, "proc_1")


async def granted(database, name, ticks):
    line = Entry(name, 1, "grant", "gifts", USER, ticks, "usr_1", "", "", "")
    async with database.transaction() as connection:
        await enter(connection, [line])


def test_one_process_has_its_gate_in_memory(money):
    assert isinstance(money.gate, MemoryGate)


async def test_several_processes_share_a_gate(settings, database):
    state = settings.state.model_copy(update={"url": Address("redis://127.0.0.1:1/0")})
    shared = settings.model_copy(update={"state": state})

    money = money_of(shared, Catalog.load(), database, "proc_1")

    assert isinstance(money.gate, RedisGate)
    await money.gate.close()


async def test_credits_that_others_give_count_after_the_next_look(money, database):
    caller = Caller(key_id="key_1", name="a", user_id="usr_1")
    await granted(database, "grant:1", TICKS_PER_USD)
    first = await money.admission.admit(caller, Demand(ticks=TICKS_PER_USD))
    await granted(database, "grant:2", TICKS_PER_USD)

    await money.load_balances()

    second = await money.admission.admit(caller, Demand(ticks=TICKS_PER_USD))
    assert (first.held_ticks, second.held_ticks) == (TICKS_PER_USD, TICKS_PER_USD)


async def test_prices_that_others_set_hold_after_the_next_look(money, database):
    dear = Price(base=TokenPrice(input=1, cached_input=1, output=7))
    version = await create_price(database, "grok-4.3", price=dear)

    await money.load_prices()

    priced = money.prices.tariff(version.effective_ms).of("grok-4.3")
    assert priced is not None
    assert (priced.price, priced.version) == (dear, version.id)


async def test_leaving_gives_back_what_was_held(money):
    await money.leave()
