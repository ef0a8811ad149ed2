"""What shared state promises, whoever keeps it."""

import asyncio
import math
import time

import pytest

from groxy.state._base import MAX_HOMES, CoolDown, Load
from groxy.state.memory import MemoryState
from groxy.state.redis import RedisState


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
async def state(request):
    if request.param == "memory":
        yield MemoryState()
        return
    server = request.getfixturevalue("redis")
    server.ask("FLUSHALL")
    connected = RedisState.connect(server.url)
    yield connected
    await connected.close()


@pytest.fixture
async def other(state, request):
    """The same state as another process sees it; in memory there is only one process."""
    if isinstance(state, MemoryState):
        yield state
        return
    connected = RedisState.connect(request.getfixturevalue("redis").url)
    yield connected
    await connected.close()


def rest_of(seconds: float, reason: str = "upstream_rate_limited") -> CoolDown:
    return CoolDown(until=time.time() + seconds, reason=reason)


async def test_at_first_nothing_rests(state):
    assert await state.cooling() == {}


async def test_a_rest_comes_back_as_it_was_given(state):
    rest = rest_of(60)

    await state.cool("acc_1", rest)

    assert await state.cooling() == {"acc_1": rest}


async def test_each_account_has_a_rest_of_its_own(state):
    first, second = rest_of(60), rest_of(90, "upstream_auth_failed")

    await state.cool("acc_1", first)
    await state.cool("acc_2", second)

    assert await state.cooling() == {"acc_1": first, "acc_2": second}


async def test_a_later_word_on_an_account_replaces_the_earlier_one(state):
    shorter = rest_of(30, "upstream_unavailable")

    await state.cool("acc_1", rest_of(60))
    await state.cool("acc_1", shorter)

    assert await state.cooling() == {"acc_1": shorter}


async def test_a_rest_ends_by_itself(state):
    await state.cool("acc_1", rest_of(0.05))
    await state.cool("acc_2", rest_of(60))
    await asyncio.sleep(0.1)

    assert set(await state.cooling()) == {"acc_2"}


async def test_a_rest_that_was_seen_ends_by_itself_too(state):
    await state.cool("acc_1", rest_of(0.3))
    assert set(await state.cooling()) == {"acc_1"}
    await asyncio.sleep(0.35)

    assert await state.cooling() == {}


async def test_a_rest_that_is_over_already_ends_the_one_before(state):
    await state.cool("acc_1", rest_of(60))
    await state.cool("acc_1", rest_of(-1))

    assert await state.cooling() == {}


async def test_a_warmed_account_rests_no_longer(state):
    await state.cool("acc_1", rest_of(60))
    await state.cool("acc_2", rest_of(60))

    await state.warm("acc_1")

    assert set(await state.cooling()) == {"acc_2"}


async def test_warming_an_account_that_does_not_rest_changes_nothing(state):
    await state.cool("acc_1", rest_of(60))

    await state.warm("acc_2")

    assert set(await state.cooling()) == {"acc_1"}


@pytest.mark.parametrize("account_id", ["first", "*", "a?[b]*", "a b\n", "übergroß", "a:b:c", ""])
async def test_any_id_of_an_account_will_do(state, account_id):
    await state.cool("other", rest_of(60))
    await state.cool(account_id, rest_of(60))
    assert set(await state.cooling()) == {"other", account_id}

    await state.warm(account_id)
    assert set(await state.cooling()) == {"other"}


async def test_what_was_handed_out_is_a_copy(state):
    await state.cool("acc_1", rest_of(60))

    (await state.cooling()).clear()

    assert set(await state.cooling()) == {"acc_1"}


async def test_thousands_of_accounts_may_rest(state):
    ids = {f"acc_{number}" for number in range(10_000)}

    for account_id in ids:
        await state.cool(account_id, rest_of(60))

    assert set(await state.cooling()) == ids


async def test_a_state_that_is_there_answers_a_ping(state):
    assert await state.ping() is None


async def test_a_rest_may_have_no_end(state):
    rest = CoolDown(until=math.inf, reason="upstream_quota_exhausted")
    await state.cool("acc_1", rest)

    assert await state.cooling() == {"acc_1": rest}

    await state.warm("acc_1")
    assert await state.cooling() == {}


async def test_a_rest_without_a_sensible_end_is_none(state):
    await state.cool("acc_1", rest_of(math.nan))

    assert await state.cooling() == {}


async def test_an_account_and_its_models_rest_apart(state):
    account, model = rest_of(60), rest_of(90, "upstream_rate_limited")
    await state.cool("acc_1", account)
    await state.cool("acc_1\ngrok-4", model)
    assert await state.cooling() == {"acc_1": account, "acc_1\ngrok-4": model}

    await state.warm("acc_1")

    assert await state.cooling() == {"acc_1\ngrok-4": model}


