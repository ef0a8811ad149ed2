"""Who may pass: the gate's verdicts become passes and errors, and what passes is given back."""

import asyncio

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import Caps, KeyGrant, Plan, PlanGrant, Rates, Step, UserGrant
from groxy.policy.admission import Admission, Demand
from groxy.policy.keys import Caller
from groxy.state.gate_memory import MemoryGate
from groxy.state.gates import Answer, Verdict

USER = "user:usr_1"
NOW_MS = 1_795_608_000_000  # 2026-11-25T12:00Z


class Books:
    def __init__(self, **ticks):
        self.balances = {f"user:{user}": (amount, 1) for user, amount in ticks.items()}
        self.reads = 0
        self.failures = 0
        """Reads that fail."""
        self.recounted = []

    async def read(self, names):
        self.reads += 1
        if self.failures:
            self.failures -= 1
            raise GroxyError(ErrorKind.STORE_DOWN, "Away.", detail="away")
        return {name: self.balances.get(name, (0, 0)) for name in names}

    async def recount(self, key_id):
        self.recounted.append(key_id)


class House:
    """An admission with books of its own."""

    def __init__(self, gate=None, **ticks):
        self.books = Books(**ticks)
        self.gate = gate or MemoryGate()
        self.admission = Admission(self.gate, self.books, now_ms=lambda: NOW_MS)

    async def admit(self, caller, **demand):
        return await self.admission.admit(caller, Demand(**demand))

    async def refusal(self, caller, **demand):
        with pytest.raises(GroxyError) as caught:
            await self.admit(caller, **demand)
        return caught.value

    def entered(self, ticks):
        """Say what the books have of the user since."""
        before, seq = self.books.balances[USER]
        self.books.balances[USER] = (before - ticks, seq + 1)
        return {USER: self.books.balances[USER]}


def user(**more):
    return Caller(key_id="key_1", name="a", user_id="usr_1", **more)


def anyone(**more):
    return Caller(key_id="key_1", name="a", **more)


# --------------------------------------------------------------------------------------- who pays


async def test_a_caller_without_limits_passes_without_the_gate():
    house = House(gate=object())

    passed = await house.admit(anyone(), ticks=10**12, tokens=10**9)

    assert not passed.is_metered
    await passed.release()


async def test_parallel_requests_pass_as_many_as_the_balance_covers():
    house = House(usr_1=1000)
    results = await asyncio.gather(
        *(house.admit(user(), ticks=300) for _ in range(20)), return_exceptions=True
    )

    passed = [one for one in results if not isinstance(one, BaseException)]
    refused = [one for one in results if isinstance(one, GroxyError)]

    assert len(passed) == 3
    assert {one.kind for one in refused} == {ErrorKind.NO_CREDITS}


async def test_what_is_settled_makes_room_for_what_is_left():
    house = House(usr_1=1000)
    first = await house.admit(user(), ticks=900)
    charge = first.charge(200)
    await first.settle(charge, 0, house.entered(charge.ticks))

    second = await house.admit(user(), ticks=800)

    assert (await house.refusal(user(), ticks=1)).kind is ErrorKind.NO_CREDITS
    await second.release()


async def test_a_pass_ends_once_however_often_it_is_told():
    house = House(usr_1=1000)
    one, other = await house.admit(user(), ticks=400), await house.admit(user(), ticks=400)
    await one.release()
    await one.release()
    await one.settle(one.charge(5), 0, {})

    assert await house.gate.available(USER) == (1000, 400)
    await other.release()


async def test_less_will_do_where_the_request_says_so():
    house = House(usr_1=1000)

    passed = await house.admit(user(), ticks=5000, least_ticks=100)

    assert passed.held_ticks == 1000
    assert (await house.refusal(user(), ticks=500, least_ticks=100)).kind is ErrorKind.NO_CREDITS


async def test_more_is_held_as_far_as_there_is_more():
    house = House(usr_1=1000)
    passed = await house.admit(user(), ticks=400)

    assert await passed.extend(500) == 500
    assert await passed.extend(500) == 100
    assert await passed.extend(500) == 0
    assert (passed.held_ticks, passed.most_held_ticks) == (1000, 1000)


async def test_a_charge_is_never_more_than_what_is_held():
    house = House(usr_1=1000)
    passed = await house.admit(user(), ticks=400)

    assert passed.charge(10**9).ticks == 400
    assert passed.charge(10**9).user_id == "usr_1"


async def test_refusals_of_money_say_what_there_is_and_what_was_needed():
    house = House(usr_1=12_000_000_000)

    error = await house.refusal(user(), ticks=25_000_000_000)

    assert (error.kind, error.code) == (ErrorKind.NO_CREDITS, "insufficient_credits")
    assert "1.2 USD" in error.message
    assert "2.5 USD" in error.message


