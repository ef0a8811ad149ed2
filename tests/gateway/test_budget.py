import pytest

from groxy.core.grants import PlanGrant
from groxy.core.money import TICKS_PER_USD, Price, TokenPrice
from groxy.dialects._base import Tally
from groxy.gateway.budget import Budget
from groxy.gateway.estimate import Quote
from groxy.policy.admission import Admission, Demand
from groxy.policy.keys import Caller
from groxy.state.gate_memory import MemoryGate
from tests.policy.test_admission import NOW_MS, Books

PRICE = Price(base=TokenPrice(input=0, cached_input=0, output=1_000_000))
"""A tick a token."""


class Letters:
    """Every character is a token."""

    def __init__(self):
        self.counted = 0

    def count(self, text):
        self.counted += len(text)
        return len(text)


class Words:
    def count(self, text):
        return len(text.split())


async def admitted(balance, ticks, *, least=-1):
    admission = Admission(MemoryGate(), Books(usr_1=balance), now_ms=lambda: NOW_MS)
    caller = Caller(key_id="key_1", name="a", user_id="usr_1")
    return await admission.admit(caller, Demand(ticks=ticks, least_ticks=least))


def quote(output=1_000, *, max_ticks=None, prices=(PRICE,)):
    return Quote(
        prompt_tokens=1,
        prompt_bound=1,
        output_tokens=output,
        choices=1,
        is_bounded=False,
        tool_calls=0,
        prices=prices,
        price_version="catalog",
        plan=PlanGrant(),
        max_ticks=max_ticks,
    )


def written(budget, size, piece=10):
    """Write up to so many characters; return how many there were when it said no."""
    tally = Tally()
    for done in range(piece, size + 1, piece):
        tally.output.append("a" * piece)
        if not budget.covers(tally):
            return done
    return size


@pytest.mark.parametrize("piece", [1, 7, 50])
async def test_a_stream_ends_before_its_hold_is_used_up(piece):
    budget = Budget(await admitted(1_000, 1_000), quote(), Letters())

    done = written(budget, 5_000, piece)

    assert 1_000 * 0.9 < done <= 1_000


async def test_what_is_far_from_the_end_is_not_counted():
    counter = Letters()
    budget = Budget(await admitted(10**9, 1_000_000), quote(1_000_000), counter)

    assert written(budget, 300_000) == 300_000

    assert counter.counted == 0


async def test_each_piece_is_counted_once_and_rarely():
    counter = Letters()
    budget = Budget(await admitted(10**9, 10_000), quote(10_000), counter)

    done = written(budget, 50_000)

    assert counter.counted == done


async def test_words_are_not_taken_for_letters():
    budget = Budget(await admitted(10**9, 1_000), quote(), Words())
    tally = Tally()
    for _ in range(900):
        tally.output.append("indivisible ")
        assert budget.covers(tally)


async def test_while_there_are_credits_more_is_held():
    passed = await admitted(100_000, 1_000)
    budget = Budget(passed, quote(), Letters())
    done = written(budget, 5_000)

    assert await budget.extend()

    assert passed.held_ticks == 3_000
    assert done <= 1_000


async def test_without_credits_there_is_no_more():
    passed = await admitted(1_020, 1_000)
    budget = Budget(passed, quote(), Letters())
    written(budget, 5_000)

    assert not await budget.extend()
    assert passed.held_ticks == 1_000


async def test_the_rest_of_a_balance_is_used_before_it_ends():
    passed = await admitted(1_500, 1_000)
    budget = Budget(passed, quote(), Letters())
    written(budget, 5_000)

    assert await budget.extend()
    assert passed.held_ticks == 1_500
    assert not await budget.extend()


async def test_no_more_is_held_than_the_caller_would_pay():
    passed = await admitted(100_000, 1_000)
    budget = Budget(passed, quote(max_ticks=1_200), Letters())
    written(budget, 5_000)

    assert await budget.extend()
    assert passed.held_ticks == 1_200
    assert not await budget.extend()


async def test_who_pays_nothing_may_still_set_a_bound():
    admission = Admission(MemoryGate(), Books(), now_ms=lambda: NOW_MS)
    free = await admission.admit(Caller(key_id="key_1", name="a"), Demand())
    budget = Budget(free, quote(max_ticks=1_000), Letters())

    assert 900 < written(budget, 5_000) <= 1_000
    assert not await budget.extend()


async def test_what_has_no_price_has_no_end():
    budget = Budget(await admitted(TICKS_PER_USD, 0), quote(prices=()), Letters())

    assert written(budget, 100_000, 1_000) == 100_000


async def test_emoji_are_many_tokens_for_few_characters():
    class Triples:
        def count(self, text):
            return 3 * len(text)

    budget = Budget(await admitted(1_000, 1_000), quote(), Triples())

    assert written(budget, 5_000, piece=1) * 3 <= 1_000
