import pytest

from groxy.cli.people import plan_named, rates_text, user_named
from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import Rates
from groxy.store.database import Database
from groxy.store.plans import create_plan
from groxy.store.users import create_user


@pytest.fixture
async def opened(tmp_path):
    database = await Database.open("sqlite+aiosqlite:///groxy.db", tmp_path)
    yield database
    await database.close()


async def test_a_user_is_named_by_id_or_address(opened):
    user = await create_user(opened, name="Ada", email="ada@example.com")

    assert await user_named(opened, user.id) == user
    assert await user_named(opened, "ADA@example.com") == user


async def test_a_plan_is_named_by_id_or_name(opened):
    plan = await create_plan(opened, name="pro")

    assert await plan_named(opened, plan.id) == plan
    assert await plan_named(opened, "pro") == plan


@pytest.mark.parametrize(
    ("find", "named"),
    [(user_named, "Ada"), (user_named, "x@y.z"), (user_named, ""), (plan_named, "PRO")],
)
async def test_what_is_not_there_is_not_found(opened, find, named):
    await create_user(opened, name="Ada")
    await create_plan(opened, name="pro")
    with pytest.raises(GroxyError) as caught:
        await find(opened, named)

    assert caught.value.kind is ErrorKind.NOT_FOUND


def test_rates_are_told_in_a_few_words():
    assert rates_text(None) == rates_text(Rates()) == ""
    assert rates_text(Rates(requests=5, concurrency=2)) == "5 requests/min, 2 at once"