async def test_a_cap_says_until_when_it_holds():
    house = House(usr_1=1000)
    caller = user(grant=KeyGrant(caps=Caps(day=100)))

    error = await house.refusal(caller, ticks=101)

    assert error.code == "key_cap_reached"
    assert "2026-11-26 00:00 UTC" in error.message
    assert await house.gate.available(USER) == (1000, 0)


async def test_the_overdraft_of_a_user_may_be_used_up():
    house = House(usr_1=0)
    caller = user(user=UserGrant(overdraft=500))

    await house.admit(caller, ticks=500)

    assert (await house.refusal(caller, ticks=1)).kind is ErrorKind.NO_CREDITS


# ------------------------------------------------------------------------- what is heard elsewhere


async def test_credits_that_come_meanwhile_count_at_once():
    house = House(usr_1=10)
    await house.refusal(user(), ticks=100)

    await house.admission.learn({USER: (510, 2)})

    assert (await house.admit(user(), ticks=500)).held_ticks == 500


async def test_balances_are_read_once_and_then_known():
    house = House(usr_1=1000)
    for _ in range(10):
        await (await house.admit(user(), ticks=10)).release()

    assert house.books.reads == 1


async def test_books_that_never_know_a_balance_are_a_fault_of_ours():
    class Forgetful(MemoryGate):
        async def claim(self, claim):
            names = tuple(draw.purse for draw in claim.draws)
            return Verdict(answer=Answer.UNKNOWN, unknown=names)

    error = await House(gate=Forgetful(), usr_1=5).refusal(user(), ticks=1)

    assert error.kind is ErrorKind.STORE_DOWN


async def test_a_gate_that_is_away_when_a_request_ends_does_not_fail_it():
    class Leaving(MemoryGate):
        async def give_back(self, back):
            raise GroxyError(ErrorKind.STORE_DOWN, "Away.", detail="away")

    house = House(gate=Leaving(), usr_1=100)
    passed = await house.admit(user(), ticks=10)

    await passed.settle(passed.charge(5), 0, {})


async def test_what_is_owed_is_held_until_the_books_have_it():
    house = House(usr_1=1000)
    passed = await house.admit(user(), ticks=900)
    charge = passed.charge(300)
    await passed.settle(charge, 0, None)
    during = await house.gate.available(USER)

    house.entered(300)
    house.admission.books_are_whole()
    for _ in range(5):
        await asyncio.sleep(0)

    assert during == (1000, 300)
    assert await house.gate.available(USER) == (700, 0)


async def test_what_is_owed_is_not_held_for_ever_because_the_books_could_not_be_read_once(
    monkeypatch,
):
    monkeypatch.setattr("groxy.policy.admission._AGAIN_S", 0.001)
    house = House(usr_1=1000)
    passed = await house.admit(user(), ticks=900)
    await passed.settle(passed.charge(900), 0, None)
    house.entered(900)
    house.books.failures = 2
    house.admission.books_are_whole()
    async with asyncio.timeout(5):
        while await house.gate.available(USER) != (100, 0):
            await asyncio.sleep(0.001)


# ------------------------------------------------------------------------------------------- caps


@pytest.mark.parametrize(
    ("before", "now", "recounted"),
    [
        (Caps(), Caps(day=100), ["key_1"]),
        (Caps(day=100), Caps(day=100, total=500), ["key_1"]),
        (Caps(day=100), Caps(day=50), []),
        (Caps(day=100), Caps(), []),
        (Caps(), Caps(), []),
    ],
)
async def test_what_was_under_way_when_a_cap_was_set_is_counted_against_it(before, now, recounted):
    house = House(usr_1=1000)
    passed = await house.admit(user(grant=KeyGrant(caps=before)), ticks=50)
    house.admission.caps_of = {"key_1": now}.__getitem__
    charge = passed.charge(50)
    await passed.settle(charge, 0, house.entered(50))
    await house.admission.end()

    assert house.books.recounted == recounted


async def test_many_that_end_together_are_counted_once():
    house = House(usr_1=1000)
    passes = [await house.admit(user(), ticks=50) for _ in range(9)]
    house.admission.caps_of = lambda key_id: Caps(day=100)
    for passed in passes:
        await passed.settle(passed.charge(50), 0, house.entered(50))
    await house.admission.end()

    assert house.books.recounted == ["key_1"]


async def test_what_cost_nothing_needs_no_counting(monkeypatch):
    house = House(usr_1=1000)
    passed = await house.admit(user(), ticks=50)
    house.admission.caps_of = lambda key_id: Caps(day=100)
    await passed.settle(passed.charge(0), 0, {})
    await house.admission.end()

    assert house.books.recounted == []


# ------------------------------------------------------------------------------------------ limits


