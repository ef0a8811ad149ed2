import pytest

from groxy.store.price_checks import Billed, bills, served_models, usage_of
from groxy.store.users import create_user
from groxy.store.writers import entry_writer
from groxy.store.writing import Group
from tests.store.rows import attempt_entry, request_entry

SINCE_MS = 1_790_000_000_000


def name(number, at_ms=SINCE_MS):
    return f"req_{at_ms:011x}{number:016x}"


async def write(database, requests, attempts):
    writer = entry_writer(database)
    await writer.submit(Group(requests, attempts))
    await writer.close()


def request(number, **changes):
    given = {"model_served": "grok", "input_tokens": 10, "cost_ticks": 5, "charge_ticks": 6}
    return request_entry(**{"request_id": name(number), **given, **changes})


def attempt(of, **changes):
    given = {"model_served": "grok", "cost_ticks": 5, "list_ticks": 4, "cost_source": "upstream"}
    return attempt_entry(**{"request_id": name(of), **given, **changes})


async def test_bills_are_added_up_beside_what_the_list_asks(database):
    attempts = [
        attempt(1),
        attempt(2, cost_ticks=10),
        attempt(3, cost_source="catalog", cost_ticks=99),  # no bill
        attempt(4, list_ticks=0, cost_ticks=7),  # the list had no price
        attempt(5, list_ticks=0, cost_ticks=0),  # from a cache
        attempt(6, model_served="", model_sent="other", cost_ticks=1),
        attempt(7, request_id=name(7, SINCE_MS - 1)),  # too old
    ]
    await write(database, [request(n) for n in range(1, 7)], attempts)

    found = await bills(database, SINCE_MS)

    assert found == [Billed("grok", 2, 15, 8, 1, 7), Billed("other", 1, 1, 4, 0, 0)]


async def test_no_bills_are_no_lines(database):
    assert await bills(database, SINCE_MS) == []


async def test_models_are_named_as_they_served(database):
    requests = [
        request(1),
        request(2),
        request(3, model_served="", model_sent="sent"),
        request(4, model_served="", model_sent=""),
        request(5, request_id=name(5, SINCE_MS - 1), model_served="old"),
    ]
    await write(database, requests, [])

    assert sorted(await served_models(database, SINCE_MS)) == ["grok", "sent"]


async def test_usage_is_added_up_by_key_length_and_who_priced_it(database):
    user = await create_user(database, name="Ann")
    requests = [
        request(1, user_id=user.id, input_tokens=99),
        request(2, user_id=user.id, input_tokens=100),
        request(3, user_id=user.id, input_tokens=101),
        request(4, key_id="key_2", input_tokens=1),
        request(5, input_tokens=0, output_tokens=0),  # nothing is owed for it
        request(6, model_served="other"),
    ]
    attempts = [
        attempt(1),
        attempt(2, cost_source="catalog"),
        attempt(3, cost_source="catalog"),
        attempt(4, number=1, cost_ticks=0),  # failed before
        attempt(4, number=2, cost_source="catalog"),
    ]
    await write(database, requests, attempts)

    found = await usage_of(database, ["grok"], SINCE_MS, long_from_tokens=100)

    seen = {
        (one.user_id, one.key_id, one.is_long, one.is_billed): (one.requests, one.input_tokens)
        for one in found
    }
    assert seen == {
        (user.id, "key_1", False, True): (1, 99),
        (user.id, "key_1", True, False): (2, 201),
        ("", "key_2", False, False): (1, 1),
    }
    sums = next(one for one in found if one.is_long)
    assert (sums.cost_ticks, sums.charge_ticks, sums.output_tokens) == (10, 12, 26)
    assert {one.plan_id for one in found} == {""}


@pytest.mark.parametrize("bound", [0, 10**9])
async def test_without_a_bound_that_is_reached_nothing_is_long(database, bound):
    await write(database, [request(1)], [])

    (found,) = await usage_of(database, ["grok"], SINCE_MS, long_from_tokens=bound)

    assert not found.is_long


async def test_nobody_used_no_models(database):
    await write(database, [request(1)], [])

    assert await usage_of(database, [], SINCE_MS) == []