async def test_a_warmed_account_may_rest_again(state):
    again = rest_of(90, "upstream_unavailable")
    await state.cool("acc_1", rest_of(60))
    await state.warm("acc_1")
    await state.cool("acc_1", again)

    assert await state.cooling() == {"acc_1": again}


# ---------------------------------------------------------------------------------------- loads

BUSY = Load(in_flight=3, minute=100, requests=7, tokens=5_000)


async def test_at_first_nobody_does_anything(state):
    assert await state.loads_of_others("me") == {}


async def test_others_learn_what_a_process_does_and_it_does_not_hear_itself(state, other):
    await state.publish_loads("one", {"acc_1": BUSY}, ttl_s=60)

    assert await other.loads_of_others("two") == {"acc_1": BUSY}
    assert await state.loads_of_others("one") == {}


async def test_the_loads_of_all_others_are_summed(state, other):
    await state.publish_loads("one", {"acc_1": BUSY, "acc_2": BUSY}, ttl_s=60)
    await other.publish_loads("two", {"acc_1": Load(1, 100, 2, 30)}, ttl_s=60)

    assert await state.loads_of_others("three") == {"acc_1": Load(4, 100, 9, 5_030), "acc_2": BUSY}
    assert await state.loads_of_others("two") == {"acc_1": BUSY, "acc_2": BUSY}


@pytest.mark.parametrize("names", [("one", "two", "three"), ("three", "two", "one")])
async def test_counts_of_an_older_minute_are_left_out_but_not_what_is_in_flight(state, names):
    first, second, third = names
    await state.publish_loads(first, {"acc_1": Load(1, 101, 2, 20)}, ttl_s=60)
    await state.publish_loads(second, {"acc_1": Load(5, 100, 50, 5_000)}, ttl_s=60)
    await state.publish_loads(third, {"acc_1": Load(2, 101, 3, 30)}, ttl_s=60)

    assert await state.loads_of_others("me") == {"acc_1": Load(8, 101, 5, 50)}


async def test_each_account_has_a_newest_minute_of_its_own(state):
    await state.publish_loads("one", {"acc_1": BUSY, "acc_2": Load(0, 101, 1, 1)}, ttl_s=60)

    assert await state.loads_of_others("me") == {"acc_1": BUSY, "acc_2": Load(0, 101, 1, 1)}


async def test_what_a_process_says_replaces_all_that_it_said(state, other):
    await state.publish_loads("one", {"acc_1": BUSY, "acc_2": BUSY}, ttl_s=60)
    assert set(await other.loads_of_others("two")) == {"acc_1", "acc_2"}

    await state.publish_loads("one", {"acc_2": Load(1, 102, 1, 1)}, ttl_s=60)
    assert await other.loads_of_others("two") == {"acc_2": Load(1, 102, 1, 1)}

    await state.publish_loads("one", {}, ttl_s=60)
    assert await other.loads_of_others("two") == {}


async def test_a_process_that_says_nothing_any_more_does_nothing(state, other):
    await state.publish_loads("one", {"acc_1": BUSY}, ttl_s=0.2)
    await state.publish_loads("two", {"acc_1": BUSY}, ttl_s=60)
    assert await other.loads_of_others("three") == {"acc_1": Load(6, 100, 14, 10_000)}

    await asyncio.sleep(0.3)

    assert await other.loads_of_others("three") == {"acc_1": BUSY}


async def test_a_process_that_goes_on_saying_the_same_lives_on(state, other):
    for _ in range(4):
        await state.publish_loads("one", {"acc_1": BUSY}, ttl_s=0.4)
        await asyncio.sleep(0.15)

    assert await other.loads_of_others("two") == {"acc_1": BUSY}


async def test_loads_that_were_handed_out_are_copies(state):
    said = {"acc_1": BUSY}
    await state.publish_loads("one", said, ttl_s=60)
    said.clear()
    (await state.loads_of_others("two")).clear()

    assert await state.loads_of_others("two") == {"acc_1": BUSY}


# ---------------------------------------------------------------------------------------- homes


async def test_at_first_no_conversation_has_a_home(state):
    cursor, homes = await state.homes_since("")

    assert homes == {}
    assert await state.homes_since(cursor) == (cursor, {})


async def test_homes_are_told_once_to_each_reader(state, other):
    await state.publish_homes({"talk 1": "acc_1", "talk 2": "acc_2"})
    cursor, first = await other.homes_since("")
    await state.publish_homes({"talk 3": "acc_1"})
    later_cursor, second = await other.homes_since(cursor)

    assert first == {"talk 1": "acc_1", "talk 2": "acc_2"}
    assert second == {"talk 3": "acc_1"}
    assert (await other.homes_since(later_cursor))[1] == {}
    assert (await other.homes_since(""))[1] == first | second


