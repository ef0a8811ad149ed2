import asyncio

import msgspec
import pytest

from groxy.core.errors import ErrorKind, GroxyError
from groxy.core.grants import PlanGrant, Rates, Step
from groxy.store.plans import (
    PLANS,
    create_plan,
    delete_plan,
    find_plan,
    list_plans,
    update_plan,
)
from groxy.store.users import create_user, update_user

GRANT = PlanGrant(
    user_rates=Rates(requests=60, tokens=100_000, concurrency=4),
    models=("grok-4*",),
    markup_bp=-250,
    steps=(Step(from_ticks=10**10, percent=200),),
)


async def error_of(call):
    with pytest.raises(GroxyError) as caught:
        await call
    return caught.value


async def test_a_plan_is_found_as_it_was_made(database):
    made = await create_plan(database, name=" pro ", grant=GRANT, is_default=True)

    assert (made.name, made.grant, made.is_default) == ("pro", GRANT, True)
    assert made.id.startswith("plan_")
    assert await find_plan(database, made.id) == made
    assert await list_plans(database) == [made]


async def test_a_change_leaves_what_it_does_not_name(database):
    made = await create_plan(database, name="pro", grant=GRANT)
    _, changed = await update_plan(database, made.id, {"name": "max"})

    assert (changed.name, changed.grant) == ("max", GRANT)
    assert await database.revision(PLANS) == 2


async def test_what_is_made_of_the_grant_before_loses_nothing_that_others_change(database):
    plan = await create_plan(database, name="pro")

    def one_more(grant):
        return msgspec.structs.replace(grant, markup_bp=grant.markup_bp + 1)

    changes = await asyncio.gather(
        *(update_plan(database, plan.id, {"grant": one_more}) for _ in range(10))
    )
    seen = sorted((before.grant.markup_bp, after.grant.markup_bp) for before, after in changes)

    assert seen == [(count, count + 1) for count in range(10)]
    assert (await find_plan(database, plan.id)).grant.markup_bp == 10


async def test_a_grant_that_cannot_be_made_of_the_one_before_changes_nothing(database):
    plan = await create_plan(database, name="pro")

    def refused(grant):
        raise GroxyError(ErrorKind.BAD_REQUEST, "No.", param="models")

    error = await error_of(update_plan(database, plan.id, {"name": "x", "grant": refused}))

    assert error.param == "models"
    assert await find_plan(database, plan.id) == plan


async def test_at_most_one_plan_is_the_default(database):
    first = await create_plan(database, name="a", is_default=True)
    second = await create_plan(database, name="b", is_default=True)
    assert [plan.is_default for plan in await list_plans(database)] == [False, True]

    await asyncio.gather(
        *(update_plan(database, plan.id, {"is_default": True}) for plan in (first, second) * 3)
    )
    assert sorted(plan.is_default for plan in await list_plans(database)) == [False, True]

    for plan in (first, second):
        await update_plan(database, plan.id, {"is_default": False})
    assert [plan.is_default for plan in await list_plans(database)] == [False, False]


async def test_two_plans_cannot_have_one_name(database):
    await create_plan(database, name="pro")
    other = await create_plan(database, name="max")

    for call in (
        create_plan(database, name="pro"),
        update_plan(database, other.id, {"name": "pro"}),
    ):
        error = await error_of(call)
        assert (error.kind, error.code) == (ErrorKind.CONFLICT, "plan_name_taken")
    assert (await update_plan(database, other.id, {"name": "max"}))[1] == other


async def test_of_plans_made_at_once_with_one_name_one_is_there(database):
    done = await asyncio.gather(
        *(create_plan(database, name="pro") for _ in range(5)), return_exceptions=True
    )

    assert sum(isinstance(one, GroxyError) for one in done) == 4
    assert len(await list_plans(database)) == 1


async def test_a_plan_that_a_user_has_stays(database):
    plan = await create_plan(database, name="pro")
    user = await create_user(database, name="ada", plan_id=plan.id)

    error = await error_of(delete_plan(database, plan.id))
    assert (error.kind, error.code) == (ErrorKind.CONFLICT, "plan_in_use")
    assert await find_plan(database, plan.id) == plan

    await update_user(database, user.id, {"plan_id": ""})
    await delete_plan(database, plan.id)
    assert (await error_of(find_plan(database, plan.id))).code == "plan_not_found"


async def test_the_default_plan_stays_while_somebody_relies_on_it(database):
    plan = await create_plan(database, name="pro", is_default=True)
    await create_user(database, name="ada")

    assert (await error_of(delete_plan(database, plan.id))).code == "plan_in_use"

    await create_plan(database, name="other", is_default=True)
    await delete_plan(database, plan.id)


async def test_nobody_gets_a_plan_that_is_deleted_meanwhile(database):
    plan = await create_plan(database, name="pro")
    user = await create_user(database, name="ada")

    done = await asyncio.gather(
        delete_plan(database, plan.id),
        update_user(database, user.id, {"plan_id": plan.id}),
        return_exceptions=True,
    )

    assert sum(isinstance(one, GroxyError) for one in done) == 1


@pytest.mark.parametrize("plan_id", ["plan_none", "", "a\0b", "%", "\ud800"])
async def test_a_plan_that_nobody_made_is_not_found(database, plan_id):
    for call in (
        find_plan(database, plan_id),
        update_plan(database, plan_id, {"name": "x"}),
        delete_plan(database, plan_id),
    ):
        error = await error_of(call)
        assert (error.kind, error.code) == (ErrorKind.NOT_FOUND, "plan_not_found")
    assert await database.revision(PLANS) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "x"},
        {"created_ms": 1},
        {"revision": 9},
        {"grant": {"markup_bp": -10_000}},
        {"is_default": 1},
        {"name": ""},
        {"name": "x" * 65},
        {"name": "a\0b"},
        {"name": None},
    ],
)
async def test_what_is_no_change_of_a_plan_is_refused_and_named(database, changes):
    plan = await create_plan(database, name="pro")
    error = await error_of(update_plan(database, plan.id, changes))

    assert (error.kind, error.param) == (ErrorKind.BAD_REQUEST, next(iter(changes)))
    assert await list_plans(database) == [plan]