def test_only_who_has_a_limit_or_a_purse_is_bounded():
    admission = House().admission
    plan = Plan(id="p", grant=PlanGrant(user_rates=Rates(requests=5)))

    assert not admission.bounds(anyone())
    assert admission.bounds(user())
    assert admission.bounds(user(plan=plan))
    assert admission.bounds(anyone(grant=KeyGrant(rates=Rates(tokens=5))))
    assert admission.bounds(anyone(grant=KeyGrant(caps=Caps(total=0))))


@pytest.mark.parametrize(
    ("caller", "passes"),
    [
        (anyone(grant=KeyGrant(rates=Rates(requests=3))), 3),
        (user(plan=Plan(id="p", grant=PlanGrant(key_rates=Rates(requests=2)))), 2),
        (
            user(
                grant=KeyGrant(rates=Rates(requests=4)),
                plan=Plan(id="p", grant=PlanGrant(key_rates=Rates(requests=2))),
            ),
            2,
        ),
        (
            user(
                grant=KeyGrant(rates=Rates(requests=1)),
                plan=Plan(id="p", grant=PlanGrant(key_rates=Rates(requests=2))),
            ),
            1,
        ),
        (user(plan=Plan(id="p", grant=PlanGrant(user_rates=Rates(requests=3)))), 3),
        (
            user(
                user=UserGrant(rates=Rates(requests=5)),
                plan=Plan(id="p", grant=PlanGrant(user_rates=Rates(requests=3))),
            ),
            5,
        ),
        (user(plan=Plan(id="p", grant=PlanGrant(rates=Rates(requests=1)))), 1),
    ],
    ids=[
        *("key", "plan's for keys", "more than the plan's", "less than the plan's"),
        *("plan's for users", "user's own", "plan"),
    ],
)
async def test_each_scope_has_its_limit(caller, passes):
    house = House(usr_1=10**9)
    for _ in range(passes):
        await house.admit(caller, ticks=1)

    error = await house.refusal(caller, ticks=1)

    assert error.kind is ErrorKind.RATE_LIMITED
    assert 0 < error.retry_after_s <= 60.5
    assert dict(error.headers)[b"x-ratelimit-remaining-requests"] == b"0"


async def test_users_of_one_plan_share_what_the_plan_has():
    house = House(usr_1=10**9, usr_2=10**9)
    plan = Plan(id="p", grant=PlanGrant(rates=Rates(requests=3)))
    others = Caller(key_id="key_2", name="b", user_id="usr_2", plan=plan)
    await house.admit(user(plan=plan), ticks=1)
    await house.admit(others, ticks=1)
    await house.admit(user(plan=plan), ticks=1)

    assert "your plan" in (await house.refusal(others, ticks=1)).message


@pytest.mark.parametrize(("ticks", "passes"), [(50, 1), (100, 5), (10**6, 10)])
async def test_limits_may_follow_the_balance(ticks, passes):
    reached = ((0, 1), (100, 50), (1000, 100))
    steps = tuple(Step(from_ticks=least, percent=percent) for least, percent in reached)
    plan = Plan(id="p", grant=PlanGrant(user_rates=Rates(requests=10), steps=steps))
    house = House(usr_1=ticks)

    admitted = 0
    try:
        while True:
            await house.admit(user(plan=plan), ticks=0)
            admitted += 1
    except GroxyError as error:
        assert error.kind is ErrorKind.RATE_LIMITED  # noqa: PT017 - it ends the loop

    assert admitted == passes


async def test_requests_at_the_same_time_are_counted_until_they_end():
    house = House()
    caller = anyone(grant=KeyGrant(rates=Rates(concurrency=2)))
    first, _ = await house.admit(caller), await house.admit(caller)
    error = await house.refusal(caller)
    await first.release()

    assert error.kind is ErrorKind.RATE_LIMITED
    assert "2 requests at the same time" in error.message
    await house.admit(caller)


async def test_a_prompt_that_can_never_pass_is_told_so():
    house = House()
    caller = anyone(grant=KeyGrant(rates=Rates(tokens=100)))

    error = await house.refusal(caller, tokens=101)

    assert (error.kind, error.code) == (ErrorKind.TOO_LARGE, "tokens_above_limit")


async def test_tokens_count_as_estimated_until_they_are_known():
    house = House()
    caller = anyone(grant=KeyGrant(rates=Rates(tokens=100)))
    passed = await house.admit(caller, tokens=90)
    assert (await house.refusal(caller, tokens=20)).kind is ErrorKind.RATE_LIMITED

    await passed.settle(passed.charge(0), 30, {})

    await house.admit(caller, tokens=70)
    assert (await house.refusal(caller, tokens=1)).kind is ErrorKind.RATE_LIMITED