async def test_a_conversation_that_moved_is_news_again(state):
    await state.publish_homes({"talk 1": "acc_1", "talk 2": "acc_2"})
    cursor, _ = await state.homes_since("")

    await state.publish_homes({"talk 1": "acc_3"})

    assert (await state.homes_since(cursor))[1] == {"talk 1": "acc_3"}
    whole = (await state.homes_since(""))[1]
    assert list(whole.items()) == [("talk 2", "acc_2"), ("talk 1", "acc_3")]


async def test_publishing_no_homes_changes_nothing(state):
    cursor, _ = await state.homes_since("")

    await state.publish_homes({})

    assert await state.homes_since(cursor) == (cursor, {})


CURSORS = ["nonsense", ":", "1", "abc:1", "abc:-1", "abc:²", "abc:" + "9" * 30, "a:1:2", "\n"]


@pytest.mark.parametrize("cursor", CURSORS)
async def test_a_cursor_of_another_state_brings_everything(state, cursor):
    await state.publish_homes({"talk 1": "acc_1"})

    assert (await state.homes_since(cursor))[1] == {"talk 1": "acc_1"}


async def test_only_the_newest_hundred_thousand_homes_stay(state):
    await state.publish_homes({"talk 0": "acc_0"})
    cursor, _ = await state.homes_since("")
    for start in (1, 50_001, 100_001):
        await state.publish_homes({f"talk {n}": f"acc_{n}" for n in range(start, start + 50_000)})
    await state.publish_homes({"talk 60000": "moved"})

    _, homes = await state.homes_since("")
    assert len(homes) == MAX_HOMES == 100_000
    assert "talk 50000" not in homes
    assert homes["talk 50001"] == "acc_50001"
    assert list(homes.items())[-1] == ("talk 60000", "moved")
    assert (await state.homes_since(cursor))[1] == homes


# --------------------------------------------------------------------------------------- leases


async def test_one_holder_has_a_lease(state, other):
    assert await state.take_lease("refresh", "one", ttl_s=60)

    assert not await other.take_lease("refresh", "two", ttl_s=60)
    assert await other.take_lease("purge", "two", ttl_s=60)


async def test_of_many_who_want_a_lease_at_once_one_gets_it(state, other):
    wishes = [
        (state, other)[number % 2].take_lease("refresh", f"holder {number}", ttl_s=60)
        for number in range(40)
    ]

    assert sum(await asyncio.gather(*wishes)) == 1


async def test_a_lease_is_renewed_by_who_has_it(state):
    for _ in range(4):
        assert await state.take_lease("refresh", "one", ttl_s=0.4)
        await asyncio.sleep(0.15)

    assert not await state.take_lease("refresh", "two", ttl_s=60)


async def test_a_lease_goes_over_when_its_holder_is_silent(state, other):
    await state.take_lease("refresh", "one", ttl_s=0.1)
    assert not await other.take_lease("refresh", "two", ttl_s=60)
    await asyncio.sleep(0.15)

    assert await other.take_lease("refresh", "two", ttl_s=60)
    assert not await state.take_lease("refresh", "one", ttl_s=60)


async def test_a_lease_is_given_back_by_who_has_it_only(state, other):
    await state.take_lease("refresh", "one", ttl_s=60)

    await other.drop_lease("refresh", "two")
    assert not await other.take_lease("refresh", "two", ttl_s=60)

    await state.drop_lease("refresh", "one")
    assert await other.take_lease("refresh", "two", ttl_s=60)


async def test_giving_back_what_nobody_has_changes_nothing(state):
    assert await state.drop_lease("refresh", "one") is None


# ----------------------------------------------------------------------------------------- jobs


async def test_an_unknown_job_has_no_document_and_was_not_cancelled(state):
    assert await state.get_job("job_1") is None
    assert not await state.is_job_cancelled("job_1")


@pytest.mark.parametrize("document", [b"", b"{}", bytes(range(256)), b"x" * 2_000_000])
async def test_a_job_s_document_comes_back_as_it_was_given(state, other, document):
    await state.put_job("job_1", document, ttl_s=60)

    assert await other.get_job("job_1") == document


async def test_a_later_document_replaces_the_earlier_one(state, other):
    await state.put_job("job_1", b"1 of 2", ttl_s=60)
    await other.put_job("job_1", b"2 of 2", ttl_s=60)
    await state.put_job("job_2", b"another", ttl_s=60)

    assert await state.get_job("job_1") == b"2 of 2"


async def test_a_job_is_forgotten_after_its_time(state):
    await state.put_job("job_1", b"x", ttl_s=0.1)
    await state.cancel_job("job_1", ttl_s=0.1)
    await asyncio.sleep(0.15)

    assert await state.get_job("job_1") is None
    assert not await state.is_job_cancelled("job_1")


async def test_who_runs_a_job_learns_that_it_was_cancelled(state, other):
    await state.put_job("job_1", b"x", ttl_s=60)
    await other.cancel_job("job_1", ttl_s=60)

    assert await state.is_job_cancelled("job_1")
    assert not await state.is_job_cancelled("job_2")
    assert await state.get_job("job_1") == b"x"
