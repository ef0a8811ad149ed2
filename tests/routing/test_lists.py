import asyncio

import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.routing.lists import ListKeeper, check, fetch_models
from tests.gateway.stage import DOWN, Reply, Seat, refusing
from tests.routing.crew import account, directory_of

LIST = b'{"object":"list","data":[{"id":"grok-4.3"},{"id":"grok-9"}]}'


def listing(body=LIST):
    return Reply(script=[body], content_type="application/json")


def seated(*answers, models=None):
    one = account("one", models=models)
    one.transport = Seat(*answers)
    return one


async def test_a_list_is_fetched_with_the_accounts_credential():
    one = seated(listing())
    one.headers = {"Authorization": "Bearer k"}

    assert await fetch_models(one) == {"grok-4.3", "grok-9"}
    (asked,) = one.transport.asked
    assert (asked.method, asked.url) == ("GET", "http://127.0.0.1:9/v1/models")
    assert asked.headers["Authorization"] == "Bearer k"


async def test_a_refreshed_list_is_what_the_account_serves():
    one = seated(listing())
    directory = directory_of(one)

    await ListKeeper(directory, every_s=0).refresh(directory.accounts)

    assert one.models == {"grok-4.3", "grok-9"}


@pytest.mark.parametrize(
    "answer",
    [DOWN, refusing(500), refusing(401), listing(b"<html>"), listing(b'{"data":[]}')],
    ids=["down", "500", "401", "nonsense", "empty"],
)
async def test_a_list_that_cannot_be_had_leaves_what_was_known_and_the_account_alone(answer):
    one = seated(answer, models=["grok-4.3"])
    directory = directory_of(one)

    await ListKeeper(directory, every_s=0).refresh(directory.accounts)

    assert one.models == {"grok-4.3"}
    assert (one.failures, one.rest_until) == (0, 0.0)


async def test_one_account_out_of_reach_does_not_keep_others_from_theirs():
    down, up = seated(DOWN), seated(listing())
    directory = directory_of(down, up)

    await ListKeeper(directory, every_s=0).refresh([down, up])

    assert up.models is not None


async def test_lists_are_fetched_at_the_start_and_when_asked_to():
    one = seated(listing())
    keeper = ListKeeper(directory_of(one), every_s=0)
    running = asyncio.get_running_loop().create_task(keeper.run())
    await asyncio.sleep(0.05)
    keeper.look_now()
    await asyncio.sleep(0.05)
    running.cancel()

    assert len(one.transport.asked) == 2


async def test_lists_are_fetched_again_after_a_while():
    one = seated(listing())
    running = asyncio.get_running_loop().create_task(
        ListKeeper(directory_of(one), every_s=0.05).run()
    )
    await asyncio.sleep(0.3)
    running.cancel()

    assert len(one.transport.asked) >= 3


async def test_a_working_account_checks_ok():
    assert await check(seated(listing())) == "ok"


async def test_a_check_says_what_is_wrong():
    assert (await check(seated(refusing(401)))).startswith("upstream_auth_failed")


async def test_an_upstreams_error_is_raised_as_what_it_means():
    with pytest.raises(GroxyError) as caught:
        await fetch_models(seated(refusing(429)))
    assert caught.value.kind is ErrorKind.UPSTREAM_LIMITED
